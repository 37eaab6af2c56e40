//! `compare` tells a right merge from a wrong one.

use serde_json::Value;
use tch::Kind;

use crate::common::{Scene, run};
use crate::scene::{ALL, R, merge, program, scene, shapes, write_adapter};

/// Rounding of float32 sums in another order; a wrong merge of this adapter moves logits by more than 0.1.
const ROUNDING: f64 = 1e-3;

/// A model, an adapter that does something, and merges of it: what `compare` says of `out` against base and adapter.
fn compared(scene: &Scene, merge_args: &[&str]) -> Value {
    let own =
        ["--base_model", "model", "--output_dir", "out", "--overwrite_output_dir", "--dtype", "float32"];
    run(&mut merge(scene, &[&own as &[&str], merge_args].concat())).ok();
    let args = [
        "--reference_model",
        "model",
        "--reference_lora",
        "adapter",
        "--base_model",
        "out",
        "--data_path",
        "data.json",
        "--prompt_template_name",
        "alpaca_short",
        "--max_new_tokens",
        "12",
        "--records",
        "6",
        "--samples",
        "600",
        "--json",
        "compared.json",
    ];
    let done = run(&mut program(scene, env!("CARGO_BIN_EXE_compare"), &args)).ok();
    assert!(done.stdout.contains("6 records, computed in float32"), "{}", done.stdout);
    serde_json::from_str(&std::fs::read_to_string(scene.path("compared.json")).unwrap()).unwrap()
}

fn prepared() -> Scene {
    let (_, config) = shapes().remove(1);
    let scene = scene(&config, Kind::Float);
    write_adapter(&scene.path("adapter"), &config, &ALL, R, 0);
    scene
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap()
}

#[test]
fn a_merge_is_base_and_adapter_token_for_token() {
    let scene = prepared();
    for format in ["hf", "state-dict"] {
        let found = compared(&scene, &["--lora_weights", "adapter", "--format", format]);
        assert!(number(&found, "token_agreement") >= 1.0, "{format}");
        assert!(found["first_diverging_token"].is_null(), "{found}");
        let largest = number(&found, "max_logit_diff");
        assert!(largest > 0.0 && largest < ROUNDING, "{format}: two ways of computing, {largest}");
        let samples = found["logit_diff"].as_array().unwrap();
        assert!(samples.len() >= 600 && samples.iter().all(|x| x.as_f64().unwrap() <= largest));
    }
}

#[test]
fn compare_detects_a_wrong_merge_and_a_wrong_scale() {
    let scene = prepared();
    for (mistake, args) in [
        ("half the scale", &["--lora_weights", "adapter", "--scale", "0.5"] as &[&str]),
        ("subtracted", &["--lora_weights", "adapter", "--scale", "-1"]),
        ("nothing merged", &[]),
    ] {
        let found = compared(&scene, args);
        let largest = number(&found, "max_logit_diff");
        assert!(largest > 100.0 * ROUNDING, "{mistake}: {largest}");
        assert!(number(&found, "mean_kl") > 1e-5, "{mistake}: {found}");
    }
}

#[test]
fn alpaca_loras_export_script_on_a_current_peft_merges_nothing() {
    let scene = prepared();
    // What is left when every key with `lora` in it is dropped and nothing was merged: a state dict of the base.
    compared(&scene, &["--format", "state-dict"]);
    let args = [
        "--reference_model",
        "model",
        "--base_model",
        "out",
        "--data_path",
        "data.json",
        "--prompt_template_name",
        "alpaca_short",
        "--json",
        "base.json",
    ];
    run(&mut program(&scene, env!("CARGO_BIN_EXE_compare"), &args)).ok();
    let text = std::fs::read_to_string(scene.path("base.json")).unwrap();
    let found: Value = serde_json::from_str(&text).unwrap();
    assert!(number(&found, "max_logit_diff") <= 0.0 && number(&found, "token_agreement") >= 1.0, "{found}");
}
