#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ChReK alone, in a real cluster: the chart, the job and the pod of its guide as they are printed
there (names of images replaced), and what becomes of them when something goes wrong. TAP."""
import json
import pathlib
import re
import shutil
import sys

sys.dont_write_bytecode = True
import product  # noqa: E402  (first: it makes the next to be found)
import machine  # noqa: E402
import suite  # noqa: E402
from product import NAMESPACE, events_of, pod_of_job, settle, wait_event, wait_job, wait_log  # noqa: E402
from report import expect  # noqa: E402
from trouble import kill, operations  # noqa: E402

DOCUMENTS = pathlib.Path(__file__).parent / "documents"
JOB = "checkpoint-my-model"
RESTORED = "my-app-restored"
HASH = "abc123def456"
PLAIN = "without-privileges"


def document(name, **changes):
    """As printed, but that an image called latest is not to be asked of a registry."""
    text = (DOCUMENTS / f"standalone-{name}.yaml").read_text()
    text = re.sub(r"( +)image: busybox:latest\n",
                  lambda found: found[0] + found[1] + "imagePullPolicy: IfNotPresent\n", text)
    for old, new in changes.items():
        expect(old in text, f"{old} in the document")
        text = text.replace(old, new)
    return text


def renamed(name, job, identity, **changes):
    """The same for another snapshot: job is the suffix of the names."""
    changes = {HASH: identity, **changes}
    text = document(name)
    for old, new in changes.items():
        expect(old in text, f"{old} in the document")
        text = text.replace(old, new)
    return text.replace(JOB, f"{JOB}-{job}").replace(RESTORED, f"{RESTORED}-{job}").replace(
        "my-checkpoint.done", f"{job}.done").replace("initialDelaySeconds: 15",
                                                     "initialDelaySeconds: 1")


def model_of(text):
    """What the program has in memory, and says."""
    found = re.search(r"(?:loaded|running) ([0-9a-f]{16})", text)
    expect(found, f"a model in {text!r}")
    return found[1]


def create_job(cluster, text):
    cluster.apply(text, NAMESPACE)
    return pod_of_job(cluster, re.search(r"name: (checkpoint-[\w-]+)", text)[1])


def test_as_printed(cluster, chrek):
    """the job is saved and ends, the pod goes on with what the job had in memory"""
    source = create_job(cluster, document("job"))
    wait_job(cluster, JOB)
    loaded = model_of(wait_log(cluster, source, "saved; the job is done"))
    done = json.loads((chrek.store() / HASH / "checkpoint.done").read_text())
    expect(done["success"] is True and done["checkpoint_id"] == HASH, f"success, seen {done}")
    wait_event(cluster, source, "CheckpointSucceeded")
    cluster.apply(document("restore"), NAMESPACE)
    log = wait_log(cluster, RESTORED, "running ")
    expect(model_of(log) == loaded, f"model {loaded} in {log!r}")
    expect("loaded" not in log.split("running")[0].rpartition("\n")[2], "no cold start")


def test_status(cluster, chrek):
    """the signal of a pod's end reaches the restored program, and its status is the pod's"""
    del chrek
    cluster.exec(RESTORED, "python3", "-c", "import os; os.kill(1, 15)", namespace=NAMESPACE)
    cluster.wait_for("pod", RESTORED, lambda pod: pod["status"]["phase"] == "Failed", NAMESPACE)
    state = cluster.get("pod", RESTORED, NAMESPACE)["status"]["containerStatuses"][0]["state"]
    expect(state["terminated"]["exitCode"] == 7, f"the program's status 7, seen {state}")


def unprivileged(text):
    """Without rights of its own, it is the agent that restores."""
    return re.sub(r" +securityContext:\n +privileged: true\n +capabilities:\n +add: .*\n", "", text)


def test_too_few_rights(cluster, chrek):
    """a pod with fewer rights than the job had is refused with the reason, and starts cold"""
    del chrek
    cluster.apply(unprivileged(renamed("restore", "few", HASH)), NAMESPACE)
    log = wait_log(cluster, f"{RESTORED}-few", "running ")
    expect("target-privileges" in log, f"the reason in {log!r}")
    expect("target-privileges" in wait_event(cluster, f"{RESTORED}-few", "RestoreFailed"), "an event")


def test_from_outside(cluster, chrek):
    """a job and two pods without any privilege: saved, and restored at once by agents of two nodes"""
    del chrek
    logs = []
    create_job(cluster, unprivileged(renamed("job", "plain", PLAIN)))
    wait_job(cluster, f"{JOB}-plain")
    for node in cluster.node_names:
        text = unprivileged(renamed("restore", f"out-{node}", PLAIN, **{
            "spec:\n  restartPolicy": f"spec:\n  nodeName: {node}\n  restartPolicy"}))
        cluster.apply(text, NAMESPACE)
    for node in cluster.node_names:
        logs.append(wait_log(cluster, f"{RESTORED}-out-{node}", "running "))
        wait_event(cluster, f"{RESTORED}-out-{node}", "RestoreSucceeded")
    expect(len({model_of(log) for log in logs}) == 1, f"one model in {logs}")
    pod = cluster.get("pod", f"{RESTORED}-out-n1", NAMESPACE)
    condition = product.condition_of(pod, "nvidia.com/Restored")
    expect(condition and condition["status"] == "True", f"a condition, seen {condition}")


def test_no_snapshot(cluster, chrek):
    """without a snapshot the pod starts cold, and says why"""
    del chrek
    cluster.apply(renamed("restore", "cold", "nosuch"), NAMESPACE)
    log = wait_log(cluster, f"{RESTORED}-cold", "running ")
    expect("nosuch" in log, f"the name of the snapshot in {log!r}")


def test_damaged(cluster, chrek):
    """a damaged snapshot is not restored: the pod starts cold, with the reason"""
    store = chrek.store()
    shutil.copytree(store / PLAIN, store / "damaged", symlinks=True)
    victim = next((store / "damaged/versions").rglob("pages-*.img"))
    with open(victim, "r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    for job, change in (("dam-in", str), ("dam-out", unprivileged)):
        cluster.apply(change(renamed("restore", job, "damaged")), NAMESPACE)
        log = wait_log(cluster, f"{RESTORED}-{job}", "running ")
        expect("Falling back to cold start" in log, f"the words in {log!r}")
    message = wait_event(cluster, f"{RESTORED}-dam-out", "RestoreFailed")
    expect("snapshot-" in message, f"a code in {message!r}")


def test_refused_storage(cluster, chrek):
    """a job that wants storage of another kind is told so, and goes on unharmed"""
    del chrek
    source = create_job(cluster, renamed("job", "s3", "wants-s3", **{'"pvc"': '"s3"'}))
    message = wait_event(cluster, source, "SnapshotRequestInvalid")
    expect("pod-storage" in message and "s3" in message, f"the reason in {message!r}")
    cluster.delete("job", f"{JOB}-s3", NAMESPACE)


def test_deleted_in_the_middle(cluster, chrek):
    """a job that is deleted while it is saved leaves nothing that looks restorable"""
    source = create_job(cluster, renamed("job", "gone", "deleted"))
    wait_event(cluster, source, "CheckpointStarted")
    cluster.delete("job", f"{JOB}-gone", NAMESPACE)
    cluster.wait_gone("pod", source, NAMESPACE)
    settle(1)
    place = chrek.store() / "deleted"
    versions = [path for path in place.glob("versions/*") if path.name.isdigit()]
    expect((place / "checkpoint.done").exists() == bool(versions),
           f"both or neither, seen {list(place.rglob('*'))[:5]}")


def test_agent_replaced(cluster, chrek):
    """an agent that is killed while it saves is followed by one that finds what it has begun"""
    source = create_job(cluster, renamed("job", "kill", "killed-agent"))
    wait_event(cluster, source, "CheckpointStarted")
    node = cluster.get("pod", source, NAMESPACE)["spec"]["nodeName"]
    cluster.kubectl("delete", "pod", chrek.pod_on(node), "--namespace", NAMESPACE, "--grace-period=0",
                    "--force")
    wait_job(cluster, f"{JOB}-kill")
    chrek.wait()
    done = json.loads((chrek.store() / "killed-agent/checkpoint.done").read_text())
    expect(done["success"] is True, f"success, seen {done}")
    versions = [path.name for path in (chrek.store() / "killed-agent/versions").iterdir()]
    expect(versions == ["1"], f"one snapshot, seen {versions}")


def test_operation_killed(cluster, chrek):
    """a restore whose process is killed is said to be lost, and done again"""
    del chrek
    cluster.apply(unprivileged(renamed("restore", "lost", PLAIN)), NAMESPACE)
    uid = cluster.get("pod", f"{RESTORED}-lost", NAMESPACE)["metadata"]["uid"]
    kill(machine.wait_until(lambda: next((pid for pid, pod in operations(cluster) if pod == uid), None),
                            "a restore under way"))
    log = wait_log(cluster, f"{RESTORED}-lost", "running ")
    expect("restored; process" in log and "loaded" not in log, f"no cold start in {log!r}")
    expect("operation-lost" in wait_event(cluster, f"{RESTORED}-lost", "RestoreFailed"), "an event")
    wait_event(cluster, f"{RESTORED}-lost", "RestoreSucceeded")


def test_api_server_away(cluster, chrek):
    """the API server may be away in the middle: the job is saved, and what happened is told later"""
    store = chrek.store()
    source = create_job(cluster, renamed("job", "api", "no-api"))
    wait_event(cluster, source, "CheckpointStarted")
    cluster.stop_api_server()
    settle(20)
    done = (store / "no-api/checkpoint.done").exists()
    cluster.start_api_server()
    expect(done, "a snapshot without the API server")
    wait_job(cluster, f"{JOB}-api", timeout=120)
    pod = cluster.wait_for("pod", source, lambda found: product.condition_of(
        found, "nvidia.com/Checkpointed"), NAMESPACE, 90)
    expect(product.condition_of(pod, "nvidia.com/Checkpointed")["status"] == "True", "success")


def test_metrics(cluster, chrek):
    """the agent's pages tell health and what was done"""
    expect(json.loads(chrek.page("n1", "/health")) == {"status": "healthy", "node_name": "n1"},
           "health")
    text = chrek.page("n1", "/metrics") + chrek.page("n2", "/metrics")
    expect('stasis_operations_total{operation="restore",outcome="success"}' in text, text[:500])
    expect("stasis_phase_seconds_sum" in text, "phases")


TESTS = [test_as_printed, test_status, test_too_few_rights, test_from_outside, test_no_snapshot, test_damaged,
         test_refused_storage, test_deleted_in_the_middle, test_metrics, test_operation_killed,
         test_agent_replaced, test_api_server_away]


def run(cluster, report):
    product.advertise_gpus(cluster)
    chrek = product.install(cluster)
    for test in TESTS:
        report.run(test, cluster, chrek)
    if report.failed:
        print("# " + chrek.logs()[-6000:].replace("\n", "\n# "))
        print(f"# {[events_of(cluster, pod['metadata']['name']) for pod in cluster.list('pods', NAMESPACE)]}"[:4000])


if __name__ == "__main__":
    sys.exit(suite.main(__doc__, run))
