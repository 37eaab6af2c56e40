//! Merging into the base that QLoRA saw, and quantised outputs.

use checkpoint::Base;
use llama_model::LlamaConfig;
use lora::LoraAdapters;
use nn_core::Dtype;
use qlora_nf4::Quantization;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::common::{Scene, names, run};
use crate::scene::{ALL, R, largest_difference, logits, logits_of, merge, scene, shapes, write_adapter};

/// Logits, of which the largest are near 5, through two layers in float32.
const SAME: f64 = 1e-4;

const ADAPTED: [&str; 4] = ["--base_model", "model", "--lora_weights", "adapter"];

fn quantization(name: &str, double_quant: bool) -> Quantization {
    Quantization::from_flags(name, double_quant).unwrap().unwrap()
}

/// A shape that heads share keys in, with an adapter for every layer.
fn adapted_scene() -> Scene {
    let (_, config): (_, LlamaConfig) = shapes().remove(1);
    let scene = scene(&config, Kind::Float);
    write_adapter(&scene.path("adapter"), &config, &ALL, R, 0);
    scene
}

/// Logits of what lies at `base`, quantised on loading, with the adapter beside it or not.
fn quantised(scene: &Scene, base: &str, quantization: Quantization, adapted: bool) -> Tensor {
    let base = Base::open(scene.path(base).to_str().unwrap()).unwrap();
    let mut model = base.load_quantized(Device::Cpu, Dtype::Float32, Some(quantization)).unwrap();
    if adapted {
        LoraAdapters::load(&mut model, &scene.path("adapter")).unwrap();
    }
    logits(&model)
}

fn json(scene: &Scene, path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(scene.path(path)).unwrap()).unwrap()
}

#[test]
fn an_adapter_merges_into_the_base_that_it_was_trained_over() {
    let scene = adapted_scene();
    run(&mut merge(&scene, &[&ADAPTED as &[&str], &["--output_dir", "original"]].concat())).ok();
    for (flags, quantization, out) in [
        (&["--base_precision", "nf4"] as &[&str], quantization("nf4", false), "plain"),
        (&["--base_precision", "nf4", "--double_quant"], quantization("nf4", true), "nested"),
    ] {
        let args = [&ADAPTED as &[&str], flags, &["--output_dir", out, "--verify"]].concat();
        let done = run(&mut merge(&scene, &args)).ok();
        assert!(done.stdout.contains("14 targets changed"), "{}", done.stdout);
        let (merged, expected) =
            (logits_of(&scene.path(out)), quantised(&scene, "model", quantization, true));
        assert!(largest_difference(&merged, &expected) < SAME, "{flags:?}");
        assert!(largest_difference(&logits_of(&scene.path("original")), &expected) > 10.0 * SAME);
        let report = json(&scene, &format!("{out}/merge_report.json"));
        assert!(report["base_quantization"].as_str().unwrap().starts_with("nf4"));
    }
}

#[test]
fn a_quantised_output_is_the_merged_model_quantised_on_loading() {
    let scene = adapted_scene();
    run(&mut merge(&scene, &[&ADAPTED as &[&str], &["--output_dir", "merged"]].concat())).ok();
    for (flags, quantization) in [
        (&["--quantize", "nf4"] as &[&str], quantization("nf4", false)),
        (&["--quantize", "nf4", "--double_quant", "--max_shard_size", "20KB"], quantization("nf4", true)),
        (&["--quantize", "fp4"], quantization("fp4", false)),
        (&["--quantize", "int8", "--max_shard_size", "20KB"], quantization("int8", false)),
    ] {
        let out = ["--output_dir", "out", "--overwrite_output_dir", "--verify"];
        run(&mut merge(&scene, &[&ADAPTED as &[&str], flags, &out].concat())).ok();
        assert_eq!(
            names(&scene.path("out")).contains(&"model.safetensors.index.json".to_owned()),
            flags.len() > 3
        );
        let written = logits_of(&scene.path("out"));
        let off = largest_difference(&written, &quantised(&scene, "merged", quantization, false));
        assert!(off < SAME, "{flags:?}: {off}");
        assert_eq!(json(&scene, "out/config.json")["quantization_config"]["quant_method"], "bitsandbytes");
        // Without an adapter, and back to plain numbers.
        let convert = ["--base_model", "model", "--output_dir", "base", "--overwrite_output_dir"];
        run(&mut merge(&scene, &[&convert as &[&str], flags].concat())).ok();
        let expected = quantised(&scene, "model", quantization, false);
        assert!(largest_difference(&logits_of(&scene.path("base")), &expected) < SAME, "{flags:?}");
        let back = ["--base_model", "out", "--output_dir", "back", "--overwrite_output_dir"];
        run(&mut merge(&scene, &back)).ok();
        assert!(json(&scene, "back/config.json")["quantization_config"].is_null());
        // 8-bit weights were float16 before.
        let tolerance = if quantization.bits() == 8 { 0.02 } else { SAME };
        assert!(largest_difference(&logits_of(&scene.path("back")), &written) < tolerance, "{flags:?}");
    }
}

#[test]
fn a_quantised_base_is_not_quantised_again() {
    let scene = adapted_scene();
    let quantise = ["--base_model", "model", "--output_dir", "four", "--quantize", "nf4"];
    run(&mut merge(&scene, &quantise)).ok();
    let own = ["--base_model", "four", "--lora_weights", "adapter", "--output_dir", "no"];
    run(&mut merge(&scene, &[&own as &[&str], &["--base_precision", "nf4"]].concat()))
        .refused(2, &["quantised already (nf4)", "--base_precision nf4"]);
    assert!(!scene.path("no").exists());
    // Over what is stored, the adapter adds what it adds to the base as it is.
    run(&mut merge(&scene, &own)).ok();
    let expected = quantised(&scene, "model", quantization("nf4", false), true);
    assert!(largest_difference(&logits_of(&scene.path("no")), &expected) < SAME);
    for flag in ["--quantize=nf4", "--full"] {
        run(&mut scene.finetune("trained", &["--base_model", "four", flag]))
            .refused(2, &["quantised already (nf4)"]);
    }
}
