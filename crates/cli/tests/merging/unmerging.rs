//! `unmerge` undoes `merge`.

use serde_json::Value;
use tch::Kind;

use crate::common::{Scene, run};
use crate::scene::{R, largest_difference, logits_of, merge, program, scene, shapes, write_adapter};

fn unmerge(scene: &Scene, args: &[&str]) -> std::process::Command {
    program(scene, env!("CARGO_BIN_EXE_unmerge"), args)
}

#[test]
fn unmerge_recovers_the_merged_adapter() {
    let (_, config) = shapes().remove(1);
    let scene = scene(&config, Kind::Float);
    write_adapter(&scene.path("adapter"), &config, &["q_proj", "v_proj", "down_proj"], R, 0);
    let own = ["--base_model", "model", "--lora_weights", "adapter", "--output_dir", "merged"];
    run(&mut merge(&scene, &own)).ok();
    let own = ["--base_model", "model", "--merged-model", "merged", "--output_dir", "found"];
    let done =
        run(&mut unmerge(&scene, &[&own as &[&str], &["--lora_r", "4", "--lora_alpha", "6"]].concat())).ok();
    assert!(
        done.stdout.contains("layers.1.mlp.down_proj") && done.stdout.contains("residual"),
        "{}",
        done.stdout
    );
    let own = ["--base_model", "model", "--lora_weights", "found", "--output_dir", "again"];
    run(&mut merge(&scene, &own)).ok();
    let (merged, again) = (logits_of(&scene.path("merged")), logits_of(&scene.path("again")));
    // Singular vectors in float32.
    assert!(largest_difference(&merged, &again) < 1e-3);
    assert!(largest_difference(&merged, &logits_of(&scene.path("model"))) > 0.1);
    let text = std::fs::read_to_string(scene.path("found/unmerge_report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["targets"].as_array().unwrap().len(), 6);
    for target in report["targets"].as_array().unwrap() {
        let number = |key: &str| target[key].as_f64().unwrap();
        assert!(number("residual_norm") < 1e-4 * number("delta_norm"), "{target}");
    }
    let config = std::fs::read_to_string(scene.path("found/adapter_config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&4.into(), &6.into()));
    assert_eq!(config["target_modules"], serde_json::json!(["down_proj", "q_proj", "v_proj"]));
}

#[test]
fn unmerge_of_equal_or_unrelated_models_is_rejected() {
    let (_, config) = shapes().remove(0);
    let scene = scene(&config, Kind::Float);
    let own = ["--base_model", "model", "--output_dir", "found"];
    let same = [&own as &[&str], &["--merged_model", "model"]].concat();
    run(&mut unmerge(&scene, &same)).refused(1, &["no linear layer of `model` differs"]);
    let (_, other) = shapes().remove(1);
    crate::common::write_model_of(&scene.path("other"), &other, Kind::Float);
    let unlike = [&own as &[&str], &["--merged_model", "other"]].concat();
    run(&mut unmerge(&scene, &unlike)).refused(1, &["is not of the shape of", "k_proj"]);
    run(&mut unmerge(&scene, &own)).refused(2, &["merged_model is missing"]);
    assert!(!scene.path("found").exists());
}
