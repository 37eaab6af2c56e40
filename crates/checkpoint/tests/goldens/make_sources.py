"""Remakes `meta/` and `gguf/`, with torch 2.11.0, transformers 4.57.1 and gguf 0.19.0; run llama-model's `make.py` before.

    python make_sources.py [OUTPUT_DIRECTORY]

`meta/` is a two-layer model in two shards as Meta writes them, cut as its parallel layers are, the embedding along its
width, with grouped heads, a `ffn_dim_multiplier` and stretched rotary frequencies. `gguf/FAMILY.gguf` is a model of
`make.py` as llama.cpp's converter writes it, in blocks of Q8_0 where the rows fit. Each `*.json` holds what transformers
computes with the same weights in float32.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
FAMILIES_DIR = HERE.parents[2] / "llama-model/tests/goldens"
sys.path.insert(0, str(FAMILIES_DIR))
from make import randomise, rounded  # noqa: E402
FAMILIES = ["llama3", "tied_linear", "biased", "qwen2", "qwen3"]
# The one that can be used as a whole.
WITH_TOKENIZER = "tied_linear"
META_SHARDS = 2
PARAMS = {
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "vocab_size": -1,
    "multiple_of": 16,
    "ffn_dim_multiplier": 0.5,
    "norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "use_scaled_rope": True,
}


def golden(model, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, model.config.vocab_size, (1, 12), generator=generator)
    with torch.no_grad():
        logits = model(ids).logits[0]
    return json.dumps({"input_ids": ids[0].tolist(), "logits": [rounded(row) for row in logits]}) + "\n"


def meta(out):
    config = LlamaConfig(
        vocab_size=48,
        hidden_size=32,
        # int(0.5 * int(8 * 32 / 3)) rounded up to a multiple of 16
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        rope_theta=500000.0,
        max_position_embeddings=131072,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config)
    randomise(model, 10)
    for parameter in model.parameters():
        parameter.data.copy_(parameter.data.bfloat16())

    def interleave(weight, heads):
        return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)

    state = {key: value.detach().bfloat16() for key, value in model.state_dict().items()}
    # Meta's name, tensor, dimension along which it is cut.
    tensors = [
        ("tok_embeddings.weight", state["model.embed_tokens.weight"], 1),
        ("norm.weight", state["model.norm.weight"], None),
        ("output.weight", state["lm_head.weight"], 0),
    ]
    for layer in range(2):
        of = lambda name: state[f"model.layers.{layer}.{name}.weight"]
        for name, tensor, dim in [
            ("attention.wq", interleave(of("self_attn.q_proj"), 4), 0),
            ("attention.wk", interleave(of("self_attn.k_proj"), 2), 0),
            ("attention.wv", of("self_attn.v_proj"), 0),
            ("attention.wo", of("self_attn.o_proj"), 1),
            ("feed_forward.w1", of("mlp.gate_proj"), 0),
            ("feed_forward.w2", of("mlp.down_proj"), 1),
            ("feed_forward.w3", of("mlp.up_proj"), 0),
            ("attention_norm", of("input_layernorm"), None),
            ("ffn_norm", of("post_attention_layernorm"), None),
        ]:
            tensors.append((f"layers.{layer}.{name}.weight", tensor, dim))
    out.mkdir(parents=True, exist_ok=True)
    for shard in range(META_SHARDS):
        cut = {
            name: tensor.clone() if dim is None else tensor.chunk(META_SHARDS, dim)[shard].clone()
            for name, tensor, dim in tensors
        }
        torch.save(cut, out / f"consolidated.{shard:02}.pth")
    (out / "params.json").write_text(json.dumps(PARAMS) + "\n")
    (out / "golden.json").write_text(golden(model.eval(), 110))


def permute(weight, heads):
    """llama.cpp's `convert_hf_to_gguf.py`, `LlamaModel.permute`."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def llama3_divisors(config):
    scaling = config.rope_scaling
    frequencies = 1.0 / config.rope_theta ** (np.arange(0, config.head_dim, 2) / config.head_dim)
    low = scaling["original_max_position_embeddings"] / scaling["low_freq_factor"]
    high = scaling["original_max_position_embeddings"] / scaling["high_freq_factor"]
    divisors = []
    for wavelength in 2 * np.pi / frequencies:
        if wavelength < high:
            divisors.append(1.0)
        elif wavelength > low:
            divisors.append(scaling["factor"])
        else:
            smooth = scaling["original_max_position_embeddings"] / wavelength - scaling["low_freq_factor"]
            smooth /= scaling["high_freq_factor"] - scaling["low_freq_factor"]
            divisors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return np.array(divisors, dtype=np.float32)


def add_tokenizer(writer, size):
    """A token for each of some characters, one merge, and a chat template."""
    characters = [chr(ord("a") + index) for index in range(26)] + list("\u0120\u010a.,:!?#RWI")
    tokens = ["<unk>", "<s>", "</s>", *characters, "th"]
    tokens += [f"[PAD{index}]" for index in range(len(tokens), size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if index < 3 else 5 if token.startswith("[PAD") else 1 for index, token in enumerate(tokens)])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_chat_template("{% for message in messages %}{{ message.content }}{% endfor %}")


def gguf_family(out, family, seed):
    model = AutoModelForCausalLM.from_pretrained(FAMILIES_DIR / family, torch_dtype=torch.float32, attn_implementation="eager")
    config = model.config
    architecture = config.model_type
    writer = gguf.GGUFWriter(out / f"{family}.gguf", architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_theta)
    head_dim = getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    writer.add_rope_dimension_count(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if head_dim * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    scaling = config.rope_scaling or {}
    if scaling.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    if scaling.get("rope_type") == "llama3":
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
        writer.add_tensor("rope_freqs.weight", llama3_divisors(config))
    if family == WITH_TOKENIZER:
        add_tokenizer(writer, config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], config.num_hidden_layers)
    tied = config.tie_word_embeddings
    for name, parameter in model.named_parameters():
        if tied and name == "lm_head.weight":
            continue
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        weight = parameter.detach().numpy()
        if weight.ndim == 2 and weight.shape[1] % 32 == 0:
            blocks = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q8_0)
            weight = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0)
            parameter.data.copy_(torch.from_numpy(weight))
        # Of these, only LLaMA's rows are put in another order.
        if heads is not None and architecture == "llama":
            weight = permute(weight, heads)
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if weight.ndim == 2 and weight.shape[1] % 32 == 0:
            blocks = gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q8_0)
            # Rows that have been moved are the same blocks.
            assert np.array_equal(gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType.Q8_0), weight), name
            writer.add_tensor(target, blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(target, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (out / f"{family}.json").write_text(golden(model, seed))


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    meta(out / "meta")
    (out / "gguf").mkdir(parents=True, exist_ok=True)
    for seed, family in enumerate(FAMILIES, 200):
        gguf_family(out / "gguf", family, seed)


if __name__ == "__main__":
    main()
