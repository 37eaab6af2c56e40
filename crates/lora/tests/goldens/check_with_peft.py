"""Loads the adapters that this project saved with Python's peft, and compares logits.

    LORA_KEEP_SAVED=DIRECTORY cargo test -p cli --test peft_logits --test peft_modules saved
    LORA_KEEP_SAVED=DIRECTORY cargo test -p cli --test peft_modules grew
    python check_with_peft.py DIRECTORY

The tests write each adapter into a folder of its own, with `logits.json`: its base, `input_ids`, and the `logits` of this project.
Not a part of the tests: it wants torch, transformers and peft. With PYTHONPATH it takes another peft than the installed one.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

BASES = Path(__file__).resolve().parents[3] / "llama-model" / "tests" / "goldens"
TOLERANCE = 1e-4


def check(folder):
    expected = json.loads((folder / "logits.json").read_text())
    base = LlamaForCausalLM.from_pretrained(
        BASES / expected["base"], dtype=torch.float32, attn_implementation="eager"
    )
    ids = torch.tensor([expected["input_ids"]])
    ours = torch.tensor(expected["logits"])
    if ours.shape[1] != base.config.vocab_size:
        base.resize_token_embeddings(ours.shape[1], mean_resizing=False)
    with torch.no_grad():
        plain = base(ids).logits[0]
        model = PeftModel.from_pretrained(base, folder).eval()
        theirs = model(ids).logits[0]
    difference = (ours - theirs).abs().max().item()
    own = (plain - theirs).abs().max().item()
    verdict = "ok" if difference < TOLERANCE < own else "DIFFERS"
    print(f"{folder.name:30} {verdict}: {difference:.2e}; the adapter itself changes logits by {own:.2e}")
    return verdict == "ok"


def main():
    torch.set_num_threads(1)
    print(f"peft {peft.__version__}")
    folders = sorted(path.parent for path in Path(sys.argv[1]).glob("*/logits.json"))
    outcomes = [check(folder) for folder in folders]
    print(f"{sum(outcomes)} of {len(outcomes)} adapters compute the same")
    if not outcomes or not all(outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
