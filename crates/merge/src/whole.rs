//! Merged tensors as wholes.

use std::collections::BTreeSet;

use nn_core::TorchContext;
use tch::Tensor;

use crate::base::BaseTensors;
use crate::deltas::Deltas;
use crate::error::MergeError;
use crate::placement::{Placement, TensorPlan};
use crate::proof::Proof;
use crate::tensor::merge_tensor;

/// Merged tensors one by one, for files whose writer wants them whole. A tensor may be asked for again: it counts once.
#[derive(Debug)]
pub struct Merged<'a> {
    base: &'a BaseTensors<'a>,
    deltas: &'a Deltas,
    proof: Proof,
    met: BTreeSet<String>,
}

impl<'a> Merged<'a> {
    /// Starts with the tensors of `base` and their deltas.
    pub fn new(base: &'a BaseTensors<'a>, deltas: &'a Deltas) -> Self {
        Self { base, deltas, proof: Proof::default(), met: BTreeSet::new() }
    }

    /// Merges one tensor, in the shape and the precision of its plan.
    ///
    /// # Errors
    /// The errors of [`crate::merge`].
    pub fn tensor(&mut self, plan: &TensorPlan) -> Result<Tensor, MergeError> {
        let whole = Tensor::f_empty(plan.merged_shape(), (plan.kind, tch::Device::Cpu)).op("empty")?;
        let mut put = |rows: Tensor, start: i64| {
            let count = rows.size().first().copied().unwrap_or(1);
            whole.f_narrow(0, start, count).op("narrow")?.f_copy_(&rows).op("copy_")?;
            Ok(())
        };
        let placement = Placement::whole(plan.clone(), 0, plan.name.clone());
        let mut again = Proof::default();
        let proof = if self.met.insert(plan.name.clone()) { &mut self.proof } else { &mut again };
        merge_tensor(self.base, self.deltas, &placement, proof, &mut put)?;
        Ok(whole)
    }

    /// Returns the proof for all of them.
    ///
    /// # Errors
    /// The errors of [`crate::merge`], when a target is unchanged or a layer of an adapter was not asked for.
    pub fn finish(self) -> Result<Proof, MergeError> {
        self.proof.check(self.deltas)?;
        Ok(self.proof)
    }
}
