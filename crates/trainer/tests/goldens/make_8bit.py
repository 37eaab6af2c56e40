"""Remakes adamw_8bit.json beside this file, with torch 2.11.0 and bitsandbytes 0.50.2 on the CPU.

    python make_8bit.py [DIRECTORY]

Parameters and gradients are formulas that the test repeats. States are quantised to the nearest code, as bitsandbytes' CUDA
kernel and its default backend do: its CPU library misses the nearest one of 256 now and then (3 % of squares).
"""

import json
import logging
import sys
from pathlib import Path

logging.disable(logging.WARNING)

import bitsandbytes.backends.cpu.ops as cpu_ops
import torch
from bitsandbytes.optim import AdamW8bit

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
SHAPES = {"large": [70, 73], "small": [8, 8]}
STEPS = 12


def wave(shape, phase, scale):
    index = torch.arange(shape[0] * shape[1], dtype=torch.float64)
    return (scale * torch.sin(index * 0.37 + phase)).to(torch.float32).reshape(shape)


def nearest(values, code, absmax_out, codes_out, blocksize):
    flat = values.flatten()
    whole = torch.nn.functional.pad(flat, (0, -len(flat) % blocksize)).view(-1, blocksize)
    absmax = whole.abs().amax(1)
    scaled = whole * (1.0 / absmax.clamp(min=1e-38).unsqueeze(1))
    codes = torch.bucketize(scaled, (code[:-1] + code[1:]) / 2, out_int32=True).to(torch.uint8)
    codes_out.copy_(codes.flatten()[: len(flat)].view(codes_out.shape))
    absmax_out.copy_(absmax)


def main():
    cpu_ops._quant_blockwise_fp32_direct = nearest
    torch.set_num_threads(1)
    parameters = {name: wave(shape, 0.5, 0.1).requires_grad_() for name, shape in SHAPES.items()}
    optimizer = AdamW8bit(list(parameters.values()), lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    for step in range(STEPS):
        for name, tensor in parameters.items():
            tensor.grad = wave(SHAPES[name], float(step), 10.0 ** (step % 3 - 3))
        optimizer.step()
    state = optimizer.state[parameters["large"]]
    result = {
        "steps": STEPS,
        "parameters": {name: tensor.detach().flatten()[::7].tolist() for name, tensor in parameters.items()},
        "codes": state["state1"].flatten().tolist(),
        "square_codes": state["state2"].flatten().tolist(),
        "absmax": state["absmax1"].tolist(),
        "small_state_dtype": str(optimizer.state[parameters["small"]]["state1"].dtype),
    }
    (OUT / "adamw_8bit.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
