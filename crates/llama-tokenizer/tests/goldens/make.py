"""Remakes the files beside this one, with sentencepiece 0.2.3.

    python make.py [OUTPUT_DIRECTORY [SHARED_DATA_DIRECTORY]]

`tiny.model` is a BPE of 400 pieces with byte fallback, trained here as LLaMA's tokenizer was; `tiny.json` holds the ids
and the text that sentencepiece makes of difficult texts with it. `alpaca.json` holds checksums of the ids that
sentencepiece makes of the 52,002 Alpaca records with two tokenizers that are not part of the repository, of the texts
between special tokens one by one, as transformers does it (its `LlamaTokenizer`; `make_beside.py` asks it itself); it is left alone
when their directory (by default `../shared/data` beside the workspace) is absent.
"""

import io
import json
import re
import sys
from pathlib import Path

import sentencepiece

HERE = Path(__file__).resolve().parent
RECORDS_PER_CHUNK = 1000
# A test may read every fourth record only, so each chunk is four checksums, of the records of each remainder.
STRIDE = 4

TEXTS = [
    "",
    " ",
    "   leading and trailing   ",
    "Hello, world!",
    "Hello  two   three    spaces",
    "line\nbreak\r\nand\ttab",
    "naïve café — “quotes”, 3½ × 7 °C",
    "日本語のテキスト",
    "emoji 🙂👩\u200d👩\u200d👧 and flags 🇫🇷",
    "e\u0301 is not é",
    "\u2581 is the boundary itself",
    "### Instruction:\nCount to 10.\n\n### Response:\n",
    "def f(x):\n    return x ** 2  # squares",
    "1234567890 3.14159 -1e-9",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "<0x0A> is a word too",
    "\u0000 zero and \u007f delete",
    "the then there them they these",
]


def corpus():
    """Sentences in which words come back, so that merges of several levels are learnt."""
    subjects = ["the old man", "a small dog", "the girl", "our teacher", "this river", "every morning bird"]
    verbs = ["walked to", "looked at", "was singing near", "returned from", "wanted to see", "thought about"]
    objects = ["the village.", "a house of stone,", "the other mountain!", "there, then elsewhere.", "12 trees."]
    for subject in subjects:
        for verb in verbs:
            for thing in objects:
                yield f"{subject} {verb} {thing}"


def train():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(),
        model_writer=model,
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def encode(model, text):
    """Ids of a text in which special tokens are found."""
    ids = []
    for part in re.split("(<s>|</s>|<unk>)", text):
        ids += [model.piece_to_id(part)] if part in ["<s>", "</s>", "<unk>"] else model.encode(part)
    return ids


def fnv1a(state, ids):
    """FNV-1a, 64 bits, over each id as four little-endian bytes, after the number of ids."""
    for value in [len(ids), *ids]:
        for byte in value.to_bytes(4, "little"):
            state = (state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return state


def alpaca(shared):
    records = json.loads((shared / "alpaca" / "alpaca_data.json").read_text(encoding="utf-8"))
    texts = ["\n".join([r["instruction"], r["input"], r["output"]]) for r in records]
    for name in ["stories15M-hf", "stories260K-hf"]:
        model = sentencepiece.SentencePieceProcessor(model_file=str(shared / "models" / name / "tokenizer.model"))
        chunks, tokens = [], 0
        for start in range(0, len(texts), RECORDS_PER_CHUNK):
            sums = [0xCBF29CE484222325] * STRIDE
            for index, text in enumerate(texts[start : start + RECORDS_PER_CHUNK], start):
                ids = encode(model, text)
                sums[index % STRIDE] = fnv1a(sums[index % STRIDE], ids)
                tokens += len(ids)
            chunks.append([f"{value:016x}" for value in sums])
        yield name, {"records": len(texts), "tokens": tokens, "chunks": chunks}


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    shared = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE.parents[4] / "shared" / "data"
    (out / "tiny.model").write_bytes(train())
    model = sentencepiece.SentencePieceProcessor(model_file=str(out / "tiny.model"))
    cases = [{"text": text, "ids": model.encode(text), "decoded": model.decode(model.encode(text))} for text in TEXTS]
    (out / "tiny.json").write_text(json.dumps(cases, indent=1) + "\n")
    if shared.is_dir():
        (out / "alpaca.json").write_text(json.dumps(dict(alpaca(shared)), indent=1) + "\n")
    else:
        print(f"{shared} is absent: alpaca.json is left alone", file=sys.stderr)


if __name__ == "__main__":
    main()
