#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether the bed of the container tests is what it says: every runtime starts every kind of
container, and nothing is left of it, after a crash neither. What it prints is TAP."""
import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import bed  # noqa: E402
import compare  # noqa: E402
import machine  # noqa: E402
import net  # noqa: E402
from bed import Failure, Unavailable  # noqa: E402

USUAL_CAPABILITIES = "00000000a80425fb"


def expect(condition, what):
    if not condition:
        raise Failure(f"expected {what}")


def process_status(pid):
    return dict(line.split(":\t", 1) for line in machine.read(f"/proc/{pid}/status").splitlines()
                if ":\t" in line)


def expect_usual_shape(container):
    """As Kubernetes makes them: few capabilities, a filter, namespaces of its own."""
    status = process_status(container.pid)
    expect(status["CapBnd"] == USUAL_CAPABILITIES, f"usual capabilities, seen {status['CapBnd']}")
    expect(status["Seccomp"].strip() == "2", "a seccomp filter")
    for name in ("pid", "mnt", "uts", "ipc", "net"):
        own, ours = (os.readlink(f"/proc/{pid}/ns/{name}") for pid in (container.pid, "self"))
        expect(own != ours, f"a namespace of its own: {name}")
    mounts = machine.read(f"/proc/{container.pid}/mountinfo")
    expect(" /proc/keys " in mounts and " /proc/sys ro," in mounts, "masked paths")


def test_containers(here, version, oci_runtime):
    node = here.node(f"{version}-{oci_runtime}".replace(".", ""))
    containerd = here.containerd(version, oci_runtime, node=node)
    source = here.directory / f"shared-{node.name}"
    source.mkdir()
    (source / "word").write_text("hello\n")
    container = containerd.run(
        "busybox", "one", ["sh", "-c", "cat /shared/word; id -u; echo $WORD; exec sleep 1000"],
        mounts=[(source, "/shared", "rbind,ro")], tmpfs=["/scratch"], env={"WORD": "said"},
        user="1000:1000", read_only=True)
    container.wait_text("hello\n1000\nsaid\n")
    expect_usual_shape(container)
    expect(os.readlink(f"/proc/{container.pid}/fd/1").startswith("pipe:"), "a pipe of the shim")
    expect(container.exec("touch", "/scratch/new", check=False).returncode == 0, "a tmpfs")
    expect(container.exec("touch", "/new", check=False).returncode != 0, "a root that is read-only")
    expect(container.status() == "RUNNING", "a running container")
    # Containers outlive their containerd.
    containerd.stop()
    expect(container.alive(), "the container to go on")
    containerd.start()
    expect(container.status() == "RUNNING", "a running container after a restart")
    container.delete()
    expect(container.status() == "GONE", "a container that is gone")
    bare = containerd.run("distroless", "two", ["/bin/workload", "--list"])
    bare.wait_text("heap-stack")
    terminal = containerd.run("busybox", "three", terminal=True, command=[
        "sh", "-c", "while sleep 0.1; do tty; done"])
    terminal.wait_text("/dev/")


def test_pods(here, version, oci_runtime):
    node = here.node(f"pods-{version}-{oci_runtime}".replace(".", ""))
    containerd = here.containerd(version, oci_runtime, node=node)
    pod = containerd.cri.run_pod("web")
    server = pod.run("busybox", "main", [
        "sh", "-c", "hostname >/home/index.html; echo ready; exec httpd -f -p 8080 -h /home"])
    server.wait_text("ready")
    expect_usual_shape(server)
    page = machine.wait_until(lambda: fetch(f"http://{pod.ip}:8080/", node), "a page")
    expect(page == "web\n", f"the host name of the pod, seen {page!r}")
    expect(server.exec("id", "-u").stdout == "0\n", "an answer to id")
    beside = pod.run("busybox", "beside", [
        "sh", "-c", "wget -q -O - http://127.0.0.1:8080/; exec sleep 1000"], user="1000")
    beside.wait_text("web\n")
    server.stop()
    expect(server.status() == "EXITED", f"a stopped container, seen {server.status()}")
    server.delete()
    again = pod.run("busybox", "main", ["sleep", "1000"], attempt=1)
    expect(again.status() == "RUNNING", "a second attempt that runs")
    pod.delete()
    expect(not beside.alive(), "the pod's containers to end with it")


def test_userns(here, version, oci_runtime):
    containerd = here.containerd(version, oci_runtime)
    container = containerd.run("busybox", "users", ["sleep", "1000"], userns=True)
    numbers = machine.read(f"/proc/{container.pid}/uid_map").split()
    expect(numbers == ["0", "100000", "65536"], f"mapped users, seen {numbers}")


def test_sixty_layers(here, version, oci_runtime):
    containerd = here.containerd(version, oci_runtime, root_length=bed.LONG_ROOT)
    container = containerd.run("sixty-layers", "layers", ["sleep", "1000"])
    line = machine.read(f"/proc/{container.pid}/mountinfo").splitlines()[0]
    lower = re.search(r"lowerdir=([^, ]*)", line)
    expect(lower and lower[1].count(":") == 59, f"sixty layers, seen {line[:300]}")
    expect(len(line) > 4095, f"a line of more than 4095 characters, seen {len(line)}")
    expect(container.exec("cat", "/layers/last").stdout == "59\n", "the last layer's file")


def fetch(url, node):
    try:
        return net.http_get(url, node=node)
    except Failure:
        return None


def test_image(here, containerd, node, image):
    options = {"netns": node.path}
    if image == "python":
        container = containerd.run(image, image, ["python3", "-m", "http.server", "8000"], **options)
        expect("Directory listing" in machine.wait_until(
            lambda: fetch("http://127.0.0.1:8000/", node), "a page"), "a list of files")
    elif image == "nginx":
        container = containerd.run(image, image, **options)
        expect("nginx" in machine.wait_until(lambda: fetch("http://127.0.0.1/", node), "a page"),
               "the first page of nginx")
    elif image == "redis":
        container = containerd.run(image, image, **options)
        machine.wait_until(lambda: container.exec("redis-cli", "ping", check=False)
                           .stdout == "PONG\n", "an answer of redis")
    else:
        container = containerd.run(image, image, **options)
        machine.wait_until(lambda: container.exec(
            "psql", "-h", "/tmp", "-Atc", "select 6 * 7", user="postgres", check=False).stdout == "42\n",
            f"an answer of PostgreSQL, which said {container.text()!r}")
    container.delete()


def test_two_nodes(here):
    nodes = [here.node(name) for name in ("first", "second")]
    net.link(*nodes, ["192.168.77.1/24", "192.168.77.2/24"])
    net_two = here.containerd("1.7", "runc", node=nodes[1], subnet="10.244.2.0/24")
    server = net_two.run("busybox", "web", [
        "sh", "-c", "echo far >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"],
        netns=nodes[1].path)
    page = machine.wait_until(lambda: fetch("http://192.168.77.2:8080/", nodes[0]), "a page")
    expect(page == "far\n", f"the page of the other node, seen {page!r}")
    expect(net.http_get("http://127.0.0.1:8080/", pid=server.pid) == "far\n", "the same by process")


def test_podman(here, oci_runtime):
    podman = here.podman(oci_runtime)
    container = podman.run("busybox", "one", ["sh", "-c", "id -u; exec sleep 1000"],
                           user="1000:1000", tmpfs=["/scratch"], hostname="house")
    container.wait_text("1000")
    expect(container.exec("hostname").stdout == "house\n", "a host name")
    expect((container.root / "bin/busybox").exists(), "a mounted root")
    expect((container.bundle / "config.json").exists(), "a bundle")
    container.stop()
    expect(container.status() == "exited", f"a stopped container, seen {container.status()}")
    container.delete()
    mapped = podman.run("busybox", "two", ["sleep", "1000"], userns=True)
    expect(machine.read(f"/proc/{mapped.pid}/uid_map").split()[1] == "100000", "mapped users")


def test_compare(here):
    trees = [here.directory / name for name in ("tree1", "tree2")]
    for tree in trees:
        (tree / "folder").mkdir(parents=True)
        (tree / "folder/file").write_text("text")
        os.link(tree / "folder/file", tree / "twin")
        os.symlink("folder", tree / "link")
        os.mkfifo(tree / "pipe")
        for name in ("folder/file", "pipe", "link", "folder", "."):
            os.utime(tree / name, ns=(0, 5), follow_symlinks=False)
    expect(compare.compare_trees(*trees) == [], f"no difference: {compare.compare_trees(*trees)}")
    changes = [
        ("content", lambda tree: (tree / "twin").write_text("Text")),
        ("mode", lambda tree: (tree / "pipe").chmod(0o600)),
        ("owner", lambda tree: os.lchown(tree / "link", 1, 1)),
        ("attributes", lambda tree: os.setxattr(tree / "twin", "user.word", b"1")),
        ("times", lambda tree: os.utime(tree / "folder", ns=(0, 6))),
        ("links", lambda tree: ((tree / "twin").unlink(), (tree / "twin").write_text("Text"))),
        ("only in the second", lambda tree: (tree / "more").write_text("")),
    ]
    for word, change in changes:
        change(trees[1])
        seen = compare.compare_trees(*trees)
        expect(any(word in line for line in seen), f"a difference of {word}, seen {seen}")


def crash(workload):
    """A test that is killed in the middle."""
    here = bed.Bed(workload)
    node = here.node("crash")
    containerd = here.containerd("1.7", "runc", node=node)
    containerd.run("busybox", "one", ["sleep", "1000"])
    here.podman("runc").run("busybox", "two", ["sleep", "1000"])
    try:
        containerd.cri.run_pod("three").run("busybox", "main", ["sleep", "1000"])
    except Unavailable:
        pass
    print(here.directory, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def test_crash(workload):
    done = subprocess.run([sys.executable, __file__, "--crash", "--workload", workload],
                          capture_output=True, text=True, timeout=120, check=False)
    expect(done.returncode == -signal.SIGKILL, f"a crash, seen {done.returncode}: {done.stderr}")
    directory = done.stdout.strip()
    before = machine.leftovers(directory)
    expect(len(before) > 10, f"a lot to be left by the crash, seen {before}")
    with bed.Bed(workload):
        left = machine.leftovers(directory)
    expect(not left, f"nothing left of a crashed test, seen {left}")


def test_nothing_left(directory):
    expect(not (left := machine.leftovers(directory)), f"nothing left behind, seen {left}")


class Tap:
    def __init__(self, count):
        self.number = 0
        self.failed = 0
        print(f"1..{count}", flush=True)

    def run(self, name, test, *arguments):
        self.number += 1
        start, directive, problem = time.monotonic(), "", None
        try:
            test(*arguments)
        except Unavailable as reason:
            directive = f" # SKIP {reason}"
        except Exception as error:  # a test that breaks has not passed, and the others go on
            problem = f"{type(error).__name__}: {error}"
        self.failed += problem is not None
        print(f"{'ok' if problem is None else 'not ok'} {self.number} - {name}{directive}")
        for line in (problem or "").splitlines():
            print(f"#   {line}")
        print(f"#   {time.monotonic() - start:.1f} s", flush=True)


def all_tests(here):
    pairs = [(version, runtime) for version in bed.VERSIONS for runtime in bed.OCI_RUNTIMES]
    for version, runtime in pairs:
        name = f"containerd {version} with {runtime}"
        yield name, test_containers, here, version, runtime
        yield f"{name}: pods", test_pods, here, version, runtime
        if runtime == "runc" or version == "2.1":  # see Containerd.run()
            yield f"{name}: user namespace", test_userns, here, version, runtime
    for version in bed.VERSIONS:
        yield f"sixty layers in containerd {version}", test_sixty_layers, here, version, "runc"
    for runtime in bed.OCI_RUNTIMES:
        yield f"podman with {runtime}", test_podman, here, runtime
    yield "two nodes", test_two_nodes, here
    yield "trees are compared", test_compare, here


def run_all(workload):
    with bed.Bed(workload) as here:
        tests = list(all_tests(here))
        kinds = ("python", "nginx", "redis", "postgresql")
        tap = Tap(len(tests) + len(kinds) + 2)
        for test in tests:
            tap.run(*test)
        node = here.node("images")
        containerd = None
        for kind in kinds:
            def test_one(kind=kind):
                nonlocal containerd
                containerd = containerd or here.containerd("1.6", "runc", node=node)
                test_image(here, containerd, node, kind)

            tap.run(f"image {kind}", test_one)
    tap.run("nothing is left", test_nothing_left, here.directory)
    tap.run("nothing is left of a crashed test", test_crash, workload)
    return tap.failed


def main():
    build = pathlib.Path(__file__).resolve().parents[2] / "build"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", default=str(build / "tests/root/workloads/workload-static"))
    parser.add_argument("--crash", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.crash:
        crash(arguments.workload)
    if os.geteuid() != 0:
        print("1..0 # SKIP containers need root")
        return 0
    return 1 if run_all(arguments.workload) else 0


if __name__ == "__main__":
    sys.exit(main())
