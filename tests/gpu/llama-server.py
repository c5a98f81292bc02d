#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Llama in PyTorch that answers greedy tokens over TCP, one JSON line a request.

  {"ids": [1, 2], "count": 8}  ->  {"ids": [...8 tokens...], "seconds": ...}
  {"sums": true}               ->  {"sums": "<hash over every parameter>"}

The weights are random with a fixed seed and made on the device, so the model
takes no download and two processes of the same arguments answer alike.
"""

import argparse
import hashlib
import json
import socket
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {
    # 8.03e9 parameters
    "8b": dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
               num_attention_heads=32, num_key_value_heads=8, vocab_size=128256),
    "tiny": dict(hidden_size=128, intermediate_size=256, num_hidden_layers=2,
                 num_attention_heads=4, num_key_value_heads=2, vocab_size=1000),
}


def model_make(size: str, device: str, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.bfloat16)
    config = LlamaConfig(max_position_embeddings=8192, tie_word_embeddings=False, **SIZES[size])
    with torch.device(device):
        return LlamaForCausalLM(config).eval()


@torch.inference_mode()
def greedy(model: LlamaForCausalLM, ids: list[int], count: int) -> list[int]:
    tokens, cache = [], None
    step = torch.tensor([ids], device=model.device)
    for _ in range(count):
        out = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        step = out.logits[:, -1].argmax(dim=-1, keepdim=True)
        tokens.append(int(step))
    return tokens


@torch.inference_mode()
def parameter_sums(model: LlamaForCausalLM) -> str:
    """One hash over all bits; rows are weighted, so that exchanged rows are seen too."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        bits = parameter.detach().view(torch.int16)
        rows = bits.reshape(-1, bits.shape[-1]).sum(dim=1, dtype=torch.int64)
        weights = torch.arange(1, rows.numel() + 1, device=rows.device, dtype=torch.int64)
        digest.update(f"{name} {int((rows * weights).sum())}\n".encode())
    return digest.hexdigest()


def answer(model: LlamaForCausalLM, request: dict) -> dict:
    start = time.monotonic()
    if request.get("sums"):
        return {"sums": parameter_sums(model)}
    tokens = greedy(model, request["ids"], request["count"])
    return {"ids": tokens, "seconds": round(time.monotonic() - start, 4)}


def serve(model: LlamaForCausalLM, port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rw") as stream:
            for line in stream:
                stream.write(json.dumps(answer(model, json.loads(line))) + "\n")
                stream.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=10020)
    parser.add_argument("--size", choices=SIZES, default="8b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    model = model_make(options.size, options.device, options.seed)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count} parameters on {model.device}", flush=True)
    serve(model, options.port)


if __name__ == "__main__":
    main()
