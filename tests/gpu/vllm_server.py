#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A vLLM server that a pod serves: saved once it has answered, and it goes on where it is restored.

  vllm_server.py --site DIR --model DIR [--port N] [--cache DIR] [OPTION OF VLLM...]

The first process of its pod, and the parent of vLLM, which knows nothing of snapshots. It asks vLLM until it
answers, prints the answer as a JSON line, and stands still as docs/workload-contract.md says when
SNAPSHOT_CONTROL_DIR is in the environment. It ends when vLLM does.
"""
import argparse
import http.client
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request

from control_volume import stand_still, tell

PORT = 18000
PROMPT = [3, 17, 411, 42, 99, 500, 77, 123]
OTHER_PROMPT = [7, 7000, 23, 31000, 5]
POLL_SECONDS = 0.1
GIVE_UP_SECONDS = 240


def complete(port, prompt, count, seconds):
    """Tokens and their log-probabilities, greedily; None as long as nobody answers."""
    body = {"model": "model", "prompt": prompt, "max_tokens": count, "temperature": 0, "logprobs": 1,
            "ignore_eos": True}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(),
                                     {"content-type": "application/json", "connection": "close"})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as reply:
            found = json.load(reply)["choices"][0]["logprobs"]
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return None
    return {"ids": found["tokens"], "logprobs": found["token_logprobs"]}


def answer(port, seconds=60):
    return complete(port, PROMPT, 32, seconds)


def long_answer(port, seconds=60):
    return complete(port, OTHER_PROMPT, 64, seconds)


def command(options, more):
    return [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(options.model),
            "--served-model-name", "model", "--load-format", "dummy", "--seed", "0",
            "--max-model-len", "4096", "--gpu-memory-utilization", "0.3",
            "--host", "127.0.0.1", "--port", str(options.port),
            # A cached prefix is computed by other kernels: other roundings, other tokens.
            "--no-enable-prefix-caching", *more]


def environment(options):
    caches = {"VLLM_CACHE_ROOT": "vllm", "TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
    return {**os.environ, "PYTHONPATH": str(options.site), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": "127.0.0.1", "VLLM_USE_FLASHINFER_SAMPLER": "0",
            **{name: str(options.cache / folder) for name, folder in caches.items()}}


class Server:
    def __init__(self, options, more):
        self.port = options.port
        self.child = subprocess.Popen(command(options, more), env=environment(options))

    def still_well(self):
        status = self.child.poll()
        if status is not None:
            sys.exit(f"vLLM ended, {status}")

    def ready(self):
        end = time.monotonic() + GIVE_UP_SECONDS
        while True:
            self.still_well()
            found = answer(self.port)
            if found is not None:
                return found
            if time.monotonic() > end:
                sys.exit(f"vLLM did not answer within {GIVE_UP_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def wait(self):
        """As the first process it also is the parent of whom vLLM left behind."""
        while True:
            pid, status = os.wait()
            if pid == self.child.pid:
                return os.waitstatus_to_exitcode(status)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, default="/tmp/vllm-cache")
    parser.add_argument("--port", type=int, default=PORT)
    options, more = parser.parse_known_args()
    tell(event="started")
    server = Server(options, more)
    first = server.ready()
    tell(event="warm", **first)
    # Lines stay below what a pipe takes at once: vLLM writes to it as well.
    tell(event="summed", sums=long_answer(server.port), again=answer(server.port) == first)
    stand_still(server.still_well)
    tell(event="serves")
    sys.exit(server.wait())


if __name__ == "__main__":
    main()
