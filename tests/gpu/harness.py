# SPDX-License-Identifier: Apache-2.0
"""What the GPU cases share: processes that are ended again, commands with a time
limit, questions to the GPU, and a table of what held and what did not."""

import contextlib
import ctypes
import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tarfile
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.02


class Failure(Exception):
    """A case cannot go on."""


class OutOfTime(Failure):
    pass


# --- processes ---------------------------------------------------------------


def process_start_time(pid):
    """Tells a process from a later one of the same id; None when it is gone or a zombie."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def process_exists(pid):
    """Zombies count: they keep their ids."""
    return os.path.exists(f"/proc/{pid}")


def process_tree(root):
    """The process and its descendants, parents first."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
                children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    tree, at = [root] if process_exists(root) else [], 0
    while at < len(tree):
        tree += children.get(tree[at], [])
        at += 1
    return tree


class Children:
    """Who is waited for by somebody. Whatever else becomes our child has lost its parent below
    us and is reaped at once: a zombie would keep the ids that a restore needs."""

    def __init__(self):
        self.lock = threading.Lock()
        self.waited_for = set()

    def popen(self, argv, **options):
        with self.lock:
            child = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL,
                                     **options)
            self.waited_for.add(child.pid)
        return child

    def forget(self, pid):
        with self.lock:
            self.waited_for.discard(pid)

    def adopt(self):
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise Failure("this process cannot become a subreaper")
        threading.Thread(target=self._reap, daemon=True).start()

    def _reap(self):
        while True:
            with self.lock:
                for task in os.listdir("/proc/self/task"):
                    with contextlib.suppress(OSError):
                        text = pathlib.Path(f"/proc/self/task/{task}/children").read_text()
                        for pid in set(map(int, text.split())) - self.waited_for:
                            os.waitpid(pid, os.WNOHANG)
            time.sleep(POLL_SECONDS)


CHILDREN = Children()


def quick(argv, seconds=60):
    """Runs a small tool; its output as text."""
    child = CHILDREN.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        child.kill()
        raise OutOfTime(f"{argv[0]} took more than {seconds} s") from error
    finally:
        CHILDREN.forget(child.pid)
    if child.returncode != 0:
        raise Failure(f"{' '.join(map(str, argv))}: {(err or out).strip()}")
    return out


class Processes:
    """Starts, adopts and ends the processes of cases."""

    def __init__(self):
        self.started = {}  # pid -> start time, to be ended when the case ends
        CHILDREN.adopt()

    def popen(self, argv, **options):
        child = CHILDREN.popen(argv, **options)
        self.remember(child.pid)
        return child

    def wait(self, child, seconds):
        """Its exit status; None when it still runs. To the millisecond: times hang on this."""
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(child.pid)
                select.select([descriptor], [], [], seconds)
                os.close(descriptor)
        if child.poll() is not None:
            CHILDREN.forget(child.pid)
            self.started.pop(child.pid, None)
        return child.returncode

    def disown(self, child):
        """Let the reaper have it; the exit status no longer matters."""
        CHILDREN.forget(child.pid)

    def remember(self, pid):
        start = process_start_time(pid)
        if start is not None:
            self.started[pid] = start

    def end(self, pid, seconds=20):
        """Kills the process with all that descends from it."""
        tree = process_tree(pid)
        for each in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        CHILDREN.forget(pid)
        self.started.pop(pid, None)
        return wait_until(lambda: not any(map(process_exists, tree)), seconds)

    def end_all(self):
        for pid, start in list(self.started.items()):
            if process_start_time(pid) == start:
                self.end(pid)
        self.started.clear()


def wait_until(condition, seconds):
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(POLL_SECONDS)
    return True


# --- talking to workloads ----------------------------------------------------


def udp_ask(port, text, seconds=5.0):
    """The answer, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds)
        with contextlib.suppress(OSError):
            sock.connect(("127.0.0.1", port))
            sock.send(text.encode())
            return sock.recv(4096).decode().strip()
    return None


def _port_is_listed(kind, port, state):
    wanted = re.compile(rf"^\s*\d+: [0-9A-F]+:{port:04X} [0-9A-F:]+ {state} ", re.M)
    return wanted.search(pathlib.Path(f"/proc/net/{kind}").read_text()) is not None


def udp_is_bound(port):
    return _port_is_listed("udp", port, "07")


def tcp_is_listening(port):
    return _port_is_listed("tcp", port, "0A")


def tcp_ask(port, request, seconds):
    """One JSON line there, one back; None when nobody answers."""
    with contextlib.suppress(OSError, ValueError):
        with socket.create_connection(("127.0.0.1", port), seconds) as sock:
            sock.settimeout(seconds)
            with sock.makefile("rw") as stream:
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                return json.loads(stream.readline())
    return None


# --- the GPU, as its own tool sees it ------------------------------------------


def nvidia_smi(*arguments):
    return quick(["nvidia-smi", *arguments])


def gpu_uuids():
    return nvidia_smi("--query-gpu=uuid", "--format=csv,noheader").split()


def gpu_pids():
    return {int(pid) for pid in re.findall(r"Process ID\s*:\s*(\d+)",
                                           nvidia_smi("--query", "--display=PIDS"))}


def gpu_of(pid):
    """UUIDs of the GPUs that a process computes on."""
    lines = nvidia_smi("--query-compute-apps=pid,gpu_uuid", "--format=csv,noheader").splitlines()
    return {line.split(",")[1].strip() for line in lines if line.split(",")[0].strip() == str(pid)}


def gpu_minor(uuid):
    """N of /dev/nvidiaN."""
    for place in pathlib.Path("/proc/driver/nvidia/gpus").glob("*/information"):
        facts = dict(line.split(":", 1) for line in place.read_text().splitlines() if ":" in line)
        if facts.get("GPU UUID", "").strip().lower() == uuid.lower():
            return int(facts["Device Minor"])
    raise Failure(f"no device for {uuid}")


# --- the table -----------------------------------------------------------------


class Table:
    """Every line goes to the screen at once and to files that are whole at any moment."""

    def __init__(self, out):
        self.out = out
        self.lines = []
        self.rows = []

    def line(self, text):
        print(text, flush=True)
        self.lines.append(text)
        (self.out / "table.txt").write_text("\n".join(self.lines) + "\n")

    def row(self, kind, case, label, detail=""):
        shown = str(detail)[:300 if kind == "FAIL" else 110]
        self.rows.append({"kind": kind, "case": case, "label": label, "detail": str(detail)})
        self.line(f"{kind:<4} {case:<19} {label:<32} {shown}".rstrip())
        (self.out / "results.json").write_text(json.dumps(self.rows, indent=1) + "\n")

    def count(self, kind, case=None):
        return sum(row["kind"] == kind and case in (None, row["case"]) for row in self.rows)

    def keep_logs(self, logs):
        """One archive, without the bulk that lies between the logs."""
        with tarfile.open(self.out / "logs.tar.gz", "w:gz") as archive:
            for path in sorted(logs.rglob("*")):
                if path.is_file() and path.stat().st_size < 4 << 20:
                    archive.add(path, arcname=path.relative_to(logs))


# --- one case ------------------------------------------------------------------


class Done:
    def __init__(self, argv, status, out, err, seconds):
        self.argv, self.status, self.out, self.err, self.seconds = argv, status, out, err, seconds

    @property
    def why(self):
        """Short enough for the table."""
        text = " ".join((self.err or self.out).split())
        return f"status {self.status}: …{text[-240:]}" if len(text) > 240 else \
            f"status {self.status}: {text}"


class Case:
    """What a case uses: checks for the table, commands with a limit, a folder of its own."""

    def __init__(self, name, table, processes, folder, logs, limit):
        self.name, self.table, self.processes, self.limit = name, table, processes, limit
        self.folder, self.logs = folder, logs
        self.numbers = {}
        for path in (folder, logs):
            path.mkdir(parents=True, exist_ok=True)
        self.commands = 0

    # Checks
    def check(self, label, holds, detail=""):
        self.table.row("ok" if holds else "FAIL", self.name, label, detail)
        return bool(holds)

    def equal(self, label, seen, expected):
        detail = seen if seen == expected else f"{seen!r}, expected {expected!r}"
        return self.check(label, seen == expected, detail)

    def need(self, label, holds, detail=""):
        if not self.check(label, holds, detail):
            raise Failure(f"cannot go on without: {label}")

    def note(self, label, detail):
        self.table.row("-", self.name, label, detail)

    def time(self, label, seconds):
        self.numbers[label] = seconds
        self.table.row("time", self.name, label, f"{seconds:8.3f} s")

    def left(self, wanted):
        left = self.limit - time.monotonic()
        if left < 1:
            raise OutOfTime("the case has used up its time")
        return min(wanted, left)

    def wait_for_start(self, workload, condition, seconds):
        """Until it serves; when it has died, its last words are the message."""
        start = time.monotonic()
        served = wait_until(lambda: condition() or not workload.alive(), self.left(seconds))
        if not served or not workload.alive():
            raise Failure(f"no service after {time.monotonic() - start:.0f} s; last words: "
                          f"{' '.join(workload.words().split())[-240:]}")

    # Commands
    def run(self, argv, seconds=60, env=None, cwd=None):
        """Runs to the end. Output goes to files: a daemon that keeps a pipe open would hold us."""
        self.commands += 1
        argv = [str(word) for word in argv]
        base = self.logs / f"{self.commands:02d}-{pathlib.Path(argv[0]).name}"
        with open(f"{base}.out", "wb") as out, open(f"{base}.err", "wb") as err:
            start = time.monotonic()
            child = self.processes.popen(argv, stdout=out, stderr=err, cwd=cwd,
                                         env=None if env is None else {**os.environ, **env})
            status = self.processes.wait(child, self.left(seconds))
            took = time.monotonic() - start
        with open(self.logs / "commands", "a", encoding="utf-8") as file:
            file.write(f"{self.commands:02d} {took:9.3f} s  status {status}  {' '.join(argv)}\n")
        if status is None:
            self.processes.end(child.pid)
            raise OutOfTime(f"{' '.join(argv)[:120]} took more than {took:.0f} s")
        return Done(argv, status, _text(f"{base}.out"), _text(f"{base}.err"), took)

    def must(self, argv, seconds=60, **options):
        done = self.run(argv, seconds, **options)
        if done.status != 0:
            raise Failure(f"{' '.join(done.argv)[:160]}: {done.why}")
        return done

    def start(self, argv, log, **options):
        """In the background; ended with the case."""
        path = self.logs / log
        with open(path, "ab") as out:
            child = self.processes.popen(argv, stdout=out, stderr=subprocess.STDOUT, **options)
        return Workload(child.pid, lambda: child.poll() is None, lambda: _text(path), child)


class Workload:
    """`child` only where it is ours, and not the product's."""

    def __init__(self, pid, alive, words, child=None):
        self.pid, self.alive, self.words, self.child = pid, alive, words, child


def _text(path):
    return pathlib.Path(path).read_text(errors="replace")


# --- the product's command line -------------------------------------------------


class Snapshotctl:
    """Calls with --json; keeps pids of workloads so that they are ended with the case."""

    def __init__(self, case, program, root):
        self.case, self.program, self.root = case, program, root
        self.prefix = []  # a command that runs the program
        root.mkdir(parents=True, exist_ok=True)

    def argv(self, *words):
        return [*self.prefix, self.program, "--root", self.root, "--json", "--progress", "none", *words]

    def call(self, *words, seconds=60, env=None):
        """The object it printed, and its wall time under 'wall'."""
        done = self.case.run(self.argv(*words), seconds, env=env)
        answer = _json_object(done.out)
        if done.status != 0 or answer is None:
            raise Failure(f"snapshotctl {' '.join(map(str, words))[:100]}: {done.why}")
        if isinstance(answer.get("pid"), int):
            self.case.processes.remember(answer["pid"])
        return {**answer, "wall": done.seconds}

    def run(self, name, *argv, env=None):
        """Starts a workload; what `run` printed is its `answer`."""
        answer = self.call("run", "--detach", "--name", name, "--", *argv, env=env)
        pid = answer["pid"]
        workload = Workload(pid, lambda: process_start_time(pid) is not None,
                            lambda: self.case.run(self.argv("logs", name)).out)
        workload.answer = answer
        return workload

    def status(self, *words, seconds=60):
        return self.case.run(self.argv(*words), seconds).status


def _json_object(text):
    for candidate in [text, *reversed(text.splitlines())]:
        with contextlib.suppress(ValueError):
            value = json.loads(candidate)
            if isinstance(value, dict):
                return value
    return None


def phases_text(answer):
    phases = answer.get("phases") or []
    text = " ".join(f"{phase['name']} {phase['seconds']:.2f}" for phase in phases) or "none told"
    driver = answer.get("cuda_seconds")
    return f"{text} (of save, in the driver: {driver:.2f})" if driver else text
