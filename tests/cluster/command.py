#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The cluster by hand: what tools/cluster calls."""
import argparse
import os
import sys

sys.dont_write_bytecode = True
import bed  # noqa: E402
import pictures  # noqa: E402

HELP = """\
{count} nodes are Ready, {seconds} s after the start.
    {wrapper} get pods -A
    export PATH={directory}:$PATH     kubectl and helm of this cluster
    KUBECONFIG={kubeconfig}
        (its address is in the network of the cluster: {tool} enter PROGRAM...)
    {tool} load build-images/agent.tar     an image for the pods (of make images)
    {tool} down     removes all of it; further: tools/cluster --help
"""


def up(arguments):
    cluster = bed.Cluster(arguments.name, arguments.nodes, arguments.containerd, keep=True)
    if (cluster.directory / "cluster.json").exists():
        cluster = bed.Cluster.attach(arguments.name)
        print(f"cluster {arguments.name} is up already")
    else:
        cluster.up()
    print(HELP.format(count=len(cluster.nodes), seconds=cluster.seconds, directory=cluster.directory,
                      wrapper=cluster.directory / "kubectl", kubeconfig=cluster.kubeconfig,
                      tool="tools/cluster" + (f" --name {arguments.name}"
                                              if arguments.name != "dev" else "")), end="")


def down(arguments):
    bed.clean_leftovers()
    cluster = bed.Cluster(arguments.name)
    cluster.down()
    left = cluster.leftovers()
    for line in left:
        print(f"left: {line}", file=sys.stderr)
    return 1 if left else 0


def listing(_):
    for directory in bed.clusters():
        print(directory)


def enter(arguments):
    """A program in the network of the control plane, or on a node."""
    cluster = bed.Cluster.attach(arguments.name)
    place = cluster.nodes[arguments.node] if arguments.node else cluster.control
    os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
    command = place.command(*(arguments.command or ["bash"]))
    os.execvp(command[0], command)


def load(arguments):
    """A file's images by the names that they have in it, or one of the tests' own by its name."""
    cluster = bed.Cluster.attach(arguments.name)
    if arguments.image.endswith(".tar") and not os.path.exists(arguments.image):
        raise bed.Failure(f"there is no file {arguments.image}; `make images` writes some")
    if not os.path.exists(arguments.image):
        print(cluster.load(arguments.image))
        return
    for reference in pictures.references_in(arguments.image):
        print(cluster.load(reference, os.path.abspath(arguments.image)))


def restart(arguments):
    cluster = bed.Cluster.attach(arguments.name)
    cluster.nodes[arguments.node].restart()
    cluster.wait_ready()


def parse():
    parser = argparse.ArgumentParser(prog="cluster", description="A Kubernetes cluster on this "
                                     "machine, as root.")
    parser.add_argument("--name", default="dev", help="of the cluster (default: dev)")
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("up", help="start one that stays")
    one.add_argument("--nodes", type=int, default=2)
    one.add_argument("--containerd", choices=("1.6", "1.7", "2.1"), default="1.6")
    one.set_defaults(run=up)
    commands.add_parser("down", help="remove all of it").set_defaults(run=down)
    commands.add_parser("list", help="the folders of all clusters").set_defaults(run=listing)
    one = commands.add_parser("enter", help="run a program in its network, or on a node")
    one.add_argument("--node")
    one.add_argument("command", nargs=argparse.REMAINDER)
    one.set_defaults(run=enter)
    one = commands.add_parser("load", help="bring an image to all nodes")
    one.add_argument("image", help="a file (docker-archive or OCI), or the name of one of the tests' own: "
                     + ", ".join([*pictures.ALWAYS, *pictures.ON_DEMAND]))
    one.set_defaults(run=load)
    one = commands.add_parser("restart", help="cut the power of a node and start it again")
    one.add_argument("node")
    one.set_defaults(run=restart)
    return parser.parse_args()


def main():
    arguments = parse()
    try:
        return arguments.run(arguments)
    except (bed.Failure, bed.Unavailable) as problem:
        sys.exit(f"cluster: {problem}")


if __name__ == "__main__":
    sys.exit(main())
