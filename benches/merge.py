"""The lab's merge with transformers and peft: load in bfloat16, merge_and_unload, save_pretrained. The peer of `merge`.

    python merge.py merge BASE_MODEL ADAPTER OUTPUT_DIR
    python merge.py adapter BASE_MODEL OUTPUT_DIR [R]

The second form writes an adapter of random factors for every linear layer, for the benches to merge. The first prints
one line of JSON: the seconds it took from the start of Python's `main`, without the import of libraries.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import save_file
from transformers import AutoConfig, LlamaForCausalLM

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def merge(base, adapter, out):
    started = time.perf_counter()
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.bfloat16, device_map={"": "cpu"})
    model = PeftModel.from_pretrained(model, adapter, device_map={"": "cpu"})
    model = model.merge_and_unload()
    model.save_pretrained(out)
    for path in [*Path(out).iterdir(), Path(out)]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    print(json.dumps({"seconds": time.perf_counter() - started}))


def make_adapter(base, out, r=8):
    config = AutoConfig.from_pretrained(base)
    hidden, inner = config.hidden_size, config.intermediate_size
    head = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
    queries, keys = head * config.num_attention_heads, head * config.num_key_value_heads
    shapes = {
        "self_attn.q_proj": (hidden, queries), "self_attn.k_proj": (hidden, keys), "self_attn.v_proj": (hidden, keys),
        "self_attn.o_proj": (queries, hidden), "mlp.gate_proj": (hidden, inner), "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }
    torch.manual_seed(0)
    factors = {}
    for layer in range(config.num_hidden_layers):
        for leaf, (inputs, outputs) in shapes.items():
            name = f"base_model.model.model.layers.{layer}.{leaf}"
            factors[f"{name}.lora_A.weight"] = torch.randn(r, inputs) / inputs**0.5
            factors[f"{name}.lora_B.weight"] = 0.05 * torch.randn(outputs, r)
    Path(out).mkdir(parents=True, exist_ok=True)
    save_file(factors, Path(out, "adapter_model.safetensors"), metadata={"format": "pt"})
    LoraConfig(r=r, lora_alpha=2 * r, target_modules=LINEARS, task_type="CAUSAL_LM").save_pretrained(out)


if __name__ == "__main__":
    if sys.argv[1] == "merge":
        merge(*sys.argv[2:5])
    else:
        make_adapter(*sys.argv[2:4], *map(int, sys.argv[4:5]))
