#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Flips random bits all over a real snapshot, one at a time: `verify` names the file each time, and
`restore` refuses each time and leaves nothing running.

  flips.py --snapshotctl PATH --workload PATH [--count 1000] [--seed N]

A flip is put right again before the next one, and in the end the snapshot restores. Prints TAP.
"""
import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

DAMAGED = 4


class Machine:
    def __init__(self, settings, root):
        self.settings, self.root = settings, root

    def call(self, *words):
        return subprocess.run([self.settings.snapshotctl, "--root", self.root, "--json", "--progress",
                               "none", *words], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=120, check=False)

    def must(self, *words):
        done = self.call(*words)
        if done.returncode != 0:
            raise RuntimeError(f"{words}: status {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def running(self):
        return [w["name"] for w in self.must("ps")["workloads"] if w["state"] == "running"]


def wait_for(log, text):
    end = time.monotonic() + 30
    while text not in log.read_text():
        if time.monotonic() > end:
            raise RuntimeError(f"{text!r} did not come")
        time.sleep(0.01)


def flip(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0] ^ (1 << bit % 8)
        file.seek(bit // 8)
        file.write(bytes([byte]))


def pick(files, chance):
    """Half of the time any bit of the whole, else any file first: small files are hit, too."""
    if chance.random() < 0.5:
        return chance.choice(files)
    return chance.choices(files, [size for _, size in files])[0]


def one(machine, place, files, chance):
    """The complaint about one flip, or None."""
    path, size = pick(files, chance)
    bit = chance.randrange(size * 8)
    name = str(path.relative_to(place))
    flip(path, bit)
    try:
        seen = machine.call("verify", "s")
        if seen.returncode != DAMAGED or name.split(".")[0] not in seen.stdout:
            return f"verify, bit {bit} of {name}: status {seen.returncode}: {seen.stdout[:300]}"
        seen = machine.call("restore", "s", "--name", "back", "--detach")
        if seen.returncode != DAMAGED:
            return f"restore, bit {bit} of {name}: status {seen.returncode}: {seen.stderr[:300]}"
    finally:
        flip(path, bit)
    return None


def prepare(machine, directory):
    answer = machine.must("run", "--detach", "--name", "s", "--", machine.settings.workload,
                          "posix-shm", "--dir", str(directory))
    log = pathlib.Path(answer["log"])
    wait_for(log, "ready")
    place = pathlib.Path(machine.must("checkpoint", "s")["path"])
    return log, place, [(p, p.stat().st_size) for p in sorted(place.rglob("*"))
                        if p.is_file() and p.stat().st_size > 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snapshotctl", required=True)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    settings = parser.parse_args()
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    chance, complaints = random.Random(settings.seed), []
    with tempfile.TemporaryDirectory(prefix="stasis-flips-") as directory:
        machine = Machine(settings, f"{directory}/root")
        log, place, files = prepare(machine, directory)
        for _ in range(settings.count):
            complaint = one(machine, place, files, chance)
            if complaint:
                complaints.append(complaint)
        left = machine.running()
        back = machine.must("restore", "s", "--detach")
        os.kill(back["pid"], signal.SIGUSR1)
        wait_for(log, "ok 1")
        machine.must("stop", back["name"], "--timeout", "1")
    print("1..3")
    for complaint in complaints[:10]:
        print("#", complaint.replace("\n", " "))
    print(f"{'not ' if complaints else ''}ok 1 - {settings.count} flips over {len(files)} files, "
          f"seed {settings.seed}")
    print(f"{'not ' if left else ''}ok 2 - nothing runs after them")
    print("ok 3 - put right again, it restores")
    return 1 if complaints or left else 0


if __name__ == "__main__":
    sys.exit(main())
