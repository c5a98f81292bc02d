#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Containers never get hurt: everything that can go wrong with a capture or a restore does, for real.

  capture     every fault point of a checkpoint fails, and kills snapshotctl: the container runs on
              undisturbed, and the next checkpoint works
  restore     the same for a restore, in snapshotctl and in nsrestore: the target has its own process
              and nothing else, the snapshot is sound, and the next restore into it works
  killed      while the story is held at one of its steps, somebody of it is killed
  room        the store is full, or the target, or the target can't be written
  damage      a flipped byte is found before anything is touched

One container is captured and one is restored into again and again, as long as they are whole.
What is printed is TAP.
"""
import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "root"))
import bed  # noqa: E402
import machine  # noqa: E402
import fault_tools  # noqa: E402
from fault_tools import expect, kill, tree_of  # noqa: E402
from machine import alive  # noqa: E402
from suite import Failure, Log, Result, Skip, Tap, process_paths, wait_until  # noqa: E402

POINTS = HERE.parents[1] / "src/basic/fault-points.def"
EXIT_DAMAGED = 4
SETTLE_TIMEOUT = 40
HOWS = ("fail", "kill")
# Of a container that is captured: those that a capture passes with --leave-running, and without.
NEVER = {"image-delete"}
ONLY_LEFT, ONLY_ENDED = {"capture-resumed"}, {"capture-let-go"}
RESTORE_POINTS_OF_OTHERS = {"restore-record"}

# Counts its answers in memory, in a second process, in a file without a name, in a file that lost one
# of its two names, in shared memory and in a file of the image: an answer is right in all of them.
COUNTER = r"""
import os, signal, threading, time
os.makedirs("/data", exist_ok=True)
deleted = open("/data/deleted", "w+b", 0)
os.unlink("/data/deleted")
linked = open("/data/first", "w+b", 0)
os.link("/data/first", "/data/second")
os.unlink("/data/first")
shared = open("/dev/shm/count", "w+b", 0)
changed = open("/etc/count", "w+b", 0)
open("/scratch/word", "w").write("here")
ask, asked = os.pipe()
answer, answered = os.pipe()
if os.fork() == 0:
    count = 0
    while os.read(ask, 1):
        count += 1
        os.write(answered, b"%9d\n" % count)
    os._exit(0)
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.005)
threading.Thread(target=tick, daemon=True).start()
count, queue = 0, os.pipe()
os.set_blocking(queue[1], False)
signal.set_wakeup_fd(queue[1])  # whichever thread a signal comes to
signal.signal(signal.SIGUSR1, lambda *_: None)
print("ready", flush=True)
while os.read(queue[0], 1):
    count += 1
    os.write(asked, b"?")
    seen = [int(os.read(answer, 10))]
    for file in (deleted, linked, shared, changed):
        file.write(b"x")
        seen.append(os.fstat(file.fileno()).st_size)
    before = ticks
    time.sleep(0.02)
    good = set(seen) == {count} and ticks > before and open("/scratch/word").read() == "here"
    print(f"ok {count}" if good else f"wrong {count} {seen} {before} {ticks}", flush=True)
"""
PLACEHOLDER = ["sleep", "1000000"]
WITH_TARGET = ("placeholder", "stop", "shim")  # with them the target ends
MOUNTS = {"tmpfs": ["/scratch"]}


def points_of(*prefixes, without=()):
    names = re.findall(r'^FAULT\("([^"]+)"\)$', POINTS.read_text(), re.MULTILINE)
    return [name for name in names if name.startswith(prefixes) and name not in without]


def fault_of(point, how):
    return point if how == "fail" else f"{point}:{how}"


def cgroup_members(name):
    """Processes in the control groups of a container, in whichever hierarchies there are."""
    found = set()
    roots = [machine.CGROUPS] if machine.cgroup_version() == 2 else machine.CGROUPS.iterdir()
    for root in roots:
        # A group may go while it is looked at: os.walk() takes that for an empty one.
        for directory, _, _ in os.walk(root / name):
            found.update(int(word) for word in machine.read(f"{directory}/cgroup.procs").split())
    return found


def link_of(pid, name):
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return ""


class Place(fault_tools.Place):
    """A store, and a look at what may be left of snapshotctl."""

    def __init__(self, settings, here):
        self.here = here
        super().__init__(settings)

    def is_ours(self, pid):
        """Helpers carry the mark in their environment, but for CRIU, which writes its title over it
        and has files of the store open. Workloads are of a container and know nothing of us."""
        return self.mark.encode() in fault_tools.environment_of(pid).split(b"\0") or \
            any(path.startswith(self.directory) for path in process_paths(pid))

    def leftovers(self):
        return [str(path) for path in pathlib.Path(self.root).glob("*/versions/.*")] + [
            f"mount {line}" for line in fault_tools.mounts()
            if self.directory in line and f" {self.root} " not in line]

    def forget_snapshots(self):
        for name in {reference.partition("@")[0] for reference in self.snapshots()}:
            self.must("delete", name, "--all-versions")
        self.expect_clean()


class Captured:
    """The container that is captured."""

    def __init__(self, place, containerd, name):
        self.place = place
        self.container = containerd.run("python", name, ["python3", "-c", COUNTER], **MOUNTS)
        self.pid = self.container.pid
        self.container.wait_text("ready")
        self.log = Log(self.container.log)
        self.number = 0
        self.picture = {}
        self.mounts = ""
        self.answer()

    @property
    def selection(self):
        return ["--pid", str(self.pid), "--id", "web"]

    def processes(self):
        return set(tree_of(self.pid))

    def answer(self):
        self.number += 1
        answer_of(self.pid, self.log, self.number)

    def note(self):
        self.picture = {pid: fault_tools.picture_of(pid) for pid in self.processes()}
        self.mounts = machine.read(f"/proc/{self.pid}/mountinfo")
        self.files = self.names()

    def names(self):
        root = pathlib.Path(f"/proc/{self.pid}/root")
        return sorted(str(path) for top in ("data", "dev", "etc", "run", "tmp", "scratch")
                      for path in (root / top).rglob("*") if "/pts/" not in str(path))

    def alive(self):
        return alive(self.pid)

    def expect_undisturbed(self, mappings=True):
        for pid, before in self.picture.items():
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                state, tracer, *_ = fault_tools.state_of_task(task)
                expect(state not in "tTZ" and tracer == "0",
                       f"expected thread {task} to run untraced, seen {state}, {tracer}")
            now = fault_tools.picture_of(pid)
            if not mappings:
                now["mappings"] = before["mappings"]
            for key, value in before.items():
                expect(now[key] == value, f"expected the same {key} in process {pid} ("
                       f"{machine.read(f'/proc/{pid}/cmdline')[:40]!r}), seen "
                       f"{[one for one in now[key] if one not in value]} now and "
                       f"{[one for one in value if one not in now[key]]} before")
        expect(self.processes() == set(self.picture), "expected the same processes")
        expect(machine.read(f"/proc/{self.pid}/mountinfo") == self.mounts, "expected no new mount")
        expect((left := sorted(set(self.names()) ^ set(self.files))) == [],
               f"expected no new file, seen {left}")
        members = cgroup_members(f"{self.place.here.name}/{self.container.id}")
        expect(members == set(self.picture), f"expected no stranger in its control group: {members}")
        self.answer()
        expect(self.container.status() == "RUNNING", "expected the runtime to know that it runs")


def answer_of(pid, log, number):
    offset = log.size()
    try:
        os.kill(pid, signal.SIGUSR1)
    except ProcessLookupError:
        raise Failure(f"expected 'ok {number}', seen no process {pid}") from None
    line = log.line_after(offset, pid)
    expect(line == f"ok {number}", f"expected 'ok {number}', seen {line!r}")


class Target:
    """The container that snapshots are restored into."""

    def __init__(self, place, containerd, name, **options):
        self.place = place
        self.container = containerd.run("python", name, PLACEHOLDER, **{**MOUNTS, **options})
        self.pid = self.container.pid
        self.log = Log(self.container.log)
        self.mounts = machine.read(f"/proc/{self.pid}/mountinfo")
        self.space = link_of(self.pid, "ns/pid")

    def files(self):
        """Names, with when they were changed."""
        root = pathlib.Path(f"/proc/{self.pid}/root")
        return [(str(path), path.lstat().st_ctime_ns) for top in ("data", "etc", "scratch")
                for path in (root / top).rglob("*")]

    def members(self):
        """Whoever lives in it, beside its first process."""
        found = cgroup_members(f"{self.place.here.name}/{self.container.id}") | set(tree_of(self.pid))
        found |= {pid for pid in fault_tools.all_pids() if link_of(pid, "ns/pid") == self.space}
        return {pid for pid in found if alive(pid)} - {self.pid}

    def expect_untouched(self):
        """Only its own first process, and no helper anywhere, soon."""
        def quiet():
            return not self.members() and not self.place.marked()

        try:
            wait_until(quiet, "the end of all", SETTLE_TIMEOUT)
        except Failure:
            seen = {pid: (fault_tools.name_of(pid), machine.read(f"/proc/{pid}/wchan"),
                          fault_tools.parent_of(pid)) for pid in self.members() | self.place.marked()}
            raise Failure(f"expected the placeholder alone, seen {seen}") from None
        expect(alive(self.pid), "expected the placeholder to run on")
        expect(machine.read(f"/proc/{self.pid}/mountinfo") == self.mounts, "expected no new mount")
        expect(link_of(self.pid, "ns/pid") == self.space, "expected the same namespace")

    def expect_restored(self, done, number):
        """It runs, counts on, and is ended again."""
        expect(done.status == 0, f"expected the restore to work: {done}")
        pid = done.answer["pid"]
        answer_of(pid, self.log, number + 1)
        expect(self.members() == set(tree_of(pid)), f"expected the tree of {pid} alone in it, seen "
               f"{self.members()}")
        expect(not self.place.marked(), "expected no helper to be left")
        kill(pid)
        self.expect_untouched()

    def restore(self, number):
        self.expect_restored(self.place.call("restore", "web", "--container-pid", str(self.pid)),
                             number)


class Suite:
    """What all cases share."""

    def __init__(self, settings, here):
        self.settings = settings
        self.here = here
        self.containerd = here.containerd("1.7", "runc")
        self.place = None
        self.source = None
        self.target = None
        self.saved = None  # the number that the snapshot "web" was taken at
        self.count = 0

    def begin(self):
        if self.place is None:
            self.place = Place(self.settings, self.here)

    def abandon(self):
        """After a failure nothing is trusted any more."""
        for one in (self.source, self.target):
            self.end(one)
        if self.place is not None:
            self.place.remove()
        self.place = self.source = self.target = self.saved = None

    def end(self, one):
        if one is None:
            return
        for pid in tree_of(one.pid) + list(one.members() if isinstance(one, Target) else ()):
            kill(pid)
        self.containerd.ctr("tasks", "delete", "--force", one.container.id, check=False)
        self.containerd.ctr("containers", "delete", one.container.id, check=False)

    def name(self, word):
        self.count += 1
        return f"{word}-{self.count}"

    def need_source(self):
        self.begin()
        if self.source is None or not self.source.alive():
            self.end(self.source)
            self.source = Captured(self.place, self.containerd, self.name("source"))
        return self.source

    def need_target(self):
        self.begin()
        if self.target is None or not alive(self.target.pid):
            self.end(self.target)
            self.target = Target(self.place, self.containerd, self.name("target"))
        return self.target

    def need_snapshot(self):
        """The newest one of the source, and the number that comes back with it."""
        if self.saved is None:
            source = self.need_source()
            self.place.must("checkpoint", *source.selection, "--leave-running")
            self.saved = source.number
        return self.saved

    def drop_snapshots(self):
        self.saved = None
        self.place.forget_snapshots()

    def expect_faulted(self, done, point, how):
        if how == "kill" and not point.startswith("nsrestore-"):
            expect(done.status == -signal.SIGKILL, f"expected it to be killed at {point}: {done}")
            return
        expect(done.status not in (0, -signal.SIGKILL), f"expected it to fail at {point}: {done}")
        if how == "kill":
            expect(done.code == "nsrestore-died", f"expected the helper to have died: {done}")
        else:
            expect(done.code == "injected" and f"fault point {point}" in done.message,
                   f"expected the message to name {point}: {done}")

    def expect_unhurt(self, before, mappings=True):
        place, source = self.place, self.source
        place.expect_quiet()
        added = [name for name in place.snapshots() if name not in before]
        for reference in added:
            place.expect_sound(reference)
        expect(source.alive(), "expected the container to run on")
        source.expect_undisturbed(mappings)
        return added

    def expect_capture_works(self):
        """Also one that takes away what was left before it."""
        place, source = self.place, self.source
        done = place.must("checkpoint", *source.selection, "--leave-running")
        place.must("verify", f"{done['id']}@{done['version']}")
        place.expect_quiet()
        place.expect_clean()
        source.answer()

    # The cases

    def cases(self):
        yield from self.capture_cases()
        yield from self.restore_cases()
        yield from self.killed_cases()
        yield from self.room_cases()
        yield from self.damage_cases()

    def capture_cases(self):
        for options, without in (([], NEVER | ONLY_LEFT), (["--leave-running"], NEVER | ONLY_ENDED)):
            for point in points_of("capture-", "image-", without=without):
                for how in HOWS:
                    name = " ".join(["capture:", *options, point, how])
                    yield name, lambda p=point, h=how, o=options: self.capture(p, h, o)

    def capture(self, point, how, options):
        source = self.need_source()
        source.note()
        before = self.place.snapshots()
        done = self.place.call("checkpoint", *source.selection, *options,
                               fault=fault_of(point, how))
        self.expect_faulted(done, point, how)
        self.expect_unhurt(before)
        self.expect_capture_works()
        self.drop_snapshots()

    def restore_cases(self):
        for point in points_of("restore-", "nsrestore-", without=RESTORE_POINTS_OF_OTHERS):
            for how in HOWS:
                yield f"restore: {point} {how}", lambda p=point, h=how: self.restore(p, h)

    def restore(self, point, how):
        number, target = self.need_snapshot(), self.need_target()
        done = self.place.call("restore", "web", "--container-pid", str(target.pid),
                               fault=fault_of(point, how))
        self.expect_faulted(done, point, how)
        self.expect_whole(number)

    def expect_whole(self, number):
        """After a restore that went wrong."""
        self.target.expect_untouched()
        self.place.expect_sound(self.place.snapshots()[-1])
        self.target.restore(number)

    # Killed

    CAPTURE_HELD = ("capture-frozen", "capture-rootfs", "capture-seal", "image-rename")
    AFTER_CRIU = ("capture-seal", "image-rename")  # when the source is left running
    # Of a CRIU that ends "unseen" its parent, who stands still, has not heard yet.
    CAPTURE_VICTIMS = ("snapshotctl", "between", "criu", "criu unseen", "snapshotctl and criu", "first")
    RESTORE_HELD = ("restore-rootfs", "nsrestore-entered", "nsrestore-proc", "restore-restored",
                    "restore-resumed", "nsrestore-release")
    RUNS_ALREADY = ("restore-resumed", "nsrestore-release")
    RESTORE_VICTIMS = ("snapshotctl", "nsrestore", "criu", "nsrestore and snapshotctl",
                       "nsrestore and criu", "reaper", "nsrestore and reaper", "placeholder", "stop", "shim")

    def killed_cases(self):
        for point in self.CAPTURE_HELD:
            for victim in self.CAPTURE_VICTIMS:
                for options in ([], ["--leave-running"]):
                    if options and point in self.AFTER_CRIU and ("criu" in victim or
                                                                 victim == "between"):
                        continue  # they have ended
                    name = " ".join(["killed: capture", *options, f"{victim} at {point}"])
                    yield name, lambda p=point, v=victim, o=options: self.capture_killed(p, v, o)
        for point in self.RESTORE_HELD:
            for victim in self.RESTORE_VICTIMS:
                if point == "restore-rootfs" and victim in ("nsrestore", "criu", "reaper") or \
                        point == "nsrestore-entered" and victim == "reaper" or \
                        " and " in victim and point in ("restore-rootfs", "nsrestore-entered"):
                    continue  # they are not there yet
                if "criu" in victim and point in ("nsrestore-entered", "restore-resumed",
                                                  "nsrestore-release"):
                    continue  # not there yet, or no longer
                yield (f"killed: restore {victim} at {point}",
                       lambda p=point, v=victim: self.restore_killed(p, v))

    def held(self, point, *arguments):
        """A command that has stopped at a point, in snapshotctl or in nsrestore."""
        place = self.place
        running = place.start(*arguments, fault=f"{point}:stop")
        found = []

        def stopped():
            found[:] = place.find("nsrestore") if point.startswith("nsrestore-") else [running.pid]
            found[:] = [pid for pid in found if state_of(pid) == "T"]
            return found or running.ended()

        try:
            wait_until(stopped, f"it to be at {point}")
        except Failure:
            kill(running.pid)
            raise
        if not found:
            raise Failure(f"expected it to stop at {point}: {running.wait()}")
        return running, found[0]

    def parts(self, running, one):
        """(pid, how it is killed) of those that a word stands for."""
        place = self.place
        criu = place.find("criu")
        if one == "between":
            return [fault_tools.parent_of(pid) for pid in criu]
        return {"snapshotctl": lambda: [running.pid], "criu": lambda: criu, "criu unseen": lambda: criu,
                "nsrestore": lambda: place.find("nsrestore"),
                "reaper": lambda: place.find("stasis-reaper"),
                "first": lambda: [self.source.pid],
                "placeholder": lambda: [self.target.pid],
                "shim": lambda: [fault_tools.parent_of(self.target.pid)]}[one]()

    def strike(self, running, holder, victim):
        """Kills all that the words stand for, and lets the one that was held go on."""
        if victim == "stop":
            self.containerd.ctr("tasks", "kill", "--all", "-s", "9", self.target.container.id,
                                check=False)
        pids = [pid for one in victim.split(" and ") if one != "stop"
                for pid in self.parts(running, one)]
        expect(pids or victim == "stop", f"expected {victim} to be there")
        # Who is left of a double kill takes away what CRIU left, and ends.
        last = self.parts(running, "between") if victim == "snapshotctl and criu" else []
        unaware = self.parts(running, "between") if victim == "criu unseen" else []
        for pid in unaware:
            kill(pid, signal.SIGSTOP)
            wait_until(lambda: state_of(pid) == "T", "a parent that stands still")
        for pid in pids:
            kill(pid)
        wait_until(lambda: not any(alive(pid) for pid in last), "the end of CRIU's parent")
        if victim not in WITH_TARGET:  # which ends when those who look after its children let it
            wait_until(lambda: not any(alive(pid) for pid in pids), f"the end of {victim}")
        kill(holder, signal.SIGCONT)
        if unaware:
            time.sleep(0.5)
        for pid in unaware:
            kill(pid, signal.SIGCONT)
        return running.wait()

    def capture_killed(self, point, victim, options):
        source = self.need_source()
        source.note()
        running, holder = self.held(point, "checkpoint", *source.selection, *options)
        done = self.strike(running, holder, victim)
        place = self.place
        place.expect_quiet()
        for reference in place.snapshots():
            place.expect_sound(reference)
        if victim == "first":
            wait_until(lambda: not source.alive(), "its end")
            expect(done.code or done.status == 0, f"expected it to say what happened: {done}")
        else:
            expect(done.status != 0, f"expected it to fail: {done}")
            if "snapshotctl" not in victim:
                expect(done.code == "criu-died", f"expected it to say what happened: {done}")
            # A CRIU that is killed leaves its own mappings in the processes.
            self.expect_unhurt([], mappings="criu" not in victim)
        self.need_source()
        self.expect_capture_works()
        self.drop_snapshots()

    def restore_killed(self, point, victim):
        number, target = self.need_snapshot(), self.need_target()
        running, holder = self.held(point, "restore", "web", "--container-pid", str(target.pid))
        done = self.strike(running, holder, victim)
        place = self.place
        if "snapshotctl" not in victim:
            expect(done.code or done.status == 0, f"expected it to say what happened: {done}")
        if victim in WITH_TARGET:
            self.expect_gone_together(done, victim, point in self.RUNS_ALREADY)
        elif "snapshotctl" in victim and point == "nsrestore-release":
            self.expect_all_or_nothing(number)
        elif victim == "reaper" and point == "nsrestore-release":  # nobody needs it any more
            target.expect_restored(done, number)
        else:
            expect(done.status != 0, f"expected it to fail: {done}")
            self.expect_whole(number)
        place.expect_sound(place.snapshots()[-1])
        self.need_target().restore(number)

    def expect_gone_together(self, done, victim, late):
        """With the target goes all that was in it."""
        target = self.target
        try:
            wait_until(lambda: not target.members() and not self.place.marked(), "the end of all",
                       SETTLE_TIMEOUT)
        except Failure:
            seen = {pid: fault_tools.name_of(pid) for pid in target.members() | self.place.marked()}
            raise Failure(f"expected nothing to be left, seen {seen}: {done}") from None
        if victim != "shim":
            wait_until(lambda: not alive(target.pid), "the end of the target", SETTLE_TIMEOUT)
        expect(victim == "shim" or done.status != 0 or late, f"expected it to fail: {done}")
        kill(target.pid)
        wait_until(lambda: not alive(target.pid), "the end of the target", SETTLE_TIMEOUT)

    def expect_all_or_nothing(self, number):
        """The helper was told that all is well before it was known that nobody wants it."""
        target = self.target
        wait_until(lambda: not self.place.marked(), "the end of all helpers", SETTLE_TIMEOUT)
        first = [pid for pid in target.members() if inner_pid(pid) == 1]
        if first:
            answer_of(first[0], target.log, number + 1)
            kill(first[0])
        target.expect_untouched()

    # No room

    PARTS = (0.02, 0.4, 0.8, 0.97)

    def room_cases(self):
        for part in self.PARTS:
            for options in ([], ["--leave-running"]):
                name = " ".join(["room: capture", *options, f"{part:.0%} of the room"])
                yield name, lambda p=part, o=options: self.store_full(p, o)
        yield "room: the target is full", self.target_full
        yield "room: the target is read-only", self.target_read_only

    def store_full(self, part, options):
        source, place = self.need_source(), self.place
        full = Full(place.root)
        if not full.is_mounted():
            self.drop_snapshots()
            full.mount()
        before = full.used()
        place.must("checkpoint", *source.selection, "--leave-running")
        size = full.used() - before
        self.drop_snapshots()
        source.note()
        full.resize(full.used() + int(size * part))
        done = place.call("checkpoint", *source.selection, *options)
        full.resize("1g")
        expect(done.status != 0 and done.code == "disk-full", f"expected code disk-full: {done}")
        added = self.expect_unhurt([])
        expect(not added, f"expected no snapshot, seen {added}")
        place.expect_clean()
        self.expect_capture_works()
        self.drop_snapshots()

    def target_full(self):
        """A containerd on a small disk of its own."""
        number, place = self.need_snapshot(), self.place
        full = Full(self.here.directory / f"c{self.here.count + 1}")
        full.mount()
        containerd = self.here.containerd("1.7", "runc")
        expect(str(containerd.directory) == str(full.path), "expected it on the small disk")
        target = Target(place, containerd, self.name("target"))
        full.resize(full.used())
        done = place.call("restore", "web", "--container-pid", str(target.pid))
        full.resize("1g")
        expect(done.code == "disk-full", f"expected code disk-full: {done}")
        target.expect_untouched()
        target.restore(number)
        target.container.delete()

    def target_read_only(self):
        self.need_snapshot()
        target = Target(self.place, self.containerd, self.name("target"), read_only=True)
        done = self.place.call("restore", "web", "--container-pid", str(target.pid))
        expect(done.code == "rootfs-read-only", f"expected code rootfs-read-only: {done}")
        target.expect_untouched()
        target.container.delete()

    # Damage

    def damage_cases(self):
        for name in ("rootfs.tar", "memory-1.tar", "criu/files.img", "criu/pages-1.img"):
            yield f"damage: {name}", lambda n=name: self.damage(n)
        yield "damage: a large rootfs.tar", self.damage_large

    def flip(self, name):
        """The middle byte; returns what puts it back."""
        path = next(pathlib.Path(self.place.root).glob(f"web/versions/[0-9]*/{name}"))
        with open(path, "r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        return lambda: self.unflip(path)

    def unflip(self, path):
        with open(path, "r+b") as file:
            file.seek(path.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))

    def expect_refused(self, name, touched=False):
        target = self.need_target()
        files = target.files()
        back = self.flip(name)
        done = self.place.call("restore", "web", "--container-pid", str(target.pid))
        expect(done.status == EXIT_DAMAGED and done.code == "snapshot-damaged",
               f"expected code snapshot-damaged: {done}")
        target.expect_untouched()
        if not touched:
            expect((new := sorted(set(target.files()) ^ set(files))) == [],
                   f"expected no file of the target to be changed, seen {new}")
        back()

    def damage(self, name):
        number = self.need_snapshot()
        self.end(self.target)
        self.target = None  # nothing was brought into a new one yet
        # Pages are read while CRIU works with them.
        self.expect_refused(name, touched=name.startswith("criu/pages"))
        self.target.restore(number)

    def damage_large(self):
        """Larger than what is read beside other work."""
        self.drop_snapshots()
        large = pathlib.Path(f"/proc/{self.need_source().pid}/root/data/large")
        large.write_bytes(os.urandom(1 << 20) * 40)
        try:
            self.damage("rootfs.tar")
        finally:
            large.unlink()
            self.drop_snapshots()


class Full:
    """A small disk."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def is_mounted(self):
        return os.path.ismount(self.path)

    def mount(self):
        self.path.mkdir(exist_ok=True)
        machine.run("mount", "-t", "tmpfs", "-o", "size=1g,mode=711", "full", self.path)

    def resize(self, size):
        machine.run("mount", "-o", f"remount,size={size}", self.path)

    def used(self):
        state = os.statvfs(self.path)
        return (state.f_blocks - state.f_bfree) * state.f_frsize


def state_of(pid):
    text = machine.read(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split()[0] if text else ""


def inner_pid(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return 0


def run_all(settings, here):
    suite = Suite(settings, here)
    chosen = [(name, function) for name, function in suite.cases()
              if not settings.only or re.search(settings.only, name)]
    tap = Tap(len(chosen))
    for name, function in chosen:
        result = Result(name)
        start = time.monotonic()
        try:
            suite.begin()
            function()
        except (Skip, bed.Unavailable) as skip:
            result.skipped = str(skip)
        except Exception as error:  # a case that breaks has not passed, and the others go on
            result.problem = str(error) if isinstance(error, (Failure, machine.Failure)) else \
                traceback.format_exc()
        if result.problem:
            suite.abandon()
        result.seconds = time.monotonic() - start
        tap.report(result)
    suite.abandon()
    return tap.failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build")
    parser.add_argument("--only", help="a regular expression for the names of cases")
    settings = parser.parse_args()
    settings.snapshotctl = str(settings.build / "src/cli/snapshotctl")
    try:
        with bed.Bed() as here:
            settings.directory = str(here.directory / "places")
            os.mkdir(settings.directory)
            return 1 if run_all(settings, here) else 0
    except bed.Unavailable as reason:
        print(f"1..0 # SKIP {reason}")
        return 0


if __name__ == "__main__":
    sys.exit(main())
