"""Merges with the program `merge` and with Python's peft, and compares every tensor; loads every output in Python.

    python check_with_peft.py MERGE BASE_MODEL ADAPTER

`MERGE` is the program. The adapter merges in float32, bfloat16 and float16, into a Hugging Face directory and into Meta's
state dict, and is combined as `linear` and `cat` with a second one, whose factors are drawn at random. Not a part of the tests: it
wants torch, transformers and peft, and for the GGUF file gguf and, where it is there, llama-cpp-python.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaForCausalLM

# In units in the last place of the sum, or of what it was made of where the sum is nearly nothing. peft rounds the delta
# to 16 bits before it adds it and rounds again; `merge` rounds once.
ROUNDINGS = {torch.float32: 2.0, torch.bfloat16: 1.0, torch.float16: 1.0}
PROMPT = "Once upon a time, there was a"
TOKENS = 24


def run_merge(program, out, base, adapters, *flags):
    words = [program, "--base_model", base, "--output_dir", out, "--overwrite_output_dir", *flags]
    for adapter in adapters:
        words += ["--adapter", adapter]
    subprocess.run(list(map(str, words)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def load_base(base, dtype):
    return LlamaForCausalLM.from_pretrained(base, dtype=dtype)


def merged_by_peft(base, adapter, dtype):
    return PeftModel.from_pretrained(load_base(base, dtype), adapter).merge_and_unload()


def tensors_of(model):
    state = model.state_dict()
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    return state


def compare(what, ours, theirs, base, dtype):
    """Largest difference of any element, in roundings of `dtype`, and how many tensors the adapter changed."""
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    worst, changed = 0.0, 0
    for name, expected in theirs.items():
        actual = ours[name]
        assert actual.dtype == expected.dtype == dtype and actual.shape == expected.shape, name
        if torch.equal(expected, base[name]):
            assert torch.equal(actual, expected), f"{name} changed"
            continue
        changed += 1
        size = torch.maximum(expected.double().abs(), base[name].double().abs())
        delta = (expected.double() - base[name].double()).abs()
        unit = torch.maximum(size, delta) * torch.finfo(dtype).eps
        unit = unit.clamp_min(torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps)
        worst = max(worst, ((actual.double() - expected.double()).abs() / unit).max().item())
    print(f"{what}: {len(ours)} tensors, {changed} changed, largest difference {worst:.3f} roundings")
    assert changed > 0 and worst <= ROUNDINGS[dtype], what


def greedy(model, tokenizer):
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids
    mask = torch.ones_like(ids)
    with torch.no_grad():
        out = model.generate(ids, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False)
    return tokenizer.decode(out[0, ids.shape[1]:])


def unpermuted(weight, heads):
    """As the lab's and alpaca-lora's export_state_dict_checkpoint.py, for any number of heads."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def meta_name(name):
    flat = {"model.embed_tokens.weight": "tok_embeddings.weight", "model.norm.weight": "norm.weight"}
    flat["lm_head.weight"] = "output.weight"
    if name in flat:
        return flat[name]
    leaves = {
        "self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk", "self_attn.v_proj": "attention.wv",
        "self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1", "mlp.down_proj": "feed_forward.w2",
        "mlp.up_proj": "feed_forward.w3", "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm",
    }
    _, _, layer, leaf = name.removesuffix(".weight").split(".", 3)
    return f"layers.{layer}.{leaves[leaf]}.weight"


def check_state_dict(out, merged, config):
    loaded = torch.load(out / "consolidated.00.pth", weights_only=True, mmap=True)
    for name, tensor in merged.items():
        if name.endswith("q_proj.weight"):
            tensor = unpermuted(tensor, config.num_attention_heads)
        elif name.endswith("k_proj.weight"):
            tensor = unpermuted(tensor, config.num_key_value_heads)
        assert torch.equal(loaded[meta_name(name)], tensor), name
    assert "output.weight" in loaded
    assert len(loaded) == len(merged) + int(config.tie_word_embeddings)
    params = json.loads((out / "params.json").read_text())
    hidden = int(2 * 4 * params["dim"] / 3)
    hidden = int(params.get("ffn_dim_multiplier", 1) * hidden)
    multiple_of = params["multiple_of"]
    assert multiple_of * ((hidden + multiple_of - 1) // multiple_of) == config.intermediate_size
    print(f"state dict: {len(loaded)} tensors equal to the Hugging Face ones, rows of q and k interleaved; {params}")


def check_gguf(path, expected):
    import gguf
    reader = gguf.GGUFReader(path)
    print(f"gguf: {len(reader.tensors)} tensors, {len(reader.fields)} fields read by gguf-py")
    try:
        from llama_cpp import Llama
    except ImportError:
        print("gguf: llama-cpp-python is absent, so llama.cpp itself was not asked")
        return
    model = Llama(str(path), n_ctx=128, verbose=False, seed=1)
    text = model(PROMPT, max_tokens=TOKENS, temperature=0.0)["choices"][0]["text"]
    print(f"gguf: llama.cpp says {text!r}")
    print(f"      transformers   {expected!r}")
    # Decoding drops the space before the first word.
    assert text.strip() == expected.strip(), path


def main():
    program, base, adapter = sys.argv[1:]
    adapters = [adapter]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "out")
        for dtype in ROUNDINGS:
            name = str(dtype).removeprefix("torch.")
            run_merge(program, out, base, adapters[:1], "--dtype", name)
            ours = load_file(out / "model.safetensors")
            peft = merged_by_peft(base, adapters[0], dtype)
            compare(f"hf, {name}", ours, tensors_of(peft), tensors_of(load_base(base, dtype)), dtype)
            loaded = LlamaForCausalLM.from_pretrained(out, dtype="auto")
            assert loaded.dtype == dtype
            run_merge(program, Path(scratch, "sd"), base, adapters[:1], "--dtype", name, "--format", "state-dict")
            check_state_dict(Path(scratch, "sd"), ours, loaded.config)
        # Texts in float32, the precision that two programs agree in.
        run_merge(program, out, base, adapters[:1], "--dtype", "float32")
        tokenizer = AutoTokenizer.from_pretrained(out)
        expected = greedy(merged_by_peft(base, adapters[0], torch.float32), tokenizer)
        assert greedy(LlamaForCausalLM.from_pretrained(out), tokenizer) == expected
        print(f"text of the merged model, by peft and by the directory: {expected!r}")
        check_combinations(program, base, [adapter, another(adapter, Path(scratch, "another"))], out)
        try:
            import gguf  # noqa: F401
        except ImportError:
            print("gguf is absent, so the GGUF file was not read")
            return
        for name in ["float32", "q8_0"]:
            run_merge(program, out, base, adapters[:1], "--dtype", name, "--format", "gguf")
            if name == "float32":
                check_gguf(out / "model.gguf", expected)
            else:
                print(f"q8_0: {len(gguf.GGUFReader(out / 'model.gguf').tensors)} tensors read by gguf-py")


def another(adapter, out):
    """An adapter for the same layers with factors drawn at random."""
    out.mkdir()
    (out / "adapter_config.json").write_text(Path(adapter, "adapter_config.json").read_text())
    torch.manual_seed(1)
    factors = load_file(Path(adapter, "adapter_model.safetensors"))
    save_file({name: 0.1 * torch.randn_like(factor) for name, factor in factors.items()}, out / "adapter_model.safetensors")
    return out


def check_combinations(program, base, adapters, out):
    weights = [0.7, 0.3]
    dtype = torch.float32
    for combination in ["linear", "cat"]:
        weighted = [f"{adapter}:{weight}" for adapter, weight in zip(adapters, weights)]
        run_merge(program, out, base, weighted, "--combination", combination, "--dtype", "float32")
        model = PeftModel.from_pretrained(load_base(base, dtype), adapters[0], adapter_name="a")
        model.load_adapter(str(adapters[1]), adapter_name="b")
        model.add_weighted_adapter(["a", "b"], weights, "both", combination_type=combination)
        model.set_adapter("both")
        peft = tensors_of(model.merge_and_unload())
        compare(f"two adapters, {combination}", load_file(out / "model.safetensors"), peft,
                tensors_of(load_base(base, dtype)), dtype)


if __name__ == "__main__":
    main()
