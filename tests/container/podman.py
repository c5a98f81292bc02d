# SPDX-License-Identifier: Apache-2.0
"""podman with storage, state and settings of its own."""
import json
import os
import pathlib
import resource
import signal

import bed
import images
import machine


class PodmanContainer:
    def __init__(self, podman, name):
        self.podman = podman
        self.name = name
        seen = self.inspect()
        self.id = seen["Id"]
        self.pid = seen["State"]["Pid"]
        self.bundle = pathlib.Path(seen["OCIConfigPath"]).parent
        self.log = pathlib.Path(seen["HostConfig"]["LogConfig"]["Path"])

    @property
    def root(self):
        mounted = self.inspect()["GraphDriver"]["Data"].get("MergedDir")
        return pathlib.Path(mounted) if mounted else None

    def inspect(self):
        return json.loads(self.podman.run_podman("inspect", "--type", "container",
                                                 self.name).stdout)[0]

    def exec(self, *command, user=None, check=True, timeout=60):
        options = ["--user", user] if user else []
        return self.podman.run_podman("exec", *options, self.name, *command, check=check,
                                      timeout=timeout)

    def text(self):
        """What it has written; the log of conmon has a time and a stream before each line."""
        lines = [line.split(" ", 3) for line in machine.read(self.log).splitlines()]
        return "".join(line[3] + ("\n" if line[2] == "F" else "") for line in lines
                       if len(line) == 4)

    def wait_text(self, part, timeout=30):
        machine.wait_until(lambda: part in self.text(), f"{part!r} in the output", timeout)
        return self.text()

    def alive(self):
        return machine.alive(self.pid)

    def wait_gone(self, timeout=30):
        machine.wait_until(lambda: not machine.alive(self.pid), f"the end of {self.name}", timeout)

    def kill(self, number=signal.SIGTERM):
        self.podman.run_podman("kill", "--signal", str(int(number)), self.name)

    def status(self):
        return self.inspect()["State"]["Status"]

    def stop(self, timeout=0):
        self.podman.run_podman("stop", "--time", str(timeout), self.name)
        self.wait_gone()

    def delete(self):
        """podman cleans up by itself when a container ends; who removes it then finds it busy."""
        machine.wait_until(self.removed, f"{self.name} to be removed")

    def removed(self):
        return self.podman.run_podman("rm", "--force", "--ignore", "--time", "0", self.name,
                                      check=False).returncode == 0


class Podman:
    """Containers of podman, by runc or crun; containers/storage with overlay below."""

    def __init__(self, owner, oci_runtime="crun", node=None):
        self.bed = owner
        self.node = node
        self.program = bed.program("podman")
        bed.program("conmon")
        self.oci_runtime = bed.oci_program(oci_runtime, owner.directory)
        self.directory = owner.directory / owner.next_name("p")
        self.root = self.directory / "root"
        self.loaded = set()
        for path in (self.root, self.directory / "run", self.directory / "tmp"):
            path.mkdir(parents=True)
        settings = self.directory / "containers.conf"
        # Locks in shared memory would be shared with every podman of this machine.
        settings.write_text('[engine]\nlock_type = "file"\nevents_logger = "file"\n'
                            f'static_dir = "{self.root}/libpod"\n'
                            f'volume_path = "{self.root}/volumes"\n'
                            f'[containers]\nlog_driver = "k8s-file"\n'
                            f'[network]\nnetwork_config_dir = "{self.directory}/networks"\n')
        storage = self.directory / "storage.conf"
        storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{self.root}"\n'
                           f'runroot = "{self.directory}/run"\n')
        policy = self.directory / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self.environment = {**os.environ, "CONTAINERS_CONF": str(settings),
                            "CONTAINERS_STORAGE_CONF": str(storage),
                            "TMPDIR": str(self.directory / "tmp")}

    def run_podman(self, *arguments, **options):
        command = [self.program, "--root", self.root, "--runroot", self.directory / "run",
                   "--tmpdir", self.directory / "tmp/libpod", "--cgroup-manager=cgroupfs",
                   "--runtime", self.oci_runtime, "--runtime-flag", f"root={self.directory}/o",
                   *arguments]
        if self.node is not None:
            command = self.node.command(*command)
        return machine.run(*command, env=self.environment, **options)

    def pull(self, image, user=None):
        reference = images.Images.reference(image, user)
        if reference not in self.loaded:
            self.run_podman("load", "--quiet", "--signature-policy", self.directory / "policy.json",
                            "--input", self.bed.images.archive(image, user))
            self.loaded.add(reference)
        return reference

    def run(self, image, name, command=(), *, mounts=(), tmpfs=(), env=None, read_only=False,
            user=None, caps=None, drop=(), userns=False, netns=None, hostname=None, terminal=False,
            no_new_privileges=False, privileged=False, labels=None, options=()):
        """Starts a container; the words mean what they mean for bed.Containerd.run()."""
        arguments = ["run", "--detach", "--name", name, "--pull", "never", "--cgroup-parent",
                     f"/{self.bed.name}", "--network", f"ns:{netns}" if netns else "none"]
        # Its usual limits are higher than what a machine without CAP_SYS_RESOURCE has, and itself
        # it keeps to as many processes as there are process ids.
        _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
        arguments += ["--ulimit", f"nofile={files}:{files}", "--ulimit", "nproc=4096:4096"]
        for source, target, *how in mounts:
            arguments += ["--volume", f"{source}:{target}:{how[0] if how else 'rbind,rw'}"]
        for target in tmpfs:
            arguments += ["--tmpfs", target]
        for key, value in (env or {}).items():
            arguments += ["--env", f"{key}={value}"]
        for key, value in (labels or {}).items():
            arguments += ["--label", f"{key}={value}"]
        for word, wanted in (("--read-only", read_only), ("--tty", terminal),
                             ("--privileged", privileged)):
            arguments += [word] if wanted else []
        arguments += ["--security-opt", "no-new-privileges"] if no_new_privileges else []
        arguments += [word for cap in caps or () for word in ("--cap-add", cap)]
        arguments += [word for cap in drop for word in ("--cap-drop", cap)]
        arguments += ["--user", user] if user else []
        arguments += ["--hostname", hostname] if hostname else []
        if userns:
            arguments += ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]
        self.run_podman(*arguments, *options, self.pull(image), *command)
        return PodmanContainer(self, name)
