#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether the cluster of the tests is one: two nodes, pods and services on them, what they may do,
what survives which crash; and nothing is left of it. What it prints is TAP."""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import bed  # noqa: E402
import machine  # noqa: E402
import place  # noqa: E402
from bed import Failure, Unavailable  # noqa: E402
from report import Report, expect  # noqa: E402

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


FETCH = """
import sys, urllib.request
sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=3).read().decode())
"""


def pod(name, command=("sleep", "100000"), node=None, image="busybox:latest", labels=None, volumes=(),
        mounts=(), **more):
    """The manifest of a pod with one container."""
    container = {"name": "main", "image": image, "command": list(command),
                 "imagePullPolicy": "IfNotPresent", "volumeMounts": list(mounts)}
    container.update(more.pop("container", {}))
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0, "volumes": list(volumes),
            **more}
    if node:
        spec["nodeName"] = node
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "spec": spec,
                       "metadata": {"name": name, "labels": labels or {}}})


def test_nodes(cluster):
    """two nodes are Ready, of the release and with the containerd that were asked for"""
    nodes = cluster.list("nodes")
    expect([node["metadata"]["name"] for node in nodes] == ["n1", "n2"], "nodes n1 and n2")
    for node in nodes:
        info = node["status"]["nodeInfo"]
        expect(info["kubeletVersion"].startswith("v1.34."), f"1.34, seen {info['kubeletVersion']}")
        version = info["containerRuntimeVersion"].partition("://")[2].lstrip("v")
        expect(version.startswith(cluster.options["containerd"] + "."),
               f"containerd {cluster.options['containerd']}, seen {version}")


def test_pods(cluster):
    """a pod reaches one on the other node, by its address and by that of a service"""
    serve = "mkdir /w && hostname > /w/name && exec httpd -f -p 8080 -h /w"
    cluster.apply(pod("web", ["sh", "-c", serve], node="n2", labels={"app": "web"}))
    # Debian's static busybox cannot look up addresses; Python can.
    cluster.load("my-app:base")
    cluster.apply(pod("client", node="n1", image="my-app:base"))
    cluster.apply(json.dumps({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}))
    web = cluster.wait_pod("web")
    cluster.wait_pod("client")
    service = cluster.get("service", "web")["spec"]["clusterIP"]
    for address in (f"{web['status']['podIP']}:8080", service):
        def fetch(address=address):
            return cluster.exec("client", "python3", "-c", FETCH, f"http://{address}/name",
                                check=False).stdout

        seen = machine.wait_until(fetch, f"an answer of {address}")
        expect(seen == "web\n", f"the name of the pod from {address}, seen {seen!r}")


def test_logs(cluster):
    """what a pod says is in its log; a program can be run in it"""
    cluster.apply(pod("talker", ["sh", "-c", "echo said at the start; exec sleep 100000"]))
    cluster.wait_pod("talker")
    expect(cluster.logs("talker") == "said at the start\n", "what the pod said")
    done = cluster.exec("talker", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    expect((done.stdout, done.returncode) == ("out\n", 3) and "err" in done.stderr,
           f"the end of the program, seen {done}")


def test_account(cluster):
    """a pod asks the API with its service account, and gets what that one may"""
    cluster.load("my-app:base")
    cluster.kubectl("create", "role", "look", "--verb=get", "--resource=pods")
    cluster.kubectl("create", "rolebinding", "look", "--role=look", "--serviceaccount=default:default")
    program = f"""
import os, ssl, sys, urllib.error, urllib.request
token = open("{ACCOUNT}/token").read()
context = ssl.create_default_context(cafile="{ACCOUNT}/ca.crt")
base = "https://" + os.environ["KUBERNETES_SERVICE_HOST"] + "/api/v1/namespaces/default/"
for what in ("pods/asker", "secrets/asker"):
    request = urllib.request.Request(base + what, headers={{"Authorization": "Bearer " + token}})
    try:
        print(what, urllib.request.urlopen(request, context=context, timeout=30).status)
    except urllib.error.HTTPError as problem:
        print(what, problem.code)
"""
    cluster.apply(pod("asker", ["python3", "-c", program], image="my-app:base",
                      restartPolicy="Never"))
    cluster.wait_for("pod", "asker", lambda one: one["status"]["phase"] in ("Succeeded", "Failed"))
    said = cluster.logs("asker")
    expect(said == "pods/asker 200\nsecrets/asker 403\n", f"200 and 403, seen {said!r}")


def test_privileged(cluster):
    """a privileged pod sees the processes of the node and its containerd, at the usual path"""
    cluster.apply(pod(
        "agent", node="n1", hostPID=True, container={"securityContext": {"privileged": True}},
        volumes=[{"name": "run", "hostPath": {"path": "/run/containerd"}}],
        mounts=[{"name": "run", "mountPath": "/run/containerd", "mountPropagation": "Bidirectional"}]))
    cluster.wait_pod("agent")
    kubelet = cluster.nodes["n1"].kubelet.pid
    seen = cluster.exec("agent", "cat", f"/proc/{kubelet}/comm").stdout.strip()
    expect(seen == "kubelet", f"the kubelet of the node, seen {seen!r}")
    done = cluster.exec("agent", "test", "-S", "/run/containerd/containerd.sock", check=False)
    expect(done.returncode == 0, "the socket of containerd")


def test_volumes(cluster):
    """a claim of a shared volume is bound; both nodes see one directory, read-only where it is asked"""
    cluster.apply(json.dumps({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "chrek-pvc"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "100Gi"}}}}))
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "chrek-pvc"}}
    mount = {"name": "data", "mountPath": "/data"}
    cluster.apply(pod("writer", ["sh", "-c", "echo shared >/data/word; exec sleep 100000"], node="n1",
                      volumes=[claim], mounts=[mount]))
    cluster.apply(pod("reader", node="n2", volumes=[claim], mounts=[{**mount, "readOnly": True}]))
    cluster.wait_pod("writer")
    cluster.wait_pod("reader")
    seen = cluster.get("pvc", "chrek-pvc")["status"]
    expect(seen["phase"] == "Bound" and "ReadWriteMany" in seen["accessModes"], f"it bound, seen {seen}")
    word = machine.wait_until(lambda: cluster.exec("reader", "cat", "/data/word", check=False).stdout,
                              "the file of the other node")
    expect(word == "shared\n", f"what was written, seen {word!r}")
    done = cluster.exec("reader", "touch", "/data/other", check=False)
    expect("Read-only file system" in done.stderr, f"a read-only mount, seen {done.stderr!r}")


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: trivial\nversion: 0.1.0\n", "values.yaml": "word: usual\n",
    "templates/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-map\n"
                          "data:\n  word: {{ .Values.word }}\n"}


def test_helm(cluster):
    """a chart is installed, with a value, and removed"""
    with tempfile.TemporaryDirectory(dir=cluster.directory) as chart:
        for name, text in CHART.items():
            path = pathlib.Path(chart, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        cluster.helm("install", "first", chart, "--set", "word=other")
    expect(cluster.get("configmap", "first-map")["data"] == {"word": "other"}, "the value that was set")
    cluster.helm("uninstall", "first")
    expect(cluster.get("configmap", "first-map") is None, "the chart to be gone")


def container_pid(cluster, name):
    """Of the container of a pod, as the machine sees it."""
    found = cluster.get("pod", name)
    identity = found["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
    node = cluster.nodes[found["spec"]["nodeName"]]
    path = node.directory / "run/containerd/io.containerd.runtime.v2.task/k8s.io" / identity
    return int((path / "init.pid").read_text())


def test_daemons(cluster):
    """containers go on while API server, containerd and kubelet are killed and started"""
    cluster.apply(pod("steady", node="n1"))
    cluster.wait_pod("steady")
    before = container_pid(cluster, "steady")
    cluster.stop_api_server()
    expect(cluster.kubectl("get", "nodes", check=False).returncode != 0, "no answer meanwhile")
    cluster.start_api_server()
    cluster.nodes["n1"].restart_containerd()
    cluster.nodes["n1"].restart_kubelet()
    cluster.wait_ready()
    cluster.wait_pod("steady")
    expect(machine.alive(before) and container_pid(cluster, "steady") == before,
           "the same container as before")
    # The kubelet has to hear of its pods first.
    machine.wait_until(lambda: cluster.exec("steady", "echo", "here", check=False).stdout == "here\n",
                       "a program in it")


def test_node_restart(cluster):
    """a node whose power is cut comes back, and its pods are started again"""
    cluster.apply(pod("again", node="n2"))
    cluster.wait_pod("again")
    before = container_pid(cluster, "again")
    cluster.nodes["n2"].stop()
    expect(not machine.alive(before), "the container to have ended")
    expect(not place.group_processes(cluster.nodes["n2"].group), "no process on the node")
    cluster.nodes["n2"].start()
    cluster.nodes["n2"].join()
    cluster.wait_ready()
    cluster.wait_for("pod", "again", lambda one: bed.is_ready(one) and
                     one["status"]["containerStatuses"][0]["restartCount"] == 1, timeout=120)
    expect(container_pid(cluster, "again") != before, "another container")
    machine.wait_until(lambda: cluster.exec("again", "echo", "here", check=False).stdout == "here\n",
                       "a program in it")


# Nothing is left


def seen_on_machine():
    """What a cluster could leave on a machine."""
    found = {f"mount {line.split()[4]}" for line in machine.read("/proc/self/mountinfo").splitlines()}
    for root in place.hierarchies():
        found.update(f"control group {entry}" for entry in root.glob("*") if entry.is_dir())
    for folder in ("/run", "/run/netns", "/run/containerd", "/var/lib", "/var/lib/cni", "/var/log",
                   "/etc", "/etc/cni", "/var/tmp", "/opt", "/var/log/pods"):
        if os.path.isdir(folder):
            found.update(f"file {folder}/{name}" for name in os.listdir(folder))
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    found.update(f"link {line.split(':')[1].strip()}" for line in links.splitlines())
    return found | settings_now()


def settings_now():
    import settings

    return {f"setting {name}={machine.read(f'/proc/sys/{name}').strip()}" for name in settings.NAMES}


def check_nothing_left(cluster, before):
    left = cluster.leftovers()
    # Other tests of this machine come and go; what has the name of a bed of theirs is theirs.
    left += sorted(line for line in seen_on_machine() - before if "stasis" not in line)
    expect(not left, f"nothing to be left, seen {left}")


CRASH = """
import sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, {folder!r})
import bed
cluster = bed.Cluster({name!r}, nodes=1)
cluster.up()
cluster.save()
print("up", flush=True)
time.sleep(1000)
"""


def test_crash(name):
    """a cluster whose test is killed is removed by the next one that starts"""
    folder = str(pathlib.Path(__file__).parent)
    with subprocess.Popen([sys.executable, "-c", CRASH.format(folder=folder, name=name)],
                          stdout=subprocess.PIPE, text=True) as process:
        try:
            expect(process.stdout.readline() == "up\n", "a cluster to start")
        finally:
            process.send_signal(signal.SIGKILL)
    directory = bed.PARENT / f"stasis-{name}.cluster"
    expect(machine.processes_of(str(directory)), "processes that go on")
    bed.clean_leftovers()
    left = machine.leftovers(str(directory))
    expect(not left, f"nothing to be left, seen {left}")


TESTS = [test_nodes, test_pods, test_logs, test_account, test_privileged, test_volumes, test_helm,
         test_daemons, test_node_restart]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--containerd", default="1.6")
    parser.add_argument("tests", nargs="*", help="words in their names")
    arguments = parser.parse_args()
    report = Report(arguments.tests)
    before = seen_on_machine()
    cluster = bed.Cluster(containerd=arguments.containerd)
    try:
        with cluster:
            print(f"# up after {cluster.seconds} s", flush=True)
            for test in TESTS:
                report.run(test, cluster)
    except Unavailable as reason:
        print(f"1..0 # SKIP {reason}")
        return 0
    check_nothing_left.__doc__ = "nothing is left of it"
    report.run(check_nothing_left, cluster, before)
    report.run(test_crash, f"{cluster.title}x")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
