//! Header entry of a tensor.

use tch::Kind;

/// Header entry of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the file.
    pub name: String,
    /// Its element type.
    pub kind: Kind,
    /// Its shape.
    pub shape: Vec<i64>,
}

impl TensorSpec {
    pub(crate) fn describe(kind: Kind, shape: &[i64]) -> String {
        format!("{kind:?} {shape:?}")
    }

    /// Returns the size of its elements in bytes.
    pub fn num_bytes(&self) -> u64 {
        let size = self.kind.elt_size_in_bytes() as u64;
        self.shape.iter().fold(size, |n, &len| n.saturating_mul(len.max(0) as u64))
    }

    pub(crate) fn num_elements(&self) -> u64 {
        self.shape.iter().fold(1, |n, &len| n.saturating_mul(len.max(0) as u64))
    }
}
