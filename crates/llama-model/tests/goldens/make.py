"""Remakes the models and logits beside this file, with torch 2.11.0 and transformers 4.57.1.

    python make.py [OUTPUT_DIRECTORY [SHARED_DATA_DIRECTORY]]

Each directory holds a two-layer model of one family in 16-bit weights, and what transformers computes with them in
float32. `config_keys.json` lists the keys of transformers' configurations. `stories.json` is a small excerpt of the same for two trained models that are not part of the repository; it
is left alone when their directory (by default `../shared/data` beside the workspace) is absent.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
PROMPT = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."

COMMON = {
    "vocab_size": 48,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
# Wavelengths on both sides of `original_max_position_embeddings` and between, within the tokens of the golden.
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES = {
    "llama1": (torch.float16, {}),
    "llama3": (
        torch.bfloat16,
        {
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_theta": 500000.0,
            "rope_scaling": LLAMA3_ROPE,
            "rms_norm_eps": 1e-5,
        },
    ),
    "tied_linear": (
        torch.bfloat16,
        {"tie_word_embeddings": True, "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    ),
    "biased": (torch.float16, {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 1}),
    "qwen2": (torch.bfloat16, {"num_key_value_heads": 2, "rope_theta": 1e6, "tie_word_embeddings": True}),
    "qwen3": (torch.bfloat16, {"num_key_value_heads": 2, "rope_theta": 1e6, "head_dim": 16}),
    # The golden's texts are within the context, grow out of it, and are far beyond.
    "dynamic": (
        torch.float16,
        {"max_position_embeddings": 64, "rope_scaling": {"rope_type": "dynamic", "factor": 8.0}},
    ),
    "yarn": (
        torch.bfloat16,
        {
            "head_dim": 16,
            "max_position_embeddings": 512,
            "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64},
        },
    ),
    "yarn_mscale": (
        torch.bfloat16,
        {
            "head_dim": 16,
            "rope_theta": 500000.0,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 128,
                "beta_fast": 8.0,
                "beta_slow": 0.5,
                "mscale": 0.7,
                "mscale_all_dim": 1.2,
                "truncate": False,
            },
        },
    ),
}
# The others are LLaMA's.
CLASSES = {"qwen2": "Qwen2", "qwen3": "Qwen3"}
GREEDY_TOKENS = 16
# Tokens that are read at once, and all of them: the others follow one by one.
CONTINUED_FROM, CONTINUED_TO = 60, 72


def randomise(model, seed):
    """Weights of a size at which every part of the model matters."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            value = 1 + 0.3 * noise
        elif name.endswith(".bias"):
            value = 0.3 * noise
        elif "embed_tokens" in name:
            value = noise
        else:
            value = 1.4 * noise / parameter.shape[1] ** 0.5
        parameter.data.copy_(value)


def greedy(model, ids):
    """The most probable continuation of one prompt, each token from the whole text before it."""
    for _ in range(GREEDY_TOKENS):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        ids = [*ids, logits.argmax().item()]
    return ids


def continued(model, ids):
    """The logits after the first tokens, and after each that is fed in behind them."""
    with torch.no_grad():
        output = model(ids[:, :CONTINUED_FROM], use_cache=True)
        rows = [output.logits[0, -1]]
        for at in range(CONTINUED_FROM, CONTINUED_TO):
            output = model(ids[:, at : at + 1], past_key_values=output.past_key_values, use_cache=True)
            rows.append(output.logits[0, -1])
    return rows


def rounded(values):
    return [round(value, 6) for value in values.flatten().tolist()]


def golden(model, seed):
    vocab = model.config.vocab_size
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocab, (1, 20), generator=generator)
    with torch.no_grad():
        logits = model(ids).logits[0]
    long_ids = torch.randint(3, vocab, (1, 400), generator=generator)
    with torch.no_grad():
        long_logits = model(long_ids).logits[0, -2:]
    labels = ids.clone()
    labels[0, :7] = -100
    labels[0, 12] = -100
    model.zero_grad()
    outputs = model(ids).logits[0, :-1]
    loss = torch.nn.functional.cross_entropy(outputs, labels[0, 1:], ignore_index=-100, reduction="sum")
    loss.backward()
    norms = {name: round(p.grad.norm().item(), 6) for name, p in model.named_parameters()}
    continued_ids = torch.randint(3, vocab, (1, CONTINUED_TO), generator=generator)
    return {
        "input_ids": ids[0].tolist(),
        "logits": [rounded(row) for row in logits],
        "greedy": greedy(model, ids[0, :6].tolist()),
        "labels": labels[0].tolist(),
        "loss_sum": round(loss.item(), 6),
        "gradient_norms": norms,
        "long_input_ids": long_ids[0].tolist(),
        "long_last_logits": [rounded(row) for row in long_logits],
        "continued_input_ids": continued_ids[0].tolist(),
        "continued_from": CONTINUED_FROM,
        "continued_logits": [rounded(row) for row in continued(model, continued_ids)],
    }


def make_family(out, name, kind, changes, seed):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    prefix = CLASSES.get(name, "Llama")
    model_class = getattr(transformers, f"{prefix}ForCausalLM")
    config = getattr(transformers, f"{prefix}Config")(**(COMMON | changes), torch_dtype=kind)
    model = model_class(config)
    randomise(model, seed)
    state = {key: value.detach().to(kind).contiguous() for key, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        del state["lm_head.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    config.architectures = [model_class.__name__]
    config.save_pretrained(folder)
    model = model_class.from_pretrained(folder, torch_dtype=torch.float32, attn_implementation="eager")
    for key, value in load_file(folder / "model.safetensors").items():
        assert torch.equal(model.state_dict()[key], value.float()), key
    (folder / "golden.json").write_text(json.dumps(golden(model, seed + 100)) + "\n")


def stories(shared):
    for name in ["stories260K-hf", "stories15M-hf"]:
        folder = shared / "models" / name
        ids = AutoTokenizer.from_pretrained(folder)(PROMPT).input_ids
        model = LlamaForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, attn_implementation="eager")
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        top = logits[-1].topk(8)
        yield name, {
            "input_ids": ids,
            "argmax": logits.argmax(-1).tolist(),
            "last_top": [[i, round(v, 6)] for i, v in zip(top.indices.tolist(), top.values.tolist())],
            "last_first": rounded(logits[-1, :8]),
            "middle_first": rounded(logits[len(ids) // 2, :8]),
        }


def config_keys():
    """Every key that transformers knows of these configurations."""
    names = ["LlamaConfig", "Qwen2Config", "Qwen3Config"]
    return {name: sorted(getattr(transformers, name)().to_dict()) for name in names}


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    shared = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE.parents[4] / "shared" / "data"
    for seed, (name, (kind, changes)) in enumerate(FAMILIES.items()):
        make_family(out, name, kind, changes, seed)
    (out / "config_keys.json").write_text(json.dumps(config_keys()) + "\n")
    if shared.is_dir():
        (out / "stories.json").write_text(json.dumps(dict(stories(shared))) + "\n")
    else:
        print(f"{shared} is absent: stories.json is left alone", file=sys.stderr)


if __name__ == "__main__":
    main()
