# SPDX-License-Identifier: Apache-2.0
"""What faults.py needs: workloads that tell whether they are unhurt, a store with a snapshotctl
that can be made to fail in it, and a look at everything that may be left behind.

Whatever is started on behalf of a place carries the place's name in its environment, also after a
restore. So every process that came of a test can be found, however it is related to it.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import suite
from suite import Failure, Log, all_pids, process_alive, process_paths, wait_until

suite.POLL = 0.005

MARK = "STASIS_TEST_PLACE"
SETTLE_TIMEOUT = 10  # for what goes on after a kill: CRIU undoes what it has begun
COMMAND_TIMEOUT = 120
KINDS = ("children", "threads", "posix-shm", "shared-anonymous", "deleted-file", "link-remap")
MAIN_KIND = "pipes"


def expect(condition, text):
    if not condition:
        raise Failure(text)


# Processes


def status_of(path):
    fields = {}
    for line in pathlib.Path(path, "status").read_text().splitlines():
        name, _, value = line.partition(":")
        fields[name] = value.strip()
    return fields


def parent_of(pid):
    with contextlib.suppress(OSError):
        return int(status_of(f"/proc/{pid}")["PPid"])
    return 0


def children_of(pid):
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            text = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text()
            found += [int(word) for word in text.split()]
    return found


def tree_of(pid):
    return [pid] + [found for child in children_of(pid) for found in tree_of(child)]


def arguments_of(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def name_of(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def environment_of(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def kill(pid, number=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def state_of_task(task):
    """What a task looks like from outside as long as it runs on: its state, tracer and masks."""
    fields = status_of(task)
    return fields["State"][0], fields["TracerPid"], fields["SigBlk"], fields["SigCgt"]


def is_stopped(pid):
    return status_of(f"/proc/{pid}")["State"][0] == "T"


def mappings_of(pid):
    """All but the heap and stacks, which grow: an injected one would be among them."""
    found = []
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split(maxsplit=5)
        if not (len(words) > 5 and words[5].startswith("[")):
            found.append((words[0], words[1], words[5] if len(words) > 5 else ""))
    return found


def descriptors_of(pid):
    return sorted((name, os.readlink(f"/proc/{pid}/fd/{name}"))
                  for name in os.listdir(f"/proc/{pid}/fd"))


def picture_of(pid):
    """What must be the same before a capture and after one that failed."""
    masks = {task.name: state_of_task(task)[2:] for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}
    return {"masks": masks, "mappings": mappings_of(pid), "descriptors": descriptors_of(pid)}


# The product


class Done:
    """An ended snapshotctl."""

    def __init__(self, arguments, status, output, errors):
        self.arguments = arguments
        self.status = status
        self.output = output
        self.errors = errors

    def __str__(self):
        return (f"'{' '.join(self.arguments)}': status {self.status}, stdout "
                f"{self.output[-400:]!r}, stderr {self.errors[-1500:]!r}")

    @property
    def answer(self):
        try:
            return json.loads(self.output)
        except json.JSONDecodeError:
            raise Failure(f"expected one JSON object: {self}") from None

    @property
    def code(self):
        found = re.findall(r"^  code: (\S+)$", self.errors, re.MULTILINE)
        return found[0] if len(found) == 1 else None

    @property
    def message(self):
        return self.answer.get("error", {}).get("message", "")


class Running:
    """A snapshotctl at work. It writes into files, so that nobody waits for who inherits them."""

    def __init__(self, place, arguments, fault):
        self.arguments = arguments
        self.output = tempfile.TemporaryFile("w+", dir=place.directory)
        self.errors = tempfile.TemporaryFile("w+", dir=place.directory)
        environment = dict(place.environment)
        if fault:
            environment["STASIS_FAULT"] = fault
        self.process = subprocess.Popen(
            [place.settings.snapshotctl, "--root", place.root, "--json", *arguments],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.errors, env=environment,
            cwd=place.directory)
        self.pid = self.process.pid
        self.pidfd = os.pidfd_open(self.pid)

    def ended(self):
        return self.process.poll() is not None

    def said(self):
        return os.fstat(self.output.fileno()).st_size > 0

    def wait(self):
        ended = bool(select.select([self.pidfd], [], [], COMMAND_TIMEOUT)[0])
        os.close(self.pidfd)
        if not ended:
            self.process.kill()
        self.process.wait()
        expect(ended, f"expected '{' '.join(self.arguments)}' to end within {COMMAND_TIMEOUT} s")
        texts = []
        for file in (self.output, self.errors):
            file.seek(0)
            texts.append(file.read())
            file.close()
        return Done(self.arguments, self.process.returncode, *texts)


class Place:
    """A directory with a store, and everything that was started on behalf of it."""

    def __init__(self, settings, root=None):
        self.settings = settings
        # Short: unix sockets have room for 107 bytes.
        self.directory = tempfile.mkdtemp(prefix="p.", dir=settings.directory)
        self.root = root or os.path.join(self.directory, "root")
        self.mark = f"{MARK}={self.directory}"
        self.environment = {**os.environ, MARK: self.directory}
        self.machine = pathlib.Path(self.directory, "machine")
        self.machine.write_text("")
        self.remaps_before = shared_remaps()

    def with_cuda(self):
        """From now on with the stand-in for the vendor's driver."""
        self.environment["LD_LIBRARY_PATH"] = self.settings.fake_cuda
        self.environment["FAKE_CUDA_CONFIG"] = str(self.machine)

    def set_machine(self, *lines):
        new = self.machine.with_name("machine.new")
        new.write_text("".join(line + "\n" for line in lines))
        new.rename(self.machine)

    def start(self, *arguments, fault=None):
        return Running(self, arguments, fault)

    def call(self, *arguments, fault=None):
        return self.start(*arguments, fault=fault).wait()

    def must(self, *arguments):
        done = self.call(*arguments)
        expect(done.status == 0, f"expected success: {done}")
        return done.answer

    # What there is

    def snapshots(self):
        """References of all, the oldest first."""
        found = pathlib.Path(self.root).glob("*/versions/[0-9]*")
        return sorted(f"{path.parts[-3]}@{path.name}" for path in found)

    def living_names(self):
        return [entry["name"] for entry in self.must("ps")["workloads"]
                if entry["state"] == "running"]

    def is_ours(self, pid):
        """By its environment; or, as CRIU writes its title over that, by its open files."""
        environment = environment_of(pid)
        if environment.strip(b"\0"):
            return self.mark.encode() in environment.split(b"\0")
        return any(path.startswith(self.directory) for path in process_paths(pid))

    def marked(self):
        return {pid for pid in all_pids() if pid != os.getpid() and self.is_ours(pid)
                and process_alive(pid)}

    def find(self, name):
        """Helpers of a name. A CRIU may run as the argument of a loader, and has children that are
        on the way to being the workload."""
        if name != "criu":
            return [pid for pid in self.marked() if name_of(pid) == name]
        found = {pid for pid in self.marked()
                 if any(re.search("criu.* (dump|restore|swrk)", word) or word == "swrk"
                        for word in arguments_of(pid))}
        return [pid for pid in found if parent_of(pid) not in found]

    def strays(self, sources):
        """Processes of this place that belong to none of the sources."""
        known = set()
        for source in sources:
            known.update(source.processes())
        return self.marked() - known

    def expect_quiet(self, sources=()):
        """Nobody is at work any more, soon."""
        try:
            wait_until(lambda: not self.strays(sources), "the end of all helpers", SETTLE_TIMEOUT)
        except Failure:
            seen = {pid: (name_of(pid), arguments_of(pid)) for pid in self.strays(sources)}
            raise Failure(f"expected no process beside the workload, seen {seen}") from None

    def leftovers(self):
        """Files and mounts that nobody needs any more."""
        found = [str(path) for path in pathlib.Path(self.root).glob("*/versions/.*")]
        found += [str(path) for path in pathlib.Path(self.directory).rglob("link_remap.*")]
        for path in pathlib.Path(self.directory).rglob(".stasis-remap-*"):
            name, version, _ = path.name.removeprefix(".stasis-remap-").rsplit("-", 2)
            if not os.path.isdir(os.path.join(self.root, name, "versions", version)):
                found.append(str(path))
        found += [f"/dev/shm/{name}" for name in shared_remaps() - self.remaps_before]
        found += [f"mount {line}" for line in mounts() if self.directory in line
                  and f" {self.root} " not in line]
        return found

    def expect_clean(self):
        try:
            wait_until(lambda: not self.leftovers(), "nothing left", SETTLE_TIMEOUT)
        except Failure:
            raise Failure(f"expected nothing left behind, seen {self.leftovers()}") from None

    def expect_sound(self, reference):
        states = {entry["reference"]: entry["state"] for entry in self.must("list")["snapshots"]}
        expect(states.get(reference) == "complete",
               f"expected {reference} to be complete, seen {states.get(reference)}")
        done = self.call("verify", reference)
        expect(done.status == 0, f"expected {reference} to be sound: {done}")

    def end(self):
        """Ends whatever runs."""
        def killed():
            pids = self.marked()
            for pid in pids:
                kill(pid)
            return not pids

        wait_until(killed, f"the end of all processes of {self.directory}")

    def remove(self):
        self.end()
        for line in mounts():
            if self.directory in line:
                subprocess.run(["umount", "-l", line.split()[4]], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def shared_remaps():
    return {name for name in os.listdir("/dev/shm") if name.startswith("link_remap.")}


def mounts():
    return pathlib.Path("/proc/self/mountinfo").read_text().splitlines()


# Workloads


class Source:
    """A running workload. Everything of it that counts its answers has a log of its own."""

    carries_mappings = True  # whether mappings stay the same over a capture
    options = ()             # of the checkpoint and restore that fit it

    def __init__(self, place, name):
        self.place = place
        self.name = name
        self.number = 0
        self.pid = None
        self.keeper = None
        self.members = []  # (pid, Log)
        self.pids = []
        self.picture = {}
        self.files = tempfile.mkdtemp(prefix="s.", dir=place.directory)

    # For each kind of source: its command, and which processes of its tree answer where.

    def command(self):
        raise NotImplementedError

    def find_members(self):
        raise NotImplementedError

    @property
    def selection(self):
        return [self.name]

    @property
    def id(self):
        return self.name

    def start(self):
        answer = self.place.must("run", "--detach", "--name", self.name, "--", *self.command())
        self.settle(answer["pid"], ready=True)
        return self

    def settle(self, pid, ready=False):
        """It runs with this process id: finds its members, and waits for them."""
        self.pid = pid
        self.members = wait_until_found(self.find_members, f"all members of {self.name}")
        for member, log in self.members if ready else ():
            line = log.line_after(0, member)
            expect(line == "ready", f"expected 'ready', seen {line!r}")
        self.pids = tree_of(pid)
        self.keeper = keeper_of(pid)

    def processes(self):
        """All there are now, with its keeper and root process."""
        found = set(tree_of(self.pid))
        return found | {pid for pid in self.keeper_line() if process_alive(pid)}

    def keeper_line(self):
        if self.keeper is None:
            return []
        return [self.keeper, *children_of(self.keeper)]

    def answer(self):
        """Every member gives the next answer, and the right one."""
        self.number += 1
        expected = f"ok {self.number}"
        offsets = [log.size() for _, log in self.members]
        for pid, log in self.members:
            try:
                os.kill(pid, signal.SIGUSR1)
            except ProcessLookupError:
                raise Failure(f"expected '{expected}' in {log.path.name}, seen no such "
                              "process") from None
        for (pid, log), offset in zip(self.members, offsets):
            line = log.line_after(offset, pid)
            expect(line == expected, f"{log.path.name}: expected '{expected}', seen {line!r}")

    def alive(self):
        """True: all of it; False: nothing of it. Waits for a tree that is about to end."""
        end = time.monotonic() + SETTLE_TIMEOUT
        while True:
            left = [pid for pid in self.pids if process_alive(pid)]
            if not left:
                return False
            if len(left) == len(self.pids):
                return True
            if time.monotonic() > end:
                gone = set(self.pids) - set(left)
                raise Failure(f"expected all of the workload or nothing, seen {gone} ended and "
                              f"{left} alive")
            time.sleep(0.02)

    def note(self):
        """Remembers how it looks, to compare with."""
        self.pids = tree_of(self.pid)
        self.picture = {pid: picture_of(pid) for pid in self.pids}

    def disturbance(self):
        """In what it differs from a process that was left alone; empty: in nothing."""
        for pid in self.pids:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                state, tracer, _, _ = state_of_task(task)
                if state in "Tt" or tracer != "0":
                    return f"task {task.name} is in state {state}, traced by {tracer}"
            now = picture_of(pid)
            for what, before in self.picture[pid].items():
                if what == "mappings" and not self.carries_mappings:
                    continue
                if before != now[what]:
                    return f"{what} of process {pid} were {before}, are {now[what]}"
        return ""

    def expect_undisturbed(self):
        try:
            wait_until(lambda: not self.disturbance(), "it to run on", SETTLE_TIMEOUT)
        except Failure:
            raise Failure(f"expected it to run on undisturbed: {self.disturbance()}") from None
        self.answer()

    def restore(self, reference=None, *options):
        answer = self.place.must("restore", reference or self.id, "--detach", *self.options,
                                 *options)
        self.settle(answer["pid"])
        return answer

    def stop(self):
        for pid in self.pids:
            kill(pid, signal.SIGTERM)
        wait_until(lambda: not any(process_alive(pid) for pid in self.pids),
                   f"the end of {self.name}")
        if self.keeper:
            wait_until(lambda: not process_alive(self.keeper), "the end of its keeper")


def wait_until_found(function, what):
    found = []

    def look():
        found[:] = [function()]
        return bool(found[0])

    wait_until(look, what)
    return found[0]


def keeper_of(pid):
    """The keeper is the parent or grandparent of the workload's main process, if it has one."""
    for _ in range(2):
        pid = parent_of(pid)
        if name_of(pid) == "stasis-keeper":
            return pid
    return None


class TreeSource(Source):
    """Several kinds side by side in one tree: processes, threads, shared memory, a pipe, a deleted
    file, and a file that has another name in another directory."""

    def command(self):
        lines = [f"cd {self.files} && mkdir here there && echo text >here/held",
                 "exec 9<here/held && ln here/held there/other && rm here/held"]
        for kind in (*KINDS, MAIN_KIND):
            lines.append(f"mkdir -p {kind}-{os.path.basename(self.files)}")
        for kind in KINDS:
            lines.append(f"{self.of_kind(kind)} &")
        lines.append(f"exec {self.of_kind(MAIN_KIND)}")
        return ["sh", "-c", "\n".join(lines)]

    def of_kind(self, kind):
        place = f"{self.files}/{kind}-{os.path.basename(self.files)}"
        return (f"{self.place.settings.workload} {kind} --dir {place} "
                f"</dev/null >>{self.files}/{kind}.log 2>&1")

    def find_members(self):
        found = []
        for pid in (self.pid, *children_of(self.pid)):
            arguments = arguments_of(pid)
            if len(arguments) > 1 and arguments[1] in (*KINDS, MAIN_KIND) and \
                    arguments[0] == self.place.settings.workload:
                found.append((pid, Log(f"{self.files}/{arguments[1]}.log")))
        names = {log.path for _, log in found}
        return found if len(names) == len(KINDS) + 1 else []


class OutsideSource(TreeSource):
    """The same, started by somebody else, with the machine's own process ids."""

    @property
    def selection(self):
        return ["--pid", str(self.pid), "--id", self.name]

    def start(self):
        child = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 env=self.place.environment, start_new_session=True)
        # A zombie would keep its process id from being restored.
        threading.Thread(target=child.wait, daemon=True).start()
        self.settle(child.pid, ready=True)
        return self


class KindSource(Source):
    """One kind by itself."""

    kind = "big-memory"

    def command(self):
        return ["sh", "-c", f"exec {self.place.settings.workload} {self.kind} --dir {self.files} "
                            f"</dev/null >>{self.files}/log 2>&1"]

    def find_members(self):
        return [(self.pid, Log(f"{self.files}/log"))]


class CudaSource(Source):
    """Two processes with device memory."""

    carries_mappings = False  # the driver gives memory back in other pieces
    megabytes = 4

    def start(self):
        self.place.with_cuda()
        return super().start()

    def command(self):
        return ["sh", "-c", f"exec {self.place.settings.cuda_workload} --processes 2 "
                            f"--megabytes {self.megabytes} </dev/null >>{self.files}/log 2>&1"]

    def find_members(self):
        return [(self.pid, Log(f"{self.files}/log"))]

    def cuda_checkpoint(self, *arguments):
        return subprocess.run([self.place.settings.cuda_checkpoint, *arguments],
                              env=self.place.environment, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60, check=False)

    def cuda_state(self, pid):
        done = self.cuda_checkpoint("--get-state", "--pid", str(pid))
        return done.stdout.strip() or done.stderr.strip()

    def disturbance(self):
        for pid in self.pids:
            state = self.cuda_state(pid)
            if state != "running":
                return f"the CUDA state of process {pid} is {state}"
        return super().disturbance()


# Snapshots


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def rewrite_manifest(directory, change):
    """Changes a manifest as somebody would who also writes its checksum."""
    library = ctypes.CDLL("libxxhash.so.0")
    library.XXH3_128bits.restype = Hash128
    library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    path = pathlib.Path(directory, "manifest.json")
    manifest = json.loads(path.read_text())
    change(manifest)
    data = json.dumps(manifest, indent=1).encode()
    path.write_bytes(data)
    digest = library.XXH3_128bits(data, len(data))
    path.with_name("manifest.sum").write_text(
        f"{digest.high:016x}{digest.low:016x}  manifest.json\n")
