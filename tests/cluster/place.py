# SPDX-License-Identifier: Apache-2.0
"""Places where daemons live: namespaces that a sleeping process holds, and a control group in every
hierarchy. A daemon is known by the file of its process id, so that another program finds it."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import machine
from machine import Failure

ENTER = 'for group in $0; do echo 0 >"$group/cgroup.procs" || exit 96; done; exec "$@"'


def hierarchies():
    """The folders of the control group hierarchies."""
    if machine.cgroup_version() == 2:
        return [machine.CGROUPS]
    return [path for path in sorted(machine.CGROUPS.iterdir())
            if path.is_dir() and not path.is_symlink()]


def make_group(name):
    """A control group in every hierarchy; returns its folders."""
    return [make_in(root, name) for root in hierarchies()]


def make_in(root, name):
    folder = root
    for part in name.strip("/").split("/"):
        if machine.cgroup_version() == 2:
            enable_controllers(folder)
        parent, folder = folder, folder / part
        folder.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            # Version 1 gives a new group none of either, and then it takes no process.
            if machine.cgroup_version() == 1 and (folder / file).exists():
                (folder / file).write_text((parent / file).read_text())
    return folder


def enable_controllers(folder):
    for name in machine.read(folder / "cgroup.controllers").split():
        try:
            (folder / "cgroup.subtree_control").write_text(f"+{name}")
        except OSError:
            pass  # a group with processes of its own, or a controller that has to stay where it is


def group_processes(name):
    """Those in a control group and below."""
    found = set()
    for root in hierarchies():
        for folder, _, _ in os.walk(root / name.strip("/")):
            found.update(map(int, machine.read(pathlib.Path(folder, "cgroup.procs")).split()))
    found.discard(os.getpid())
    return found


def kill_group(name):
    """Until nothing is left in it: what dies may have a helper that cleans up after it."""
    def emptied():
        pids = [pid for pid in group_processes(name) if machine.alive(pid)]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not pids

    machine.wait_until(emptied, f"control group {name} to be empty")


def remove_group(name):
    for root in hierarchies():
        for folder, _, _ in os.walk(root / name.strip("/"), topdown=False):
            machine.wait_until(lambda folder=folder: machine.remove_cgroup(folder),
                               f"control group {folder} to be empty")


def start_time(pid):
    fields = machine.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else None


class Daemon:
    """One process that goes on when this program ends."""

    def __init__(self, place, name):
        self.place = place
        self.name = name
        self.record = place.directory / f"{name}.pid"
        self.log = place.directory / f"{name}.log"

    def start(self, *command, enter=True, environment=None):
        if self.pid is not None:
            return
        words = [str(word) for word in command]
        if enter:
            words = self.place.command(*words)
        words = ["/bin/sh", "-c", ENTER, " ".join(map(str, self.place.groups)), *words]
        with open(self.log, "ab") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True, cwd=self.place.directory,
                                       env=environment or self.place.environment)
        self.record.write_text(json.dumps([process.pid, start_time(process.pid)]))
        # Its end is seen by alive(); a zombie of ours counts as ended.
        CHILDREN.append(process)

    @property
    def pid(self):
        try:
            pid, started = json.loads(self.record.read_text())
        except (OSError, ValueError):
            return None
        return pid if machine.alive(pid) and start_time(pid) == started else None

    def kill(self, number=signal.SIGKILL):
        """Ends it, without a word by default; returns when it is gone."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, number)
            machine.wait_until(lambda: not machine.alive(pid), f"the end of {self.name}", 60)
        self.record.unlink(missing_ok=True)
        CHILDREN[:] = [child for child in CHILDREN if child.poll() is None]

    def expect_alive(self):
        if self.pid is None:
            raise Failure(f"{self.name} has ended; its log ends with {self.tail()}")

    def tail(self, size=1500):
        return machine.read(self.log)[-size:]


CHILDREN = []


class Place:
    """Namespaces and a control group. kinds: of unshare; setup: shell commands to run inside first."""

    def __init__(self, directory, group, environment, kinds, setup=""):
        self.directory = pathlib.Path(directory)
        self.group = group
        self.environment = environment
        self.kinds = kinds
        self.setup = setup
        self.holder = Daemon(self, "holder")

    @property
    def groups(self):
        return [root / self.group.strip("/") / "daemons" for root in hierarchies()]

    def open(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        make_group(f"{self.group}/daemons")
        ready = self.directory / "ready"
        ready.unlink(missing_ok=True)
        script = f'set -e\n{self.setup}\n: >"{ready}"\nexec sleep infinity\n'
        self.holder.start("unshare", *(f"--{kind}" for kind in self.kinds),
                          *(["--propagation=private"] if "mount" in self.kinds else []),
                          "/bin/sh", "-c", script, enter=False)

        def opened():
            self.holder.expect_alive()
            return ready.exists()

        machine.wait_until(opened, "namespaces")

    def command(self, *command):
        """A command inside."""
        pid = self.holder.pid
        if pid is None:
            raise Failure(f"{self.directory.name} is down")
        inside = [f"--{kind}=/proc/{pid}/ns/{'mnt' if kind == 'mount' else kind}"
                  for kind in self.kinds]
        return ["nsenter", *inside, "--", *map(str, command)]

    def run(self, *command, **options):
        options.setdefault("env", self.environment)
        return machine.run(*self.command(*command), **options)

    def close(self):
        """Kills all that is inside, containers too; the namespaces end with it."""
        kill_group(self.group)
        remove_group(self.group)
        for record in self.directory.glob("*.pid"):
            record.unlink()


def warn(text):
    print(f"cluster: {text}", file=sys.stderr, flush=True)


class Stopwatch:
    def __init__(self):
        self.begin = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.begin
