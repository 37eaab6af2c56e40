"""Remakes the files in `gguf/`, with the package gguf 0.19.0.

    python make_gguf.py [OUTPUT_DIRECTORY]

`types.gguf` holds one tensor of every form that is read; beside each in blocks lies what the package's own numpy code
makes of it, as `NAME.expected` in single precision. Blocks are random bytes with scales of a sensible size, so that
every bit of them matters. `metadata.gguf` holds a value of every type. `refused.gguf` holds a form that is not read.
`split-*.gguf` are one model in two files.
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

HERE = Path(__file__).resolve().parent
ROWS, WIDTH = 3, 256
# Where a block has half-precision scales, in bytes.
SCALES = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q8_0: [0], Type.Q4_K: [0, 2], Type.Q6_K: [208]}


def random_blocks(kind, random):
    block, num_bytes = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (ROWS * WIDTH // block, num_bytes), dtype=np.uint8)
    for at in SCALES.get(kind, []):
        scales = random.normal(size=(len(blocks), 1)).astype(np.float16)
        # One of them subnormal.
        scales[0] = 3e-6
        blocks[:, at : at + 2] = scales.view(np.uint8)
    return blocks.reshape(ROWS, -1)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def types(out, random):
    writer = GGUFWriter(out / "types.gguf", "llama")
    for kind in SCALES:
        blocks = random_blocks(kind, random)
        writer.add_tensor(kind.name, blocks, raw_dtype=kind)
        writer.add_tensor(f"{kind.name}.expected", dequantize(blocks, kind))
    plain = random.normal(size=(2, 3, 4))
    writer.add_tensor("F64", plain)
    writer.add_tensor("F32", plain.astype(np.float32))
    writer.add_tensor("F16", plain.astype(np.float16))
    # The upper halves of single precision.
    upper = (plain.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    writer.add_tensor("BF16", upper.view(np.uint8), raw_dtype=Type.BF16)
    for kind in ["int8", "int16", "int32", "int64"]:
        writer.add_tensor(kind.replace("int", "I"), np.array([-5, 0, 7], dtype=kind))
    finish(writer)


def metadata(out):
    writer = GGUFWriter(out / "metadata.gguf", "llama")
    kinds = GGUFValueType
    numbers = {
        kinds.UINT8: 200,
        kinds.INT8: -100,
        kinds.UINT16: 60000,
        kinds.INT16: -30000,
        kinds.UINT32: 4000000000,
        kinds.INT32: -2000000000,
        kinds.UINT64: 1 << 63,
        kinds.INT64: -(1 << 62),
        kinds.FLOAT32: 1e-5,
        kinds.FLOAT64: 0.1,
        kinds.BOOL: True,
    }
    for kind, value in numbers.items():
        writer.add_key_value(f"one.{kind.name}", value, kind)
        writer.add_key_value(f"many.{kind.name}", [value, value, type(value)(0)], kinds.ARRAY, kind)
    writer.add_string("one.STRING", "▁größe")
    writer.add_array("many.STRING", ["a", "▁größe", "b"])
    writer.add_key_value("nested", [[1, 2], [3]], kinds.ARRAY)
    writer.add_custom_alignment(64)
    writer.add_tensor("first", np.arange(3, dtype=np.float32))
    writer.add_tensor("second", np.arange(5, dtype=np.float32))
    finish(writer)


def refused(out, random):
    writer = GGUFWriter(out / "refused.gguf", "llama")
    writer.add_tensor("F32", np.arange(4, dtype=np.float32))
    writer.add_tensor("blk.0.attn_q.weight", random_blocks(Type.Q5_K, random), raw_dtype=Type.Q5_K)
    finish(writer)


def split(out):
    writer = GGUFWriter(out / "split.gguf", "llama", split_max_tensors=2)
    writer.add_name("in parts")
    for start, name in [(0, "first"), (10, "second"), (20, "third")]:
        writer.add_tensor(name, np.arange(start, start + 4, dtype=np.float32))
    finish(writer)


def main():
    out = (Path(sys.argv[1]) if len(sys.argv) > 1 else HERE) / "gguf"
    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    types(out, random)
    metadata(out)
    refused(out, random)
    split(out)


if __name__ == "__main__":
    main()
