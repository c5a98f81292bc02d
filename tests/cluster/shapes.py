# SPDX-License-Identifier: Apache-2.0
"""Jobs that are saved and pods that are restored into, in the three protocols of Dynamo: chrek,
signals and control, as operators of their time make them."""
import json

from product import CHECKPOINT_IMAGE

PROGRAM = ["python3", "/app/your_app.py"]
# What an operator puts in the place of a program that is to be restored.
ASLEEP = ["sleep", "infinity"]
WAITING = ["/usr/local/bin/restore-entrypoint", *PROGRAM]
CONTROL = "/snapshot-control"
READY = {"chrek": "/tmp/ready-for-checkpoint", "signals": "/tmp/ready-for-checkpoint",
         "control": f"{CONTROL}/ready-for-snapshot"}
SOURCE = {"chrek": "nvidia.com/chrek-is-checkpoint-source",
          "signals": "nvidia.com/snapshot-is-checkpoint-source",
          "control": "nvidia.com/snapshot-is-checkpoint-source"}
TARGET = {"chrek": "nvidia.com/chrek-is-restore-target",
          "signals": "nvidia.com/snapshot-is-restore-target",
          "control": "nvidia.com/snapshot-is-restore-target"}
TARGETS = "nvidia.com/snapshot-target-containers"
# A program with so much in memory that saving it takes a while.
LARGE = ["python3", "-c", "import os, runpy; hold = [os.urandom(1 << 20) * 4 for _ in range(60)]; "
         "runpy.run_path('/app/your_app.py', run_name='__main__')"]


def container(name, protocol, command, env=None, **more):
    """With a control directory of its own where the protocol has one."""
    env = dict(env or {})
    mounts = list(more.pop("volumeMounts", []))
    if protocol == "control":
        env.setdefault("DYN_SNAPSHOT_CONTROL_DIR", CONTROL)
        mounts.append({"name": "snapshot-control", "mountPath": CONTROL, "subPath": name})
    made = {"name": name, "image": CHECKPOINT_IMAGE, "imagePullPolicy": "IfNotPresent",
            "env": [{"name": key, "value": value} for key, value in env.items()],
            "volumeMounts": mounts, **more}
    if command:
        made["command"] = command
    return made


def identity(protocol, snapshot):
    """The labels that name a snapshot; with ChReK it was a variable alone."""
    if protocol == "chrek":
        return {}
    return {"nvidia.com/snapshot-checkpoint-id": snapshot,
            "nvidia.com/snapshot-checkpoint-hash": snapshot}


def spec(protocol, containers, node, volumes, more):
    made = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": containers,
            "volumes": list(volumes), **more}
    if protocol == "control":
        made["volumes"].append({"name": "snapshot-control", "emptyDir": {}})
    if node:
        made["nodeName"] = node
    return made


def job(name, protocol, snapshot, *, node=None, command=None, version=None, volumes=(), mounts=(),
        env=None, labels=None, backoff=0, **more):
    """A Job whose pod is saved when it is ready."""
    if protocol != "control":
        env = {"DYN_READY_FOR_CHECKPOINT_FILE": READY[protocol], "DYN_CHECKPOINT_HASH": snapshot,
               "DYN_CHECKPOINT_LOCATION": f"/checkpoints/{snapshot}",
               "DYN_CHECKPOINT_STORAGE_TYPE": "pvc", **(env or {})}
    probe = {"exec": {"command": ["cat", READY[protocol]]}, "periodSeconds": 1}
    main = container("main", protocol, command or PROGRAM, env, readinessProbe=probe,
                     volumeMounts=mounts)
    annotations = {"nvidia.com/snapshot-artifact-version": version} if version else {}
    template = {"metadata": {"labels": {SOURCE[protocol]: "true", **identity(protocol, snapshot),
                                        **(labels or {})}, "annotations": annotations},
                "spec": spec(protocol, [main], node, volumes, more)}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"backoffLimit": backoff, "template": template}}


def pod(name, protocol, snapshot, *, node=None, command=ASLEEP, containers=("main",), volumes=(),
        mounts=(), annotations=None, env=None, image=CHECKPOINT_IMAGE, **more):
    """One that the agent restores into: each container says its name."""
    known = {"DYN_CHECKPOINT_HASH": snapshot} if protocol == "chrek" else {}
    made = [container(one, protocol, command, {**known, "COPY": f"{name}.{one}", **(env or {})},
                      volumeMounts=mounts, image=image) for one in containers]
    annotations = dict(annotations or {})
    if len(containers) > 1:
        annotations[TARGETS] = ", ".join(containers)
    labels = {TARGET[protocol]: "true", **identity(protocol, snapshot)}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "spec": spec(protocol, made, node, volumes, more)}


def apply(cluster, namespace, *objects):
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}), namespace)


def empty_volume(name, path):
    """A volume and its mount."""
    return {"name": name, "emptyDir": {}}, {"name": name, "mountPath": path}


def claim_volume(claim, path="/checkpoints", read_only=False):
    return {"name": "checkpoint-storage", "persistentVolumeClaim": {"claimName": claim}}, \
        {"name": "checkpoint-storage", "mountPath": path, "readOnly": read_only}
