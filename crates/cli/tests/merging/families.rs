//! Every model family is trained, merged and written in every form that it has.

use std::fs;

use llama_model::{FAMILIES, Family, LlamaConfig};
use tch::Kind;
use weights::TensorStore;

use crate::common::run;
use crate::forward::adapted;
use crate::scene::{ALL, R, largest_difference, logits_of, merge, scene, write_adapter};

/// Logits, of which the largest are near 5, through two layers in float32.
const SAME: f64 = 1e-4;

fn shape(family: &Family) -> LlamaConfig {
    // Meta's code has no setting for a width of their own.
    let head_dim = if family.has_meta_format { 8 } else { 16 };
    let text = format!(
        r#"{{"model_type": "{model_type}", "vocab_size": 104, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": {head_dim},
            "max_position_embeddings": 256, "sliding_window": null, "tie_word_embeddings": true}}"#,
        model_type = family.model_type
    );
    LlamaConfig::from_json(&text).unwrap()
}

#[test]
fn every_form_of_every_family_computes_what_base_and_adapter_do() {
    for family in FAMILIES {
        let config = shape(family);
        let scene = scene(&config, Kind::Float);
        write_adapter(&scene.path("adapter"), &config, &ALL, R, 0);
        let expected = adapted(&scene, &["adapter"]);
        assert!(largest_difference(&expected, &logits_of(&scene.path("model"))) > 0.1, "{family:?}");
        for (format, file) in [("hf", ""), ("gguf", "/model.gguf"), ("state-dict", "")] {
            let own = ["--base_model", "model", "--lora_weights", "adapter", "--output_dir", format];
            let mut merge = merge(&scene, &[&own as &[&str], &["--format", format]].concat());
            if format == "state-dict" && !family.has_meta_format {
                run(&mut merge).refused(1, &[family.model_type, "hf and gguf"]);
                continue;
            }
            run(&mut merge).ok();
            let off = largest_difference(&logits_of(&scene.path(&format!("{format}{file}"))), &expected);
            assert!(off < SAME, "{family:?}, {format}: {off}");
        }
    }
}

#[test]
fn a_gguf_file_of_every_family_becomes_its_hugging_face_directory_again() {
    for family in FAMILIES {
        let config = shape(family);
        let scene = scene(&config, Kind::Float);
        let there = ["--base_model", "model", "--output_dir", "there", "--format", "gguf"];
        run(&mut merge(&scene, &there)).ok();
        run(&mut merge(&scene, &["--base_model", "there/model.gguf", "--output_dir", "back"])).ok();
        let [one, other] = ["model", "back"].map(|dir| TensorStore::open(&scene.path(dir)).unwrap());
        assert!(one.names().eq(other.names()), "{family:?}");
        for name in one.names() {
            assert_eq!(one.tensor(name).unwrap(), other.tensor(name).unwrap(), "{family:?}: {name}");
        }
        let read = |dir: &str| LlamaConfig::from_dir(&scene.path(dir)).unwrap();
        let (before, after) = (read("model"), read("back"));
        assert_eq!(after.decoder, before.decoder);
        // llama.cpp has one architecture for LLaMA and for what has its parts alone.
        assert_eq!(after.family.gguf_architecture, before.family.gguf_architecture);
    }
}

#[test]
fn an_adapter_trained_on_any_family_merges_into_what_it_computes() {
    for family in FAMILIES {
        let scene = scene(&shape(family), Kind::Float);
        let few = ["--num_epochs", "1", "--lora_r", "4", "--lora_alpha", "10"];
        run(&mut scene.finetune("trained", &few)).ok();
        let adapter = fs::read(scene.path("trained/adapter_model.safetensors")).unwrap();
        assert!(!adapter.is_empty());
        let expected = adapted(&scene, &["trained"]);
        assert!(largest_difference(&expected, &logits_of(&scene.path("model"))) > 1e-3, "{family:?}");
        for (format, file) in [("hf", ""), ("gguf", "/model.gguf")] {
            let own = ["--base_model", "model", "--lora_weights", "trained", "--output_dir", format];
            run(&mut merge(&scene, &[&own as &[&str], &["--format", format]].concat())).ok();
            let off = largest_difference(&logits_of(&scene.path(&format!("{format}{file}"))), &expected);
            assert!(off < SAME, "{family:?}, {format}: {off}");
        }
    }
}
