"""Remakes greedy.json beside this file, with torch 2.11.0 and transformers 4.57.1.

    python make_greedy.py [OUTPUT_DIRECTORY [SHARED_DATA_DIRECTORY]]

Greedy continuations by transformers of two trained models that are not part of the repository; the file is left alone
when their directory (by default `../shared/data` beside the workspace) is absent.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
MAX_NEW_TOKENS = 48
# Of different lengths; the models write stories.
PROMPTS = [
    "Once upon a time",
    "Lily saw a big red dog in the park. She was not afraid, because the dog",
    "Tom",
    "One day, the little bird could not find its nest. It asked the old owl for help.",
]
# A continuation is only worth comparing where float32 rounding cannot turn it.
LEAST_MARGIN = 1e-3


def continuations(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=MAX_NEW_TOKENS,
            pad_token_id=0,
            output_scores=True,
            return_dict_in_generate=True,
        )
        margin = min((top[0] - top[1]).item() for top in (score[0].topk(2).values for score in output.scores))
        assert margin > LEAST_MARGIN, f"{prompt!r}: {margin}"
        yield {"prompt": prompt, "prompt_ids": ids[0].tolist(), "ids": output.sequences[0, ids.shape[1] :].tolist()}


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    shared = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE.parents[4] / "shared" / "data"
    if not shared.is_dir():
        print(f"{shared} is absent: greedy.json is left alone", file=sys.stderr)
        return
    models = {name: list(continuations(shared / "models" / name)) for name in ["stories260K-hf", "stories15M-hf"]}
    (out / "greedy.json").write_text(json.dumps(models) + "\n")


if __name__ == "__main__":
    main()
