"""Remakes qlora.json beside this file, with torch 2.11.0, transformers 4.57.1, peft 0.17.1 and bitsandbytes 0.50.2 (CPU).

    python make_qlora.py [OUTPUT_DIRECTORY]

Twenty steps of QLoRA (NF4, double quantisation, float32 compute) and of LoRA over LLM.int8() weights on the embedded
tiny-llama: token ids, losses, and norms of the final adapter.
"""

import json
import logging
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TORCHDYNAMO_DISABLE"] = "1"
logging.disable(logging.WARNING)

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, BitsAndBytesConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
MODEL = ROOT / "datasets" / "tiny-llama"
RECORDS = ROOT / "datasets" / "records" / "train.json"
STEPS, BATCH, LENGTH = 20, 4, 24
R, ALPHA, LR = 8, 16, 1e-3


def factor(shape, stream):
    """Values that any program can make: no random generator is shared with another."""
    index = torch.arange(shape[0] * shape[1], dtype=torch.float64) + 1000.0 * stream
    return (0.05 * torch.sin(index * 0.7)).to(torch.float32).reshape(shape)


def batches(tokenizer):
    records = json.loads(RECORDS.read_text())
    text = " ".join(f"{record['instruction']} {record['output']}" for record in records[:400])
    ids = tokenizer(text)["input_ids"]
    rows = torch.tensor(ids[: STEPS * BATCH * LENGTH]).reshape(STEPS, BATCH, LENGTH)
    return rows


def run(config, rows):
    model = LlamaForCausalLM.from_pretrained(
        MODEL, dtype=torch.float32, quantization_config=config, attn_implementation="eager", device_map="cpu"
    )
    model.config.use_cache = False
    lora = LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora)
    model.train()
    names = [name for name, _ in model.named_parameters() if "lora_A" in name]
    with torch.no_grad():
        for stream, name in enumerate(names):
            parameter = model.get_parameter(name)
            parameter.copy_(factor(parameter.shape, stream))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    losses = []
    for ids in rows:
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    norms = [model.get_parameter(name.replace("lora_A", "lora_B")).norm().item() for name in names]
    return {"losses": losses, "b_norms": norms}


def main():
    torch.set_num_threads(2)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    rows = batches(AutoTokenizer.from_pretrained(MODEL))
    four = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    result = {
        "r": R,
        "lora_alpha": ALPHA,
        "learning_rate": LR,
        "input_ids": rows.tolist(),
        "nf4": run(four, rows),
        "int8": run(BitsAndBytesConfig(load_in_8bit=True), rows),
    }
    (out / "qlora.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
