"""Loads an adapter that this project saved with Python's peft, and compares logits.

    python check_with_peft.py BASE_MODEL ADAPTER LOGITS_JSON

`LOGITS_JSON` holds `input_ids` and `logits` as the files `golden.json` beside this script. Not a part of the tests: it
wants torch, transformers and peft. The test `peft_logits` of the crate `cli` writes such a pair when the environment
names a directory in `LORA_KEEP_SAVED`.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

TOLERANCE = 1e-4


def main():
    base_dir, adapter, expected = map(Path, sys.argv[1:4])
    base = LlamaForCausalLM.from_pretrained(base_dir, dtype=torch.float32, attn_implementation="eager")
    expected = json.loads(expected.read_text())
    ids = torch.tensor([expected["input_ids"]])
    ours = torch.tensor(expected["logits"])
    with torch.no_grad():
        plain = base(ids).logits[0]
        model = PeftModel.from_pretrained(base, adapter).eval()
        theirs = model(ids).logits[0]
        merged = model.merge_and_unload()(ids).logits[0]
    difference = (ours - theirs).abs().max().item()
    print(f"largest difference {difference:.2e}; merged {(ours - merged).abs().max().item():.2e}; "
          f"the adapter itself changes logits by {(plain - theirs).abs().max().item():.2e}")
    if not difference < TOLERANCE:
        sys.exit(1)


if __name__ == "__main__":
    main()
