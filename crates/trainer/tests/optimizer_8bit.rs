//! AdamW with 8-bit state takes the steps of bitsandbytes' `AdamW8bit` (`goldens/make_8bit.py`); laws of all optimisers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use trainer::{OPTIMIZERS, Optimizer, TrainConfig};
use weights::TensorStore;

torch_ext::load_cuda_first!();

#[derive(Deserialize)]
struct Golden {
    steps: u32,
    parameters: BTreeMap<String, Vec<f32>>,
    codes: Vec<i64>,
    square_codes: Vec<i64>,
    absmax: Vec<f32>,
    small_state_dtype: String,
}

/// Float32 rounding over a dozen steps of size 0.01.
const TOLERANCE: f32 = 5e-6;
/// A number near the middle of two codes may get the other one, and then moves a hundredth of a step more or less.
const OTHER_CODE: f32 = 2e-4;

const SHAPES: [(&str, [i64; 2]); 2] = [("large", [70, 73]), ("small", [8, 8])];

fn wave(shape: [i64; 2], phase: f64, scale: f64) -> Tensor {
    let value = |i: i64| (scale * (i as f64 * 0.37 + phase).sin()) as f32;
    Tensor::from_slice(&(0..shape[0] * shape[1]).map(value).collect::<Vec<_>>()).view(shape)
}

fn leaves() -> Vec<(String, Tensor)> {
    let leaf = |(name, shape): (&str, _)| (name.to_owned(), wave(shape, 0.5, 0.1).set_requires_grad(true));
    SHAPES.map(leaf).into()
}

fn optimizer(leaves: &[(String, Tensor)]) -> Optimizer {
    named(leaves, "adamw_8bit")
}

fn named(leaves: &[(String, Tensor)], name: &str) -> Optimizer {
    let leaves = leaves.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    let config =
        TrainConfig { optimizer: name.parse().unwrap(), weight_decay: 0.01, ..TrainConfig::default() };
    Optimizer::from_config(leaves, &config).unwrap()
}

fn step(optimizer: &mut Optimizer, leaves: &[(String, Tensor)], step: u32) {
    optimizer.zero_grad().unwrap();
    for ((_, tensor), (_, shape)) in leaves.iter().zip(SHAPES) {
        let gradient =
            wave(shape, f64::from(step), 10f64.powi(step as i32 % 3 - 3)).to_device(tensor.device());
        (tensor * gradient).sum(Kind::Float).backward();
    }
    optimizer.step(optimizer.gradients().unwrap(), 1e-2).unwrap();
}

#[test]
fn steps_and_states_equal_bitsandbytes() {
    let golden: Golden = serde_json::from_str(include_str!("goldens/adamw_8bit.json")).unwrap();
    let leaves = leaves();
    let mut optimizer = optimizer(&leaves);
    (0..golden.steps).for_each(|index| step(&mut optimizer, &leaves, index));
    for (name, tensor) in &leaves {
        let ours = Vec::<f32>::try_from(&tensor.detach().flatten(0, -1).slice(0, None, None, 7)).unwrap();
        let apart = ours.iter().zip(&golden.parameters[name]).map(|(ours, theirs)| (ours - theirs).abs());
        assert!(apart.clone().all(|apart| apart < OTHER_CODE), "{name}: {:?}", apart.fold(0.0, f32::max));
        let many = apart.filter(|&apart| apart >= TOLERANCE).count();
        assert!(many * 100 <= ours.len(), "{name}: {many} of {}", ours.len());
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("optimizer.safetensors");
    optimizer.save(&path).unwrap();
    let state = TensorStore::open_file(&path).unwrap();
    for (name, theirs) in [("exp_avg.large", golden.codes), ("exp_avg_sq.large", golden.square_codes)] {
        let ours = Vec::<i64>::try_from(&state.tensor(name).unwrap().to_kind(Kind::Int64)).unwrap();
        let apart = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
        assert!(apart * 200 <= theirs.len(), "{name}: {apart} codes of {}", theirs.len());
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() <= 1), "{name}");
    }
    let absmax = Vec::<f32>::try_from(&state.tensor("exp_avg_absmax.large").unwrap()).unwrap();
    assert!(absmax.iter().zip(&golden.absmax).all(|(a, b)| (a - b).abs() < 1e-5 * b), "{absmax:?}");
    assert_eq!(golden.small_state_dtype, "torch.float32");
    assert_eq!(state.info("exp_avg.small").unwrap().kind, Kind::Float);
}

#[test]
fn a_restored_state_of_any_optimiser_continues_as_if_it_had_never_been_saved() {
    for kind in OPTIMIZERS {
        let (ours, theirs) = (leaves(), leaves());
        let (mut whole, mut before) = (named(&ours, kind.name()), named(&theirs, kind.name()));
        (0..3).for_each(|index| step(&mut whole, &ours, index));
        (0..3).for_each(|index| step(&mut before, &theirs, index));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("optimizer.safetensors");
        before.save(&path).unwrap();
        let mut after = named(&theirs, kind.name());
        after.load(&path).unwrap();
        (3..6).for_each(|index| step(&mut whole, &ours, index));
        (3..6).for_each(|index| step(&mut after, &theirs, index));
        for ((name, a), (_, b)) in ours.iter().zip(&theirs) {
            assert_eq!(a, b, "{kind}: {name}");
        }
    }
}

#[test]
fn stated_bytes_of_a_state_are_those_of_its_file() {
    for kind in OPTIMIZERS {
        let leaves = leaves();
        let mut optimizer = named(&leaves[..1], kind.name());
        step(&mut optimizer, &leaves[..1], 0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("optimizer.safetensors");
        optimizer.save(&path).unwrap();
        let store = TensorStore::open_file(&path).unwrap();
        let bytes = |name: &str| {
            let tensor = store.tensor(name).unwrap();
            tensor.numel() * tensor.kind().elt_size_in_bytes()
        };
        let saved: usize = store.names().filter(|name| *name != "step").map(bytes).sum();
        let stated = kind.state_bytes(leaves[0].1.numel() as f64);
        // The last block of 256 may be shorter.
        assert!((stated - saved as f64).abs() < 8.0, "{kind}: {stated}, saved {saved}");
    }
}

/// Three steps with the state kept on the device and three with it paged, saved and restored between.
fn paging_changes_no_number(device: Device) {
    for (kept_name, paged_name) in [("adamw", "paged_adamw_32bit"), ("adamw_8bit", "paged_adamw_8bit")] {
        let on_device =
            |(name, leaf): (String, Tensor)| (name, leaf.detach().to_device(device).set_requires_grad(true));
        let ours: Vec<_> = leaves().into_iter().map(on_device).collect();
        let theirs: Vec<_> = leaves().into_iter().map(on_device).collect();
        let mut kept = named(&ours, kept_name);
        let mut paged = named(&theirs, paged_name);
        let dir = tempfile::tempdir().unwrap();
        for index in 0..6 {
            step(&mut kept, &ours, index);
            step(&mut paged, &theirs, index);
            if index == 2 {
                let path = dir.path().join("optimizer.safetensors");
                paged.save(&path).unwrap();
                paged = named(&theirs, paged_name);
                paged.load(&path).unwrap();
            }
        }
        for ((name, a), (_, b)) in ours.iter().zip(&theirs) {
            assert_eq!(a, b, "{name}, {paged_name}");
        }
    }
}

#[test]
fn on_a_cpu_paging_changes_no_number() {
    paging_changes_no_number(Device::Cpu);
}

#[test]
fn on_a_gpu_paging_changes_no_number() {
    if !torch_ext::cuda::is_available() {
        eprintln!("skipped: on_a_gpu_paging_changes_no_number needs a CUDA device");
        return;
    }
    paging_changes_no_number(Device::Cuda(0));
}
