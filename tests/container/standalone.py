#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Privileged containers that restore a snapshot into themselves, as pods of ChReK do: the bundle in
the image, the store read-only, no agent. Needs root. Prints TAP.

standalone.py SNAPSHOTCTL MAKE-BUNDLE BUILD EXAMPLES
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
import bed  # noqa: E402
import machine  # noqa: E402
from tap import Skip, contains, equal, run_all, test  # noqa: E402

SNAPSHOTCTL, MAKE_BUNDLE, BUILD, EXAMPLES = \
    (str(pathlib.Path(path).resolve()) for path in sys.argv[1:5])
BUNDLE = "/usr/local/lib/stasis"
SMART = f"{BUNDLE}/libexec/smart-entrypoint.sh"
RESTORE = f"{BUNDLE}/libexec/restore-entrypoint"
# Who ends at once may be gone before all of its output is fetched: so it waits to be told to.
UNTIL_TOLD = "trap 'exit 4' TERM; echo cold start; while :; do sleep 0.1; done"
COLD = ("/bin/sh", "-c", UNTIL_TOLD)
# It says what it hears and what it sees of the marker, and ends when told to.
PROGRAM = """
trap 'echo heard TERM; exit 7' TERM
trap 'echo heard HUP' HUP
trap 'echo heard USR1; exit 0' USR1
echo started as $$
while ! [ -e ${MARKER:-/tmp/dynamo-restored} ]; do sleep 0.1; done
echo sees `cat ${MARKER:-/tmp/dynamo-restored}`
while :; do sleep 0.1; done
"""
ALL_CAPABILITIES_BUT_TIME = ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_CHROOT", "CAP_NET_ADMIN"]


def need_fault_points():
    options = json.loads(pathlib.Path(BUILD, "meson-info/intro-buildoptions.json").read_text())
    if not next(one["value"] for one in options if one["name"] == "fault_injection"):
        raise Skip("this build has no fault points")


class Place:
    def __init__(self, here):
        self.here = here
        self.containerd = here.containerd("2.1", "runc")
        self.store = here.directory / "store"
        self.signals = here.directory / "signals"
        self.signals.mkdir()
        self.bundle = here.directory / "bundle"
        made = subprocess.run([MAKE_BUNDLE, "--build", BUILD, str(self.bundle)],
                              capture_output=True, text=True, check=False)
        if made.returncode:
            raise bed.Unavailable(f"no bundle: {made.stderr.strip()[-300:]}")
        (self.bundle / "examples").mkdir()
        shutil.copy(f"{EXAMPLES}/workload.py", self.bundle / "examples")
        built = subprocess.run(["cc", "-std=c17", "-D_GNU_SOURCE", "-static", "-o",
                                str(self.bundle / "examples/workload"), f"{EXAMPLES}/workload.c"],
                               capture_output=True, text=True, check=False)
        equal(built.returncode, 0, built.stderr)
        self.saved = set()

    def snapshotctl(self, *arguments):
        environment = {**os.environ, "STASIS_ROOT": str(self.store)}
        environment.pop("STASIS_FAULT", None)
        done = subprocess.run([SNAPSHOTCTL, "--progress", "none", *map(str, arguments)],
                              env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=120, check=False)
        equal((done.returncode, done.stderr if done.returncode else ""), (0, ""), str(arguments))
        return done.stdout

    def done(self, name, success=True, **more):
        """What the agent writes beside the versions, last of all."""
        text = json.dumps({"checkpoint_id": name, "checkpoint_path": f"/checkpoints/{name}",
                           "timestamp": "2026-11-24T10:00:00Z", "success": success, **more})
        path = self.store / name / "checkpoint.done"
        path.parent.mkdir(exist_ok=True, parents=True)
        (path.parent / ".done").write_text(text)
        os.replace(path.parent / ".done", path)
        return text

    def start(self, image, command, *, name="pod", mounts=(), privileged=True, env=None, **options):
        if privileged:
            options.setdefault("seccomp", False)
        return self.containerd.run(image, self.here.next_name(name), command,
                                   mounts=[(self.bundle, BUNDLE, "rbind,ro"),
                                           (self.signals, "/checkpoint-signal"), *mounts],
                                   env=env, privileged=privileged, **options)

    def snapshot(self, name="web", env=None, **options):
        """The program, saved once; with checkpoint.done."""
        if name not in self.saved:
            source = self.start("busybox", ["sh", "-c", PROGRAM], name="source", env=env, **options)
            source.wait_text("started as 1")
            self.snapshotctl("checkpoint", "--pid", source.pid, "--id", name)
            self.done(name)
            self.saved.add(name)
        return name

    def pod(self, snapshot="web", command=COLD, *, entrypoint=SMART, image="busybox", env=None,
            mounts=(), **options):
        """A pod as the documentation of ChReK prints it."""
        given = {"DYN_CHECKPOINT_HASH": snapshot, "DYN_CHECKPOINT_PATH": "/checkpoints",
                 **(env or {})}
        self.store.mkdir(exist_ok=True)
        return self.start(image, [entrypoint, *command],
                          env={name: text for name, text in given.items() if text is not None},
                          mounts=[(self.store, "/checkpoints", "rbind,ro"), *mounts], **options)

    def restored(self, *arguments, **options):
        self.snapshot()
        container = self.pod(*arguments, **options)
        container.wait_text("sees restored")
        return container


def says(container, part):
    try:
        machine.wait_until(lambda: part in container.text(), f"{part!r} of {container.id}")
    except machine.Failure as failure:
        raise machine.Failure(f"{failure}; it said {container.text()[-2000:]!r}") from None


def status_of(container):
    container.wait_gone()
    machine.wait_until(lambda: container.status() == "STOPPED", "the container to stop")
    done = container.runtime.ctr("tasks", "delete", container.id, check=False)
    told = re.search(r"non-zero exit code ([0-9]+)", done.stderr)
    return int(told[1]) if told else done.returncode


def is_cold(container, *parts):
    """Its command was started, and its log has said why."""
    says(container, "cold start\n")
    for part in parts:
        says(container, part)
    container.kill(signal.SIGTERM)
    equal(status_of(container), 4, "status of a cold start")


def has_fallen_back(container, *reasons):
    is_cold(container, "Falling back to cold start", *reasons)


def ended(container, status=7):
    container.kill(signal.SIGTERM)
    says(container, "heard TERM")
    equal(status_of(container), status, "status")


def log_of(container):
    return container.exec("cat", "/tmp/criu-restore.log").stdout


# The whole story


def job_environment(name, **more):
    return {"DYN_CHECKPOINT_SIGNAL_FILE": f"/checkpoint-signal/{name}.done",
            "DYN_CHECKPOINT_READY_FILE": "/tmp/checkpoint-ready", "DYN_CHECKPOINT_HASH": name,
            "DYN_CHECKPOINT_LOCATION": f"/checkpoints/{name}", "DYN_CHECKPOINT_STORAGE_TYPE": "pvc",
            **more}


def whole_story(place, image, command, name):
    """From the job to two restored pods. The job's /tmp is a volume, that of the pods is not."""
    volume = place.here.directory / f"tmp-{name}"
    volume.mkdir()
    stale = place.signals / f"{name}.done"
    stale.write_text("of yesterday")
    job = place.start(image, [SMART, *command], name="job", mounts=[(volume, "/tmp")],
                      env=job_environment(name))
    job.wait_text("CHECKPOINT_READY")
    says(job, "cold start: this is a checkpoint job")
    says(job, f"removed /checkpoint-signal/{name}.done")
    machine.wait_until(lambda: (volume / "checkpoint-ready").exists(), "the ready file")
    place.snapshotctl("checkpoint", "--pid", job.pid, "--id", name, "--leave-running")
    stale.write_text(place.done(name))
    says(job, "saved; the job is done")
    equal(status_of(job), 0, "status of the job")
    model = re.search(r"loaded ([0-9a-f]{16})", job.text())[1]
    pods = [place.pod(name, command, image=image, env={"COPY": copy}) for copy in ("one", "two")]
    for pod, copy in zip(pods, ("one", "two")):
        says(pod, f"running {model} as {copy}")
        equal("Falling back" in pod.text() or "loaded" in pod.text(), False, "a cold start")
    for pod in pods:
        pod.kill(signal.SIGTERM)
        equal(status_of(pod), 7, "status of the restored program")


@test
def story_in_python(place):
    """From a checkpoint job to two restored pods: the example in Python"""
    whole_story(place, "python", ["/usr/bin/python3", f"{BUNDLE}/examples/workload.py"], "python-1")


@test
def story_in_c(place):
    """The same in C, in an image without any library"""
    whole_story(place, "busybox", [f"{BUNDLE}/examples/workload"], "c-1")


@test
def story_without_a_shell(place):
    """The same in an image with nothing but one program"""
    try:
        place.containerd.pull("distroless")
    except bed.Unavailable as reason:
        raise Skip(str(reason)) from None
    whole_story(place, "distroless", [f"{BUNDLE}/examples/workload"], "c-2")


@test
def by_control_directory(place):
    """The example where files in a control directory are the way"""
    control = place.here.directory / "control"
    control.mkdir()
    job = place.start("busybox", [f"{BUNDLE}/examples/workload"], mounts=[(control, "/control")],
                      privileged=False, env={"SNAPSHOT_CONTROL_DIR": "/control"})
    for name in ("ready-for-snapshot", "ready-for-checkpoint"):
        machine.wait_until(lambda name=name: (control / name).exists(), name)
    (control / "restore-complete").write_text("done\n")
    says(job, "running ")
    job.kill(signal.SIGTERM)
    equal(status_of(job), 7, "status")
    job = place.start("busybox", [f"{BUNDLE}/examples/workload"], mounts=[(control, "/control")],
                      privileged=False, env={"DYN_SNAPSHOT_CONTROL_DIR": "/control"})
    job.wait_text("ready: waiting")
    (control / "snapshot-complete").write_text("done\n")
    equal(status_of(job), 0, "status")


@test
def by_signals(place):
    """The examples where signals are the way"""
    for image, command in (("busybox", [f"{BUNDLE}/examples/workload"]),
                           ("python", ["python3", f"{BUNDLE}/examples/workload.py"])):
        for number, status, said in ((signal.SIGUSR1, 0, "saved; the job is done"),
                                     (signal.SIGCONT, 7, "running ")):
            job = place.start(image, command, privileged=False,
                              env={"DYN_READY_FOR_CHECKPOINT_FILE": "/tmp/ready-for-checkpoint"})
            job.wait_text("ready: waiting")
            job.kill(number)
            says(job, said)
            if status:
                job.kill(signal.SIGTERM)
            equal(status_of(job), status, "status")


# The restored program and its container


@test
def signals_and_status(place):
    """Signals go in, the exit status comes out, orphans are reaped, the log can be read"""
    container = place.restored()
    contains(log_of(container), "Restore finished successfully")
    container.kill(signal.SIGHUP)
    says(container, "heard HUP")
    container.exec("sh", "-c", "sh -c 'sleep 0.2' & exit 0")
    ended(container)
    second = place.restored()
    second.kill(signal.SIGUSR1)
    says(second, "heard USR1")
    equal(status_of(second), 0, "status")


@test
def nothing_is_left(place):
    """The restore leaves its log and the marker in the container, and nothing else"""
    container = place.restored()
    seen = container.exec("sh", "-c", "find / -xdev -mtime -1 -type f | sort; ls -A /run; "
                          "ls -A " + BUNDLE + "/run").stdout.split()
    equal(seen, ["/tmp/criu-restore.log", "/tmp/dynamo-restored"], "new files")
    ended(container)


@test
def marker_elsewhere(place):
    """DYN_RESTORE_MARKER_FILE, in a directory that is not there yet"""
    name = place.snapshot("elsewhere", env={"MARKER": "/run/a/b/marker"})
    container = place.pod(name, env={"DYN_RESTORE_MARKER_FILE": "/run/a/b/marker"})
    says(container, "sees restored")
    ended(container)


@test
def marker_in_memory(place):
    """The marker is seen in a tmpfs that only the restored processes have"""
    name = place.snapshot("memory", tmpfs=["/tmp"])
    container = place.pod(name)
    says(container, "sees restored")
    equal(container.exec("ls", "/tmp/dynamo-restored", check=False).returncode != 0, True,
          "seen from outside")
    ended(container)


@test
def stale_files(place):
    """A marker of an earlier container neither misleads a cold start nor stays after a failure"""
    volume = place.here.directory / "stale"
    volume.mkdir()
    (volume / "dynamo-restored").write_text("restored")
    look = ("/bin/sh", "-c", f"ls -A /tmp; {UNTIL_TOLD}")
    container = place.pod("missing", look, mounts=[(volume, "/tmp")])
    is_cold(container, "removed /tmp/dynamo-restored, the restore marker of an earlier run")
    equal(os.listdir(volume), [], "what is left")
    need_fault_points()
    container = place.pod(place.snapshot(), look, mounts=[(volume, "/tmp")],
                          env={"STASIS_FAULT": "restore-resumed"})
    has_fallen_back(container)
    equal("dynamo-restored" in os.listdir(volume), False, "a marker after a failure")


# When to restore, and when not


@test
def cold_starts(place):
    """No checkpoint, an incomplete one, one that failed, one of another program: cold start"""
    name = place.snapshot()
    cases = {"missing": "there is no /checkpoints/missing", "": "DYN_CHECKPOINT_HASH is not set",
             "../web": "no name of a snapshot"}
    place.done("failed", False, error="disk full")
    shutil.copytree(place.store / name / "versions", place.store / "failed" / "versions")
    cases["failed"] = "the checkpoint in /checkpoints/failed failed: disk full"
    shutil.copytree(place.store / name / "versions", place.store / "undone" / "versions")
    cases["undone"] = "checkpoint.done is missing"
    place.done("foreign")
    (place.store / "foreign/inventory.img").write_text("")
    cases["foreign"] = "no complete snapshot of Stasis"
    for snapshot, reason in cases.items():
        container = place.pod(snapshot)
        is_cold(container, reason)
    equal(status_of(place.pod("missing", ())), 1, "status without a command")


@test
def damaged(place):
    """A damaged snapshot: cold start, with the code; and the same where CRIU does not work"""
    shutil.copytree(place.store / place.snapshot(), place.store / "damaged")
    pages = max((place.store / "damaged/versions/1/criu").glob("pages-*.img"),
                key=lambda path: path.stat().st_size)
    data = bytearray(pages.read_bytes())
    data[len(data) // 2] ^= 1
    pages.write_bytes(data)
    container = place.pod("damaged")
    has_fallen_back(container, "The restore failed (snapshot-damaged;")
    broken = place.here.directory / "broken"
    broken.mkdir()
    container = place.pod(place.snapshot(), mounts=[(broken, f"{BUNDLE}/criu", "rbind,ro")])
    has_fallen_back(container, "criu-missing")


@test
def waits_for_the_checkpoint(place):
    """WAIT_FOR_CHECKPOINT: the snapshot comes later, and is complete only with checkpoint.done"""
    name = place.snapshot()
    for value, later in (("1", "later-1"), ("true", "later-2")):
        container = place.pod(later, env={"WAIT_FOR_CHECKPOINT": value})
        container.wait_text("waiting for a restore, by this container itself")
        shutil.copytree(place.store / name / "versions", place.store / later / "versions")
        place.done(later, False, error="not this time")
        place.done(later)
        says(container, "sees restored")
        ended(container)


@test
def waits_no_longer(place):
    """RESTORE_WAIT_TIMEOUT ends the wait, and says what was missing"""
    container = place.pod("never", env={"WAIT_FOR_CHECKPOINT": "1", "RESTORE_WAIT_TIMEOUT": "1"})
    has_fallen_back(container, "No restore within 1 seconds: there is no /checkpoints/never")


@test
def without_the_smart_one(place):
    """restore-entrypoint alone waits; SKIP_WAIT_FOR_CHECKPOINT makes it look once"""
    container = place.pod("not-yet", entrypoint=RESTORE, env={"SKIP_WAIT_FOR_CHECKPOINT": "1"})
    is_cold(container, "there is no /checkpoints/not-yet")
    container = place.restored("web", entrypoint=RESTORE, env={"SKIP_WAIT_FOR_CHECKPOINT": "1"})
    ended(container)


@test
def triggered(place):
    """RESTORE_TRIGGER: a file that names a snapshot starts the restore; an old one does not"""
    name = place.snapshot()
    folder = place.here.directory / "trigger"
    folder.mkdir()
    (folder / "now").write_text(f"/checkpoints/{name}")
    container = place.pod(None, entrypoint=RESTORE, mounts=[(folder, "/trigger")],
                          env={"RESTORE_TRIGGER": "/trigger/now"})
    container.wait_text("waiting for a restore")
    (folder / "new").write_text(f"/checkpoints/{name}/\n")
    os.replace(folder / "new", folder / "now")
    says(container, "sees restored")
    ended(container)


@test
def location_and_older_names(place):
    """DYN_CHECKPOINT_LOCATION, and the older names of hash and path"""
    name = place.snapshot()
    container = place.pod(None, env={"DYN_CHECKPOINT_PATH": None,
                                     "DYN_CHECKPOINT_LOCATION": f"/checkpoints/{name}"})
    says(container, "sees restored")
    ended(container)
    container = place.pod(None, env={"DYN_CHECKPOINT_PATH": None, "DYNAMO_CHECKPOINT_HASH": name,
                                     "DYNAMO_CHECKPOINT_PATH": "/checkpoints"})
    says(container, "sees restored")
    ended(container)


@test
def default_command(place):
    """DEFAULT_CMD is the command of a cold start that was given none"""
    container = place.pod("missing", (), env={"DEFAULT_CMD": f"sh -c \"{UNTIL_TOLD}\""})
    is_cold(container)


# Variables for CRIU


@test
def criu_log_level(place):
    """CRIU_LOG_LEVEL: everything by default, next to nothing with 0"""
    lengths = {}
    for level in (None, "0", "9"):
        container = place.restored("web", env={"CRIU_LOG_LEVEL": level} if level else {})
        lengths[level] = len(log_of(container))
        says(container, "not 0 to 4; it is taken as 4" if level == "9" else "")
        ended(container)
    equal(lengths["0"] * 10 < lengths[None], True, f"lengths of logs {lengths}")


@test
def criu_work_directory(place):
    """CRIU_WORK_DIR: CRIU works and leaves its log of a failure there"""
    work = place.here.directory / "work"
    work.mkdir()
    container = place.restored("web", env={"CRIU_WORK_DIR": "/work"}, mounts=[(work, "/work")])
    equal(os.listdir(work), [], "left by a restore that worked")
    ended(container)
    need_fault_points()
    container = place.pod("web", env={"CRIU_WORK_DIR": "/work", "STASIS_FAULT": "restore-resumed"},
                          mounts=[(work, "/work")])
    has_fallen_back(container, "The restore failed (injected")
    equal(len(list(work.glob(".logs/*/restore.log"))), 1, "logs in the work directory")
    container = place.pod("web", env={"CRIU_WORK_DIR": "/proc/none"})
    has_fallen_back(container)


@test
def criu_timeout(place):
    """CRIU_TIMEOUT: a restore that takes longer is undone"""
    need_fault_points()
    name = place.snapshot()
    container = place.pod(name, env={"CRIU_TIMEOUT": "1", "STASIS_FAULT": "restore-keeper:stop"})
    has_fallen_back(container, "longer than the 1 seconds of CRIU_TIMEOUT")
    container = place.restored(env={"CRIU_TIMEOUT": "100"})
    ended(container)


@test
def told_to_end(place):
    """An end that is asked for in the middle of a restore undoes it; later the program gets it"""
    need_fault_points()
    name = place.snapshot()
    for point, status in (("restore-keeper", 128 + signal.SIGTERM), ("restore-resumed", 7)):
        container = place.pod(name, env={"STASIS_FAULT": f"{point}:stop"})
        stopped = machine.wait_until(lambda: stopped_below(container.pid), "the fault point")
        container.kill(signal.SIGTERM)
        equal(status_of(container), status, "status")
        equal(machine.alive(stopped), False, "the restore goes on")


def stopped_below(pid):
    for child in machine.read(f"/proc/{pid}/task/{pid}/children").split():
        if "State:\tT" in machine.read(f"/proc/{child}/status"):
            return int(child)
    return None


@test
def explained_variables(place):
    """Variables that mean nothing for our snapshots are accepted, and the log says what happens"""
    names = ("CRIU_SKIP_IN_FLIGHT", "CRIU_AUTO_DEDUP", "CRIU_LAZY_PAGES")
    place.snapshot()
    container = place.restored(env={**{name: "true" for name in names},
                                    "CUDA_PLUGIN_DIR": "/usr/local/lib/criu"})
    for name in (*names, "CUDA_PLUGIN_DIR"):
        says(container, f"restore-entrypoint: {name}: ")
    ended(container)
    contains(place.snapshotctl("verify", "web"), "is sound")
    container = place.restored()
    for name in (*names, "CUDA_PLUGIN_DIR"):
        equal(name in container.text(), False, f"{name} where it is not set")
    ended(container)


@test
def debugging(place):
    """DEBUG: the container stays as it is after a failure, and its log describes GPUs and
    namespaces"""
    need_fault_points()
    tools = place.here.directory / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\necho GPU 0: \"$@\"\n")
    (tools / "nvidia-smi").chmod(0o755)
    container = place.pod(place.snapshot(), mounts=[(tools, "/tools")],
                          env={"DEBUG": "1", "STASIS_FAULT": "restore-resumed",
                               "CUDA_VISIBLE_DEVICES": "0,1", "PATH": "/tools:/bin"})
    for part in ("GPU 0: -L", "CUDA_VISIBLE_DEVICES is 0,1", "namespace pid:[", "/dev/nvidia",
                 "DEBUG is set: for 300 seconds"):
        says(container, part)
    contains(log_of(container), "Restore finished")
    container.kill(signal.SIGTERM)
    equal(status_of(container), 128 + signal.SIGTERM, "status")
    equal("cold start\n" in container.text(), False, "started")


# Who may


@test
def unprivileged(place):
    """Not privileged: it says what is missing, waits for an agent, and is restored into by one"""
    name = place.snapshot("plain", privileged=False)
    for options in ({}, {"caps": ALL_CAPABILITIES_BUT_TIME}):
        container = place.pod(name, privileged=False, env={"RESTORE_WAIT_TIMEOUT": "120"}, **options)
        container.wait_text("waiting for a restore by an agent: it lacks capabilities")
        says(container, "SYS_TIME")
        place.snapshotctl("restore", name, "--container-pid", container.pid, "--marker",
                          "/tmp/dynamo-restored")
        says(container, "sees restored")
        ended(container)
    container = place.pod(name, privileged=False, env={"RESTORE_WAIT_TIMEOUT": "1"})
    has_fallen_back(container, "own-privileges")


@test
def other_reasons_for_an_agent(place):
    """A control directory, STASIS_RESTORE_BY, and an image without the bundle"""
    name = place.snapshot()
    for env, reason in (({"SNAPSHOT_CONTROL_DIR": "/control"}, "there is a control directory"),
                        ({"STASIS_RESTORE_BY": "agent"}, "STASIS_RESTORE_BY"),
                        ({"STASIS_BUNDLE": "/nowhere"}, "can't restore by itself: /nowhere/lib")):
        container = place.pod(name, env={"RESTORE_WAIT_TIMEOUT": "1", **env})
        has_fallen_back(container, reason)
    container = place.pod(name, env={"SNAPSHOT_CONTROL_DIR": "/control",
                                     "STASIS_RESTORE_BY": "here"})
    says(container, "sees restored")
    ended(container)


@test
def not_from_the_host(place):
    """--here is refused where there is no container around, and beside another target"""
    name = place.snapshot()
    for words, code in ((["--here"], "target-unfit"),
                        (["--here", "--container-pid", "1"], "usage"),
                        (["--container-pid", "1", "--marker", "tmp/x"], "usage"),
                        (["--marker", "/tmp/x"], "usage")):
        done = subprocess.run([SNAPSHOTCTL, "--json", "--root", str(place.store), "restore", name,
                               *words], capture_output=True, text=True, check=False,
                              env={**os.environ, "STASIS_RUN": str(place.here.directory / "run")})
        seen = json.loads(done.stdout)["error"]["code"]
        if words == ["--here"] and in_a_container():
            continue
        equal((seen, done.returncode != 0), (code, True), str(words))


def in_a_container():
    """Where this test itself runs in a pid namespace, its first process looks like a target."""
    return os.readlink("/proc/self/ns/pid") != "pid:[4026531836]"


def main():
    try:
        with bed.Bed(workload=f"{BUILD}/tests/root/workloads/workload-static") as here:
            return run_all(Place(here))
    except bed.Unavailable as reason:
        print(f"1..0 # SKIP {reason}")
        return 0


if __name__ == "__main__":
    sys.exit(main())
