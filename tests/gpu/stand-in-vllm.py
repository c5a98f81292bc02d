# SPDX-License-Identifier: Apache-2.0
"""Takes the place of vllm.entrypoints.cli.main on machines without a GPU (cluster.py --stand-in).

As there one process speaks HTTP and another one has the GPU; what it answers is computed from what comes back out of
device memory. Words of the command line that it doesn't know are vLLM's.
"""
import argparse
import ctypes
import hashlib
import http.server
import json
import multiprocessing

BYTES = 64 << 20


class Memory:
    """Bytes that only the driver has."""

    def __init__(self):
        self.driver = ctypes.CDLL("libcuda.so.1")
        self.address = ctypes.c_uint64()
        context = ctypes.c_void_p()
        content = hashlib.sha256(b"vllm").digest() * (BYTES // 32)
        for name, *arguments in (("cuInit", 0), ("cuCtxCreate_v2", ctypes.byref(context), 0, 0),
                                 ("cuMemAlloc_v2", ctypes.byref(self.address), ctypes.c_size_t(BYTES)),
                                 ("cuMemcpyHtoD_v2", self.address, content, ctypes.c_size_t(BYTES))):
            if getattr(self.driver, name)(*arguments) != 0:
                raise SystemExit(f"{name} failed")

    def digest(self, text):
        content = ctypes.create_string_buffer(BYTES)
        if self.driver.cuMemcpyDtoH_v2(content, self.address, ctypes.c_size_t(BYTES)) != 0:
            raise SystemExit("cuMemcpyDtoH_v2 failed")
        return hashlib.sha256(content.raw + text).digest()


def engine(pipe):
    memory = Memory()
    while True:
        request = pipe.recv()
        digest = memory.digest(json.dumps(request["prompt"]).encode())
        tokens = [digest[number % 32] for number in range(request["max_tokens"])]
        pipe.send({"tokens": [f"w{token}" for token in tokens],
                   "token_logprobs": [-token / 256 for token in tokens]})


class Handler(http.server.BaseHTTPRequestHandler):
    pipe = None

    def do_POST(self):
        self.pipe.send(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        body = json.dumps({"choices": [{"logprobs": self.pipe.recv()}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    options, _ = parser.parse_known_args()
    Handler.pipe, other = multiprocessing.Pipe()
    multiprocessing.Process(target=engine, args=(other,), daemon=True).start()
    http.server.HTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
