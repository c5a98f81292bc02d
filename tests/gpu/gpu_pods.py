# SPDX-License-Identifier: Apache-2.0
"""A cluster of one node whose pods get GPUs, from a kit: for cluster.py."""
import contextlib
import ctypes
import glob
import json
import os
import pathlib
import re
import shutil
import stat
import sys

import bed as clusters
import harness
import images
import place
import product
import volumes
from machine import Failure, wait_until

HERE = pathlib.Path(__file__).resolve().parent
NAMESPACE = product.NAMESPACE
IMAGE = "localhost/gpu:1"
CONTROL = "/snapshot-control"
LIBRARIES = "/gpu-libraries"
PROFILE = "profiles/block-iouring.json"
KEPT_VARIABLES = ("LD_LIBRARY_PATH", "PATH", "CUDA_HOME")


class Gpu:
    """What the machine has: the driver's libraries, and device nodes."""

    python = sys.executable
    share = None
    tells = True  # who computes on it

    def __init__(self):
        self.each = sorted(path for path in glob.glob("/dev/nvidia[0-9]*"))
        self.together = [path for path in ("/dev/nvidiactl", "/dev/nvidia-uvm",
                                           "/dev/nvidia-uvm-tools") if os.path.exists(path)]
        self.libraries = self.find_libraries()
        self.environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}

    @staticmethod
    def find_libraries():
        """The folder of the libcuda.so.1 that programs here load."""
        ctypes.CDLL("libcuda.so.1")
        with open("/proc/self/maps", encoding="ascii") as maps:
            found = re.search(r"(/\S+)/libcuda\.so", maps.read())
        if not found or not os.path.exists(f"{found[1]}/libcuda.so.1"):
            raise Failure(f"libcuda.so.1 is not beside what it loads, {found and found[1]}")
        return pathlib.Path(found[1])


class StandIn:
    """tests/lib/fake-cuda of a build, and a device node that CRIU can't save either."""

    python = "/usr/bin/python3"
    tells = False

    def __init__(self, work, build, count):
        self.libraries = self.share = work / "share"
        self.share.mkdir()
        for path in (build / "tests/lib/fake-cuda").glob("lib*.so*"):
            if path.is_file():
                shutil.copy(path, self.share, follow_symlinks=False)
        self.each, self.together = [str(work / f"nvidia{number}") for number in range(count)], []
        for node in self.each:
            os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
        self.environment = {"LD_LIBRARY_PATH": LIBRARIES, "PATH": "/usr/bin:/bin"}


def links_below(folder):
    """Links of a folder, for an image."""
    return [(str(path).lstrip("/"), os.readlink(path)) for path in pathlib.Path(folder).glob("*")
            if path.is_symlink()]


class Bed:
    def __init__(self, kit, store, gpu, model, work):
        self.kit, self.store, self.gpu, self.model, self.work = kit, store, gpu, model, work
        self.cluster = None
        self.seccomp = {"type": "Localhost", "localhostProfile": PROFILE}
        self.binds = [path for path in ("/usr", "/opt", "/lib", "/lib64", "/usr/local/nvidia")
                      if os.path.isdir(path) and not os.path.islink(path)]

    # The cluster and what is in it

    def up(self):
        folder = self.work / "images"
        folder.mkdir()
        for path in (self.kit / "images").glob("*.tar"):
            (folder / path.name).symlink_to(path)
        self.write_image(folder / "gpu.tar")
        self.cluster = clusters.Cluster(nodes=1, bin=str(self.kit / "bin"), images=str(folder))
        self.cluster.up()

    def close(self):
        if self.cluster is not None:
            self.cluster.down()
            self.cluster = None

    def write_image(self, output):
        """Places to mount the machine's folders on, the machine's links, and our programs."""
        entries = images.skeleton()
        entries = [entry for entry in entries if entry[0] != "bin"]
        entries += [(name, None) for name in ("usr", "opt", "server", "stasis", "etc/alternatives",
                                              LIBRARIES[1:], CONTROL[1:])]
        for name in ("bin", "sbin", "lib", "lib64", "lib32"):
            if os.path.islink("/" + name):
                entries.append((name, os.readlink("/" + name)))
            elif os.path.isdir("/" + name):
                entries.append((name, None))
        entries += links_below("/etc/alternatives")
        entries += [(folder[1:], None) for _, _, folder in self.model.folders]
        entries += [(f"server/{name}", (HERE / name).read_bytes()) for name in self.model.programs]
        entries.append(("etc/ld.so.cache", pathlib.Path("/etc/ld.so.cache").read_bytes()))
        # Programs are those in a folder bin, for tar_of.
        entries += [("stasis/bin", None), ("stasis/bin/restore-entrypoint",
                    (self.kit / "libexec/restore-entrypoint").read_bytes()),
                    ("stasis/restore-entrypoint", "bin/restore-entrypoint")]
        recipe = images.Recipe([images.tar_of(entries)], ["/usr/bin/sleep", "infinity"])
        images.write_archive(recipe, IMAGE, output)

    def start_plugin(self):
        node = self.cluster.nodes["n1"]
        place.Daemon(node, "device-plugin").start(
            self.kit / "bin/device-plugin", "-each", ",".join(self.gpu.each), "-with",
            ",".join(self.gpu.together))
        found = self.cluster.wait_for("node", "n1", lambda one: int(
            one["status"]["allocatable"].get("nvidia.com/gpu", 0)) == len(self.gpu.each))
        return found["status"]["allocatable"]["nvidia.com/gpu"]

    def install(self):
        cluster = self.cluster
        cluster.volume("fast-1", self.store, storage="fast", modes=volumes.CLASSES["shared"])
        cluster.kubectl("create", "namespace", NAMESPACE)
        text = (self.kit / "agent.yaml").read_text()
        text = text.replace("/FOLDER-OF-THE-DRIVER", str(self.gpu.libraries))
        cluster.apply(text, NAMESPACE)
        product.Product(cluster, "snapshot-agent", NAMESPACE).wait()
        wait_until(lambda: cluster.get("serviceaccount", "default", NAMESPACE), "an account")

    # What it is asked for

    def server_command(self):
        return self.model.command(self.gpu.python)

    def folders(self):
        """What pods see of the machine, read-only: (name, path here, path there)."""
        return [*((f"host-{number}", path, path) for number, path in enumerate(self.binds)),
                *self.model.folders, *([("share", self.gpu.share, LIBRARIES)] if self.gpu.share else [])]

    def container(self, command, probe):
        mounts = [{"name": name, "mountPath": there, "readOnly": True}
                  for name, _, there in self.folders()]
        mounts.append({"name": "snapshot-control", "mountPath": CONTROL, "subPath": "main"})
        env = {**self.gpu.environment, "HOME": "/tmp", "HF_HUB_OFFLINE": "1",
               "SNAPSHOT_CONTROL_DIR": CONTROL}
        made = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": command,
                "env": [{"name": key, "value": value} for key, value in env.items()],
                "volumeMounts": mounts, "resources": {"limits": {"nvidia.com/gpu": "1"}}}
        if probe:
            made["readinessProbe"] = {"exec": {"command": ["/usr/bin/cat", f"{CONTROL}/ready-for-snapshot"]},
                                      "periodSeconds": 1}
        return made

    def spec(self, command, probe):
        made = [{"name": name, "hostPath": {"path": str(path), "type": "Directory"}}
                for name, path, _ in self.folders()]
        made.append({"name": "snapshot-control", "emptyDir": {}})
        return {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "volumes": made,
                "securityContext": {"seccompProfile": self.seccomp},
                "containers": [self.container(command, probe)]}

    @staticmethod
    def labels(kind, snapshot):
        return {f"nvidia.com/snapshot-is-{kind}": "true", "nvidia.com/snapshot-checkpoint-id": snapshot,
                "nvidia.com/snapshot-checkpoint-hash": snapshot}

    def job(self, name, snapshot):
        template = {"metadata": {"labels": self.labels("checkpoint-source", snapshot)},
                    "spec": self.spec(self.server_command(), True)}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
                "spec": {"backoffLimit": 0, "template": template}}

    def pod(self, name, snapshot, entry=None):
        """entry: what waits in the place of the program; by default a sleep, as an operator's."""
        command = [*entry, *self.server_command()] if entry else ["/usr/bin/sleep", "infinity"]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": name, "labels": self.labels("restore-target", snapshot)},
            "spec": self.spec(command, False)}

    def apply(self, thing):
        self.cluster.apply(json.dumps(thing), NAMESPACE)

    # What is seen of it

    def pod_of_job(self, job):
        return product.pod_of_job(self.cluster, job)

    def wait_job(self, job):
        return product.wait_job(self.cluster, job)

    def events(self, pod):
        return [f"{reason}: {text}" for reason, text in product.events_of(self.cluster, pod)]

    def ended(self, pod):
        found = self.cluster.get("pod", pod, NAMESPACE)
        return found and found["status"]["phase"] in ("Failed", "Succeeded")

    def pid_of(self, pod):
        identity = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
        lines = self.cluster.nodes["n1"].ctr("tasks", "ls").stdout.splitlines()
        pid, = [int(line.split()[1]) for line in lines if line.split()[0] == identity]
        return pid

    def gpus_of(self, pid):
        """Nodes of the GPUs that a container has."""
        return {os.path.basename(node) for node in self.gpu.each if os.path.exists(f"/proc/{pid}/root{node}")}

    @staticmethod
    def gpus_used_by(pid):
        """What the driver says of a container's processes; nothing without one."""
        with contextlib.suppress(OSError, harness.Failure):
            tree = set(map(str, harness.process_tree(pid)))
            lines = harness.nvidia_smi("--query-compute-apps=pid,gpu_uuid", "--format=csv,noheader").splitlines()
            return {uuid.strip() for user, uuid in (line.split(",") for line in lines) if user.strip() in tree}
        return set()

    def is_unprivileged(self, name):
        pod = self.cluster.get("pod", name, NAMESPACE)
        # Of the default set of a container nothing lets it see the host.
        if "running" in pod["status"]["containerStatuses"][0]["state"]:
            status = pathlib.Path(f"/proc/{self.pid_of(pod)}/status").read_text()
            mask = int(re.search(r"CapBnd:\s*(\w+)", status)[1], 16)
            return mask & (1 << 21) == 0  # CAP_SYS_ADMIN
        return not pod["spec"]["containers"][0].get("securityContext")

    def agent(self):
        return product.Product(self.cluster, "snapshot-agent", NAMESPACE).pod_on("n1")

    def agent_memory(self):
        """What was charged to the agent's container at most: operations are not among it."""
        pid = self.pid_of(self.cluster.get("pod", self.agent(), NAMESPACE))
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, kinds, group = line.split(":", 2)
            for path in (f"/sys/fs/cgroup{group}/memory.peak",
                         f"/sys/fs/cgroup/memory{group}/memory.max_usage_in_bytes"):
                if kinds in ("", "memory") and os.path.exists(path):
                    return f"{int(pathlib.Path(path).read_text()) >> 20} MiB"
        return "unknown"

    def page(self, path):
        """One of the agent's pages."""
        address = self.cluster.get("pod", self.agent(), NAMESPACE)["status"]["podIP"]
        return self.cluster.nodes["n1"].run(sys.executable, "-c", (
            "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1], timeout=5)"
            ".read().decode())"), f"http://{address}:8080{path}").stdout
