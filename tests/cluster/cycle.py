# SPDX-License-Identifier: Apache-2.0
"""A source that counts, saved by its agent, and a pod that has to go on counting from there: one
step at a time, so that many of them are under way at once."""
import json
import re
import time

import shapes
import standalone
from bed import Failure
from product import NAMESPACE

# Jobs wait longer each time before another pod follows one that was killed; a pod to restore into
# would start cold by itself after 300 s.
PATIENCE = {"saving": 420, "restoring": 240}
PATIENCE_ELSE = 420
PORT = 8080
PROTOCOLS = ("standalone", "control", "signals")

# Says what it is and how far it has counted to whoever asks.
COUNTING = """
import json, os, signal, socket, sys, threading, time
sys.path.insert(0, "/app")
import your_app

model, count = os.urandom(8).hex(), int.from_bytes(os.urandom(4), "big")
saved = os.environ.get("DYN_CHECKPOINT_SIGNAL_FILE")

def go_on():
    global count
    while True:
        count += 1
        time.sleep(0.05)

def answer(listener):
    while True:
        caller = listener.accept()[0]
        caller.recv(4096)
        caller.sendall(f"HTTP/1.0 200 OK\\r\\n\\r\\n{model} {count}".encode())
        caller.close()

signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCONT})
print(f"loaded {model} {count}", flush=True)
threading.Thread(target=go_on, daemon=True).start()
threading.Thread(target=answer, args=[socket.create_server(("", 8080))], daemon=True).start()
try:
    your_app.stand_still()
except SystemExit:
    if not saved or json.load(open(saved))["success"]:
        raise
    print("told that it was not saved", flush=True)
    sys.exit(3)
print(f"running {model} {count}", flush=True)
while True:
    time.sleep(1)
"""
COMMAND = ["python3", "-c", COUNTING]


def with_arguments(text):
    return re.sub(r"( +)- name: main\n",
                  lambda found: f"{found[0]}{found[1]}  args: {json.dumps(COMMAND)}\n", text)


class World:
    """What the API server has of a namespace, at a moment."""

    def __init__(self, cluster):
        self.jobs, self.pods = {}, []
        for one in cluster.list("jobs,pods", NAMESPACE):
            if one["kind"] == "Job":
                self.jobs[one["metadata"]["name"]] = one
            else:
                self.pods.append(one)

    def of_job(self, job):
        return [pod for pod in self.pods if pod["metadata"].get("labels", {}).get("job-name") == job]

    def named(self, name):
        return next((pod for pod in self.pods if pod["metadata"]["name"] == name), None)

    def finished(self, job):
        """The condition that says how it ended."""
        conditions = self.jobs.get(job, {}).get("status", {}).get("conditions", [])
        return next((one["type"] for one in conditions
                     if one["type"] in ("Complete", "Failed") and one["status"] == "True"), None)


def log_of(cluster, pod, container="main"):
    """As the node has it: the API server may be away."""
    node = cluster.nodes[pod["spec"]["nodeName"]]
    metadata = pod["metadata"]
    folder = node.directory / "log/pods" / f"{NAMESPACE}_{metadata['name']}_{metadata['uid']}"
    text = "".join(path.read_text(errors="replace")
                   for path in sorted((folder / container).glob("*.log")))
    return "\n".join(line.split(" ", 3)[-1] for line in text.splitlines())


class Cycle:
    """state: new, saving, restorable, restoring, over, gone."""

    def __init__(self, cluster, number, victims, verify):
        self.cluster, self.victims, self.verify = cluster, victims, verify
        self.name = f"c{number}"
        self.protocol = PROTOCOLS[number % len(PROTOCOLS)]
        self.asleep = number // len(PROTOCOLS) % 2 == 1
        self.attempt = 0
        self.models = {}   # what sources had in memory, and from where they counted
        self.told = set()  # uids of pods whose end was looked at
        self.answer = None
        self.state = self.since = None
        self.outcomes = []
        self.be("new")

    def be(self, state):
        self.state, self.since = state, time.monotonic()

    @property
    def job(self):
        return f"{standalone.JOB}-{self.name}" if self.protocol == "standalone" else self.name

    @property
    def target(self):
        return f"{standalone.RESTORED}-{self.name}-{self.attempt}"

    # What is to be there

    def wanted(self):
        """The manifest that is to be applied now, if any."""
        if self.state == "new":
            return self.source_text()
        if self.state == "restorable":
            return self.target_text()
        return None

    def applied(self):
        self.be({"new": "saving", "restorable": "restoring"}[self.state])

    def source_text(self):
        if self.protocol == "standalone":
            # Without privileges, as what is to be restored: the other way round is refused.
            return with_arguments(standalone.unprivileged(
                standalone.renamed("job", self.name, self.name)))
        return json.dumps(shapes.job(self.name, self.protocol, self.name, command=COMMAND, backoff=6))

    def target_text(self):
        if self.protocol == "standalone":
            text = standalone.renamed("restore", f"{self.name}-{self.attempt}", self.name)
            return with_arguments(standalone.unprivileged(text))
        command = shapes.ASLEEP if self.asleep else ["/usr/local/bin/restore-entrypoint", *COMMAND]
        return json.dumps(shapes.pod(self.target, self.protocol, self.name, command=command))

    # What has become of it

    def is_excused(self, pod):
        return pod["metadata"]["uid"] in self.victims

    def step(self, world):
        if self.state in ("saving", "restoring"):
            (self.look_at_source if self.state == "saving" else self.look_at_target)(world)
        elif self.state == "over" and not world.of_job(self.job) and self.job not in world.jobs and \
                not any(pod["metadata"]["name"].startswith(f"{standalone.RESTORED}-{self.name}-")
                        for pod in world.pods):
            self.be("gone")
        patience = PATIENCE.get(self.state, PATIENCE_ELSE)
        if time.monotonic() - self.since > patience:
            raise Failure(self.story(world, f"more than {patience} s in state {self.state}"))

    def story(self, world, what):
        pods = [*world.of_job(self.job), *filter(None, [world.named(self.target)])]
        said = [(pod["metadata"]["name"], pod["metadata"]["uid"], pod["spec"].get("nodeName"),
                 self.victims.get(pod["metadata"]["uid"]), pod["status"],
                 log_of(self.cluster, pod)[-800:] if "nodeName" in pod["spec"] else "")
                for pod in pods]
        return f"{self.name} ({self.protocol}): {what}: {json.dumps(said)[:6000]}"

    def look_at_source(self, world):
        for pod in world.of_job(self.job):
            phase = pod["status"]["phase"]
            if phase in ("Succeeded", "Failed") and pod["metadata"]["uid"] not in self.told:
                self.told.add(pod["metadata"]["uid"])
                self.remember(pod)
                self.outcomes.append("source ended as told" if phase == "Succeeded"
                                     else "source killed by the test")
                if phase == "Failed" and not self.is_excused(pod):
                    raise Failure(self.story(world, "a source is lost"))
        ended = world.finished(self.job)
        if ended == "Failed":
            raise Failure(self.story(world, "the job has failed"))
        if ended == "Complete":
            self.verify(self.name)
            self.outcomes.append("saved and verified")
            self.be("restorable")

    def remember(self, pod):
        for model, count in re.findall(r"loaded (\w+) (\d+)", log_of(self.cluster, pod)):
            self.models[model] = int(count)

    def look_at_target(self, world):
        pod = world.named(self.target)
        if not pod or pod["status"]["phase"] == "Pending":
            return
        log = log_of(self.cluster, pod)
        failed, cold = pod["status"]["phase"] == "Failed", "loaded" in log
        if failed or cold:
            if not self.is_excused(pod):
                raise Failure(self.story(world, "a pod was not restored"))
            self.outcomes.append("cold start after the kill" if cold else "ended by the kill")
            self.attempt += 1
            self.answer = None
            self.be("restorable")
        elif "running " in log:
            self.ask(world, pod)

    def ask(self, world, pod):
        """It has what was in memory, and counts on from there."""
        node = self.cluster.nodes[pod["spec"]["nodeName"]]
        done = node.run("curl", "-s", "--max-time", "3", f"http://{pod['status'].get('podIP')}:{PORT}",
                        check=False)
        found = re.fullmatch(r"(\w+) (\d+)", done.stdout)
        if not found:
            return
        model, count = found[1], int(found[2])
        if model not in self.models or count < self.models[model]:
            raise Failure(self.story(world, f"the answer {done.stdout}, known {self.models}"))
        if self.answer is not None and count > self.answer:
            self.outcomes.append("restored, counts on")
            self.be("over")
        self.answer = count

    def to_remove(self):
        if self.state != "over":
            return []
        return [f"job/{self.job}", *(f"pod/{standalone.RESTORED}-{self.name}-{attempt}"
                                     for attempt in range(self.attempt + 1))]
