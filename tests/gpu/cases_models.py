# SPDX-License-Identifier: Apache-2.0
"""Language models: a Llama in plain PyTorch and a real vLLM, by the product and by hand."""

import json
import os
import shutil
import time
import urllib.error
import urllib.request

from classic import Classic
from harness import (Snapshotctl, gpu_pids, phases_text, process_exists, process_tree,
                     tcp_ask, tcp_is_listening, wait_until)

LLAMA_PORT, VLLM_PORT = 10020, 18000
PROMPT = [3, 17, 411, 42, 99, 500, 77, 123]
REFUSED = 3  # exit status of checkpoint


def gone(case, tree):
    wait_until(lambda: not any(map(process_exists, tree)), 5)
    alive = [pid for pid in tree if process_exists(pid)]
    listed = gpu_pids() & set(tree)
    case.check("process and GPU memory are gone", not alive and not listed,
               f"alive {alive}, on the GPU {sorted(listed)}")


def compare(case, env, key, checkpoint, restore):
    """The classic way beside the product's, when both ran."""
    ours = env.results.get(key)
    if ours is None:
        case.note("no ratio", f"{key} did not get that far in this run")
        return
    for label, classic, mine in (("checkpoint", checkpoint, ours["checkpoint"]),
                                 ("restore to answer", restore, ours["restore"])):
        case.note(f"ratio: {label}", f"{classic:.2f} s / {mine:.2f} s = {classic / mine:.1f}x")


# --- PyTorch -------------------------------------------------------------------


def llama_argv(env):
    return [env.python, env.here / "llama-server.py", "--port", LLAMA_PORT,
            "--size", env.options.llama_size, "--device", env.options.llama_device]


def llama_tokens(case, seconds=120):
    answer = tcp_ask(LLAMA_PORT, {"ids": PROMPT, "count": 24}, case.left(seconds)) or {}
    return answer.get("ids")


def llama_sums(case):
    return (tcp_ask(LLAMA_PORT, {"sums": True}, case.left(120)) or {}).get("sums")


def llama_ready(case, start, workload):
    """Cold start, from the start of the program to the first tokens."""
    case.wait_for_start(workload, lambda: tcp_is_listening(LLAMA_PORT), 120)
    tokens = llama_tokens(case)
    case.time("cold start to first tokens", time.monotonic() - start)
    case.need("greedy tokens", tokens and len(tokens) == 24, tokens)
    case.need("the same when asked again", llama_tokens(case) == tokens)
    case.note("distinct tokens", len(set(tokens)))
    return tokens, llama_sums(case)


def llama_same(case, before):
    tokens, sums = before
    case.equal("all parameters are the same", llama_sums(case), sums)
    case.check("same tokens, asked again", llama_tokens(case) == tokens)


def case_llama(case, env):
    env.models_warm()
    tool = Snapshotctl(case, env.snapshotctl, env.work / "llama")
    start = time.monotonic()
    server = tool.run("llama", *llama_argv(env))
    before = llama_ready(case, start, server)
    tree = process_tree(server.pid)
    taken = tool.call("checkpoint", "llama", seconds=120)
    case.time("checkpoint", taken["wall"])
    case.note("checkpoint phases", phases_text(taken))
    case.note("snapshot", f"{taken['bytes'] / 1e9:.2f} GB")
    gone(case, tree)
    times = []
    for label in ("restore", "restore again"):
        times.append(llama_restore(case, tool, taken["id"], label, before))
    env.results["llama"] = {"checkpoint": taken["wall"], "restore": times[0]}
    case.check("verify", tool.status("verify", taken["id"], seconds=120) == 0)
    tool.status("delete", taken["id"], "--all-versions")


def llama_restore(case, tool, snapshot, label, before):
    start = time.monotonic()
    back = tool.call("restore", snapshot, "--detach", seconds=120)
    tokens = llama_tokens(case)
    took = time.monotonic() - start
    case.time(f"{label} to first tokens", took)
    case.note(f"{label}: phases", phases_text(back))
    case.equal(f"{label}: same tokens", tokens, before[0])
    llama_same(case, before)
    case.check(f"{label}: ended by us", case.processes.end(back["pid"]))
    return took


def case_llama_classic(case, env):
    env.models_warm()
    start = time.monotonic()
    server = case.start(llama_argv(env), "llama.log", start_new_session=True)
    before = llama_ready(case, start, server)
    classic = Classic(case, env.cuda_checkpoint, env.criu, server.pid, env.work / "classic")
    case.processes.disown(server.child)
    checkpoint = classic.checkpoint(150)
    case.time("checkpoint by hand", checkpoint)
    case.note("checkpoint steps", classic.checkpoint_text())
    gone(case, classic.tree)
    start = time.monotonic()
    classic.restore(150)
    tokens = llama_tokens(case)
    restore = time.monotonic() - start
    case.time("restore by hand to first tokens", restore)
    case.note("restore steps", classic.restore_text())
    case.equal("same tokens", tokens, before[0])
    llama_same(case, before)
    case.processes.end(classic.pid)
    shutil.rmtree(classic.folder, ignore_errors=True)
    compare(case, env, "llama", checkpoint, restore)


# --- vLLM ----------------------------------------------------------------------


class Vllm:
    """How to start it and what to ask. Caches lie in the scratch folder: the first start is
    one with cold caches, the second one with warm ones."""

    def __init__(self, case, env):
        self.case, self.env = case, env
        self.model = env.scratch / "model"
        self.site = env.vllm_site(case)
        cache = env.scratch / "cache"
        self.environment = {
            "PYTHONPATH": str(self.site), "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
            "VLLM_HOST_IP": "127.0.0.1", "VLLM_USE_FLASHINFER_SAMPLER": "0",
            "VLLM_CACHE_ROOT": str(cache / "vllm"), "TRITON_CACHE_DIR": str(cache / "triton"),
            "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        }
        case.must([env.python, env.here / "vllm-model.py", self.model])

    def argv(self):
        return [self.env.python, "-m", "vllm.entrypoints.cli.main", "serve", self.model,
                "--served-model-name", "model", "--load-format", "dummy", "--seed", 0,
                "--max-model-len", 4096, "--gpu-memory-utilization", 0.3,
                "--host", "127.0.0.1", "--port", VLLM_PORT,
                # A cached prefix is computed by other kernels: other roundings, other tokens.
                "--no-enable-prefix-caching", *self.env.options.vllm_option]

    def answer(self, seconds=60):
        """Tokens and their log-probabilities, or None."""
        body = {"model": "model", "prompt": PROMPT, "max_tokens": 32, "temperature": 0,
                "logprobs": 1, "ignore_eos": True}
        request = urllib.request.Request(f"http://127.0.0.1:{VLLM_PORT}/v1/completions",
                                         json.dumps(body).encode(),
                                         {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=self.case.left(seconds)) as reply:
                choice = json.load(reply)["choices"][0]
        except (OSError, ValueError, KeyError, urllib.error.URLError):
            return None
        return choice["logprobs"]["tokens"], choice["logprobs"]["token_logprobs"]

    def ready(self, start, workload):
        self.case.wait_for_start(workload, lambda: tcp_is_listening(VLLM_PORT), 200)
        answer = self.answer()
        self.case.time("cold start to first answer", time.monotonic() - start)
        self.case.need("an answer", answer is not None and len(answer[0]) == 32)
        self.case.need("the same when asked again", self.answer() == answer)
        self.case.note("distinct tokens", len(set(answer[0])))
        return answer

    def same(self, label, seen, before):
        self.case.equal(f"{label}: same tokens", seen and seen[0], before[0])
        self.case.check(f"{label}: same log-probabilities", seen and seen[1] == before[1])
        self.case.check(f"{label}: asked again", self.answer() == before)


def case_vllm(case, env):
    vllm = Vllm(case, env)
    vllm_with_snapshotctl(case, env, vllm)
    if env.options.with_classic:
        vllm_classic(case, env, vllm)


def connections_option(case, tool, name):
    """Established connections are refused by default, also those inside the workload: it is
    then told to keep them. preflight looks without touching anything."""
    if tool.status("preflight", name) != REFUSED:
        return []
    case.note("preflight refuses", "tried again with --tcp keep")
    return ["--tcp", "keep"]


def vllm_with_snapshotctl(case, env, vllm):
    tool = Snapshotctl(case, env.snapshotctl, env.work / "vllm")
    start = time.monotonic()
    server = tool.run("vllm", *vllm.argv(), env=vllm.environment)
    before = vllm.ready(start, server)
    tree = process_tree(server.pid)
    case.note("processes", f"{len(tree)}, {len(gpu_pids() & set(tree))} on the GPU")
    tcp = connections_option(case, tool, "vllm")
    taken = tool.call("checkpoint", "vllm", *tcp, seconds=180)
    case.time("checkpoint", taken["wall"])
    case.note("checkpoint phases", phases_text(taken))
    case.note("snapshot", f"{taken['bytes'] / 1e9:.2f} GB")
    gone(case, tree)
    times = []
    for label in ("restore", "restore again"):
        start = time.monotonic()
        back = tool.call("restore", taken["id"], "--detach", *tcp, seconds=180)
        answer = vllm.answer()
        times.append(time.monotonic() - start)
        case.time(f"{label} to first answer", times[-1])
        case.note(f"{label}: phases", phases_text(back))
        vllm.same(label, answer, before)
        case.check(f"{label}: ended by us", case.processes.end(back["pid"]))
    env.results["vllm"] = {"checkpoint": taken["wall"], "restore": times[0]}
    tool.status("delete", taken["id"], "--all-versions")
    # The way by hand needs the room twice: in the processes and in the images.
    shutil.rmtree(tool.root, ignore_errors=True)


def vllm_classic(case, env, vllm):
    start = time.monotonic()
    server = case.start([env.program("without-io-uring"), *vllm.argv()], "vllm.log",
                        start_new_session=True, env={**os.environ, **vllm.environment})
    before = vllm.ready(start, server)
    classic = Classic(case, env.cuda_checkpoint, env.criu, server.pid, env.work / "classic")
    case.processes.disown(server.child)
    checkpoint = classic.checkpoint(200)
    case.time("checkpoint by hand", checkpoint)
    case.note("checkpoint steps", classic.checkpoint_text())
    start = time.monotonic()
    classic.restore(200)
    answer = vllm.answer()
    restore = time.monotonic() - start
    case.time("restore by hand to first answer", restore)
    case.note("restore steps", classic.restore_text())
    vllm.same("by hand", answer, before)
    case.processes.end(classic.pid)
    shutil.rmtree(classic.folder, ignore_errors=True)
    compare(case, env, "vllm", checkpoint, restore)
