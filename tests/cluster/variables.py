#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ChReK alone, in a real cluster: each environment variable of its guide, and each entry of its
troubleshooting, by what it does. TAP."""
import json
import re
import sys

sys.dont_write_bytecode = True
import product  # noqa: E402
import suite  # noqa: E402
from product import NAMESPACE, events_of, pod_of_job, wait_event, wait_job, wait_log  # noqa: E402
from report import expect  # noqa: E402
from restores import damage, model_of  # noqa: E402
from standalone import JOB, RESTORED, renamed, unprivileged  # noqa: E402

SIGNALS = "/var/lib/chrek/signals"
LOG = "/tmp/criu-restore.log"


def with_environment(text, **variables):
    """The document, with more variables, or others; None takes one away."""
    for name, value in variables.items():
        entry = rf"( +)- name: {name}\n +value: .*\n"
        new = "" if value is None else f'- name: {name}\n@  value: "{value}"\n'
        if re.search(entry, text):
            text = re.sub(entry, lambda found, new=new: (found[1] + new if new else "").replace(
                "@", found[1]), text)
        elif new:
            text = re.sub(r"( +)env:\n", lambda found, new=new: found[0] + (found[1] + new).replace(
                "@", found[1]), text, count=1)
    return text


def with_volume(text, name, path):
    """The document, with an empty volume more."""
    text = re.sub(r"( +)volumeMounts:\n(?= +- name: checkpoint-storage)", lambda found: found[0] +
                  f"{found[1]}- name: {name}\n{found[1]}  mountPath: {path}\n", text)
    return re.sub(r"( +)volumes:\n", lambda found: found[0] +
                  f"{found[1]}- name: {name}\n{found[1]}  emptyDir: {{}}\n", text)


def job(name, snapshot=None, **variables):
    return with_environment(renamed("job", name, snapshot or name), **variables)


def pod(name, snapshot, **variables):
    return with_environment(renamed("restore", name, snapshot), **variables)


def start(cluster, *texts):
    cluster.apply("\n---\n".join(texts), NAMESPACE)


def source_of(cluster, name):
    return pod_of_job(cluster, f"{JOB}-{name}")


def restored_log(cluster, name, model):
    log = wait_log(cluster, f"{RESTORED}-{name}", "running ")
    expect(f"running {model}" in log and not re.search(r"^loaded ", log, re.M), f"{model} in {log!r}")
    return log


def cold_log(cluster, name, *parts):
    log = wait_log(cluster, f"{RESTORED}-{name}", "running ")
    expect("loaded" in log and all(part in log for part in parts), f"{parts} in {log!r}")
    return log


def inside(cluster, name, *command, check=True):
    return cluster.exec(f"{RESTORED}-{name}", *command, namespace=NAMESPACE, check=check).stdout


class Story:
    """What later tests need of the first one."""

    def __init__(self, cluster, chrek):
        self.cluster = cluster
        self.chrek = chrek
        self.model = None


def test_job_variables(story):
    """a job with all five: ready file and signal file at places of its own; hash, location, type"""
    cluster = story.cluster
    start(cluster, job("five", DYN_CHECKPOINT_READY_FILE="/tmp/other-ready"))
    source = source_of(cluster, "five")
    wait_job(cluster, f"{JOB}-five")
    log = wait_log(cluster, source, "saved; the job is done")
    story.model = model_of(log)
    expect("waiting for /checkpoint-signal/five.done" in log, f"the signal file in {log!r}")
    node = cluster.nodes[cluster.get("pod", source, NAMESPACE)["spec"]["nodeName"]]
    told = json.loads(node.run("cat", f"{SIGNALS}/five.done").stdout)
    expect(told["success"] is True and told["checkpoint_id"] == "five" and
           told["checkpoint_path"] == "/checkpoints/five" and
           re.fullmatch(r"[-\dT:]+(\.\d+)?Z", told["timestamp"]), f"its content, seen {told}")
    expect((story.chrek.store() / "five/checkpoint.done").exists(), "the location of the snapshot")


def test_wrong_job_variables(story):
    """jobs without one of them, or with a wrong one: what happens, and that it is said"""
    cluster = story.cluster
    start(cluster, job("elsewhere", DYN_CHECKPOINT_LOCATION="/other/place"),
          job("type-s3", DYN_CHECKPOINT_STORAGE_TYPE="s3"),
          job("type-oci", DYN_CHECKPOINT_STORAGE_TYPE="oci"),
          job("no-hash", DYN_CHECKPOINT_HASH=None, DYN_CHECKPOINT_LOCATION=None),
          job("bad-hash", DYN_CHECKPOINT_HASH="../five", DYN_CHECKPOINT_LOCATION=None),
          job("no-signal", DYN_CHECKPOINT_SIGNAL_FILE=None))
    for name, parts in (("elsewhere", ("pod-storage", "/other/place", "/checkpoints/elsewhere")),
                        ("type-s3", ("pod-storage", "'s3'")), ("type-oci", ("pod-storage", "'oci'")),
                        ("no-hash", ("pod-id", "DYN_CHECKPOINT_HASH")), ("bad-hash", ("pod-id",))):
        message = wait_event(cluster, source_of(cluster, name), "SnapshotRequestInvalid")
        expect(all(part in message for part in parts), f"{parts} of {name}, seen {message!r}")
    log = wait_log(cluster, source_of(cluster, "no-signal"), "running ")
    expect("CHECKPOINT_READY" not in log, f"a program that just runs, seen {log!r}")
    for name in ("elsewhere", "type-s3", "type-oci", "no-hash", "bad-hash", "no-signal"):
        expect(not (story.chrek.store() / name).exists(), f"no snapshot of {name}")
        cluster.delete("job", f"{JOB}-{name}", NAMESPACE, wait=False)


def test_restore_variables(story):
    """hash, path and marker of a restore pod"""
    cluster = story.cluster
    start(cluster, job("marked", DYN_RESTORE_MARKER_FILE="/tmp/my-marker"),
          pod("path", "five", DYN_CHECKPOINT_PATH="/store").replace(
              "mountPath: /checkpoints\n", "mountPath: /store\n"),
          pod("hash", "another"), pod("nowhere", "five", DYN_CHECKPOINT_PATH="/nowhere"))
    restored_log(cluster, "path", story.model)
    expect(inside(cluster, "path", "cat", "/tmp/dynamo-restored") == "restored", "the usual marker")
    cold_log(cluster, "hash", "/checkpoints/another")
    cold_log(cluster, "nowhere", "/nowhere/five")
    wait_job(cluster, f"{JOB}-marked")
    model = model_of(cluster.logs(source_of(cluster, "marked"), NAMESPACE))
    start(cluster, pod("marker", "marked", DYN_RESTORE_MARKER_FILE="/tmp/my-marker"))
    restored_log(cluster, "marker", model)
    expect(inside(cluster, "marker", "cat", "/tmp/my-marker") == "restored", "the marker")
    done = inside(cluster, "marker", "cat", "/tmp/dynamo-restored", check=False)
    expect(done == "", "no other marker")


def test_criu_variables(story):
    """CRIU_LOG_LEVEL, _WORK_DIR, CUDA_PLUGIN_DIR, _SKIP_IN_FLIGHT, _AUTO_DEDUP, _LAZY_PAGES"""
    cluster = story.cluster
    start(cluster, pod("usual", "five"), pod("quiet", "five", CRIU_LOG_LEVEL="0"),
          with_volume(pod("work", "five", CRIU_WORK_DIR="/work"), "work", "/work"),
          pod("bad-work", "five", CRIU_WORK_DIR="/proc/none"),
          pod("plugins", "five", CUDA_PLUGIN_DIR="/usr/local/lib/criu"),
          pod("tuned", "five", CRIU_SKIP_IN_FLIGHT="true", CRIU_AUTO_DEDUP="true",
              CRIU_LAZY_PAGES="true"))
    logs = {name: restored_log(cluster, name, story.model)
            for name in ("usual", "quiet", "work", "plugins", "tuned")}
    loud, quiet = (len(inside(cluster, name, "cat", LOG)) for name in ("usual", "quiet"))
    expect(quiet * 10 < loud, f"a log of next to nothing, seen {quiet} and {loud} characters")
    expect(inside(cluster, "work", "ls", "-A", "/work") == "", "nothing left of work that went well")
    cold_log(cluster, "bad-work", "Falling back to cold start", "/proc/none")
    for name, variables in (("plugins", ["CUDA_PLUGIN_DIR"]), (
            "tuned", ["CRIU_SKIP_IN_FLIGHT", "CRIU_AUTO_DEDUP", "CRIU_LAZY_PAGES"])):
        for variable in variables:
            expect(f"restore-entrypoint: {variable}: " in logs[name], f"a word on {variable}")
            expect(variable not in logs["usual"], f"{variable} where it is not set")


def test_waiting(story):
    """WAIT_FOR_CHECKPOINT waits for a snapshot, RESTORE_WAIT_TIMEOUT no longer than that"""
    cluster = story.cluster
    start(cluster, pod("early", "later", WAIT_FOR_CHECKPOINT="true"),
          pod("patient", "never", WAIT_FOR_CHECKPOINT="1", RESTORE_WAIT_TIMEOUT="2"),
          pod("hasty", "never", WAIT_FOR_CHECKPOINT="false"))
    cold_log(cluster, "patient", "within 2 seconds", "Falling back to cold start")
    expect("seconds" not in cold_log(cluster, "hasty"), "no wait")
    log = wait_log(cluster, f"{RESTORED}-early", "waiting for a restore")
    expect("running" not in log, f"one that waits, seen {log!r}")
    start(cluster, job("later"))
    wait_job(cluster, f"{JOB}-later")
    restored_log(cluster, "early", model_of(cluster.logs(source_of(cluster, "later"), NAMESPACE)))


def test_timeout(story):
    """CRIU_TIMEOUT: a restore that takes longer is undone; no end with 0"""
    cluster = story.cluster
    large = renamed("job", "large", "large").replace(
        "        image: my-app:checkpoint-enabled\n",
        "        image: my-app:checkpoint-enabled\n        command: " + json.dumps([
            "python3", "-c", "import os, runpy; hold = [os.urandom(1 << 20) * 8 for _ in range(60)]; "
            "runpy.run_path('/app/your_app.py', run_name='__main__')"]) + "\n")
    start(cluster, large)
    wait_job(cluster, f"{JOB}-large")
    model = model_of(cluster.logs(source_of(cluster, "large"), NAMESPACE))
    # Half a gigabyte, at a twentieth of a processor: that is no matter of a second.
    slow = pod("slow", "large", CRIU_TIMEOUT="1").replace("      limits:\n",
                                                          "      limits:\n        cpu: 50m\n")
    start(cluster, slow, pod("long", "large", CRIU_TIMEOUT="0"))
    restored_log(cluster, "long", model)
    wait_log(cluster, f"{RESTORED}-slow", "longer than the 1 seconds of CRIU_TIMEOUT", timeout=120)
    wait_log(cluster, f"{RESTORED}-slow", "Falling back to cold start", timeout=60)
    for name in ("slow", "long"):
        cluster.delete("pod", f"{RESTORED}-{name}", NAMESPACE, wait=False)


def test_debug(story):
    """DEBUG: after a failure the container stays as it is, and its log describes it"""
    cluster = story.cluster
    damage(story.chrek.store(), "five", "broken")
    start(cluster, pod("debug", "broken", DEBUG="true"), pod("plain", "broken"))
    cold_log(cluster, "plain", "Falling back to cold start", "snapshot-")
    log = wait_log(cluster, f"{RESTORED}-debug", "DEBUG is set: for 300 seconds")
    for part in ("namespace pid:[", "/dev/nvidia", "snapshot-"):
        expect(part in log, f"{part} in {log!r}")
    expect("loaded" not in log, f"no cold start yet, seen {log!r}")
    expect(inside(cluster, "debug", "ls", "/checkpoints/broken/checkpoint.done"), "a look inside")
    cluster.delete("pod", f"{RESTORED}-debug", NAMESPACE, wait=False)


def output(cluster, kind, name, path):
    return cluster.kubectl("get", kind, "--namespace", NAMESPACE, name, "-o", f"jsonpath={path}").stdout


def test_not_created(story):
    """"Checkpoint Not Created": the label, readiness, the ready file, the agent's log"""
    cluster = story.cluster
    unlabelled = renamed("job", "label", "label").replace(
        '        nvidia.com/checkpoint-source: "true"\n', '        app: "mine"\n')
    start(cluster, unlabelled, job("unready", DYN_CHECKPOINT_READY_FILE="/proc/none/ready").replace(
        "${DYN_CHECKPOINT_READY_FILE}", "/tmp/checkpoint-ready"))
    source = source_of(cluster, "label")
    cluster.wait_pod(source, NAMESPACE)
    path = r"{.metadata.labels.nvidia\.com/checkpoint-source}"
    expect(output(cluster, "pod", source, path) == "", "no label")
    expect("CheckpointStarted" not in dict(events_of(cluster, source)), "nothing without a label")
    expect(cluster.exec(source, "ls", "/tmp/checkpoint-ready", namespace=NAMESPACE).stdout, "a file")
    cluster.kubectl("label", "--namespace", NAMESPACE, "pod", source, "nvidia.com/checkpoint-source=true")
    wait_job(cluster, f"{JOB}-label")
    unready = source_of(cluster, "unready")
    expect(output(cluster, "pod", unready, "{.status.conditions[?(@.type==\"Ready\")].status}") ==
           "False", "a pod that is not ready")
    expect(not (story.chrek.store() / "unready").exists(), "nothing saved")
    cluster.delete("job", f"{JOB}-unready", NAMESPACE, wait=False)
    logs = story.chrek.logs()
    expect('"capture begins"' in logs and '"pod":"' + source in logs, "the job in the agents' logs")


def test_restore_fails(story):
    """"Restore Fails": the files, privileges and CRIU's log are where the guide says; what differs"""
    cluster = story.cluster
    name = f"{RESTORED}-usual"
    if not cluster.get("pod", name, NAMESPACE):
        start(cluster, pod("usual", "five"))
        restored_log(cluster, "usual", story.model)
    expect("checkpoint.done" in inside(cluster, "usual", "ls", "-la", "/checkpoints/five/"), "files")
    expect(output(cluster, "pod", name, "{.spec.containers[0].securityContext.privileged}") == "true",
           "privileged")
    expect("Restore finished" in inside(cluster, "usual", "cat", LOG), "CRIU's log")
    holding = renamed("job", "holding", "holding").replace(
        "        image: my-app:checkpoint-enabled\n",
        "        image: my-app:checkpoint-enabled\n        command: " + json.dumps([
            "python3", "-c", "import runpy; file = open('/data/words', 'w'); "
            "runpy.run_path('/app/your_app.py', run_name='__main__')"]) + "\n")
    start(cluster, with_volume(holding, "data", "/data"))
    wait_job(cluster, f"{JOB}-holding")
    start(cluster, pod("no-mount", "holding"))
    cold_log(cluster, "no-mount", "mount-missing", "/data")


def test_permissions(story):
    """"Permission Denied": without privileges the agent restores; fewer than the job had are told"""
    cluster = story.cluster
    start(cluster, unprivileged(job("plain")))
    wait_job(cluster, f"{JOB}-plain")
    model = model_of(cluster.logs(source_of(cluster, "plain"), NAMESPACE))
    start(cluster, unprivileged(pod("denied", "plain")), unprivileged(pod("fewer", "five")))
    log = restored_log(cluster, "denied", model)
    expect("waiting for a restore by an agent: it lacks capabilities" in log, f"the way in {log!r}")
    wait_event(cluster, f"{RESTORED}-denied", "RestoreSucceeded")
    cold_log(cluster, "fewer", "target-privileges")


def test_signal_file(story):
    """"Signal File Not Appearing": paths that agree; it appears in another one all the same"""
    cluster = story.cluster
    path = '{.spec.template.spec.volumes[?(@.name=="signal-dir")].hostPath.path}'
    expect(output(cluster, "daemonset", "chrek-agent", path) == SIGNALS, "the path of the agent")
    other = job("other-path").replace(f"path: {SIGNALS}\n", "path: /var/lib/other/signals\n")
    start(cluster, other)
    source = source_of(cluster, "other-path")
    path = '{.spec.volumes[?(@.name=="checkpoint-signal")].hostPath.path}'
    expect(output(cluster, "pod", source, path) == "/var/lib/other/signals", "another path in the pod")
    wait_job(cluster, f"{JOB}-other-path")
    wait_log(cluster, source, "saved; the job is done")


TESTS = [test_job_variables, test_wrong_job_variables, test_restore_variables, test_criu_variables,
         test_waiting, test_timeout, test_debug, test_not_created, test_restore_fails,
         test_permissions, test_signal_file]


def run(cluster, report):
    product.advertise_gpus(cluster, 64)
    story = Story(cluster, product.install(cluster))
    for test in TESTS:
        report.run(test, story)
    if report.failed:
        print("# " + story.chrek.logs()[-6000:].replace("\n", "\n# "))


if __name__ == "__main__":
    sys.exit(suite.main(__doc__, run))
