#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole product in a real cluster of one node, with a pod that has a GPU.

  cluster.py --kit FOLDER [--size 8b|tiny] [--out FOLDER] [--seconds N]
  cluster.py --kit FOLDER --model vllm --vllm-kit FOLDER     a real vLLM, from pieces of make-vllm-kit
  cluster.py --kit FOLDER --stand-in BUILD      without a GPU: the stand-in driver of a build

FOLDER holds kit.tar.xz.NN of make-cluster-kit, or its files. Needs root, an NVIDIA GPU and Python with torch and
transformers; no network, no packages. A Job in an unprivileged pod with one GPU is saved by the agent
(Dynamo Snapshot's protocol with a control volume) and ends as the document says; two pods go on with what it had in
memory: same greedy tokens, same sum over all parameters (vLLM: same log-probabilities). The second one is made
when the first is gone; where there are two GPUs, beside it, on the other one. Then the same program by hand, with
cuda-checkpoint and CRIU. Prints a line for each check and a table of times, and writes them
to OUT/cluster.json. Each step has a limit; the whole ends within --seconds. Exit status 1 when a check failed.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
for place in ("container", "cluster"):
    sys.path.insert(0, str(HERE.parent / place))

import by_hand  # noqa: E402
import gpu_pods  # noqa: E402
import pod_models  # noqa: E402
from inside_network import in_network_of  # noqa: E402
from machine import Failure, mounts_of, read, run, wait_until  # noqa: E402


class OutOfTime(Exception):
    pass


class Story:
    """Steps with a limit, checks and times; all of it is in a file at any moment."""

    def __init__(self, out, seconds):
        self.out = pathlib.Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.begin = time.monotonic()
        self.end = self.begin + seconds
        self.failed = []
        self.record = {"checks": [], "times": {}, "notes": {}}
        signal.signal(signal.SIGALRM, self._alarm)

    @staticmethod
    def _alarm(*_):
        raise OutOfTime("the step took too long")

    @contextlib.contextmanager
    def step(self, name, limit):
        """What happens in it counts as failed when it is not done in time; else errors pass on."""
        begin = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(1, min(limit, self.end - begin)))
        print(f"----  {name}  (at {begin - self.begin:.0f} s)", flush=True)
        try:
            yield
        except Exception as problem:  # pylint: disable=broad-except
            self.check(name, False, f"{type(problem).__name__}: {problem}")
            raise Failure(name) from problem
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def check(self, label, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'}  {label}  {detail}", flush=True)
        self.record["checks"].append({"label": label, "ok": bool(holds), "detail": str(detail)})
        if not holds:
            self.failed.append(label)
        self.save()

    def need(self, label, holds, detail=""):
        self.check(label, holds, detail)
        if not holds:
            raise Failure(label)

    def time(self, label, seconds):
        print(f"time  {label}  {seconds:.2f} s", flush=True)
        self.record["times"][label] = round(seconds, 3)
        self.save()

    def note(self, label, value):
        print(f"-     {label}: {value}", flush=True)
        self.record["notes"][label] = value
        self.save()

    def save(self):
        (self.out / "cluster.json").write_text(json.dumps(self.record, indent=1) + "\n")

    def table(self):
        times = self.record["times"]
        rows = [("cold start", "cold start to tokens", "by hand: cold start to tokens"),
                ("checkpoint", "ready to saved", "by hand: checkpoint"),
                # By hand the source is killed; here it goes on, with all its GPU memory again.
                ("  without what follows", "checkpoint: all but the source going on", "by hand: checkpoint"),
                ("  the source goes on again", "checkpoint: the source goes on", None),
                ("  frozen (by hand: killed)", "checkpoint: frozen", "by hand: checkpoint"),
                ("restore to tokens", "first: pod created to tokens", "by hand: restore to tokens"),
                ("restore to tokens, again", "second: pod created to tokens", None),
                ("  from container running", "first: container running to tokens", None),
                ("  again", "second: container running to tokens", None)]
        print(f"{'':28}{'agent, in the cluster':>24}{'classic tools, by hand':>26}")
        for label, ours, theirs in rows:
            cells = [f"{times[name]:.2f} s" if name in times else "-" for name in (ours, theirs)]
            print(f"{label:28}{cells[0]:>24}{cells[1]:>26}", flush=True)


def wait_answer(pid, ask, seconds=60):
    """The first answer; where a copy does not listen yet there is none."""
    def answer():
        found = in_network_of(pid, ask)
        return found if found and not (isinstance(found, dict) and "problem" in found) else None
    return wait_until(answer, "an answer", seconds)


class Shown:
    """The product, and what is asked of it."""

    def __init__(self, story, bed, store):
        self.story, self.bed, self.store, self.model = story, bed, store, bed.model
        self.warm = self.sums = None
        self.gpus = {}

    def log(self, pod):
        return self.bed.cluster.kubectl("logs", "--namespace", gpu_pods.NAMESPACE, pod,
                                        check=False).stdout

    def save_job(self):
        """From nothing to a snapshot and a Job that is complete."""
        limits = self.model.seconds
        with self.story.step("a checkpoint job, cold", limits["cold"]):
            begin = time.time()
            self.bed.apply(self.bed.job("model", "model"))
            pod = self.bed.pod_of_job("model")
            self.look("model", self.running(pod))
            self.story.check("the pod is unprivileged", self.bed.is_unprivileged(pod))
            wait_until(lambda: "summed" in pod_models.words_of(self.log(pod)) or self.bed.ended(pod),
                       "a warm model", limits["cold"])
            words = pod_models.words_of(self.log(pod))
            self.story.need("the model answers", "summed" in words, self.log(pod)[-1500:]
                            if "summed" not in words else words["warm"]["ids"])
            self.warm, self.sums = words["warm"]["ids"], words["summed"]["sums"]
            self.story.check("the same when asked again", words["summed"].get("again", True))
            self.story.time("cold start to tokens", words["warm"]["time"] - begin)
        with self.story.step("the capture", limits["capture"]):
            version = self.store / "model/versions/1"
            wait_until(lambda: version.is_dir() or self.bed.ended(pod), "a snapshot", limits["capture"])
            self.story.need("there is a snapshot", version.is_dir(), "" if version.is_dir() else
                            f"{self.bed.events(pod)} {self.log(pod)[-300:]}")
            # Its name came last. It was ready right after it told its sums.
            self.story.time("ready to saved", version.stat().st_ctime - words["summed"]["time"])
        with self.story.step("the end of the job", 30):
            self.bed.wait_job("model")
            job = self.bed.cluster.get("job", "model", gpu_pods.NAMESPACE)
            status = job["metadata"].get("annotations", {}).get(
                "nvidia.com/snapshot-checkpoint-status")
            self.story.check("the job is annotated and complete", status == "completed", status)
            self.story.check("the original ended by itself", "saved; the job is done" in self.log(pod),
                             self.log(pod)[-300:])
            self.report("checkpoint", pod)
            self.bed.cluster.delete("job", "model", gpu_pods.NAMESPACE)

    def running(self, name):
        return self.bed.cluster.wait_for("pod", name, lambda pod: "running" in pod["status"].get(
            "containerStatuses", [{"state": {}}])[0]["state"], gpu_pods.NAMESPACE)

    def look(self, name, state):
        """Which GPU a pod has."""
        pid = self.bed.pid_of(state)
        self.gpus[name] = self.bed.gpus_of(pid)
        self.story.note(f"{name}: GPU", " ".join(sorted(self.gpus[name])))
        return pid

    def restore(self, name, command=None):
        """A pod that goes on with what the job had."""
        limit = self.model.seconds["restore"]
        with self.story.step(f"restore into pod {name}", limit):
            begin = time.time()
            self.bed.apply(self.bed.pod(name, "model", command))
            state = self.running(name)
            running = time.time()
            pid = self.look(name, state)
            tokens = wait_answer(pid, self.model.tokens, limit)
            self.story.time(f"{name}: pod created to tokens", time.time() - begin)
            self.story.time(f"{name}: container running to tokens", time.time() - running)
            self.story.check(f"{name}: same tokens", tokens == self.warm, tokens)
            self.same(name, pid)
            self.story.check(f"{name}: it was no cold start", "warm" not in pod_models.words_of(self.log(name)),
                             self.log(name)[-200:])
            self.story.check(f"{name}: unprivileged", self.bed.is_unprivileged(name))
            self.report("restore", name)
            return pid

    def same(self, name, pid):
        rest = wait_answer(pid, self.model.rest)
        self.story.check(f"{name}: same {self.model.second}", rest == self.sums, str(rest)[:16])

    def end(self, *names):
        with self.story.step(f"the end of {' and '.join(names)}", 40):
            for name in names:
                self.bed.cluster.delete("pod", name, gpu_pods.NAMESPACE)

    def restore_both(self):
        """One GPU: the second pod waits until it is free. Two: one is moved to the other GPU."""
        together = len(self.bed.gpu.each) > 1
        first = self.restore("first")
        if not together:
            self.end("first")
        second = self.restore("second", ["/stasis/restore-entrypoint"])
        if together:
            with self.story.step("both at the same time", 60):
                one, other = self.gpus["first"], self.gpus["second"]
                self.story.check("each has a GPU of its own", one and other and one != other,
                                 f"{one}, {other}; source {self.gpus['model']}")
                used = [self.bed.gpus_used_by(pid) for pid in (first, second)]
                self.story.check("and computes on it", not self.bed.gpu.tells or
                                 (all(used) and not used[0] & used[1]), used)
                for name, pid in (("first", first), ("second", second)):
                    tokens = wait_answer(pid, self.model.tokens)
                    self.story.check(f"{name}: same tokens beside the other", tokens == self.warm)
                    self.same(f"{name} beside the other", pid)
        self.end(*(["first", "second"] if together else ["second"]))

    def report(self, operation, pod):
        self.story.note(f"{pod}: events", self.bed.events(pod))
        page = self.bed.page("/metrics")
        phases = re.findall(r'stasis_phase_seconds_sum\{operation="(\w+)",phase="([^"]+)"\} ([\d.]+)',
                            page)
        known = self.story.record.setdefault("phases", {})
        seconds = {phase: float(value) for kind, phase, value in phases if kind == operation}
        before = known.get(operation, {})
        known[operation] = seconds
        self.story.note(f"{pod}: phases", " ".join(
            f"{name} {value - before.get(name, 0):.2f}" for name, value in seconds.items()))
        self.story.note(f"{pod}: peak of the agent's memory", self.bed.agent_memory())
        if operation == "checkpoint":
            self.report_source(seconds, page)

    def report_source(self, seconds, page):
        """What the source lost: by hand it is killed, here it goes on."""
        again = seconds.get("resume source", 0)
        frozen = float(re.search(r"stasis_frozen_seconds_sum\S* ([\d.]+)", page)[1])
        self.story.time("checkpoint: frozen", frozen)
        self.story.time("checkpoint: the source goes on", again)
        self.story.time("checkpoint: all but the source going on",
                        self.story.record["times"]["ready to saved"] - again)


def unpack(kit, work):
    """The files of a kit; those of one that is unpacked already stay where they are."""
    if (kit / "bin").is_dir():
        return kit
    place = work / "kit"
    place.mkdir()
    pieces = sorted(kit.glob("kit.tar.xz.*"))
    if not pieces:
        raise Failure(f"no kit.tar.xz.NN in {kit}")
    run("sh", "-c", 'folder=$1; shift; cat "$@" | tar -C "$folder" -xJ', "sh", place, *pieces)
    return place


def told(bed, out):
    """What the parts said, when something went wrong: all of it in a file, the ends printed."""
    if bed is None or bed.cluster is None:
        return
    folder = bed.cluster.directory
    with contextlib.suppress(Exception):
        listed = bed.cluster.kubectl("get", "pods,jobs,pvc,events", "-A", check=False, timeout=20)
        (out / "objects.txt").write_text(listed.stdout)
        print("== objects\n" + listed.stdout[-3000:])
    kinds = {"n1/log/pods/*/*/*.log": 1500, "n1/kubelet.log": 700, "n1/containerd.log": 700,
             "n1/device-plugin.log": 300, "control/*.log": 200}
    logs = [(path, size) for pattern, size in kinds.items() for path in folder.glob(pattern)]
    for path, size in logs:
        print(f"== {path.relative_to(folder)}\n{read(path)[-size:]}")
    more = list(bed.store.glob(".logs/*/*.log"))
    for path in more:
        print(f"== {path.name}\n{read(path)[-500:]}")
    run("tar", "-C", "/", "-czf", out / "logs.tar.gz", *(
        str(path)[1:] for path in (*(path for path, _ in logs), *more)), check=False)


def show(story, options, work, beds):
    with story.step("the kit", 60):
        begin = time.monotonic()
        kit = unpack(options.kit.resolve(), work)
        story.time("kit unpacked", time.monotonic() - begin)
    store = work / "store"
    store.mkdir(mode=0o777)
    gpu = gpu_pods.StandIn(work, options.stand_in, options.gpus) if options.stand_in else gpu_pods.Gpu()
    model = model_of(options)
    with story.step("the model's program", 90):
        begin = time.monotonic()
        model.prepare(story, work, gpu.python)
        story.time("program ready", time.monotonic() - begin)
    bed = gpu_pods.Bed(kit, store, gpu, model, work)
    if options.seccomp == "runtime":
        bed.seccomp = {"type": "RuntimeDefault"}
    beds.append(bed)
    story.note("driver libraries", str(gpu.libraries))
    with story.step("a cluster", 60):
        bed.up()
        story.time("cluster ready", bed.cluster.seconds)
    with story.step("the device plugin", 30):
        story.note("GPUs of the node", bed.start_plugin())
    with story.step("the agent", 60):
        begin = time.monotonic()
        bed.install()
        story.time("agent ready", time.monotonic() - begin)
    shown = Shown(story, bed, store)
    shown.save_job()
    shown.restore_both()
    if options.by_hand:
        if story.failed:
            told(bed, story.out)
        bed.close()
        # Its images need the room.
        shutil.rmtree(store)
        with story.step("the same by hand", model.seconds["hand"]):
            by_hand.show(story, kit, work, gpu, model, shown)


def model_of(options):
    if options.model == "vllm":
        return pod_models.Vllm(options.vllm_kit, options.stand_in, options.vllm_option)
    return pod_models.Llama("stand-in" if options.stand_in else options.size)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kit", required=True, type=pathlib.Path)
    parser.add_argument("--model", default="llama", choices=("llama", "vllm"))
    parser.add_argument("--size", default="8b", choices=("8b", "tiny"), help="of the llama")
    parser.add_argument("--vllm-kit", type=pathlib.Path, help="pieces of make-vllm-kit, in it or in folders below it")
    parser.add_argument("--vllm-option", action="append", default=[], help="one more word for vllm serve")
    parser.add_argument("--seccomp", default="product", choices=("product", "runtime"),
                        help="of the pods: the profile that the agent brings, or the runtime's own")
    parser.add_argument("--stand-in", type=pathlib.Path, metavar="BUILD")
    parser.add_argument("--gpus", type=int, default=1, help="of the stand-in")
    parser.add_argument("--out", default=os.environ.get("OUT", "results"))
    parser.add_argument("--seconds", default=520, type=int, help="for all of it")
    parser.add_argument("--memory-gib", default=90, type=int, help="of the tmpfs for snapshots")
    parser.add_argument("--without-by-hand", dest="by_hand", action="store_false")
    options = parser.parse_args()
    if options.model == "vllm" and not options.vllm_kit and not options.stand_in:
        parser.error("--model vllm needs --vllm-kit")
    # Known to be there before a node is, so that nodes see it.
    work = pathlib.Path(tempfile.mkdtemp(prefix="gpu-cluster.", dir="/var/tmp"))
    work.chmod(0o755)
    run("mount", "-t", "tmpfs", "-o", f"size={options.memory_gib}g,mode=755", "tmpfs", work)
    story, beds = Story(options.out, options.seconds), []
    try:
        show(story, options, work, beds)
    except Failure as problem:
        print(f"FAIL  went no further: {problem}", flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 45)
        try:
            if story.failed:
                told(beds[0] if beds else None, story.out)
            for bed in beds:
                bed.close()
        except Exception as problem:  # pylint: disable=broad-except
            print(f"not cleared away: {problem}")
        signal.setitimer(signal.ITIMER_REAL, 0)
        for point in mounts_of(str(work)):
            run("umount", "-l", point, check=False)
        shutil.rmtree(work, ignore_errors=True)
    story.table()
    story.save()
    print(f"{len(story.failed)} failed: {', '.join(story.failed)}")
    sys.exit(1 if story.failed or not beds else 0)


if __name__ == "__main__":
    main()
