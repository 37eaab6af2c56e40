"""Quantised checkpoints between the program `merge` and Python's transformers with bitsandbytes, both ways.

    python check_with_transformers.py MERGE LOGITS BASE_MODEL

`MERGE` is the program, `LOGITS` the example of the crate cli (`cargo build -p cli --example logits`). What `merge` writes has to
load in transformers and give the logits that we compute; what transformers writes by `save_pretrained` has to load here and give
the logits that it computes, and its codes have to be ours. Rows of the base have to be whole blocks of 64: others bitsandbytes 0.50.2
dequantises wrongly on CPUs with AVX-512. Everything is computed in float32 on a CPU. Not a part of the tests: it
wants torch, transformers, accelerate and bitsandbytes.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TORCHDYNAMO_DISABLE"] = "1"

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

IDS = [1, 40, 7, 99, 12, 255, 3, 80, 61, 23, 9, 170]
FORMS = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.float32},
    "nf4, double": {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": torch.float32,
    },
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "bnb_4bit_compute_dtype": torch.float32},
    "int8": {"load_in_8bit": True},
}
FLAGS = {
    "nf4": ["--quantize", "nf4"],
    "nf4, double": ["--quantize", "nf4", "--double_quant"],
    "fp4": ["--quantize", "fp4"],
    "int8": ["--quantize", "int8"],
}
# Of the largest logit. 4 bits: float32 sums in another order. 8 bits: LLM.int8() rounds its inputs to 8 bits, and we do
# not, so that the same weights give logits that differ by that.
SAME = {"nf4": 1e-4, "nf4, double": 1e-4, "fp4": 1e-4, "int8": 5e-2}


def theirs(model):
    # LLaMA has no dropout. For inference bitsandbytes repacks 4-bit weights for a kernel of its own, which computes in
    # bfloat16 whatever was asked for.
    model.train()
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].float()


def ours(program, directory):
    text = subprocess.run(
        [program, str(directory), ",".join(map(str, IDS))], check=True, capture_output=True, text=True
    ).stdout
    return torch.tensor(json.loads(text))


def compare(what, actual, expected, tolerance):
    off = ((actual - expected).abs().max() / expected.abs().max()).item()
    same = (actual.argmax(-1) == expected.argmax(-1)).sum().item()
    print(f"{what:<44} logits differ by {off:.1e} of the largest; {same} of {len(IDS)} tokens the same")
    assert off < tolerance, what


def load(directory, **more):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, device_map="cpu", **more).eval()


def same_tensors(what, ours, theirs, nested):
    """Codes bit for bit; double quantisation's own codes are the nearest ones here, and not always there."""
    assert ours.keys() == theirs.keys(), sorted(ours.keys() ^ theirs.keys())[:8]
    differing = 0
    for name, expected in theirs.items():
        actual = ours[name]
        if ".quant_state." in name:
            read = lambda state: json.loads(bytes(state.tolist()))
            a, b = read(actual), read(expected)
            offsets = (a.pop("nested_offset", 0.0), b.pop("nested_offset", 0.0))
            assert a == b and abs(offsets[0] - offsets[1]) < 1e-6, (a, b)
        elif nested and "absmax" in name or name.endswith("nested_quant_map"):
            if actual.dtype == torch.uint8:
                apart = (actual.int() - expected.int()).abs()
                assert apart.max() <= 1, name
                differing += (apart > 0).sum().item()
            else:
                torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)
        else:
            assert actual.dtype == expected.dtype and torch.equal(actual, expected), name
    print(f"{what:<44} {len(ours)} tensors the same; {differing} codes of scales one apart")


def tensors(directory):
    result = {}
    for path in sorted(Path(directory).glob("*.safetensors")):
        result.update(load_file(path))
    return result


def main():
    merge, logits, base = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        for form, options in FORMS.items():
            written = Path(scratch, "merge")
            words = [merge, "--base_model", base, "--output_dir", written, "--overwrite_output_dir"]
            words += ["--dtype", "float16" if form == "int8" else "float32", "--max_shard_size", "20MB"]
            subprocess.run([*map(str, words), *FLAGS[form]], check=True, stdout=subprocess.DEVNULL)
            model = load(written)
            kinds = {type(module).__name__ for module in model.modules()}
            assert ("Linear8bitLt" if form == "int8" else "Linear4bit") in kinds, kinds
            compare(f"{form}: merge to transformers", theirs(model), ours(logits, written), SAME[form])
            saved = Path(scratch, "saved", form)
            config = BitsAndBytesConfig(**options)
            dtype = torch.float16 if form == "int8" else torch.float32
            model = AutoModelForCausalLM.from_pretrained(
                base, dtype=dtype, device_map="cpu", quantization_config=config
            ).eval()
            model.save_pretrained(saved)
            compare(f"{form}: transformers to ours", ours(logits, saved), theirs(load(saved)), SAME[form])
            same_tensors(f"{form}: files", tensors(written), tensors(saved), form == "nf4, double")


if __name__ == "__main__":
    main()
