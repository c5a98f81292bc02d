#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What snapshotctl needs of a machine to save a container and to bring it back: measured.

Run by hand, as root, a few minutes: `sudo python3 tests/container/privileges.py [--build DIR]`. It
prints the tables of docs/privileges.md.

Each Linux capability in turn is taken away (from the bounding set, so that nobody gets it back) and
a container is saved, and one restored into; then all at once that made no difference. The same
with namespaces of its own, and with parts of the file system hidden or read-only. Three containers
are tried: one whose processes have no capabilities; a plain one; and one that has about everything:
processes of another user, files of theirs that nobody else may read, a file with capabilities, a
device, established connections.
"""
import argparse
import os
import pathlib
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "root"))
import bed  # noqa: E402
import faults  # noqa: E402
import machine  # noqa: E402
from fault_tools import Place  # noqa: E402
from suite import Failure, Log  # noqa: E402

PLAIN = r"""
import os, signal
queue, count = os.pipe(), 0
os.set_blocking(queue[1], False)
signal.set_wakeup_fd(queue[1])
signal.signal(signal.SIGUSR1, lambda *_: None)
open("/etc/changed", "w").write("here")
print("ready", flush=True)
while os.read(queue[0], 1):
    count += 1
    good = open("/etc/changed").read() == "here"
    print(f"ok {count}" if good else "wrong", flush=True)
"""
FULL = r"""
import os, signal, socket, stat, struct
queue, count = os.pipe(), 0
os.set_blocking(queue[1], False)
signal.set_wakeup_fd(queue[1])
signal.signal(signal.SIGUSR1, lambda *_: None)
USER, CAPABLE = 1234, struct.pack("<5I", 0x02000000, 1 << 10, 0, 0, 0)
os.makedirs("/data", exist_ok=True)
open("/data/program", "w").write("#!/bin/sh\n")
os.setxattr("/data/program", "security.capability", CAPABLE)
os.mknod("/data/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
open("/data/owned", "w").write("theirs")
os.chown("/data/owned", USER, USER)
os.chmod("/data/owned", 0o400)
os.mkdir("/data/closed", 0o700)
open("/data/closed/file", "w").write("closed")
os.chmod("/data/closed/file", 0o4700)
os.chown("/data/closed", USER, USER)
deleted = open("/data/deleted", "w+b", 0)
os.unlink("/data/deleted")
linked = open("/data/first", "w+b", 0)
os.link("/data/first", "/data/second")
os.unlink("/data/first")
loop = socket.create_server(("127.0.0.1", 7000))
near = socket.create_connection(("127.0.0.1", 7000))
far = loop.accept()[0]
ask, asked = os.pipe()
answer, answered = os.pipe()
if os.fork() == 0:
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    while os.read(ask, 1):
        good = os.getuid() == USER and open("/data/owned").read() == "theirs"
        os.write(answered, b"y" if good else b"n")
    os._exit(0)
print("ready", flush=True)
while os.read(queue[0], 1):
    count += 1
    os.write(asked, b"?")
    near.send(b"x")
    owned, closed, null = os.stat("/data/owned"), os.stat("/data/closed"), os.stat("/data/null")
    checks = {
        "user": os.read(answer, 1) == b"y", "connection": far.recv(1) == b"x",
        "capability": os.getxattr("/data/program", "security.capability") == CAPABLE,
        "owner": owned.st_uid == owned.st_gid == USER and closed.st_uid == USER,
        "mode": os.stat("/data/closed/file").st_mode & 0o7777 == 0o4700,
        "device": stat.S_ISCHR(null.st_mode) and null.st_rdev == os.makedev(1, 3),
        "names": os.fstat(linked.fileno()).st_nlink == 1 and os.fstat(deleted.fileno()).st_nlink == 0,
    }
    wrong = [name for name, good in checks.items() if not good]
    print(f"wrong {wrong}" if wrong else f"ok {count}", flush=True)
"""
USUAL = ("chown", "dac_override", "fsetid", "fowner", "mknod", "net_raw", "setgid", "setuid", "setfcap",
         "setpcap", "net_bind_service", "sys_chroot", "kill", "audit_write")
WORKLOADS = {"bare": PLAIN, "plain": PLAIN, "full": FULL}
CALL_TIMEOUT = 60
PLACES = {
    "own network namespace": ["unshare", "--net"],
    "own IPC namespace": ["unshare", "--ipc"],
    "own UTS namespace": ["unshare", "--uts"],
    "own cgroup namespace": ["unshare", "--cgroup"],
    "own mount namespace": ["unshare", "--mount"],
    "all of these": ["unshare", "--net", "--ipc", "--uts", "--cgroup", "--mount"],
    "own pid namespace": ["unshare", "--pid", "--fork", "--mount-proc"],
}


def inside(script, *words):
    """In a mount namespace in which a script has changed something."""
    return ["unshare", "--mount", "sh", "-c", f"{script} && exec \"$@\"", "sh", *words]


def paths(containerd, store):
    return {
        "/sys/fs/cgroup read-only": inside(
            "for m in $(awk '$5 ~ \"^/sys/fs/cgroup\" {print $5}' /proc/self/mountinfo | sort -r); "
            "do mount -o remount,bind,ro $m || exit 1; done"),
        "/sys/fs/cgroup hidden": inside("mount -t tmpfs none /sys/fs/cgroup"),
        "the runtime's storage hidden": inside(
            f"mount -t tmpfs none {containerd.root} && mount -t tmpfs none {containerd.state}"),
        "/run empty": inside("mount -t tmpfs none /run"),
        "/ read-only, but for the store": inside(
            f"mount --bind {store} {store} && mount -o remount,bind,ro /"),
        "/dev with null only": inside(
            "touch /tmp/stasis-null && mount --bind /dev/null /tmp/stasis-null && "
            "mount -t tmpfs none /dev && touch /dev/null && mount --move /tmp/stasis-null /dev/null"),
    }


class Trial:
    def __init__(self, settings, here, containerd, kind):
        self.place = Place(settings)
        self.kind = kind
        self.containerd = containerd
        self.here = here
        self.number = 0
        self.source = self.run(WORKLOADS[kind])
        self.log = Log(self.source.log)
        self.source.wait_text("ready")
        self.answer(self.source.pid, self.log)
        self.targets = 0
        self.target = None
        self.place.must(*self.checkpoint("good"))
        self.saved = self.number

    def run(self, text):
        name = self.here.next_name(self.kind)
        command = ["python3", "-c", text] if text else ["sleep", "1000000"]
        drop = [f"CAP_{word.upper()}" for word in USUAL] if self.kind == "bare" else ()
        return self.containerd.run("python", name, command, drop=drop)

    def answer(self, pid, log, number=None):
        if number is None:
            self.number += 1
            number = self.number
        faults.answer_of(pid, log, number)

    def checkpoint(self, name):
        return ["checkpoint", "--pid", str(self.source.pid), "--id", name, "--leave-running"]

    def call(self, prefix, *arguments):
        """Status 0, or the code of the error."""
        place = self.place
        done = machine.run(*prefix, place.settings.snapshotctl, "--root", place.root, "--json",
                           *arguments, check=False, env=place.environment, timeout=CALL_TIMEOUT)
        if done.returncode == 0:
            return None
        found = [line.split()[1] for line in done.stderr.splitlines() if "  code: " in line]
        return found[0] if found else f"status {done.returncode}: {done.stderr[-80:]!r}"

    def capture(self, prefix):
        problem = self.call(prefix, *self.checkpoint("trial"))
        self.place.expect_quiet()
        self.answer(self.source.pid, self.log)
        if problem is None:
            problem = self.restore([], "trial", self.number - 1)
            problem = problem and f"saved, but not well: {problem}"
        self.call([], "delete", "trial", "--all-versions")
        return problem

    def restore(self, prefix, name="good", number=None):
        target = self.run(None)
        problem = self.call(prefix, "restore", name, "--container-pid", str(target.pid))
        if problem is None:
            tree = faults.tree_of(target.pid)[1:]
            first = [pid for pid in tree if faults.inner_pid(pid) == 1]
            try:
                self.answer(first[0], Log(target.log), (number or self.saved) + 1)
            except (Failure, IndexError) as failure:
                problem = f"restored, but not well: {failure}"
        for pid in reversed(faults.tree_of(target.pid)):
            faults.kill(pid)
        self.containerd.ctr("tasks", "delete", "--force", target.id, check=False)
        self.containerd.ctr("containers", "delete", target.id, check=False)
        return problem


def capabilities():
    """Names of those that this machine's root has, and of those it lacks."""
    mask = int(next(line.split()[1] for line in machine.read("/proc/self/status").splitlines()
                    if line.startswith("CapBnd:")), 16)
    last = int(machine.read("/proc/sys/kernel/cap_last_cap"))
    names = [machine.run("capsh", f"--decode={1 << number:x}").stdout.strip().partition("=")[2]
             for number in range(last + 1)]
    return ([name for number, name in enumerate(names) if mask >> number & 1],
            [name for number, name in enumerate(names) if not mask >> number & 1])


def without(name):
    word = name.removeprefix("cap_")
    return ["setpriv", f"--bounding-set=-{word}", f"--inh-caps=-{word}"]


def only(names):
    words = ",".join(["-all"] + [f"+{name.removeprefix('cap_')}" for name in names])
    return ["setpriv", f"--bounding-set={words}", "--inh-caps=-all"]


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def word_of(problem):
    return "works" if problem is None else problem.replace("\n", " ")[:120]


def table(title, trials, prefixes):
    steps = [(kind, step) for kind in trials for step in ("capture", "restore")]
    row(title, *(f"{step} ({kind})" for kind, step in steps))
    row(*["---"] * (len(steps) + 1))
    seen = {}
    for name, prefix in prefixes.items():
        results = {one: getattr(trials[one[0]], one[1])(prefix) for one in steps}
        seen[name] = results
        if any(results.values()) or not name.startswith("cap_"):
            row(name, *(word_of(results[one]) for one in steps))
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build")
    settings = parser.parse_args()
    settings.snapshotctl = str(settings.build / "src/cli/snapshotctl")
    with bed.Bed() as here:
        settings.directory = str(here.directory / "places")
        os.mkdir(settings.directory)
        containerd = here.containerd("1.7", "runc")
        trials = {kind: Trial(settings, here, containerd, kind) for kind in WORKLOADS}
        present, absent = capabilities()
        print(f"Linux {'.'.join(os.uname().release.split('.')[:2])}; not available in the test: "
              f"{', '.join(absent) or 'none'}\n")
        seen = table("without", trials, {name: without(name) for name in present})
        needed = {step: [name for name in present if any(
            problem for one, problem in seen[name].items() if one[1] == step)]
            for step in ("capture", "restore")}
        print("\nNo difference: " + ", ".join(
            name for name in present if not any(seen[name].values())) + "\n")
        both = [name for name in present if name in needed["capture"] + needed["restore"]]
        table("with these only", trials, {
            "for capture: " + ", ".join(needed["capture"]): only(needed["capture"]),
            "for restore: " + ", ".join(needed["restore"]): only(needed["restore"]),
            "both": only(both)})
        print()
        table("from", trials, PLACES)
        print()
        table("with", trials, paths(containerd, settings.directory))
        print()
        table("at once", trials, {"no more than these, and all namespaces of its own but pid":
                                  [*PLACES["all of these"], *only(both)]})
        for trial in trials.values():
            trial.place.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
