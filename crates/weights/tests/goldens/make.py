"""Remakes the files beside this one, with torch 2.11.0 and safetensors 0.8.0.

    python make.py [OUTPUT_DIRECTORY]

`expected.json` holds what each readable torch file contains. The files `*_foreign.*` ask Python to run a command; they
are written here and never loaded. The same versions write the same bytes.
"""

import io
import json
import os
import pickle
import struct
import sys
import warnings
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
# What a foreign pickle would run; a test looks for the file it would leave.
COMMAND = "touch executed-by-a-pickle"


class Foreign:
    def __reduce__(self):
        return os.system, (COMMAND,)


def kinds():
    """One small tensor of each element type, with extreme values."""
    return {
        "f64": torch.tensor([1.0, -2.5, 1e300], dtype=torch.float64),
        "f32": torch.tensor([[1.5, -2.25], [3e38, 1e-38]]),
        "f16": torch.tensor([1.5, -65504.0, 6e-8], dtype=torch.float16),
        "bf16": torch.tensor([1.5, -3e38, 1e-38], dtype=torch.bfloat16),
        "i64": torch.tensor([2**62, -(2**62), 7]),
        "i32": torch.tensor([2**31 - 1, -(2**31)], dtype=torch.int32),
        "i16": torch.tensor([2**15 - 1, -(2**15)], dtype=torch.int16),
        "i8": torch.tensor([127, -128, 0], dtype=torch.int8),
        "u8": torch.tensor([255, 0, 128], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(0.25),
        "empty": torch.zeros(0, 3),
    }


def views():
    """Tensors that share one storage, begin inside it, and are not contiguous."""
    base = torch.arange(24, dtype=torch.float32).view(4, 6)
    return OrderedDict(
        [
            ("base", base),
            ("rows", base[1:3]),
            ("column", base[:, 2]),
            ("transposed", base.t()),
            ("every_other", base[::2, 1::2]),
            ("repeated", torch.tensor([[1.0], [2.0]]).expand(2, 3)),
            ("same", base),
            ("half", torch.arange(6, dtype=torch.float16)[2:]),
        ]
    )


def state_dict():
    """As a module gives it: ordered, with the attribute `_metadata`."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return module.state_dict()


def parameters():
    generator = torch.Generator().manual_seed(2)
    return {
        "trained": torch.nn.Parameter(torch.randn(2, 2, generator=generator)),
        "frozen": torch.nn.Parameter(torch.randn(3, generator=generator), requires_grad=False),
    }


def nested():
    weights = {"weight": torch.tensor([1.0, 2.0])}
    return {"epoch": 3, "lr": 1e-3, "name": "run", "seen": [1, 2], "state_dict": weights}


def described(tensors):
    return {
        name: {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            # As text, which keeps every digit whatever reads it.
            "values": [repr(value) for value in tensor.detach().contiguous().view(-1).tolist()],
        }
        for name, tensor in tensors.items()
    }


def save_legacy(value, path):
    """Saves in the format before PyTorch 1.6, which names storages by their addresses and puts them into that order.

    Here they are numbered as they appear, so that the same bytes come out each time.
    """
    keys = []

    def as_they_appear(addresses):
        keys.extend(addresses)
        return keys

    stream = io.BytesIO()
    torch.serialization.sorted = as_they_appear
    try:
        torch.save(value, stream, _use_new_zipfile_serialization=False)
    finally:
        del torch.serialization.sorted
    data = stream.getvalue()
    for number, key in enumerate(keys):
        data = data.replace(pickled(key), pickled(f"{94000000000000 + number * 64}"))
    path.write_bytes(data)


def pickled(text):
    """A string as pickle's BINUNICODE."""
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def torch_files(out):
    objects = {
        "kinds": kinds(),
        "views": views(),
        "state_dict": state_dict(),
        "parameters": parameters(),
        "nested": nested(),
    }
    expected = {}
    for name, value in objects.items():
        torch.save(value, out / f"{name}.pt")
        save_legacy(value, out / f"{name}_legacy.pt")
        expected[name] = described(value.get("state_dict", value))
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def foreign_files(out):
    evil = {"weight": torch.tensor([1.0]), "x": Foreign()}
    torch.save(evil, out / "zip_foreign.pt")
    save_legacy(evil, out / "legacy_foreign.pt")
    (out / "plain_foreign.bin").write_bytes(pickle.dumps(Foreign(), protocol=2))


def sharded(out):
    """`pytorch_model.bin.index.json` as transformers wrote it, and its two shards."""
    folder = out / "sharded"
    folder.mkdir(exist_ok=True)
    shards = {
        "pytorch_model-00001-of-00002.bin": {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3], [4]])},
        "pytorch_model-00002-of-00002.bin": {"c": torch.tensor([0.5], dtype=torch.float16)},
    }
    for name, tensors in shards.items():
        torch.save(tensors, folder / name)
    index = {
        "metadata": {"total_size": 26},
        "weight_map": {key: name for name, tensors in shards.items() for key in tensors},
    }
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


def main():
    warnings.simplefilter("ignore")
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    torch_files(out)
    foreign_files(out)
    sharded(out)
    save_file(kinds(), out / "kinds.safetensors", metadata={"format": "pt"})
    save_file(state_dict(), out / "state_dict.safetensors")
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
