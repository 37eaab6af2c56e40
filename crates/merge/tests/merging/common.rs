//! A base of a few tensors, and adapters for them.

use std::collections::BTreeMap;
use std::path::Path;

use lora::AdapterLayer;
use merge::{
    BaseTensors, Combination, Deltas, MergeError, Placement, Proof, TensorPlan, WeightedAdapter, merge,
};
use nn_core::{LinearSource, ModulePath, NnError};
use tch::{Device, Kind, Tensor};
use weights::{SafetensorsWriter, TensorSpec, TensorStore, pt_metadata};

/// Not the rank, so that a wrong scale shows.
pub(crate) const ALPHA: f64 = 7.0;
pub(crate) const R: i64 = 3;

/// Numbers between -1 and 1 without a pattern.
pub(crate) fn numbers(shape: &[i64], from: i64) -> Tensor {
    let count = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu)) + from;
    (&count * &count * 0.37).sin().view(shape).to_kind(Kind::Float)
}

/// Tensors by name.
#[derive(Debug, Default)]
pub(crate) struct Weights(pub(crate) BTreeMap<String, Tensor>);

impl LinearSource for Weights {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let tensor = self.0[name].shallow_clone();
        if tensor.size() == shape {
            return Ok(tensor);
        }
        Err(NnError::Shape { name: name.to_owned(), actual: tensor.size(), expected: shape.to_vec() })
    }
}

/// Two layers, of which the second is larger than what is merged at once, and what surrounds them.
pub(crate) fn base(kind: Kind) -> Weights {
    let shapes: [(&str, &[i64]); 4] = [
        ("model.embed_tokens.weight", &[10, 8]),
        ("model.layers.0.self_attn.q_proj.weight", &[12, 8]),
        ("model.layers.0.mlp.up_proj.weight", &[1400, 900]),
        ("model.norm.weight", &[8]),
    ];
    let tensors = (0..).zip(shapes);
    Weights(
        tensors.map(|(i, (name, shape))| (name.to_owned(), numbers(shape, 31 * i).to_kind(kind))).collect(),
    )
}

pub(crate) const Q: &str = "model.layers.0.self_attn.q_proj";
pub(crate) const UP: &str = "model.layers.0.mlp.up_proj";

/// An adapter layer for `path` of `weights`, of rank `r`.
pub(crate) fn layer(weights: &Weights, path: &str, r: i64, from: i64) -> AdapterLayer {
    let shape = weights.0[&format!("{path}.weight")].size();
    let (a, b) = (numbers(&[r, shape[1]], from), numbers(&[shape[0], r], from + 1));
    AdapterLayer::low_rank(ModulePath::new(path), a, b, ALPHA / r as f64)
}

/// One adapter, in full.
pub(crate) fn deltas(layers: Vec<AdapterLayer>) -> Deltas {
    Deltas::new(vec![WeightedAdapter { parts: layers.into(), weight: 1.0 }], Combination::Cat, 1.0).unwrap()
}

/// Every tensor of `weights`, to be written in `kind`.
pub(crate) fn plans(weights: &Weights, kind: Kind) -> Vec<TensorPlan> {
    let plan = |(name, tensor): (&String, &Tensor)| TensorPlan {
        name: name.clone(),
        shape: tensor.size(),
        added_rows: 0,
        kind,
    };
    weights.0.iter().map(plan).collect()
}

/// Merges into `dir`, with the base as it is.
pub(crate) fn merged(
    dir: &Path,
    weights: &Weights,
    deltas: &Deltas,
    plans: &[TensorPlan],
) -> Result<(TensorStore, Proof), MergeError> {
    merged_from(dir, &BaseTensors { source: weights, prepare: &|_, weight| Ok(weight) }, deltas, plans)
}

pub(crate) fn merged_from(
    dir: &Path,
    base: &BaseTensors<'_>,
    deltas: &Deltas,
    plans: &[TensorPlan],
) -> Result<(TensorStore, Proof), MergeError> {
    let spec = |plan: &TensorPlan| TensorSpec {
        name: plan.name.clone(),
        kind: plan.kind,
        shape: plan.merged_shape(),
    };
    let specs = plans.iter().map(spec).collect();
    let writer = SafetensorsWriter::new(&dir.join("model.safetensors"), specs, &pt_metadata())?;
    // The writer decides on the order of the file.
    let placement = |spec: &TensorSpec| {
        let plan = plans.iter().find(|plan| plan.name == spec.name).unwrap();
        Placement::whole(plan.clone(), 0, plan.name.clone())
    };
    let placements: Vec<Placement> = writer.specs().iter().map(placement).collect();
    let mut files = [writer.stream()?];
    let proof = merge(base, deltas, &placements, &mut files, &mut |_| {})?;
    for file in files {
        file.finish()?;
    }
    Ok((TensorStore::open(dir)?, proof))
}

pub(crate) fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}
