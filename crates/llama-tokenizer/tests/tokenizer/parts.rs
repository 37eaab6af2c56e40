//! Tokenizers from the lists of GGUF files (`goldens/make_parts.py`).

use std::fs;
use std::path::PathBuf;

use llama_tokenizer::{LlamaTokenizer, Pieces, TokenizerParts};
use serde::Deserialize;

use crate::golden;

#[derive(Deserialize)]
struct Case {
    model: String,
    pre: String,
    tokens: Vec<String>,
    types: Vec<i64>,
    #[serde(default)]
    merges: Vec<String>,
    #[serde(default)]
    scores: Vec<f32>,
    texts: Vec<String>,
    ids: Vec<Vec<i64>>,
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&fs::read(golden("parts.json")).unwrap()).unwrap()
}

fn parts(case: &Case) -> TokenizerParts {
    let pieces = if case.model == "gpt2" {
        Pieces::Merges { merges: case.merges.clone(), pre: case.pre.clone() }
    } else {
        Pieces::Scores { scores: case.scores.clone(), add_space_prefix: true }
    };
    TokenizerParts {
        path: PathBuf::from("model.gguf"),
        tokens: case.tokens.clone(),
        token_types: case.types.clone(),
        pieces,
        bos_id: Some(1),
        eos_id: Some(2),
        unk_id: None,
        pad_id: None,
        add_bos: None,
        add_eos: None,
    }
}

fn merges(case: &mut TokenizerParts) -> (&mut Vec<String>, &mut String) {
    match &mut case.pieces {
        Pieces::Merges { merges, pre } => (merges, pre),
        Pieces::Scores { .. } => panic!("a tokenizer of merges"),
    }
}

#[test]
fn ids_equal_those_of_the_tokenizer_they_were_taken_from() {
    for case in cases() {
        let tokenizer = LlamaTokenizer::from_parts(&parts(&case)).unwrap();
        assert_eq!(tokenizer.vocab_size(), case.tokens.len());
        for (text, ids) in case.texts.iter().zip(&case.ids) {
            assert_eq!(tokenizer.encode(text, false).unwrap(), *ids, "{} {}: {text:?}", case.model, case.pre);
            // SentencePiece has one sign for a space and for the sign itself.
            let text = if case.model == "llama" { text.replace('▁', " ") } else { text.clone() };
            assert_eq!(tokenizer.decode(ids, false).unwrap(), text, "{} {}", case.model, case.pre);
        }
    }
}

#[test]
fn marks_of_a_chat_are_tokens_and_no_text() {
    for case in cases().iter().filter(|case| case.model == "gpt2") {
        let tokenizer = LlamaTokenizer::from_parts(&parts(case)).unwrap();
        let ids = tokenizer.encode("<|im_start|>user<|im_end|>", false).unwrap();
        assert_eq!((ids[0], ids[ids.len() - 1]), (1, 2), "{}", case.pre);
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), "user", "{}", case.pre);
    }
}

#[test]
fn a_text_begins_as_the_model_was_trained() {
    for case in cases() {
        let begins = ["llama-bpe", ""].contains(&case.pre.as_str());
        for (said, expected) in [(None, begins), (Some(true), true), (Some(false), false)] {
            let parts = TokenizerParts { add_bos: said, ..parts(&case) };
            let tokenizer = LlamaTokenizer::from_parts(&parts).unwrap();
            assert_eq!(tokenizer.adds_bos(), expected, "{}", case.pre);
            assert_eq!(tokenizer.encode("x", true).unwrap().first() == Some(&1), expected, "{}", case.pre);
            assert_ne!(tokenizer.encode("x", false).unwrap().first(), Some(&1));
        }
    }
}

#[test]
fn a_written_tokenizer_json_gives_the_same_ids() {
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = LlamaTokenizer::from_parts(&parts(&case)).unwrap();
        fs::write(dir.path().join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
        let names = serde_json::json!({
            "bos_token": case.tokens[1], "eos_token": case.tokens[2], "add_bos_token": tokenizer.adds_bos()
        });
        fs::write(dir.path().join("tokenizer_config.json"), names.to_string()).unwrap();
        let read = LlamaTokenizer::from_dir(dir.path()).unwrap();
        for text in &case.texts {
            for add_bos in [false, true] {
                assert_eq!(read.encode(text, add_bos).unwrap(), tokenizer.encode(text, add_bos).unwrap());
            }
        }
    }
}

#[test]
fn tokenizer_json_becomes_the_lists_it_was_made_of() {
    for case in cases().iter().filter(|case| case.model == "gpt2") {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = LlamaTokenizer::from_parts(&parts(case)).unwrap();
        fs::write(dir.path().join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
        let mut read = TokenizerParts::from_dir(dir.path()).unwrap();
        assert_eq!((&read.tokens, &read.token_types), (&case.tokens, &case.types), "{}", case.pre);
        let (merges, pre) = merges(&mut read);
        assert_eq!((&*merges, &*pre), (&case.merges, &case.pre));
    }
}

#[test]
fn qwens_texts_are_composed_before_they_are_cut() {
    for case in cases().iter().filter(|case| case.model == "gpt2") {
        let tokenizer = LlamaTokenizer::from_parts(&parts(case)).unwrap();
        let [composed, decomposed] =
            ["gr\u{f6}\u{df}e", "gro\u{308}\u{df}e"].map(|text| tokenizer.encode(text, false).unwrap());
        assert_eq!(composed == decomposed, case.pre == "qwen2", "{}", case.pre);
    }
}

#[test]
fn a_directory_without_a_begin_token_begins_no_text() {
    let case = &cases()[0];
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = LlamaTokenizer::from_parts(&parts(case)).unwrap();
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
    for (config, expected) in [
        // No setting, and no post-processor in the file.
        ("{}", false),
        (r#"{"tokenizer_class": "GPT2Tokenizer"}"#, false),
        (r#"{"tokenizer_class": "Qwen2Tokenizer"}"#, false),
        (r#"{"tokenizer_class": "GPT2TokenizerFast", "add_bos_token": true}"#, true),
        (r#"{"add_bos_token": false}"#, false),
    ] {
        fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        assert_eq!(LlamaTokenizer::from_dir(dir.path()).unwrap().adds_bos(), expected, "{config}");
    }
}

#[test]
fn lists_that_do_not_fit_each_other_are_refused() {
    let cases = cases();
    let (merged, scored) = (&cases[0], &cases[cases.len() - 1]);
    let refused = |parts: &TokenizerParts, expected: &str| {
        let text = LlamaTokenizer::from_parts(parts).unwrap_err().to_string();
        assert!(text.contains("model.gguf") && text.contains(expected), "{text}; expected {expected}");
    };
    let mut broken = parts(merged);
    *merges(&mut broken).1 = "deepseek-coder".to_owned();
    refused(&broken, "pre deepseek-coder; expected default, gpt-2, llama-bpe");
    let mut broken = parts(merged);
    merges(&mut broken).0.push("nothing".to_owned());
    refused(&broken, "a merge without a space");
    let mut broken = parts(merged);
    merges(&mut broken).0.push("of nothing-known".to_owned());
    refused(&broken, "cannot read");
    let mut broken = parts(scored);
    broken.tokens.push("more".to_owned());
    broken.token_types.push(1);
    refused(&broken, &format!("scores of length {}", scored.scores.len()));
    let mut broken = parts(merged);
    broken.token_types.pop();
    refused(&broken, "token_type of length");
    refused(&TokenizerParts { eos_id: Some(u32::MAX), ..parts(merged) }, "a special token id 4294967295");
}
