//! A base through its deltas into files, a few rows at a time.

use std::sync::mpsc::sync_channel;

use nn_core::TorchContext;
use tch::Tensor;
use weights::TensorStream;

use crate::base::BaseTensors;
use crate::deltas::Deltas;
use crate::error::MergeError;
use crate::placement::Placement;
use crate::proof::Proof;
use crate::tensor::merge_tensor;

/// Merged pieces that may wait for the disk.
const PIECES_AHEAD: usize = 16;

/// Streams every tensor of `placements` from `base`, plus its delta, into `files`. The sum is taken in float32 and rounded
/// once, to the precision of the plan. The files are whole after this, but not finished: that is the caller's, once the
/// proof holds.
///
/// Calls `tell` with the name of each tensor that is done. The files take their tensors in the order of `placements`.
///
/// # Errors
/// [`MergeError`] when a tensor is missing, of another shape, or not finite; when a target is unchanged, an adapter's
/// layer unused; when the disk refuses.
pub fn merge(
    base: &BaseTensors<'_>,
    deltas: &Deltas,
    placements: &[Placement],
    files: &mut [TensorStream],
    tell: &mut dyn FnMut(&str),
) -> Result<Proof, MergeError> {
    std::thread::scope(|scope| {
        let (sender, pieces) = sync_channel::<Piece<'_>>(PIECES_AHEAD);
        let writer = scope.spawn(move || pieces.iter().try_for_each(|piece| piece.write(files)));
        let mut merge_all = || {
            let mut proof = Proof::default();
            for placement in placements {
                // A writer that has failed no longer listens; its own error, below, is the one to report.
                let mut put = |rows, start| {
                    sender.send(Piece { rows, start, placement }).map_err(|_| MergeError::Writer)
                };
                merge_tensor(base, deltas, placement, &mut proof, &mut put)?;
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

/// Merged rows on their way into files.
struct Piece<'a> {
    rows: Tensor,
    /// Index of the first of them in the tensor.
    start: i64,
    placement: &'a Placement,
}

impl Piece<'_> {
    /// Writes into the files that they belong to.
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
