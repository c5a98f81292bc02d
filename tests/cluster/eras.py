#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The protocols of ChReK with Dynamo and of Dynamo Snapshot, in a real cluster: from the job to the
pod that goes on with what it had in memory, and what becomes of those that can't. TAP."""
import re
import sys

sys.dont_write_bytecode = True
import product  # noqa: E402
import machine  # noqa: E402
import shapes  # noqa: E402
import suite  # noqa: E402
from eras_storage import STORAGE_TESTS  # noqa: E402
from product import NAMESPACE, pod_of_job, wait_event, wait_job  # noqa: E402
from report import expect  # noqa: E402
from restores import (CHECKPOINT, CONTAINER, STATUS, annotations_of, damage, end_with,  # noqa: E402
                      expect_cold, expect_ended_once, expect_restored, failures, save)
from watch import Watch  # noqa: E402


def test_first_steps(cluster, product_):
    """The examples of docs/kubernetes.md, as they are"""
    del product_
    examples = product.SOURCE / "examples/kubernetes"
    cluster.apply((examples / "saved.yaml").read_text(), NAMESPACE)
    wait_job(cluster, "warm-up")
    product.wait_log(cluster, pod_of_job(cluster, "warm-up"), "warm, at 30\nsaved; this one is done")
    cluster.apply((examples / "restored.yaml").read_text(), NAMESPACE)
    said = product.wait_log(cluster, "served", "serving, at 31\nserving, at 32")
    expect("warm" not in said, f"no cold start, seen {said!r}")
    cluster.delete("pod", "served", NAMESPACE)


def test_chrek(cluster, product_):
    """ChReK with Dynamo: an unprivileged job is saved on one node, two pods go on on the other"""
    del product_
    model = save(cluster, "chrek", "chrek", node="n1")
    pods = [shapes.pod(f"chrek-{number}", "chrek", "chrek", node="n2", command=command)
            for number, command in enumerate((shapes.ASLEEP, shapes.WAITING))]
    shapes.apply(cluster, NAMESPACE, *pods)
    for one in pods:
        expect_restored(cluster, one["metadata"]["name"], model)
        wait_event(cluster, one["metadata"]["name"], "RestoreSucceeded")
    end_with(cluster, "chrek-1", 7)


def check_order(watch, leases, name):
    """The job's annotation was there before its workload ended; the lease until after that."""
    first_word = first_end = None
    for number, (_, one) in enumerate(watch.of(name)):
        if first_word is None and annotations_of(one).get(CHECKPOINT) == "completed":
            first_word = number
        if first_end is None and (one["status"].get("succeeded") or
                                  one["status"].get("terminating")):
            first_end = number
    expect(first_word is not None and first_end is not None and first_word < first_end,
           f"the word before the end, seen {first_word} and {first_end}")
    holders = [one["spec"].get("holderIdentity", "") for kind, one in leases.of(name)
               if kind != "DELETED"]
    expect(holders and holders[0].startswith("snapshot-agent/n1/"), f"a holder, seen {holders}")


def test_signals(cluster, product_):
    """Dynamo Snapshot 1.0: status on the job before the workload ends, a lease meanwhile; two pods"""
    del product_
    with Watch(cluster, "jobs", NAMESPACE) as jobs, Watch(cluster, "leases", NAMESPACE) as leases:
        model = save(cluster, "signals", "signals", node="n1")
        leases.wait("signals", lambda kind, _: kind == "DELETED", "the lease to end")
        check_order(jobs, leases, "signals")
    names = ["signals-1", "signals-2"]
    shapes.apply(cluster, NAMESPACE, *(shapes.pod(name, "signals", "signals", node="n2")
                                       for name in names))
    for name in names:
        expect_restored(cluster, name, model)
        pod = cluster.wait_for("pod", name, lambda one: annotations_of(one).get(STATUS) == "completed",
                               NAMESPACE)
        running = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
        expect(annotations_of(pod).get(CONTAINER) == running, f"{running} in {annotations_of(pod)}")
        expect(product.condition_of(pod, "nvidia.com/Restored")["status"] == "True", "the condition")


def test_control(cluster, product_):
    """Dynamo Snapshot 1.1: two containers of a pod from one snapshot, in two versions of it"""
    models = {}
    for version in ("1", "2"):
        models[version] = save(cluster, f"control-v{version}", "control", "control", node="n1",
                               version=version)
    expect(sorted(path.name for path in (product_.store() / "control/versions").iterdir()) ==
           ["1", "2"], "both versions")
    names = ("engine-0", "engine-1")
    pods = [shapes.pod(f"control-{version}-{word}", "control", "control", node="n2", containers=names,
                       command=command,
                       annotations={"nvidia.com/snapshot-artifact-version": version})
            for version, word, command in (("1", "asleep", shapes.ASLEEP),
                                           ("2", "waiting", shapes.WAITING))]
    shapes.apply(cluster, NAMESPACE, *pods)
    for one in pods:
        name = one["metadata"]["name"]
        expect_restored(cluster, name, models[name.split("-")[1]], names)
        pod = cluster.wait_for("pod", name, lambda seen: all(
            annotations_of(seen).get(f"{STATUS}.{container}") == "completed" for container in names),
            NAMESPACE)
        expect(all(annotations_of(pod).get(f"{CONTAINER}.{container}") for container in names),
               f"the ids of its containers in {annotations_of(pod)}")
        for container in names:
            told = cluster.exec(name, "cat", f"{shapes.CONTROL}/restore-complete", namespace=NAMESPACE,
                                container=container).stdout
            expect(re.fullmatch(r"pid=\d+\n", told), f"the id of a process, seen {told!r}")
    end_with(cluster, "control-2-waiting", 7)


# What can't be restored


def test_not_restorable(cluster, product_):
    """no snapshot, a damaged one: a cold start where somebody waits, else one attempt and no loop"""
    save(cluster, "whole", "control", node="n1")
    damage(product_.store(), "whole", "broken")
    codes = {"nosuch": "snapshot-missing", "broken": "snapshot-"}
    shapes.apply(cluster, NAMESPACE, *(pod for snapshot in codes for pod in (
        shapes.pod(f"{snapshot}-cold", "control", snapshot, command=shapes.WAITING),
        shapes.pod(f"{snapshot}-never", "control", snapshot),
        shapes.pod(f"{snapshot}-always", "signals", snapshot, restartPolicy="Always"))))
    for snapshot, code in codes.items():
        expect_cold(cluster, f"{snapshot}-cold", code)
        expect_ended_once(cluster, f"{snapshot}-never", code, False)
        expect_ended_once(cluster, f"{snapshot}-always", code, True)
    product.settle(3)
    for snapshot in codes:
        pod = cluster.get("pod", f"{snapshot}-always", NAMESPACE)
        status = pod["status"]["containerStatuses"][0]
        expect(status["restartCount"] == 1, f"no second attempt, seen {status}")
        expect(len(failures(cluster, f"{snapshot}-always")) == 1, "one failure")


# Can't stand what is different in a copy.
SENSITIVE = ["python3", "-c", """
import os, runpy, threading, time
def look():
    while not os.path.exists('/dev/stasis/identity.json'):
        time.sleep(0.02)
    os._exit(7)
threading.Thread(target=look, daemon=True).start()
runpy.run_path('/app/your_app.py', run_name='__main__')
"""]


def test_ends_at_once(cluster, product_):
    """a program that ends as soon as it is restored: told, and not left behind as a pod that sleeps"""
    del product_
    save(cluster, "sensitive", "control", command=SENSITIVE)
    shapes.apply(cluster, NAMESPACE, shapes.pod("ends-asleep", "control", "sensitive"),
                 shapes.pod("ends-waiting", "control", "sensitive", command=shapes.WAITING))
    expect_ended_once(cluster, "ends-asleep", "restored-ended", False)
    expect("with status 7" in failures(cluster, "ends-asleep")[0], "its status")
    pod = cluster.wait_for("pod", "ends-waiting", lambda pod: pod["status"]["phase"] == "Failed", NAMESPACE)
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    expect(ended["exitCode"] == 7, f"the status of its program, seen {ended}")


def test_refused(cluster, product_):
    """another image, a mount that is missing: refused, with the reason, before anything is changed"""
    del product_
    volume, mount = shapes.empty_volume("data", "/data")
    save(cluster, "mounts", "control", volumes=[volume], mounts=[mount], command=[
        "python3", "-c", "import runpy; file = open('/data/words', 'w'); "
        "runpy.run_path('/app/your_app.py', run_name='__main__')"])
    shapes.apply(cluster, NAMESPACE,
                 shapes.pod("other-image", "control", "mounts", image="busybox:latest",
                            volumes=[volume], mounts=[mount]),
                 shapes.pod("no-mount", "control", "mounts", command=shapes.WAITING))
    expect_ended_once(cluster, "other-image", "target-image", False)
    expect_cold(cluster, "no-mount", "mount-missing")
    expect("/data" in failures(cluster, "no-mount")[0], "the name of the mount")


def test_failed_capture(cluster, product_):
    """a capture that can't go well: status failed on the job, and the workload is killed"""
    del product_
    shapes.apply(cluster, NAMESPACE, shapes.job("traced", "signals", "traced", command=TRACED))
    source = pod_of_job(cluster, "traced")
    wait_job(cluster, "traced", "Failed", timeout=120)
    job = cluster.get("job", "traced", NAMESPACE)
    expect(annotations_of(job).get(CHECKPOINT) == "failed", f"failed, seen {annotations_of(job)}")
    pod = cluster.get("pod", source, NAMESPACE)
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    expect(ended["exitCode"] == 137, f"SIGKILL, seen {ended}")
    wait_event(cluster, source, "CheckpointFailed")


def test_ends_meanwhile(cluster, product_):
    """programs that end by themselves while they are saved: each job gets its word, no lease stays"""
    del product_
    names = [f"short-{tenths}" for tenths in range(2, 22, 2)]
    shapes.apply(cluster, NAMESPACE, *(
        shapes.job(name, "control", name, command=["sh", "-c", f"""
            cd {shapes.CONTROL}; touch ready-for-snapshot; sleep {int(name[6:]) / 10}; exit 0"""])
        for name in names))
    for name in names:
        wait_job(cluster, name)

    def settled():
        begun = {one["involvedObject"]["name"] for one in cluster.list("events", NAMESPACE)
                 if one["reason"] == "CheckpointStarted"}
        pods = [pod for pod in cluster.list("pods", NAMESPACE)
                if pod["metadata"].get("labels", {}).get("job-name") in names]
        waits = [pod["metadata"]["labels"]["job-name"] for pod in pods
                 if pod["metadata"]["name"] in begun and CHECKPOINT not in annotations_of(
                     cluster.get("job", pod["metadata"]["labels"]["job-name"], NAMESPACE))]
        held = [one["metadata"]["name"] for one in cluster.list("leases", NAMESPACE)
                if one["metadata"]["name"] in names]
        return len(pods) == len(names) and not waits and not held

    machine.wait_until(settled, "a word on each job, and no lease", 30)


# A program one of whose children is traced by another.
TRACED = ["python3", "-c", """
import ctypes, os, runpy, time
libc = ctypes.CDLL(None)
if os.fork() == 0:
    if os.fork() == 0:
        libc.ptrace(0, 0, 0, 0)
        while True:
            time.sleep(1)
    while True:
        time.sleep(1)
time.sleep(0.5)
runpy.run_path('/app/your_app.py', run_name='__main__')
"""]


def test_bad_requests(cluster, product_):
    """a request that makes no sense is answered once, with its code, and told to who waits for it"""
    del product_
    def other(pod, **changes):
        pod["metadata"]["annotations"].update(changes.get("annotations", {}))
        pod["spec"].update(changes.get("spec", {}))
        return pod

    control = other(shapes.pod("bad-control", "control", "whole"))
    control["spec"]["volumes"] = [{"name": "snapshot-control",
                                   "hostPath": {"path": "/tmp", "type": "Directory"}}]
    path = shapes.job("bad-path", "control", "bad-path",
                      env={"DYN_SNAPSHOT_CONTROL_DIR": "/snapshot-control/../tmp"})
    two = shapes.pod("bad-container", "signals", "whole", containers=("one", "two"))
    del two["metadata"]["annotations"][shapes.TARGETS]
    identity = shapes.pod("bad-id", "chrek", "..")
    version = shapes.pod("bad-version", "control", "whole",
                         annotations={"nvidia.com/snapshot-artifact-version": "new"})
    waiting = shapes.pod("bad-and-waiting", "control", "whole", command=shapes.WAITING,
                         annotations={"nvidia.com/snapshot-artifact-version": "new"})
    for one in (control, two, identity, version, path, waiting):
        shapes.apply(cluster, NAMESPACE, one)
    # Which container of several was meant nobody knows: that pod goes on.
    expect("pod-container" in wait_event(cluster, "bad-container", "SnapshotRequestInvalid"), "its code")
    cluster.wait_for("pod", "bad-container", lambda pod: pod["status"]["phase"] == "Running", NAMESPACE)
    for name, code in (("bad-control", "pod-control"), ("bad-id", "pod-id"),
                       ("bad-version", "pod-version")):
        expect(code in wait_event(cluster, name, "SnapshotRequestInvalid"), f"{code} of {name}")
        pod = cluster.wait_for("pod", name, lambda pod: pod["status"]["phase"] == "Failed", NAMESPACE)
        expect(annotations_of(pod).get(STATUS) == "failed", f"the word on {name}")
        told = product.condition_of(pod, "nvidia.com/Restored")
        expect(told["reason"] == "RestoreFailed" and code in told["message"], f"seen {told}")
        cluster.kubectl("annotate", "--namespace", NAMESPACE, "pod", name, "example.com/touched=yes")
    # A program that waits for a restore hears at once that there will be none.
    product.wait_log(cluster, "bad-and-waiting", "loaded ")
    job = cluster.wait_for("job", "bad-path", lambda job: annotations_of(job).get(CHECKPOINT), NAMESPACE)
    expect(annotations_of(job)[CHECKPOINT] == "failed", "the word on the job")
    wait_job(cluster, "bad-path", "Failed")
    product.settle(2)
    for name in ("bad-control", "bad-container", "bad-id", "bad-version"):
        told = [one for one in cluster.list("events", NAMESPACE)
                if one["involvedObject"]["name"] == name and one["reason"] == "SnapshotRequestInvalid"]
        expect(len(told) == 1 and told[0].get("count", 1) == 1, f"one event of {name}, seen {told}")


TESTS = [test_first_steps, test_chrek, test_signals, test_control, test_not_restorable,
         test_ends_at_once, test_ends_meanwhile, test_refused, test_failed_capture, test_bad_requests,
         *STORAGE_TESTS]


def run(cluster, report):
    snapshot = product.install(cluster, "snapshot")
    for test in TESTS:
        report.run(test, cluster, snapshot)
    if report.failed:
        print("# " + snapshot.logs()[-6000:].replace("\n", "\n# "))


if __name__ == "__main__":
    sys.exit(suite.main(__doc__, run))
