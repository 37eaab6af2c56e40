//! Models, adapters that do something, and the programs over them.

use std::path::Path;
use std::process::{Command, Stdio};

use checkpoint::Base;
use llama_model::LlamaConfig;
use lora::{Adapter, AdapterLayer, LoraConfig, TargetModules};
use nn_core::{Dtype, Mode, ModulePath, TokenBatch};
use tch::{Device, Kind, Tensor, no_grad};

use crate::common::{Scene, model_config, write_model_of};

/// Not the rank, so that a wrong scale shows.
pub(crate) const ALPHA: f64 = 10.0;
pub(crate) const R: i64 = 4;

pub(crate) const ALL: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Shapes that LLaMA models have: heads that share keys or not, a head that is the embedding or not, Llama 3's constants.
pub(crate) fn shapes() -> Vec<(&'static str, LlamaConfig)> {
    let plain = model_config();
    vec![
        ("mha", plain.clone()),
        ("gqa", LlamaConfig { num_key_value_heads: 2, intermediate_size: 88, ..plain.clone() }),
        ("tied", LlamaConfig { num_key_value_heads: 2, tie_word_embeddings: true, ..plain.clone() }),
        (
            "llama3",
            LlamaConfig {
                num_key_value_heads: 2,
                rope_theta: 5e5,
                rms_norm_eps: 1e-5,
                max_position_embeddings: 8192,
                ..plain
            },
        ),
    ]
}

/// A scene with a model of this shape.
pub(crate) fn scene(config: &LlamaConfig, kind: Kind) -> Scene {
    let scene = Scene::new();
    write_model_of(&scene.path("model"), config, kind);
    scene
}

/// Numbers without a pattern.
pub(crate) fn numbers(shape: &[i64], from: i64) -> Tensor {
    let count = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu)) + from;
    ((&count * &count * 0.37).sin() * 0.2).view(shape).to_kind(Kind::Float)
}

/// Writes an adapter for `targets` of every layer; `seed` tells adapters apart.
pub(crate) fn write_adapter(dir: &Path, config: &LlamaConfig, targets: &[&str], r: i64, seed: i64) {
    std::fs::create_dir_all(dir).unwrap();
    let names = targets.iter().map(|&name| name.to_owned()).collect();
    let lora = LoraConfig {
        r,
        lora_alpha: ALPHA,
        target_modules: Some(TargetModules::Names(names)),
        ..LoraConfig::default()
    };
    let mut layers = Vec::new();
    for index in 0..config.num_hidden_layers {
        for (at, (leaf, inputs, outputs)) in (0..).zip(config.layer_linears()) {
            if targets.contains(&leaf) {
                let block = if at < 4 { "self_attn" } else { "mlp" };
                let from = seed + 100 * at + 1000 * index as i64;
                layers.push(AdapterLayer::low_rank(
                    ModulePath::new(format!("model.layers.{index}.{block}.{leaf}")),
                    numbers(&[r, inputs], from),
                    numbers(&[outputs, r], from + 50),
                    ALPHA / r as f64,
                ));
            }
        }
    }
    Adapter::write(dir, &lora, &layers).unwrap();
}

/// `merge` with `args`, in the scene's directory.
pub(crate) fn merge(scene: &Scene, args: &[&str]) -> Command {
    program(scene, env!("CARGO_BIN_EXE_merge"), args)
}

pub(crate) fn program(scene: &Scene, path: &str, args: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(args).args(["--threads", "1"]).current_dir(scene.path("."));
    command.env("OMP_NUM_THREADS", "1").env_remove("RUST_LOG").env_remove("BASE_MODEL");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Token ids that mean nothing.
pub(crate) const IDS: [i64; 12] = [1, 40, 7, 99, 12, 55, 3, 80, 61, 23, 9, 70];

/// Logits `[T, V]` of a model in float32.
pub(crate) fn logits(model: &llama_model::Llama) -> Tensor {
    let batch = TokenBatch::from_sequences([(IDS.as_slice(), IDS.as_slice())]);
    no_grad(|| model.logits(&model.hidden_states(&batch, Mode::Eval).unwrap()).unwrap())
}

/// Logits of what lies at `path`.
pub(crate) fn logits_of(path: &Path) -> Tensor {
    logits(&Base::open(path.to_str().unwrap()).unwrap().load(Device::Cpu, Dtype::Float32).unwrap())
}

pub(crate) fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}
