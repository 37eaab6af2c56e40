"""Writes a LLaMA-7B of random numbers in NF4 with double quantisation, as bitsandbytes serialises it: 3.9 GB.

    python random_nf4.py TOKENIZER_DIR OUT_DIR
    /usr/bin/time -v finetune --base_model OUT_DIR --data_path FILE --output_dir ADAPTER --lora_target_modules all-linear \\
        --batch_size 1 --micro_batch_size 1 --cutoff_len 64 --max_steps 1 --val_set_size 0 --gradient_checkpointing
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from bitsandbytes.functional import create_dynamic_map, get_4bit_type

HIDDEN, INTERMEDIATE, LAYERS, VOCAB = 4096, 11008, 32, 32000
random = np.random.default_rng(0)


def plain(shape, value=None):
    """bfloat16: `value`, or small numbers of either sign."""
    count = int(np.prod(shape))
    if value is not None:
        return "BF16", shape, lambda: torch.full((count,), value, dtype=torch.bfloat16).view(torch.uint8).numpy().tobytes()
    return "BF16", shape, lambda: (0.02 * torch.randn(count)).bfloat16().view(torch.uint8).numpy().tobytes()


def floats(values):
    values = np.asarray(values, dtype="<f4")
    return "F32", list(values.shape), values.tobytes


def linear(name, rows, columns):
    numbers = rows * columns
    blocks = numbers // 64
    state = {
        "quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [rows, columns],
        "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.03,
    }
    state = json.dumps(state).encode()
    return {
        name: ("U8", [numbers // 2, 1], lambda: random.bytes(numbers // 2)),
        f"{name}.absmax": ("U8", [blocks], lambda: random.bytes(blocks)),
        f"{name}.quant_map": floats(get_4bit_type("nf4", device="cpu").numpy()),
        f"{name}.nested_absmax": floats(np.full(-(-blocks // 256), 0.005)),
        f"{name}.nested_quant_map": floats(create_dynamic_map().numpy()),
        f"{name}.quant_state.bitsandbytes__nf4": ("U8", [len(state)], lambda: state),
    }


def tensors():
    result = {"model.embed_tokens.weight": plain([VOCAB, HIDDEN])}
    for layer in range(LAYERS):
        path = f"model.layers.{layer}"
        for leaf in ["q_proj", "k_proj", "v_proj", "o_proj"]:
            result |= linear(f"{path}.self_attn.{leaf}.weight", HIDDEN, HIDDEN)
        for leaf in ["gate_proj", "up_proj"]:
            result |= linear(f"{path}.mlp.{leaf}.weight", INTERMEDIATE, HIDDEN)
        result |= linear(f"{path}.mlp.down_proj.weight", HIDDEN, INTERMEDIATE)
        for leaf in ["input_layernorm", "post_attention_layernorm"]:
            result[f"{path}.{leaf}.weight"] = plain([HIDDEN], 1.0)
    return result | {"model.norm.weight": plain([HIDDEN], 1.0), "lm_head.weight": plain([VOCAB, HIDDEN])}


def main():
    tokenizer, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True)
    for path in tokenizer.glob("*token*"):
        shutil.copy(path, out)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS, "num_attention_heads": 32,
        "num_key_value_heads": 32, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "vocab_size": VOCAB,
        "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
        "quantization_config": {
            "quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "bfloat16", "bnb_4bit_quant_storage": "uint8",
        },
    }
    (out / "config.json").write_text(json.dumps(config, indent=2))
    # Wide elements first, so that each begins where it may.
    order = sorted(tensors().items(), key=lambda item: (["F32", "BF16", "U8"].index(item[1][0]), item[0]))
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, _) in order:
        size = int(np.prod(shape)) * {"F32": 4, "BF16": 2, "U8": 1}[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(out / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, (_, _, content) in order:
            file.write(content())
    print(f"{at / 1e9:.2f} GB in {len(order)} tensors")


if __name__ == "__main__":
    main()
