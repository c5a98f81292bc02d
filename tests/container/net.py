# SPDX-License-Identifier: Apache-2.0
"""Network namespaces that stand for nodes, and what a test asks over the network."""
import pathlib

import machine


class Node:
    """A network namespace of its own. `ip netns exec` hides /sys/fs/cgroup, nsenter does not."""

    def __init__(self, name):
        self.name = name
        self.path = pathlib.Path("/run/netns", name)
        machine.run("ip", "netns", "add", name)
        machine.run("ip", "-n", name, "link", "set", "lo", "up")
        self.run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def command(self, *command):
        return ["nsenter", f"--net={self.path}", *command]

    def run(self, *command, **options):
        return machine.run(*self.command(*command), **options)

    def add_address(self, device, address):
        machine.run("ip", "-n", self.name, "addr", "add", address, "dev", device)
        machine.run("ip", "-n", self.name, "link", "set", device, "up")

    def add_route(self, target, via):
        machine.run("ip", "-n", self.name, "route", "add", target, "via", via)

    def remove(self):
        machine.run("ip", "netns", "del", self.name, check=False)


def link(first, second, addresses, device="wire"):
    """A cable between two nodes; addresses: one with its prefix length for each end."""
    machine.run("ip", "link", "add", device, "netns", first.name, "type", "veth", "peer", "name",
                device, "netns", second.name)
    for node, address in zip((first, second), addresses):
        node.add_address(device, address)


FETCH = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.stdout.buffer.write(opener.open(sys.argv[1], timeout=float(sys.argv[2])).read())
"""


def http_get(url, node=None, pid=None, timeout=10):
    """The body of a page, as seen from a node or from the network of a process."""
    command = ["python3", "-c", FETCH, url, str(timeout)]
    if node is not None:
        return node.run(*command).stdout
    if pid is not None:
        return machine.run("nsenter", f"--net=/proc/{pid}/ns/net", *command).stdout
    return machine.run(*command).stdout
