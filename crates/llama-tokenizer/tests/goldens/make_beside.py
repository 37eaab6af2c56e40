"""Remakes `beside_4.json` with transformers 4.57, `beside_5.json` with transformers 5.24: the ids of difficult texts by tokenizers
that are more than one file.

    python make_beside.py [OUTPUT_DIRECTORY]

Each case is a directory: `tiny.model` beside this file as `tokenizer.model`, or the `tokenizer.json` that this version of
transformers saves of it, and the files that a case puts beside it, which the golden holds too. The file of the other version
is left as it is.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import transformers
from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent
MAJOR = transformers.__version__.split(".")[0]
# No text between special tokens begins with a space: transformers 5 takes it for the one that it would put there, as
# transformers 4 does without `legacy`.
TEXTS = [
    "the village",
    "",
    "line\nbreak \t tab",
    "the teacher </s><s>there",
    "<|im_start|>user\nthe river<|im_end|>\n<|im_start|>assistant\n",
    "[PAD]then <unk>日本 🙂",
    "a<extra>b <extra> c",
    "</s>",
]
LEADING = [" the", "   two </s> the"]
LLAMA = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
CHAT = {"bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>", "pad_token": "[PAD]"}
LISTED = {"[PAD]": 400, "<|im_start|>": 401, "<|im_end|>": 402}


def token(content, special=True):
    return {
        "content": content,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": special,
    }


def decoder(tokens):
    return {str(id): token(content) for content, id in {"<unk>": 0, "<s>": 1, "</s>": 2, **tokens}.items()}


LEGACY = {**LLAMA, "legacy": True, "add_bos_token": True, "add_eos_token": False}
CASES = {
    "legacy": {"tokenizer_config.json": LEGACY},
    "not_legacy": {"tokenizer_config.json": {**LEGACY, "legacy": False}},
    "no_prefix": {"tokenizer_config.json": {**LEGACY, "add_prefix_space": False}},
    "no_begin": {"tokenizer_config.json": {**LEGACY, "add_bos_token": False}},
    "listed": {
        "tokenizer_config.json": {**LEGACY, **CHAT},
        "special_tokens_map.json": CHAT,
        "added_tokens.json": LISTED,
    },
    "decoder": {"tokenizer_config.json": {**LEGACY, **CHAT, "added_tokens_decoder": decoder(LISTED)}},
    "decoder_not_legacy": {
        "tokenizer_config.json": {**LEGACY, **CHAT, "legacy": False, "added_tokens_decoder": decoder(LISTED)}
    },
    "named": {
        "tokenizer_config.json": LEGACY,
        "special_tokens_map.json": {
            **{key: LLAMA[key] for key in ["bos_token", "eos_token", "unk_token"]},
            "additional_special_tokens": ["<extra>", "<|im_start|>", "<|im_end|>"],
        },
    },
}
# Transformers 4 looks for tokens of `added_tokens.json` behind its normaliser and misses some; 5 reads no
# `additional_special_tokens` of the map.
LEFT_OUT = {("listed", "4"), ("named", "5")}
# Of `tokenizer.json`: what is said beside it, and what becomes of its post-processor.
JSON_CASES = {
    "json": ({"tokenizer_config.json": LEGACY}, "keep"),
    "json_fast": ({"tokenizer_config.json": {**LLAMA, "tokenizer_class": "PreTrainedTokenizerFast"}}, "keep"),
    "json_fast_bare": ({"tokenizer_config.json": {**LLAMA, "tokenizer_class": "PreTrainedTokenizerFast"}}, "drop"),
    "json_named": (
        {"tokenizer_config.json": {**LLAMA, "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}},
        "keep",
    ),
}


def saved(dir):
    """The `tokenizer.json` that this version saves of `tiny.model`."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(HERE / "tiny.model", Path(scratch) / "tokenizer.model")
        (Path(scratch) / "tokenizer_config.json").write_text(json.dumps(LEGACY))
        tokenizer = AutoTokenizer.from_pretrained(scratch)
        tokenizer.save_pretrained(dir)
    return json.loads((dir / "tokenizer.json").read_text(encoding="utf-8"))


def ids(files, texts):
    with tempfile.TemporaryDirectory() as dir:
        dir = Path(dir)
        (dir / "config.json").write_text(json.dumps({"model_type": "llama"}))
        if "tokenizer.json" not in files:
            shutil.copy(HERE / "tiny.model", dir / "tokenizer.model")
        for name, contents in files.items():
            (dir / name).write_text(json.dumps(contents), encoding="utf-8")
        tokenizer = AutoTokenizer.from_pretrained(dir)
        return {text: tokenizer.encode(text) for text in texts}


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    cases = {}
    for name, files in CASES.items():
        if (name, MAJOR) in LEFT_OUT:
            continue
        texts = TEXTS + (LEADING if MAJOR == "4" or name.endswith("not_legacy") else [])
        cases[name] = {"files": files, "ids": ids(files, texts)}
    with tempfile.TemporaryDirectory() as dir:
        tokenizer_json = saved(Path(dir))
    for name, (files, post_processor) in JSON_CASES.items():
        contents = dict(tokenizer_json)
        if post_processor == "drop":
            contents["post_processor"] = None
        made = ids({**files, "tokenizer.json": contents}, TEXTS + LEADING)
        cases[name] = {"files": files, "post_processor": post_processor, "ids": made}
    golden = {"tokenizer.json": tokenizer_json, "cases": cases}
    (out / f"beside_{MAJOR}.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n", encoding="utf-8")
    for other in HERE.glob("beside_*.json"):
        if out != HERE and other.name != f"beside_{MAJOR}.json":
            shutil.copy(other, out / other.name)


if __name__ == "__main__":
    main()
