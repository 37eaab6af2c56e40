//! The 52,002 Alpaca records, against checksums of sentencepiece's ids of the texts between special tokens.
//!
//! `LLAMA_TOKENIZER_ALL_RECORDS=0` in the environment reads every fourth record only.

use std::collections::BTreeMap;

use llama_tokenizer::LlamaTokenizer;
use serde::Deserialize;

use crate::{golden, shared};

const RECORDS_PER_CHUNK: usize = 1000;
const STRIDE: usize = 4;

/// `goldens/alpaca.json`, one tokenizer.
#[derive(Deserialize)]
struct Golden {
    records: usize,
    tokens: usize,
    /// FNV-1a checksums in hexadecimal: by thousands of records, then by index modulo [`STRIDE`].
    chunks: Vec<[String; STRIDE]>,
}

#[derive(Deserialize)]
struct Record {
    instruction: String,
    input: String,
    output: String,
}

fn texts() -> Option<Vec<String>> {
    let bytes = std::fs::read(shared("alpaca/alpaca_data.json")?).unwrap();
    let records: Vec<Record> = serde_json::from_slice(&bytes).unwrap();
    Some(records.into_iter().map(|r| [r.instruction, r.input, r.output].join("\n")).collect())
}

/// FNV-1a, 64 bits, over the number of ids and each id, as four little-endian bytes.
fn fnv1a(state: u64, ids: &[i64]) -> u64 {
    let numbers = std::iter::once(ids.len() as u32).chain(ids.iter().map(|&id| id as u32));
    numbers
        .flat_map(u32::to_le_bytes)
        .fold(state, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn all_records() -> bool {
    std::env::var("LLAMA_TOKENIZER_ALL_RECORDS").map_or(true, |value| value != "0")
}

/// Checks every checksum of the remainders that are read.
fn assert_equals_sentencepiece(model: &str, texts: &[String]) {
    let Some(path) = shared(&format!("models/{model}/tokenizer.model")) else { return };
    let tokenizer = LlamaTokenizer::from_file(&path).unwrap();
    let goldens: BTreeMap<String, Golden> =
        serde_json::from_slice(&std::fs::read(golden("alpaca.json")).unwrap()).unwrap();
    let golden = &goldens[model];
    assert_eq!(texts.len(), golden.records);
    let remainders = if all_records() { 0..STRIDE } else { 0..1 };
    let mut tokens = 0;
    for (chunk, expected) in texts.chunks(RECORDS_PER_CHUNK).zip(&golden.chunks) {
        for remainder in remainders.clone() {
            let sum =
                chunk.iter().skip(remainder).step_by(STRIDE).fold(0xcbf2_9ce4_8422_2325, |sum, text| {
                    let ids = tokenizer.encode(text, false).unwrap();
                    tokens += ids.len();
                    fnv1a(sum, &ids)
                });
            assert_eq!(format!("{sum:016x}"), expected[remainder], "{model}, remainder {remainder}");
        }
    }
    if all_records() {
        assert_eq!(tokens, golden.tokens, "{model}");
    }
}

#[test]
fn ids_of_all_alpaca_records_equal_sentencepiece() {
    if let Some(texts) = texts() {
        assert_equals_sentencepiece("stories15M-hf", &texts);
    }
}

#[test]
fn ids_of_a_small_vocabulary_that_falls_back_to_bytes_equal_sentencepiece() {
    if let Some(texts) = texts() {
        assert_equals_sentencepiece("stories260K-hf", &texts);
    }
}

#[test]
fn both_files_of_a_model_agree_also_on_texts_that_spell_special_tokens() {
    let (Some(texts), Some(dir)) = (texts(), shared("models/stories15M-hf")) else { return };
    let json = LlamaTokenizer::from_file(&dir.join("tokenizer.json")).unwrap();
    let model = LlamaTokenizer::from_file(&dir.join("tokenizer.model")).unwrap();
    for tokenizer in [&json, &model] {
        let ids = (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.unk_id(), tokenizer.vocab_size());
        assert_eq!(ids, (1, 2, Some(0), 32_000));
    }
    let ids = |tokenizer: &LlamaTokenizer, text: &str| tokenizer.encode(text, false).unwrap();
    for text in texts.iter().step_by(STRIDE) {
        assert_eq!(ids(&json, text), ids(&model, text), "{text}");
    }
    for (id, token) in [1, 2, 0].into_iter().zip(["<s>", "</s>", "<unk>"]) {
        let text = format!("before {token} after");
        assert_eq!(ids(&json, &text), ids(&model, &text));
        assert!(ids(&model, &text).contains(&id), "{text}");
    }
}

#[test]
fn decoding_gives_the_text_back() {
    let (Some(texts), Some(path)) = (texts(), shared("models/stories15M-hf/tokenizer.model")) else { return };
    let tokenizer = LlamaTokenizer::from_file(&path).unwrap();
    for text in texts.iter().step_by(20) {
        let ids = tokenizer.encode(text, true).unwrap();
        assert_eq!(ids[0], tokenizer.bos_id());
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), *text);
    }
}
