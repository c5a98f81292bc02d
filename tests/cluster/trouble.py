# SPDX-License-Identifier: Apache-2.0
"""Ends agents, their operations, containers and the API server at any moment, without a word, while
a test goes on; and remembers which pods had something to suffer from it."""
import collections
import json
import os
import re
import threading
import time

import machine
import place
from bed import Failure
from product import NAMESPACE

AGENT = "app.kubernetes.io/component=snapshot-agent"
JOURNAL = "run/stasis/*/agent/operations"
# How often each, beside the others.
WEIGHTS = {"kill_agent": 4, "kill_operation": 4, "kill_target": 4, "kill_source": 2,
           "kill_api_server": 1}
API_SERVER_PAUSE = 30
PAUSE = (0.3, 2.5)
LEAST_SHARE = 0.1


def kill(pid):
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass


def pod_of_process(pid):
    """The uid of the pod in whose control group it is."""
    found = re.search(r"pod([0-9a-f]{8}([-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})",
                      machine.read(f"/proc/{pid}/cgroup"))
    return found[1].replace("_", "-") if found else None


def is_first(pid):
    """Of a container, and none that only holds the namespaces of a pod."""
    status = machine.read(f"/proc/{pid}/status")
    name = re.search(r"Name:\t(.*)", status)
    numbers = re.search(r"NSpid:\t\d+\t1\n", status)
    return bool(name and numbers and name[1] != "pause")


def first_processes(cluster, uid):
    return [pid for pid in place.group_processes(f"/{cluster.name}")
            if pod_of_process(pid) == uid and is_first(pid)]


def agent_processes(cluster):
    return [pid for pid in place.group_processes(f"/{cluster.name}")
            if machine.read(f"/proc/{pid}/comm").strip() == "snapshot-agent" and machine.alive(pid)]


def operations(cluster):
    """Process and uid of the pod of each that runs, as the journals say."""
    for node in cluster.nodes.values():
        for lock in node.directory.glob(f"{JOURNAL}/[!.]*/lock"):
            pid = machine.read(lock)
            if pid.isdigit() and not (lock.parent / "result.json").exists() and \
                    machine.alive(int(pid)) and \
                    cluster.name in machine.read(f"/proc/{pid}/mountinfo"):
                yield int(pid), lock.parent.name.partition(".")[0]


class Trouble(threading.Thread):
    """chance: a random.Random; sources, targets: functions that give the uids of pods; share: one that
    gives how much of what can be under way is: where little is, each would be killed every time."""

    def __init__(self, cluster, chance, sources, targets, share):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.chance = chance
        self.sources, self.targets, self.share = sources, targets, share
        self.over = threading.Event()
        self.done = collections.Counter()
        self.victims = collections.defaultdict(list)
        self.server_at = time.monotonic()
        self.failure = None

    def kill_agent(self):
        """One of its two processes. The kubelet waits longer each time before it starts again what
        has died, so one that was killed before is deleted, as by an upgrade."""
        pods = self.cluster.list("pods", NAMESPACE, AGENT)
        pod = self.chance.choice(pods)
        if any(one["restartCount"] for one in pod["status"]["containerStatuses"]):
            self.cluster.kubectl("delete", "pod", pod["metadata"]["name"], "--namespace", NAMESPACE,
                                 "--wait=false")
            return "agent deleted"
        uid = pod["metadata"]["uid"]
        kill(self.chance.choice([pid for pid in agent_processes(self.cluster)
                                 if pod_of_process(pid) == uid]))
        return "agent killed"

    def kill_operation(self):
        """A capture or a restore under way; there is not always one."""
        for _ in range(100):
            found = list(operations(self.cluster))
            if found or self.over.wait(0.05):
                break
        pid, uid = self.chance.choice(found)
        self.victims[uid].append("operation")
        kill(pid)
        return "operation killed"

    def kill_first(self, uids, what):
        uid = self.chance.choice(uids)
        pid = self.chance.choice(first_processes(self.cluster, uid))
        self.victims[uid].append("container")
        kill(pid)
        return f"{what} killed"

    def kill_source(self):
        return self.kill_first(self.sources(), "source container")

    def kill_target(self):
        return self.kill_first(self.targets(), "restored container")

    def kill_api_server(self):
        if time.monotonic() - self.server_at < API_SERVER_PAUSE:
            return None
        self.cluster.stop_api_server()
        self.over.wait(self.chance.uniform(0.5, 6))
        self.cluster.start_api_server()
        self.server_at = time.monotonic()
        return "API server killed"

    def run(self):
        ways, weights = list(WEIGHTS), list(WEIGHTS.values())
        while not self.over.wait(self.chance.uniform(*PAUSE) / max(self.share(), LEAST_SHARE)):
            way = self.chance.choices(ways, weights)[0]
            try:
                done = getattr(self, way)()
                self.done.update([done] if done else [])
            except (Failure, OSError, IndexError, KeyError, json.JSONDecodeError):
                continue  # the API server was away, or the victim was
            except BaseException as failure:  # told by the test
                self.failure = failure
                return

    def end(self):
        self.over.set()
        self.join(60)
        self.cluster.start_api_server()
        if self.failure:
            raise self.failure
