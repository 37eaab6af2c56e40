"""Records, prompts and LoRA as both Python peers use them: what a user of transformers and peft would write."""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

TEMPLATES = Path(__file__).parent.parent / "crates/alpaca-data/templates"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_tokenizer(base_model):
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = 0
    return tokenizer


def load_examples(path, tokenizer, cutoff_len):
    """Tokenised records: BOS, prompt, answer, and EOS where the cutoff leaves room; every token is a label."""
    template = json.loads((TEMPLATES / "alpaca.json").read_text())
    examples = []
    for record in json.loads(Path(path).read_text()):
        prompt = template["prompt_input" if record.get("input") else "prompt_no_input"]
        text = prompt.format(instruction=record["instruction"], input=record.get("input", "")) + record["output"]
        ids = tokenizer(text, truncation=True, max_length=cutoff_len)["input_ids"]
        if len(ids) < cutoff_len and ids[-1] != tokenizer.eos_token_id:
            ids.append(tokenizer.eos_token_id)
        examples.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": list(ids)})
    return examples


def load_base(base_model, dtype, device, quantize=None):
    """The model on `device`; with "nf4", its linear layers quantised by bitsandbytes on the way."""
    if quantize is None:
        return AutoModelForCausalLM.from_pretrained(base_model, dtype=dtype).to(device)
    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=quantize, bnb_4bit_compute_dtype=dtype)
    return AutoModelForCausalLM.from_pretrained(
        base_model, dtype=dtype, device_map={"": device}, quantization_config=quantization
    )


def load_model(base_model, dtype, lora_r, lora_alpha, lora_dropout, target_modules, device="cpu", quantize=None):
    model = load_base(base_model, dtype, device, quantize)
    model.config.use_cache = False
    config = LoraConfig(
        r=lora_r,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
        target_modules=target_modules,
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)
