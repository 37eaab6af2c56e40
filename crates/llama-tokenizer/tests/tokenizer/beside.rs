//! Tokenizers of more than one file, against transformers 4 and 5 (`goldens/make_beside.py`).

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use llama_tokenizer::{LlamaTokenizer, Pieces, TokenizerParts};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::golden;

#[derive(Deserialize)]
struct Golden {
    #[serde(rename = "tokenizer.json")]
    tokenizer_json: Value,
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    files: BTreeMap<String, Value>,
    /// `drop` leaves it out of `tokenizer.json`; without one, the case is of `tokenizer.model`.
    post_processor: Option<String>,
    ids: BTreeMap<String, Vec<i64>>,
}

fn read(major: u32) -> Golden {
    serde_json::from_slice(&std::fs::read(golden(&format!("beside_{major}.json"))).unwrap()).unwrap()
}

/// A directory of `tiny.model` and these files.
fn with_model<'a>(files: impl IntoIterator<Item = (&'a str, &'a Value)>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(golden("tiny.model"), dir.path().join("tokenizer.model")).unwrap();
    write(dir.path(), files);
    dir
}

fn write<'a>(dir: &Path, files: impl IntoIterator<Item = (&'a str, &'a Value)>) {
    for (name, contents) in files {
        std::fs::write(dir.join(name), contents.to_string()).unwrap();
    }
}

#[test]
fn ids_equal_transformers_4_and_5_whatever_files_say_it() {
    for major in [4, 5] {
        let Golden { tokenizer_json, cases } = read(major);
        for (name, case) in cases {
            let files = || case.files.iter().map(|(name, contents)| (name.as_str(), contents));
            let dir = match &case.post_processor {
                None => with_model(files()),
                Some(post_processor) => {
                    let dir = tempfile::tempdir().unwrap();
                    let mut contents = tokenizer_json.clone();
                    if post_processor == "drop" {
                        contents["post_processor"] = Value::Null;
                    }
                    write(dir.path(), files().chain([("tokenizer.json", &contents)]));
                    dir
                }
            };
            let tokenizer = LlamaTokenizer::from_dir(dir.path()).unwrap();
            assert!(tokenizer.notes().is_empty(), "{name}: {:?}", tokenizer.notes());
            for (text, ids) in &case.ids {
                assert_eq!(tokenizer.encode(text, true).unwrap(), *ids, "{major}, {name}: {text:?}");
            }
        }
    }
}

/// A chat fine-tune of old: tokens added beside `tokenizer.model`, 400 pieces long.
fn chat(is_listed: bool) -> tempfile::TempDir {
    let names =
        json!({"bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>", "pad_token": "[PAD]"});
    let mut config = names.clone();
    config["add_bos_token"] = true.into();
    let token =
        |content: &str, special: bool| json!({"content": content, "special": special, "normalized": false});
    let listed = json!({"[PAD]": 400, "<|im_start|>": 401, "<|im_end|>": 402, "\u{2581}Tom": 403});
    if is_listed {
        return with_model([
            ("tokenizer_config.json", &config),
            ("special_tokens_map.json", &names),
            ("added_tokens.json", &listed),
        ]);
    }
    config["added_tokens_decoder"] = json!({
        "0": token("<unk>", true), "1": token("<s>", true), "2": token("</s>", true), "400": token("[PAD]", true),
        "401": token("<|im_start|>", false), "402": token("<|im_end|>", true), "403": token("\u{2581}Tom", false),
    });
    with_model([("tokenizer_config.json", &config)])
}

/// Types and scores of `conversion/base.py` in llama.cpp, `_create_vocab_sentencepiece`.
#[test]
fn lists_for_gguf_are_those_of_llama_cpps_converter() {
    for (is_listed, first, added) in [
        (true, (2, 0.0), [("[PAD]", 4), ("<|im_start|>", 4), ("<|im_end|>", 4), ("\u{2581}Tom", 4)]),
        (false, (3, -1000.0), [("[PAD]", 3), ("<|im_start|>", 3), ("<|im_end|>", 3), (" Tom", 4)]),
    ] {
        let dir = chat(is_listed);
        let mut parts = TokenizerParts::from_dir(dir.path()).unwrap();
        parts.resize(406);
        let Pieces::Scores { scores, add_space_prefix } = &parts.pieces else { panic!("scores") };
        assert!(*add_space_prefix);
        assert_eq!((parts.token_types[0], scores[0]), first, "{is_listed}");
        for (id, (token, kind)) in (400..).zip(added) {
            assert_eq!(
                (parts.tokens[id].as_str(), parts.token_types[id], scores[id]),
                (token, kind, -1000.0)
            );
        }
        for id in [404, 405] {
            assert_eq!(
                (&parts.tokens[id], parts.token_types[id], scores[id]),
                (&format!("[PAD{id}]"), 5, -1e4)
            );
        }
        let ids = (parts.bos_id, parts.eos_id, parts.unk_id, parts.pad_id, parts.add_bos, parts.add_eos);
        assert_eq!(ids, (Some(1), Some(402), Some(0), Some(400), Some(true), Some(false)));
    }
}

#[test]
fn a_gguf_file_gives_the_ids_of_the_files_it_was_made_of() {
    for dir in [chat(true), chat(false)] {
        let tokenizer = LlamaTokenizer::from_dir(dir.path()).unwrap();
        let parts = TokenizerParts::from_dir(dir.path()).unwrap();
        let of_parts = LlamaTokenizer::from_parts(&parts).unwrap();
        for text in ["<|im_start|>user\nthe river<|im_end|>\n", "", " the </s><s>there", "日本 <unk> [PAD]"]
        {
            let [expected, actual] =
                [&tokenizer, &of_parts].map(|tokenizer| tokenizer.encode(text, true).unwrap());
            assert_eq!(actual, expected, "{text:?}");
        }
        assert_eq!((of_parts.bos_id(), of_parts.eos_id(), of_parts.pad_id()), (1, 402, 400));
    }
}

/// Every spelling of the space before a text, and the flag that a GGUF file has for it.
#[test]
fn the_space_before_a_text_is_found_however_it_is_spelt() {
    let plain = read(4).tokenizer_json;
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": false});
    let prepend =
        json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"}, replace]});
    for (normalizer, pre_tokenizer, expected, has_limits) in [
        (prepend, Value::Null, true, false),
        (replace, Value::Null, false, false),
        (Value::Null, metaspace("always"), true, true),
        (Value::Null, metaspace("first"), true, true),
        (Value::Null, metaspace("never"), false, false),
    ] {
        let mut contents = plain.clone();
        (contents["normalizer"], contents["pre_tokenizer"]) = (normalizer, pre_tokenizer.clone());
        for with_model in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            if with_model {
                std::fs::copy(golden("tiny.model"), dir.path().join("tokenizer.model")).unwrap();
            }
            write(dir.path(), [("tokenizer.json", &contents)]);
            let parts = TokenizerParts::from_dir(dir.path()).unwrap();
            let Pieces::Scores { add_space_prefix, .. } = parts.pieces else { panic!("scores") };
            assert_eq!(add_space_prefix, expected, "{pre_tokenizer}");
            let tokenizer = LlamaTokenizer::from_dir(dir.path()).unwrap();
            let in_gguf = tokenizer.with_gguf_prefix().unwrap();
            assert_eq!(in_gguf.is_some(), has_limits, "{pre_tokenizer}");
            // Whatever the spelling, the file reads as the directory does but for the limits of its form.
            let (in_gguf, of_parts) =
                (in_gguf.unwrap_or(tokenizer.clone()), LlamaTokenizer::from_parts(&parts).unwrap());
            for text in ["the village", " the", "the</s>the", "", "日本"] {
                assert_eq!(
                    of_parts.encode(text, true).unwrap(),
                    in_gguf.encode(text, true).unwrap(),
                    "{text:?}"
                );
            }
            assert_eq!(
                of_parts.encode("the river", true).unwrap(),
                tokenizer.encode("the river", true).unwrap()
            );
        }
    }
    let mut contents = plain;
    contents["normalizer"] = json!({"type": "Lowercase"});
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), [("tokenizer.json", &contents)]);
    let refusal = TokenizerParts::from_dir(dir.path()).unwrap_err().to_string();
    assert!(refusal.contains("Lowercase") && refusal.contains("tokenizer.json"), "{refusal}");
}

#[test]
fn a_damaged_file_beside_the_vocabulary_is_named() {
    let names = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
    for name in names {
        for damaged in
            ["{\"add_bos_token\": false,}", "", "[]", "version https://git-lfs.github.com/spec/v1\noid"]
        {
            let dir = with_model([]);
            std::fs::write(dir.path().join(name), damaged).unwrap();
            for refusal in [
                LlamaTokenizer::from_dir(dir.path()).unwrap_err(),
                TokenizerParts::from_dir(dir.path()).unwrap_err(),
            ] {
                assert!(refusal.to_string().contains(name), "{refusal}");
                let cause = refusal.source().map(ToString::to_string).unwrap_or_default();
                assert_eq!(cause.contains("LFS"), damaged.contains("lfs"), "{refusal}: {cause}");
            }
        }
    }
    for (name, contents) in [
        ("tokenizer_config.json", json!({"add_bos_token": "false"})),
        ("tokenizer_config.json", json!({"pad_token": 0})),
        ("tokenizer_config.json", json!({"added_tokens_decoder": {"x": {"content": "y"}}})),
        ("tokenizer_config.json", json!({"added_tokens_decoder": ["x"]})),
        ("special_tokens_map.json", json!({"additional_special_tokens": "<a>"})),
        ("added_tokens.json", json!({"<a>": -1})),
    ] {
        let dir = with_model([(name, &contents)]);
        let refusal = LlamaTokenizer::from_dir(dir.path()).unwrap_err().to_string();
        assert!(refusal.contains(name), "{refusal}");
    }
}

#[test]
fn files_that_contradict_each_other_are_noted() {
    let config = json!({"added_tokens_decoder": {"400": {"content": "<a>", "special": true}}});
    let dir = with_model([("tokenizer_config.json", &config), ("added_tokens.json", &json!({"<b>": 401}))]);
    let tokenizer = LlamaTokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(tokenizer.vocab_size(), 401);
    assert!(tokenizer.notes()[0].contains("`<b>`"), "{:?}", tokenizer.notes());

    let dir = tempfile::tempdir().unwrap();
    let config = json!({"added_tokens_decoder": {"5": {"content": "<a>", "special": true}}});
    write(dir.path(), [("tokenizer_config.json", &config), ("tokenizer.json", &read(4).tokenizer_json)]);
    let tokenizer = LlamaTokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(tokenizer.encode("<a>", false).unwrap(), [400]);
    assert!(tokenizer.notes()[0].contains("said to be 5, and is 400"), "{:?}", tokenizer.notes());
}

#[test]
fn a_text_ends_only_in_other_programs() {
    let dir =
        with_model([("tokenizer_config.json", &json!({"add_eos_token": true, "add_bos_token": false}))]);
    let tokenizer = LlamaTokenizer::from_dir(dir.path()).unwrap();
    assert!(tokenizer.adds_eos() && !tokenizer.adds_bos());
    assert_eq!(tokenizer.encode("the", true).unwrap(), tokenizer.encode("the", false).unwrap());
    let parts = TokenizerParts::from_dir(dir.path()).unwrap();
    assert_eq!((parts.add_bos, parts.add_eos), (Some(false), Some(true)));
    let json = LlamaTokenizer::from_parts(&parts).unwrap().to_json().unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["post_processor"]["single"][1]["SpecialToken"]["id"], "</s>");
}
