"""Times bitsandbytes and torch on a CPU, as `bench-nf4` times this project: milliseconds of each repetition, as JSON.

    python nf4.py [--size 4096] [--weights 16] [--rows 256] [--repeats 32] [--threads N]

bitsandbytes' 4-bit product is timed as its own Linear4bit calls it for inference: with the weight packed for its AVX-512
kernel where it has one, and without.
"""

import argparse
import json
import logging
import os
import time

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
logging.disable(logging.WARNING)

import bitsandbytes as bnb
import bitsandbytes.functional as F
import torch


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--weights", type=int, default=16)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=32)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def times(repeats, call):
    result = []
    for index in range(repeats + 2):
        start = time.perf_counter()
        call(index)
        elapsed = time.perf_counter() - start
        if index >= 2:
            result.append(elapsed * 1e3)
    return result


def linear(weight, dtype):
    layer = bnb.nn.Linear4bit(
        weight.shape[1], weight.shape[0], bias=False, compute_dtype=dtype, quant_type="nf4", compress_statistics=False
    )
    layer.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=False)
    return layer.to("cpu").eval()


@torch.no_grad()
def main():
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    dense = [torch.randn(args.size, args.size) * 0.02 for _ in range(4)]
    x, xs = torch.randn(1, args.size), torch.randn(args.rows, args.size)
    x16, xs16 = x.bfloat16(), xs.bfloat16()
    packed = [F.quantize_4bit(dense[i % 4], blocksize=64, quant_type="nf4") for i in range(args.weights)]
    layers = [linear(dense[i % 4], torch.bfloat16) for i in range(args.weights)]
    few = -(-args.repeats // 4)
    plain = lambda i, xs: bnb.matmul_4bit(xs, packed[i % args.weights][0].t(), packed[i % args.weights][1])
    result = {
        "threads": torch.get_num_threads(),
        "layer_matvec_ms": times(few, lambda i: layers[i % args.weights](x16)),
        "layer_batch_ms": times(few, lambda i: layers[i % args.weights](xs16)),
        "plain_matvec_ms": times(few, lambda i: plain(i, x)),
        "plain_batch_fp32_ms": times(few, lambda i: plain(i, xs)),
        "plain_batch_bf16_ms": times(few, lambda i: plain(i, xs16)),
        "quantize_ms": times(few, lambda i: F.quantize_4bit(dense[i % 4], blocksize=64, quant_type="nf4")),
        "dequantize_fp32_ms": times(few, lambda i: F.dequantize_4bit(*packed[i % args.weights])),
    }
    half = [(weight, F.quantize_4bit(weight.bfloat16(), blocksize=64, quant_type="nf4")) for weight in dense]
    result["dequantize_bf16_ms"] = times(few, lambda i: F.dequantize_4bit(*half[i % 4][1]))
    result["bf16_matvec_ms"] = times(
        args.repeats, lambda i, w=[d.bfloat16() for d in dense * 2]: torch.nn.functional.linear(x16, w[i % 8])
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
