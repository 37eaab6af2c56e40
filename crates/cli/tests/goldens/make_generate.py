"""Remakes generate.json beside this file, with torch 2.11.0 and transformers 4.57.1.

    python make_generate.py [OUTPUT_DIRECTORY [SHARED_DATA_DIRECTORY]]

Greedy and beam continuations by transformers: of the two-layer models of `crates/llama-model/tests/goldens`, and of two
trained models that are not part of the repository; and a perplexity of one of them. What needs the trained models is kept
as it is when their directory (by default `../shared/data` beside the workspace) is absent.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
FAMILIES = HERE.parents[2] / "llama-model" / "tests" / "goldens"
MAX_NEW_TOKENS = 64
TEXTS = [
    "Once upon a time",
    "Lily saw a big red dog in the park. She was not afraid, because the dog",
    "Tom",
]
IDS = [[1, 5, 9, 30, 7, 7, 41], [1, 44], [1, 3, 3, 12, 19, 40, 22, 8, 33, 6, 25]]
BEAMS = {"num_beams": 4}
SETTINGS = [
    {},
    {"repetition_penalty": 1.3},
    *({**BEAMS, "length_penalty": p, "early_stopping": e} for p in [0.6, 1.0, 2.0] for e in [False, True]),
    {**BEAMS, "length_penalty": -1.0},
    {"num_beams": 3, "repetition_penalty": 1.3},
]
# A greedy continuation is only worth comparing where float32 rounding cannot turn it.
LEAST_MARGIN = 1e-4
STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a "
    "big red ball on the grass. She wanted to play with it, but it was too high up in a tree. Lily asked her mom for "
    "help. Her mom said, \"Let's find a long stick.\" They looked and looked until they found one. The ball fell down "
    "and Lily was very happy. She said thank you and they went home for dinner."
)


def continuations(model, prompts, eos_lists):
    for eos_ids in eos_lists:
        for settings in SETTINGS:
            answers = []
            for prompt in prompts:
                ids = torch.tensor([prompt])
                output = model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=False,
                    max_new_tokens=MAX_NEW_TOKENS,
                    eos_token_id=eos_ids or None,
                    pad_token_id=0,
                    output_scores=True,
                    return_dict_in_generate=True,
                    **settings,
                )
                if "num_beams" not in settings:
                    tops = (score[0].topk(2).values for score in output.scores)
                    margin = min((top[0] - top[1]).item() for top in tops)
                    assert margin > LEAST_MARGIN, f"{prompt}, {settings}: {margin}"
                answers.append(output.sequences[0, len(prompt) :].tolist())
            yield {"eos_ids": eos_ids, "settings": settings, "answers": answers}


def load(folder):
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def case(model, prompts, eos_lists):
    model.generation_config.bos_token_id = None
    return {"prompts": prompts, "continuations": list(continuations(model, prompts, eos_lists))}


def perplexity(folder, window=40, stride=15):
    """As transformers' guide "Perplexity of fixed-length models" has it, every token counted alike."""
    model, ids = load(folder), AutoTokenizer.from_pretrained(folder)(STORY, return_tensors="pt").input_ids
    total, count, last = 0.0, 0, 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + window, ids.shape[1])
        labels = ids[:, begin:end].clone()
        labels[:, : last - begin] = -100
        with torch.no_grad():
            logits = model(ids[:, begin:end]).logits[0, :-1]
        total += torch.nn.functional.cross_entropy(logits, labels[0, 1:], ignore_index=-100, reduction="sum").item()
        count += (labels[0, 1:] != -100).sum().item()
        last = end
        if end == ids.shape[1]:
            break
    value = torch.tensor(total / count).exp().item()
    return {"text": STORY, "window": window, "stride": stride, "tokens": count, "perplexity": round(value, 5)}


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    shared = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE.parents[4] / "shared" / "data"
    families = {
        name: case(load(FAMILIES / name), IDS, [[2], [2, 17, 30], []])
        for name in ["llama1", "llama3", "tied_linear", "biased"]
    }
    if shared.is_dir():
        trained = {}
        for name in ["stories260K-hf", "stories15M-hf"]:
            folder = shared / "models" / name
            prompts = AutoTokenizer.from_pretrained(folder)(TEXTS).input_ids
            trained[name] = case(load(folder), prompts, [[2]])
        whole = {"trained": trained, "perplexity": perplexity(shared / "models" / "stories15M-hf")}
    else:
        print(f"{shared} is absent: what needs it is left as it is", file=sys.stderr)
        whole = json.loads((HERE / "generate.json").read_text())
        del whole["families"]
    (out / "generate.json").write_text(json.dumps({"families": families} | whole) + "\n")


if __name__ == "__main__":
    main()
