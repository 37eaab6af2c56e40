"""Remakes the adapters and logits beside this file, with torch 2.11.0, transformers 4.57.1 and peft 0.17.1.

    python make.py [OUTPUT_DIRECTORY]

The base is the two-layer model `llama3` of the crate `llama-model`. Each directory is an adapter as PEFT saves it, with
random factors, and `golden.json`: the logits PEFT computes with it. For DoRA there are the logits after
`merge_and_unload` too, and the losses of a few steps of gradient descent over two sequences.
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

HERE = Path(__file__).resolve().parent
BASE = HERE.parents[2] / "llama-model" / "tests" / "goldens" / "llama3"

# alpha differs from r everywhere, so that a wrong scale shows.
ADAPTERS = {
    "q_and_v": {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"]},
    "patterns": {
        "r": 4,
        "lora_alpha": 10,
        "target_modules": "all-linear",
        "use_rslora": True,
        "rank_pattern": {"down_proj": 2, "layers.1.self_attn.k_proj": 3},
        "alpha_pattern": {"up_proj": 3, r".*\.0\.self_attn\.o_proj": 1.5},
    },
    "excluded": {
        "r": 3,
        "lora_alpha": 5,
        "target_modules": r".*\.(self_attn|mlp)\.(q|o|gate)_proj",
        "exclude_modules": ["o_proj"],
        "layers_to_transform": None,
        "lora_dropout": 0.3,
    },
    "dora": {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "o_proj", "up_proj", "down_proj"], "use_dora": True},
}

# Of the training run that the adapter `dora` begins.
STEPS, LEARNING_RATE = 8, 0.3


def rounded(logits):
    return [[round(v, 6) for v in row] for row in logits.tolist()]


def model_of_base():
    return LlamaForCausalLM.from_pretrained(BASE, dtype=torch.float32, attn_implementation="eager")


def train(model, batch):
    """Losses before each step."""
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=LEARNING_RATE)
    losses = []
    for _ in range(STEPS):
        loss = model(batch, labels=batch).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def make(out, name, changes, seed):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    model = get_peft_model(model_of_base(), LoraConfig(task_type="CAUSAL_LM", bias="none", **changes)).eval()
    generator = torch.Generator().manual_seed(seed)
    for key, parameter in model.named_parameters():
        if "magnitude" in key:
            parameter.data *= 1 + 0.3 * torch.randn(parameter.shape, generator=generator)
        elif "lora_" in key:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    (folder / "adapter_model.safetensors").chmod(0o644)
    # Sets become lists in an order of their own.
    config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": "llama3"}
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    ids = torch.randint(3, 48, (1, 12), generator=generator)
    with torch.no_grad():
        logits = model(ids).logits[0]
    golden = {"input_ids": ids[0].tolist(), "logits": rounded(logits)}
    if changes.get("use_dora"):
        batch = torch.randint(3, 48, (2, 12), generator=generator)
        golden |= {"batch": batch.tolist(), "losses": train(PeftModel.from_pretrained(model_of_base(), folder, is_trainable=True), batch)}
        with torch.no_grad():
            golden["merged_logits"] = rounded(model.merge_and_unload()(ids).logits[0])
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for seed, (name, changes) in enumerate(ADAPTERS.items()):
        make(out, name, changes, seed)


if __name__ == "__main__":
    main()
