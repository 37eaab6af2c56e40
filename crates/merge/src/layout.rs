//! Which file gets which part of which tensor.

use std::ops::Range;

use tch::Kind;

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
    /// Its shape in the files, as long as it is not cut.
    pub fn merged_shape(&self) -> Vec<i64> {
        let mut shape = self.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows += self.added_rows;
        }
        shape
    }
}

/// The order of the rows of a projection whose heads are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// As in the base: the two halves of a head, as transformers has them.
    Halves,
    /// Neighbouring pairs, as Meta and llama.cpp have them.
    Pairs {
        /// Rows of a head.
        head_dim: i64,
    },
}

/// A part of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Which of the files.
    pub file: usize,
    /// The tensor's name there.
    pub name: String,
    /// Rows of the merged tensor that go there.
    pub rows: Range<i64>,
    /// Columns that go there; all where absent.
    pub columns: Option<Range<i64>>,
}

/// What becomes of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The tensor.
    pub tensor: TensorPlan,
    /// The order its rows get.
    pub order: RowOrder,
    /// Where it goes.
    pub destinations: Vec<Destination>,
}

impl Placement {
    /// All of a tensor in one file.
    pub fn whole(tensor: TensorPlan, order: RowOrder, file: usize, name: String) -> Self {
        let rows = 0..tensor.merged_shape().first().copied().unwrap_or(1);
        Self { tensor, order, destinations: vec![Destination { file, name, rows, columns: None }] }
    }
}

/// What becomes of every tensor, in the order in which the files take them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout(pub Vec<Placement>);
