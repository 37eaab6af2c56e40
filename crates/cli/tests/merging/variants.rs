//! Every variant of LoRA, from training to every form of a merged model.

use checkpoint::Base;
use lora::{Adapter, LoraAdapters, LoraConfig, TargetModules, VariantName};
use nn_core::Dtype;
use qlora_nf4::Quantization;
use tch::{Device, Kind, Tensor, no_grad};

use crate::common::{Scene, names, run};
use crate::scene::{ALL, ALPHA, R, largest_difference, logits, logits_of, merge, numbers, scene, shapes};

/// Logits, of which the largest are near 5, through two layers in float32.
const SAME: f64 = 1e-4;

/// The base with the adapter in `dir`, quantised on loading or not; unmerged.
fn adapted(scene: &Scene, dir: &str, quantization: Option<Quantization>) -> Tensor {
    let base = Base::open(scene.path("model").to_str().unwrap()).unwrap();
    let mut model = base.load_quantized(Device::Cpu, Dtype::Float32, quantization).unwrap();
    LoraAdapters::load(&mut model, &scene.path(dir)).unwrap();
    logits(&model)
}

/// Writes an adapter of this variant for every linear layer, with values other than those it starts from.
fn write_adapter(scene: &Scene, dir: &str, variant: &str) {
    let base = Base::open(scene.path("model").to_str().unwrap()).unwrap();
    let mut model = base.load(Device::Cpu, Dtype::Float32).unwrap();
    let config = LoraConfig {
        r: R,
        lora_alpha: ALPHA,
        target_modules: Some(TargetModules::Names(ALL.map(str::to_owned).to_vec())),
        variant: variant.into(),
        ..LoraConfig::default()
    };
    let adapters = LoraAdapters::attach(&mut model, &config, 1).unwrap();
    for (from, (_, mut tensor)) in (1..).zip(adapters.parameters()) {
        let _ = no_grad(|| tensor.g_add_(&numbers(&tensor.size(), 100 * from)));
    }
    std::fs::create_dir_all(scene.path(dir)).unwrap();
    adapters.save(&scene.path(dir)).unwrap();
}

#[test]
fn every_variant_merges_into_every_form_and_over_a_quantised_base() {
    let (_, config) = shapes().remove(1);
    for variant in VariantName::known() {
        let scene = scene(&config, Kind::Float);
        write_adapter(&scene, "adapter", variant);
        for (flags, file, quantization) in [
            (&["--format", "hf"] as &[&str], "", None),
            (&["--format", "state-dict", "--shards", "2"], "", None),
            (&["--format", "gguf"], "/model.gguf", None),
            (&["--base_precision", "nf4", "--verify"], "", Some(Quantization::nf4())),
        ] {
            let own = ["--base_model", "model", "--lora_weights", "adapter", "--output_dir", "out"];
            let done =
                run(&mut merge(&scene, &[&own as &[&str], &["--overwrite_output_dir"], flags].concat())).ok();
            assert!(done.stdout.contains("14 targets changed"), "{}", done.stdout);
            let merged = logits_of(&scene.path(&format!("out{file}")));
            let off = largest_difference(&merged, &adapted(&scene, "adapter", quantization));
            assert!(off < SAME, "{variant}, {flags:?}: {off}");
        }
    }
}

#[test]
fn a_non_additive_variant_merges_alone_with_weight_1() {
    let (_, config) = shapes().remove(1);
    let scene = scene(&config, Kind::Float);
    write_adapter(&scene, "lora", "lora");
    for variant in VariantName::known().filter(|&name| name != "lora") {
        write_adapter(&scene, variant, variant);
        let half = format!("{variant}:0.5");
        for adapters in
            [&[half.as_str()] as &[&str], &[variant, "--adapter", "lora"], &[variant, "--scale", "2"]]
        {
            let own = ["--base_model", "model", "--output_dir", "no", "--adapter"];
            run(&mut merge(&scene, &[&own as &[&str], adapters].concat()))
                .refused(1, &["needs plain LoRA adapters", variant, "merges alone"]);
        }
    }
}

#[test]
fn every_variant_trains_and_goes_on_from_a_checkpoint_byte_for_byte() {
    for variant in VariantName::known() {
        for quantize in ["none", "nf4"] {
            let scene = Scene::new();
            let flags = ["--lora_variant", variant, "--quantize", quantize, "--lora_r", "3"];
            let flags = [&flags as &[&str], &["--max_steps", "6", "--val_set_size", "0"]].concat();
            run(&mut scene.finetune("whole", &flags)).ok();
            let adapter = Adapter::read(&scene.path("whole")).unwrap();
            assert_eq!(adapter.config().variant.as_str(), variant);
            let resume = ["--resume_from_checkpoint", "whole/checkpoint-4"];
            run(&mut scene.finetune("resumed", &[&flags as &[&str], &resume].concat())).ok();
            let bytes = |dir: &str| crate::common::adapter(&scene.path(dir));
            assert_eq!(bytes("whole"), bytes("resumed"), "{variant}, {quantize}");
            assert!(names(&scene.path("whole")).contains(&"run.toml".to_owned()));
        }
    }
}
