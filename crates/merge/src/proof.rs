//! Statistics of a merge, gathered on the way.

use serde::Serialize;

use crate::deltas::Deltas;
use crate::error::MergeError;

/// Statistics of one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetProof {
    /// The tensor.
    pub name: String,
    /// Frobenius norm of `ΔW`, before any rounding.
    pub delta_norm: f64,
    /// Frobenius norm of the base's weight.
    pub base_norm: f64,
    /// Elements that differ from the base, both rounded to the precision of the files.
    pub changed: u64,
    /// Elements there are.
    pub elements: u64,
    /// True when the adapter has this tensor itself, or a bias for it: it may then be as it was in the base.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
}

impl TargetProof {
    /// Returns the share of the elements that changed.
    pub fn fraction_changed(&self) -> f64 {
        self.changed as f64 / self.elements.max(1) as f64
    }
}

/// Statistics of a merged model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Proof {
    /// The targets, in the order of the files.
    pub targets: Vec<TargetProof>,
    /// Tensors that no adapter names, all of which were found as they were.
    pub untouched: usize,
    /// Precision of the files.
    pub dtype: String,
}

impl Proof {
    /// Checks that every layer of `deltas` was met and changed.
    ///
    /// # Errors
    /// [`MergeError::UnusedDelta`] and [`MergeError::Unchanged`].
    pub(crate) fn check(&self, deltas: &Deltas) -> Result<(), MergeError> {
        for name in deltas.names() {
            if !self.targets.iter().any(|target| target.name == name) {
                return Err(MergeError::UnusedDelta { name });
            }
        }
        let unchanged: Vec<&TargetProof> =
            self.targets.iter().filter(|target| target.changed == 0 && !target.replaced).collect();
        let Some(first) = unchanged.first() else { return Ok(()) };
        Err(MergeError::Unchanged {
            count: unchanged.len(),
            expected: self.targets.len(),
            dtype: self.dtype.clone(),
            first: first.name.clone(),
            norm: first.delta_norm,
            base_norm: first.base_norm,
        })
    }
}
