//! The written model computes what base and adapter do.

use checkpoint::Base;
use lora::LoraAdapters;
use nn_core::Dtype;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::common::{Scene, run};
use crate::scene::{ALL, R, largest_difference, logits, logits_of, merge, scene, shapes, write_adapter};

/// Logits, of which the largest are near 5, through two layers in float32.
const SAME: f64 = 1e-4;

/// The logits with the adapters attached, never merged.
pub(crate) fn adapted(scene: &Scene, adapters: &[&str]) -> Tensor {
    let base = Base::open(scene.path("model").to_str().unwrap()).unwrap();
    let mut model = base.load(Device::Cpu, Dtype::Float32).unwrap();
    for dir in adapters {
        LoraAdapters::load(&mut model, &scene.path(dir)).unwrap();
    }
    logits(&model)
}

#[test]
fn every_format_computes_what_base_and_adapter_do() {
    for (shape, config) in shapes() {
        let scene = scene(&config, Kind::Float);
        write_adapter(&scene.path("adapter"), &config, &ALL, R, 0);
        let expected = adapted(&scene, &["adapter"]);
        assert!(largest_difference(&expected, &logits_of(&scene.path("model"))) > 0.3, "{shape}");
        for (format, more, file, tolerance) in [
            ("hf", &["--max_shard_size", "20KB"] as &[&str], "", SAME),
            ("state-dict", &[], "", SAME),
            ("state-dict", &["--shards", "2"], "", SAME),
            ("gguf", &[], "/model.gguf", SAME),
            ("hf", &["--dtype", "float16"], "", 0.05),
            ("gguf", &["--dtype", "bfloat16"], "/model.gguf", 0.2),
            ("gguf", &["--dtype", "q8_0"], "/model.gguf", 0.2),
        ] {
            let own = ["--base_model", "model", "--lora_weights", "adapter", "--output_dir", "out"];
            let args = [&own as &[&str], &["--format", format, "--overwrite_output_dir"], more].concat();
            let done = run(&mut merge(&scene, &args)).ok();
            assert!(done.stdout.contains("14 targets changed"), "{}", done.stdout);
            let path = scene.path(&format!("out{file}"));
            let off = largest_difference(&logits_of(&path), &expected);
            assert!(off < tolerance, "{shape}, {format} {more:?}: {off}");
        }
    }
}

#[test]
fn several_adapters_are_the_sum_of_what_they_add() {
    let (_, config) = shapes().remove(1);
    let scene = scene(&config, Kind::Float);
    write_adapter(&scene.path("a"), &config, &["q_proj", "v_proj"], 4, 0);
    write_adapter(&scene.path("b"), &config, &["q_proj", "down_proj"], 2, 7);
    let own = ["--base-model", "model", "--adapter", "a", "--adapter", "b:1", "--output-dir", "out"];
    let done = run(&mut merge(&scene, &own)).ok();
    assert!(done.stdout.contains("6 targets changed"), "{}", done.stdout);
    // One wrapped around the other: each adds its own.
    let expected = adapted(&scene, &["a", "b"]);
    assert!(largest_difference(&logits_of(&scene.path("out")), &expected) < SAME);
    // Half of both, twice.
    let halves = ["--base_model", "model", "--adapter", "a:0.5", "--adapter", "b:0.5", "--scale", "2"];
    run(&mut merge(&scene, &[&halves as &[&str], &["--output_dir", "halves"]].concat())).ok();
    assert!(largest_difference(&logits_of(&scene.path("halves")), &expected) < SAME);
    let linear = [&halves as &[&str], &["--output_dir", "no", "--combination", "linear"]].concat();
    run(&mut merge(&scene, &linear)).refused(1, &["linear", "one rank", "4 and 2"]);
}

#[test]
fn verify_reports_prompt_by_prompt_and_sees_another_model() {
    let (_, config) = shapes().remove(1);
    let scene = scene(&config, Kind::Float);
    write_adapter(&scene.path("adapter"), &config, &ALL, R, 0);
    let own = ["--base_model", "model", "--lora_weights", "adapter"];
    for (format, dtype) in [("hf", "float32"), ("state-dict", "float16"), ("gguf", "q8_0")] {
        let out = format!("out-{format}");
        let args =
            [&own as &[&str], &["--output_dir", &out, "--format", format, "--dtype", dtype, "--verify"]];
        let done = run(&mut merge(&scene, &args.concat())).ok();
        assert!(done.stdout.contains("greedy tokens") && done.stdout.contains("q_proj"), "{}", done.stdout);
        let text = std::fs::read_to_string(scene.path(&out).join("merge_report.json")).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        let prompts = report["verification"]["prompts"].as_array().unwrap();
        assert_eq!(prompts.len(), 8);
        let limit = report["verification"]["kl_limit"].as_f64().unwrap();
        assert!(prompts.iter().all(|prompt| prompt["kl"].as_f64().unwrap() < limit / 3.0), "{text}");
        assert_eq!(report["targets"].as_array().unwrap().len(), 14);
        assert!(report["targets"][0]["fraction_changed"].as_f64().unwrap() > 0.9, "{text}");
        assert!(report["tensors_unchanged"].as_u64().unwrap() >= 7, "{text}");
    }
}
