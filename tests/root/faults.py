#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The source never gets hurt: everything that can go wrong does, for real.

Tracks run side by side; each has a place of its own and works through its cases in order, mostly
with one and the same workload, which has to survive them all.

  capture     every fault point of a checkpoint fails, and kills snapshotctl; afterwards the source
              runs on undisturbed or a complete snapshot is there, and nothing else
  restore     the same for a restore: all of it runs or nothing of it
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

from fault_tools import (CudaSource, KindSource, OutsideSource, Place, TreeSource, expect, kill,
                         name_of, rewrite_manifest, tree_of)
from suite import Failure, Result, Skip, Tap, process_alive, wait_until

EXIT_DAMAGED = 4
EXIT_REFUSED = 3
HOWS = ("fail", "kill")

POINTS = pathlib.Path(__file__).resolve().parents[2] / "src/basic/fault-points.def"


def points_of(*prefixes, without=()):
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
                result.problem = str(error) if isinstance(error, Failure) else repr(error)
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
        return added

    def expect_capture_works(self):
        """A checkpoint afterwards works, and takes away what was left before it."""
        place, source = self.place, self.source
        done = place.must("checkpoint", *source.selection, "--leave-running")
        reference = f"{done['id']}@{done['version']}"
        place.expect_sound(reference)
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

    def __init__(self, settings, title, make):
        super().__init__(settings)
        self.title = title
        self.make = make

    def make_source(self):
        return self.make(self.place, "source").start()

    def cases(self):
        never_left = {"capture-let-go", "image-delete"}
        never_ended = {"capture-resumed", "image-delete"}
        for options, without in (([], never_ended), (["--leave-running"], never_left)):
            for point in points_of("capture-", "image-", without=without):
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


TRACKS = {}


def track(name):
    def keep(make):
        TRACKS[name] = make
        return make

    return keep


@track("capture")
def capture_tracks(settings):
    return [CaptureTrack(settings, "tree", TreeSource),
            CaptureTrack(settings, "by pid", OutsideSource),
            CaptureTrack(settings, "cuda", CudaSource)]


@track("restore")
def restore_tracks(settings):
    return [RestoreTrack(settings, "tree", TreeSource),
            RestoreTrack(settings, "by pid", OutsideSource),
            RestoreTrack(settings, "cuda", CudaSource),
            RunTrack(settings)]


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
