"""Remakes the adapters of whole modules, of heads and embeddings, of biases and of other bases beside this file, with torch
2.11.0, transformers 4.57.1 and peft 0.17.1.

    python make_modules.py [OUTPUT_DIRECTORY]

The bases are two-layer models of the crate `llama-model`. Each directory is an adapter as PEFT saves it, with random values,
and `golden.json`: its base, and the logits that PEFT computes with the adapter after loading it onto that base. For adapters
that are trained here too there are the losses of a few steps of gradient descent over two sequences.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

from make import rounded, train

HERE = Path(__file__).resolve().parent
BASES = HERE.parents[2] / "llama-model" / "tests" / "goldens"

# alpha differs from r everywhere, so that a wrong scale shows. `base` and `vocab_size` are not PEFT's.
QV = {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "v_proj"]}
ADAPTERS = {
    "head": {**QV, "target_modules": ["q_proj", "lm_head", "embed_tokens"]},
    "saved": {**QV, "modules_to_save": ["lm_head", "embed_tokens", "norm"]},
    "tied_head": {**QV, "base": "tied_linear", "target_modules": ["v_proj", "lm_head"]},
    "tied_embedding": {**QV, "base": "tied_linear", "target_modules": ["v_proj", "embed_tokens"]},
    "tied_saved": {**QV, "base": "tied_linear", "modules_to_save": ["embed_tokens"]},
    "resized": {**QV, "vocab_size": 51, "modules_to_save": ["embed_tokens", "lm_head"]},
    "tied_resized": {**QV, "base": "tied_linear", "vocab_size": 50},
    "tokens": {**QV, "trainable_token_indices": [3, 7]},
    "tied_tokens": {**QV, "base": "tied_linear", "trainable_token_indices": {"embed_tokens": [5, 40]}},
    "biases": {**QV, "base": "biased", "bias": "all"},
    "biases_of_lora": {**QV, "base": "biased", "bias": "lora_only", "lora_bias": True},
    "pissa": {**QV, "init_lora_weights": "pissa"},
    "olora": {**QV, "target_modules": ["k_proj", "down_proj"], "init_lora_weights": "olora"},
    "look_ahead": {**QV, "target_modules": r".*\.(?!0\b)\d+\.(self_attn\.[qk]|mlp\.up)_proj"},
    "second_layer": {**QV, "layers_to_transform": 1, "layers_pattern": "layers"},
}
TRAINED = ["head", "saved"]


def model_of(base, vocab_size):
    model = LlamaForCausalLM.from_pretrained(BASES / base, dtype=torch.float32, attn_implementation="eager")
    if vocab_size:
        model.resize_token_embeddings(vocab_size, mean_resizing=False)
    return model


def make(out, name, changes, seed):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    changes = dict(changes)
    base, vocab_size = changes.pop("base", "llama3"), changes.pop("vocab_size", None)
    torch.manual_seed(seed)
    config = LoraConfig(task_type="CAUSAL_LM", **changes)
    model = get_peft_model(model_of(base, vocab_size), config).eval()
    generator = torch.Generator().manual_seed(seed)
    own = ("lora_", "modules_to_save", "trainable_tokens_delta")
    for key, parameter in model.named_parameters():
        is_bias = key.endswith(".bias") and changes.get("bias", "none") != "none"
        if any(part in key for part in own) or (is_bias and parameter.requires_grad):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = parameter.data + 0.2 * noise if parameter.dim() == 1 else 0.3 * noise
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    (folder / "adapter_model.safetensors").chmod(0o644)
    config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": base}
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    ids = torch.randint(3, 48, (1, 12), generator=generator)
    ids[0, 3], ids[0, 8] = 7, 40
    if vocab_size:
        ids[0, 5] = vocab_size - 1
    loaded = PeftModel.from_pretrained(model_of(base, vocab_size), folder).eval()
    with torch.no_grad():
        logits = loaded(ids).logits[0]
    golden = {"base": base, "input_ids": ids[0].tolist(), "logits": rounded(logits)}
    if name in TRAINED:
        batch = torch.randint(3, 48, (2, 12), generator=generator)
        trainable = PeftModel.from_pretrained(model_of(base, vocab_size), folder, is_trainable=True)
        golden |= {"batch": batch.tolist(), "losses": train(trainable, batch)}
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for seed, (name, changes) in enumerate(ADAPTERS.items()):
        make(out, name, changes, 100 + seed)


if __name__ == "__main__":
    main()
