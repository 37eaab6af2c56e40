"""Remakes `parts.json`, with tokenizers 0.22.2 and sentencepiece 0.2.3: tokenizers as the lists that GGUF files keep, and
the ids of some texts.

    python make_parts.py [OUTPUT_DIRECTORY]

The ids of byte-level ones are those of a tokenizer trained here, then given the cuts of the model they are called after, so
that it has merges which only these cuts keep from being made. Those of the other are SentencePiece's own, from `tiny.model` beside this file. Their control tokens are marks that no text
below spells, but one, in which they have to be found.
"""

import json
import sys
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent
TEXTS = [
    "Hello world, it's 2024!",
    "  two  spaces\n\nand lines \t tabs ",
    "1234567 apples cost $12.50; I'LL pay.",
    "größe ▁ 你好 🙂",
    "x",
    "",
]
CORPUS = TEXTS[:4] + ["the hello world is a world of apples and lines", "it's 12 of 2024, I'll pay 12.50"] * 3
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKED = "<|im_start|>user\nHello<|im_end|>"

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Of transformers' `Qwen2Converter`.
QWEN_2 = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
CUTS = {
    "gpt-2": BYTES,
    # As in the tokenizer.json of the models.
    "llama-bpe": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES]),
    "qwen2": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_2), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
}


def byte_level(pre):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = BYTES
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(mark, special=True) for mark in MARKS],
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if pre == "llama-bpe":
        # A whole word that no merge makes any more: Llama 3 finds it all the same.
        file = json.loads(tokenizer.to_str())
        file["model"]["merges"] = [pair for pair in file["model"]["merges"] if "".join(pair) != "\u0120world"]
        file["model"]["ignore_merges"] = True
        assert "\u0120world" in file["model"]["vocab"]
        tokenizer = Tokenizer.from_str(json.dumps(file))
    tokenizer.pre_tokenizer = CUTS[pre]
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokens = [tokenizer.id_to_token(id) for id in range(tokenizer.get_vocab_size())]
    return {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "types": [3 if token in MARKS else 1 for token in tokens],
        "merges": [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]],
        "texts": TEXTS + [MARKED],
        "ids": [tokenizer.encode(text).ids for text in TEXTS + [MARKED]],
    }


def scores():
    processor = sentencepiece.SentencePieceProcessor(model_file=str(HERE / "tiny.model"))
    size = processor.get_piece_size()

    def kind(id):
        kinds = [(processor.is_unknown, 2), (processor.is_control, 3), (processor.is_unused, 5), (processor.is_byte, 6)]
        return next((kind for test, kind in kinds if test(id)), 1)

    return {
        "model": "llama",
        "pre": "",
        "tokens": [processor.id_to_piece(id) for id in range(size)],
        "types": [kind(id) for id in range(size)],
        "scores": [processor.get_score(id) for id in range(size)],
        "texts": TEXTS,
        "ids": [processor.encode(text) for text in TEXTS],
    }


def main():
    out = (Path(sys.argv[1]) if len(sys.argv) > 1 else HERE) / "parts.json"
    cases = [byte_level(pre) for pre in CUTS] + [scores()]
    out.write_text(json.dumps(cases, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
