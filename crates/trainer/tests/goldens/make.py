"""Remakes optimizer.json and schedule.json beside this file, with torch 2.11.0 and transformers 4.57.1.

    python make.py [DIRECTORY]
"""

import json
import sys
from pathlib import Path

import torch
import transformers

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
SHAPES = {"a": [2, 3], "b": [4], "c": [2, 1]}
STEPS = 20
LEARNING_RATE = 1e-2


def numbers(tensors):
    """Name -> flat values, exact for float32."""
    return {name: tensor.flatten().tolist() for name, tensor in tensors.items()}


def optimizer_case(name, betas, eps, weight_decay, max_norm):
    generator = torch.Generator().manual_seed(7)
    parameters = {key: torch.randn(shape, generator=generator) for key, shape in SHAPES.items()}
    initial = numbers(parameters)
    for tensor in parameters.values():
        tensor.requires_grad_()
    groups = [
        {"params": [tensor for tensor in parameters.values() if tensor.dim() > 1], "weight_decay": weight_decay},
        {"params": [tensor for tensor in parameters.values() if tensor.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=betas, eps=eps, foreach=False, fused=False)
    steps = []
    for step in range(STEPS):
        learning_rate = LEARNING_RATE * (1 - step / STEPS)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        gradients = {}
        for key, tensor in parameters.items():
            # Sizes that spread over both sides of eps and of the clipping threshold.
            tensor.grad = torch.randn(SHAPES[key], generator=generator) * 10.0 ** (step % 5 - 3)
            gradients[key] = tensor.grad.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm or float("inf"))
        optimizer.step()
        steps.append(
            {
                "learning_rate": learning_rate,
                "gradients": numbers(gradients),
                "norm": norm.item(),
                "parameters": numbers({key: tensor.detach() for key, tensor in parameters.items()}),
            }
        )
    return {
        "name": name,
        "beta1": betas[0],
        "beta2": betas[1],
        "epsilon": eps,
        "weight_decay": weight_decay,
        "max_norm": max_norm,
        "initial": initial,
        "steps": steps,
    }


def schedule_cases():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    make = {
        "linear": transformers.get_linear_schedule_with_warmup,
        "cosine": transformers.get_cosine_schedule_with_warmup,
        "constant": lambda optimizer, warmup, total: transformers.get_constant_schedule(optimizer),
        "constant_with_warmup": lambda optimizer, warmup, total: transformers.get_constant_schedule_with_warmup(
            optimizer, warmup
        ),
    }
    for kind, build in make.items():
        # With warm-up, without, and with one that is longer than the run.
        for warmup, total in [(4, 15), (0, 7), (9, 5)]:
            factor = build(optimizer, warmup, total).lr_lambdas[0]
            values = [float(factor(step)) for step in range(total)]
            yield {"kind": kind, "warmup_steps": warmup, "total_steps": total, "factors": values}


def main():
    torch.set_num_threads(1)
    cases = [
        optimizer_case("defaults", (0.9, 0.999), 1e-8, 0.0, 0.0),
        optimizer_case("decay", (0.8, 0.95), 1e-6, 0.1, 0.0),
        optimizer_case("clipped", (0.9, 0.999), 1e-8, 0.01, 0.5),
    ]
    shapes = {"shapes": SHAPES, "cases": cases}
    (OUT / "optimizer.json").write_text(json.dumps(shapes) + "\n")
    (OUT / "schedule.json").write_text(json.dumps(list(schedule_cases()), indent=1) + "\n")


if __name__ == "__main__":
    main()
