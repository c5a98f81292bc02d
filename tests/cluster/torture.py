#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many pods saved and restored again and again, while agents, their operations, containers and the
API server are killed at any moment: no source is lost, every snapshot is whole, nothing is left. TAP.

  torture.py [--cycles 200] [--pods 20] [--minutes N] [--seed 1] [--images DIR]
             --program build/src/cli/snapshotctl

A cycle is one source that is saved by its agent and one unprivileged pod that goes on from there.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import sys
import time

sys.dont_write_bytecode = True
import bed  # noqa: E402
import machine  # noqa: E402
import place  # noqa: E402
import product  # noqa: E402
from bed import Failure, Unavailable  # noqa: E402
from cycle import Cycle, World  # noqa: E402
from product import NAMESPACE  # noqa: E402
from report import Report, expect  # noqa: E402
from trouble import JOURNAL, Trouble, agent_processes, pod_of_process  # noqa: E402

LOOK_SECONDS = 1
# To the API server, by an agent that has had something to tell (src/kube/http.c).
CONNECTIONS_KEPT = 8
NEWS_SECONDS = 60
TOOLS = ("criu", "nsrestore", "snapshot-agent", "snapshotctl", "runc")


# What could be left


def control_groups(cluster):
    """How many of pods and containers, by their places."""
    names = [re.sub("[0-9a-f]{64}|[0-9a-f-]{36}", "ID", str(path.parent))
             for root in place.hierarchies()
             for path in (root / cluster.name).rglob("cgroup.procs")]
    return collections.Counter(name for name in names if "ID" in name)


def tools_outside(cluster):
    """What works for an agent and has left its control group: it has mounts of the cluster."""
    group = place.group_processes(f"/{cluster.name}")
    return [path.parent for path in pathlib.Path("/proc").glob("[0-9]*/comm")
            if machine.read(path).strip() in TOOLS and int(path.parent.name) not in group and
            cluster.name in machine.read(path.parent / "mountinfo")]


def leftovers(cluster):
    """What could leak, by name."""
    processes = place.group_processes(f"/{cluster.name}")
    counts = {"processes": len(processes), "processes of tools": len(tools_outside(cluster)),
              "control groups": control_groups(cluster).total()}
    for name, node in cluster.nodes.items():
        counts[f"journal of {name}"] = len(list(node.directory.glob(f"{JOURNAL}/*")))
        counts[f"mounts of {name}"] = len(
            machine.read(f"/proc/{node.holder.pid}/mountinfo").splitlines())
    agents = {uid: pid for pid in agent_processes(cluster) if (uid := pod_of_process(pid))}
    counts["mounts of agents"] = sum(len(machine.read(f"/proc/{pid}/mountinfo").splitlines())
                                     for pid in agents.values())
    counts["leases"] = len(cluster.list("leases", NAMESPACE))
    return counts


def descriptors_of(pids):
    """What each is, by the kernel's word for it: "socket:[12]" is a socket."""
    for pid in pids:
        for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                yield os.readlink(path)
            except FileNotFoundError:
                pass


def agents_now(cluster):
    """Descriptors, those of connections by themselves, and KiB of memory of the agents."""
    pids = agent_processes(cluster)
    descriptors = list(descriptors_of(pids))
    sockets = [one for one in descriptors if one.startswith("socket:")]
    memory = [int(line.split()[1]) for pid in pids
              for line in machine.read(f"/proc/{pid}/status").splitlines()
              if line.startswith("VmRSS")]
    return {"processes": len(pids), "sockets": len(sockets),
            "other descriptors": len(descriptors) - len(sockets), "KiB of memory": sum(memory)}


class Run:
    """All cycles, as many at once as there may be pods."""

    def __init__(self, cluster, chrek, options):
        self.cluster, self.chrek, self.options = cluster, chrek, options
        self.root = chrek.store()
        self.active, self.begun, self.over = [], 0, 0
        self.counts = collections.Counter()
        self.trouble = Trouble(cluster, random.Random(options.seed),
                               lambda: self.pods_in("saving"), lambda: self.pods_in("restoring"),
                               lambda: len(self.active) / options.pods)
        self.last = None  # when the last cycle may begin
        self.world = None
        self.before = self.after = self.groups = self.agents = None

    def snapshotctl(self, *words):
        return machine.run(self.options.program, "--root", self.root, *words, check=False)

    def verify(self, name):
        done = self.snapshotctl("verify", name)
        expect(done.returncode == 0, f"{name} to be whole: {done.stdout}{done.stderr}")

    def pods_in(self, state):
        """The uids of pods that run, of cycles in a state."""
        world = self.world
        if not world:
            return []
        return [pod["metadata"]["uid"] for cycle in list(self.active) if cycle.state == state
                for pod in (world.of_job(cycle.job) if state == "saving" else
                            filter(None, [world.named(cycle.target)]))
                if pod["status"]["phase"] == "Running"]

    def fill(self):
        if self.last and time.monotonic() > self.last:
            self.options.cycles = self.begun
        while self.begun < self.options.cycles and len(self.active) < self.options.pods:
            self.active.append(Cycle(self.cluster, self.begun, self.trouble.victims, self.verify))
            self.begun += 1

    def apply(self):
        """In one command; one that got half through is repeated."""
        waiting = [cycle for cycle in self.active if cycle.wanted()]
        if waiting:
            self.cluster.apply("\n---\n".join(cycle.wanted() for cycle in waiting), NAMESPACE)
        for cycle in waiting:
            cycle.applied()

    def remove(self):
        names = [name for cycle in self.active for name in cycle.to_remove()]
        if names:
            self.cluster.kubectl("delete", "--namespace", NAMESPACE, "--wait=false",
                                 "--ignore-not-found", *names)

    def turn(self):
        try:
            self.apply()
            self.remove()
            self.world = World(self.cluster)
        except (Failure, json.JSONDecodeError):
            return  # the API server is away
        for cycle in self.active:
            cycle.step(self.world)
        for cycle in [cycle for cycle in self.active if cycle.state == "gone"]:
            self.counts.update(cycle.outcomes)
            self.active.remove(cycle)
            self.over += 1

    def all(self):
        begin = news = time.monotonic()
        self.last = begin + 60 * self.options.minutes if self.options.minutes else None
        self.trouble.start()
        try:
            while self.over < self.options.cycles:
                self.fill()
                self.turn()
                if time.monotonic() - news > NEWS_SECONDS:
                    news = time.monotonic()
                    self.tell(begin)
                time.sleep(LOOK_SECONDS)
        finally:
            self.trouble.end()
            self.tell(begin)

    def tell(self, begin):
        states = collections.Counter(cycle.state for cycle in self.active)
        print(f"# {self.over} cycles over, {time.monotonic() - begin:.0f} s, under way "
              f"{dict(states)}; of those over {dict(self.counts)}; {dict(self.trouble.done)}",
              flush=True)

    def settle(self):
        """Until all of it is gone: the kubelet takes its time."""
        last = None

        def quiet():
            nonlocal last
            try:
                last = leftovers(self.cluster)
            except Failure:
                return False
            return all(last[name] <= self.before[name] for name in self.before)

        self.chrek.wait(300)
        try:
            machine.wait_until(quiet, "everything to be gone", 120)
        except Failure as failure:
            more = control_groups(self.cluster) - self.groups
            tools = [(str(path), machine.read(path / "cmdline")) for path in tools_outside(self.cluster)]
            entries = [str(path) for node in self.cluster.nodes.values()
                       for path in node.directory.glob(f"{JOURNAL}/*")]
            raise Failure(f"{failure}: before {self.before}, now {last}; groups {dict(more)}; "
                          f"{tools}; {entries}") from None
        self.after = last


def test_cycles(run):
    """sources end as the protocol says or go on, and what was saved goes on elsewhere"""
    run.chrek.wait()
    run.before, run.groups = leftovers(run.cluster), control_groups(run.cluster)
    run.agents = agents_now(run.cluster)
    run.all()
    for what in ("saved and verified", "restored, counts on"):
        expect(run.counts[what] == run.options.cycles, f"all {what}, seen {dict(run.counts)}")


def test_snapshots(run):
    """every snapshot in the store is whole, and there is nothing else"""
    found = json.loads(run.snapshotctl("list", "--json").stdout)
    names = [one["id"] for one in found["snapshots"]]
    expect(len(set(names)) == run.options.cycles, f"one for each cycle, seen {len(names)}")
    for name in set(names):
        run.verify(name)
    rest = run.snapshotctl("gc", "--dry-run").stdout.strip()
    print(f"# {len(names)} snapshots; what could be removed: {rest}")
    expect(rest == "would free 0 B", f"nothing that interrupted captures have left, seen {rest}")


def test_leaks(run):
    """no process, mount, control group, lease or entry of a journal is left"""
    run.settle()
    print(f"# before {run.before}\n# after {run.after}")


def test_agents(run):
    """agents hold no more descriptors than new ones but connections that are kept, and little memory"""
    now = agents_now(run.cluster)
    print(f"# agents before {run.agents}, after {now}")
    nodes = len(run.cluster.nodes)
    expect(now["processes"] == 2 * nodes, f"two processes on each node, seen {now}")
    most = run.agents["sockets"] + CONNECTIONS_KEPT * nodes
    expect(now["sockets"] <= most, f"at most {most} sockets, seen {now}")
    expect(now["other descriptors"] <= run.agents["other descriptors"], f"no others, seen {now}")
    expect(now["KiB of memory"] <= nodes * 32 * 1024, f"less than 32 MiB on each node, seen {now}")


TESTS = [test_cycles, test_snapshots, test_leaks, test_agents]


def run_on(cluster, report, options, images):
    images.load(cluster)
    product.advertise_gpus(cluster, 4 * options.pods)
    run = Run(cluster, product.install(cluster), options)
    print(f"# {options.cycles} cycles, {options.pods} at once, seed {options.seed}", flush=True)
    for test in TESTS:
        report.run(test, run)
        if report.failed:
            break
    if report.failed:
        print("# " + run.chrek.logs()[-12000:].replace("\n", "\n# "))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--pods", type=int, default=20, help="at once")
    parser.add_argument("--minutes", type=int, help="no cycle begins after so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", required=True, help="snapshotctl")
    parser.add_argument("--images", help="a folder for images, to build them once")
    options = parser.parse_args()
    options.program = pathlib.Path(options.program).resolve()
    report = Report([])
    try:
        with product.images(options.images) as images, bed.Cluster() as cluster:
            run_on(cluster, report, options, images)
    except Unavailable as reason:
        print(f"1..0 # SKIP {reason}")
        return 0
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
