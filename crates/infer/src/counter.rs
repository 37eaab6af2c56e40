//! A model for tests.

use nn_core::{CausalLm, DecodeSession, NnError};
use tch::Tensor;

/// Counts up from the last token of each row; 9 is followed by 0.
pub(crate) struct Counter;

struct Counting {
    rows: Vec<Vec<i64>>,
}

impl CausalLm for Counter {
    fn vocab_size(&self) -> usize {
        10
    }

    fn max_len(&self) -> usize {
        100
    }

    fn open(&self, rows: usize, _: usize) -> Result<Box<dyn DecodeSession + '_>, NnError> {
        Ok(Box::new(Counting { rows: vec![Vec::new(); rows] }))
    }
}

impl Counting {
    /// 1 for the next number of each row and 0 for the others, `[n, 10]`.
    fn logits(&self, rows: impl Iterator<Item = usize>) -> Tensor {
        let next: Vec<i64> = rows.map(|row| (self.rows[row][self.rows[row].len() - 1] + 1) % 10).collect();
        let zeros = Tensor::zeros([next.len() as i64, 10], tch::kind::FLOAT_CPU);
        zeros.scatter_value(1, &Tensor::from_slice(&next).view([-1, 1]), 1.0)
    }
}

impl DecodeSession for Counting {
    fn prefill(&mut self, prompts: &[(usize, &[i64])]) -> Result<Tensor, NnError> {
        for &(row, prompt) in prompts {
            self.rows[row] = prompt.to_vec();
        }
        Ok(self.logits(prompts.iter().map(|&(row, _)| row)))
    }

    fn step(&mut self, tokens: &[(usize, i64)]) -> Result<Tensor, NnError> {
        for &(row, id) in tokens {
            self.rows[row].push(id);
        }
        Ok(self.logits(tokens.iter().map(|&(row, _)| row)))
    }

    fn select(&mut self, parents: &[usize]) -> Result<(), NnError> {
        let old = self.rows.clone();
        parents.iter().enumerate().for_each(|(row, &parent)| self.rows[row] = old[parent].clone());
        Ok(())
    }

    fn move_row(&mut self, from: usize, to: usize) -> Result<(), NnError> {
        self.rows[to] = std::mem::take(&mut self.rows[from]);
        Ok(())
    }

    fn len(&self, row: usize) -> usize {
        self.rows[row].len()
    }
}
