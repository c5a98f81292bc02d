#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""restore-entrypoint as the first process of real containers: waiting, restored into, falling back.
Needs root. Prints TAP.

entrypoint.py SNAPSHOTCTL RESTORE-ENTRYPOINT
"""
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
from tap import Skip, equal, run_all, test  # noqa: E402

SNAPSHOTCTL, ENTRYPOINT = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
NAMES = ("restore-entrypoint", "smart-entrypoint", "smart-entrypoint.sh")
# It says what it hears, and ends when told to.
PROGRAM = """
trap 'echo heard TERM; exit 7' TERM
trap 'echo heard HUP' HUP
trap 'echo heard USR1; exit 0' USR1
echo started as $$
while :; do sleep 0.1; done
"""


class Place:
    def __init__(self, here):
        self.here = here
        self.containerd = here.containerd("2.1", "runc")
        self.programs = here.directory / "programs"
        self.programs.mkdir(mode=0o755)
        shutil.copy(ENTRYPOINT, self.programs / NAMES[0])
        for name in NAMES[1:]:
            (self.programs / name).symlink_to(NAMES[0])
        self.store = here.directory / "store"
        self.saved = False

    def start(self, *arguments, fault=None, **options):
        environment = {**os.environ, "STASIS_ROOT": str(self.store)}
        environment.pop("STASIS_FAULT", None)
        if fault:
            environment["STASIS_FAULT"] = fault
        return subprocess.Popen([SNAPSHOTCTL, "--progress", "none", *map(str, arguments)],
                                text=True, env=environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)

    def run(self, *arguments, fault=None):
        process = self.start(*arguments, fault=fault)
        return process.communicate(timeout=120)[0], process.returncode

    def must(self, *arguments):
        text, status = self.run(*arguments)
        if status:
            raise AssertionError(f"{arguments}: {status}: {text}")

    def snapshot(self):
        """The program, saved once."""
        if not self.saved:
            source = self.containerd.run("busybox", "source", ["sh", "-c", PROGRAM])
            source.wait_text("started as 1")
            self.must("checkpoint", "--pid", source.pid, "--id", "web")
            self.saved = True
        return "web"

    def wait(self, *words, program=NAMES[0], mounts=(), **options):
        """A container whose first process is the entrypoint."""
        name = self.here.next_name("target")
        return self.containerd.run("busybox", name, [f"/stasis/{program}", *words],
                                   mounts=[(self.programs, "/stasis", "rbind,ro"), *mounts],
                                   **options)

    def restore(self, container):
        self.must("restore", self.snapshot(), "--container-pid", container.pid)
        container.wait_text("restored")

    def restored(self, *words, **options):
        """A container with the program restored into it; and the program's id on the machine."""
        self.snapshot()
        container = self.wait(*words, **options)
        self.restore(container)
        return container, restored_into(container)


def children(pid):
    return [int(word) for word in machine.read(f"/proc/{pid}/task/{pid}/children").split()]


def status_line(pid, name):
    lines = machine.read(f"/proc/{pid}/status").splitlines()
    return next((line.split()[1:] for line in lines if line.startswith(f"{name}:")), [])


def restored_into(container):
    """The restored first process, given away yet or not."""
    depth = len(status_line(container.pid, "NSpid"))
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        ids = status_line(pid, "NSpid")
        try:
            same = os.readlink(f"/proc/{pid}/ns/net") == \
                os.readlink(f"/proc/{container.pid}/ns/net")
        except OSError:
            continue
        if same and len(ids) > depth and ids[-1] == "1":
            found.append(int(pid))
    equal(len(found), 1, "restored first processes")
    return found[0]


def says(container, part):
    """What a container has written is in its log at last, also when it has ended: but not when its
    task was deleted meanwhile."""
    machine.wait_until(lambda: part in container.text(), f"{part!r} of {container.id}")


def status_of(container):
    """That of the container when it has ended; ctr tells when the task is deleted."""
    container.wait_gone()
    machine.wait_until(lambda: container.status() == "STOPPED", "the container to stop")
    done = container.runtime.ctr("tasks", "delete", container.id, check=False)
    told = re.search(r"non-zero exit code ([0-9]+)", done.stderr)
    return int(told[1]) if told else done.returncode


@test
def status_zero(place):
    """The restored program's end is the container's: 0"""
    container, _ = place.restored("--wait", "120")
    container.kill(signal.SIGUSR1)
    says(container, "heard USR1")
    equal(status_of(container), 0, "status")


@test
def signals_in_status_out(place):
    """Signals of the runtime reach the restored program, and its status is the container's"""
    container, _ = place.restored()
    container.kill(signal.SIGHUP)
    container.wait_text("heard HUP")
    equal(container.alive(), True, "goes on")
    container.kill(signal.SIGTERM)
    says(container, "heard TERM")
    equal(status_of(container), 7, "status")


@test
def ended_by_a_signal(place):
    """A restored program that a signal ends: 128 and its number"""
    container, first = place.restored("/bin/never")
    os.kill(first, signal.SIGKILL)
    equal(status_of(container), 128 + signal.SIGKILL, "status")


@test
def ends_at_once(place):
    """A restored program that ends before it was given away is no lost restore"""
    snapshot = place.snapshot()
    container = place.wait("--wait", "120")
    restore = place.start("restore", snapshot, "--container-pid", container.pid,
                          fault="restore-resumed:stop")
    try:
        machine.wait_until(lambda: status_line(restore.pid, "State")[:1] != ["R"] and
                           (status_line(restore.pid, "State")[:1] == ["T"] or
                            restore.poll() is not None), "the fault point")
        if restore.poll() is not None:
            raise Skip(f"this build has no fault points: {restore.stdout.read()}")
        first = restored_into(container)
        os.kill(first, signal.SIGUSR1)
        machine.wait_until(lambda: not machine.alive(first), "the end of the program")
    finally:
        if restore.poll() is None:
            os.kill(restore.pid, signal.SIGCONT)
    equal((restore.communicate(timeout=60)[0] and 0, restore.returncode), (0, 0), "restore")
    says(container, "heard USR1")
    equal(status_of(container), 0, "status")


@test
def orphans_are_reaped(place):
    """What a probe leaves behind is not taken for a restore, and is reaped"""
    container = place.wait("--wait", "120")
    container.exec("sh", "-c", "sh -c 'sleep 0.3; exit 3' & exit 0")
    machine.wait_until(lambda: not children(container.pid), "the orphan to be gone")
    equal(container.alive(), True, "still waits")
    place.restore(container)
    container.exec("sh", "-c", "sh -c 'sleep 0.3; exit 3' & exit 0")
    machine.wait_until(lambda: len(children(container.pid)) == 1, "the second one to be gone")
    container.kill()
    equal(status_of(container), 7, "status")


@test
def nothing_for_others_to_reap(place):
    """A target that reaps nothing keeps no zombie of a restore"""
    container = place.containerd.run("busybox", "sleeper", ["sleep", "1000"])
    place.must("restore", place.snapshot(), "--container-pid", container.pid)
    equal(children(container.pid), [restored_into(container)], "children")
    container.delete()


@test
def undone_restore(place):
    """A restore that fails and is undone is none; the next one counts"""
    container = place.wait("--wait", "120")
    _, status = place.run("restore", place.snapshot(), "--container-pid", container.pid,
                          fault="restore-resumed")
    if status == 0:
        raise Skip("this build has no fault points")
    equal(container.alive(), True, "still waits")
    place.restore(container)
    container.kill()
    equal(status_of(container), 7, "status")


@test
def restore_across_the_timeout(place):
    """A restore that is under way when the time is over is waited for"""
    snapshot = place.snapshot()
    container = place.wait("--wait", "1", "/bin/never")
    restore = place.start("restore", snapshot, "--container-pid", container.pid,
                          fault="restore-resumed:stop")
    try:
        machine.wait_until(lambda: status_line(restore.pid, "State")[:1] == ["T"] or
                           restore.poll() is not None, "the fault point")
        if restore.poll() is not None:
            raise Skip(f"no time, or no fault points: {restore.stdout.read()}")
        # Time does not show what it waits for; its own clock has to run out.
        machine.wait_until(lambda: age(container.pid) > 2, "two seconds")
        equal(container.alive(), True, "still waits")
    finally:
        if restore.poll() is None:
            os.kill(restore.pid, signal.SIGCONT)
    restore.communicate(timeout=60)
    equal(restore.returncode, 0, "restore")
    container.wait_text("restored")
    container.kill()
    equal(status_of(container), 7, "status")


def age(pid):
    ticks = int(machine.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19])
    return float(machine.read("/proc/uptime").split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


@test
def told_to_end(place):
    """An end that is asked for while it waits"""
    container = place.wait("sleep", "1000", env={"RESTORE_WAIT_TIMEOUT": "0"})
    container.wait_text("waiting for a restore")
    container.kill(signal.SIGTERM)
    equal(status_of(container), 128 + signal.SIGTERM, "status")


@test
def timeout(place):
    """No restore in time: the command is started, with all signals as they were"""
    container = place.wait("--", "sh", "-c", "grep SigBlk /proc/$$/status; echo cold $$; exit 5",
                           env={"RESTORE_WAIT_TIMEOUT": "1"})
    for part in ("Falling back", "SigBlk:\t0000000000000000", "cold 1"):
        says(container, part)
    equal(status_of(container), 5, "status")
    alone = place.wait("--wait", "1")
    equal(status_of(alone), 1, "status without a command")


@test
def failed(place):
    """An agent says that the restore failed: cold start at once"""
    control = place.here.directory / "control"
    control.mkdir()
    container = place.wait("sh", "-c", "echo cold", mounts=[(control, "/control")],
                           env={"RESTORE_WAIT_TIMEOUT": "0", "SNAPSHOT_CONTROL_DIR": "/control"})
    container.wait_text("waiting for a restore")
    (control / "restore-failed").write_text("done\n")
    says(container, "Falling back")
    says(container, "cold")
    equal(status_of(container), 0, "status")


@test
def no_snapshot(place):
    """smart-entrypoint starts the command at once when there is nothing to wait for"""
    for program in NAMES[1:]:
        container = place.wait("sh", "-c", "echo cold; sleep 0.5; exit 4", program=program)
        says(container, "cold start: DYN_CHECKPOINT_HASH is not set")
        equal(status_of(container), 4, "status")
    missing = place.wait("sh", "-c", "echo cold; sleep 0.5", program=NAMES[1],
                         env={"DYN_CHECKPOINT_HASH": "web", "DYN_CHECKPOINT_PATH": "/nowhere"})
    says(missing, "cold start: there is no /nowhere/web")
    equal(status_of(missing), 0, "status")
    nothing = place.wait(program=NAMES[1])
    equal(status_of(nothing), 1, "status without a command")


@test
def a_snapshot(place):
    """smart-entrypoint waits when it sees our snapshot, and is restored into"""
    place.snapshot()
    (place.store / "web/checkpoint.done").write_text('{"success": true}')
    container, _ = place.restored("sh", "-c", "echo cold; exit 4", program=NAMES[2],
                                  mounts=[(place.store, "/checkpoints", "rbind,ro")],
                                  env={"DYN_CHECKPOINT_HASH": "web"})
    container.kill()
    says(container, "there is a snapshot in /checkpoints/web")
    equal(status_of(container), 7, "status")


@test
def bad_usage(place):
    """Wrong options: status 2"""
    for words in (["--fly"], ["--wait"], ["--wait", "soon", "true"], ["--wait", "-1", "true"]):
        container = place.wait(*words)
        try:
            says(container, "usage:")
        except machine.Failure:  # who ends at once may be gone before its output is fetched
            container = place.wait(*words)
            says(container, "usage:")
        equal(status_of(container), 2, f"status of {words}")
    missing = place.wait("--wait", "1", "/bin/never")
    equal(status_of(missing), 127, "status of a command that is not there")


def main():
    try:
        with bed.Bed() as here:
            return run_all(Place(here))
    except bed.Unavailable as reason:
        print(f"1..0 # SKIP {reason}")
        return 0


if __name__ == "__main__":
    sys.exit(main())
