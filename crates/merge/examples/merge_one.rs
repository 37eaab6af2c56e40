//! An adapter merged into a base of one tensor, and taken out of it again.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use lora::AdapterLayer;
use merge::{BaseTensors, Combination, Deltas, Placement, TensorPlan, WeightedAdapter, merge, unmerge};
use nn_core::{LinearSource, ModulePath, NnError};
use tch::{Device, Kind, Tensor};
use weights::{SafetensorsWriter, TensorSpec, TensorStore, pt_metadata};

const Q_PROJ: &str = "model.layers.0.self_attn.q_proj";

// ANCHOR: readme
fn main() -> Result<(), Box<dyn Error>> {
    let deltas = Deltas::new(
        vec![WeightedAdapter { parts: vec![adapter()].into(), weight: 1.0 }],
        Combination::Cat,
        1.0,
    )?;
    let name = format!("{Q_PROJ}.weight");
    let plan = TensorPlan { name: name.clone(), shape: vec![8, 16], added_rows: 0, kind: Kind::Float };

    let dir = std::env::temp_dir().join("example-merged");
    std::fs::create_dir_all(&dir)?;
    let spec = TensorSpec { name: name.clone(), kind: plan.kind, shape: plan.shape.clone() };
    let path = dir.join("model.safetensors");
    let mut files = [SafetensorsWriter::new(&path, vec![spec], &pt_metadata())?.stream()?];
    let placements = [Placement::whole(plan, 0, name.clone())];
    let base = BaseTensors { source: &Ones, prepare: &|_, weight| Ok(weight) };
    let proof = merge(&base, &deltas, &placements, &mut files, &mut |name| println!("merged {name}"))?;
    for file in files {
        file.finish()?; // the file appears here
    }
    let target = &proof.targets[0];
    println!(
        "{} of {} elements changed, norm of delta {:.3}",
        target.changed, target.elements, target.delta_norm
    );

    let merged = TensorStore::open(&dir)?.tensor(&name)?;
    if let Some(found) = unmerge(&name, &Ones.tensor(&name, &[8, 16])?, &merged, 2, 2.0)? {
        println!("back: norm {:.3}, beyond rank 2: {:.6}", found.delta_norm, found.residual_norm);
    }
    Ok(())
}
// ANCHOR_END: readme

/// A base whose weights are all one.
struct Ones;

impl LinearSource for Ones {
    fn tensor(&self, _name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        Ok(Tensor::ones(shape, (Kind::Float, Device::Cpu)))
    }
}

/// Makes an adapter of rank 2 and alpha 4, so the scale is 2.
fn adapter() -> AdapterLayer {
    tch::manual_seed(1);
    let options = (Kind::Float, Device::Cpu);
    let (a, b) = (Tensor::randn([2, 16], options), Tensor::randn([8, 2], options));
    AdapterLayer::low_rank(ModulePath::new(Q_PROJ), a, b, 2.0)
}
