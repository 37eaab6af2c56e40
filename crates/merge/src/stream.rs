//! A base through its deltas, a few rows at a time: into files, or as whole tensors.

use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;

use kernels::add_delta;
use lora::AdapterLayer;
use nn_core::{LinearSource, NnError, TorchContext};
use tch::{Kind, Tensor};
use weights::TensorStream;

use crate::{Deltas, Layout, MergeError, Placement, Proof, RowOrder, TargetProof, TensorPlan, to_pairs};

/// Elements merged at a time: a few of them as float32 stay in the caches of a core.
const CHUNK_ELEMENTS: i64 = 256 << 10;

/// Merged pieces that may wait for the disk.
const PIECES_AHEAD: usize = 16;

/// Where base weights come from.
pub struct Base<'a> {
    /// Their source, on the CPU.
    pub source: &'a dyn LinearSource,
    /// What is done to a base weight, by name, before a delta is added: nothing, or there and back through the
    /// quantisation that the adapter was trained on.
    pub prepare: &'a dyn Fn(&str, Tensor) -> Result<Tensor, NnError>,
}

impl std::fmt::Debug for Base<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Base")
    }
}

/// Streams every tensor of `layout` from `base`, plus its delta, into `files`. The sum is taken in float32 and rounded
/// once, to the precision of the plan. The files are whole after this, but not finished: that is the caller's, once the
/// proof holds.
///
/// `tell` hears the name of each tensor that is done.
///
/// # Errors
/// [`MergeError`] when a tensor is missing, of another shape, or not finite; when a target is unchanged, an adapter's
/// layer unused; when the disk refuses.
pub fn merge(
    base: &Base<'_>,
    deltas: &Deltas,
    layout: &Layout,
    files: &mut [TensorStream],
    tell: &mut dyn FnMut(&str),
) -> Result<Proof, MergeError> {
    std::thread::scope(|scope| {
        let (sender, pieces) = sync_channel::<Piece<'_>>(PIECES_AHEAD);
        let writer = scope.spawn(move || pieces.iter().try_for_each(|piece| piece.write(files)));
        let mut merge_all = || {
            let mut proof = Proof::default();
            for placement in &layout.0 {
                // A writer that has failed no longer listens; its own error, below, is the one to report.
                let mut put = |rows, start| {
                    sender.send(Piece { rows, start, placement }).map_err(|_| MergeError::Writer)
                };
                merge_into(base, deltas, placement, &mut proof, &mut put)?;
                tell(&placement.tensor.name);
            }
            proof.check(deltas)?;
            Ok(proof)
        };
        let proof = merge_all();
        drop(sender);
        writer.join().unwrap_or(Err(MergeError::Writer))?;
        proof
    })
}

/// Merged tensors one by one, for files whose writer wants them whole. A tensor may be asked for again: it counts once.
#[derive(Debug)]
pub struct Merged<'a> {
    base: &'a Base<'a>,
    deltas: &'a Deltas,
    proof: Proof,
    met: BTreeSet<String>,
}

impl<'a> Merged<'a> {
    /// The tensors of `base`, plus their deltas.
    pub fn new(base: &'a Base<'a>, deltas: &'a Deltas) -> Self {
        Self { base, deltas, proof: Proof::default(), met: BTreeSet::new() }
    }

    /// One tensor, in the shape and the precision of its plan.
    ///
    /// # Errors
    /// As [`merge`].
    pub fn tensor(&mut self, plan: &TensorPlan) -> Result<Tensor, MergeError> {
        let whole = Tensor::f_empty(plan.merged_shape(), (plan.kind, tch::Device::Cpu)).op("empty")?;
        let mut put = |rows: Tensor, start: i64| {
            let count = rows.size().first().copied().unwrap_or(1);
            whole.f_narrow(0, start, count).op("narrow")?.f_copy_(&rows).op("copy_")?;
            Ok(())
        };
        let placement = Placement::whole(plan.clone(), RowOrder::Halves, 0, plan.name.clone());
        let mut again = Proof::default();
        let proof = if self.met.insert(plan.name.clone()) { &mut self.proof } else { &mut again };
        merge_into(self.base, self.deltas, &placement, proof, &mut put)?;
        Ok(whole)
    }

    /// What happened to all of them.
    ///
    /// # Errors
    /// As [`merge`], when a target is unchanged or a layer of an adapter was not asked for.
    pub fn finish(self) -> Result<Proof, MergeError> {
        self.proof.check(self.deltas)?;
        Ok(self.proof)
    }
}

/// Takes some rows of a merged tensor, from the given one on.
type Put<'a> = dyn FnMut(Tensor, i64) -> Result<(), MergeError> + 'a;

/// Merges one tensor and notes what happened to it.
fn merge_into(
    base: &Base<'_>,
    deltas: &Deltas,
    placement: &Placement,
    proof: &mut Proof,
    put: &mut Put<'_>,
) -> Result<(), MergeError> {
    let name = &placement.tensor.name;
    let layer = match name.strip_suffix(".weight") {
        Some(path) => deltas.layer(path)?,
        None => None,
    };
    let seen = tch::no_grad(|| merge_one(base, layer.as_ref(), placement, put))?;
    if layer.is_some() {
        if proof.dtype.is_empty() {
            dtype_name(placement.tensor.kind).clone_into(&mut proof.dtype);
        }
        proof.targets.push(TargetProof {
            name: name.clone(),
            delta_norm: seen.delta.sqrt(),
            base_norm: seen.base.sqrt(),
            changed: seen.changed,
            elements: seen.elements,
        });
    } else {
        proof.untouched += 1;
    }
    Ok(())
}

/// PyTorch's name of a precision.
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
    /// Of squares.
    delta: f64,
    /// Of squares.
    base: f64,
    changed: u64,
    elements: u64,
}

fn merge_one(
    base: &Base<'_>,
    layer: Option<&AdapterLayer>,
    placement: &Placement,
    put: &mut Put<'_>,
) -> Result<Seen, MergeError> {
    let plan = &placement.tensor;
    let weight = (base.prepare)(&plan.name, base.source.tensor(&plan.name, &plan.shape)?)?;
    if let Some(layer) = layer {
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
        let merged = match layer {
            None => {
                let rounded = before.f_to_kind(plan.kind).op("to_kind")?;
                check_finite(&plan.name, &before, &rounded, false)?;
                rounded
            }
            Some(layer) => {
                let delta = layer.delta_rows(&before, start..end)?;
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
        let ordered = match placement.order {
            RowOrder::Halves => merged,
            RowOrder::Pairs { head_dim } => to_pairs(&merged, head_dim)?,
        };
        put(ordered, start)?;
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

/// Rows at which a tensor is cut: where a file ends, and often enough. Heads that change order stay whole.
fn chunk_bounds(placement: &Placement, rows: i64, row_elements: i64) -> Vec<i64> {
    let unit = match placement.order {
        RowOrder::Halves => 1,
        RowOrder::Pairs { head_dim } => head_dim,
    };
    let step = (CHUNK_ELEMENTS / row_elements / unit).max(1) * unit;
    let ends = placement.destinations.iter().flat_map(|part| [part.rows.start, part.rows.end]);
    let mut bounds: Vec<i64> =
        (0..rows).step_by(step as usize).chain(ends.filter(|&end| end < rows)).chain([rows]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

/// That no element is NaN or infinite. A sum tells that in one pass; a sum that overflows is looked at again.
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

/// Merged rows on their way into files.
struct Piece<'a> {
    rows: Tensor,
    /// The place of the first among the tensor's rows.
    start: i64,
    placement: &'a Placement,
}

impl Piece<'_> {
    /// Into the files that they belong to.
    fn write(&self, files: &mut [TensorStream]) -> Result<(), MergeError> {
        let end = self.start + self.rows.size().first().copied().unwrap_or(1);
        for part in &self.placement.destinations {
            let (first, last) = (part.rows.start.max(self.start), part.rows.end.min(end));
            if first >= last {
                continue;
            }
            let mut piece = self.rows.f_narrow(0, first - self.start, last - first).op("narrow")?;
            if let Some(columns) = &part.columns {
                piece = piece.f_narrow(1, columns.start, columns.end - columns.start).op("narrow")?;
            }
            let Some(file) = files.get_mut(part.file) else { continue };
            file.write(&part.name, &piece)?;
        }
        Ok(())
    }
}
