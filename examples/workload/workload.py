#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A program that can be saved once it is warm, and goes on where it is restored. It needs no library:
the environment tells which way the pod was made for (docs/workload-contract.md)."""
import json
import os
import signal
import sys
import time

POLL_SECONDS = 0.2


def write(path, text):
    """Complete or absent: a probe may read it at any moment."""
    with open(path + ".tmp", "w", encoding="ascii") as file:
        file.write(text)
    os.replace(path + ".tmp", path)


def forget(path):
    """What an earlier container has left is not for us."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def wait_for_files(restored, saved):
    """Whoever sees the first one is a restored copy; the second one tells the original to end. The
    order of the two questions matters: a copy may see both."""
    while True:
        if os.path.exists(restored):
            return True
        if os.path.exists(saved):
            return False
        time.sleep(POLL_SECONDS)


def by_signal_file(environment):
    """A job of ChReK: a file outside of the container tells when it is saved."""
    saved = environment["DYN_CHECKPOINT_SIGNAL_FILE"]
    restored = environment.get("DYN_RESTORE_MARKER_FILE", "/tmp/dynamo-restored")
    forget(restored)
    if "DYN_CHECKPOINT_READY_FILE" in environment:
        write(environment["DYN_CHECKPOINT_READY_FILE"], "ready")
    print(f"CHECKPOINT_READY: waiting for {saved} or {restored}", flush=True)
    if wait_for_files(restored, saved):
        return True
    with open(saved, encoding="utf-8") as file:  # complete: it is put there by a rename
        told = json.load(file)
    if not told["success"]:
        sys.exit(f"not saved: {told.get('error')}")
    return False


def by_control_directory(directory):
    """Dynamo Snapshot: both files are in a volume that only this container and the agent have."""
    restored, saved = (os.path.join(directory, name)
                       for name in ("restore-complete", "snapshot-complete"))
    forget(restored)
    forget(saved)
    for name in ("ready-for-snapshot", "ready-for-checkpoint"):
        write(os.path.join(directory, name), "done\n")
    print(f"ready: waiting for files in {directory}", flush=True)
    return wait_for_files(restored, saved)


def by_signals(ready):
    """The agent speaks to process 1 by signals: the program must be that process."""
    both = {signal.SIGUSR1, signal.SIGCONT}
    signal.pthread_sigmask(signal.SIG_BLOCK, both)
    write(ready, "ready")
    print("ready: waiting for SIGUSR1 or SIGCONT", flush=True)
    number = signal.sigwait(both)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
    return number == signal.SIGCONT


def stand_still(environment=os.environ):
    """Call it when everything that takes long is done. Returns in a restored copy, and at once where
    no snapshot is wanted; the original does not return."""
    control = environment.get("SNAPSHOT_CONTROL_DIR") or environment.get("DYN_SNAPSHOT_CONTROL_DIR")
    if environment.get("DYN_CHECKPOINT_SIGNAL_FILE"):
        restored = by_signal_file(environment)
    elif control:
        restored = by_control_directory(control)
    elif environment.get("DYN_READY_FOR_CHECKPOINT_FILE"):
        restored = by_signals(environment["DYN_READY_FOR_CHECKPOINT_FILE"])
    else:
        return
    if not restored:
        print("saved; the job is done", flush=True)
        sys.exit(0)


def new_environment(path="/dev/stasis/environment"):
    """Memory holds the environment of the original; this is that of the container around us now."""
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\0")
    except FileNotFoundError:
        return dict(os.environ)
    return dict(line.decode(errors="surrogateescape").split("=", 1) for line in lines if b"=" in line)


def main():
    model = os.urandom(8).hex()  # stands for what takes minutes to load
    print(f"loaded {model}", flush=True)
    stand_still()
    name = new_environment().get("COPY", "nobody")
    print(f"running {model} as {name}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    while True:
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
