#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The charts: what they make of values, and which values they refuse. Prints TAP.

charts.py SOURCE-DIRECTORY BUILD-DIRECTORY
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
SOURCE, BUILD = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
sys.path.insert(0, str(SOURCE / "tests/container"))
import helm  # noqa: E402
from tap import Skip, contains, equal, run_all, test  # noqa: E402

# Where the documents of both have them.
CHARTS = {name: SOURCE / "deploy/helm/charts" / name for name in ("chrek", "snapshot")}
CONFIGURATION = ("Configuration", "configuration")
JOURNAL = "my-app.chrek-agent"  # of one release: another of the same node has its own
CRIU_OF_BOTH = {
    "ghostLimit": 536870912, "logLevel": 4, "workDir": "/var/criu-work", "leaveRunning": True,
    "shellJob": True, "fileLocks": True, "orphanPtsMaster": True, "extUnixSk": True,
    "linkRemap": True, "extMasters": True, "autoDedup": False, "lazyPages": False,
    "allowUprobes": True, "skipInFlight": True}


def daemonset(objects, name="chrek-agent"):
    return objects[("DaemonSet", name)]["spec"]["template"]["spec"]


def agent(objects, name="chrek-agent"):
    containers = daemonset(objects, name)["containers"]
    equal([one["name"] for one in containers], ["agent"], "containers")
    return containers[0]


def volumes(objects, name="chrek-agent"):
    return {one["name"]: one for one in daemonset(objects, name)["volumes"]}


def mounts(objects, name="chrek-agent"):
    return {one["name"]: one for one in agent(objects, name)["volumeMounts"]}


def environment(objects, name="chrek-agent"):
    return {one["name"]: one.get("value") or one["valueFrom"]["fieldRef"]["fieldPath"]
            for one in agent(objects, name)["env"]}


def refused(tool, chart, *sets, values=None):
    try:
        tool.render(CHARTS[chart], *sets, values=values)
    except helm.Refused as reason:
        return str(reason)
    raise AssertionError(f"{chart} took {sets} {values}")


@test
def lint(tool):
    """helm lint has nothing to say against either chart, at both of their places"""
    for name, chart in CHARTS.items():
        for place in (chart, SOURCE / "charts" / name):
            tool.run("lint", "--strict", place)


@test
def package(tool):
    """helm package makes charts that need nothing beside them, and that render the same"""
    for name, chart in CHARTS.items():
        tool.run("package", chart, "--destination", tool.directory)
        file, = tool.directory.glob(f"{name}-*.tgz")
        equal(tool.run("template", name, file), tool.run("template", name, chart), name)


@test
def names_of_the_documents(tool):
    """Release chrek has the DaemonSet chrek-agent, container agent, the claim chrek-pvc"""
    objects = tool.render(CHARTS["chrek"], "storage.pvc.size=100Gi",
                          "storage.pvc.storageClass=your-storage-class")
    claim = objects[("PersistentVolumeClaim", "chrek-pvc")]
    equal(claim["spec"], {"accessModes": ["ReadWriteMany"],
                          "storageClassName": "your-storage-class",
                          "resources": {"requests": {"storage": "100Gi"}}}, "claim")
    equal(claim["metadata"]["annotations"], {"helm.sh/resource-policy": "keep"}, "annotations")
    equal(sorted(objects), sorted([
        ("ConfigMap", "chrek-config"), CONFIGURATION, ("DaemonSet", "chrek-agent"),
        ("PersistentVolumeClaim", "chrek-pvc"), ("Role", "chrek-agent"),
        ("RoleBinding", "chrek-agent"), ("ServiceAccount", "chrek-agent")]), "objects")
    for one in objects.values():
        equal(one["metadata"].get("namespace", "my-app"), "my-app", one["kind"])
    equal(volumes(objects)["signal-dir"]["hostPath"],
          {"path": "/var/lib/chrek/signals", "type": "DirectoryOrCreate"}, "signal-dir")
    equal(mounts(objects)["signal-dir"]["mountPath"], "/var/lib/chrek/signals", "signal-dir")
    equal(mounts(objects)["config"],
          {"name": "config", "mountPath": "/etc/chrek", "readOnly": True}, "config")


@test
def names_of_a_release(tool):
    """Another release, and names of the user's own, do not meet those of the first"""
    objects = tool.render(CHARTS["chrek"], release="two")
    for key in (("DaemonSet", "two-chrek-agent"), ("ConfigMap", "two-chrek-config")):
        equal(key in objects, True, str(key))
    equal(volumes(objects, "two-chrek-agent")["config"]["configMap"]["name"], "two-chrek-config",
          "config")
    objects = tool.render(CHARTS["chrek"], "fullnameOverride=mine", "serviceAccount.name=me")
    equal(daemonset(objects, "mine-agent")["serviceAccountName"], "me", "account")
    equal(objects[("RoleBinding", "mine-agent")]["subjects"][0]["name"], "me", "subject")
    objects = tool.render(CHARTS["chrek"], "serviceAccount.create=false")
    equal(daemonset(objects)["serviceAccountName"], "default", "account")


@test
def snapshot_chart(tool):
    """Release snapshot has the claim snapshot-pvc of 1Ti, no signal files, /etc/snapshot"""
    objects = tool.render(CHARTS["snapshot"])
    claim = objects[("PersistentVolumeClaim", "snapshot-pvc")]
    equal(claim["spec"]["resources"]["requests"]["storage"], "1Ti", "size")
    equal("signal-dir" in volumes(objects, "snapshot-agent"), False, "signal-dir")
    equal(mounts(objects, "snapshot-agent")["config"]["mountPath"], "/etc/snapshot", "config")
    equal(agent(objects, "snapshot-agent")["resources"]["limits"], {"cpu": 4, "memory": "4Gi"},
          "limits")


@test
def found_by_operators(tool):
    """The DaemonSet and its volume are as operators look for them"""
    objects = tool.render(CHARTS["snapshot"])
    labels = objects[("DaemonSet", "snapshot-agent")]["metadata"]["labels"]
    equal(labels["app.kubernetes.io/component"], "snapshot-agent", "component")
    equal(volumes(objects, "snapshot-agent")["checkpoints"],
          {"name": "checkpoints", "persistentVolumeClaim": {"claimName": "snapshot-pvc"}}, "volume")
    equal(mounts(objects, "snapshot-agent")["checkpoints"]["mountPath"], "/checkpoints", "mount")


@test
def privileges(tool):
    """The host's pid namespace and none of its others; privileged; the seccomp step has nothing"""
    for name in CHARTS:
        objects = tool.render(CHARTS[name])
        pod = daemonset(objects, f"{name}-agent")
        equal({key: pod.get(key) for key in ("hostPID", "hostNetwork", "hostIPC")},
              {"hostPID": True, "hostNetwork": None, "hostIPC": None}, name)
        equal(agent(objects, f"{name}-agent")["securityContext"],
              {"privileged": True, "runAsUser": 0}, name)
        first, = pod["initContainers"]
        equal(first["securityContext"]["capabilities"], {"drop": ["ALL"]}, name)
        equal([one["name"] for one in first["volumeMounts"]], ["seccomp"], name)


@test
def paths_of_the_host(tool):
    """These paths of the host are mounted, where the agent looks for them, and no others"""
    def host_paths(*sets):
        objects = tool.render(CHARTS["chrek"], *sets)
        places = mounts(objects)
        return {one["hostPath"]["path"]: places[name]["mountPath"]
                for name, one in volumes(objects).items() if "hostPath" in one and name in places}

    always = {"/var/lib/chrek/signals": "/var/lib/chrek/signals",
              "/run/containerd": "/run/containerd",
              "/var/lib/kubelet/pods": "/var/lib/kubelet/pods",
              "/sys/fs/cgroup": "/sys/fs/cgroup",
              f"/run/stasis/{JOURNAL}": "/run/stasis"}
    equal(host_paths(), always, "defaults")
    crio = {**always, "/var/run/crio": "/var/run/crio"}
    del crio["/run/containerd"]
    equal(host_paths("runtime.type=crio"), crio, "crio")
    own = {**crio, "/k3s/run": "/k3s/run", "/k3s/data": "/k3s/data", "/data/kubelet/pods":
           "/data/kubelet/pods",
           f"/var/lib/stasis/journal/{JOURNAL}": "/run/stasis"}
    del own["/var/run/crio"], own["/var/lib/kubelet/pods"], own[f"/run/stasis/{JOURNAL}"]
    equal(host_paths("runtime.socketPath=/k3s/run/containerd.sock", "runtime.storageDir=/k3s/data",
                     "kubelet.directory=/data/kubelet",
                     "journal.hostPath=/var/lib/stasis/journal"), own, "own")
    places = mounts(tool.render(CHARTS["chrek"], "runtime.storageDir=/k3s/data"))
    equal(places["runtime-storage"]["readOnly"], True, "storage")
    for name in ("runtime-storage", "runtime-socket", "kubelet-pods"):
        equal(places[name]["mountPropagation"], "HostToContainer", name)


@test
def what_the_agent_is_told(tool):
    """Node, namespaces and runtime are in the environment"""
    wanted = {"NODE_NAME": "spec.nodeName", "POD_NAME": "metadata.name",
              "POD_NAMESPACE": "metadata.namespace", "RESTRICTED_NAMESPACE": "metadata.namespace",
              "SNAPSHOT_LOG_LEVEL": "info",
              "RUNTIME_TYPE": "containerd", "RUNTIME_SOCKET": "/run/containerd/containerd.sock"}
    equal(environment(tool.render(CHARTS["chrek"])), wanted, "defaults")
    del wanted["RESTRICTED_NAMESPACE"]
    wanted.update(RUNTIME_TYPE="crio", RUNTIME_SOCKET="/var/run/crio/crio.sock",
                  SNAPSHOT_LOG_LEVEL="debug")
    equal(environment(tool.render(CHARTS["chrek"], "rbac.namespaceRestricted=false",
                                  "runtime.type=crio", "daemonset.snapshotLogLevel=debug")),
          wanted, "other")


@test
def storage_modes(tool):
    """podMount: the agent mounts no claim. create=false: an old claim is used, none is made"""
    objects = tool.render(CHARTS["chrek"], "storage.accessMode=podMount")
    equal("checkpoints" in volumes(objects) or "checkpoints" in mounts(objects), False, "volume")
    equal(("PersistentVolumeClaim", "chrek-pvc") in objects, True, "claim")
    equal(objects[CONFIGURATION]["content"]["storage"],
          {"type": "pvc", "basePath": "/checkpoints", "accessMode": "podMount"}, "configuration")
    objects = tool.render(CHARTS["chrek"], "storage.pvc.create=false", "storage.pvc.name=old",
                          "storage.pvc.basePath=/data/snapshots")
    equal([key for key in objects if key[0] == "PersistentVolumeClaim"], [], "claims")
    equal(volumes(objects)["checkpoints"]["persistentVolumeClaim"]["claimName"], "old", "claim")
    equal(mounts(objects)["checkpoints"]["mountPath"], "/data/snapshots", "mount")
    equal(objects[CONFIGURATION]["content"]["storage"]["basePath"], "/data/snapshots", "base")
    objects = tool.render(CHARTS["chrek"], "storage.pvc.accessMode=ReadWriteOnce")
    claim = objects[("PersistentVolumeClaim", "chrek-pvc")]["spec"]
    equal(claim["accessModes"], ["ReadWriteOnce"], "access")
    equal("storageClassName" in claim, False, "class")


@test
def rights(tool):
    """The agent's rights are these, in its namespace; in all when it is not restricted"""
    wanted = {"pods": ["get", "list", "patch", "watch"], "pods/status": ["patch"],
              "jobs": ["get", "patch"], "events": ["create", "patch"],
              "leases": ["create", "delete", "get", "patch", "update"]}
    objects = tool.render(CHARTS["chrek"])
    rules = objects[("Role", "chrek-agent")]["rules"]
    equal({one["resources"][0]: sorted(one["verbs"]) for one in rules}, wanted, "role")
    objects = tool.render(CHARTS["chrek"], "rbac.namespaceRestricted=false")
    equal([key for key in objects if key[0] in ("Role", "RoleBinding")], [], "namespaced")
    role = objects[("ClusterRole", "my-app-chrek-agent")]
    equal(role["rules"], rules, "cluster role")
    equal("namespace" in role["metadata"], False, "namespace of a cluster role")
    binding = objects[("ClusterRoleBinding", "my-app-chrek-agent")]
    equal(binding["roleRef"]["name"], "my-app-chrek-agent", "binding")
    equal(binding["subjects"], [{"kind": "ServiceAccount", "name": "chrek-agent",
                                 "namespace": "my-app"}], "subjects")
    objects = tool.render(CHARTS["chrek"], "rbac.create=false")
    equal([key for key in objects if "Role" in key[0]], [], "without")


@test
def openshift(tool):
    """OpenShift: the right to the SCC privileged, and the annotation that asks for it"""
    objects = tool.render(CHARTS["snapshot"], "openshift.enabled=true")
    role = objects[("Role", "snapshot-agent-privileged")]["rules"]
    equal(role, [{"apiGroups": ["security.openshift.io"], "resourceNames": ["privileged"],
                  "resources": ["securitycontextconstraints"], "verbs": ["use"]}], "role")
    template = objects[("DaemonSet", "snapshot-agent")]["spec"]["template"]
    equal(template["metadata"]["annotations"]["openshift.io/required-scc"], "privileged", "scc")
    contains(refused(tool, "snapshot", values={
        "openshift": {"enabled": True},
        "daemonset": {"podAnnotations": {"openshift.io/required-scc": "restricted"}}}),
        "must not name openshift.io/required-scc")


@test
def health(tool):
    """Probes and Prometheus find the agent at the port of listenAddr"""
    for sets, port in (((), 8080), (("config.agent.listenAddr=0.0.0.0:9000",), 9000)):
        objects = tool.render(CHARTS["chrek"], *sets)
        equal(agent(objects)["ports"], [{"name": "http", "containerPort": port}], "port")
        for probe, path in (("readinessProbe", "/ready"), ("livenessProbe", "/health")):
            equal(agent(objects)[probe]["httpGet"], {"path": path, "port": "http"}, probe)
        template = objects[("DaemonSet", "chrek-agent")]["spec"]["template"]["metadata"]
        equal(template["annotations"]["prometheus.io/port"], str(port), "annotation")
    objects = tool.render(CHARTS["chrek"], "metrics.podMonitor.enabled=true",
                          "metrics.annotations=false", "metrics.podMonitor.labels.team=a")
    monitor = objects[("PodMonitor", "chrek-agent")]
    equal(monitor["spec"]["podMetricsEndpoints"],
          [{"port": "http", "path": "/metrics", "interval": "30s"}], "monitor")
    equal(monitor["metadata"]["labels"]["team"], "a", "label")
    daemon = objects[("DaemonSet", "chrek-agent")]["spec"]
    equal(monitor["spec"]["selector"], daemon["selector"], "selector")
    equal([key for key in daemon["template"]["metadata"]["annotations"] if "prometheus" in key],
          [], "annotations")


@test
def driver(tool):
    """The node's driver libraries by their full paths, where no runtime class brings them"""
    for chart in ("chrek", "snapshot"):
        pod = daemonset(tool.render(CHARTS[chart]), f"{chart}-agent")
        equal([one for one in pod["volumes"] if one["name"] == "gpu-libraries"], [], "by default")
        objects = tool.render(CHARTS[chart], "gpu.libraries=/usr/lib/x86_64-linux-gnu")
        pod = daemonset(objects, f"{chart}-agent")
        volume, = [one for one in pod["volumes"] if one["name"] == "gpu-libraries"]
        equal(volume["hostPath"], {"path": "/usr/lib/x86_64-linux-gnu", "type": "Directory"}, "path")
        mount, = [one for one in pod["containers"][0]["volumeMounts"]
                  if one["name"] == "gpu-libraries"]
        equal(mount["readOnly"], True, "read-only")
        known = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
        equal(known["STASIS_LIBCUDA"], mount["mountPath"] + "/libcuda.so.1", "driver")
        equal(known["STASIS_LIBNVML"], mount["mountPath"] + "/libnvidia-ml.so.1", "management")


@test
def where_it_runs(tool):
    """GPU nodes with NVIDIA's runtime by default; neither where a cluster has none"""
    pod = daemonset(tool.render(CHARTS["chrek"]))
    equal(pod["nodeSelector"], {"nvidia.com/gpu.present": "true"}, "selector")
    equal(pod["runtimeClassName"], "nvidia", "class")
    equal([one["key"] for one in pod["tolerations"]], ["nvidia.com/gpu", "dedicated"], "taints")
    pod = daemonset(tool.render(CHARTS["chrek"], "daemonset.nodeSelector=null",
                                "daemonset.runtimeClassName=", "daemonset.tolerations=null"))
    equal({key: pod.get(key) for key in ("nodeSelector", "runtimeClassName", "tolerations")},
          {"nodeSelector": None, "runtimeClassName": None, "tolerations": None}, "empty")
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": []}]}}}
    objects = tool.render(CHARTS["chrek"], values={"daemonset": {
        "affinity": affinity, "podLabels": {"a": "b", "app.kubernetes.io/component": "other"},
        "podAnnotations": {"c": "d"}, "imagePullSecrets": [{"name": "ngc-secret"}],
        "priorityClassName": "system-node-critical",
        "image": {"repository": "registry.example/agent", "tag": "7", "pullPolicy": "Always"}}})
    pod = daemonset(objects)
    equal(pod["affinity"], affinity, "affinity")
    equal(pod["imagePullSecrets"], [{"name": "ngc-secret"}], "secrets")
    equal(pod["priorityClassName"], "system-node-critical", "priority")
    for one in (pod["containers"][0], pod["initContainers"][0]):
        equal((one["image"], one["imagePullPolicy"]), ("registry.example/agent:7", "Always"),
              "image")
    spec = objects[("DaemonSet", "chrek-agent")]["spec"]
    seen = spec["template"]["metadata"]
    equal((seen["labels"]["a"], seen["annotations"]["c"]), ("b", "d"), "labels")
    equal({**seen["labels"], **spec["selector"]["matchLabels"]}, seen["labels"], "selector")


@test
def seccomp(tool):
    """The profile is copied below the kubelet's folder, unless that is not wanted"""
    pod = daemonset(tool.render(CHARTS["chrek"], "kubelet.directory=/data/kubelet"))
    where = {one["name"]: one for one in pod["volumes"]}["seccomp"]["hostPath"]["path"]
    equal(where, "/data/kubelet/seccomp", "folder")
    contains(pod["initContainers"][0]["args"][0], "/host/seccomp/profiles/block-iouring.json")
    pod = daemonset(tool.render(CHARTS["chrek"], "seccomp.deploy=false"))
    equal("initContainers" in pod, False, "init container")
    equal([one["name"] for one in pod["volumes"] if one["name"] == "seccomp"], [], "volume")
    profile = json.loads((SOURCE / "deploy/seccomp/block-iouring.json").read_text())
    equal(profile["syscalls"], [{"names": ["io_uring_setup", "io_uring_enter",
                                           "io_uring_register"],
                                 "action": "SCMP_ACT_ERRNO", "errnoRet": 38}], "profile")


@test
def configuration(tool):
    """Each chart's configuration has the keys and defaults of its time"""
    equal(tool.render(CHARTS["chrek"])[CONFIGURATION]["content"], {
        "agent": {"signalSource": "watcher", "listenAddr": ":8080"},
        "storage": {"type": "pvc", "basePath": "/checkpoints", "accessMode": "agentMount"},
        "checkpoint": {
            "criu": {**CRIU_OF_BOTH, "timeout": 21600, "tcpClose": True,
                     "manageCgroupsMode": "ignore", "libDir": "/usr/local/lib/criu"},
            "skipMountPrefixes": ["/run/nvidia/driver", "/proc/driver/nvidia"],
            "rootfsExclusions": {"systemDirs": ["./usr", "./etc", "./opt", "./var", "./run"],
                                 "cacheDirs": ["./.cache/huggingface"],
                                 "additionalExclusions": []}}}, "chrek")
    equal(tool.render(CHARTS["snapshot"])[CONFIGURATION]["content"], {
        "agent": {"signalSource": "watcher", "listenAddr": ":8080"},
        "storage": {"type": "pvc", "basePath": "/checkpoints", "accessMode": "agentMount"},
        "overlay": {"exclusions": ["/proc", "/sys", "/dev", "*/.cache/huggingface",
                                   "*/__pycache__", "*.pyc"]},
        "restore": {"restoreTimeoutSeconds": 7200},
        "criu": {**CRIU_OF_BOTH, "binaryPath": "/usr/local/sbin/criu", "tcpClose": False,
                 "tcpEstablished": True, "manageCgroupsMode": "soft", "imageIoMode": "direct",
                 "rstSibling": True, "mntnsCompatMode": False, "evasiveDevices": True,
                 "forceIrmap": True, "libDir": "/usr/local/lib/snapshot/criu-plugins"}},
          "snapshot")


@test
def configuration_of_the_agent(tool):
    """The agent takes the configuration of each chart as it is"""
    program = BUILD / "src/agent/snapshot-agent"
    if not program.exists():
        raise Skip("there is no snapshot-agent")
    for name, chart in CHARTS.items():
        text = tool.render(chart)[("ConfigMap", f"{name}-config")]["data"]["config.yaml"]
        file = tool.directory / f"{name}.yaml"
        file.write_text(text)
        done = subprocess.run([program, "--check-config", "--config", file], check=False,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, "NODE_NAME": "here"})
        equal(done.returncode, 0, done.stdout + done.stderr)


@test
def another_configuration_is_another_pod(tool):
    """A change of config is a change of the pods; the same config is none"""
    def sum_of(*sets):
        objects = tool.render(CHARTS["chrek"], *sets)
        template = objects[("DaemonSet", "chrek-agent")]["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    equal(sum_of(), sum_of(), "same")
    if sum_of() == sum_of("config.checkpoint.criu.logLevel=2"):
        raise AssertionError("the pods would keep their old configuration")
    text = tool.render(CHARTS["chrek"], "config.checkpoint.criu.ghostLimit=1073741824")
    contains(text[("ConfigMap", "chrek-config")]["data"]["config.yaml"], "ghostLimit: 1073741824\n")


@test
def refusals(tool):
    """What a chart does not know, or cannot be, is refused before anything is made of it"""
    cases = [("chrek", "storage.pvc.sise=1Gi", "sise"), ("chrek", "unknown=1", "unknown"),
             ("chrek", "config.checkpoint.criu.tcpEstablished=true", "tcpEstablished"),
             ("chrek", "config.criu.logLevel=4", "criu"),
             ("snapshot", "config.checkpoint.criu.timeout=1", "checkpoint"),
             ("snapshot", "controller.enabled=true", "controller"),
             ("chrek", "storage.pvc.basePath=checkpoints", "basePath"),
             ("chrek", "storage.pvc.basePath=/", "basePath"),
             ("chrek", "storage.pvc.size=much", "size"),
             ("chrek", "storage.pvc.accessMode=ReadOnlyMany", "accessMode"),
             ("chrek", "storage.accessMode=agentInject", "accessMode"),
             ("chrek", "storage.pvc.create=yes please", "create"),
             ("chrek", "storage.signalHostPath=signals", "signalHostPath"),
             ("chrek", "storage.type=nfs", "type"),
             ("chrek", "storage.type=s3", "storage.type s3 is reserved"),
             ("chrek", "storage.type=oci", "storage.type oci is reserved"),
             ("chrek", "runtime.type=docker", "type"),
             ("chrek", "daemonset.snapshotLogLevel=loud", "snapshotLogLevel"),
             ("chrek", "daemonset.hostNetwork=true", "hostNetwork"),
             ("chrek", "config.agent.signalSource=both", "signalSource"),
             ("chrek", "config.agent.listenAddr=here", "listenAddr"),
             ("snapshot", "config.criu.manageCgroupsMode=some", "manageCgroupsMode"),
             ("snapshot", "config.criu.imageIoMode=fast", "imageIoMode"),
             ("snapshot", "config.restore.restoreTimeoutSeconds=0", "restoreTimeoutSeconds"),
             ("snapshot", "config.criu.tcpClose=true", "'not' failed")]
    for chart, value, reason in cases:
        contains(refused(tool, chart, value), reason)


def main():
    program = helm.find(SOURCE / "tools")
    with tempfile.TemporaryDirectory(prefix="charts.") as directory:
        return run_all(Lazy(program, directory))


class Lazy(helm.Helm):
    """Skips each test where there is no helm."""

    def run(self, *arguments):
        if self.program is None:
            raise Skip("there is no helm")
        return super().run(*arguments)


if __name__ == "__main__":
    sys.exit(main())
