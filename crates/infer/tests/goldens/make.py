"""Remakes processors.json beside this file, with torch 2.11.0 and transformers 4.57.1.

    python make.py [OUTPUT_DIRECTORY]

What transformers' logits processors make of random scores, ties among them: the tokens that stay and their scores, which
are float32 and written so that they come back exactly.
"""

import json
import sys
from pathlib import Path

import torch
from transformers.generation import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

HERE = Path(__file__).resolve().parent
VOCAB = 120
# A result is only worth comparing where float32 rounding of a sum cannot turn it.
LEAST_MARGIN = 1e-5

SETTINGS = [
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8},
    {"temperature": 0.1},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 7},
    {"top_k": 40},
    {"top_k": 500},
    {"top_k": 1, "keep": 3},
    {"top_p": 0.75},
    {"top_p": 0.05},
    {"top_p": 0.05, "keep": 5},
    {"top_p": 0.999},
    {"min_p": 0.05},
    {"min_p": 0.9, "keep": 4},
    {"min_p": 1.0},
    {"temperature": 0.1, "top_p": 0.75, "top_k": 40},
    {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.2},
    {"temperature": 1.7, "top_p": 0.6, "top_k": 30, "min_p": 0.02, "repetition_penalty": 1.1, "keep": 2},
]


def scores(seed, kind):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(VOCAB, generator=generator) * 3
    if kind == "ties":  # few distinct values
        raw = (raw * 2).round() / 2
    if kind == "log_softmax":
        raw = raw.log_softmax(-1)
    if kind == "peaked":
        raw[17] += 30
    return raw


def processors(settings):
    keep = settings.get("keep", 1)
    chain = LogitsProcessorList()
    if "repetition_penalty" in settings:
        chain.append(RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"]))
    if "temperature" in settings:
        chain.append(TemperatureLogitsWarper(settings["temperature"]))
    if "top_k" in settings:
        chain.append(TopKLogitsWarper(settings["top_k"], min_tokens_to_keep=keep))
    if "top_p" in settings:
        chain.append(TopPLogitsWarper(settings["top_p"], min_tokens_to_keep=keep))
    if "min_p" in settings:
        chain.append(MinPLogitsWarper(settings["min_p"], min_tokens_to_keep=keep))
    return chain


def check_margins(chain, ids, values):
    """No sum that decides about a token lies close to its bound."""
    for processor in chain:
        if isinstance(processor, TopPLogitsWarper):
            sums = values.sort(dim=-1).values.double().softmax(-1).cumsum(-1)
            margin = (sums - (1 - processor.top_p)).abs().min().item()
            assert margin > LEAST_MARGIN, margin
        values = processor(ids, values)


def cases():
    for seed, kind in enumerate(["plain", "ties", "log_softmax", "peaked"]):
        values = scores(seed + 10, kind)
        text = torch.randint(0, VOCAB, (25,), generator=torch.Generator().manual_seed(seed))
        text[:3] = values.argmax()  # a token that comes three times is punished once
        results = []
        for settings in SETTINGS:
            ids, batch = text[None], values[None]
            chain = processors(settings)
            check_margins(chain, ids, batch)
            out = chain(ids, batch.clone())[0]
            kept = [[i, v] for i, v in enumerate(out.tolist()) if v != float("-inf")]
            results.append({"settings": settings, "kept": kept})
        yield {"kind": kind, "scores": values.tolist(), "text": text.tolist(), "results": results}


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    (out / "processors.json").write_text(json.dumps(list(cases())) + "\n")


if __name__ == "__main__":
    main()
