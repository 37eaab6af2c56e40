//! The file that gets each part of a tensor.

use std::ops::Range;

use nn_core::{NnError, TorchContext};
use tch::{Kind, Tensor};

/// A tensor of the merged model, under its name in the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlan {
    /// Its name, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Its shape in the base.
    pub shape: Vec<i64>,
    /// Rows behind those of the base, each the mean of them.
    pub added_rows: i64,
    /// Precision in the files.
    pub kind: Kind,
}

impl TensorPlan {
    /// Returns its shape in the files, as long as it is not cut.
    pub fn merged_shape(&self) -> Vec<i64> {
        let mut shape = self.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows += self.added_rows;
        }
        shape
    }
}

/// A part of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Index among the files.
    pub file: usize,
    /// The tensor's name there.
    pub name: String,
    /// Rows of the merged tensor that go there.
    pub rows: Range<i64>,
    /// Columns that go there; all where absent.
    pub columns: Option<Range<i64>>,
}

/// The places of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The tensor.
    pub tensor: TensorPlan,
    /// Order of the rows of each block of as many: `row_order[i]` is the base's row in place `i`. Empty for the base's order.
    pub row_order: Vec<i64>,
    /// Its parts in the files.
    pub destinations: Vec<Destination>,
}

impl Placement {
    /// Puts all of a tensor into one file, its rows in the base's order.
    pub fn whole(tensor: TensorPlan, file: usize, name: String) -> Self {
        let rows = 0..tensor.merged_shape().first().copied().unwrap_or(1);
        let destinations = vec![Destination { file, name, rows, columns: None }];
        Self { tensor, row_order: Vec::new(), destinations }
    }

    /// Brings rows of whole blocks, `[blocks · len, ..]`, into the order of the files.
    pub(crate) fn ordered(&self, rows: Tensor) -> Result<Tensor, NnError> {
        if self.row_order.is_empty() {
            return Ok(rows);
        }
        let (shape, order) = (rows.size(), Tensor::from_slice(&self.row_order));
        let len = self.row_order.len() as i64;
        let blocks = rows.f_reshape([shape[0] / len, len, -1]).op("reshape")?; // [blocks, len, ..]
        let ordered = blocks.f_index_select(1, &order).op("index_select")?;
        Ok(ordered.f_reshape(shape.as_slice()).op("reshape")?)
    }
}
