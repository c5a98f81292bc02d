# SPDX-License-Identifier: Apache-2.0
"""What runs in the pods of cluster.py, and what it is asked: a Llama in PyTorch, or a vLLM server."""
import contextlib
import json
import os
import pathlib
import shutil
import socket

import vllm_server
from machine import Failure, run

HERE = pathlib.Path(__file__).resolve().parent


def words_of(text):
    """The JSON lines of a server, by their event."""
    found = {}
    for line in text.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            fact = json.loads(line)
            found[fact["event"]] = fact
    return found


class Llama:
    """Also the one of the stand-in driver: bytes and a counter."""

    port = 10020
    programs = ["control_volume.py", "cluster-server.py", "llama-server.py"]
    second = "parameters"  # what `rest` compares
    reproducible = True  # started anew it answers the same
    seconds = {"cold": 200, "capture": 150, "restore": 90, "hand": 150}
    # Folders of the machine that its pods see: (name, path here, path there).
    folders = ()

    def __init__(self, size):
        self.size = size

    def prepare(self, story, work, python):
        pass

    def command(self, python, in_pod=True):
        return [python, "-u", f"{'/server' if in_pod else HERE}/cluster-server.py", "--size", self.size,
                "--port", str(self.port)]

    def by_hand(self, _kit, python):
        return self.command(python, in_pod=False)

    def ask(self, request, seconds):
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            with connection.makefile("rw") as stream:
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                return json.loads(stream.readline())

    def tokens(self, seconds=60):
        return self.ask({"ids": [11, 22, 33, 44], "count": 16}, seconds).get("ids")

    def rest(self, seconds=60):
        return self.ask({"sums": True}, seconds).get("sums")


class Vllm:
    """From a kit of make-vllm-kit, with a model of Llama's shape whose weights come from a seed."""

    port = vllm_server.PORT
    programs = ["control_volume.py", "vllm_server.py"]
    # Kernels are chosen by timing them, each time it is started.
    reproducible = False
    second = "tokens and log-probabilities of another prompt"
    seconds = {"cold": 240, "capture": 200, "restore": 120, "hand": 260}

    def __init__(self, kit, stand_in, options):
        self.kit, self.stand_in, self.options = kit, stand_in, options
        self.folder = None

    @property
    def folders(self):
        return [("vllm", self.folder, "/vllm")]

    def prepare(self, story, work, python):
        self.folder = work / "vllm"
        self.folder.mkdir()
        if self.stand_in:
            program = self.folder / "site/vllm/entrypoints/cli/main.py"
            program.parent.mkdir(parents=True)
            shutil.copy(HERE / "stand-in-vllm.py", program)
            return
        pieces = sorted(self.kit.rglob("vllm.[0-9]*"), key=lambda path: int(path.suffix[1:]))
        numbers = [int(path.suffix[1:]) for path in pieces]
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            raise Failure(f"pieces vllm.1, vllm.2, … are expected below {self.kit}; seen: {numbers}")
        story.note("pieces of vLLM", " ".join(f"{path.name} {path.stat().st_size >> 20} MiB" for path in pieces))
        run("sh", "-c", 'folder=$1; shift; cat "$@" | xz -dc | tar -C "$folder" -x', "sh", self.folder, *pieces)
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "site")}
        run(python, HERE / "vllm-model.py", self.folder / "model", env=environment)
        # Pods see it read-only: each of their processes would compile it anew.
        run(python, "-m", "compileall", "-q", "-j", "0", self.folder / "site", check=False)

    def command(self, python, in_pod=True):
        here, place, cache = HERE, self.folder, f"{self.folder}/cache"
        if in_pod:
            here, place, cache = "/server", "/vllm", "/tmp/vllm-cache"
        return [python, "-u", f"{here}/vllm_server.py", "--site", f"{place}/site", "--model", f"{place}/model",
                "--cache", cache, "--port", str(self.port), *self.options]

    def by_hand(self, kit, python):
        return [str(kit / "libexec/without-io-uring"), *self.command(python, in_pod=False)]

    def tokens(self, seconds=60):
        return (vllm_server.answer(self.port, seconds) or {}).get("ids")

    def rest(self, seconds=60):
        return vllm_server.long_answer(self.port, seconds)
