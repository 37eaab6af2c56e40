"""Remakes lion.json beside this file, with torch 2.11.0 and bitsandbytes 0.50.2 on the CPU.

    python make_lion.py [DIRECTORY]

Parameters and gradients are formulas that the test repeats.
"""

import json
import logging
import sys
from pathlib import Path

logging.disable(logging.WARNING)

import torch
from bitsandbytes.optim import Lion

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
SHAPES = {"matrix": [9, 14], "vector": [13]}
STEPS = 15
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 0.1


def wave(shape, phase, scale):
    index = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (scale * torch.sin(index * 0.37 + phase)).to(torch.float32).reshape(shape)


def main():
    torch.set_num_threads(1)
    parameters = {name: wave(shape, 0.5, 0.1).requires_grad_() for name, shape in SHAPES.items()}
    groups = [
        {"params": [parameters["matrix"]], "weight_decay": WEIGHT_DECAY},
        {"params": [parameters["vector"]], "weight_decay": 0.0},
    ]
    optimizer = Lion(groups, lr=LEARNING_RATE)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / STEPS)
        for name, tensor in parameters.items():
            tensor.grad = wave(SHAPES[name], 0.9 * step, 10.0 ** (step % 3 - 3))
        optimizer.step()
    result = {
        "steps": STEPS,
        "learning_rate": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "parameters": {name: tensor.detach().flatten().tolist() for name, tensor in parameters.items()},
        "momentum": {name: optimizer.state[tensor]["state1"].flatten().tolist() for name, tensor in parameters.items()},
    }
    (OUT / "lion.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
