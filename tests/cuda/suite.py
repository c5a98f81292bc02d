#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cuda-checkpoint, the CUDA worker and the CRIU plugin, with real processes and a real CRIU.

By default the driver is the stand-in of tests/lib/fake-cuda, whose faults the tests command. With
--real it is the machine's own, and tests that need the stand-in are skipped. Prints TAP.
What has to hold after every test: the workload answers "ok N" with the right N, from device memory.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback

WAIT = 60
GPU_A = "GPU-aaaaaaaa-0000-4000-8000-000000000001"
GPU_B = "GPU-bbbbbbbb-0000-4000-8000-000000000002"
GPU_C = "GPU-cccccccc-0000-4000-8000-000000000003"

TESTS = []
REAL = False


class Failure(Exception):
    """What was expected and what was seen."""


class Skip(Exception):
    """Can't be tried here."""


def test(function):
    TESTS.append((function, False))
    return function


def fake_only(function):
    TESTS.append((function, True))
    return function


def check(condition, text):
    if not condition:
        raise Failure(text)


def wait_until(condition, what):
    end = time.monotonic() + WAIT
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited in vain for {what}")
        time.sleep(0.005)


def program(name, default=None):
    path = os.environ.get(name) or default
    if not path:
        raise Skip(f"{name} is not set")
    return path


def alive(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def children(pid):
    try:
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def tree(pid):
    return [pid] + [p for child in children(pid) for p in tree(child)]


def status_field(pid, tid, name):
    text = pathlib.Path(f"/proc/{pid}/task/{tid}/status").read_text()
    return re.search(rf"^{name}:\s*(.*)$", text, re.M).group(1)


class Place:
    """A temporary folder, the machine as the stand-in sees it, and everything started in a test."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cuda-suite-"))
        self.config = self.folder / "machine"
        self.config.write_text("")
        self.images = self.folder / "images"
        self.images.mkdir()
        self.workloads = []
        self.owners = []
        self.environment = dict(os.environ)
        if not REAL:
            self.environment["LD_LIBRARY_PATH"] = program("FAKE_CUDA")
            self.environment["FAKE_CUDA_CONFIG"] = str(self.config)

    def machine(self, *lines):
        """Replaces the stand-in's configuration at once."""
        new = self.folder / "machine.new"
        new.write_text("".join(line + "\n" for line in lines))
        new.rename(self.config)

    def workload(self, *arguments, wrapper=(), descriptors=()):
        workload = Workload(self, arguments, wrapper, descriptors)
        self.workloads.append(workload)
        workload.wait_line("ready")
        workload.pids = tree(workload.pid)
        return workload

    def owner(self, *arguments):
        owner = Owner(self)
        self.owners.append(owner)
        owner.ok("start")
        return owner

    def cuda_checkpoint(self, *arguments, environment=None):
        return subprocess.run([program("CUDA_CHECKPOINT"), *map(str, arguments)],
                              env={**self.environment, **(environment or {})},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT)

    def state(self, pid):
        answer = self.cuda_checkpoint("--get-state", "--pid", pid)
        return answer.stdout.strip() or answer.stderr.splitlines()[0]

    def criu(self, *arguments, environment=None):
        return subprocess.run(self.criu_command(*arguments),
                              env={**self.environment, **(environment or {})},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT)

    def criu_command(self, verb, *arguments):
        return [program("CRIU", shutil.which("criu")), verb, "-v4", "-D", str(self.images),
                "-o", f"{verb}.log", "--shell-job", *map(str, arguments)]

    def log(self, verb):
        try:
            return (self.images / f"{verb}.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def close(self):
        for owner in self.owners:
            owner.close()
        for workload in self.workloads:
            workload.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Workload:
    def __init__(self, place, arguments, wrapper, descriptors):
        self.place = place
        self.count = 0
        self.lines = 0
        self.output = place.folder / f"output.{len(place.workloads)}"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*wrapper, program("CUDA_WORKLOAD"), "--megabytes", "4", *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=place.environment,
                pass_fds=descriptors, start_new_session=True)
        # A dumped process ends; its zombie would keep the id that a restore needs.
        threading.Thread(target=self.process.wait, daemon=True).start()
        self.pid = self.process.pid
        if wrapper:
            self.pid = wait_until(lambda: next(iter(children(self.process.pid)), None),
                                  "the workload")
        self.pids = [self.pid]

    def read(self):
        return self.output.read_text(errors="replace").splitlines()

    def wait_line(self, expected):
        line = wait_until(lambda: (self.read() + [None] * (self.lines + 1))[self.lines],
                          f"\"{expected}\" of the workload")
        self.lines += 1
        check(re.fullmatch(expected, line), f"the workload says \"{line}\", not \"{expected}\"")
        return line

    def verify(self):
        os.kill(self.pid, signal.SIGUSR1)
        self.count += 1
        self.wait_line(f"ok {self.count}")

    def gpus(self):
        os.kill(self.pid, signal.SIGUSR2)
        return self.wait_line("gpu .*").split()[1:]

    def ended(self):
        """All of it, zombies too: their ids have to be free for a restore."""
        for pid in self.pids:
            wait_until(lambda p=pid: not pathlib.Path(f"/proc/{p}").exists(), f"the end of {pid}")

    def close(self):
        for pid in set(tree(self.pid)) | set(self.pids):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Owner:
    """tests/cuda/owner.c: a program that owns a CUDA worker."""

    def __init__(self, place):
        self.place = place
        self.process = subprocess.Popen([program("CUDA_OWNER")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1,
                                        env=place.environment, start_new_session=True)

    def send(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def receive(self):
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise Failure("the owner is gone")
        return answer

    def ask(self, *words):
        self.send(*words)
        return self.receive()

    def ok(self, *words):
        answer = self.ask(*words)
        check(answer.split()[0] == "ok", f"{words}: {answer}")
        return answer[3:].strip()

    def error(self, code, *words):
        answer = self.ask(*words)
        check(answer.startswith(f"error {code} -"), f"{words}: {answer} instead of {code}")
        return answer

    def find(self, pid):
        found = self.ok("find", *tree(pid)).split()
        return [tuple(map(int, pair.split(":"))) for pair in found]

    def worker(self):
        return int(self.ok("worker-pid").split()[0])

    def criu(self, verb, *arguments):
        return int(self.ok("criu", *self.place.criu_command(
            verb, "-L", program("CRIU_PLUGINS"), *arguments)))

    def kill(self, group=False):
        if group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self):
        try:
            self.process.stdin.close()
            self.process.wait(timeout=WAIT)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()


class PostDump:
    """An action script that asks this program what to answer at the end of a dump."""

    def __init__(self, place):
        self.ask, self.answer_to = place.folder / "ask", place.folder / "answer"
        os.mkfifo(self.ask)
        os.mkfifo(self.answer_to)
        self.script = place.folder / "post-dump.sh"
        self.script.write_text("#!/bin/sh\n"
                               "[ \"$CRTOOLS_SCRIPT_ACTION\" = post-dump ] || exit 0\n"
                               f"echo asked > {self.ask}\n"
                               f"read answer < {self.answer_to}\n"
                               "exit $answer\n")
        self.script.chmod(0o755)

    def wait(self):
        # Opened for both so that a CRIU that never asks can't block the test for ever.
        fd = os.open(self.ask, os.O_RDWR | os.O_NONBLOCK)

        def asked():
            try:
                return os.read(fd, 100)
            except BlockingIOError:
                return None
        try:
            wait_until(asked, "the end of the dump")
        finally:
            os.close(fd)

    def answer(self, status):
        self.answer_to.write_text(f"{status}\n")


# cuda-checkpoint


@test
def cli_states_and_actions(place):
    workload = place.workload()
    pid = workload.pid

    def act(*arguments):
        answer = place.cuda_checkpoint(*arguments, "--pid", pid)
        check(answer.returncode == 0 and answer.stderr == "", f"{arguments}: {answer}")
        return answer.stdout

    check(act("--get-state") == "running\n", "running")
    tid = int(act("--get-restore-tid"))
    check(str(tid) in os.listdir(f"/proc/{pid}/task"), "the restore thread is one of its threads")
    for action, state in (("lock", "locked"), ("checkpoint", "checkpointed"),
                          ("restore", "locked"), ("unlock", "running")):
        check(act("--action", action) == "", f"{action} prints nothing")
        check(act("--get-state") == state + "\n", f"{state} after {action}")
    workload.verify()
    act("--toggle")
    check(act("--get-state") == "checkpointed\n", "toggled")
    act("--toggle")
    check(act("--get-state") == "running\n", "toggled back")
    workload.verify()
    answer = place.cuda_checkpoint("--get-state", "-p", tid)
    check(answer.stdout == "running\n", "a thread's id does for its process")


@test
def cli_calls_wait_while_suspended(place):
    workload = place.workload()
    place.cuda_checkpoint("--toggle", "-p", workload.pid)
    os.kill(workload.pid, signal.SIGUSR1)
    place.cuda_checkpoint("--toggle", "-p", workload.pid)
    workload.count += 1
    workload.wait_line("ok 1")


@test
def cli_several_processes(place):
    first, second = place.workload(), place.workload()
    both = f"{first.pid},{second.pid}"
    answer = place.cuda_checkpoint("--get-state", "--pid", both)
    check(answer.stdout == f"{first.pid}: running\n{second.pid}: running\n", str(answer))
    answer = place.cuda_checkpoint("--toggle", "-p", first.pid, "-p", second.pid)
    check(answer.returncode == 0, str(answer))
    answer = place.cuda_checkpoint("--get-state", first.pid, second.pid)
    check(answer.stdout == f"{first.pid}: checkpointed\n{second.pid}: checkpointed\n", str(answer))
    answer = place.cuda_checkpoint("--get-state", "--pid", f"{both},{os.getpid()}")
    check(answer.returncode == 1 and answer.stdout.count("checkpointed") == 2 and
          f"process ID {os.getpid()}" in answer.stderr, str(answer))
    place.cuda_checkpoint("--toggle", "-p", second.pid)
    answer = place.cuda_checkpoint("--toggle", "--pid", both)
    check(answer.returncode == 1 and "Could not toggle" in answer.stderr, str(answer))
    place.cuda_checkpoint("--toggle", "-p", first.pid)
    first.verify()
    second.verify()


@test
def cli_errors(place):
    workload = place.workload()
    for arguments, begin in (
            (("--get-state", "--pid", os.getpid()),
             f"Error getting process state for process ID {os.getpid()}: \""),
            (("--get-restore-tid", "--pid", os.getpid()),
             f"Could not find restore thread for process ID {os.getpid()}"),
            (("--action", "checkpoint", "--pid", workload.pid),
             f"Could not checkpoint on process ID {workload.pid}: \""),
            (("--action", "restore", "--pid", workload.pid),
             f"Could not restore on process ID {workload.pid}: \""),
            (("--action", "unlock", "--pid", workload.pid),
             f"Could not unlock on process ID {workload.pid}: \""),
            (("--action", "fly", "--pid", workload.pid), "cuda-checkpoint: "),
            (("--toggle",), "cuda-checkpoint: "),
            (("--pid", workload.pid), "cuda-checkpoint: "),
            (("--toggle", "--get-state", "--pid", workload.pid), "cuda-checkpoint: "),
            (("--toggle", "--pid", "x"), "cuda-checkpoint: "),
            (("--toggle", "--pid", workload.pid, "--timeout", "soon"), "cuda-checkpoint: "),
            (("--toggle", "--pid", workload.pid, "--device-map", "GPU-1"), "Device map: ")):
        answer = place.cuda_checkpoint(*arguments)
        check(answer.returncode == 1 and answer.stdout == "", f"{arguments}: {answer}")
        check(answer.stderr.startswith(begin), f"{arguments}: {answer.stderr}")
    check(place.state(workload.pid) == "running", "nothing was touched")
    workload.verify()


@test
def cli_help(place):
    for option in ("--help", "-h"):
        answer = place.cuda_checkpoint(option)
        check(answer.returncode == 0 and answer.stderr == "", str(answer))
        for word in ("--get-state", "--action", "--toggle", "--get-restore-tid", "--pid|-p",
                     "--timeout|-t", "--help|-h", "--device-map", "--launch-job"):
            check(word in answer.stdout, word)


@test
def cli_launch_job(place):
    answer = place.cuda_checkpoint("--launch-job", "true", "--toggle")
    check(answer.returncode == 1 and len(answer.stderr.splitlines()) == 1 and
          "610" in answer.stderr, str(answer))


@fake_only
def cli_lock_timeout(place):
    workload = place.workload()
    place.machine("busy")
    answer = place.cuda_checkpoint("--action", "lock", "--timeout", 50, "--pid", workload.pid)
    check(answer.returncode == 1 and
          answer.stderr.startswith(f"Could not lock on process ID {workload.pid}: \""), str(answer))
    check(place.state(workload.pid) == "running", "runs on")
    answer = place.cuda_checkpoint("--toggle", "-t", 50, "--pid", workload.pid)
    check(answer.returncode == 1 and place.state(workload.pid) == "running", str(answer))
    place.machine()
    workload.verify()


@fake_only
def cli_toggle_is_all_or_nothing(place):
    first, second, third = place.workload(), place.workload(), place.workload()
    pids = f"{first.pid},{second.pid},{third.pid}"
    for call in ("lock", "checkpoint"):
        place.machine(f"fail-pid {second.pid} {call} 2")
        answer = place.cuda_checkpoint("--toggle", "--pid", pids)
        check(answer.returncode == 1 and "out of memory" in answer.stderr, str(answer))
        for workload in (first, second, third):
            check(place.state(workload.pid) == "running", f"all run after a failed {call}")
    place.machine(f"fail-pid {second.pid} checkpoint 2 failed")
    place.cuda_checkpoint("--toggle", "--pid", pids)
    check(place.state(second.pid) == "failed", "lost")
    check(place.state(first.pid) == place.state(third.pid) == "running", "the others run")
    place.machine()
    check(place.cuda_checkpoint("--toggle", first.pid, third.pid).returncode == 0, "toggle")
    place.machine(f"fail-pid {third.pid} restore 2")
    check(place.cuda_checkpoint("--toggle", first.pid, third.pid).returncode == 1, "toggle back")
    check(place.state(first.pid) == place.state(third.pid) == "checkpointed", "still saved")
    place.machine()
    check(place.cuda_checkpoint("--toggle", first.pid, third.pid).returncode == 0, "toggle back")
    first.verify()
    third.verify()


@fake_only
def cli_failed_state(place):
    workload = place.workload()
    place.cuda_checkpoint("--toggle", "--pid", workload.pid)
    place.machine("fail restore 2 failed")
    answer = place.cuda_checkpoint("--toggle", "--pid", workload.pid)
    check(answer.returncode == 1 and "state failed" in answer.stderr, str(answer))
    place.machine()
    check(place.state(workload.pid) == "failed", "terminal")
    answer = place.cuda_checkpoint("--toggle", "--pid", workload.pid)
    check(answer.returncode == 1, str(answer))


@fake_only
def cli_old_drivers(place):
    old = str(pathlib.Path(program("FAKE_CUDA")) / "libcuda-550.so")
    answer = place.cuda_checkpoint("--get-state", "--pid", 1, environment={"STASIS_LIBCUDA": old})
    check(answer.returncode == 1 and answer.stderr.startswith("Insufficient driver") and
          "570" in answer.stderr, str(answer))
    workload = place.workload()
    place.machine("driver 12080")
    answer = place.cuda_checkpoint("--action", "restore", "--pid", workload.pid,
                                   "--device-map", f"{GPU_A}={GPU_B}")
    check(answer.returncode == 1 and "580" in answer.stderr, str(answer))
    check(place.cuda_checkpoint("--toggle", "--pid", workload.pid).returncode == 0, "570 toggles")
    check(place.cuda_checkpoint("--toggle", "--pid", workload.pid).returncode == 0, "and back")
    workload.verify()


@fake_only
def cli_no_driver(place):
    answer = place.cuda_checkpoint("--get-state", "--pid", 1,
                                   environment={"STASIS_LIBCUDA": "/nonexistent/libcuda.so.1"})
    check(answer.returncode == 1 and "Can't load the CUDA driver" in answer.stderr, str(answer))


@fake_only
def cli_device_map(place):
    place.machine(f"gpu {GPU_A} 1000 0 Fake H200", f"gpu {GPU_B} 1000 1 Fake H200")
    workload = place.workload("--gpus", 2)
    check(workload.gpus() == [GPU_A, GPU_B], "as on the machine")
    place.cuda_checkpoint("--toggle", "--pid", workload.pid)

    def restore(device_map):
        return place.cuda_checkpoint("--action", "restore", "--pid", workload.pid,
                                     "--device-map", device_map)

    place.machine(f"gpu {GPU_B} 1000 0 Fake H200", f"gpu {GPU_C} 1000 1 Fake H200",
                  f"gpu {GPU_A} 1000 2 Other")
    for device_map, text in ((f"{GPU_A}={GPU_C}", "every GPU that"),
                             (f"{GPU_A}={GPU_A},{GPU_B}={GPU_B}", "not supported"),
                             (f"{GPU_A}={GPU_C},{GPU_B}={GPU_C}", "named twice")):
        answer = restore(device_map)
        check(answer.returncode == 1 and text in answer.stderr, f"{device_map}: {answer}")
        check(place.state(workload.pid) == "checkpointed", "still saved")
    answer = restore(f"{GPU_A}={GPU_C},{GPU_B}={GPU_B}")
    check(answer.returncode == 0, str(answer))
    check(place.state(workload.pid) == "locked", "a restore with a map ends locked, too")
    place.cuda_checkpoint("--action", "unlock", "--pid", workload.pid)
    check(workload.gpus() == [GPU_C, GPU_B], "moved")
    workload.verify()


@test
def document_example(place):
    """toggle, criu dump, criu restore, toggle: as NVIDIA's document does it."""
    workload = place.workload()
    workload.verify()
    answer = place.criu("dump", "-t", workload.pid)
    check(answer.returncode != 0, "a process with GPU state can't be dumped as it is")
    workload.verify()
    for _ in range(2):
        answer = place.cuda_checkpoint("--toggle", "--pid", workload.pid)
        check(answer.returncode == 0, str(answer))
        answer = place.criu("dump", "-t", workload.pid)
        check(answer.returncode == 0, place.log("dump")[-2000:])
        workload.ended()
        answer = place.criu("restore", "--restore-detached")
        check(answer.returncode == 0, place.log("restore")[-2000:])
        check(place.state(workload.pid) == "checkpointed", "restored without CUDA")
        answer = place.cuda_checkpoint("--toggle", "--pid", workload.pid)
        check(answer.returncode == 0, str(answer))
        workload.verify()


# the worker


@test
def worker_find(place):
    workload = place.workload("--processes", 3, "--idle-child")
    owner = place.owner()
    pids = tree(workload.pid)
    check(len(pids) == 4, f"four processes: {pids}")
    found = owner.find(workload.pid)
    check(len(found) == 3 and found[0][0] == workload.pid, f"three of them use CUDA: {found}")
    for pid, tid in found:
        check(str(tid) in os.listdir(f"/proc/{pid}/task"), "restore threads")
    check(owner.ok("find", os.getpid(), 1) == "", "others do not")
    worker = owner.worker()
    check(os.getsid(worker) == worker, "the worker has a session of its own")
    owner.ok("free")
    check(not alive(worker), "the worker has ended")


@test
def worker_actions(place):
    workload = place.workload("--processes", 2)
    owner = place.owner()
    owner.find(workload.pid)
    owner.ok("lock", 10000)
    check(owner.ok("states") == "locked locked", "locked")
    owner.ok("checkpoint")
    check(owner.ok("states") == "checkpointed checkpointed", "checkpointed")
    owner.error("cuda-wrong-state", "unlock")
    owner.ok("restore")
    check(owner.ok("states") == "locked locked", "restored")
    owner.ok("unlock")
    workload.verify()
    owner.ok("free")
    workload.verify()


@test
def worker_inner_tid(place):
    """Whichever number the driver tells for a process in another pid namespace."""
    place.machine("inner-tid")
    workload = place.workload(wrapper=("unshare", "--pid", "--fork"))
    owner = place.owner()
    (pid, tid), = owner.find(workload.pid)
    check(str(tid) in os.listdir(f"/proc/{pid}/task"), f"{tid} is a thread here")
    check(status_field(pid, tid, "NSpid").split()[-1] != str(tid), "and not the inner number")


@fake_only
def worker_lock_failure_unlocks(place):
    workload = place.workload("--processes", 3)
    owner = place.owner()
    found = owner.find(workload.pid)
    place.machine(f"fail-pid {found[1][0]} lock 304")
    owner.error("cuda-permission", "lock", 1000)
    check(owner.ok("states") == "running running running", "all run")
    place.machine("busy")
    owner.error("cuda-lock-timeout", "lock", 60)
    place.machine()
    check(owner.ok("states") == "running running running", "all run")
    workload.verify()


@fake_only
def worker_checkpoint_failure_goes_back_to_locked(place):
    workload = place.workload("--processes", 3)
    owner = place.owner()
    found = owner.find(workload.pid)
    owner.ok("lock", 1000)
    place.machine(f"fail-pid {found[2][0]} checkpoint 2")
    owner.error("cuda-out-of-memory", "checkpoint")
    check(owner.ok("states") == "locked locked locked", "all locked")
    owner.ok("roll-back")
    workload.verify()


@test
def worker_survives_owner(place):
    for group in (False, True):
        for steps in (("lock 10000",), ("lock 10000", "checkpoint")):
            workload = place.workload("--processes", 2)
            owner = place.owner()
            owner.find(workload.pid)
            worker = owner.worker()
            for step in steps:
                owner.ok(step)
            owner.kill(group)
            wait_until(lambda: not alive(worker), "the end of the worker")
            workload.verify()
            workload.close()


@test
def worker_commit(place):
    workload = place.workload()
    owner = place.owner()
    owner.find(workload.pid)
    owner.ok("lock", 10000)
    owner.ok("checkpoint")
    owner.ok("commit")
    owner.ok("free")
    check(place.state(workload.pid) == "checkpointed", "left as it was")
    check(place.cuda_checkpoint("--toggle", "--pid", workload.pid).returncode == 0, "toggle")
    workload.verify()


@fake_only
def worker_crash(place):
    for call, steps, ending in (("lock", ("lock 1000",), "roll-back"),
                                ("checkpoint", ("lock 1000", "checkpoint"), "roll-back"),
                                ("checkpoint", ("lock 1000", "checkpoint"), "free"),
                                ("tid", (), "free")):
        place.machine()
        workload = place.workload()
        owner = place.owner()
        owner.find(workload.pid)
        for step in steps[:-1]:
            owner.ok(step)
        place.machine(f"crash {call}")
        answer = owner.error("cuda-worker-died", steps[-1] if steps else f"find {workload.pid}")
        check("signal 11" in answer, answer)
        owner.error("cuda-worker-died", "find", workload.pid)
        place.machine()
        owner.ok(ending)
        workload.verify()
        workload.close()


@test
def worker_killed(place):
    workload = place.workload()
    owner = place.owner()
    owner.find(workload.pid)
    owner.ok("lock", 10000)
    owner.ok("checkpoint")
    os.kill(owner.worker(), signal.SIGKILL)
    owner.error("cuda-worker-died", "states")
    owner.ok("roll-back")
    owner.ok("roll-back")
    workload.verify()


@fake_only
def worker_hangs(place):
    workload = place.workload()
    owner = place.owner()
    owner.find(workload.pid)
    worker = owner.worker()
    owner.ok("lock", 1000)
    place.machine("hang checkpoint")
    owner.ok("deadline", 1)
    owner.error("cuda-hung", "checkpoint")
    owner.error("cuda-hung", "states")
    owner.ok("free")
    check(alive(worker), "the worker stays with the call")
    place.machine()
    wait_until(lambda: not alive(worker), "the end of the worker")
    workload.verify()


@fake_only
def worker_start_failures(place):
    owner = Owner(place)
    place.owners.append(owner)
    place.machine()
    owner.close()
    for variable, code in (("/nonexistent.so", "cuda-driver-missing"),
                           (str(pathlib.Path(program("FAKE_CUDA")) / "libcuda-550.so"),
                            "cuda-driver-too-old"),
                           (str(pathlib.Path(program("FAKE_CUDA")) / "libnvidia-ml.so.1"),
                            "cuda-driver-broken")):
        place.environment["STASIS_LIBCUDA"] = variable
        owner = Owner(place)
        place.owners.append(owner)
        owner.error(code, "start")


@fake_only
def devices(place):
    place.machine(f"gpu {GPU_A} 1000 3 Fake H200", f"gpu {GPU_B} 2000 1 Other", "persistence",
                  "compute-mode 3")
    owner = place.owner()
    answer = owner.ok("devices")
    check(answer == f"{GPU_A}|Fake H200|1048576000|3|0|1|3; {GPU_B}|Other|2097152000|1|0|1|3; "
                    "driver 580.0.0-fake", answer)
    place.machine(f"gpu {GPU_A} 1000 3 Fake H200", "crash nvml")
    owner.error("cuda-worker-died", "devices")
    place.machine(f"gpu {GPU_A} 1000 3 Fake H200", "fail nvml 9")
    answer = owner.ok("devices")
    check(answer == f"{GPU_A}|Fake H200|1048576000|-1|-1|-1|-1; driver", answer)


# the plugin: captures


def capture(place, workload, *arguments):
    """Up to CRIU's start; returns the owner."""
    owner = place.owner()
    owner.find(workload.pid)
    owner.ok("lock", 10000)
    owner.ok("capture-plugin")
    owner.criu("dump", "-t", workload.pid, *arguments)
    return owner


def masks(owner, pid):
    return {tid: status_field(p, tid, "SigBlk") for p, tid in owner.find(pid)}


def restore(place, pids, device_map="-", *arguments):
    owner = place.owner()
    owner.ok("restore-plugin", device_map, *pids)
    owner.criu("restore", "--restore-detached", *arguments)
    return owner


@test
def capture_leave_running(place):
    workload = place.workload("--processes", 2, "--idle-child")
    workload.verify()
    owner = place.owner()
    before = masks(owner, workload.pid)
    owner = capture(place, workload, "--leave-running")
    check(owner.ok("wait") == "exit 0", place.log("dump")[-2000:])
    check(owner.ok("result") == "worked", "the driver has worked")
    workload.verify()
    check(masks(owner, workload.pid) == before, "signal masks as before")
    owner.ok("free")
    workload.verify()


@test
def capture_and_restore(place):
    workload = place.workload("--processes", 3, "--idle-child")
    workload.verify()
    pids = [pid for pid, _ in place.owner().find(workload.pid)]
    post_dump = PostDump(place)
    owner = capture(place, workload, "--action-script", post_dump.script)
    post_dump.wait()
    owner.ok("commit")
    post_dump.answer(0)
    check(owner.ok("wait") == "exit 0", place.log("dump")[-2000:])
    owner.ok("result")
    workload.ended()
    owner.ok("free")
    for _ in range(2):
        owner = restore(place, pids)
        check(owner.ok("wait") == "exit 0", place.log("restore")[-2000:])
        check(owner.ok("result") == "worked", "the driver has worked")
        workload.verify()
        owner.ok("free")
        workload.verify()
        workload.count -= 2
        workload.close()
        workload.ended()


@test
def capture_refused_at_the_end(place):
    workload = place.workload("--processes", 2)
    post_dump = PostDump(place)
    owner = capture(place, workload, "--action-script", post_dump.script)
    post_dump.wait()
    if not REAL:  # a real driver's question waits for a thread that is stopped now
        check(owner.ok("states") == "checkpointed checkpointed", "saved")
    post_dump.answer(1)
    check(owner.ok("wait") != "exit 0", "the dump fails")
    owner.ok("result")
    workload.verify()


@test
def capture_fails_in_criu(place):
    """Before CRIU looks at the tasks, and after."""
    workload = place.workload()
    owner = capture(place, workload, "--no-such-option")
    check(owner.ok("wait") != "exit 0", "a wrong option")
    owner.error("cuda-plugin-silent", "result")
    check(owner.ok("states") == "running", "brought back")
    workload.verify()
    owner.ok("free")
    owner = capture(place, workload, "--freeze-cgroup", "/nonexistent")
    check(owner.ok("wait") != "exit 0", "no such cgroup")
    owner.ok("result")
    workload.verify()
    owner.ok("free")
    (place.images / "pstree.img").mkdir()
    owner = capture(place, workload)
    check(owner.ok("wait") != "exit 0", "an image that can't be written")
    check(owner.ok("result") == "worked", "saved and brought back")
    workload.verify()


@fake_only
def capture_fails_in_driver(place):
    workload = place.workload("--processes", 3)
    found = place.owner().find(workload.pid)
    for fault, code in ((f"fail-pid {found[1][0]} checkpoint 2", "cuda-out-of-memory"),
                        (f"fail-pid {found[2][0]} checkpoint 801", "cuda-not-supported")):
        owner = place.owner()
        owner.find(workload.pid)
        owner.ok("lock", 1000)
        owner.ok("capture-plugin")
        place.machine(fault)
        owner.criu("dump", "-t", workload.pid)
        check(owner.ok("wait") != "exit 0", "the dump fails")
        place.machine()
        owner.error(code, "result")
        check(owner.ok("states") == "running running running", "all run")
        workload.verify()
        owner.ok("free")


@fake_only
def capture_worker_crashes(place):
    workload = place.workload("--processes", 2)
    owner = place.owner()
    owner.find(workload.pid)
    owner.ok("lock", 1000)
    owner.ok("capture-plugin")
    place.machine("crash checkpoint")
    owner.criu("dump", "-t", workload.pid)
    check(owner.ok("wait") != "exit 0", "the dump fails")
    place.machine()
    owner.error("cuda-worker-died", "result")
    owner.ok("roll-back")
    workload.verify()


@test
def capture_worker_killed_at_the_end(place):
    workload = place.workload()
    owner = place.owner()
    post_dump = PostDump(place)
    owner.find(workload.pid)
    worker = owner.worker()
    owner.ok("lock", 10000)
    owner.ok("capture-plugin")
    owner.criu("dump", "-t", workload.pid, "--action-script", post_dump.script)
    post_dump.wait()
    os.kill(worker, signal.SIGKILL)
    owner.error("cuda-worker-died", "commit")
    post_dump.answer(1)
    owner.ok("wait")
    owner.ok("free")
    workload.verify()


@fake_only
def capture_criu_killed_in_the_hook(place):
    workload = place.workload()
    owner = place.owner()
    before = masks(owner, workload.pid)
    owner.ok("lock", 1000)
    owner.ok("capture-plugin")
    place.machine("hang checkpoint")
    criu = owner.criu("dump", "-t", workload.pid)
    (pid, tid), = [(workload.pid, tid) for tid in before]
    wait_until(lambda: status_field(pid, tid, "SigBlk") != before[tid], "the hook")
    os.kill(criu, signal.SIGKILL)
    check(owner.ok("wait") == "signal 9", "killed")
    place.machine()
    owner.error("cuda-plugin-lost", "result")
    check(owner.ok("states") == "running", "brought back")
    check(masks(owner, workload.pid) == before, "with its signal mask")
    workload.verify()


@test
def capture_criu_killed_at_the_end(place):
    workload = place.workload("--processes", 2)
    post_dump = PostDump(place)
    owner = place.owner()
    owner.find(workload.pid)
    owner.ok("lock", 10000)
    owner.ok("capture-plugin")
    criu = owner.criu("dump", "-t", workload.pid, "--action-script", post_dump.script)
    post_dump.wait()
    os.kill(criu, signal.SIGKILL)
    owner.ok("wait")
    owner.error("cuda-plugin-lost", "result")
    check(owner.ok("states") == "running running", "brought back")
    workload.verify()


@test
def capture_owner_killed(place):
    for group in (False, True):
        workload = place.workload("--processes", 2)
        post_dump = PostDump(place)
        owner = place.owner()
        owner.find(workload.pid)
        worker = owner.worker()
        owner.ok("lock", 10000)
        owner.ok("capture-plugin")
        owner.criu("dump", "-t", workload.pid, "--action-script", post_dump.script)
        post_dump.wait()
        owner.kill(group)
        if not group:
            check(alive(worker), "the worker waits for CRIU")
            post_dump.answer(1)
        wait_until(lambda: not alive(worker), "the end of the worker")
        workload.verify()
        workload.close()
        for fifo in (post_dump.ask, post_dump.answer_to):
            fifo.unlink()


@test
def capture_device_left_open(place):
    """Something of the GPU that CUDA does not know of: said to the owner, in plain words."""
    (place.folder / "dev").mkdir()
    device = place.folder / "dev" / "nvidia-caps"
    # Any device that CRIU can't save will do: that of the loop devices' control.
    os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(10, 237))
    try:
        fd = os.open(device, os.O_RDONLY)
    except OSError as error:
        raise Skip(f"no such device here: {error}") from error
    workload = place.workload(descriptors=(fd,))
    os.close(fd)
    owner = capture(place, workload)
    check(owner.ok("wait") != "exit 0", "the dump fails")
    check("nvidia-caps" in owner.error("cuda-plugin-failed", "result"), "by name")
    workload.verify()


# the plugin: restores


def captured(place, *arguments):
    workload = place.workload(*arguments)
    workload.verify()
    pids = [pid for pid, _ in place.owner().find(workload.pid)]
    owner = place.owner()
    post_dump = PostDump(place)
    owner.find(workload.pid)
    owner.ok("lock", 10000)
    owner.ok("capture-plugin")
    owner.criu("dump", "-t", workload.pid, "--action-script", post_dump.script)
    post_dump.wait()
    owner.ok("commit")
    post_dump.answer(0)
    check(owner.ok("wait") == "exit 0", place.log("dump")[-2000:])
    owner.ok("result")
    owner.ok("free")
    workload.ended()
    return workload, pids


@fake_only
def restore_fails_in_driver(place):
    workload, pids = captured(place, "--processes", 3, "--idle-child")
    for fault, code in ((f"fail-pid {pids[1]} restore 2", "cuda-out-of-memory"),
                        (f"fail-pid {pids[2]} restore 2 failed", "cuda-failed-state"),
                        (f"fail-pid {pids[0]} unlock 401", "cuda-wrong-state")):
        place.machine(fault)
        owner = restore(place, pids)
        check(owner.ok("wait") != "exit 0", "CRIU fails as well")
        owner.error(code, "result")
        workload.ended()
        owner.ok("free")
    place.machine()
    owner = restore(place, pids)
    check(owner.ok("wait") == "exit 0", place.log("restore")[-2000:])
    owner.ok("result")
    workload.verify()


@test
def restore_attached(place):
    """CRIU stays as the parent of what it has restored."""
    workload, pids = captured(place, "--processes", 2)
    owner = place.owner()
    owner.ok("restore-plugin", "-", *pids)
    criu = owner.criu("restore")
    wait_until(lambda: "Tasks resumed" in place.log("restore"), "the end of the restore")
    check(owner.ok("result") == "worked", "the driver has worked")
    check(alive(criu), "CRIU is still there")
    workload.verify()
    owner.ok("free")
    workload.verify()


@fake_only
def restore_worker_crashes(place):
    workload, pids = captured(place, "--processes", 2)
    place.machine("crash restore")
    owner = restore(place, pids)
    check(owner.ok("wait") != "exit 0", "CRIU fails as well")
    owner.error("cuda-worker-died", "result")
    workload.ended()
    owner.ok("free")
    place.machine()
    owner = restore(place, pids)
    check(owner.ok("wait") == "exit 0", place.log("restore")[-2000:])
    workload.verify()


@fake_only
def restore_owner_killed(place):
    """An abandoned restore leaves nothing behind that runs without its GPU state."""
    workload, pids = captured(place, "--processes", 2)
    place.machine("hang tid")
    owner = restore(place, pids)
    wait_until(lambda: "stasis: " in place.log("restore") or "late stage" in place.log("restore"),
               "the hook")
    owner.kill()
    place.machine()
    workload.ended()


@fake_only
def restore_onto_other_gpus(place):
    place.machine(f"gpu {GPU_A} 1000 0 Fake H200", f"gpu {GPU_B} 1000 1 Fake H200")
    workload, pids = captured(place, "--processes", 2, "--gpus", 2)
    place.machine(f"gpu {GPU_C} 1000 0 Fake H200", f"gpu {GPU_A} 1000 1 Fake H200")
    owner = restore(place, pids)
    check(owner.ok("wait") != "exit 0", "GPUs are missing")
    owner.error("cuda-gpu-missing", "result")
    owner.ok("free")
    workload.ended()
    owner = place.owner()
    owner.error("cuda-device-map", "restore-plugin", f"{GPU_A}", *pids)
    owner.ok("free")
    owner = restore(place, pids, f"{GPU_A}={GPU_C},{GPU_B}={GPU_A}")
    check(owner.ok("wait") == "exit 0", place.log("restore")[-2000:])
    owner.ok("result")
    check(workload.gpus() == [GPU_C, GPU_A], "moved")
    workload.verify()


@test
def restore_needs_the_plugin(place):
    workload, pids = captured(place)
    answer = place.criu("restore", "--restore-detached", "-L", place.folder)
    check(answer.returncode != 0 and "Missing required plugin" in place.log("restore"),
          place.log("restore")[-2000:])
    answer = place.criu("restore", "--restore-detached", "-L", program("CRIU_PLUGINS"))
    check(answer.returncode != 0 and "processes that use CUDA" in place.log("restore"),
          place.log("restore")[-2000:])
    check(not alive(workload.pid), "nothing runs")
    owner = place.owner()
    owner.ok("restore-plugin", "-", *pids, 99999999)
    owner.criu("restore", "--restore-detached")
    check(owner.ok("wait") == "exit 0", place.log("restore")[-2000:])
    owner.error("cuda-process-missing", "result")
    workload.verify()


@test
def restore_inside_a_pid_namespace(place):
    """CRIU and the restored tree live in another pid namespace than the worker."""
    workload, pids = captured(place, "--processes", 2)
    owner = place.owner()
    owner.ok("restore-plugin", "-", *pids)
    done = place.folder / "done"
    script = place.folder / "inside.sh"
    command = " ".join(place.criu_command("restore", "-L", program("CRIU_PLUGINS"),
                                          "--restore-detached"))
    script.write_text(f"#!/bin/sh\n{command}\necho $? > {done}.new\nmv {done}.new {done}\n"
                      "exec 7<&-\nexec sleep 1000\n")
    script.chmod(0o755)
    launcher = int(owner.ok("criu", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
                            script))
    wait_until(done.exists, "the restore inside")
    check(done.read_text() == "0\n", place.log("restore")[-2000:])
    owner.ok("result")
    outer = {status_field(p, p, "NSpid").split()[-1]: p for p in tree(launcher)}
    workload.pid = outer[str(pids[0])]
    workload.verify()
    os.kill(launcher, signal.SIGKILL)


@test
def plugin_keeps_out_of_the_way(place):
    """A tree without CUDA, and a CRIU without a worker."""
    sleeper = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        answer = place.criu("dump", "-t", sleeper.pid, "-L", program("CRIU_PLUGINS"),
                            "--leave-running")
        check(answer.returncode == 0, place.log("dump")[-2000:])
        owner = place.owner()
        check(owner.find(sleeper.pid) == [], "no CUDA")
        owner.ok("capture-plugin")
        owner.criu("dump", "-t", sleeper.pid)
        check(owner.ok("wait") == "exit 0", place.log("dump")[-2000:])
        owner.ok("result")
        sleeper.wait()
        answer = place.criu("restore", "--restore-detached", "-L", program("CRIU_PLUGINS"))
        check(answer.returncode == 0, place.log("restore")[-2000:])
        answer = place.criu("dump", "-t", sleeper.pid, "-L", program("CRIU_PLUGINS"),
                            environment={"STASIS_PLUGIN_FD": "99"})
        check(answer.returncode != 0 and "STASIS_PLUGIN_FD" in place.log("dump"),
              place.log("dump")[-2000:])
        os.kill(sleeper.pid, signal.SIGKILL)
    finally:
        sleeper.kill()


def run(function, number):
    name = function.__name__.replace("_", " ")
    place = None
    try:
        if os.geteuid() != 0:
            raise Skip("needs root")
        place = Place()
        function(place)
        print(f"ok {number} - {name}", flush=True)
        return True
    except Skip as skip:
        print(f"ok {number} - {name} # SKIP {skip}", flush=True)
        return True
    except Exception as failure:  # pylint: disable=broad-except
        text = str(failure) if isinstance(failure, Failure) else traceback.format_exc()
        print(f"not ok {number} - {name}")
        print("\n".join("# " + line for line in text.splitlines()), flush=True)
        return False
    finally:
        if place:
            place.close()


def main():
    global REAL
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="use the machine's own driver")
    parser.add_argument("--only", action="append", default=[], help="tests whose name has this")
    options = parser.parse_args()
    REAL = options.real
    tests = [function for function, fake in TESTS
             if not (fake and REAL) and
             (not options.only or any(word in function.__name__ for word in options.only))]
    print(f"1..{len(tests)}")
    failures = sum(not run(function, number) for number, function in enumerate(tests, 1))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
