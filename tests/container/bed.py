# SPDX-License-Identifier: Apache-2.0
"""The bed on which the container tests run: real runtimes, each with folders, sockets, control
groups and networks of its own, and none of it left when the test ends.

    with bed.Bed(workload=path) as here:
        node = here.containerd("1.7", "runc")
        container = node.run("python", "web", ["python3", "-m", "http.server"])

A bed is a folder named stasis-bed.XXXXXX; that name is also in everything that does not live in
it. Who starts a bed first removes what crashed tests have left.
"""
import contextlib
import fcntl
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import threading

import compare
import images
import machine
import net
from images import Unavailable
from machine import Failure

__all__ = ["Bed", "Containerd", "Container", "Failure", "Unavailable", "compare", "net"]

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/fetch-test-runtimes"
PARENT = "/var/tmp"
PREFIX = "stasis-bed."
VERSIONS = ("1.6", "1.7", "2.1")
OCI_RUNTIMES = ("runc", "crun")
# With this the options of an overlay of sixty layers nearly fill the page that mount(2) takes.
LONG_ROOT = 1785


def runtime_folder(name):
    """The folder that tools/fetch-test-runtimes has for a name."""
    if name not in runtime_folder.known:
        line = machine.run(TOOL, name, timeout=600).stdout.rstrip("\n").split("\t")
        runtime_folder.known[name] = line[1:]
    folder, *reason = runtime_folder.known[name]
    if folder == "-":
        raise Unavailable(f"{name}: {reason[0]}")
    return folder


runtime_folder.known = {}


def program(name):
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:/bin:/sbin")
    if not found:
        raise Unavailable(f"there is no {name}")
    return found


HIDE_UNIFIED = """#!/bin/sh
exec unshare --mount --propagation private /bin/sh -c \
    'umount {groups} && exec {program} "$@"' {program} "$@"
"""


def oci_program(name, directory):
    """The path of runc or crun. crun refuses a machine with both versions of control groups as soon
    as the newer one has a controller, so there it does not see the newer one."""
    if name != "crun":
        return program(name)
    found = os.path.join(runtime_folder("crun"), "crun")
    unified = machine.CGROUPS / "unified"
    if not machine.read(unified / "cgroup.controllers").strip():
        return found
    wrapper = directory / "bin" / "crun"
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(HIDE_UNIFIED.format(groups=unified, program=found))
    wrapper.chmod(0o755)
    return str(wrapper)


class Bed:
    """Everything of one test. workload: the static workload program, for the image distroless."""

    def __init__(self, workload=None, parent=PARENT):
        if os.geteuid() != 0:
            raise Unavailable("containers need root")
        clean_leftovers(parent)
        # The name is also one of a namespace of containerd, which takes few characters.
        self.name = PREFIX + secrets.token_hex(4)
        self.directory = pathlib.Path(os.path.realpath(parent), self.name)
        self.directory.mkdir(mode=0o711)
        self.owner = open(self.directory / "owner", "w", encoding="ascii")
        fcntl.flock(self.owner, fcntl.LOCK_EX)
        self.stack = contextlib.ExitStack()
        self.count = 0
        try:
            self.make_mountable()
            self.images = images.Images(self.directory / "images", workload)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def make_mountable(self):
        """An overlay cannot have its layers on an overlay."""
        kind = machine.run("stat", "-f", "-c", "%T", self.directory).stdout.strip()
        if kind == "overlayfs":
            machine.run("mount", "-t", "tmpfs", "-o", "mode=711", self.name, self.directory)

    def next_name(self, word):
        self.count += 1
        return f"{word}{self.count}"

    def node(self, name):
        return net.Node(f"{self.name}-{name}")

    def containerd(self, version, oci_runtime="runc", **options):
        started = Containerd(self, version, oci_runtime, **options)
        self.stack.callback(started.end)
        return started

    def podman(self, oci_runtime="crun", **options):
        from podman import Podman  # which needs this module

        return Podman(self, oci_runtime, **options)

    def close(self):
        try:
            self.stack.close()
        finally:
            machine.sweep(self.directory)
            self.owner.close()


def clean_leftovers(parent=PARENT):
    """Removes the beds whose test is no more. (The lock is there as long as the test is.)"""
    for directory in sorted(pathlib.Path(parent).glob(PREFIX + "*")):
        try:
            with open(directory / "owner", "a", encoding="ascii") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                machine.sweep(directory)
        except BlockingIOError:
            continue
        except FileNotFoundError:  # another one was quicker
            continue


# Containers


class Container:
    """One container with a running task."""

    def __init__(self, runtime, name, log):
        self.runtime = runtime
        self.id = name
        self.log = pathlib.Path(log)
        self.bundle = self.find_bundle()
        self.pid = int((self.bundle / "init.pid").read_text())

    def find_bundle(self):
        return self.runtime.bundle(self.id)

    @property
    def root(self):
        """Its root file system, as this machine sees it."""
        return self.bundle / "rootfs"

    def exec(self, *command, user=None, check=True, timeout=60):
        """Runs a program in it to its end: returncode, stdout, stderr."""
        options = ["--user", self.user_numbers(user)] if user else []
        return self.runtime.ctr("tasks", "exec", "--exec-id", self.runtime.bed.next_name("exec"),
                                *options, self.id, *command, check=check, timeout=timeout)

    def user_numbers(self, user):
        """id:group of a user. To look up a name, or the group of an id, ctr would mount the
        container's overlay a second time, whereupon the first one can no longer copy files up."""
        if ":" in user:
            return user
        for line in machine.read(f"/proc/{self.pid}/root/etc/passwd").splitlines():
            name, _, number, group = line.split(":")[:4]
            if user in (name, number):
                return f"{number}:{group}"
        return f"{user}:{user}"

    def text(self):
        return machine.read(self.log)

    def wait_text(self, part, timeout=30):
        """Until its output has a part."""
        try:
            machine.wait_until(lambda: part in self.text() or not machine.alive(self.pid), part,
                               timeout)
        except Failure:
            pass
        if part not in self.text():
            raise Failure(f"expected {part!r} in the output of {self.id}, "
                          f"seen {self.text()[-500:]!r}")
        return self.text()

    def kill(self, number=signal.SIGTERM):
        self.runtime.ctr("tasks", "kill", "-s", str(int(number)), self.id)

    def alive(self):
        return machine.alive(self.pid)

    def wait_gone(self, timeout=30):
        machine.wait_until(lambda: not machine.alive(self.pid), f"the end of {self.id}", timeout)

    def status(self):
        for line in self.runtime.ctr("tasks", "ls").stdout.splitlines()[1:]:
            name, _, state = line.split()[:3]
            if name == self.id:
                return state
        return "GONE"

    def stop(self, number=signal.SIGKILL):
        """Ends the task; the container (its snapshot, its record) stays."""
        if machine.alive(self.pid):
            self.kill(number)
        self.wait_gone()
        machine.wait_until(lambda: self.status() in ("STOPPED", "GONE"), f"{self.id} to be stopped")

    def delete(self):
        self.stop()
        self.runtime.ctr("tasks", "delete", self.id, check=False)
        self.runtime.ctr("containers", "delete", self.id)


class Containerd:
    """A containerd that shares nothing with others.

    node: the network namespace it lives in; subnet: where its pods have their addresses;
    root_length: how long the path of its root is, about.
    Unless a container is asked to be otherwise, it is like Kubernetes makes them: usual
    capabilities, default seccomp filter, masked paths, namespaces of its own, pipes of its shim as
    standard output.
    """

    def __init__(self, bed, version, oci_runtime="runc", node=None, root_length=0,
                 namespace=None, subnet="10.244.1.0/24"):
        self.bed = bed
        self.version = version
        self.oci_runtime = oci_program(oci_runtime, bed.directory)
        self.node = node
        self.folder = runtime_folder(f"containerd-{version}")
        self.directory = bed.directory / bed.next_name("c")
        self.namespace = namespace or f"{bed.name}-{self.directory.name}"
        self.root = self.long_path(self.directory / "r", root_length)
        self.state = self.directory / "s"
        self.socket = self.directory / "containerd.sock"
        self.oci_root = self.directory / "o"
        self.logs = self.directory / "logs"
        self.imported = set()
        self.process = None
        self.interface = None
        for path in (self.root, self.state, self.logs, self.directory / "cni"):
            path.mkdir(parents=True)
        self.environment = {**os.environ, "PATH": f"{self.folder}:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.config = self.directory / "config.toml"
        self.config.write_text(self.configuration())
        (self.directory / "cni/10-pods.conflist").write_text(json.dumps(self.network(subnet)))
        self.start()

    @staticmethod
    def long_path(path, length):
        while (missing := length - len(str(path))) > 1:
            path = path / ("r" * min(200, missing - 1))
        return path

    def configuration(self):
        lines = ["version = " + ("3" if self.version.startswith("2") else "2"),
                 f'root = "{self.root}"', f'state = "{self.state}"',
                 'disabled_plugins = ["io.containerd.nri.v1.nri"]',
                 "[grpc]", f'  address = "{self.socket}"',
                 "[ttrpc]", f'  address = "{self.socket}.ttrpc"',
                 '[plugins."io.containerd.internal.v1.opt"]', f'  path = "{self.directory}/opt"']
        runtime = self.cri_section()
        options = f'[plugins."{runtime}".containerd.runtimes.runc'
        # Without CAP_SYS_RESOURCE nobody may be made less likely to be killed.
        lines += [f'[plugins."{runtime}"]', "  restrict_oom_score_adj = true",
                  "  disable_hugetlb_controller = true", "  netns_mounts_under_state_dir = true"]
        if not self.version.startswith("2"):
            lines.append(f'  sandbox_image = "{images.Images.reference("pause")}"')
        lines += [f'{options}]', '  runtime_type = "io.containerd.runc.v2"',
                  f'{options}.options]', f'  BinaryName = "{self.oci_runtime}"',
                  f'  Root = "{self.oci_root}"',
                  f'[plugins."{runtime}".cni]', '  bin_dirs = ["/usr/lib/cni"]' if self.version.startswith("2")
                  else '  bin_dir = "/usr/lib/cni"', f'  conf_dir = "{self.directory}/cni"']
        if self.version.startswith("2"):
            lines += ['[plugins."io.containerd.cri.v1.images".pinned_images]',
                      f'  sandbox = "{images.Images.reference("pause")}"']
        return "\n".join(lines) + "\n"

    def network(self, subnet):
        """How pods are connected: by a bridge in the network namespace of containerd."""
        addresses = {"type": "host-local", "dataDir": str(self.directory / "addresses"),
                     "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]}
        bridge = {"type": "bridge", "bridge": "pods0", "isGateway": True, "hairpinMode": True,
                  "ipMasq": False, "ipam": addresses}
        return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}

    def cri_section(self):
        return "io.containerd.cri.v1.runtime" if self.version.startswith("2") else \
            "io.containerd.grpc.v1.cri"

    def start(self):
        """Also after stop(): shims and their containers have gone on meanwhile."""
        command = [os.path.join(self.folder, "containerd"), "--config", str(self.config)]
        if self.node is not None:
            command = self.node.command(*command)
        with open(self.directory / "containerd.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.environment,
                                            start_new_session=True)
        try:
            machine.wait_until(self.answers, "containerd to answer")
        except Failure as failure:
            raise Failure(f"{failure}; its log ends with "
                          f"{machine.read(self.directory / 'containerd.log')[-1500:]}") from None

    def answers(self):
        if self.process.poll() is not None:
            raise Failure(f"containerd {self.version} ended with {self.process.returncode}")
        return self.socket.exists() and self.ctr("version", check=False).returncode == 0

    def stop(self):
        """Ends containerd itself; containers go on."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    @property
    def cri(self):
        """Pods on it (see cri.Cri), made when first asked for."""
        if self.interface is None:
            from cri import Cri  # which needs this module

            self.interface = Cri(self)
        return self.interface

    def end(self):
        if self.interface is not None:
            self.interface.channel.close()
        self.stop()

    def ctr(self, *arguments, **options):
        namespace = options.pop("namespace", self.namespace)
        return machine.run(os.path.join(self.folder, "ctr"), "--address", self.socket,
                           "--namespace", namespace, *arguments, env=self.environment, **options)

    def bundle(self, name, namespace=None):
        return self.state / "io.containerd.runtime.v2.task" / (namespace or self.namespace) / name

    def pull(self, image, user=None, namespace=None):
        """Has an image of ours ready and returns its reference."""
        namespace = namespace or self.namespace
        reference = images.Images.reference(image, user)
        if (namespace, reference) not in self.imported:
            archive = self.bed.images.archive(image, user)
            self.ctr("images", "import", archive, namespace=namespace)
            self.imported.add((namespace, reference))
        return reference

    def run(self, image, name, command=(), *, mounts=(), tmpfs=(), env=None, read_only=False,
            user=None, caps=None, drop=(), userns=False, netns=None, hostname=None, terminal=False,
            cgroup=None, seccomp=True, no_new_privileges=False, privileged=False, labels=None,
            options=()):
        """Starts a container.

        mounts: (source, target) or (source, target, "rw,rbind"...); tmpfs: targets; caps, drop:
        capabilities more and fewer than usual; netns: a path; user: "id" or "id:id" or a name;
        options: further ones of `ctr run`.
        """
        log = self.logs / f"{name}.log"
        arguments = ["run", "--detach", "--runc-binary", self.oci_runtime,
                     "--runc-root", str(self.oci_root), "--cgroup",
                     cgroup or f"/{self.bed.name}/{name}"]
        for source, target, *how in mounts:
            arguments += ["--mount", f"type=bind,src={source},dst={target},options="
                          + (how[0] if how else "rbind,rw").replace(",", ":")]
        for target in tmpfs:
            arguments += ["--mount", f"type=tmpfs,src=tmpfs,dst={target},options=nosuid:nodev"]
        for key, value in (env or {}).items():
            arguments += ["--env", f"{key}={value}"]
        for key, value in (labels or {}).items():
            arguments += ["--label", f"{key}={value}"]
        for word, wanted in (("--read-only", read_only), ("--seccomp", seccomp),
                             ("--privileged", privileged),
                             ("--allow-new-privs", not no_new_privileges)):
            arguments += [word] if wanted else []
        arguments += [word for cap in caps or () for word in ("--cap-add", cap)]
        arguments += [word for cap in drop for word in ("--cap-drop", cap)]
        if userns:
            # The shim is told of users then, and no more of the runtime: it takes runc and the
            # usual folder.
            if self.version in ("1.6", "1.7") and "crun" in self.oci_runtime:
                raise Unavailable(f"ctr {self.version} forgets crun when it maps users")
            arguments += ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]
        if netns:
            arguments += ["--with-ns", f"network:{netns}"]
        if hostname:
            if self.version == "1.6":
                raise Unavailable("ctr 1.6 sets no host name")
            arguments += ["--hostname", hostname]
        arguments += self.output_options(name, log, terminal)
        with ctr_input(terminal, log) as stdin:
            self.ctr(*arguments, *options, self.pull(image, user), name, *command, stdin=stdin)
        return Container(self, name, log)

    def output_options(self, name, log, terminal):
        log.touch()
        if not terminal:
            return ["--log-uri", f"file://{log}"]
        # A terminal's output comes through a pipe with a name, which someone has to read.
        fifos = self.directory / "fifos" / name
        fifos.mkdir(parents=True)
        threading.Thread(target=copy_fifo, args=(fifos, name, log), daemon=True).start()
        return ["--tty", "--fifo-dir", str(fifos)]


@contextlib.contextmanager
def ctr_input(terminal, log):
    """ctr wants to be on a terminal itself when it makes one; and as long as it runs, it may take
    the container's output and write it there."""
    if not terminal:
        yield subprocess.DEVNULL
        return
    ours, its = os.openpty()
    try:
        yield its
        os.set_blocking(ours, False)
        with contextlib.suppress(BlockingIOError), open(log, "ab") as file:
            file.write(os.read(ours, 65536))
    finally:
        os.close(ours)
        os.close(its)


def copy_fifo(folder, name, log):
    try:
        path = machine.wait_until(lambda: next(folder.rglob(f"{name}-stdout"), None), "a pipe")
        with open(path, "rb", buffering=0) as source, open(log, "ab", buffering=0) as target:
            while data := source.read(4096):
                target.write(data)
    except (Failure, OSError):
        return  # the test has ended
