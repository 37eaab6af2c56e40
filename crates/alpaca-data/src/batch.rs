//! Examples to batches: one after another for our model, padded for whoever needs a rectangle.

use nn_core::{IGNORE_INDEX, TokenBatch};

use crate::Example;

/// Puts the examples at `indices` one after another.
///
/// # Panics
/// When an index is not below `examples.len()`.
pub fn batch(examples: &[Example], indices: &[usize]) -> TokenBatch {
    TokenBatch::from_sequences(indices.iter().map(|&index| {
        let example = &examples[index];
        (example.input_ids.as_slice(), example.labels.as_slice())
    }))
}

/// Where padding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadSide {
    /// Before the tokens, as alpaca-lora does.
    Left,
    /// After the tokens.
    Right,
}

/// A rectangle of `[rows, width]`, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaddedBatch {
    /// Number of sequences.
    pub rows: usize,
    /// Padded length in tokens.
    pub width: usize,
    /// Token ids, the pad id where there is no token.
    pub input_ids: Vec<i64>,
    /// Labels, [`IGNORE_INDEX`] where there is no token.
    pub labels: Vec<i64>,
    /// 1 for a token, 0 for padding.
    pub attention_mask: Vec<i64>,
}

/// Pads examples to the longest of them, rounded up to a multiple of `multiple_of` (transformers'
/// `DataCollatorForSeq2Seq` with `pad_to_multiple_of`).
pub fn pad_batch(examples: &[Example], side: PadSide, multiple_of: usize, pad_id: i64) -> PaddedBatch {
    let longest = examples.iter().map(|example| example.input_ids.len()).max().unwrap_or(0);
    let width = longest.next_multiple_of(multiple_of.max(1));
    let row = |values: &[i64], pad: i64| -> Vec<i64> {
        let padding = std::iter::repeat_n(pad, width - values.len());
        match side {
            PadSide::Left => padding.chain(values.iter().copied()).collect(),
            PadSide::Right => values.iter().copied().chain(padding).collect(),
        }
    };
    PaddedBatch {
        rows: examples.len(),
        width,
        input_ids: examples.iter().flat_map(|example| row(&example.input_ids, pad_id)).collect(),
        labels: examples.iter().flat_map(|example| row(&example.labels, IGNORE_INDEX)).collect(),
        attention_mask: examples
            .iter()
            .flat_map(|example| row(&vec![1; example.input_ids.len()], 0))
            .collect(),
    }
}

impl PaddedBatch {
    /// The same sequences without their padding.
    pub fn unpad(&self) -> TokenBatch {
        let kept = |row: usize, values: &[i64]| -> Vec<i64> {
            let cells = row * self.width..(row + 1) * self.width;
            cells.filter(|&cell| self.attention_mask[cell] == 1).map(|cell| values[cell]).collect()
        };
        let rows: Vec<_> =
            (0..self.rows).map(|row| (kept(row, &self.input_ids), kept(row, &self.labels))).collect();
        TokenBatch::from_sequences(rows.iter().map(|(ids, labels)| (ids.as_slice(), labels.as_slice())))
    }
}
