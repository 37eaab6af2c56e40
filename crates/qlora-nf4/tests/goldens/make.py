"""Remakes the golden files beside this script, with torch 2.11.0 and bitsandbytes 0.50.2 on the CPU.

    python make.py [OUTPUT_DIRECTORY]

`codes.safetensors` and `codes.json`: weights, and what bitsandbytes makes of them. Inputs are stored, so that another
machine's random numbers change nothing. Values are those of bitsandbytes' default backend: its AVX-512 kernel takes wrong
scales where a block is longer than a row.
"""

import json
import logging
import os
import sys
from pathlib import Path

logging.disable(logging.WARNING)
os.environ["TORCHDYNAMO_DISABLE"] = "1"

import bitsandbytes.functional as F
import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent


def weights():
    torch.manual_seed(5)
    yield "plain", torch.randn(24, 256) * 0.05
    yield "bfloat16", (torch.randn(16, 128) * 0.02).to(torch.bfloat16)
    yield "float16", (torch.randn(16, 192) * 0.3).to(torch.float16)
    yield "odd", torch.randn(7, 37)
    yield "ragged", torch.randn(10, 50) * 3
    edge = torch.randn(4, 256)
    edge[0] = 0.0
    edge[1, :64] = 0.0
    edge[2, 5] = float("inf")
    edge[3, 70] = float("nan")
    yield "edge", edge
    yield "tiny", torch.randn(2, 64) * 1e-39
    yield "many", (torch.randn(80, 1024) * torch.rand(80, 1)).to(torch.bfloat16)


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    tensors, cases = {}, []
    for name, weight in weights():
        tensors[f"{name}.weight"] = weight
        for code in ["nf4", "fp4"]:
            for size in [64] if name == "many" else [32, 64, 256]:
                for double in [False, True]:
                    if double and (name in ("edge", "tiny") or size != 64):
                        continue
                    case = f"{name}.{code}.{size}{'.double' if double else ''}"
                    packed, state = F.quantize_4bit(
                        weight, blocksize=size, compress_statistics=double, quant_type=code
                    )
                    tensors[f"{case}.packed"] = packed
                    tensors[f"{case}.absmax"] = state.absmax
                    scales = state.absmax
                    if double:
                        scales = F.dequantize_blockwise(state.absmax, state.state2) + state.offset
                    values = _dequantize_4bit_compute(
                        packed.reshape(-1), scales, state.code, size, weight.shape, weight.dtype
                    )
                    tensors[f"{case}.values"] = values[:, ::64] if name == "many" else values
                    if double:
                        tensors[f"{case}.nested_absmax"] = state.state2.absmax
                        tensors["nested_map"] = state.state2.code.clone()
                    offset = state.offset.item() if double else None
                    cases.append(
                        {"name": case, "weight": name, "code": code, "block_size": size, "double": double, "offset": offset}
                    )
    int8 = [name for name, _ in weights() if name not in ("edge", "tiny", "many")]
    for name in int8:
        weight = tensors[f"{name}.weight"].to(torch.float16)
        codes, scales, _ = F.int8_vectorwise_quant(weight)
        tensors[f"{name}.int8.codes"], tensors[f"{name}.int8.scales"] = codes, scales
        tensors[f"{name}.int8.values"] = F.int8_vectorwise_dequant(codes, scales)
        xs = torch.randn(5, weight.shape[1])
        xs[1, 3] = 9.0
        xs[4, 11] = -6.5
        xs = xs.to(torch.float16)
        rows, stats, columns = F.int8_vectorwise_quant(xs.clone(), threshold=6.0)
        product, _ = torch.ops.bitsandbytes.int8_mixed_scaled_mm(xs.float(), rows, codes, stats, scales, columns, None)
        tensors[f"{name}.int8.xs"], tensors[f"{name}.int8.product"] = xs, product
    tensors["unsigned_map"] = F.create_dynamic_map(signed=False)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out / "codes.safetensors")
    (out / "codes.json").write_text(json.dumps({"cases": cases, "int8": int8}) + "\n")


if __name__ == "__main__":
    main()
