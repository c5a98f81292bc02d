#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A model that a pod serves: saved once it is warm, and it goes on where it is restored.

  cluster-server.py [--size 8b|tiny|stand-in] [--port N]

It speaks as llama-server.py does. With SNAPSHOT_CONTROL_DIR in the environment it stands still when it is
warm, as docs/workload-contract.md says; without, it serves at once. `stand-in` is for machines
without a GPU: bytes in device memory and a counter take the place of the model. Prints a JSON line when
it is warm and one when it serves.
"""
import argparse
import ctypes
import hashlib
import importlib.util
import json
import pathlib
import socket
import sys

from control_volume import stand_still, tell

REQUEST = {"ids": [11, 22, 33, 44], "count": 16}
STAND_IN_BYTES = 64 << 20


class Llama:
    def __init__(self, size):
        path = pathlib.Path(__file__).resolve().with_name("llama-server.py")
        spec = importlib.util.spec_from_file_location("llama_server", path)
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        self.model = self.module.model_make(size, "cuda", 20)

    def answer(self, request):
        return self.module.answer(self.model, request)


class StandIn:
    """What it answers is computed from what comes back out of device memory."""

    def __init__(self):
        self.driver = ctypes.CDLL("libcuda.so.1")
        self.memory = ctypes.c_uint64()
        content = hashlib.sha256(b"20").digest() * (STAND_IN_BYTES // 32)
        context = ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuCtxCreate_v2", ctypes.byref(context), 0, 0)
        self.call("cuMemAlloc_v2", ctypes.byref(self.memory), ctypes.c_size_t(STAND_IN_BYTES))
        self.call("cuMemcpyHtoD_v2", self.memory, content, ctypes.c_size_t(STAND_IN_BYTES))

    def call(self, name, *arguments):
        result = getattr(self.driver, name)(*arguments)
        if result != 0:
            sys.exit(f"{name} answered {result}")

    def answer(self, request):
        content = ctypes.create_string_buffer(STAND_IN_BYTES)
        self.call("cuMemcpyDtoH_v2", content, self.memory, ctypes.c_size_t(STAND_IN_BYTES))
        digest = hashlib.sha256(content.raw)
        if request.get("sums"):
            return {"sums": digest.hexdigest()}
        digest.update(json.dumps(request["ids"]).encode())
        return {"ids": list(digest.digest()[:request["count"]]), "seconds": 0}


def serve(model, listener):
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw") as stream:
            for line in stream:
                stream.write(json.dumps(model.answer(json.loads(line))) + "\n")
                stream.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=10020)
    parser.add_argument("--size", choices=("8b", "tiny", "stand-in"), default="8b")
    options = parser.parse_args()
    tell(event="started")
    model = StandIn() if options.size == "stand-in" else Llama(options.size)
    listener = socket.create_server(("127.0.0.1", options.port))
    tell(event="warm", **model.answer(REQUEST))
    tell(event="summed", **model.answer({"sums": True}))
    stand_still()
    tell(event="serves")
    serve(model, listener)


if __name__ == "__main__":
    main()
