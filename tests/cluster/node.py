# SPDX-License-Identifier: Apache-2.0
"""A node: containerd, kubelet and kube-proxy in namespaces of their own (network, mounts, host name),
where /run, /var/lib, /var/log and /etc are the node's. So everything has its usual path there:
/run/containerd/containerd.sock, /var/lib/kubelet, /var/log/pods."""
import json
import os
import shutil

import control
import machine
from machine import Failure
from place import Daemon, Place

PAUSE = "localhost/pause:1"
SOCKET = "/run/containerd/containerd.sock"

# Mounts that are made here are seen by no other node and not by the machine.
SETUP = """
mount --make-rshared /
mount -t overlay -o "lowerdir=/etc,upperdir={here}/etc,workdir={here}/etc.work" overlay /etc
for pair in run:/run lib:/var/lib log:/var/log; do
    mount --bind "{here}/${{pair%%:*}}" "${{pair#*:}}"
    # Else each mount below would be seen a second time, below the folder of the bed.
    mount --make-private "${{pair#*:}}"
    mount --make-shared "${{pair#*:}}"
done
echo "{name}" >/proc/sys/kernel/hostname
echo 1 >/proc/sys/net/ipv4/ip_forward
"""


class Node(Place):
    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.name = cluster.node_names[number - 1]
        self.address = control.node_address(number)
        self.programs = cluster.programs
        directory = cluster.directory / self.name
        super().__init__(directory, f"/{cluster.name}/{self.name}",
                         self.programs.environment(directory), ["net", "mount", "uts"],
                         SETUP.format(here=directory, name=self.name))
        self.containerd = Daemon(self, "containerd")
        self.kubelet = Daemon(self, "kubelet")
        self.proxy = Daemon(self, "kube-proxy")

    # Up and down

    def start(self):
        """Namespaces, network, containerd; what needs the API server follows by join()."""
        for folder in ("run", "lib", "log", "etc", "etc.work"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        self.write_files()
        self.open()
        self.connect()
        self.start_containerd()

    def join(self):
        self.wait_containerd()
        self.load()
        self.start_kubelet()
        self.start_proxy()

    def stop(self):
        """As when its power is cut: everything on it is killed; what is on disk stays."""
        self.close()
        self.cluster.control.run("ip", "link", "del", f"node{self.number}", check=False)
        shutil.rmtree(self.directory / "run", ignore_errors=True)

    def restart(self):
        self.stop()
        self.start()
        self.join()

    def connect(self):
        wire, here = f"node{self.number}", self.holder.pid
        self.cluster.control.run("ip", "link", "add", wire, "type", "veth", "peer", "name", "eth0",
                                 "netns", here)
        self.cluster.control.connect(self.number)
        for words in (("link", "set", "lo", "up"),
                      ("addr", "add", f"{self.address}/24", "dev", "eth0"),
                      ("link", "set", "eth0", "up"),
                      # Leads nowhere else; without one, the addresses of services have no route.
                      ("route", "add", "default", "via", control.ADDRESS)):
            self.run("ip", *words)
        for other in range(1, len(self.cluster.node_names) + 1):
            if other != self.number:
                self.run("ip", "route", "add", control.pod_range(other), "via",
                         control.node_address(other))

    # Files

    def write_files(self):
        etc = self.directory / "etc"
        for folder in ("containerd", "cni/net.d", "kubernetes"):
            (etc / folder).mkdir(parents=True, exist_ok=True)
        files = {
            "hostname": f"{self.name}\n", "resolv.conf": "",
            "hosts": f"127.0.0.1 localhost\n{self.address} {self.name}\n",
            "containerd/config.toml": self.containerd_configuration(),
            "cni/net.d/10-pods.conflist": json.dumps(self.pod_network(), indent=1),
            "kubernetes/kubelet.yaml": json.dumps(self.kubelet_configuration(), indent=1)}
        for name, text in files.items():
            (etc / name).unlink(missing_ok=True)
            (etc / name).write_text(text)

    def containerd_configuration(self):
        third = self.programs.containerd_major >= 2
        runtime = "io.containerd.cri.v1.runtime" if third else "io.containerd.grpc.v1.cri"
        plugins = self.programs.network_plugins
        options = f'[plugins."{runtime}".containerd.runtimes.runc'
        lines = [f"version = {3 if third else 2}", 'disabled_plugins = ["io.containerd.nri.v1.nri"]',
                 '[plugins."io.containerd.internal.v1.opt"]', '  path = "/var/lib/containerd/opt"',
                 f'[plugins."{runtime}"]',
                 # Where CAP_SYS_RESOURCE is missing, nobody may be made less likely to be killed.
                 "  restrict_oom_score_adj = true", "  disable_hugetlb_controller = true"]
        if not third:
            lines.append(f'  sandbox_image = "{PAUSE}"')
        lines += [f"{options}]", '  runtime_type = "io.containerd.runc.v2"',
                  f"{options}.options]", f'  BinaryName = "{self.programs.path("runc")}"',
                  f'[plugins."{runtime}".cni]', '  conf_dir = "/etc/cni/net.d"',
                  f'  bin_dirs = ["{plugins}"]' if third else f'  bin_dir = "{plugins}"']
        if third:
            lines += ['[plugins."io.containerd.cri.v1.images".pinned_images]',
                      f'  sandbox = "{PAUSE}"']
        return "\n".join(lines) + "\n"

    def pod_network(self):
        addresses = {"type": "host-local", "ranges": [[{"subnet": control.pod_range(self.number)}]],
                     "dataDir": "/run/cni-addresses", "routes": [{"dst": "0.0.0.0/0"}]}
        bridge = {"type": "bridge", "bridge": "pods0", "isGateway": True, "hairpinMode": True,
                  "ipMasq": False, "ipam": addresses}
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}

    def kubelet_configuration(self):
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"}, "address": self.address,
            "cgroupDriver": "cgroupfs", "cgroupRoot": self.group, "failCgroupV1": False,
            "enforceNodeAllocatable": [], "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{SOCKET}", "resolvConf": "/etc/resolv.conf",
            "clusterDNS": [control.DNS], "clusterDomain": "cluster.local",
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%",
                             "nodefs.inodesFree": "0%", "memory.available": "50Mi"}}

    # Daemons

    def start_containerd(self):
        self.containerd.start(self.programs.path("containerd"))

    def wait_containerd(self):
        def answers():
            self.containerd.expect_alive()
            return self.ctr("version", check=False).returncode == 0

        machine.wait_until(answers, f"containerd of {self.name} to answer", 60)

    def restart_containerd(self):
        """Containers go on meanwhile."""
        self.containerd.kill()
        self.start_containerd()
        self.wait_containerd()

    def start_kubelet(self):
        user = f"system:node:{self.name}"
        self.kubelet.start(self.programs.path("kubelet"), "--config=/etc/kubernetes/kubelet.yaml",
                           f"--kubeconfig={self.cluster.control.kubeconfig(user)}",
                           f"--hostname-override={self.name}", f"--node-ip={self.address}")

    def restart_kubelet(self):
        self.kubelet.kill()
        self.start_kubelet()

    def start_proxy(self):
        user = "system:kube-proxy"
        self.proxy.start(
            self.programs.path("kube-proxy"), "--proxy-mode=nftables",
            f"--kubeconfig={self.cluster.control.kubeconfig(user)}",
            f"--hostname-override={self.name}", f"--bind-address={self.address}",
            "--cluster-cidr=10.244.0.0/16", "--healthz-bind-address=127.0.0.1:10256",
            "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s")

    def ctr(self, *arguments, **options):
        return self.run(self.programs.path("ctr"), "--address", SOCKET, "--namespace", "k8s.io",
                        *arguments, **options)

    # Images

    def load(self, anew=()):
        """The images of the cluster that this node does not have yet, and those that are new again."""
        present = set(self.ctr("images", "ls", "-q").stdout.split())
        for reference, archive in self.cluster.archives.items():
            if reference not in present or reference in anew:
                self.import_image(archive)

    def import_image(self, archive):
        done = self.ctr("images", "import", os.path.abspath(archive), timeout=600)
        if "unpacking" not in done.stdout and "saved" not in done.stdout:
            raise Failure(f"{archive} holds no image: {done.stdout} {done.stderr}")
