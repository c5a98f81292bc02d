# SPDX-License-Identifier: Apache-2.0
"""Where the programs of a cluster are: in one folder that a kit brings, or where the tools of this
tree keep what they built, or on this machine."""
import os
import pathlib
import shutil
import subprocess

from images import Unavailable

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
              "kubectl")
NETWORK_PLUGINS = ("bridge", "host-local", "portmap", "loopback")


class Programs:
    """bin: a folder that has everything (a kit), or None; containerd: which release."""

    def __init__(self, bin=None, containerd="1.6"):
        self.bin = pathlib.Path(bin).resolve() if bin else None
        self.version = containerd
        self.folders = {}

    def fetched(self, tool, name):
        """The folder that a tool of this tree has for a name."""
        if name not in self.folders:
            done = subprocess.run([TOOLS / tool, name], stdout=subprocess.PIPE, text=True,
                                  stdin=subprocess.DEVNULL, check=False, timeout=3000)
            folder, *reason = done.stdout.rstrip("\n").split("\t")[1:] or ["-", "the tool failed"]
            self.folders[name] = (folder, reason)
        folder, reason = self.folders[name]
        if folder == "-":
            raise Unavailable(f"{name}: {reason[0]}")
        return folder

    def folders_of(self, name):
        """Where a program may be, the first choice first."""
        if self.bin:
            return [self.bin]
        if name in KUBERNETES:
            return [self.fetched("fetch-kubernetes", "kubernetes")]
        if name in ("etcd", "helm", "kwok", "coredns"):
            return [self.fetched("fetch-kubernetes", name)]
        if name in ("containerd", "ctr"):
            return [self.fetched("fetch-test-runtimes", f"containerd-{self.version}")]
        return []

    def path(self, name):
        places = os.pathsep.join([*map(str, self.folders_of(name)), PLACES])
        found = shutil.which(name, path=places)
        if not found:
            raise Unavailable(f"there is no {name}; tools/install-dependencies cluster installs it")
        return found

    @property
    def containerd_major(self):
        """The format of its configuration depends on it."""
        text = subprocess.run([self.path("containerd"), "--version"], capture_output=True, text=True,
                              check=True).stdout
        for word in text.split():
            number = word.removeprefix("v").partition(".")[0]
            if number.isdigit():
                return int(number)
        raise Unavailable(f"containerd gives no version: {text.strip()}")

    @property
    def network_plugins(self):
        """The folder of CNI's plugins."""
        for folder in ([self.bin] if self.bin else []) + [pathlib.Path("/usr/lib/cni"),
                                                          pathlib.Path("/opt/cni/bin")]:
            if all((folder / name).exists() for name in NETWORK_PLUGINS):
                return folder
        raise Unavailable("there are no CNI plugins; install containernetworking-plugins")

    def environment(self, home):
        """What daemons see of this machine's settings: nothing. No proxy is asked by any."""
        first = [self.bin] if self.bin else [pathlib.Path(self.path("containerd")).parent]
        return {"PATH": os.pathsep.join([*map(str, first), PLACES]), "HOME": str(home),
                "LC_ALL": "C.UTF-8"}

    def check(self):
        """Says what is missing before anything is started."""
        for name in (*KUBERNETES, "etcd", "containerd", "ctr", "runc", "ip", "nft", "nsenter",
                     "unshare", "openssl"):
            self.path(name)
        if not self.network_plugins:
            raise Unavailable("there are no CNI plugins")
