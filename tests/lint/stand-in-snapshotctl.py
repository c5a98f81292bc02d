#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps to the form of snapshotctl's answers and saves nothing. STAND_IN: restart (ends the
workload and starts it anew), ignore (leaves it running), fail (checkpoint fails)."""
import json
import os
import pathlib
import signal
import subprocess
import sys

root = pathlib.Path(sys.argv[sys.argv.index("--root") + 1])
words = sys.argv[sys.argv.index("none") + 1:] if "none" in sys.argv else sys.argv[3:]
state = root / "state.json"
behaviour = os.environ["STAND_IN"]


def start(command):
    root.mkdir(exist_ok=True)
    # Through a shell that ends, so that the machine's init reaps it.
    done = subprocess.run(["sh", "-c", '"$@" >/dev/null 2>&1 & echo $!', "sh", *command],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    state.write_text(json.dumps([int(done.stdout), command]))
    return int(done.stdout)


def answer(**fields):
    print(json.dumps({"seconds": 0.1, "phases": [{"name": "all", "seconds": 0.1}], **fields}))


if words[0] == "run":
    answer(name="demo", pid=start(words[words.index("--") + 1:]), log="none")
    sys.exit(0)
pid, command = json.loads(state.read_text())
if words[0] == "checkpoint":
    if behaviour == "fail":
        sys.exit(1)
    if behaviour == "restart":
        os.kill(pid, signal.SIGKILL)
    answer(id="demo", version="1", path=str(root), bytes=1)
elif words[0] == "restore":
    answer(name="demo", pid=start(command), log="none")
elif words[0] == "stop":
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
