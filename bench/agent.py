#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The agent on a real API server with many pods, beside an informer of client-go at the same job.

  bench/agent.py --bin build [--go PROGRAM] [--pods 5000] [--on-node 200] [--captures 15]

A cluster of tests/cluster; kwok pretends that most of its pods run, on nodes that are none. First
both watch a node of those, with its 200 pods: memory once all is known, CPU over a minute in which
nothing happens. Then the agent watches a real node, where small pods become ready one after another
and are saved: the time from the moment at which a watch of ours hears that a pod is ready to the
moment at which its process stands still (for the informer: at which its handler hears of it).
As root. The agent runs as a process of the node, from --bin, not from an image.
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
SOURCE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SOURCE / "tests/cluster"))
import bed  # noqa: E402
import machine  # noqa: E402
from place import Daemon  # noqa: E402

NAMESPACE = "default"
LABEL = "nvidia.com/checkpoint-source"


# Runs inside the network of the cluster: creates pods, or watches them.

class Api:
    def __init__(self, kubeconfig):
        config = json.loads(pathlib.Path(kubeconfig).read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.host = cluster["server"].removeprefix("https://")
        self.context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self.headers = {"Authorization": "Bearer " + user["token"],
                        "Content-Type": "application/json"}
        self.local = threading.local()

    def connection(self):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPSConnection(self.host, context=self.context,
                                                                timeout=60)
        return self.local.connection

    def post(self, path, body):
        for _ in range(20):
            try:
                self.connection().request("POST", path, json.dumps(body), self.headers)
                answer = self.connection().getresponse()
                answer.read()
                if answer.status in (201, 409):
                    return
            except OSError:
                del self.local.connection
            time.sleep(1)
        raise SystemExit(f"{path}: no success")

    def watch(self, path):
        connection = http.client.HTTPSConnection(self.host, context=self.context)
        connection.request("GET", path, headers=self.headers)
        for line in connection.getresponse():
            yield json.loads(line)


def fake_pod(number, node):
    """Of the size that pods of deployments have."""
    environment = [{"name": f"SETTING_{one}", "value": f"value-{one}-of-pod-{number}"}
                   for one in range(25)]
    mounts = [{"name": f"volume-{one}", "mountPath": f"/mnt/volume-{one}"} for one in range(4)]
    volumes = [{"name": f"volume-{one}", "emptyDir": {}} for one in range(4)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": f"fake-{number}", "labels": {"app": f"app-{number % 50}", "team": "some"},
        "annotations": {"example.com/notes": "x" * 500}},
        "spec": {"nodeName": node, "volumes": volumes, "containers": [
            {"name": "main", "image": "registry.example.com/some/image:1.2.3", "env": environment,
             "volumeMounts": mounts}]}}


def fake_node(name):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {
        "name": name, "labels": {"kind": "fake"}, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"taints": [{"key": "fake", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "1000", "memory": "1Ti", "pods": "1000"},
                   "capacity": {"cpu": "1000", "memory": "1Ti", "pods": "1000"}}}


def fill(kubeconfig, pods, on_node):
    api = Api(kubeconfig)
    nodes = [f"fake-{number}" for number in range(25)]
    for name in nodes:
        api.post("/api/v1/nodes", fake_node(name))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: api.post(
            f"/api/v1/namespaces/{NAMESPACE}/pods",
            fake_pod(number, nodes[0] if number < on_node else nodes[1 + number % 24])),
            range(pods)))


def tell_ready(kubeconfig, node):
    """A line, with the time, for each pod of the node that becomes ready."""
    ready = set()
    path = f"/api/v1/pods?watch=1&timeoutSeconds=3600&fieldSelector=spec.nodeName%3D{node}"
    for event in Api(kubeconfig).watch(path):
        now = time.time()
        pod = event["object"]
        name = pod["metadata"]["name"]
        if name not in ready and bed.is_ready(pod):
            ready.add(name)
            print(f"{now:.6f} {name}", flush=True)


def say(text):
    print(f"agent.py: {text}", file=sys.stderr, flush=True)


# What is measured

def processes_of(pid):
    """A process and those below it."""
    found = [pid]
    for one in found:
        for task in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def memory_of(pid):
    values = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        values[name.rstrip(":")] = int(value) / 1024
    return values


def cpu_of(pids):
    """Seconds, to the nanosecond."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(task.read_text().split()[0])
    return total / 1e9


class Watched:
    """A program on a node, and its numbers."""

    def __init__(self, node, name, *command, environment=None):
        self.name = name
        self.daemon = Daemon(node, name)
        self.daemon.log.unlink(missing_ok=True)
        self.daemon.start(*command, environment={**node.environment, **(environment or {})})

    def wait_for(self, text, seconds=60):
        machine.wait_until(lambda: text in machine.read(self.daemon.log), f"{text} of {self.name}",
                           seconds)
        return self

    def lines(self):
        return machine.read(self.daemon.log).splitlines()

    def numbers(self):
        pids = processes_of(self.daemon.pid)
        memory = [memory_of(pid) for pid in pids]
        return {"processes": len(pids), "rss": [round(one["Rss"], 2) for one in memory],
                "pss": round(sum(one["Pss"] for one in memory), 2),
                "private": round(sum(one["Private_Clean"] + one["Private_Dirty"]
                                     for one in memory), 2)}

    def cpu(self):
        return cpu_of(processes_of(self.daemon.pid))

    def stop(self):
        self.daemon.kill(15)


def agent_on(cluster, binary, name, scratch, watched=None):
    """The agent of a node, run on a real one."""
    node = cluster.nodes["n1"]
    kubeconfig = scratch / "kubeconfig"
    kubeconfig.write_text(pathlib.Path(cluster.kubeconfig).read_text())
    kubeconfig.chmod(0o644)  # the half of the agent that reads it has no rights
    config = scratch / "config.yaml"
    config.write_text(f"storage:\n  type: pvc\n  basePath: {scratch}/store\n"
                      "agent:\n  listenAddr: 127.0.0.1:18080\n")
    (scratch / "store").mkdir(exist_ok=True)
    return Watched(node, name, binary, "--config", config, environment={
        "NODE_NAME": watched or "n1", "KUBECONFIG": str(kubeconfig), "STASIS_RUN": "/run/stasis",
    }).wait_for("the pods of this node are known")


def small_pod(number, tag):
    """Becomes ready by itself; its command names it to who looks for its process."""
    script = f"sleep 3; touch /tmp/ready; exec sleep 10{number:04}{tag}"
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": f"small-{tag}-{number}", "labels": {
            LABEL: "true", "nvidia.com/checkpoint-hash": f"small-{tag}-{number}"}},
        "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 0, "containers": [{
            "name": "main", "image": "busybox:latest", "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", script], "readinessProbe": {
                "exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1}}]}})


def find_process(word):
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().split(b"\0")[:2] == [b"sleep", word.encode()]:
                return int(path.parent.name)
        except OSError:
            pass
    return None


def stands_still(pid):
    """Stopped by a tracer, or by a freezer."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "tT"
    except OSError:
        return False


def freeze_moment(pid, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        if stands_still(pid):
            return time.time()
        time.sleep(0.0005)
    raise machine.Failure(f"process {pid} was not frozen")


def times_of(lines):
    return {name: float(when) for when, name in (line.split() for line in lines
                                                 if line[:1].isdigit())}


def captures(cluster, watch, count, tag):
    """For each capture, milliseconds from the word that the pod is ready to the freeze."""
    found = []
    for number in range(count):
        name = f"small-{tag}-{number}"
        cluster.apply(small_pod(number, tag))
        pid = machine.wait_until(lambda number=number: find_process(f"10{number:04}{tag}"),
                                 f"the process of {name}", 60)
        frozen = freeze_moment(pid)
        machine.wait_until(lambda name=name: name in times_of(watch.lines()), name, 10)
        found.append((frozen - times_of(watch.lines())[name]) * 1000)
        time.sleep(1)
        cluster.delete("pod", name)
    return found


def phases_of(agent):
    """Medians of the phases of captures, in milliseconds, by the agent's log."""
    by_name = {}
    for line in agent.lines():
        result = json.loads(line).get("result", {}) if line.startswith("{") else {}
        for phase in result.get("phases", []):
            by_name.setdefault(phase["name"], []).append(phase["seconds"] * 1000)
    return {name: round(statistics.median(values), 1) for name, values in by_name.items()}


def inside(cluster, *words):
    return cluster.control.command(sys.executable, __file__, "--inside", *words)


def stage(name, kind, conditions, template):
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name},
            "spec": {"resourceRef": {"apiGroup": "v1", "kind": kind}, "selector": {
                "matchExpressions": conditions}, "next": {"statusTemplate": json.dumps(template)}}}


def condition(kind):
    return {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z", "reason": "Fake", "message": "made up"}


def stages():
    """Nodes are ready, pods run."""
    container = {"name": "main", "ready": True, "started": True, "restartCount": 0,
                 "image": "registry.example.com/some/image:1.2.3", "imageID": "sha256:" + "0" * 64,
                 "containerID": "containerd://" + "0" * 64,
                 "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    pod_conditions = [{key: value for key, value in condition(kind).items()
                       if key != "lastHeartbeatTime"}
                      for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
    return [
        stage("node", "Node", [{"key": '.status.conditions.[] | select(.type == "Ready") | .status',
                                "operator": "NotIn", "values": ["True"]}],
              {"conditions": [condition("Ready")]}),
        stage("pod", "Pod", [{"key": ".status.podIP", "operator": "DoesNotExist"}],
              {"phase": "Running", "podIP": "10.9.9.9", "hostIP": "10.9.9.1",
               "startTime": "2026-01-01T00:00:00Z", "conditions": pod_conditions,
               "containerStatuses": [container]})]


def start_kwok(cluster, scratch):
    file = scratch / "stages.yaml"
    file.write_text("\n---\n".join(map(json.dumps, stages())))
    daemon = cluster.control.daemon("kwok")
    daemon.start(cluster.programs.path("kwok"), f"--kubeconfig={cluster.kubeconfig}",
                 f"--config={file}", "--node-lease-duration-seconds=40",
                 "--manage-nodes-with-label-selector=kind=fake")
    time.sleep(2)
    daemon.expect_alive()
    return daemon


def wait_running(cluster, pods):
    def running():
        done = cluster.kubectl("get", "pods", "--field-selector=status.phase=Running", "-o", "name")
        return done.stdout.count("pod/fake-") >= pods

    machine.wait_until(running, f"{pods} pods to run", 600)


def measure_memory(cluster, options, scratch, report):
    agent = agent_on(cluster, options.binary, "agent-of-many", scratch, "fake-0")
    programs = [("agent", agent)]
    if options.go:
        programs.append(("client-go", Watched(
            cluster.nodes["n1"], "informer-of-many", options.go, "--kubeconfig", cluster.kubeconfig,
            "--node", "fake-0").wait_for("synced")))
    early = {name: program.numbers()["rss"] for name, program in programs}
    time.sleep(options.settle)
    for name, program in programs:
        report[name] = {**program.numbers(), "early": early[name]}
    before = [program.cpu() for _, program in programs]
    time.sleep(options.idle)
    for (name, program), start in zip(programs, before):
        report[name]["cpu_per_minute"] = round((program.cpu() - start) * 60 / options.idle, 4)
    for _, program in programs:
        program.stop()


def measure_latency(cluster, options, scratch, report):
    watch = Watched(cluster.control, "watch", *inside(cluster, "watch", cluster.kubeconfig, "n1"))
    agent = agent_on(cluster, options.binary, "agent", scratch)
    informer = options.go and Watched(cluster.nodes["n1"], "informer", options.go, "--kubeconfig",
                                      cluster.kubeconfig, "--node", "n1").wait_for("synced")
    found = captures(cluster, watch, options.captures, 1)
    report["agent"]["to_freeze"] = found
    report["agent"]["phases"] = phases_of(agent)
    report["agent"]["after_captures"] = agent.numbers()
    if informer:
        heard, ready = times_of(informer.lines()), times_of(watch.lines())
        report["client-go"]["to_handler"] = [(heard[name] - ready[name]) * 1000
                                             for name in heard if name in ready]
        informer.stop()
    agent.stop()
    watch.stop()


def row(words, agent, other, ratio=None):
    print(f"{words:46} {agent:>16} {other:>16} {ratio or '':>8}")


def summary(values):
    return f"{statistics.median(values):.1f} ({min(values):.0f}-{max(values):.0f})"


def show(options, report):
    agent, other = report["agent"], report.get("client-go")

    def compare(words, name):
        mine = sum(agent[name]) if name == "rss" else agent[name]
        theirs = other and (sum(other[name]) if name == "rss" else other[name])
        row(words, f"{mine:.3f}", f"{theirs:.3f}" if other else "-",
            f"{theirs / mine:.1f}x" if other and mine else None)

    row(f"{options.pods} pods, {options.on_node} on the node", "agent", "client-go", "ratio")
    compare("memory: RSS of all processes, MiB", "rss")
    row("  of each", "+".join(f"{one:.1f}" for one in agent["rss"]), "")
    row("  as soon as it knew the pods, of each", "+".join(f"{one:.1f}" for one in agent["early"]),
        "+".join(f"{one:.1f}" for one in other["early"]) if other else "-")
    compare("memory: PSS, MiB", "pss")
    compare("memory: private, MiB", "private")
    compare("CPU seconds per idle minute", "cpu_per_minute")
    row("ready to freeze, ms: median (range)", summary(agent["to_freeze"]), "does not freeze")
    if other:
        row("ready to handler, ms: median (range)", "", summary(other["to_handler"]))
    row("RSS after the captures, MiB", "+".join(
        f"{one:.1f}" for one in agent["after_captures"]["rss"]), "")
    print("phases of a capture, ms (medians):", agent["phases"])
    print(f"captures: {len(agent['to_freeze'])}; load of the machine now: {os.getloadavg()[0]:.1f}")


def main():
    if sys.argv[1:2] == ["--inside"]:
        if sys.argv[2] == "fill":
            return fill(sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        return tell_ready(sys.argv[3], sys.argv[4])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="a build directory")
    parser.add_argument("--go", help="the program of bench/client-go-agent; built when not given")
    parser.add_argument("--no-go", action="store_true", help="the agent alone")
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--on-node", type=int, default=200)
    parser.add_argument("--captures", type=int, default=15)
    parser.add_argument("--idle", type=int, default=60, help="seconds without work")
    parser.add_argument("--settle", type=int, default=30, help="seconds before memory is read")
    parser.add_argument("--attach", help="a cluster that is up, and stays")
    parser.add_argument("--json", help="a file for the numbers")
    options = parser.parse_args()
    options.binary = pathlib.Path(options.bin, "src/agent/snapshot-agent").resolve()
    with tempfile.TemporaryDirectory(prefix="stasis-bench.", dir="/var/tmp") as scratch:
        scratch = pathlib.Path(scratch)
        scratch.chmod(0o755)
        build_go(options, scratch)
        if options.attach:
            run(bed.Cluster.attach(options.attach), options, scratch)
        else:
            with bed.Cluster() as cluster:
                run(cluster, options, scratch)
    return 0


def build_go(options, scratch):
    if options.go or options.no_go:
        return
    options.go = scratch / "client-go-agent"
    subprocess.run(["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", options.go, "."],
                   cwd=SOURCE / "bench/client-go-agent", check=True, timeout=1800, env={
                       **os.environ, "CGO_ENABLED": "0", "GOWORK": "off"})


def run(cluster, options, scratch):
    report = {}
    if options.pods:
        say("filling the cluster")
        start_kwok(cluster, scratch)
        subprocess.run(inside(cluster, "fill", str(cluster.kubeconfig), str(options.pods),
                              str(options.on_node)), check=True, timeout=1200)
        wait_running(cluster, options.pods)
    say("memory and idle time")
    measure_memory(cluster, options, scratch, report)
    say("captures")
    measure_latency(cluster, options, scratch, report)
    show(options, report)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    sys.exit(main())
