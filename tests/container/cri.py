# SPDX-License-Identifier: Apache-2.0
"""Pods as a kubelet makes them: through the container runtime interface of a Containerd.

gRPC is not in Python's own library; it comes from the environment that tools/fetch-test-runtimes
keeps, whose packages this module takes into the running program.
"""
import json
import os
import pathlib
import sys

import bed
import images
import machine

NAMESPACE = "k8s.io"
# The interface's caller says what is hidden; these are what a kubelet says.
MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
          "/sys/firmware"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def load_stubs():
    """The modules grpc, cri_pb2 and cri_pb2_grpc."""
    folder = pathlib.Path(bed.runtime_folder("python"))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = folder / "lib" / version / "site-packages"
    if not packages.is_dir():
        raise bed.Unavailable(f"the gRPC environment is not of {version}")
    for path in (packages, folder / "stubs"):
        if str(path) not in sys.path:
            sys.path.append(str(path))
    import cri_pb2
    import cri_pb2_grpc
    import grpc

    return grpc, cri_pb2, cri_pb2_grpc


class PodContainer(bed.Container):
    """A container of a pod: what bed.Container has, where the names lie elsewhere."""

    def __init__(self, pod, name, container_id, log):
        self.pod = pod
        self.name = name
        super().__init__(pod.cri.containerd, container_id, log)

    def find_bundle(self):
        return self.runtime.bundle(self.id, NAMESPACE)

    def exec(self, *command, check=True, timeout=60):
        answer = self.pod.cri.call("ExecSync", container_id=self.id, cmd=list(command),
                                   timeout=timeout)
        done = Executed(answer.exit_code, answer.stdout.decode(errors="replace"),
                        answer.stderr.decode(errors="replace"))
        if check and done.returncode != 0:
            raise bed.Failure(f"{command}: expected status 0, seen {done}")
        return done

    def text(self):
        """What it has written; a kubelet's log has time, stream and a flag before each line."""
        lines = [line.split(" ", 3) for line in machine.read(self.log).splitlines()]
        return "".join(line[3] + ("\n" if line[2] == "F" else "") for line in lines
                       if len(line) == 4)

    def kill(self, number=bed.signal.SIGTERM):
        self.runtime.ctr("tasks", "kill", "-s", str(int(number)), self.id, namespace=NAMESPACE)

    def inspect(self):
        """The status by the interface, and what containerd adds to it as JSON."""
        answer = self.pod.cri.call("ContainerStatus", container_id=self.id, verbose=True)
        return answer.status, json.loads(answer.info.get("info", "{}"))

    def status(self):
        state = self.inspect()[0].state
        return self.pod.cri.messages.ContainerState.Name(state).removeprefix("CONTAINER_")

    def stop(self, timeout=0):
        self.pod.cri.call("StopContainer", container_id=self.id, timeout=timeout)
        self.wait_gone()

    def delete(self):
        self.pod.cri.call("RemoveContainer", container_id=self.id)


class Executed:
    def __init__(self, returncode, stdout, stderr):
        self.returncode, self.stdout, self.stderr = returncode, stdout, stderr

    def __repr__(self):
        return f"{self.returncode}, {self.stdout!r}, {self.stderr!r}"


class Pod:
    """A sandbox and its containers. ip: its address in the node's network."""

    def __init__(self, cri, name, config, sandbox):
        self.cri = cri
        self.name = name
        self.config = config
        self.id = sandbox
        self.containers = []
        status = self.status()
        self.ip = status.network.ip
        self.pid = int((cri.containerd.bundle(sandbox, NAMESPACE) / "init.pid").read_text())

    def status(self):
        return self.cri.call("PodSandboxStatus", pod_sandbox_id=self.id).status

    def netns(self):
        return f"/proc/{self.pid}/ns/net"

    def create(self, image, name, command=(), arguments=(), *, mounts=(), env=None, user=None,
               caps=None, drop=(), read_only=False, privileged=False, terminal=False,
               no_new_privileges=False, seccomp=True, attempt=0, memory=0, labels=None,
               annotations=None):
        """Creates and does not start; returns the id."""
        m = self.cri.messages
        security = m.LinuxContainerSecurityContext(
            privileged=privileged, readonly_rootfs=read_only, no_new_privs=no_new_privileges,
            capabilities=m.Capability(add_capabilities=caps or [], drop_capabilities=drop),
            masked_paths=[] if privileged else MASKED,
            readonly_paths=[] if privileged else READ_ONLY,
            namespace_options=self.cri.namespaces())
        if seccomp and not privileged:
            security.seccomp.profile_type = m.SecurityProfile.RuntimeDefault
        if user is not None and str(user).partition(":")[0].isdigit():
            number, _, group = str(user).partition(":")
            security.run_as_user.value = int(number)
            if group:
                security.run_as_group.value = int(group)
        elif user is not None:
            security.run_as_username = user
        config = m.ContainerConfig(
            metadata=m.ContainerMetadata(name=name, attempt=attempt),
            image=m.ImageSpec(image=self.cri.pull(image)), command=command, args=arguments,
            envs=[m.KeyValue(key=key, value=value) for key, value in (env or {}).items()],
            mounts=[m.Mount(host_path=str(source), container_path=target,
                            readonly=bool(how) and "ro" in how[0].split(","))
                    for source, target, *how in mounts],
            log_path=f"{name}-{attempt}.log", tty=terminal, labels=labels or {},
            annotations=annotations or {},
            linux=m.LinuxContainerConfig(
                security_context=security,
                resources=m.LinuxContainerResources(memory_limit_in_bytes=memory)))
        config.labels.update({"io.kubernetes.container.name": name,
                              "io.kubernetes.pod.name": self.name,
                              "io.kubernetes.pod.namespace": "default"})
        return self.cri.call("CreateContainer", pod_sandbox_id=self.id, config=config,
                             sandbox_config=self.config).container_id

    def start(self, name, container_id, attempt=0):
        self.cri.call("StartContainer", container_id=container_id)
        log = pathlib.Path(self.config.log_directory) / f"{name}-{attempt}.log"
        container = PodContainer(self, name, container_id, log)
        self.containers.append(container)
        return container

    def run(self, image, name, command=(), *arguments, **options):
        return self.start(name, self.create(image, name, command, *arguments, **options),
                          options.get("attempt", 0))

    def stop(self):
        self.cri.call("StopPodSandbox", pod_sandbox_id=self.id)

    def delete(self):
        self.stop()
        self.cri.call("RemovePodSandbox", pod_sandbox_id=self.id)
        if self in self.cri.pods:
            self.cri.pods.remove(self)


class Cri:
    """The kubelet's part. Pods get addresses on a bridge in the node's network namespace."""

    def __init__(self, containerd):
        if containerd.node is None:
            raise ValueError("pods need a node, lest they be in this machine's network")
        if not os.path.exists("/usr/lib/cni/bridge"):
            raise bed.Unavailable("there are no CNI plugins")
        self.grpc, self.messages, stubs = load_stubs()
        self.containerd = containerd
        self.pods = []
        self.channel = self.grpc.insecure_channel(f"unix://{containerd.socket}")
        self.runtime = stubs.RuntimeServiceStub(self.channel)
        self.images = stubs.ImageServiceStub(self.channel)
        machine.wait_until(self.ready, "a ready network of pods")

    def ready(self):
        try:
            answer = self.call("Status")
        except bed.Failure:
            return False
        return all(condition.status for condition in answer.status.conditions
                   if condition.type in ("RuntimeReady", "NetworkReady"))

    def call(self, name, **fields):
        request = getattr(self.messages, name + "Request")(**fields)
        try:
            return getattr(self.runtime, name)(request, timeout=60)
        except self.grpc.RpcError as error:
            raise bed.Failure(f"{name}: {error.code().name}: {error.details()}") from None

    def namespaces(self):
        return self.messages.NamespaceOption(network=self.messages.POD,
                                             pid=self.messages.CONTAINER,
                                             ipc=self.messages.POD)

    def pull(self, image, user=None):
        """The interface learns of an imported image a moment later."""
        reference = self.containerd.pull(image, user, NAMESPACE)
        request = self.messages.ImageStatusRequest(
            image=self.messages.ImageSpec(image=reference))
        machine.wait_until(
            lambda: self.images.ImageStatus(request, timeout=60).image.id,
            f"{reference} to be known")
        return reference

    def run_pod(self, name, hostname=None, labels=None, annotations=None, attempt=0,
                sysctls=None):
        self.pull("pause")
        m = self.messages
        uid = f"{self.containerd.bed.name}-{name}"
        logs = self.containerd.directory / "pods" / f"default_{name}_{uid}"
        logs.mkdir(parents=True, exist_ok=True)
        config = m.PodSandboxConfig(
            metadata=m.PodSandboxMetadata(name=name, uid=uid, namespace="default",
                                          attempt=attempt),
            hostname=hostname or name, log_directory=str(logs), labels=labels or {},
            annotations=annotations or {},
            linux=m.LinuxPodSandboxConfig(
                cgroup_parent=f"/{self.containerd.bed.name}/pod-{name}", sysctls=sysctls or {},
                security_context=m.LinuxSandboxSecurityContext(
                    namespace_options=self.namespaces(),
                    seccomp=m.SecurityProfile(profile_type=m.SecurityProfile.RuntimeDefault))))
        config.labels.update({"io.kubernetes.pod.name": name, "io.kubernetes.pod.uid": uid,
                              "io.kubernetes.pod.namespace": "default"})
        sandbox = self.call("RunPodSandbox", config=config).pod_sandbox_id
        pod = Pod(self, name, config, sandbox)
        self.pods.append(pod)
        return pod

    def close(self):
        for pod in list(self.pods):
            pod.delete()
        self.channel.close()
