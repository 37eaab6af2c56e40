//! One tensor with its delta.

use kernels::add_delta;
use lora::{AdapterLayer, Replacement, RowsDelta};
use nn_core::{NnError, TorchContext};
use tch::{Kind, Tensor};

use crate::base::BaseTensors;
use crate::deltas::Deltas;
use crate::error::MergeError;
use crate::placement::Placement;
use crate::proof::{Proof, TargetProof};

/// Elements merged at a time: a few of them as float32 stay in the caches of a core.
const CHUNK_ELEMENTS: i64 = 256 << 10;

/// Takes some rows of a merged tensor, from the given one on.
pub(crate) type Put<'a> = dyn FnMut(Tensor, i64) -> Result<(), MergeError> + 'a;

/// Merges one tensor and adds its statistics to `proof`.
pub(crate) fn merge_tensor(
    base: &BaseTensors<'_>,
    deltas: &Deltas,
    placement: &Placement,
    proof: &mut Proof,
    put: &mut Put<'_>,
) -> Result<(), MergeError> {
    let name = &placement.tensor.name;
    let change = Change::find(deltas, name)?;
    let replaced = deltas.replaced(name);
    let seen = tch::no_grad(|| merge_one(base, replaced, change.as_ref(), placement, put))?;
    if change.is_some() || replaced.is_some() {
        if proof.dtype.is_empty() {
            dtype_name(placement.tensor.kind).clone_into(&mut proof.dtype);
        }
        proof.targets.push(TargetProof {
            name: name.clone(),
            delta_norm: seen.delta.sqrt(),
            base_norm: seen.base.sqrt(),
            changed: seen.changed,
            elements: seen.elements,
            replaced: !matches!(change, Some(Change::Weight(_))),
        });
    } else {
        proof.untouched += 1;
    }
    Ok(())
}

/// Returns PyTorch's name of a precision.
fn dtype_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Float => "float32",
        Kind::BFloat16 => "bfloat16",
        Kind::Half => "float16",
        _ => "another dtype",
    }
}

/// Sums over the elements of one tensor.
#[derive(Debug, Default)]
struct Seen {
    /// Squares of the delta, added up.
    delta: f64,
    /// Squares of the base, added up.
    base: f64,
    changed: u64,
    elements: u64,
}

impl Seen {
    /// Counts rows that came from the adapter, against the base's where there are such.
    fn add_replaced(&mut self, rows: &Tensor, of_base: Option<Tensor>) -> Result<(), MergeError> {
        let squares = |xs: &Tensor| -> Result<f64, MergeError> {
            let xs = xs.f_to_kind(Kind::Double).op("to_kind")?;
            Ok(xs.f_square().op("square")?.f_sum(Kind::Double).op("sum")?.double_value(&[]))
        };
        let Some(before) = of_base else {
            self.changed += rows.numel() as u64;
            return Ok(());
        };
        let rounded = before.f_to_kind(rows.kind()).op("to_kind")?;
        let changed = rows.f_ne_tensor(&rounded).op("ne")?.f_sum(Kind::Int64).op("sum")?;
        self.changed += changed.int64_value(&[]) as u64;
        let double = |xs: &Tensor| xs.f_to_kind(Kind::Double).op("to_kind");
        self.delta += squares(&double(rows)?.f_sub(&double(&before)?).op("sub")?)?;
        self.base += squares(&before)?;
        Ok(())
    }
}

/// What is added to a tensor.
enum Change {
    Weight(AdapterLayer),
    /// `[out]`, float32.
    Bias(Tensor),
}

impl Change {
    fn find(deltas: &Deltas, name: &str) -> Result<Option<Self>, MergeError> {
        if let Some(path) = name.strip_suffix(".weight") {
            return Ok(deltas.layer(path)?.map(Self::Weight));
        }
        let Some(path) = name.strip_suffix(".bias") else { return Ok(None) };
        let Some(layer) = deltas.layer(path)? else { return Ok(None) };
        Ok(layer.delta_bias()?.map(Self::Bias))
    }

    fn rows(&self, before: &Tensor, rows: std::ops::Range<i64>) -> Result<RowsDelta, MergeError> {
        match self {
            Self::Weight(layer) => Ok(layer.delta_rows(before, rows)?),
            Self::Bias(bias) => {
                let product = bias.f_narrow(0, rows.start, rows.end - rows.start).op("narrow")?;
                Ok(RowsDelta { product, scale: 1.0 })
            }
        }
    }
}

/// Returns the tensor that is written but for what is added to it, and the base's where it was replaced by one of its shape.
fn replaced_weight(
    base: &BaseTensors<'_>,
    replaced: Option<&Replacement>,
    (name, shape): (&str, &[i64]),
) -> Result<(Tensor, Option<Tensor>), MergeError> {
    let of_base = || base.source.tensor(name, shape);
    let Some(Replacement { rows, values, .. }) = replaced else {
        return Ok(((base.prepare)(name, of_base()?)?, None));
    };
    let Some(rows) = rows else { return Ok((values.shallow_clone(), of_base().ok())) };
    let before = of_base()?;
    let index = Tensor::f_from_slice(rows).op("from_slice")?;
    // In float32, so that the rows are rounded once, to the precision of the files.
    let float = |tensor: &Tensor| tensor.f_to_kind(Kind::Float).op("to_kind");
    let copied = float(&before)?.f_index_copy(0, &index, &float(values)?).op("index_copy")?;
    Ok((copied, Some(before)))
}

fn merge_one(
    base: &BaseTensors<'_>,
    replaced: Option<&Replacement>,
    change: Option<&Change>,
    placement: &Placement,
    put: &mut Put<'_>,
) -> Result<Seen, MergeError> {
    let plan = &placement.tensor;
    let (weight, of_base) = replaced_weight(base, replaced, (&plan.name, &plan.shape))?;
    if let Some(Change::Weight(layer)) = change {
        check_shape(layer, &plan.shape)?;
    }
    let rows = plan.shape.first().copied().unwrap_or(1);
    let row_elements = plan.shape.iter().skip(1).product::<i64>().max(1);
    let mut seen = Seen::default();
    let mut sum =
        (plan.added_rows > 0).then(|| Tensor::zeros(&plan.shape[1..], (Kind::Double, tch::Device::Cpu)));
    let bounds = chunk_bounds(placement, rows, row_elements);
    for (&start, &end) in bounds.iter().zip(bounds.iter().skip(1)) {
        let before = weight.f_narrow(0, start, end - start).op("narrow")?;
        let merged = match change {
            None => {
                let rounded = before.f_to_kind(plan.kind).op("to_kind")?;
                check_finite(&plan.name, &before, &rounded, false)?;
                if replaced.is_some() {
                    let of_base = of_base.as_ref().map(|it| it.f_narrow(0, start, end - start).op("narrow"));
                    seen.add_replaced(&rounded, of_base.transpose()?)?;
                }
                rounded
            }
            Some(change) => {
                let delta = change.rows(&before, start..end)?;
                let (merged, sums) =
                    add_delta(&before, &delta.product, delta.scale, plan.kind).op("add_delta")?;
                if !sums.finite {
                    check_finite(&plan.name, &before, &merged, true)?;
                }
                seen.delta += sums.delta;
                seen.base += sums.base;
                seen.changed += sums.changed;
                merged
            }
        };
        seen.elements += merged.numel() as u64;
        if let Some(sum) = &mut sum {
            let rows = before.f_sum_dim_intlist(0i64, false, Kind::Double).op("sum")?;
            let _ = sum.f_add_(&rows).op("add_")?;
        }
        put(placement.ordered(merged)?, start)?;
    }
    if let Some(sum) = sum {
        let mean = sum.f_div_scalar(rows as f64).op("div")?.f_to_kind(plan.kind).op("to_kind")?;
        let mut shape = plan.shape.clone();
        shape[0] = 1;
        let row = mean.f_view(shape.as_slice()).op("view")?;
        for index in rows..rows + plan.added_rows {
            put(row.shallow_clone(), index)?;
        }
    }
    Ok(seen)
}

fn check_shape(layer: &AdapterLayer, shape: &[i64]) -> Result<(), MergeError> {
    let actual = layer.weight_shape();
    if actual == shape {
        return Ok(());
    }
    let name = format!("delta of {}", layer.path);
    Err(NnError::Shape { name, actual: actual.to_vec(), expected: shape.to_vec() }.into())
}

/// Lists the rows at which a tensor is cut: where a file ends, and often enough. Blocks of rows that change order stay whole.
fn chunk_bounds(placement: &Placement, rows: i64, row_elements: i64) -> Vec<i64> {
    let unit = (placement.row_order.len() as i64).max(1);
    let step = (CHUNK_ELEMENTS / row_elements / unit).max(1) * unit;
    let ends = placement.destinations.iter().flat_map(|part| [part.rows.start, part.rows.end]);
    let mut bounds: Vec<i64> =
        (0..rows).step_by(step as usize).chain(ends.filter(|&end| end < rows)).chain([rows]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

/// Checks that no element is NaN or infinite. A sum tells that in one pass; a sum that overflows is looked at again.
fn check_finite(name: &str, before: &Tensor, merged: &Tensor, is_target: bool) -> Result<(), MergeError> {
    if merged.f_sum(Kind::Float).op("sum")?.double_value(&[]).is_finite() {
        return Ok(());
    }
    let finite = |xs: &Tensor| -> Result<bool, MergeError> {
        Ok(xs.f_isfinite().op("isfinite")?.f_all().op("all")?.int64_value(&[]) != 0)
    };
    if finite(merged)? {
        return Ok(());
    }
    let place = if !finite(before)? {
        "in the base".to_owned()
    } else if is_target {
        format!("after the delta was added and rounded to {}", dtype_name(merged.kind()))
    } else {
        format!("after rounding to {}", dtype_name(merged.kind()))
    };
    Err(MergeError::NotFinite { name: name.to_owned(), place })
}
