#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The source never gets hurt: everything that can go wrong does, for real.

Tracks run side by side; each has a place of its own and works through its cases in order, mostly
with one and the same workload, which has to survive them all.

  capture     every fault point of a checkpoint fails, and kills snapshotctl; afterwards the source
              runs on undisturbed or a complete snapshot is there, and nothing else
  restore     the same for a restore: all of it runs or nothing of it
  orders      the source is told to end before it is frozen
  run         the same for starting a workload
  driver      every call of the CUDA driver fails
  killed      CRIU, the keeper, the CUDA worker and snapshotctl are killed at various moments
  disk full   at various moments
  damage      a flipped byte in every kind of file
  conflicts   two of everything at once
What is printed is TAP.
"""

import argparse
import concurrent.futures
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from fault_tools import (CudaSource, KindSource, OutsideSource, Place, TreeSource, expect, is_stopped,
                         kill, name_of, rewrite_manifest, tree_of)
from suite import Failure, Result, Skip, Tap, process_alive, wait_until

EXIT_DAMAGED = 4
EXIT_REFUSED = 3
HOWS = ("fail", "kill")

POINTS = pathlib.Path(__file__).resolve().parents[2] / "src/basic/fault-points.def"


# What only a container has: tests/container/faults.py passes these.
OF_CONTAINERS = {"capture-rootfs", "restore-memory", "restore-rootfs"}


def points_of(*prefixes, without=()):
    without = {*without, *OF_CONTAINERS}
    names = re.findall(r'^FAULT\("([^"]+)"\)$', POINTS.read_text(), re.MULTILINE)
    return [name for name in names if name.startswith(prefixes) and name not in without]


def fault_of(point, how):
    return point if how == "fail" else f"{point}:kill"


class Track:
    """Cases that share a place and run one after the other."""

    def __init__(self, settings):
        self.settings = settings
        self.place = None
        self.source = None

    def cases(self):
        """(name, function) of each."""
        raise NotImplementedError

    def make_source(self):
        return None

    def begin(self):
        """Before a case: a place and a running source, afresh after a failure."""
        if self.place is None:
            self.place = Place(self.settings)
        if self.source is None:
            self.source = self.make_source()

    def abandon(self):
        """After a failure nothing is trusted any more."""
        if self.place is not None:
            if self.settings.keep:
                self.place.end()
            else:
                self.place.remove()
        self.place = self.source = None

    def chosen(self):
        return [(name, function) for name, function in self.cases()
                if not self.settings.only or re.search(self.settings.only, name)]

    def run(self, report):
        for name, function in self.chosen():
            result = Result(name)
            start = time.monotonic()
            try:
                self.begin()
                function()
            except Skip as skip:
                result.skipped = str(skip)
            except Exception as error:  # a case that breaks has not passed, and the others go on
                result.problem = str(error) if isinstance(error, Failure) else \
                    traceback.format_exc()
            if result.problem:
                self.abandon()
            result.seconds = time.monotonic() - start
            report(result)
        self.abandon()

    # What has to hold

    def expect_faulted(self, done, point, how):
        """The command ended at that point and said so."""
        if how == "kill":
            expect(done.status == -signal.SIGKILL, f"expected it to be killed at {point}: {done}")
            return
        expect(done.status not in (0, -signal.SIGKILL), f"expected it to fail at {point}: {done}")
        expect(done.code == "injected" and f"fault point {point}" in done.message,
               f"expected the message to name {point}: {done}")

    def expect_unhurt(self, before):
        """After a capture that went wrong: the source runs on, or it was saved completely."""
        place, source = self.place, self.source
        place.expect_quiet([source])
        added = [name for name in place.snapshots() if name not in before]
        for reference in added:
            place.expect_sound(reference)
        if source.alive():
            source.expect_undisturbed()
        else:
            expect(added, "expected a snapshot, as the source has ended")
            source.restore(added[-1])
            source.answer()
        return set(added)

    def expect_capture_works(self):
        """A checkpoint afterwards works, and takes away what was left before it."""
        place, source = self.place, self.source
        done = place.must("checkpoint", *source.selection, "--leave-running")
        reference = f"{done['id']}@{done['version']}"
        place.must("verify", reference)
        place.expect_quiet([source])
        place.expect_clean()
        source.answer()
        return reference

    def forget_snapshots(self):
        for name in {reference.partition("@")[0] for reference in self.place.snapshots()}:
            self.place.must("delete", name, "--all-versions")
        self.place.expect_clean()


class CaptureTrack(Track):
    """Every fault point of a checkpoint, over one kind of source."""

    def __init__(self, settings, title, make, left_points=("capture-", "image-")):
        super().__init__(settings)
        self.title = title
        self.make = make
        self.left_points = left_points  # those to try with --leave-running

    def make_source(self):
        return self.make(self.place, "source").start()

    def cases(self):
        never_left = {"capture-let-go", "image-delete"}
        never_ended = {"capture-resumed", "image-delete"}
        for options, without, prefixes in (
                ([], never_ended, ("capture-", "image-")),
                (["--leave-running"], never_left, self.left_points)):
            for point in points_of(*prefixes, without=without):
                for how in HOWS:
                    name = " ".join([f"{self.title}: checkpoint", *options, point, how])
                    yield name, lambda p=point, h=how, o=options: self.capture(p, h, o)
        for how in HOWS:
            yield f"{self.title}: delete image-delete {how}", lambda h=how: self.delete(h)

    def capture(self, point, how, options):
        place, source = self.place, self.source
        source.note()
        before = place.snapshots()
        done = place.call("checkpoint", *source.selection, *options,
                          fault=fault_of(point, how))
        self.expect_faulted(done, point, how)
        self.expect_unhurt(before)
        self.expect_capture_works()
        self.forget_snapshots()

    def delete(self, how):
        reference = self.expect_capture_works()
        done = self.place.call("delete", reference, fault=fault_of("image-delete", how))
        self.expect_faulted(done, "image-delete", how)
        expect(reference not in self.place.snapshots(), "expected it to be out of sight")
        self.expect_capture_works()
        self.forget_snapshots()


class OrderTrack(Track):
    """The source is told to end while it is being saved: its copy would end as soon as it runs."""

    TAKEN = ("SIGTERM", "SIGINT", "SIGQUIT")

    def cases(self):
        for name in self.TAKEN:
            for options in ([], ["--leave-running"]):
                yield (" ".join(["orders: checkpoint", *options, name]),
                       lambda n=name, o=options: self.told(n, o))

    def told(self, name, options):
        place = self.place
        source = KindSource(place, "source")
        source.kind = "threads"
        source.start()
        running = place.start("checkpoint", source.name, *options, fault="capture-freeze:stop")
        wait_until(lambda: is_stopped(running.pid), "a checkpoint that has not frozen it yet")
        os.kill(source.pid, signal.SIGSTOP)  # so that it can't receive what it is sent
        wait_until(lambda: is_stopped(source.pid), "a source that stands still")
        os.kill(source.pid, signal.Signals[name])
        os.kill(running.pid, signal.SIGCONT)
        done = running.wait()
        expect(done.code == "workload-ending" and name in done.message,
               f"expected it to be refused: {done}")
        done = place.call("checkpoint", source.name, *options)
        expect(done.status == EXIT_REFUSED and done.code == "workload-ending",
               f"expected preflight to see it, too: {done}")
        expect(place.snapshots() == [], "expected no snapshot")
        os.kill(source.pid, signal.SIGCONT)
        wait_until(lambda: not source.alive(), "the end that it was told")
        place.expect_quiet()
        shutil.rmtree(source.files)
        os.mkdir(source.files)


class RestoreTrack(Track):
    """Every fault point of a restore. The source is saved once and restored again and again."""

    def __init__(self, settings, title, make):
        super().__init__(settings)
        self.title = title
        self.make = make
        self.saved_number = 0

    def make_source(self):
        source = self.make(self.place, "source").start()
        source.answer()
        self.place.must("checkpoint", *source.selection)
        self.saved_number = source.number
        expect(not source.alive(), "expected the source to end with its checkpoint")
        return source

    def cases(self):
        for point in points_of("restore-"):
            for how in HOWS:
                yield (f"{self.title}: restore {point} {how}",
                       lambda p=point, h=how: self.restore(p, h))

    def restore(self, point, how):
        done = self.place.call("restore", self.source.id, "--detach",
                               fault=fault_of(point, how))
        self.expect_faulted(done, point, how)
        self.expect_nothing_runs()
        if how == "fail":  # what a kill leaves, the next restore removes
            self.place.expect_clean()
        self.expect_restore_works()

    def expect_nothing_runs(self):
        place = self.place
        place.expect_quiet()
        expect(place.living_names() == [], f"expected no name in use, seen {place.living_names()}")
        for reference in place.snapshots():
            place.expect_sound(reference)

    def expect_restore_works(self, *options):
        self.source.number = self.saved_number
        self.source.restore(None, *options)
        self.source.answer()
        self.place.expect_quiet([self.source])
        self.source.stop()
        self.place.expect_quiet()
        self.place.expect_clean()


class RunTrack(Track):
    def cases(self):
        for options in ([], ["--host-pids"]):
            for point in points_of("run-"):
                for how in HOWS:
                    name = " ".join(["run", *options, point, how])
                    yield name, lambda p=point, h=how, o=options: self.start(p, h, o)
        yield "run: who is attached to it is killed", self.attached

    def start(self, point, how, options):
        source = KindSource(self.place, "started")
        source.kind = "threads"
        arguments = ["run", "--detach", "--name", source.name, *options, "--", *source.command()]
        done = self.place.call(*arguments, fault=fault_of(point, how))
        self.expect_faulted(done, point, how)
        self.place.expect_quiet()
        expect(self.place.living_names() == [], "expected no name in use")
        self.place.expect_clean()
        for log in pathlib.Path(source.files).iterdir():
            log.unlink()
        source.settle(self.place.must(*arguments)["pid"], ready=True)
        source.answer()
        self.place.must("stop", source.name)
        self.place.expect_quiet()

    def attached(self):
        """Once started, a workload stands alone."""
        place = self.place
        source = KindSource(place, "started")
        source.kind = "threads"
        command = " ".join(["echo begun;", source.command()[-1]])
        running = place.start("run", "--name", source.name, "--", "sh", "-c", command)
        # What the workload prints is passed on once it stands alone: not before, when it would be
        # taken along by the end of whoever starts it.
        wait_until(running.said, "the output of the workload")
        kill(running.pid)
        running.wait()
        pid, = [one["pid"] for one in place.must("ps")["workloads"] if one["state"] == "running"]
        source.settle(pid, ready=True)
        source.answer()
        place.must("checkpoint", source.name)
        expect(not source.alive(), "expected it to end with its checkpoint")
        source.restore()
        source.answer()
        place.must("stop", source.name)
        place.expect_quiet()


class DriverTrack(Track):
    """The driver refuses a call, or crashes in it."""

    # Those on the way to a saved process: a driver that refuses the way back leaves none.
    CAPTURE = ("tid", "lock", "checkpoint")
    RESTORE = ("tid", "init", "restore", "unlock")
    BACK = ("state", "restore", "unlock")

    def make_source(self):
        return CudaSource(self.place, "source").start()

    def cases(self):
        for call in self.CAPTURE:
            for rule in (f"fail {call} 2", f"fail {call} 999", f"crash {call}"):
                for options in ([], ["--leave-running"]):
                    name = " ".join(["driver: checkpoint", *options, rule])
                    yield name, lambda r=rule, o=options: self.capture(r, o)
        for call in self.BACK:
            yield f"driver: way back, fail {call} 2", lambda c=call: self.way_back(f"fail {c} 2")
        for call in self.RESTORE:
            for rule in (f"fail {call} 2", f"crash {call}"):
                yield f"driver: restore {rule}", lambda r=rule: self.restore(r)

    def with_rule(self, rule, *arguments):
        self.place.set_machine(rule)
        done = self.place.call(*arguments)
        self.place.set_machine()
        expect(done.status not in (0, -signal.SIGKILL) and done.code and
               done.code.startswith("cuda-"), f"expected the driver's failure as cause: {done}")
        return done

    def capture(self, rule, options):
        self.source.note()
        before = self.place.snapshots()
        self.with_rule(rule, "checkpoint", *self.source.selection, *options)
        added = self.expect_unhurt(before)
        expect(not added, f"expected no snapshot, seen {added}")
        self.expect_capture_works()
        self.forget_snapshots()

    def way_back(self, rule):
        """Nothing can be done but to say so; when the driver works again, a person can."""
        source = self.source
        self.with_rule(rule, "checkpoint", *source.selection, "--leave-running")
        for pid in source.pids:
            if source.cuda_state(pid) == "locked":
                source.cuda_checkpoint("--action", "unlock", "--pid", str(pid))
            if source.cuda_state(pid) == "checkpointed":
                source.cuda_checkpoint("--toggle", "--pid", str(pid))
        source.answer()
        self.place.expect_quiet([source])
        self.expect_capture_works()
        self.forget_snapshots()

    def restore(self, rule):
        place, source = self.place, self.source
        place.must("checkpoint", *source.selection)
        expect(not source.alive(), "expected the source to end with its checkpoint")
        self.with_rule(rule, "restore", source.id, "--detach")
        place.expect_quiet()
        expect(place.living_names() == [], "expected no name in use")
        place.expect_clean()
        source.restore()
        source.answer()
        self.forget_snapshots()


class HungDriverTrack(Track):
    """While the driver is in a call that takes long, somebody is killed."""

    CAPTURE = (("lock", "snapshotctl"), ("lock", "cuda-worker"), ("checkpoint", "snapshotctl"),
               ("checkpoint", "cuda-worker"), ("checkpoint", "criu"))
    RESTORE = (("restore", "snapshotctl"), ("restore", "cuda-worker"), ("restore", "criu"),
               ("restore", "stasis-keeper"), ("unlock", "snapshotctl"), ("unlock", "cuda-worker"))

    def make_source(self):
        return CudaSource(self.place, "source").start()

    def cases(self):
        for call, victim in self.CAPTURE:
            for options in ([], ["--leave-running"]):
                name = " ".join(["driver: checkpoint", *options, f"{victim} killed in {call}"])
                yield name, lambda c=call, v=victim, o=options: self.capture(c, v, o)
        for call, victim in self.RESTORE:
            yield (f"driver: restore {victim} killed in {call}",
                   lambda c=call, v=victim: self.restore(c, v))

    def kill_in(self, call, victim, *arguments):
        place = self.place
        helpers = set(place.find("stasis-keeper"))
        place.set_machine(f"hang {call}")
        running = place.start(*arguments)
        wait_until(lambda: any(sleeps(pid) for pid in place.find("cuda-worker")) and
                   (victim == "snapshotctl" or set(place.find(victim)) - helpers),
                   f"the driver to be in {call}, and {victim} at work")
        victims = [running.pid] if victim == "snapshotctl" else \
            set(place.find(victim)) - helpers
        for pid in victims:
            kill(pid)
        if victim != "snapshotctl":  # whoever depends on it has to notice
            wait_until(lambda: not any(process_alive(pid) for pid in victims),
                       f"the end of {victim}")
        place.set_machine()
        done = running.wait()
        expect(done.status != 0, f"expected a failure: {done}")
        if victim != "snapshotctl":
            expect(done.code, f"expected an error: {done}")
        return done

    def capture(self, call, victim, options):
        self.source.note()
        before = self.place.snapshots()
        self.kill_in(call, victim, "checkpoint", *self.source.selection, *options)
        added = self.expect_unhurt(before)
        expect(not added, f"expected no snapshot, seen {added}")
        self.expect_capture_works()
        self.forget_snapshots()

    def restore(self, call, victim):
        place, source = self.place, self.source
        place.must("checkpoint", *source.selection)
        expect(not source.alive(), "expected the source to end with its checkpoint")
        self.kill_in(call, victim, "restore", source.id, "--detach")
        place.expect_quiet()
        expect(place.living_names() == [], "expected no name in use")
        source.restore()
        source.answer()
        place.expect_quiet([source])
        self.forget_snapshots()


def sleeps(pid):
    """Whether it is in a sleep of the stand-in driver, not in a wait for orders."""
    try:
        words = pathlib.Path(f"/proc/{pid}/syscall").read_text().split()
    except OSError:
        return False
    return words[0] in ("35", "230", "101", "115")  # nanosleep and clock_nanosleep, x86 and ARM


class KilledTrack(Track):
    """Everybody is killed at some moment of a capture or restore of 300 MB."""

    MOMENTS = 3
    CAPTURE = (("criu", signal.SIGKILL), ("snapshotctl", signal.SIGKILL),
               ("snapshotctl", signal.SIGINT), ("snapshotctl", signal.SIGTERM),
               ("stasis-keeper", signal.SIGKILL))
    RESTORE = (("criu", signal.SIGKILL), ("snapshotctl", signal.SIGKILL),
               ("snapshotctl", signal.SIGINT), ("snapshotctl", signal.SIGTERM),
               ("stasis-keeper", signal.SIGKILL))

    def __init__(self, settings):
        super().__init__(settings)
        self.chance = random.Random(settings.seed)
        self.seconds = {}

    def make_source(self):
        source = KindSource(self.place, "source").start()
        source.answer()
        return source

    def cases(self):
        for victim, number in self.CAPTURE:
            for moment in range(self.MOMENTS):
                name = f"killed: checkpoint {victim} {signal.Signals(number).name} {moment + 1}"
                yield name, lambda v=victim, n=number, m=moment: self.capture(v, n, m)
        for victim, number in self.RESTORE:
            for moment in range(self.MOMENTS):
                name = f"killed: restore {victim} {signal.Signals(number).name} {moment + 1}"
                yield name, lambda v=victim, n=number, m=moment: self.restore(v, n, m)

    def interrupted(self, victim, number, moment, *arguments):
        """Runs a command and kills somebody in one of the parts of the time that it takes."""
        verb = arguments[0]
        before = set(self.place.find("stasis-keeper")) if verb == "restore" else set()
        delay = self.seconds[verb] * (moment + self.chance.random()) / self.MOMENTS
        start = time.monotonic()
        running = self.place.start(*arguments)
        time.sleep(delay)
        victims = []
        while not running.ended() and not victims:
            victims = [running.pid] if victim == "snapshotctl" else \
                [pid for pid in self.place.find(victim) if pid not in before]
        for pid in victims:
            kill(pid, number)
        done = running.wait()
        print(f"#   {victim} after {time.monotonic() - start:.2f} s: status {done.status}, "
              f"code {done.code}", flush=True)
        if victims and number in (signal.SIGINT, signal.SIGTERM):
            expect(done.status == 0 or done.code == "interrupted" or done.status == -number,
                   f"expected it to say that it was interrupted: {done}")
        elif victims and victim != "snapshotctl":
            expect(done.status == 0 or done.code, f"expected it to say what happened: {done}")
        return done, bool(victims)

    def measure(self, verb, function):
        if verb not in self.seconds:
            start = time.monotonic()
            function()
            self.seconds[verb] = time.monotonic() - start

    def capture(self, victim, number, moment):
        place, source = self.place, self.source
        options = ["--leave-running"] if moment % 2 else []
        self.measure("checkpoint", lambda: place.must("checkpoint", source.name,
                                                      "--leave-running"))
        self.forget_snapshots()
        source.note()
        done, hit = self.interrupted(victim, number, moment, "checkpoint", source.name, *options)
        if victim == "stasis-keeper" and hit:
            self.expect_end_of_all(done)
            return
        if victim == "criu" and done.status != 0:
            # It can't take its own mappings out of the processes again, and a thread that it was
            # just looking into is lost: the one case in which a source can end.
            source.carries_mappings = False
            place.expect_quiet([source])
            if not source.alive():
                self.expect_end_of_all(done)
                return
        self.expect_unhurt([])
        self.expect_capture_works()
        self.forget_snapshots()

    def expect_end_of_all(self, done):
        """With its keeper the source has ended; what there is of a snapshot is complete."""
        place = self.place
        place.expect_quiet()
        expect(place.living_names() == [], "expected no name in use")
        for reference in place.snapshots():
            place.expect_sound(reference)
        expect(done.status != 0 or place.snapshots(), f"expected a snapshot: {done}")
        self.forget_snapshots()
        self.abandon()

    def restore(self, victim, number, moment):
        place, source = self.place, self.source
        if not place.snapshots():
            source.answer()
            place.must("checkpoint", source.name)
            expect(not source.alive(), "expected the source to end with its checkpoint")
            self.number = source.number
        self.measure("restore", lambda: (source.restore(), source.stop()))
        done, hit = self.interrupted(victim, number, moment, "restore", source.id, "--detach")
        source.number = self.number
        if done.status == 0 and not (victim == "stasis-keeper" and hit):
            source.settle(done.answer["pid"])
        else:
            place.expect_quiet()
            expect(place.living_names() == [], "expected no name in use")
            place.expect_sound(place.snapshots()[0])
            source.restore()
        source.answer()
        source.stop()
        place.expect_quiet()
        place.expect_clean()


class DiskFullTrack(Track):
    """The store has room for a part of the snapshot only."""

    PARTS = (0.02, 0.3, 0.7, 0.9, 0.97, 0.99)

    def __init__(self, settings, title, make):
        super().__init__(settings)
        self.title = title
        self.make = make
        self.bytes = 0

    def make_source(self):
        place = self.place
        os.makedirs(place.root)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,mode=700", "full", place.root],
                       check=True)
        source = self.make(place, "source").start()
        source.answer()
        return source

    def cases(self):
        for part in self.PARTS:
            for options in ([], ["--leave-running"]):
                name = " ".join([f"disk full: {self.title}", *options, f"{part:.0%} of the room"])
                yield name, lambda p=part, o=options: self.capture(p, o)

    def resize(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.place.root], check=True)

    def used(self):
        state = os.statvfs(self.place.root)
        return (state.f_blocks - state.f_bfree) * state.f_frsize

    def capture(self, part, options):
        place, source = self.place, self.source
        before = self.used()
        if not self.bytes:
            place.must("checkpoint", *source.selection, "--leave-running")
            self.bytes = self.used() - before
            self.forget_snapshots()
        source.note()
        self.resize(before + int(self.bytes * part))
        done = place.call("checkpoint", *source.selection, *options)
        self.resize("1g")
        expect(done.status not in (0, -signal.SIGKILL) and done.code == "disk-full",
               f"expected code disk-full: {done}")
        added = self.expect_unhurt([])
        expect(not added, f"expected no snapshot, seen {added}")
        place.expect_clean()
        self.expect_capture_works()
        self.forget_snapshots()
        shutil.rmtree(os.path.join(place.root, ".logs"))
        expect(self.used() <= before + (1 << 16), f"expected {before} bytes in use after the "
               f"failure, seen {self.used()}")


class DamageTrack(Track):
    """A snapshot in which something is wrong is not restored. (flips.py flips bits all over.)"""

    def make_source(self):
        source = TreeSource(self.place, "source").start()
        source.answer()
        self.place.must("checkpoint", source.name)
        expect(not source.alive(), "expected the source to end with its checkpoint")
        return source

    def cases(self):
        yield "damage: a flipped byte in every kind of file", self.flips
        for what in ("missing", "shorter", "longer", "foreign", "link"):
            yield f"damage: a file is {what}", lambda w=what: self.spoilt(w)
        yield "damage: unknown format", self.unknown_format
        yield "damage: unknown format, newer members", self.newer_members
        yield "damage: put right again, it restores", self.right_again

    @property
    def directory(self):
        return pathlib.Path(self.place.root, "source/versions/1")

    def expect_refused(self, status, *codes):
        place = self.place
        done = place.call("restore", self.source.id, "--detach")
        expect(done.status == status and done.code in codes,
               f"expected status {status} with {codes}: {done}")
        place.expect_quiet()
        expect(place.living_names() == [], "expected no name in use")
        place.expect_clean()

    def kinds(self):
        """One file of each kind: names without their numbers."""
        found = {}
        for path in sorted(self.directory.rglob("*")):
            if path.is_file() and path.stat().st_size:
                found.setdefault(re.sub(r"\d+", "N", path.name), path)
        return found

    def flips(self):
        kinds = self.kinds()
        expect({"manifest.json", "manifest.sum", "pages-N.img", "core-N.img", "files.img",
                "inventory.img", "root-process"} <= set(kinds), f"seen only {sorted(kinds)}")
        for name, path in kinds.items():
            data = path.read_bytes()
            at = len(data) // 2
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
            try:
                self.expect_refused(EXIT_DAMAGED, "snapshot-damaged")
            except Failure as failure:
                raise Failure(f"{name}: {failure}") from None
            path.write_bytes(data)

    def spoilt(self, how):
        path = self.kinds()["pages-N.img"]
        data = path.read_bytes()
        added = path.with_name("pages-99.img")
        if how == "missing":
            path.unlink()
        elif how == "shorter":
            path.write_bytes(data[:-1])
        elif how == "longer":
            path.write_bytes(data + b"x")
        elif how == "foreign":
            added.write_bytes(b"x")
        else:
            path.unlink()
            path.symlink_to("files.img")
        self.expect_refused(EXIT_DAMAGED, "snapshot-damaged")
        if path.is_symlink():
            path.unlink()
        path.write_bytes(data)
        added.unlink(missing_ok=True)

    def with_manifest(self, change, status, code):
        files = {path: path.read_bytes() for path in self.directory.glob("manifest.*")}
        rewrite_manifest(self.directory, change)
        self.expect_refused(status, code)
        for path, data in files.items():
            path.write_bytes(data)

    def unknown_format(self):
        self.with_manifest(lambda manifest: manifest.update(format=2), EXIT_REFUSED,
                           "snapshot-version")

    def newer_members(self):
        def change(manifest):
            manifest.clear()
            manifest.update(format=7, everything={"is": "different"})

        self.with_manifest(change, EXIT_REFUSED, "snapshot-version")

    def right_again(self):
        self.source.restore()
        self.source.answer()
        self.source.stop()


class ConflictTrack(Track):
    """Two of everything at once."""

    ROUNDS = 4

    def __init__(self, settings, title, make):
        super().__init__(settings)
        self.title = title
        self.make = make

    def make_source(self):
        source = self.make(self.place, "source").start()
        source.answer()
        return source

    def cases(self):
        for options in (["--leave-running"], []):
            for number in range(self.ROUNDS):
                name = " ".join([f"conflicts: {self.title}: two checkpoints", *options,
                                 str(number + 1)])
                yield name, lambda n=number, o=options: self.two_checkpoints(n, o)
        yield f"conflicts: {self.title}: the source lives", self.source_lives
        yield f"conflicts: {self.title}: two restores", self.two_restores
        yield f"conflicts: {self.title}: checkpoint while restoring", self.checkpoint_meanwhile
        yield f"conflicts: {self.title}: delete while restoring", self.delete_meanwhile

    @property
    def has_own_ids(self):
        return not isinstance(self.source, OutsideSource)

    def two_checkpoints(self, number, options):
        """One is refused clearly, or both succeed."""
        place, source = self.place, self.source
        source.note()
        first = place.start("checkpoint", *source.selection, *options)
        time.sleep(number * 0.04)
        second = place.start("checkpoint", *source.selection, *options)
        done = [first.wait(), second.wait()]
        good = [one for one in done if one.status == 0]
        expect(good, f"expected one to succeed: {done[0]}; {done[1]}")
        for one in done:
            expect(one.status == 0 or one.code in ("checkpoint-running", "workload-ended",
                                                   "process-gone", "workload-missing"),
                   f"expected it to be refused clearly: {one}")
        place.expect_quiet([source])
        for reference in place.snapshots():
            place.expect_sound(reference)
        expect(len(place.snapshots()) == len(good), f"expected {len(good)} snapshots")
        if options:
            source.expect_undisturbed()
        else:
            expect(not source.alive(), "expected the source to end with its checkpoint")
            source.restore(place.snapshots()[-1])
            source.answer()
        self.forget_snapshots()

    def source_lives(self):
        """A restore that needs the source's name or process ids while it runs."""
        place, source = self.place, self.source
        place.must("checkpoint", *source.selection, "--leave-running")
        source.note()
        if self.has_own_ids:
            done = place.call("restore", source.id, "--detach", "--name", source.name)
            expect(done.status not in (0, -signal.SIGKILL) and done.code == "workload-exists",
                   f"expected the name to be taken: {done}")
            done = place.call("run", "--detach", "--name", source.name, "--", "true")
            expect(done.code == "workload-exists", f"expected the name to be taken: {done}")
        else:
            done = place.call("restore", source.id, "--detach")
            expect(done.status == EXIT_REFUSED and done.code == "pid-taken",
                   f"expected the process ids to be taken: {done}")
        place.expect_quiet([source])
        place.expect_clean()
        source.expect_undisturbed()
        self.forget_snapshots()

    def save(self):
        self.place.must("checkpoint", *self.source.selection)
        expect(not self.source.alive(), "expected the source to end with its checkpoint")

    def two_restores(self):
        """Side by side where each has process ids of its own; else one is refused."""
        place, source = self.place, self.source
        self.save()
        number = source.number
        options = [["--name", name] for name in ("copy", source.name)]
        running = [place.start("restore", source.id, "--detach", *option) for option in options]
        done = [one.wait() for one in running]
        good = [one for one in done if one.status == 0]
        expect(len(good) == 2 if self.has_own_ids else len(good) == 1,
               f"expected {'both' if self.has_own_ids else 'one'} to succeed: {done[0]}; {done[1]}")
        for one in done:
            expect(one.status == 0 or one.code == "pid-taken",
                   f"expected the process ids to be taken: {one}")
        for one in good:
            source.number = number
            source.settle(one.answer["pid"])
            source.answer()
            if one is not good[-1]:
                source.stop()
        place.expect_quiet([source])
        self.forget_snapshots()

    def checkpoint_meanwhile(self):
        """Another version of the id that is being restored."""
        place, source = self.place, self.source
        other = KindSource(place, "other")
        other.kind = "threads"
        other.start()
        self.save()
        running = place.start("restore", source.id, "--detach")
        saved = place.call("checkpoint", other.name, "--id", source.id, "--leave-running")
        done = running.wait()
        expect(saved.status == 0 and done.status == 0, f"expected both to succeed: {saved}; {done}")
        source.settle(done.answer["pid"])
        source.answer()
        for reference in place.snapshots():
            place.expect_sound(reference)
        other.answer()
        other.stop()
        place.expect_quiet([source])
        self.forget_snapshots()

    def delete_meanwhile(self):
        """A snapshot that is being restored is not deleted."""
        place, source = self.place, self.source
        self.save()
        reference = place.snapshots()[-1]
        running = place.start("restore", source.id, "--detach")
        deleted = []
        while not running.ended() and not any(one.status == 0 for one in deleted):
            deleted.append(place.call("delete", reference))
        done = running.wait()
        for one in deleted:
            expect(one.status == 0 or one.code == "snapshot-busy", f"expected it to be busy: {one}")
        if done.status == 0:
            source.settle(done.answer["pid"])
            source.answer()
        else:  # the deletion was first
            expect(done.code == "snapshot-missing" and deleted and deleted[-1].status == 0,
                   f"expected it to be missing: {done}")
            self.abandon()
            return
        place.expect_quiet([source])
        self.forget_snapshots()


TRACKS = {}


def track(name):
    def keep(make):
        TRACKS[name] = make
        return make

    return keep


@track("capture")
def capture_tracks(settings):
    return [CaptureTrack(settings, "tree", TreeSource),
            CaptureTrack(settings, "by pid", OutsideSource, ("capture-resumed", "image-rename")),
            CaptureTrack(settings, "cuda", CudaSource),
            OrderTrack(settings)]


@track("restore")
def restore_tracks(settings):
    return [RestoreTrack(settings, "tree", TreeSource),
            RestoreTrack(settings, "by pid", OutsideSource),
            RestoreTrack(settings, "cuda", CudaSource),
            RunTrack(settings)]


@track("driver")
def driver_tracks(settings):
    return [DriverTrack(settings), HungDriverTrack(settings)]


@track("killed")
def killed_tracks(settings):
    return [KilledTrack(settings)]


@track("disk-full")
def disk_full_tracks(settings):
    return [DiskFullTrack(settings, "tree", TreeSource),
            DiskFullTrack(settings, "by pid", OutsideSource)]


@track("damage")
def damage_tracks(settings):
    return [DamageTrack(settings)]


@track("conflicts")
def conflict_tracks(settings):
    return [ConflictTrack(settings, "tree", TreeSource),
            ConflictTrack(settings, "by pid", OutsideSource)]


def parse_arguments():
    here = pathlib.Path(__file__).resolve().parent
    build = here.parents[1] / "build"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=build)
    parser.add_argument("--tracks", help="names, separated by commas, of: " + ", ".join(TRACKS))
    parser.add_argument("--only", help="a regular expression for the names of cases")
    parser.add_argument("--jobs", type=int, default=2, help="tracks at the same time")
    parser.add_argument("--keep", action="store_true", help="leave the files of failures")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 16))
    settings = parser.parse_args()
    settings.snapshotctl = str(settings.build / "src/cli/snapshotctl")
    settings.workload = str(settings.build / "tests/root/workloads/workload")
    settings.cuda_workload = str(settings.build / "tests/cuda/cuda-workload")
    settings.cuda_checkpoint = str(settings.build / "src/cuda/cuda-checkpoint")
    settings.fake_cuda = str(settings.build / "tests/lib/fake-cuda")
    return settings


def run_all(settings, tracks):
    tap = Tap(sum(len(one.chosen()) for one in tracks))
    print(f"# --seed {settings.seed}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(settings.jobs) as pool:
        for done in [pool.submit(one.run, tap.report) for one in tracks]:
            done.result()
    return tap.failed


def main():
    settings = parse_arguments()
    names = settings.tracks.split(",") if settings.tracks else list(TRACKS)
    if os.geteuid() != 0:
        print("1..0 # SKIP checkpoints need root")
        return 0
    settings.directory = os.path.realpath(tempfile.mkdtemp(prefix="stasis-faults."))
    os.chmod(settings.directory, 0o755)
    try:
        return 1 if run_all(settings, [one for name in names
                                       for one in TRACKS[name](settings)]) else 0
    finally:
        if not settings.keep:
            shutil.rmtree(settings.directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
