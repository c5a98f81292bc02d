#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Finds containers of real runtimes: containerd by CRI, and ctr, runc, crun by their files. Needs
root. Prints TAP.

runtimes.py FIND-CONTAINER

Each containerd is a private one, below a temporary directory: that of the machine, and a second one
(2.1, which has events) when tools/fetch-test-runtimes can make it: containerd,
containerd-shim-runc-v2 and ctr.
"""
import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

sys.dont_write_bytecode = True
from bed import runtime_folder  # noqa: E402
from images import Unavailable  # noqa: E402
from tap import (Finder, Skip, contains, decode, encode, encode_map, equal, find_once,  # noqa: E402
                 frame, run_all, test)

TOOL = str(pathlib.Path(sys.argv[1]).resolve())
NODE, OWN = 2, 1  # namespace modes: that of the machine, one for the container
BUSYBOX = "/bin/busybox"


def wait_for(what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what.__doc__ or what}")


def write_image(path, name, command):
    """A docker-archive with busybox as its only file."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in ("bin", "proc", "sys", "dev", "etc", "tmp"):
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        info = tarfile.TarInfo("bin/busybox")
        data = pathlib.Path(BUSYBOX).read_bytes()
        info.size, info.mode = len(data), 0o755
        tar.addfile(info, io.BytesIO(data))
    layer = layer.getvalue()
    config = json.dumps({
        "architecture": "amd64", "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }).encode()
    digest = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": digest + ".json", "RepoTags": [name], "Layers": ["layer/layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        for entry, content in ((digest + ".json", config), ("layer/layer.tar", layer),
                               ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(entry)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


class Containerd:
    """A private containerd of the binaries in `binaries` (None: of the machine)."""

    def __init__(self, directory, binaries):
        self.directory = directory
        self.path = (binaries + ":" if binaries else "") + "/usr/sbin:/usr/bin:/sbin:/bin"
        self.environment = {**os.environ, "PATH": self.path}
        self.socket = os.path.join(directory, "containerd.sock")
        self.state = os.path.join(directory, "state")
        binary = shutil.which("containerd", path=self.path)
        if os.geteuid() != 0:
            raise Skip("root is needed")
        if not binary or not os.path.exists(BUSYBOX):
            raise Skip("containerd or busybox is not here")
        os.makedirs(directory)
        self.write_config(subprocess.run([binary, "--version"], capture_output=True, text=True,
                                         check=True).stdout)
        self.log = open(os.path.join(directory, "log"), "wb")
        self.process = subprocess.Popen(
            [binary, "-c", os.path.join(directory, "config.toml")], stdout=self.log,
            stderr=self.log, env=self.environment, start_new_session=True)
        self.pods = []
        wait_for(self.is_ready)
        for name, command in (("localhost/pause:1", ["/bin/busybox", "sleep", "100000"]),
                              ("localhost/work:1", ["/bin/busybox", "sleep", "100001"])):
            archive = os.path.join(directory, "image.tar")
            write_image(archive, name, command)
            self.ctr("-n", "k8s.io", "images", "import", archive)

    def write_config(self, version):
        common = f"""root = "{self.directory}/root"
state = "{self.state}"
[grpc]
  address = "{self.socket}"
[ttrpc]
  address = "{self.socket}.ttrpc"
"""
        cri = f"""  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  CNI
    bin_dir = "/usr/lib/cni"
    conf_dir = "{self.directory}/cni"
"""
        if " v2." in version or " 2." in version:
            text = ("version = 3\n" + common + "[plugins.'io.containerd.cri.v1.runtime']\n" +
                    cri.replace("CNI", "[plugins.'io.containerd.cri.v1.runtime'.cni]") +
                    "[plugins.'io.containerd.cri.v1.images'.pinned_images]\n"
                    "  sandbox = 'localhost/pause:1'\n")
        else:
            text = ("version = 2\n" + common + "[plugins.\"io.containerd.grpc.v1.cri\"]\n"
                    "  sandbox_image = \"localhost/pause:1\"\n" +
                    cri.replace("CNI", "[plugins.\"io.containerd.grpc.v1.cri\".cni]"))
        pathlib.Path(self.directory, "config.toml").write_text(text, encoding="utf-8")

    def is_ready(self):
        """containerd"""
        if self.process.poll() is not None:
            raise AssertionError(pathlib.Path(self.log.name).read_text(encoding="utf-8")[-2000:])
        with Finder(TOOL, "--cri", "--endpoint", self.socket, "--timeout", "2000") as finder:
            try:
                return "version" in finder.ask("version")
            except (BrokenPipeError, AssertionError, OSError):
                return False

    def ctr(self, *arguments):
        result = subprocess.run(["ctr", "-a", self.socket, *arguments], env=self.environment,
                                capture_output=True, text=True, timeout=60, check=False)
        if result.returncode:
            raise AssertionError(f"ctr {arguments}: {result.stderr}")
        return result.stdout

    def call(self, method, message):
        """A call of CRI by curl; what it prints is the one frame."""
        headers = os.path.join(self.directory, "headers")
        result = subprocess.run(
            ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", self.socket, "-D", headers,
             "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-",
             "http://localhost/runtime.v1.RuntimeService/" + method], input=frame(encode(message)),
            capture_output=True, timeout=60, check=True)
        if len(result.stdout) < 5:
            raise AssertionError(method + ": " + pathlib.Path(headers).read_text())
        return decode(result.stdout[5:])

    def run_pod(self, name, start=True):
        """A pod with one container "main"; the ids of both."""
        config = {1: {1: name, 2: "uid-" + name, 3: "space"}, 3: self.directory,
                  8: {2: {1: {1: NODE, 2: OWN}}}}
        pod = self.call("RunPodSandbox", {1: config})[1][0].decode()
        self.pods.append(pod)
        container = self.call("CreateContainer", {
            1: pod, 3: config,
            2: {1: {1: "main"}, 2: {1: "localhost/work:1"}, 9: encode_map({"app": name}),
                10: encode_map({"note": "x"}), 11: name + ".log",
                15: {2: {3: {1: NODE, 2: OWN}}}}})[1][0].decode()
        if start:
            self.call("StartContainer", {1: container})
        return pod, container

    def finder(self):
        return Finder(TOOL, "--cri", "--endpoint", self.socket)

    def stop(self):
        for pod in self.pods:
            for method in ("StopPodSandbox", "RemovePodSandbox"):
                try:
                    self.call(method, {1: pod})
                except (AssertionError, subprocess.SubprocessError):
                    pass
        for file in pathlib.Path(self.state).glob("io.containerd.runtime.v2.task/*/*/init.pid"):
            try:
                os.kill(int(file.read_text()), signal.SIGKILL)
            except (ValueError, ProcessLookupError):
                pass
        self.process.terminate()
        self.process.wait(timeout=30)
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (directory / "cmdline").read_bytes()
            except OSError:
                continue
            if b"containerd-shim" in command and self.socket.encode() in command:
                os.kill(int(directory.name), signal.SIGKILL)
        for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(self.directory + "/"):
                subprocess.run(["umount", "-l", line.split()[1]], check=False)
        self.log.close()


class Bed:
    def __init__(self, directory):
        self.directory, self.own = directory, {}

    def containerd(self, kind):
        if kind not in self.own:
            binaries = None
            if kind == "new":
                try:
                    binaries = runtime_folder("containerd-2.1")
                except Unavailable as reason:
                    raise Skip(str(reason)) from reason
            self.own[kind] = Containerd(os.path.join(self.directory, kind), binaries)
        return self.own[kind]

    def stop(self):
        for one in self.own.values():
            one.stop()


def check_pod(bed, kind):
    """All of a container is found by CRI and by files, and both agree."""
    daemon = bed.containerd(kind)
    pod, container = daemon.run_pod("one-" + kind)
    with daemon.finder() as finder:
        contains(finder.ask("version")["version"], "containerd ")
        found = finder.ask("find " + container)
        wanted = {"id": container, "name": "main", "pod": "one-" + kind, "namespace": "space",
                  "uid": "uid-one-" + kind, "sandbox": pod, "state": "running",
                  "image": "localhost/work:1", "labels": {"app": "one-" + kind},
                  "annotations": {"note": "x"}, "addresses": []}
        equal({key: found.get(key) for key in wanted}, wanted, str(found))
        contains(found["digest"], "sha256:")
        contains(pathlib.Path(f"/proc/{found['pid']}/cmdline").read_text(), "100001")
        equal(found["spec"]["directory"], "/")
        equal(found["spec"]["PATH"], "/bin")
        equal(found["spec"]["own_pids"], True)
        contains(found["spec"]["cgroup"], container)
        equal(finder.ask("find " + container[:16])["id"], container)
        equal(finder.ask("find main")["id"], container)
        equal(finder.ask(f"find space/one-{kind}/main")["id"], container)
        _, second = daemon.run_pod("two-" + kind, start=False)
        equal(finder.ask("find main")["id"], container)
        contains(finder.ask("find " + second)["error"], "not started")
        daemon.call("StartContainer", {1: second})
        answer = finder.ask("find main")
        equal(answer["code"], "container-ambiguous")
        contains(answer["error"], f"{second} (space/two-{kind}/main)")
        os.kill(finder.ask("find " + second)["pid"], signal.SIGKILL)

        def ended():
            """the end of a container"""
            return "exit code 137" in finder.ask("find " + second).get("error", "")

        wait_for(ended)
        equal(len(finder.ask("list")["list"]), 2)
    by_files = find_once(TOOL, "--files", "--state-directory", daemon.state, container)
    for key in ("id", "name", "pod", "namespace", "uid", "sandbox", "pid", "start_time", "spec",
                "state", "image"):
        equal(by_files.get(key), found[key], f"{key} in {by_files}")
    either = find_once(TOOL, "--state-directory", daemon.state, container)
    equal(either.get("pid"), found["pid"])


@test
def pod_of_containerd(bed):
    """containerd of the machine: a pod's container by CRI and by files"""
    check_pod(bed, "old")


@test
def pod_of_new_containerd(bed):
    """containerd 2.1: a pod's container by CRI and by files"""
    check_pod(bed, "new")


@test
def no_events(bed):
    """containerd 1.6 has no events, and that is told"""
    daemon = bed.containerd("old")
    if "1.6" not in subprocess.run(["containerd", "--version"], capture_output=True, text=True,
                                   check=True, env=daemon.environment).stdout:
        raise Skip("the containerd here is not 1.6")
    with daemon.finder() as finder:
        equal(finder.ask("events 500 1")["code"], "grpc-unsupported")


@test
def events(bed):
    """containerd 2.1: events of containers arrive while it is asked for each"""
    daemon = bed.containerd("new")
    with daemon.finder() as finder:
        finder.process.stdin.write("nested 5000 1000\n")
        finder.process.stdin.flush()
        pod, container = daemon.run_pod("three")
        seen = []
        while ("left" not in (line := finder.line())):
            # containerd also tells earlier events, which nobody has fetched yet
            found = finder.line()
            if line["id"] in (pod, container):
                seen.append((line["event"], line["id"], found))
    equal([one[:2] for one in seen], [(0, pod), (1, pod), (0, container), (1, container)])
    equal(seen[3][2].get("id"), container)
    equal(seen[0][2].get("code"), "container-missing")  # the sandbox itself


@test
def restart(bed):
    """containerd is started again between two calls"""
    daemon = bed.containerd("old")
    with daemon.finder() as finder:
        before = finder.ask("list")["list"]
        daemon.process.terminate()
        daemon.process.wait(timeout=30)
        equal(finder.ask("list")["code"], "grpc-unreachable")
        daemon.process = subprocess.Popen(
            [daemon.process.args[0], "-c", os.path.join(daemon.directory, "config.toml")],
            stdout=daemon.log, stderr=daemon.log, env=daemon.environment, start_new_session=True)

        def answers():
            """the list of containers"""
            return finder.ask("list").get("list")

        equal(sorted(one["id"] for one in wait_for(answers)), sorted(one["id"] for one in before))


@test
def task_of_ctr(bed):
    """a task of ctr is found by its files; ids in two namespaces are told apart"""
    daemon = bed.containerd("old")
    runc_root = os.path.join(bed.directory, "runc-of-ctr")
    for namespace in ("first", "second"):
        daemon.ctr("-n", namespace, "images", "import", os.path.join(daemon.directory, "image.tar"))
        daemon.ctr("-n", namespace, "run", "-d", "--runc-root", runc_root, "localhost/work:1",
                   "same-id" if namespace == "second" else "only-" + namespace)
    found = find_once(TOOL, "--files", "--state-directory", daemon.state, "only-first")
    equal(found.get("state"), "running", str(found))
    contains(pathlib.Path(f"/proc/{found['pid']}/cmdline").read_text(), "100001")
    again = find_once(TOOL, "--files", "--state-directory", runc_root, "only-f")
    equal((again.get("pid"), again.get("runtime")), (found["pid"], "runc"), str(again))
    daemon.ctr("-n", "first", "run", "-d", "--runc-root", runc_root, "localhost/work:1", "same-id")
    answer = find_once(TOOL, "--files", "--state-directory", daemon.state, "same-id")
    equal(answer.get("code"), "container-ambiguous", str(answer))
    contains(answer["error"], "second/same-id")
    daemon.ctr("-n", "second", "tasks", "kill", "-s", "KILL", "same-id")

    def single():
        """the other one to end"""
        return find_once(TOOL, "--files", "--state-directory", daemon.state, "same-id").get("pid")

    wait_for(single)
    daemon.ctr("-n", "first", "tasks", "pause", "only-first")
    paused = find_once(TOOL, "--files", "--state-directory", daemon.state, "only-first")
    equal(paused.get("state"), "paused", str(paused))
    daemon.ctr("-n", "first", "tasks", "resume", "only-first")


def oci_bundle(bed, name):
    bundle = pathlib.Path(bed.directory, "bundle-" + name)
    (bundle / "rootfs/bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, bundle / "rootfs/bin/busybox")
    for directory in ("proc", "dev", "sys"):
        (bundle / "rootfs" / directory).mkdir()
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(terminal=False, args=["/bin/busybox", "sleep", "100002"])
    config["hostname"] = name
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def check_oci_runtime(bed, runtime):
    """Created, running, ended, and a process id that somebody else has."""
    if os.geteuid() != 0 or not shutil.which(runtime) or not os.path.exists(BUSYBOX):
        raise Skip(f"{runtime}, busybox or root is not here")
    bundle, root = oci_bundle(bed, runtime + "-box"), os.path.join(bed.directory, runtime)
    command = [runtime, "--root", root]
    if runtime == "crun" and os.path.exists("/sys/fs/cgroup/unified"):
        # crun wants version 2 of control groups: on a hybrid machine it sees only that, unused.
        command = ["unshare", "--mount", "sh", "-c",
                   'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"', "sh", *command,
                   "--cgroup-manager=disabled"]
    id = "box-of-" + runtime

    def find():
        return find_once(TOOL, "--files", "--state-directory", root, id)

    equal(find()["code"], "container-missing")
    contains(find()["error"], root)
    with open(os.devnull, "r+b") as nothing:
        subprocess.run([*command, "create", "--bundle", str(bundle), id], check=True,
                       stdin=nothing, stdout=nothing, stderr=nothing)
    try:
        equal(find().get("state"), "created", str(find()))
        subprocess.run([*command, "start", id], check=True)
        found = find()
        equal((found.get("state"), found.get("bundle"), found.get("runtime")),
              ("running", str(bundle), runtime), str(found))
        equal(found["spec"]["hostname"], runtime + "-box")
        state = json.loads(subprocess.run([*command, "state", id], check=True, capture_output=True,
                                          text=True).stdout)
        equal(found["pid"], state["pid"])
        subprocess.run([*command, "kill", id, "KILL"], check=True)

        def ended():
            """the end"""
            return find().get("code") == "container-not-running"

        wait_for(ended)
        impostor(root, id, runtime)
        answer = find()
        equal(answer["code"], "container-not-running", str(answer))
        contains(answer["error"], "another one has the process id")
    finally:
        shutil.rmtree(os.path.join(root, id), ignore_errors=True)


def impostor(root, id, runtime):
    """The state names the pid of this program, which was started at another time."""
    file = pathlib.Path(root, id, "state.json" if runtime == "runc" else "status")
    state = json.loads(file.read_text())
    state["init_process_pid" if runtime == "runc" else "pid"] = os.getpid()
    file.write_text(json.dumps(state))


@test
def state_of_runc(bed):
    """runc: created, running, ended, and an id that was taken by another process"""
    check_oci_runtime(bed, "runc")


@test
def state_of_crun(bed):
    """crun: the same"""
    check_oci_runtime(bed, "crun")


@test
def damaged_state(bed):
    """state files that are damaged or hostile are refused"""
    root = os.path.join(bed.directory, "damaged")
    os.makedirs(os.path.join(root, "x"))
    file = pathlib.Path(root, "x", "state.json")
    for text in ("", "{", "[]", '{"init_process_pid": "1"}', '{"init_process_pid": 99999999999}',
                 f'{{"init_process_pid": {os.getpid()}}}', "[" * 100000,
                 f'{{"init_process_pid": {os.getpid()}, "config": {{"labels": ["bundle=x"]}}}}',
                 f'{{"init_process_pid": {os.getpid()}, "config": {{"labels": ["bundle=/none"]}}}}'):
        file.write_text(text)
        answer = find_once(TOOL, "--files", "--state-directory", root, "x")
        equal(answer.get("code"), "container-record", text[:60] + str(answer))
    file.write_text('{"init_process_pid": 0}')
    equal(find_once(TOOL, "--files", "--state-directory", root, "x")["code"],
          "container-not-running")
    for text in ("../damaged/x", "x/..", "", "/etc"):
        equal(find_once(TOOL, "--files", "--state-directory", root, text)["code"],
              "container-missing")


def main():
    directory = tempfile.mkdtemp(prefix="stasis-runtimes-", dir="/run" if os.geteuid() == 0
                                 else None)
    bed = Bed(directory)
    try:
        return run_all(bed)
    finally:
        bed.stop()
        shutil.rmtree(directory, ignore_errors=True)


sys.exit(main())
