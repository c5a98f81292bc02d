# SPDX-License-Identifier: Apache-2.0
"""What the suites of the protocols do over and over: save a job, look whether a pod goes on with what
the job had in memory, or why it can't."""
import re
import shutil

import machine
import shapes
from product import NAMESPACE, events_of, pod_of_job, wait_event, wait_job, wait_log
from report import expect
from watch import Watch

STATUS = "nvidia.com/snapshot-restore-status"
CONTAINER = "nvidia.com/snapshot-restore-container-id"
CHECKPOINT = "nvidia.com/snapshot-checkpoint-status"


def model_of(text):
    """What the program has in memory, and says."""
    found = re.search(r"(?:loaded|running) ([0-9a-f]{16})", text)
    expect(found, f"a model in {text!r}")
    return found[1]


def annotations_of(thing):
    return thing["metadata"].get("annotations", {})


def save(cluster, name, protocol, snapshot=None, namespace=NAMESPACE, **more):
    """Runs a job to its end; what it had in memory."""
    shapes.apply(cluster, namespace, shapes.job(name, protocol, snapshot or name, **more))
    source = pod_of_job(cluster, name, namespace)
    wait_job(cluster, name, namespace=namespace)
    log = wait_log(cluster, source, "saved; the job is done", namespace)
    wait_event(cluster, source, "CheckpointSucceeded", namespace)
    return model_of(log)


def expect_restored(cluster, name, model, containers=("main",), namespace=NAMESPACE):
    """It goes on with what the job had, by its own name, and did not begin anew."""
    for container in containers:
        def said(container=container):
            done = cluster.kubectl("logs", "--namespace", namespace, name, "-c", container, check=False)
            return done.stdout if "running " in done.stdout else None

        try:
            log = machine.wait_until(said, f"{name}.{container} to run", 60)
        except machine.Failure as failure:
            raise machine.Failure(f"{failure}: {events_of(cluster, name, namespace)}; "
                                  f"{cluster.logs(name, namespace, container)!r}") from None
        expect(f"running {model} as {name}.{container}" in log, f"{model} as {name}, in {log!r}")
        expect("loaded" not in log, f"no cold start in {log!r}")


def end_with(cluster, name, status):
    """The pod is deleted politely; its program ends with a status of its own."""
    with Watch(cluster, "pods", NAMESPACE) as watch:
        cluster.delete("pod", name, NAMESPACE)
        watch.wait(name, lambda kind, one: kind == "DELETED", f"pod {name} to be gone")
        ends = [state["terminated"]["exitCode"] for _, one in watch.of(name)
                for state in (entry["state"] for entry in one["status"]["containerStatuses"])
                if "terminated" in state]
    expect(ends and set(ends) == {status}, f"status {status} of {name}, seen {ends}")


def damage(store, name, copy):
    shutil.copytree(store / name, store / copy, symlinks=True)
    victim = next((store / copy / "versions").rglob("pages-*.img"))
    with open(victim, "r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))


def failures(cluster, name):
    return [message for reason, message in events_of(cluster, name) if reason == "RestoreFailed"]


def expect_ended_once(cluster, name, code, always):
    """Where nobody can start it cold: one attempt, and the end of the container."""
    def over(pod):
        status = pod["status"].get("containerStatuses", [{}])[0]
        return status.get("restartCount") == 1 and "running" in status["state"] if always \
            else pod["status"]["phase"] == "Failed"

    pod = cluster.wait_for("pod", name, over, NAMESPACE)
    expect(code in wait_event(cluster, name, "RestoreFailed"), f"{code}, seen {failures(cluster, name)}")
    expect(annotations_of(pod).get(STATUS) == "failed", f"failed, seen {annotations_of(pod)}")


def expect_cold(cluster, name, code):
    log = wait_log(cluster, name, "running ")
    expect("loaded" in log and "Falling back to cold start" in log and code in log,
           f"a cold start because of {code} in {log!r}")
    expect(code in wait_event(cluster, name, "RestoreFailed"), f"{code} in an event")
