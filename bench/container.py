#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times of checkpoints of, and restores into, containers of a real containerd and runc. As root.

  container.py [--snapshotctl PATH] [--rounds N]

A small container and one of 512 MiB, each restored N times into fresh targets. "orchestration" is
all of a restore that is not CRIU (phase restore), not the driver and not the bytes of files: the
bar is a median of 50 ms. Beside it the same memory by hand: `runc checkpoint` and `runc restore` with
the same CRIU, which keep neither files nor names of the container.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/container"))
import bed  # noqa: E402

SMALL = ["sleep", "1000000"]
LARGE = ["python3", "-c", "import os, time\nb = bytearray(os.urandom(1 << 20) * 512)\n"
                          "print('ready', flush=True)\ntime.sleep(1000000)"]


def call(snapshotctl, root, *words):
    start = time.monotonic()
    done = subprocess.run([snapshotctl, "--root", root, "--progress", "none", *words, "--json"],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words}: {done.stderr}")
    answer = json.loads(done.stdout)
    answer["wall"] = time.monotonic() - start
    return answer


def phase(answer, *names):
    return sum(one["seconds"] for one in answer["phases"] if one["name"] in names)


def line(label, values):
    values = [value * 1000 for value in values]
    print(f"  {label:34} median {statistics.median(values):8.1f} ms   least {min(values):8.1f}"
          f"   most {max(values):8.1f}", flush=True)
    return statistics.median(values)


def ours(containerd, image, command, snapshotctl, rounds):
    source = containerd.run(image, "source", command)
    if "print" in command[-1]:
        source.wait_text("ready")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as root:
        taken = [call(snapshotctl, root, "checkpoint", "--pid", str(source.pid), "--id", "one",
                      "--leave-running") for _ in range(3)]
        checkpoint = line("checkpoint, our whole command", [one["wall"] for one in taken])
        restored = []
        for number in range(rounds):
            target = containerd.run(image, f"target-{number}", ["sleep", "1000000"])
            restored.append(call(snapshotctl, root, "restore", "one", "--container-pid",
                                 str(target.pid)))
            target.delete()
        names = [one["name"] for one in restored[0]["phases"]]
        for name in names:
            line(f"restore, phase {name}", [phase(one, name) for one in restored])
        restore = line("restore, our whole command", [one["wall"] for one in restored])
        bytes_and_others = ("restore", "cuda", "files", "checksums")
        spent = line("restore, orchestration",
                     [one["wall"] - phase(one, *bytes_and_others) for one in restored])
    source.delete()
    return checkpoint, restore, spent


def by_hand(containerd, image, command, criu):
    """runc with the same CRIU, over the bundle that containerd has made."""
    source = containerd.run(image, "by-hand", command)
    if "print" in command[-1]:
        source.wait_text("ready")
    environment = dict(os.environ, PATH=f"{criu.parent}:{os.environ['PATH']}")
    runc = ["runc", "--root", f"{containerd.oci_root}/{containerd.namespace}"]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as images:
        start = time.monotonic()
        done = subprocess.run([*runc, "checkpoint", "--leave-running", "--image-path", images,
                               "--work-path", images, "--file-locks", source.id], env=environment,
                              capture_output=True, text=True, check=False)
        seconds = time.monotonic() - start
        if done.returncode:
            why = done.stderr.strip().splitlines()[-1:] or ["?"]
            print(f"  by hand: runc checkpoint fails: {why[0][:300]}")
            source.delete()
            return None
    source.delete()
    line("checkpoint by hand (runc)", [seconds])
    return seconds * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snapshotctl", default=HERE.parent / "build/src/cli/snapshotctl")
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    criu = pathlib.Path.home() / ".cache/stasis/criu/criu"
    worst = 0
    with bed.Bed() as here:
        containerd = here.containerd("1.6", "runc")
        for title, image, command in (("a small container", "busybox", SMALL),
                                      ("512 MiB of memory", "python", LARGE)):
            print(title)
            checkpoint, _, spent = ours(containerd, image, command, options.snapshotctl,
                                        options.rounds)
            worst = max(worst, spent)
            hand = by_hand(containerd, image, command, criu)
            if hand:
                print(f"  checkpoint, by hand / ours: {hand / checkpoint:.2f}")
    print(f"orchestration of a restore: {worst:.1f} ms, the bar is 50 ms: "
          f"{'held' if worst <= 50 else 'MISSED'}")
    return 0 if worst <= 50 else 1


sys.exit(main())
