# SPDX-License-Identifier: Apache-2.0
"""What the cases of workloads.py are made with: the product's commands, containers that are its sources
and targets, and what must not be left after a case."""
import concurrent.futures
import dataclasses
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

import bed
import machine
from machine import Failure

HERE = pathlib.Path(__file__).resolve().parent
COMMAND_TIMEOUT = 120
LEFT_BY_CRIU = ("link_remap.*", "criu.kdat", "*.criu*")


def expect(condition, what):
    if not condition:
        raise Failure(f"expected {what}")


def expect_equal(seen, wanted, what):
    if seen != wanted:
        raise Failure(f"{what}: expected {wanted!r}, seen {seen!r}")


def inside(name):
    """The text of a program that runs in a container."""
    return (HERE / "inside" / name).read_text(encoding="utf-8")


# The product


class Answer:
    def __init__(self, arguments, done):
        self.arguments = " ".join(arguments)
        self.status = done.returncode
        self.output = done.stdout
        self.errors = done.stderr

    def __str__(self):
        return (f"'{self.arguments}': status {self.status}, stdout {self.output[-600:]!r}, "
                f"stderr {self.errors[-2000:]!r}")

    @property
    def code(self):
        found = re.findall(r"^\s*code: ([a-z0-9-]+)$", self.errors, re.MULTILINE)
        return found[0] if found else None

    def json(self):
        try:
            return json.loads(self.output)
        except ValueError:
            raise Failure(f"expected JSON, seen {self}") from None


@dataclasses.dataclass
class Restored:
    """The first process of what was restored, as this machine and as its target count."""
    pid: int
    inner_pid: int
    target: object


class Product:
    def __init__(self, program, store):
        self.program = program
        self.store = pathlib.Path(store)
        self.may_fail = False  # a failure leaves logs

    def call(self, *arguments):
        arguments = [str(argument) for argument in arguments]
        environment = {**os.environ, "STASIS_ROOT": str(self.store)}
        done = subprocess.run([self.program, "--json", "--progress", "none", *arguments],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", env=environment, timeout=COMMAND_TIMEOUT,
                              check=False)
        return Answer(arguments, done)

    def must(self, *arguments):
        answer = self.call(*arguments)
        if answer.status != 0:
            raise Failure(f"expected status 0, seen {answer}{self.log_of(answer)}")
        return answer

    def log_of(self, answer):
        """What CRIU has complained about, for who reads of the failure."""
        found = re.search(r"\(logs: ([^\s)]+)", answer.errors)
        lines = []
        for path in sorted(pathlib.Path(found[1]).glob("*.log")) if found else []:
            lines += [line for line in machine.read(path).splitlines() if "Error" in line]
        return "".join(f"\n{line}" for line in lines[-6:])

    def refused(self, code, *arguments):
        self.may_fail = True
        answer = self.call(*arguments)
        if answer.status == 0 or answer.code != code:
            raise Failure(f"expected a refusal with {code}, seen {answer}{self.log_of(answer)}")
        return answer

    def checkpoint(self, container, name, *options):
        return self.must("checkpoint", "--pid", container.pid, "--id", name, *options).json()

    def restore(self, name, target, *options):
        answer = self.must("restore", name, "--container-pid", target.pid, *options).json()
        return Restored(answer["pid"], answer["container_pid"], target)

    def versions(self):
        return sorted(path for path in self.store.glob("*/versions/*"))

    def leftovers(self):
        """Whatever is in the store beside whole snapshots."""
        left = []
        for path in self.store.iterdir() if self.store.exists() else []:
            if path.name == ".logs":
                left += [] if self.may_fail else [str(log) for log in path.iterdir()]
            elif path.is_dir() and {entry.name for entry in path.iterdir()} != {"versions"}:
                left += [f"{path}: {[entry.name for entry in path.iterdir()]}"]
        left += [f"{path} without a manifest" for path in self.versions()
                 if not (path / "manifest.sum").exists()]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if f"STASIS_ROOT={self.store}\0" in machine.read(f"/proc/{pid}/environ") + "\0":
                left.append(f"process {pid}: {machine.read(f'/proc/{pid}/cmdline')!r}")
        return left + [f"mount {line}" for line in machine.read("/proc/self/mountinfo").splitlines()
                       if str(self.store) in line]


# What runs in containers


def all_processes():
    """pid: (parent, state, control group) of all of this machine."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        fields = machine.read(f"/proc/{name}/stat").rpartition(")")[2].split()
        if fields:
            found[int(name)] = (int(fields[1]), fields[0], machine.read(f"/proc/{name}/cgroup"))
    return found


def tree_of(first, processes):
    members = {first}
    while True:
        more = {pid for pid, (parent, _, _) in processes.items() if parent in members} - members
        if not more:
            return members
        members |= more


def mounts_seen_by(pid, below=""):
    """(point, kind, options of the mount, root in its file system), sorted, without numbers."""
    found = []
    for line in machine.read(f"/proc/{pid}/mountinfo").splitlines():
        fields, _, kind = line.partition(" - ")
        _, _, _, root, point, options = fields.split()[:6]
        if point.startswith(below):
            found.append((point, kind.split()[0], options, root))
    return sorted(found)


class Counting:
    """A container, or a restored tree in one, that answers SIGUSR1 with "ok N" in its log."""

    def __init__(self, pid, container):
        self.pid = pid
        self.container = container

    def lines(self):
        return self.container.text().replace("\r\n", "\n")

    def expect_count(self, number):
        before = self.lines().count("\n")
        os.kill(self.pid, signal.SIGUSR1)
        try:
            machine.wait_until(lambda: self.lines().count("\n") > before
                               or not machine.alive(self.pid), "an answer", 20)
        except Failure:
            pass
        new = "".join(self.lines().splitlines(True)[before:])
        expect_equal(new, f"ok {number}\n", f"the answer of process {self.pid}"
                     f" ({'alive' if machine.alive(self.pid) else 'ended'})")


class Agent:
    """Speaks over the network of a node."""

    def __init__(self, node):
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            node.command(sys.executable, str(HERE / "agent.py")), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.names = itertools.count(1)

    def ask(self, *words):
        """(value, None) or (None, error)."""
        with self.lock:
            self.process.stdin.write(json.dumps(words) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        answer = json.loads(line)
        return answer.get("value"), answer.get("error") and f"{answer['error']}: {answer['text']}"

    def must(self, *words):
        value, error = self.ask(*words)
        if error:
            raise Failure(f"{words}: {error}")
        return value

    def get(self, url):
        return self.must("get", url)

    def wait_get(self, url):
        """The first page that comes."""
        return machine.wait_until(lambda: self.ask("get", url)[0], f"an answer of {url}")

    def connect(self, host, port):
        name = f"connection {next(self.names)}"
        machine.wait_until(lambda: self.ask("connect", name, host, port)[1] is None,
                           f"a connection to {host}:{port}")
        return Connection(self, name)

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class Connection:
    def __init__(self, agent, name):
        self.agent = agent
        self.name = name

    def ask(self, text, until):
        """What is answered to a text, up to a part of it."""
        self.agent.must("send", self.name, text)
        return self.agent.must("receive", self.name, until)


# The lab and its cases


class Lab:
    """What all cases share, made when first asked for."""

    def __init__(self, here, settings):
        self.bed = here
        self.settings = settings
        self.lock = threading.RLock()
        self.made = {}
        self.count = itertools.count(1)

    def once(self, key, make):
        with self.lock:
            if key not in self.made:
                try:
                    self.made[key] = make()
                except bed.Unavailable as reason:
                    self.made[key] = reason
            made = self.made[key]
        if isinstance(made, bed.Unavailable):
            raise made
        return made

    def node(self, name):
        return self.once(("node", name), lambda: self.bed.node(name))

    def agent(self, name="one"):
        return self.once(("agent", name), lambda: Agent(self.node(name)))

    def containerd(self, version="1.7", oci_runtime="runc", node=None, **options):
        """Pods of two on one node would share a bridge: so each has a node, the usual one "one"."""
        usual = (version, oci_runtime, options) == ("1.7", "runc", {})
        node = node or ("one" if usual else f"n{version}{oci_runtime}".replace(".", ""))

        def make():
            return self.bed.containerd(version, oci_runtime, node=self.node(node),
                                       subnet=f"10.244.{len(self.made)}.0/24", **options)

        return self.once(("containerd", version, oci_runtime, node, *options.items()), make)

    def podman(self, oci_runtime):
        return self.once(("podman", oci_runtime), lambda: self.bed.podman(oci_runtime))

    def cri(self, containerd):
        return self.once(("cri", id(containerd)), lambda: containerd.cri)

    def pull(self, runtime, image, **options):
        with self.lock:
            runtime.pull(image, **options)

    def close(self):
        for made in self.made.values():
            if isinstance(made, Agent):
                made.close()


class Case:
    """One case: its store, and all containers it has started."""

    def __init__(self, lab, name):
        self.lab = lab
        self.name = name
        self.directory = lab.bed.directory / self.next_name("case")
        self.directory.mkdir()
        self.product = Product(lab.settings.snapshotctl, self.directory / "store")
        self.sources = []
        self.targets = {}  # container: (its mounts, its processes) before anything was restored
        self.restored = []
        self.pods = []

    def next_name(self, word):
        return f"{word}-{next(self.lab.count)}"

    def volume(self, **files):
        folder = self.directory / self.next_name("volume")
        folder.mkdir()
        folder.chmod(0o777)
        for name, text in files.items():
            (folder / name).write_text(text)
        return folder

    # Containers

    def run(self, runtime, image, command, word="source", **options):
        self.lab.pull(runtime, image, user=options.get("user"))
        container = runtime.run(image, self.next_name(word), command, **options)
        self.sources.append(container)
        return container

    def pod(self, containerd, image, command, word="source", **options):
        """A container in a pod of its own."""
        cri = self.lab.cri(containerd)
        self.lab.pull(containerd, image, namespace="k8s.io")
        with self.lab.lock:
            pod = cri.run_pod(self.next_name(word))
        self.pods.append(pod)
        container = pod.run(image, "main", command, **options)
        self.sources.append(container)
        return container

    def as_target(self, container, command):
        """From here on nothing of it may change but by what is restored."""
        def started():
            return f"{command[0]}\0" in machine.read(f"/proc/{container.pid}/cmdline")

        machine.wait_until(started, "the target's command")
        self.sources.remove(container)
        self.targets[container] = (mounts_seen_by(container.pid),
                                   tree_of(container.pid, all_processes()))
        return container

    def target(self, runtime, image, command=("sleep", "1000000"), **options):
        return self.as_target(self.run(runtime, image, list(command), "target", **options), command)

    def target_pod(self, containerd, image, command=("sleep", "1000000"), **options):
        return self.as_target(self.pod(containerd, image, list(command), "target", **options),
                              command)

    # Checkpoint and restore

    def checkpoint(self, container, name="one", *options):
        return self.product.checkpoint(container, name, *options)

    def checkpoint_and_end(self, container, name="one", *options):
        answer = self.product.checkpoint(container, name, *options)
        machine.wait_until(lambda: not machine.alive(container.pid),
                           "the container to end with its checkpoint")
        return answer

    def restore(self, target, name="one", *options):
        restored = self.product.restore(name, target, *options)
        self.restored.append(restored)
        expect(machine.alive(restored.pid), f"a restored process {restored.pid}")
        return restored

    def restore_counting(self, target, name="one", *options):
        restored = self.restore(target, name, *options)
        return Counting(restored.pid, target)

    # The end

    def left_in(self, container):
        """What CRIU or a helper of ours has forgotten in a container's files."""
        root = f"/proc/{container.pid}/root/" if machine.alive(container.pid) else \
            f"{container.root}/"
        words = [word for name in LEFT_BY_CRIU for word in ("-o", "-name", name)][1:]
        found = machine.run("find", root, "(", "-path", f"{root}proc", "-o", "-path", f"{root}sys",
                            ")", "-prune", "-o", "(", *words, ")", "-print", check=False)
        return [f"{line} in {container.id}" for line in found.stdout.splitlines()]

    def left_in_target(self, container):
        mounts, processes = self.targets[container]
        if not machine.alive(container.pid):
            return [f"{container.id} has ended"]
        seen = mounts_seen_by(container.pid)
        left = [f"mount {line} in {container.id}" for line in seen if line not in mounts]
        left += [f"mount {line} gone from {container.id}" for line in mounts if line not in seen]
        now = all_processes()
        ours = set(processes)
        for restored in self.restored:
            if restored.target is container:
                ours |= tree_of(restored.pid, now)
        group = now[container.pid][2]
        for pid, (parent, state, cgroup) in now.items():
            if pid not in ours and (cgroup == group or parent == container.pid):
                left.append(f"process {pid} ({state}, child of {parent}): "
                            f"{machine.read(f'/proc/{pid}/comm')!r} in {container.id}")
        return left

    def leftovers(self):
        left = self.product.leftovers()
        for container in self.targets:
            left += self.left_in_target(container)
        for container in [*self.sources, *self.targets]:
            if machine.alive(container.pid) or not hasattr(container, "pod"):
                left += self.left_in(container)
        for restored in self.restored:
            if machine.alive(restored.pid):
                left += self.left_in_tmpfs(restored)
        return left

    def left_in_tmpfs(self, restored):
        """They have some that nobody else sees."""
        left = []
        for point, kind, *_ in mounts_seen_by(restored.pid):
            if kind == "tmpfs" and not point.startswith(("/proc", "/sys")):
                found = machine.run("find", f"/proc/{restored.pid}/root{point}", "-name",
                                    "link_remap.*", check=False).stdout
                left += found.splitlines()
        return left

    def forget(self, container):
        """A container that is deleted in the middle of a case."""
        self.sources.remove(container)
        self.pods.remove(container.pod)

    def delete_all(self):
        jobs = [pod.delete for pod in self.pods]
        jobs += [container.delete for container in [*self.sources, *self.targets]
                 if not hasattr(container, "pod")]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(job) for job in jobs]:
                done.result()
        for restored in self.restored:
            machine.wait_until(lambda pid=restored.pid: not machine.alive(pid),
                               f"restored process {restored.pid} to end with its target")
