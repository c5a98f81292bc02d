#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A CPU process, saved and brought back by snapshotctl and by `criu` by hand, in one run.

  bench/process.py --bin build --criu CRIU [--megabytes 512] [--rounds 3] [--place DIR]

Both ways are taken in turn, from the same program; printed are medians in seconds and ratios
(by hand / snapshotctl, so more is better), and what snapshotctl costs beside CRIU and bytes.
As root. The first round is not counted.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

WORKLOAD = """
import os, signal, sys
size = int(sys.argv[1]) << 20
block = os.urandom(1 << 20)
memory = bytearray(size)
for at in range(0, size, 1 << 20):
    memory[at:at + (1 << 20)] = block
signal.signal(signal.SIGUSR1, lambda *_: print("alive", len(memory), flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""


def find(directory, name):
    for path in pathlib.Path(directory).rglob(name):
        if path.is_file() and os.access(path, os.X_OK):
            return path
    sys.exit(f"there is no {name} below {directory}")


def timed(command, environment=None):
    begin = time.monotonic()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          env=environment, stdin=subprocess.DEVNULL, check=False)
    seconds = time.monotonic() - begin
    if done.returncode != 0:
        sys.exit(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def wait_for(path, text, times=1):
    end = time.monotonic() + 120
    while path.read_text().count(text) < times:
        if time.monotonic() > end:
            sys.exit(f"waited in vain for {text!r} in {path}")
        time.sleep(0.002)


def wait_gone(pid):
    while pathlib.Path(f"/proc/{pid}").exists():
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
        time.sleep(0.002)


def by_hand(settings, place):
    images, log = place / "images", place / "by-hand.log"
    images.mkdir()
    with open(log, "ab") as out:
        process = subprocess.Popen([sys.executable, "-c", WORKLOAD, str(settings.megabytes)],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   start_new_session=True)
    wait_for(log, "ready")
    begin = time.monotonic()
    timed([settings.criu, "dump", "-t", process.pid, "-D", images, "-v2"])
    process.wait()  # as snapshotctl does: it returns when the source has gone
    dump = time.monotonic() - begin
    restore, _ = timed([settings.criu, "restore", "-d", "-D", images, "-v2"])
    os.kill(process.pid, signal.SIGUSR1)
    wait_for(log, "alive")
    os.kill(process.pid, signal.SIGKILL)
    wait_gone(process.pid)
    shutil.rmtree(images)
    log.unlink()
    return {"checkpoint": dump, "restore": restore}


def ours(settings, place):
    environment = {**os.environ, "STASIS_CRIU": str(settings.criu), "STASIS_ROOT": str(place)}
    tool = [settings.snapshotctl, "--json", "--progress", "none"]
    _, text = timed([*tool, "run", "--detach", "--name", "b", "--", sys.executable, "-c", WORKLOAD,
                     settings.megabytes], environment)
    log = pathlib.Path(json.loads(text)["log"])
    wait_for(log, "ready")
    checkpoint, text = timed([*tool, "checkpoint", "b"], environment)
    saved = json.loads(text)
    restore, text = timed([*tool, "restore", "b", "--detach"], environment)
    back = json.loads(text)
    os.kill(back["pid"], signal.SIGUSR1)
    wait_for(log, "alive")
    timed([*tool, "stop", "b", "--timeout", "0"], environment)
    timed([*tool, "delete", "b", "--all-versions"], environment)
    phases = {f"checkpoint: {p['name']}": p["seconds"] for p in saved["phases"]}
    phases.update({f"restore: {p['name']}": p["seconds"] for p in back["phases"]})
    return {"checkpoint": checkpoint, "restore": restore, **phases}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--criu", required=True)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", default="/dev/shm", help="where the snapshots lie")
    settings = parser.parse_args()
    settings.snapshotctl = find(settings.bin, "snapshotctl")
    hand, own = [], []
    for _ in range(settings.rounds + 1):
        with tempfile.TemporaryDirectory(prefix="stasis-bench-", dir=settings.place) as place:
            hand.append(by_hand(settings, pathlib.Path(place)))
            own.append(ours(settings, pathlib.Path(place)))
    hand, own = hand[1:], own[1:]
    median = {name: statistics.median(r[name] for r in own) for name in own[0]}
    print(f"{settings.megabytes} MiB, {settings.rounds} rounds, snapshots in {settings.place}")
    for name in ("checkpoint", "restore"):
        classic = statistics.median(r[name] for r in hand)
        print(f"{name:12} by hand {classic:7.3f} s   snapshotctl {median[name]:7.3f} s   "
              f"ratio {classic / median[name]:.2f}")
    for name, seconds in median.items():
        if ":" in name:
            print(f"  {name:28} {seconds:7.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
