# SPDX-License-Identifier: Apache-2.0
"""The control plane: etcd, API server, controller manager and scheduler, in a network namespace of
their own, which is also the switch that connects the nodes."""
import json
import secrets

import machine
from machine import Failure
from place import Daemon, Place

ADDRESS = "192.168.77.1"
URL = f"https://{ADDRESS}:6443"
SERVICES = "10.96.0.0/16"
DNS = "10.96.0.10"


def node_address(number):
    return f"192.168.77.{10 + number}"


def pod_range(number):
    return f"10.244.{number}.0/24"


class Control(Place):
    def __init__(self, cluster):
        self.cluster = cluster
        self.programs = cluster.programs
        directory = cluster.directory / "control"
        super().__init__(directory, f"/{cluster.name}/control",
                         self.programs.environment(directory), ["net"])
        self.certificate = directory / "certs/apiserver.crt"
        self.keys = directory / "service-accounts"
        self.tokens = directory / "tokens.csv"

    def daemon(self, name):
        return Daemon(self, name)

    def up(self):
        self.open()
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "add", "switch", "type", "bridge")
        self.run("ip", "addr", "add", f"{ADDRESS}/24", "dev", "switch")
        self.run("ip", "link", "set", "switch", "up")
        self.make_keys()
        self.start_etcd()
        self.start_api_server()
        for user in ("admin", "system:kube-controller-manager", "system:kube-scheduler",
                     "system:kube-proxy"):
            self.kubeconfig(user)

    def connect(self, number):
        """One end of a cable to a node in the switch; the other one is put in place by the node."""
        self.run("ip", "link", "set", f"node{number}", "master", "switch", "up")
        self.run("ip", "route", "replace", pod_range(number), "via", node_address(number))

    # Who may do what

    def make_keys(self):
        openssl = self.programs.path("openssl")
        machine.run(openssl, "genrsa", "-out", f"{self.keys}.key", "2048")
        machine.run(openssl, "rsa", "-in", f"{self.keys}.key", "-pubout", "-out",
                    f"{self.keys}.pub")
        users = [("admin", "system:masters")]
        users += [(f"system:{name}", "") for name in
                  ("kube-controller-manager", "kube-scheduler", "kube-proxy")]
        users += [(f"system:node:{name}", "system:nodes") for name in self.cluster.node_names]
        lines = [f'{secrets.token_hex(16)},{user},{user},"{group}"' for user, group in users]
        self.tokens.write_text("\n".join(lines) + "\n")
        self.tokens.chmod(0o600)

    def token(self, user):
        for line in self.tokens.read_text().splitlines():
            token, name = line.split(",")[:2]
            if name == user:
                return token
        raise Failure(f"there is no token of {user}")

    def kubeconfig(self, user):
        """The file with which a user of the cluster speaks to it."""
        path = self.directory / f"kubeconfig-{user.replace(':', '-')}"
        if not path.exists():
            content = {
                "apiVersion": "v1", "kind": "Config", "current-context": "here",
                "clusters": [{"name": "here", "cluster": {
                    "server": URL, "certificate-authority": str(self.certificate)}}],
                "users": [{"name": user, "user": {"token": self.token(user)}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": user}}]}
            path.write_text(json.dumps(content, indent=1))
            path.chmod(0o600)
        return path

    # Daemons

    def start_etcd(self):
        self.daemon("etcd").start(self.programs.path("etcd"), "--data-dir",
                                  self.directory / "etcd", "--unsafe-no-fsync")

    def start_api_server(self):
        self.daemon("kube-apiserver").start(
            self.programs.path("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379",
            f"--service-account-key-file={self.keys}.pub",
            f"--service-account-signing-key-file={self.keys}.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--token-auth-file={self.tokens}", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", f"--cert-dir={self.certificate.parent}",
            f"--service-cluster-ip-range={SERVICES}", "--bind-address=0.0.0.0",
            f"--advertise-address={ADDRESS}", f"--external-hostname={ADDRESS}",
            "--allow-privileged=true",
            # Names of nodes are in no DNS; and the addresses of services are not routed here, so
            # that the webhooks of a service are called by the addresses of its pods.
            "--kubelet-preferred-address-types=InternalIP", "--enable-aggregator-routing=true")

    def start_members(self):
        self.daemon("kube-controller-manager").start(
            self.programs.path("kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig('system:kube-controller-manager')}",
            f"--service-account-private-key-file={self.keys}.key",
            f"--root-ca-file={self.certificate}", "--use-service-account-credentials",
            "--leader-elect=false")
        self.daemon("kube-scheduler").start(
            self.programs.path("kube-scheduler"),
            f"--kubeconfig={self.kubeconfig('system:kube-scheduler')}", "--leader-elect=false")

    def answers(self):
        self.daemon("kube-apiserver").expect_alive()
        self.daemon("etcd").expect_alive()
        return self.certificate.exists() and self.kubectl(
            "get", "--raw", "/readyz", check=False).stdout == "ok"

    def wait_answers(self, timeout=60):
        machine.wait_until(self.answers, "the API server to be ready", timeout)

    def kubectl(self, *arguments, user="admin", **options):
        return self.run(self.programs.path("kubectl"), "--kubeconfig", self.kubeconfig(user),
                        *arguments, **options)
