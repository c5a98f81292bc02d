#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and restores every kind of workload with snapshotctl, for real.

Each kind is a small program that verifies its own state when asked (SIGUSR1) and
counts its answers in memory: after a restore from a snapshot taken behind "ok 2",
nothing but "ok 3" will do. What a test prints is TAP.

Tests of a kind:
  run            started by snapshotctl; checkpoint that leaves it running,
                 checkpoint that ends it, two restores from the same snapshot
  side by side   two copies restored from one snapshot, running at the same time
  by pid         started by this program, with the machine's own process ids
  refused        a checkpoint says no, with a code, and the workload goes on
At the end: nothing is left running, mounted or linked.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ANSWER_TIMEOUT = 60
COMMAND_TIMEOUT = 180
POLL = 0.02

# A checkpoint that was refused says why; these say only that something went wrong.
NOT_A_REFUSAL = {"system", "usage", "interrupted", "injected", "out-of-memory", "criu-failed",
                 "criu-died", "criu-protocol"}

RUN_OPTIONS = {"io-uring": ["--allow-io-uring"]}


class Failure(Exception):
    """A test has failed; the text says what was expected and what was seen."""


class Skip(Exception):
    """This machine lacks what the test is about."""


@dataclasses.dataclass(frozen=True)
class Kind:
    name: str
    flags: frozenset
    description: str
    reason: str


def read_kinds(workload):
    listing = subprocess.run([workload, "--list"], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, check=True, timeout=30)
    kinds = []
    for line in listing.stdout.splitlines():
        name, flags, description, reason = line.split("\t")
        kinds.append(Kind(name, frozenset(filter(None, flags.split(","))), description, reason))
    return kinds


# Processes


def process_alive(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(condition, what, timeout=ANSWER_TIMEOUT):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"expected {what} within {timeout} s")
        time.sleep(POLL)


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def process_arguments(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def process_paths(pid):
    """Where its descriptors, its current and its root directory are."""
    links = [f"/proc/{pid}/cwd", f"/proc/{pid}/root"]
    try:
        links += [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        pass
    for link in links:
        try:
            yield os.readlink(link)
        except OSError:
            pass


def processes_using(directory):
    """Those which name a directory in their arguments or hold something below it."""
    found = []
    for pid in all_pids():
        if pid == os.getpid():
            continue
        if directory in process_arguments(pid) or any(
                path.startswith(directory) for path in process_paths(pid)):
            if process_alive(pid):
                found.append(pid)
    return found


class Log:
    """The file to which a workload writes its answers, a line at a time."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def text(self):
        try:
            return self.path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def size(self):
        return len(self.text())

    def line_after(self, offset, pid):
        def arrived():
            return "\n" in self.text()[offset:] or not process_alive(pid)

        try:
            wait_until(arrived, f"an answer in {self.path}")
        except Failure as failure:
            raise Failure(f"{failure}; the log ends with {self.text()[-300:]!r}") from None
        line, newline, _ = self.text()[offset:].partition("\n")
        if not newline:
            raise Failure(f"expected an answer, seen the end of process {pid}; "
                          f"the log ends with {self.text()[-300:]!r}")
        return line


class Workload:
    """One running workload: its process id on this machine, and its log."""

    def __init__(self, name, pid, log):
        self.name = name
        self.pid = pid
        self.log = Log(log)

    def wait_ready(self):
        line = self.log.line_after(0, self.pid)
        if line.startswith("skip: "):
            raise Skip(line.removeprefix("skip: "))
        if line != "ready":
            raise Failure(f"expected 'ready', seen {line!r}")

    def expect(self, number):
        offset = self.log.size()
        try:
            os.kill(self.pid, signal.SIGUSR1)
        except ProcessLookupError:
            raise Failure(f"expected process {self.pid} to answer 'ok {number}', "
                          "seen no such process") from None
        line = self.log.line_after(offset, self.pid)
        if line != f"ok {number}":
            raise Failure(f"expected 'ok {number}', seen {line!r}")


# The product


class Product:
    def __init__(self, program, root):
        self.program = program
        self.root = root

    def start(self, *arguments):
        command = [self.program, "--root", self.root, "--json", *arguments]
        try:
            return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=COMMAND_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failure(f"expected '{' '.join(arguments)}' to end within "
                          f"{COMMAND_TIMEOUT} s") from None

    def call(self, *arguments, needs=()):
        done = self.start(*arguments)
        said = f"stdout {done.stdout[-600:]!r}, stderr {done.stderr[-1500:]!r}"
        if done.returncode != 0:
            raise Failure(f"'{' '.join(arguments)}': expected status 0, seen "
                          f"{done.returncode}: {said}")
        if not needs:
            return {}
        try:
            answer = json.loads(done.stdout)
        except json.JSONDecodeError:
            raise Failure(f"'{' '.join(arguments)}': expected one JSON object: {said}") from None
        missing = [key for key in needs if answer.get(key) is None]
        if missing:
            raise Failure(f"'{' '.join(arguments)}': expected {missing} in the answer: {said}")
        return answer

    def run(self, name, options, command):
        answer = self.call("run", "--detach", "--name", name, *options, "--", *command,
                           needs=("name", "pid", "log"))
        return Workload(answer["name"], answer["pid"], answer["log"])

    def checkpoint(self, *arguments):
        return self.call("checkpoint", *arguments, needs=("id", "version", "path"))

    def restore(self, snapshot, *options, log=None):
        answer = self.call("restore", snapshot, "--detach", *options,
                           needs=("name", "pid") if log else ("name", "pid", "log"))
        return Workload(answer["name"], answer["pid"], log or answer["log"])

    def stop(self, workload):
        self.call("stop", workload.name)
        if process_alive(workload.pid):
            raise Failure(f"expected 'stop {workload.name}' to end process {workload.pid}, "
                          "seen it running")

    def refusal(self, *arguments):
        """The code with which a checkpoint is refused, or None when it is not."""
        done = self.start("checkpoint", *arguments)
        if done.returncode == 0:
            return None
        codes = re.findall(r"^\s*code: ([a-z0-9]+(?:-[a-z0-9]+)*)$", done.stderr, re.MULTILINE)
        if len(codes) != 1 or codes[0] in NOT_A_REFUSAL:
            raise Failure(f"checkpoint: expected a refusal with its code, seen status "
                          f"{done.returncode}, stderr {done.stderr[-1500:]!r}")
        return codes[0]


# What a workload may need beside it


class EchoServer:
    """The far end of a connection that leaves the tree."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            connection, _ = self.socket.accept()
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(data)
        except OSError:
            return  # closed at the end of the test

    def close(self):
        self.socket.close()


class Case:
    """One test of one kind: its directories, and the end of all it has started."""

    def __init__(self, settings, kind, mode):
        self.settings = settings
        self.kind = kind
        self.mode = mode
        # Short, as the address of a unix socket has room for 107 bytes.
        self.directory = tempfile.mkdtemp(prefix=kind.name[:12] + ".", dir=settings.directory)
        # Its last component makes names unique (see struct workload_args).
        self.files = tempfile.mkdtemp(prefix="s.", dir=self.directory)
        self.product = Product(settings.snapshotctl, os.path.join(self.directory, "root"))
        self.server = None
        self.child = None
        if kind.name == "unix-external":
            self.server = EchoServer(os.path.join(self.files, "external"))

    def command(self, *options):
        return [self.settings.workload, self.kind.name, "--dir", self.files, *options]

    @property
    def tcp(self):
        return ["--tcp", "keep"] if "tcp" in self.kind.flags else []

    def start(self, name):
        workload = self.product.run(name, RUN_OPTIONS.get(self.kind.name, []),
                                    self.command("--private-shm"))
        try:
            workload.wait_ready()
        except Skip:
            self.product.stop(workload)
            raise
        return workload

    def start_outside(self):
        """A tree that snapshotctl knows nothing of."""
        path = os.path.join(self.directory, "outside.log")
        with open(path, "ab") as log:
            self.child = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, start_new_session=True,
                                          cwd=self.directory)
        # A zombie would keep its process id from being restored.
        threading.Thread(target=self.child.wait, daemon=True).start()
        workload = Workload(None, self.child.pid, path)
        workload.wait_ready()
        return workload

    def end_child(self):
        """A tree which nobody else stops, as after a refusal."""
        if self.child is None or self.child.poll() is not None:
            return
        self.child.terminate()
        try:
            status = self.child.wait(timeout=ANSWER_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failure("expected the workload to end on SIGTERM") from None
        if status != 0:
            raise Failure(f"expected the workload to end with status 0, seen {status}")

    def remove_shared_names(self):
        ending = "stasis-workload." + os.path.basename(self.files)
        names = [name for name in os.listdir("/dev/shm") if name.endswith(ending)]
        for name in names:
            os.unlink(os.path.join("/dev/shm", name))
        return names

    def end(self):
        """Ends whatever still runs, after a failure too, and gives what should not be there."""
        forced = processes_using(self.directory)
        for pid in forced:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for pid in forced:
            wait_until(lambda pid=pid: not process_alive(pid), f"the end of process {pid}")
        if self.server is not None:
            self.server.close()
        left = [f"process {pid}" for pid in forced]
        left += [str(path) for path in pathlib.Path(self.files).rglob("link_remap.*")]
        names = self.remove_shared_names()
        if "by pid" not in self.mode:  # the others have a /dev/shm of their own
            left += [f"/dev/shm/{name}" for name in names]
        shutil.rmtree(self.directory)
        return left


# The tests


def expect_gone(workload):
    wait_until(lambda: not process_alive(workload.pid),
               f"process {workload.pid} to end with its checkpoint")


def refused_and_unhurt(case, workload, number, *arguments):
    """Whether a checkpoint is refused; if so the workload must go on, each time."""
    code = case.product.refusal(*arguments)
    if code is None:
        return False
    workload.expect(number)
    if case.product.refusal(*arguments) != code:
        raise Failure(f"expected the second checkpoint to be refused with {code} as well")
    workload.expect(number + 1)
    return True


def test_run(case):
    product = case.product
    name = case.kind.name
    source = case.start(name)
    source.expect(1)
    leave = [name, "--leave-running", *case.tcp]
    if "carried-or-refused" in case.kind.flags and refused_and_unhurt(case, source, 2, *leave):
        product.stop(source)
        return
    if "carried-or-refused" not in case.kind.flags:
        product.checkpoint(*leave)
        source.expect(2)
    else:
        source.expect(2)  # refusal() has taken the checkpoint
    snapshot = product.checkpoint(name, *case.tcp)
    expect_gone(source)
    # Twice from one snapshot: the second must know nothing of the first.
    for _ in range(2):
        copy = product.restore(snapshot["id"], *case.tcp)
        copy.expect(3)
        copy.expect(4)
        product.stop(copy)


def test_side_by_side(case):
    product = case.product
    name = case.kind.name
    source = case.start(name)
    source.expect(1)
    snapshot = product.checkpoint(name)
    expect_gone(source)
    copies = [product.restore(snapshot["id"], "--name", f"{name}-{letter}") for letter in "ab"]
    # In turns: what one does must not be seen by the other.
    for number in (2, 3):
        for copy in copies:
            copy.expect(number)
    for copy in copies:
        product.stop(copy)


def test_by_pid(case):
    product = case.product
    source = case.start_outside()
    source.expect(1)
    selection = ["--pid", str(source.pid), "--id", case.kind.name, *case.tcp]
    if "carried-or-refused" in case.kind.flags:
        if refused_and_unhurt(case, source, 2, *selection, "--leave-running"):
            return
    else:
        product.checkpoint(*selection, "--leave-running")
    source.expect(2)
    snapshot = product.checkpoint(*selection)
    expect_gone(source)
    for pids in ([], [], ["--pids", "new"]):
        copy = product.restore(snapshot["id"], *pids, *case.tcp, log=source.log.path)
        if not pids and copy.pid != source.pid:
            raise Failure(f"expected process id {source.pid}, seen {copy.pid}")
        copy.expect(3)
        copy.expect(4)
        product.stop(copy)


def test_refused(case):
    source = case.start(case.kind.name)
    source.expect(1)
    if not refused_and_unhurt(case, source, 2, case.kind.name, *case.tcp):
        raise Failure(f"expected a refusal ({case.kind.reason}), seen a checkpoint")
    case.product.stop(source)


def test_refused_by_pid(case):
    source = case.start_outside()
    source.expect(1)
    if not refused_and_unhurt(case, source, 2, "--pid", str(source.pid), *case.tcp):
        raise Failure(f"expected a refusal ({case.kind.reason}), seen a checkpoint")


TESTS = {
    "run": test_run,
    "side by side": test_side_by_side,
    "by pid": test_by_pid,
    "refused": test_refused,
    "refused by pid": test_refused_by_pid,
}


def modes_of(kind):
    if "refused" in kind.flags:
        return ["refused", "refused by pid"]
    modes = ["run"]
    if not kind.flags & {"unique", "files", "carried-or-refused"}:
        modes.append("side by side")
    if "namespaces" not in kind.flags:
        modes.append("by pid")
    return modes


# Running them


@dataclasses.dataclass
class Result:
    name: str
    problem: str = ""
    skipped: str = ""
    seconds: float = 0.0


def run_steps(case, result):
    try:
        TESTS[case.mode](case)
    except Skip as skip:
        result.skipped = str(skip)
    except Failure as failure:
        result.problem = str(failure)
    try:
        case.end_child()
    except Failure as failure:
        result.problem = result.problem or str(failure)
    left = case.end()
    if left and not result.problem and not result.skipped:
        result.problem = f"expected nothing left behind, seen {', '.join(left)}"


def run_case(settings, kind, mode):
    result = Result(f"{kind.name}: {mode}")
    start = time.monotonic()
    try:
        run_steps(Case(settings, kind, mode), result)
    except Exception as error:  # a test that breaks has not passed, and the others go on
        result.problem = result.problem or f"{type(error).__name__}: {error}"
    result.seconds = time.monotonic() - start
    return result


def shared_remaps():
    return {name for name in os.listdir("/dev/shm") if name.startswith("link_remap.")}


def mounts_below(directory):
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if directory in line]


def test_nothing_left(settings, remaps_before):
    left = []
    left += [f"process {pid}: {process_arguments(pid)!r}"
             for pid in processes_using(settings.directory)]
    left += [f"mount {line}" for line in mounts_below(settings.directory)]
    left += [f"/dev/shm/{name}" for name in sorted(shared_remaps() - remaps_before)]
    left += [f"{settings.directory}/{name}" for name in os.listdir(settings.directory)]
    return Result("nothing left behind", problem="expected nothing, seen " + "; ".join(left)
                  if left else "")


class Tap:
    """What it is told by several threads comes out one after the other."""

    def __init__(self, count):
        self.number = 0
        self.failed = 0
        self.turn = threading.Lock()
        print(f"1..{count}", flush=True)

    def report(self, result):
        directive = f" # SKIP {result.skipped}" if result.skipped else ""
        word = "not ok" if result.problem else "ok"
        problem = result.problem.replace("\\n", "\n").splitlines()
        with self.turn:
            self.number += 1
            self.failed += bool(result.problem)
            print(f"{word} {self.number} - {result.name}{directive}",
                  *(f"#   {line}" for line in (*problem, f"{result.seconds:.1f} s")), sep="\n",
                  flush=True)


def run_all(settings, work):
    tap = Tap(len(work) + 1)
    remaps_before = shared_remaps()
    with concurrent.futures.ThreadPoolExecutor(settings.jobs) as pool:
        running = [pool.submit(run_case, settings, kind, mode) for kind, mode in work]
        for done in concurrent.futures.as_completed(running):
            tap.report(done.result())
    tap.report(test_nothing_left(settings, remaps_before))
    return tap.failed


def parse_arguments():
    here = pathlib.Path(__file__).resolve().parent
    build = here.parents[1] / "build"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snapshotctl", default=str(build / "src/cli/snapshotctl"))
    parser.add_argument("--workload", default=str(build / "tests/root/workloads/workload"))
    parser.add_argument("--kinds", help="names, separated by commas; default: all")
    parser.add_argument("--modes", help="names, separated by commas, of: " + ", ".join(TESTS))
    parser.add_argument("--list", action="store_true", help="print kinds and their tests")
    parser.add_argument("--jobs", type=int, default=1, help="tests at the same time")
    return parser.parse_args()


def choose(what, wanted, known):
    if wanted is None:
        return list(known)
    names = wanted.split(",")
    unknown = sorted(set(names) - set(known))
    if unknown:
        sys.exit(f"suite.py: no such {what}: {', '.join(unknown)}")
    return names


def main():
    settings = parse_arguments()
    settings.workload = os.path.abspath(settings.workload)
    settings.snapshotctl = os.path.abspath(settings.snapshotctl)
    kinds = {kind.name: kind for kind in read_kinds(settings.workload)}
    names = choose("kind", settings.kinds, kinds)
    modes = choose("mode", settings.modes, TESTS)
    work = [(kinds[name], mode) for name in names for mode in modes_of(kinds[name])
            if mode in modes]
    if settings.list:
        for name in names:
            chosen = ", ".join(mode for kind, mode in work if kind.name == name)
            print(f"{name:22} {kinds[name].description} [{chosen}]")
        return 0
    if os.geteuid() != 0:
        print("1..0 # SKIP checkpoints need root")
        return 0
    if not os.access(settings.snapshotctl, os.X_OK):
        sys.exit(f"suite.py: no program {settings.snapshotctl}")
    with tempfile.TemporaryDirectory(prefix="stasis-suite.") as directory:
        settings.directory = os.path.realpath(directory)
        os.chmod(settings.directory, 0o755)
        return 1 if run_all(settings, work) else 0


if __name__ == "__main__":
    sys.exit(main())
