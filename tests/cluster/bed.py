# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes cluster on this machine, as root and without Docker.

    with bed.Cluster() as cluster:
        cluster.apply(yaml_text)
        cluster.wait_for("pod", "web", lambda pod: pod["status"]["phase"] == "Running")

All of a cluster is in one folder, /var/tmp/stasis-NAME.cluster, and in control groups and namespaces
of that name; nothing is in the network of the machine, and nothing leaves the cluster. The cluster
of a test ends with the test. One that is kept (make cluster) stays until somebody takes it down.
"""
import concurrent.futures
import fcntl
import json
import os
import pathlib
import re
import secrets
import shutil
import sys

# What the beds of the container tests and these share.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "container"))

import machine  # noqa: E402
from images import Unavailable  # noqa: E402
from machine import Failure  # noqa: E402

import pictures  # noqa: E402
import settings  # noqa: E402
import volumes  # noqa: E402
from control import Control  # noqa: E402
from node import Node  # noqa: E402
from place import Stopwatch, remove_group  # noqa: E402
from programs import Programs  # noqa: E402

__all__ = ["Cluster", "Failure", "Unavailable", "clean_leftovers", "clusters"]

PARENT = pathlib.Path("/var/tmp")
KEPT = "kept"


class Cluster:
    """name: of the bed, one that nobody has by default; nodes: how many; containerd: "1.6", "1.7"
    or "2.1"; keep: it outlives this program; bin, images: folders of a kit, with which nothing is
    fetched or built (default: STASIS_CLUSTER_BIN and STASIS_CLUSTER_IMAGES)."""

    def __init__(self, name=None, nodes=2, containerd="1.6", keep=False, bin=None, images=None):
        name = name or secrets.token_hex(4)
        if not re.fullmatch(r"[a-z0-9]{1,16}", name):
            raise Unavailable(f"{name} is no name of a cluster: up to 16 of a-z and 0-9")
        self.title = name
        self.name = f"stasis-{name}.cluster"
        self.directory = pathlib.Path(os.path.realpath(PARENT), self.name)
        self.options = {"nodes": nodes, "containerd": containerd, "bin": bin or os.environ.get(
            "STASIS_CLUSTER_BIN"), "images": images or os.environ.get("STASIS_CLUSTER_IMAGES")}
        self.keep = keep
        self.owner = None
        self.prepare()

    def prepare(self):
        self.programs = Programs(self.options["bin"], self.options["containerd"])
        self.node_names = [f"n{number}" for number in range(1, self.options["nodes"] + 1)]
        self.control = Control(self)
        self.nodes = {name: Node(self, number) for number, name in enumerate(self.node_names, 1)}
        self.archives = {}
        self.seconds = None

    @classmethod
    def attach(cls, name):
        """One that is up already, of this or another program."""
        found = cls(name, keep=True)
        record = found.directory / "cluster.json"
        if not record.exists():
            raise Unavailable(f"there is no cluster {name}")
        state = json.loads(record.read_text())
        found.options = state["options"]
        found.prepare()
        found.archives, found.seconds = state["archives"], state["seconds"]
        return found

    def __enter__(self):
        return self.up()

    def __exit__(self, *_):
        self.down()

    # Up and down

    def up(self):
        if os.geteuid() != 0:
            raise Unavailable("a cluster needs root")
        clean_leftovers()
        if self.directory.exists():
            raise Unavailable(f"there is a cluster {self.title} already")
        self.programs.check()
        self.archives = pictures.brought(self.options["images"]) if self.options["images"] else {
            name: str(pictures.archive_of(name)) for name in pictures.ALWAYS}
        watch = Stopwatch()
        try:
            self.claim()
            self.start()
        except BaseException:
            self.down()
            raise
        self.seconds = round(watch.seconds, 1)
        self.save()
        return self

    def claim(self):
        self.directory.mkdir(mode=0o711)
        # An overlay (of containers) cannot have its layers on an overlay (a container's root).
        kind = machine.run("stat", "-f", "-c", "%T", self.directory).stdout.strip()
        if kind == "overlayfs":
            machine.run("mount", "-t", "tmpfs", "-o", "mode=711", self.name, self.directory)
        self.owner = open(self.directory / "owner", "w", encoding="ascii")
        fcntl.flock(self.owner, fcntl.LOCK_EX)
        settings.remember(self.directory)

    def start(self):
        self.control.up()
        for node in self.nodes.values():
            node.start()
        self.control.wait_answers()
        self.control.start_members()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(Node.join, self.nodes.values()))
        self.apply(json.dumps({"apiVersion": "v1", "kind": "List",
                               "items": volumes.initial(self.directory / "volumes")}))
        self.wait_ready()
        # A pod that comes before this is refused.
        machine.wait_until(lambda: self.get("serviceaccount", "default"), "the service account")

    def save(self):
        record = {"options": self.options, "archives": {
            name: str(path) for name, path in self.archives.items()}, "seconds": self.seconds}
        partial = self.directory / "cluster.json.partial"
        partial.write_text(json.dumps(record))
        partial.rename(self.directory / "cluster.json")
        if self.keep:
            (self.directory / KEPT).touch()
            self.write_wrappers()

    def write_wrappers(self):
        """kubectl and helm that find the cluster from outside."""
        for name in ("kubectl", "helm"):
            try:
                program = self.programs.path(name)
            except Unavailable:
                continue
            wrapper = self.directory / name
            inside = " ".join(self.control.command(program))
            wrapper.write_text(f"#!/bin/sh\nexport KUBECONFIG={self.kubeconfig}\n"
                               f'exec {inside} "$@"\n')
            wrapper.chmod(0o755)

    def down(self):
        """Removes all of it, whatever state it is in."""
        sweep(self.directory)
        if self.owner:
            self.owner.close()
            self.owner = None

    def leftovers(self):
        return machine.leftovers(self.directory)

    # Talking to it

    @property
    def kubeconfig(self):
        """Of an administrator. Its address is in the network of the control plane."""
        return self.control.kubeconfig("admin")

    def kubectl(self, *arguments, **options):
        """returncode, stdout, stderr; check=False, input="...", user="..." as wanted."""
        if "input" in options:
            options["stdin"] = None
        return self.control.kubectl(*arguments, **options)

    def helm(self, *arguments, **options):
        environment = {**self.control.environment, "KUBECONFIG": str(self.kubeconfig),
                       "HELM_CACHE_HOME": str(self.directory / "helm-cache"),
                       "HELM_CONFIG_HOME": str(self.directory / "helm-config"),
                       "HELM_DATA_HOME": str(self.directory / "helm-data")}
        return self.control.run(self.programs.path("helm"), *arguments, env=environment, **options)

    def apply(self, text, namespace="default"):
        return self.kubectl("apply", "--namespace", namespace, "-f", "-", input=text).stdout

    def delete(self, kind, name, namespace="default", wait=True):
        self.kubectl("delete", "--namespace", namespace, kind, name, "--ignore-not-found",
                     f"--wait={str(wait).lower()}", timeout=300)

    def get(self, kind, name, namespace="default"):
        """One object, or None when there is none."""
        done = self.kubectl("get", "--namespace", namespace, kind, name, "-o", "json",
                            "--ignore-not-found")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def list(self, kind, namespace="default", selector=""):
        done = self.kubectl("get", "--namespace", namespace, kind, "-o", "json",
                            f"--selector={selector}")
        return json.loads(done.stdout)["items"]

    def logs(self, pod, namespace="default", container=None, previous=False):
        options = (["--container", container] if container else []) + \
            (["--previous"] if previous else [])
        return self.kubectl("logs", "--namespace", namespace, pod, *options).stdout

    def exec(self, pod, *command, namespace="default", container=None, **options):
        words = ["--container", container] if container else []
        return self.kubectl("exec", "--namespace", namespace, pod, *words, "--", *command, **options)

    # Waiting

    def wait_for(self, kind, name, condition, namespace="default", timeout=60):
        """Until condition(object) holds; returns the object. The API server may be away meanwhile."""
        last = None

        def seen():
            nonlocal last
            try:
                last = self.get(kind, name, namespace)
            except Failure:
                return None
            return last if last is not None and condition(last) else None

        try:
            return machine.wait_until(seen, f"{kind} {name}", timeout)
        except Failure as failure:
            events = self.kubectl("get", "events", "--namespace", namespace, "--field-selector",
                                  f"involvedObject.name={name}", "-o",
                                  "custom-columns=R:.reason,M:.message", check=False).stdout
            raise Failure(f"{failure}; it says {json.dumps((last or {}).get('status'))[:1500]}; "
                          f"events: {events[-1500:]}") from None

    def wait_pod(self, name, namespace="default", timeout=60):
        """Until a pod is ready."""
        return self.wait_for("pod", name, is_ready, namespace, timeout)

    def wait_gone(self, kind, name, namespace="default", timeout=60):
        machine.wait_until(lambda: self.get(kind, name, namespace) is None,
                           f"{kind} {name} to be gone", timeout)

    def wait_ready(self, timeout=90):
        """Until all nodes are."""
        def ready():
            for node in self.nodes.values():
                node.kubelet.expect_alive()
                node.proxy.expect_alive()
            return all(map(is_ready, found := self.list("nodes"))) and \
                len(found) == len(self.nodes)

        machine.wait_until(ready, "all nodes to be Ready", timeout)

    # Its parts

    def stop_api_server(self):
        """Killed, as by a crash."""
        self.control.daemon("kube-apiserver").kill()

    def start_api_server(self):
        self.control.start_api_server()
        self.control.wait_answers()

    def load(self, image, archive=None):
        """Has an image on all nodes: one of pictures.py by name, or that in an archive, which takes the
        place of one that has its name already."""
        reference = pictures.full_name(image)
        anew = {reference} if archive is not None else set()
        if archive is None and reference not in self.archives:
            archive = pictures.archive_of(reference)
        if archive is not None:
            self.archives[reference] = str(archive)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.load(anew), self.nodes.values()))
        self.save()
        return reference

    def volume(self, name, path=None, storage="shared", modes=None, size="500Gi", node=None):
        """A persistent volume on a directory of this machine, which is returned."""
        path = path or volumes.make_directory(self.directory / "volumes", name)
        self.apply(json.dumps(volumes.persistent_volume(
            name, path, storage, modes or volumes.CLASSES[storage], size, node)))
        return pathlib.Path(path)


def is_ready(thing):
    return any(one["type"] == "Ready" and one["status"] == "True"
               for one in thing.get("status", {}).get("conditions", []))


def sweep(directory):
    """Removes all of a cluster. Its mounts and networks end with the processes in them."""
    directory = pathlib.Path(directory)
    others = [path for path in clusters() if path != directory]
    machine.end_processes(str(directory))
    for point in machine.mounts_of(str(directory)):
        machine.run("umount", "-l", point, check=False)
    remove_group(f"/{directory.name}")
    if directory.exists() and not others:
        settings.restore(directory)
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        raise Failure(f"{directory} could not be removed")


def clusters():
    """The folders of all clusters on this machine."""
    return sorted(PARENT.glob("stasis-*.cluster"))


def clean_leftovers():
    """Removes the clusters whose test is no more: the lock is there as long as the test is."""
    for directory in clusters():
        try:
            # Without the file it is one that is just being made.
            with open(directory / "owner", "r+", encoding="ascii") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not (directory / KEPT).exists():
                    sweep(directory)
        except (BlockingIOError, FileNotFoundError):
            continue  # in use, or another one was quicker
