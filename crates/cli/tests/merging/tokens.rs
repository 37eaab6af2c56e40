//! A merged model reads texts as its base does, in every form, and it shows where it does not.

use std::fs;
use std::path::Path;

use checkpoint::{Base, MergeConfig};
use llama_finetune::verify_merge;
use llama_model::LlamaConfig;
use serde_json::{Value, json};
use tch::Kind;

use crate::common::{Scene, model_config, run, workspace, write_model_of};
use crate::scene::{merge, program};

/// A chat fine-tune of old: `tokenizer.model`, three tokens added beside it, and several that end an answer.
fn chat_model(dir: &Path, is_listed: bool) {
    let config = LlamaConfig { vocab_size: 403, ..model_config() };
    write_model_of(dir, &config, Kind::Float);
    fs::remove_file(dir.join("tokenizer.json")).unwrap();
    let model = workspace().join("crates/llama-tokenizer/tests/goldens/tiny.model");
    fs::copy(model, dir.join("tokenizer.model")).unwrap();
    let write = |name: &str, contents: &Value| fs::write(dir.join(name), contents.to_string()).unwrap();
    let names =
        json!({"bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>", "pad_token": "[PAD]"});
    let mut settings = names.clone();
    settings["add_bos_token"] = true.into();
    let added = json!({"[PAD]": 400, "<|im_start|>": 401, "<|im_end|>": 402});
    if is_listed {
        write("added_tokens.json", &added);
        write("special_tokens_map.json", &names);
    } else {
        let by_id = added.as_object().unwrap().iter().map(|(content, id)| {
            (id.to_string(), json!({"content": content, "special": true, "normalized": false}))
        });
        settings["added_tokens_decoder"] = Value::Object(by_id.collect());
    }
    write("tokenizer_config.json", &settings);
    write("generation_config.json", &json!({"eos_token_id": [2, 402, 7]}));
}

fn open(path: &Path) -> Base {
    Base::open(path.to_str().unwrap()).unwrap()
}

#[test]
fn added_tokens_and_end_tokens_are_carried_into_every_form() {
    for is_listed in [true, false] {
        let scene = Scene::new();
        chat_model(&scene.path("chat"), is_listed);
        let base = open(&scene.path("chat"));
        let tokenizer = base.tokenizer().unwrap();
        assert_eq!(base.eos_ids(&tokenizer), [2, 7, 402]);
        for format in ["hf", "state-dict", "gguf"] {
            let args = ["--base_model", "chat", "--output_dir", format, "--format", format, "--verify"];
            let done = run(&mut merge(&scene, &args)).ok();
            assert!(done.stdout.contains("texts become the tokens"), "{}", done.stdout);
            // And on into the first form.
            let back = format!("{format}-back");
            run(&mut merge(&scene, &["--base_model", format, "--output_dir", &back, "--verify"])).ok();
            for path in [format, &back] {
                let written = open(&scene.path(path));
                let read = written.tokenizer().unwrap();
                for text in ["<|im_start|>user\nthe river<|im_end|>\n", "[PAD] </s><s>there", " a \u{1f642}"]
                {
                    assert_eq!(
                        read.encode(text, true).unwrap(),
                        tokenizer.encode(text, true).unwrap(),
                        "{path}: {text:?}"
                    );
                }
                assert_eq!(written.eos_ids(&read), [2, 7, 402], "{path}");
                assert_eq!((read.bos_id(), read.eos_id(), read.pad_id()), (1, 402, 400), "{path}");
            }
        }
    }
}

/// Finds bytes in a file.
fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap()
}

/// Returns the place of the value of a key in a GGUF file, behind its type.
fn value(bytes: &[u8], key: &str) -> usize {
    find(bytes, key.as_bytes()) + key.len() + 4
}

/// Verdict of `verify_merge` on a model in this form after `damage` to the file of its tokenizer.
fn said(base: &Base, format: &str, file: &str, damage: impl Fn(&mut Vec<u8>)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let format = checkpoint::FORMATS.iter().find(|known| known.name() == format).unwrap();
    let config = MergeConfig { format: *format, ..MergeConfig::default() };
    let plan = base.plan_merge(&[], config, dir.path().join("out")).unwrap();
    let written = plan.write().unwrap();
    verify_merge(&plan, written.path()).unwrap();
    let path = written.path().join(file);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
    verify_merge(&plan, written.path()).unwrap_err().to_string()
}

#[test]
fn verify_sees_every_fault_planted_in_a_tokenizer() {
    let scene = Scene::new();
    chat_model(&scene.path("chat"), false);
    let chat = open(&scene.path("chat"));
    let text = said(&chat, "gguf", "model.gguf", |bytes| {
        let at = value(bytes, "tokenizer.ggml.add_space_prefix");
        assert_eq!(bytes[at], 1);
        bytes[at] = 0;
    });
    assert!(text.contains("reads the text") && text.contains("as the tokens ["), "{text}");
    let text = said(&chat, "gguf", "model.gguf", |bytes| {
        let at = find(bytes, b"<|im_start|>");
        bytes[at..at + 12].copy_from_slice(b"<|im_START|>");
    });
    assert!(text.contains("im_start") && text.contains("401"), "{text}");
    let text = said(&chat, "gguf", "model.gguf", |bytes| {
        let at = value(bytes, "tokenizer.ggml.add_bos_token");
        bytes[at] = 0;
    });
    assert!(text.contains("as the tokens"), "{text}");
    let text = said(&chat, "gguf", "model.gguf", |bytes| {
        let at = value(bytes, "tokenizer.ggml.eot_token_id");
        bytes[at] = 9;
    });
    assert!(text.contains("end an answer at [7, 9, 402]"), "{text}");
    // `re` and `ed`, which are both in `red`.
    let text = said(&chat, "gguf", "model.gguf", |bytes| swap_scores(bytes, 263, 267));
    assert!(text.contains("as the tokens"), "{text}");
    let text = said(&chat, "hf", "tokenizer_config.json", |bytes| {
        let at = find(bytes, b"\"401\"");
        bytes[at..at + 5].copy_from_slice(b"\"411\"");
    });
    assert!(text.contains("411"), "{text}");
    let text = said(&chat, "hf", "tokenizer_config.json", |bytes| {
        let mut json: Value = serde_json::from_slice(bytes).unwrap();
        assert!(json["added_tokens_decoder"].as_object_mut().unwrap().remove("401").is_some());
        *bytes = json.to_string().into_bytes();
    });
    assert!(text.contains("<|im_start|>"), "{text}");

    // `er` and `ra`, which are both in `era`.
    let tiny = open(&workspace().join("datasets/tiny-llama"));
    let text = said(&tiny, "hf", "tokenizer.json", |bytes| swap_merges(bytes, 0, 18));
    assert!(text.contains("as the tokens"), "{text}");
}

/// Swaps the scores of two tokens of a GGUF file.
fn swap_scores(bytes: &mut [u8], one: usize, other: usize) {
    let list = value(bytes, "tokenizer.ggml.scores") + 12;
    for byte in 0..4 {
        bytes.swap(list + 4 * one + byte, list + 4 * other + byte);
    }
}

/// Swaps two merges of a `tokenizer.json`.
fn swap_merges(bytes: &mut Vec<u8>, one: usize, other: usize) {
    let mut json: Value = serde_json::from_slice(bytes).unwrap();
    json["model"]["merges"].as_array_mut().unwrap().swap(one, other);
    *bytes = json.to_string().into_bytes();
}

#[test]
fn compare_refuses_models_that_read_texts_differently() {
    let scene = Scene::new();
    chat_model(&scene.path("chat"), true);
    let own =
        ["--reference_model", "chat", "--data_path", "data.json", "--prompt_template_name", "alpaca_short"];
    let compare = |base: &str, more: &[&str]| {
        let args =
            [&own as &[&str], &["--base_model", base, "--records", "2", "--max_new_tokens", "3"], more]
                .concat();
        run(&mut program(&scene, env!("CARGO_BIN_EXE_compare"), &args))
    };
    run(&mut merge(&scene, &["--base_model", "chat", "--output_dir", "gguf", "--format", "gguf"])).ok();
    assert!(compare("gguf", &[]).ok().stdout.contains("2 records"));
    run(&mut merge(&scene, &["--base_model", "chat", "--output_dir", "hf"])).ok();
    fs::remove_file(scene.path("hf/added_tokens.json")).unwrap();
    let parts = ["--ignore_tokenizer", "the vocabularies have", "as the tokens"];
    compare("hf", &[]).refused(1, &parts);
    let ignored = compare("hf", &["--ignore_tokenizer"]).ok();
    assert!(
        ignored.stdout.contains("2 records") && ignored.stderr.contains("as the tokens"),
        "{}",
        ignored.stderr
    );
    // Another vocabulary, and fewer rows.
    compare("model", &[]).refused(1, &["the vocabularies have 403 and 99 tokens"]);
}
