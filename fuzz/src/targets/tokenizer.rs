//! Tokenizers: `tokenizer.json` and `tokenizer.model`, with the files beside them.

use std::path::Path;

use llama_tokenizer::{LlamaTokenizer, TokenizerParts};

use crate::Target;
use crate::files::{directory, joined, parts};
use crate::seeds::goldens;
use crate::target::Verdict;

/// Words, spaces, several alphabets, bytes that are no character, and tokens spelt out.
const TEXT: &str =
    "Below is an instruction.\n\n### Input:\t 42 + naïve  日本語 🦙</s><|eot_id|>\u{fffd}\u{0}";

/// Files beside a tokenizer, as transformers writes them.
const CONFIG: &[u8] = br#"{"add_bos_token": true, "add_eos_token": false, "bos_token": "<s>", "eos_token": {"content": "</s>",
"lstrip": false, "normalized": false, "rstrip": false, "single_word": false, "special": true}, "added_tokens_decoder": {"0":
{"content": "<unk>", "special": true}}, "chat_template": "{{ messages[0].content }}", "legacy": true, "unk_token": "<unk>"}"#;
const SPECIAL: &[u8] = br#"{"bos_token": "<s>", "additional_special_tokens": ["<|im_end|>"]}"#;
const ADDED: &[u8] = br#"{"<|im_start|>": 500, "<|im_end|>": 501}"#;

const BESIDE: [&str; 3] = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

pub(super) const JSON: Target = Target {
    name: "tokenizer_json",
    reads: "`tokenizer.json` and the files beside it: `llama_tokenizer`, encoding, decoding, conversion to GGUF's lists",
    limit_s: 4,
    seeds: || {
        let converted = tiny_json();
        vec![joined(&[BYTES, CONFIG, SPECIAL, ADDED]), converted, BYTES.to_vec(), UNIGRAM.to_vec()]
    },
    run: |bytes| read(&parts(bytes, ["tokenizer.json", BESIDE[0], BESIDE[1], BESIDE[2]])),
};

/// Returns the `tokenizer.json` that the golden `tokenizer.model` becomes.
fn tiny_json() -> Vec<u8> {
    let [model] = goldens!("llama-tokenizer/tests/goldens/tiny.model");
    let dir = directory("tiny", &[("tokenizer.model", model)]);
    let tokenizer = LlamaTokenizer::open(&dir).expect("the golden tokenizer");
    tokenizer.to_json().expect("its JSON").into_bytes()
}

/// BPE over bytes, as Llama 3 has it.
const BYTES: &[u8] = br#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{"id": 0, "content": "<s>", "single_word":
false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}, {"id": 1, "content": "</s>", "single_word": false,
"lstrip": false, "rstrip": false, "normalized": false, "special": true}], "normalizer": null, "pre_tokenizer": {"type": "Sequence",
"pretokenizers": [{"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
"behavior": "Isolated", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A",
"type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>":
{"id": "<s>", "ids": [0], "tokens": ["<s>"]}}}, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
"use_regex": true}, "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
"end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": true, "vocab": {"<s>": 0, "</s>": 1, "a": 2,
"n": 3, "i": 4, "s": 5, "an": 6, "is": 7, "\u0120": 8, "\u0120is": 9}, "merges": [["a", "n"], ["i", "s"], ["\u0120", "is"]]}}"#;

/// A model that is refused, with every part that a `tokenizer.json` may have.
const UNIGRAM: &[u8] = br#"{"version": "1.0", "truncation": {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0},
"padding": null, "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
"normalized": false, "special": true}, {"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": true,
"normalized": true, "special": true}], "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
{"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}, {"type": "NFKC"}, {"type": "Lowercase"},
{"type": "Strip", "strip_left": true, "strip_right": false}]}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split",
"pattern": {"Regex": "(?i:'s|'t)|\\p{L}+|\\s+"}, "behavior": "Isolated", "invert": false}, {"type": "Metaspace", "replacement":
"\u2581", "prepend_scheme": "first", "split": true}, {"type": "Digits", "individual_digits": true}]}, "post_processor": {"type":
"TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair":
[{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [0],
"tokens": ["<s>"]}}}, "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
{"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}, "model": {"type": "Unigram",
"unk_id": 2, "vocab": [["<s>", 0.0], ["</s>", 0.0], ["<unk>", -1.0], ["\u2581", -2.0], ["a", -3.0], ["in", -3.5], ["<0x0A>", -4.0]],
"byte_fallback": true}}"#;

pub(super) const MODEL: Target = Target {
    name: "tokenizer_model",
    reads: "`tokenizer.model` and the files beside it: the same",
    limit_s: 4,
    seeds: || {
        let [model] = goldens!("llama-tokenizer/tests/goldens/tiny.model");
        vec![model.to_vec(), joined(&[model, CONFIG, SPECIAL, ADDED]), b"IQ== 0\nIg== 1\n".to_vec()]
    },
    run: |bytes| read(&parts(bytes, ["tokenizer.model", BESIDE[0], BESIDE[1], BESIDE[2]])),
};

fn read(files: &[(&str, &[u8])]) -> Verdict {
    let dir = directory("tokenizer", files);
    let tokenizer = LlamaTokenizer::open(&dir)?;
    use_tokenizer(&tokenizer)?;
    let parts = TokenizerParts::from_dir(Path::new(&dir))?;
    use_tokenizer(&LlamaTokenizer::from_parts(&parts)?)
}

/// Encodes and decodes, asks for what programs ask for.
pub(super) fn use_tokenizer(tokenizer: &LlamaTokenizer) -> Verdict {
    tokenizer.encode("", false)?;
    let ids = tokenizer.encode(TEXT, true)?;
    tokenizer.decode(&ids, true)?;
    tokenizer.decode(&[0, i64::from(u32::MAX), tokenizer.bos_id(), tokenizer.pad_id()], false)?;
    let _ = (tokenizer.token(0), tokenizer.token(i64::MAX), tokenizer.unk_id(), tokenizer.vocab_size());
    tokenizer.merged_ids()?;
    if let Some(other) = tokenizer.with_gguf_prefix()? {
        other.encode(TEXT, true)?;
    }
    tokenizer.to_json()?;
    Ok(())
}
