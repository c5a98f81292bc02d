# SPDX-License-Identifier: Apache-2.0
"""The product in a cluster: its images are built from this tree, as a user would, its chart is
installed, and workloads are what the documents show."""
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import time

from bed import Failure, Unavailable  # before all that it makes to be found

import machine
import pictures

SOURCE = pathlib.Path(__file__).resolve().parents[2]
NAMESPACE = "my-app"
CHECKPOINT_IMAGE = "my-app:checkpoint-enabled"
APPLICATION = "docker.io/library/your-app:latest"
AGENT = "localhost/stasis-agent"


class Images:
    """Built once in a run: the agent, and a placeholder of an application in Python."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.saved = self.directory / "saved"
        self.environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}

    def buildah(self, *words):
        return machine.run("buildah", "--root", self.directory / "storage/root", "--runroot",
                           self.directory / "storage/run", *words, env=self.environment,
                           timeout=600).stdout.strip()

    def application(self):
        """An image that knows nothing of us: Python, and a program that is its CMD."""
        recipe = pictures.images.Images(self.directory).recipe("python")
        layer = self.directory / "application.tar"
        with tarfile.open(layer, "w") as tar:
            tar.add(SOURCE / "examples/workload/workload.py", "app/your_app.py")
        recipe.layers.append(layer)
        recipe.command = ["python3", "/app/your_app.py"]
        archive = self.directory / "your-app.tar"
        pictures.images.write_archive(recipe, APPLICATION, archive)
        self.buildah("pull", "-q", f"oci-archive:{archive}")
        return APPLICATION

    def build(self):
        if not shutil.which("buildah"):
            raise Unavailable("there is no buildah; tools/install-dependencies deploy installs it")
        self.directory.mkdir(parents=True, exist_ok=True)
        machine.run(SOURCE / "tools/build-images", "--storage", self.directory / "storage", "--save",
                    self.saved, "--tag", "test", "--base", self.application(), "--placeholder-name",
                    pictures.full_name(CHECKPOINT_IMAGE), "agent", "placeholder",
                    env=self.environment, timeout=1200)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def forget_storage(self):
        """What was saved is enough. buildah leaves mounts in its storage."""
        for point in machine.mounts_of(str(self.directory)):
            machine.run("umount", "-l", point, check=False)
        shutil.rmtree(self.directory / "storage", ignore_errors=True)

    def remove(self):
        self.forget_storage()
        shutil.rmtree(self.directory, ignore_errors=True)

    def load(self, cluster):
        cluster.load(f"{AGENT}:test", self.saved / "agent.tar")
        cluster.load(CHECKPOINT_IMAGE, self.saved / "placeholder.tar")


# What the images are made of.
PARTS = ("src", "proto", "deploy", "tools", "examples/workload", "meson.build", "meson_options.txt")


def source_key():
    """Another one for another source."""
    digest = hashlib.sha256(pictures.recipe_key().encode())
    for part in PARTS:
        path = SOURCE / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(SOURCE)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def kept_images(folder):
    """In a folder, built once for one source; those of an earlier one go."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = folder / source_key()
        if not (place / "complete").exists():
            for old in (path for path in folder.iterdir() if path.is_dir()):
                Images(old).remove()
            Images(place).build().forget_storage()
            (place / "complete").touch()
    return Images(place)


@contextlib.contextmanager
def images(directory=None):
    """Built; in a folder that is given they stay."""
    if directory:
        yield kept_images(pathlib.Path(directory).absolute())
        return
    with Images(tempfile.mkdtemp(prefix="stasis-images.", dir="/var/tmp")) as found:
        yield found.build()


def advertise_gpus(cluster, count=8):
    """Nodes say that they have GPUs; nothing of them is used where there is none."""
    patch = json.dumps([{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": str(count)}])
    for node in cluster.node_names:
        cluster.kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", patch)


def install(cluster, chart="chrek", namespace=NAMESPACE, wait=True, **values):
    """The chart by the words of the documents, on nodes that are not labelled for GPUs."""
    values = {"storage.pvc.size": "100Gi", "storage.pvc.storageClass": "shared",
              "daemonset.nodeSelector": "null", "daemonset.runtimeClassName": "",
              "daemonset.image.tag": "test", "runtime.storageDir": "/var/lib/containerd",
              "daemonset.resources.requests.cpu": "50m",
              "daemonset.resources.requests.memory": "64Mi", **values}
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    cluster.helm("upgrade", "--install", chart, SOURCE / "deploy/helm/charts" / chart, "--namespace",
                 namespace, "--create-namespace", *words)
    found = Product(cluster, f"{chart}-agent", namespace)
    return found.wait() if wait else found


class Product:
    def __init__(self, cluster, name, namespace):
        self.cluster = cluster
        self.name = name
        self.namespace = namespace

    def wait(self, timeout=150):
        """Until there is an agent on every node, and each knows its pods."""
        def ready(found):
            status = found.get("status", {})
            return status.get("numberReady") == len(self.cluster.nodes) and \
                status.get("updatedNumberScheduled") == len(self.cluster.nodes)

        self.cluster.wait_for("daemonset", self.name, ready, self.namespace, timeout)
        return self

    def pod_on(self, node):
        for pod in self.cluster.list("pods", self.namespace, "app.kubernetes.io/component=snapshot-agent"):
            if pod["spec"]["nodeName"] == node and "deletionTimestamp" not in pod["metadata"]:
                return pod["metadata"]["name"]
        raise Failure(f"no agent on {node}")

    def store(self):
        """Where the snapshots are, as this machine sees it."""
        claim = self.cluster.list("pvc", self.namespace)[0]["spec"]["volumeName"]
        volume = self.cluster.get("pv", claim)
        return pathlib.Path(volume["spec"]["hostPath"]["path"])

    def logs(self):
        return "".join(self.cluster.logs(pod["metadata"]["name"], self.namespace) for pod in
                       self.cluster.list("pods", self.namespace,
                                         "app.kubernetes.io/component=snapshot-agent"))

    def page(self, node, path):
        """One of the agent's pages, as something in its pod sees it."""
        pod = self.cluster.get("pod", self.pod_on(node), self.namespace)
        address = pod["status"]["podIP"]
        return self.cluster.nodes[node].run("curl", "-s", "--max-time", "5",
                                            f"http://{address}:8080{path}").stdout


def events_of(cluster, pod, namespace=NAMESPACE):
    """Reason and message of each event about a pod."""
    return [(one["reason"], one["message"]) for one in cluster.list("events", namespace)
            if one["involvedObject"]["name"] == pod]


def wait_event(cluster, pod, reason, namespace=NAMESPACE, timeout=60):
    """The message of the first event of a reason."""
    def found():
        return next((message for why, message in events_of(cluster, pod, namespace) if why == reason),
                    None)

    try:
        return machine.wait_until(found, f"event {reason} of {pod}", timeout)
    except Failure as failure:
        raise Failure(f"{failure}; there are {events_of(cluster, pod, namespace)}") from None


def wait_log(cluster, pod, part, namespace=NAMESPACE, timeout=60):
    """The log of a pod, once there is something in it."""
    text = ""

    def found():
        nonlocal text
        text = cluster.kubectl("logs", "--namespace", namespace, pod, "--all-containers",
                               check=False).stdout
        return part in text

    try:
        machine.wait_until(found, f"{part!r} in the log of {pod}", timeout)
    except Failure as failure:
        pods = cluster.get("pod", pod, namespace)
        raise Failure(f"{failure}: {text[-1500:]!r}; {json.dumps((pods or {}).get('status'))[:800]}; "
                      f"{events_of(cluster, pod, namespace)}") from None
    return text


def pod_of_job(cluster, job, namespace=NAMESPACE, timeout=30):
    def found():
        pods = cluster.list("pods", namespace, f"job-name={job}")
        return pods[0]["metadata"]["name"] if pods else None

    return machine.wait_until(found, f"the pod of job {job}", timeout)


def wait_job(cluster, job, condition="Complete", namespace=NAMESPACE, timeout=90):
    return cluster.wait_for("job", job, lambda found: any(
        one["type"] == condition and one["status"] == "True"
        for one in found.get("status", {}).get("conditions", [])), namespace, timeout)


def condition_of(pod, kind):
    for one in pod.get("status", {}).get("conditions", []):
        if one["type"] == kind:
            return one
    return None


def run_quietly(*command):
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def settle(seconds):
    """For what must not happen."""
    time.sleep(seconds)
