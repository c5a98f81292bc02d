# SPDX-License-Identifier: Apache-2.0
"""Where snapshots are, and what happens when that place, or a node, fails: tests of eras.py. Each has
a release of its own in a namespace of its own, beside the first one on the same nodes."""
import json
import pathlib
import time

import machine
import product
import shapes
from product import NAMESPACE, events_of, pod_of_job, wait_event, wait_job
from report import expect
from restores import CHECKPOINT, annotations_of, expect_restored, model_of, save


def claim(name, storage="shared", mode="ReadWriteMany", volume=None):
    spec = {"accessModes": [mode], "storageClassName": storage,
            "resources": {"requests": {"storage": "1Gi"}}}
    if volume:
        spec["volumeName"] = volume
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": spec}


def make_namespace(cluster, name):
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))


def test_off(cluster, product_):
    """protocols that are switched off: their pods are left alone, and nothing is said about them"""
    del product_
    product.install(cluster, "snapshot", "quiet", **{
        f"config.protocols.{name}": "false" for name in ("standalone", "chrek", "signals", "control")})
    jobs = [shapes.job(f"off-{protocol}", protocol, f"off-{protocol}")
            for protocol in ("chrek", "signals", "control")]
    alone = shapes.job("off-standalone", "chrek", "off-standalone")
    alone["spec"]["template"]["metadata"]["labels"] = {"nvidia.com/checkpoint-source": "true"}
    shapes.apply(cluster, "quiet", *jobs, alone, shapes.pod("off-restore", "signals", "off-signals"))
    pods = [pod_of_job(cluster, job["metadata"]["name"], "quiet") for job in (*jobs, alone)]
    for name in pods:
        cluster.wait_pod(name, "quiet")
    product.settle(3)
    told = [one for one in cluster.list("events", "quiet") if
            one.get("reportingComponent") == "snapshot" or one["source"].get("component") == "snapshot"]
    expect(not told, f"no events, seen {[(one['reason'], one['message']) for one in told]}")
    for name in (*pods, "off-restore"):
        pod = cluster.get("pod", name, "quiet")
        expect(pod["status"]["phase"] == "Running", f"{name} to run")
        expect(not any(one["type"].startswith("nvidia.com/") for one in pod["status"]["conditions"]),
               f"no condition of ours on {name}")
    cluster.kubectl("delete", "namespace", "quiet", "--wait=false")


def mounting(claim_name, read_only=False, **more):
    volume, mount = shapes.claim_volume(claim_name, read_only=read_only)
    return {"volumes": [volume], "mounts": [mount], **more}


def test_pod_mount(cluster, product_):
    """podMount: pods mount the claim, read-only for a restore; other places are refused"""
    del product_
    space = "mounts"
    product.install(cluster, "snapshot", space, **{"storage.accessMode": "podMount"})
    shapes.apply(cluster, space, claim("once", "single", "ReadWriteOnce"))
    model = save(cluster, "shared", "control", namespace=space, node="n1",
                 **mounting("snapshot-pvc"))
    elsewhere = shapes.pod("elsewhere", "control", "shared", node="n2", **mounting("snapshot-pvc"),
                           annotations={"nvidia.com/snapshot-storage-base-path": "/etc"})
    shapes.apply(cluster, space, elsewhere, shapes.pod("without", "signals", "shared"),
                 *(shapes.pod(name, "control", "shared", node="n2", command=command,
                              **mounting("snapshot-pvc", read_only=True))
                   for name, command in (("asleep", shapes.ASLEEP), ("waiting", shapes.WAITING))))
    for name in ("asleep", "waiting"):
        expect_restored(cluster, name, model, namespace=space)
    for name, part in (("elsewhere", "/etc"), ("without", "/checkpoints")):
        message = wait_event(cluster, name, "SnapshotRequestInvalid", space)
        expect("pod-storage" in message and part in message, f"{part} refused, seen {message!r}")
    agents = cluster.get("daemonset", "snapshot-agent", space)["spec"]["template"]["spec"]["volumes"]
    expect(not any("persistentVolumeClaim" in one for one in agents), "an agent without the claim")
    model = save(cluster, "in-turn", "signals", namespace=space, node="n2", **mounting("once"))
    shapes.apply(cluster, space, shapes.pod("in-turn", "signals", "in-turn", node="n2",
                                            **mounting("once", read_only=True)))
    expect_restored(cluster, "in-turn", model, namespace=space)


def test_claims(cluster, product_):
    """a claim that is there already is used; one that is not keeps the agents waiting, and says so"""
    del product_
    make_namespace(cluster, "claims")
    product.install(cluster, "snapshot", "claims", wait=False, **{
        "storage.pvc.create": "false", "storage.pvc.name": "later"})

    def why():
        return [one.get("message", "") for pod in cluster.list("pods", "claims")
                for one in pod["status"].get("conditions", []) if one["type"] == "PodScheduled"]

    said = machine.wait_until(lambda: [text for text in why() if "later" in text], "a reason")
    expect('persistentvolumeclaim "later" not found' in said[0], f"the claim's name in {said}")
    shapes.apply(cluster, "claims", claim("later"))
    product.Product(cluster, "snapshot-agent", "claims").wait()
    model = save(cluster, "reused", "control", namespace="claims")
    shapes.apply(cluster, "claims", shapes.pod("reused", "control", "reused"))
    expect_restored(cluster, "reused", model, namespace="claims")


def files_of(node, path):
    return node.run("find", path).stdout.split()


def test_full_disk(cluster, product_):
    """no room: the capture fails and says so, nothing looks restorable; with room a later job is saved"""
    del product_
    node, space = cluster.nodes["n1"], "full"
    path = cluster.volume("small", storage="tiny", modes=["ReadWriteMany"])
    node.run("mount", "-t", "tmpfs", "-o", "size=2m", "small", path)
    make_namespace(cluster, space)
    shapes.apply(cluster, space, claim("small", "tiny", volume="small"))
    product.install(cluster, "snapshot", space, **{
        "storage.pvc.create": "false", "storage.pvc.name": "small",
        "config.checkpoint.attempts": "1", "config.checkpoint.killFailed": "false"})
    shapes.apply(cluster, space, shapes.job("no-room", "control", "no-room", node="n1"))
    source = pod_of_job(cluster, "no-room", space)
    message = wait_event(cluster, source, "CheckpointFailed", space)
    expect("disk-full" in message, f"disk-full, seen {message!r}")
    cluster.wait_for("job", "no-room", lambda job: annotations_of(job).get(CHECKPOINT) == "failed", space)
    expect(cluster.exec(source, "python3", "-c", "print(open('/proc/1/stat').read().split()[2])",
                        namespace=space).stdout.strip() in "SR", "a source that goes on")
    found = [one for one in files_of(node, path) if one.endswith("checkpoint.done") or
             pathlib.Path(one).parent.name == "versions" and pathlib.Path(one).name.isdigit()]
    expect(not found, f"nothing that looks restorable, seen {found}")
    node.run("mount", "-o", "remount,size=300m", path)
    model = save(cluster, "room", "control", "no-room", namespace=space, node="n1")
    shapes.apply(cluster, space, shapes.pod("room", "control", "no-room", node="n1"))
    expect_restored(cluster, "room", model, namespace=space)


def restorable(place):
    """Whether one would take what is there for a snapshot."""
    versions = [path for path in place.glob("versions/*") if path.name.isdigit()]
    expect(bool(versions) == (place / "checkpoint.done").exists(), f"both or neither in {place}")
    return bool(versions)


def test_node_restart(cluster, product_):
    """a node's power is cut: its restored pod is restored again, a job in the middle is saved anew"""
    store = product_.store()
    model = save(cluster, "before", "control", node="n2")
    shapes.apply(cluster, NAMESPACE, shapes.pod("phoenix", "control", "before", node="n1",
                                                command=shapes.WAITING, restartPolicy="Always"))
    expect_restored(cluster, "phoenix", model)
    shapes.apply(cluster, NAMESPACE, shapes.job("cut", "signals", "cut", node="n1", backoff=3,
                                                command=shapes.LARGE))
    source = pod_of_job(cluster, "cut")
    machine.wait_until(lambda: any((store / "cut").rglob("pages-*")) or restorable(store / "cut"),
                       "a capture under way", 60)
    node = cluster.nodes["n1"]
    node.stop()
    restorable(store / "cut")
    time.sleep(1)
    node.start()
    node.join()
    cluster.wait_ready()
    product_.wait(120)
    wait_job(cluster, "cut", timeout=180)
    expect(restorable(store / "cut"), "a snapshot")
    saved = [pod["metadata"]["name"] for pod in cluster.list("pods", NAMESPACE, "job-name=cut")
             if pod["status"]["phase"] == "Succeeded"]
    expect(len(saved) == 1 and saved != [source] or
           any(reason == "CheckpointSucceeded" for reason, _ in events_of(cluster, source)),
           f"one that was saved, seen {saved}")
    expect(model_of(cluster.logs(saved[0], NAMESPACE)), "what it had")
    cluster.wait_for("pod", "phoenix", lambda pod: (status := pod["status"]["containerStatuses"][0])[
        "restartCount"] == 1 and "running" in status["state"], NAMESPACE, 120)
    expect_restored(cluster, "phoenix", model)


STORAGE_TESTS = [test_off, test_pod_mount, test_claims, test_full_disk, test_node_restart]
