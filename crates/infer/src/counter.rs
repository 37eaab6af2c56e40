//! A model for tests.

use nn_core::{CausalLm, DecodeSession, NnError};
use tch::Tensor;

/// Counts up from the last token of each row; 9 is followed by 0.
pub(crate) struct Counter;

/// Counts as [`Counter`] does, but the score of 0 is this number once 9 has come.
pub(crate) struct Broken(pub(crate) f64);

struct Counting {
    rows: Vec<Vec<i64>>,
    /// Score of 0 in a row with a 9.
    bad: f64,
}

impl CausalLm for Broken {
    fn vocab_size(&self) -> usize {
        10
    }

    fn max_len(&self) -> usize {
        100
    }

    fn first_not_finite(&self) -> Result<Option<String>, NnError> {
        Ok(Some("layer.weight".to_owned()))
    }

    fn open(&self, rows: usize, _: usize) -> Result<Box<dyn DecodeSession + '_>, NnError> {
        Ok(Box::new(Counting { rows: vec![Vec::new(); rows], bad: self.0 }))
    }
}

impl CausalLm for Counter {
    fn vocab_size(&self) -> usize {
        10
    }

    fn max_len(&self) -> usize {
        100
    }

    fn open(&self, rows: usize, _: usize) -> Result<Box<dyn DecodeSession + '_>, NnError> {
        Ok(Box::new(Counting { rows: vec![Vec::new(); rows], bad: 0.0 }))
    }
}

impl Counting {
    /// Returns 1 for the next number of each row and 0 for the others, `[n, 10]`.
    fn logits(&self, rows: impl Iterator<Item = usize>) -> Tensor {
        let rows: Vec<usize> = rows.collect();
        let next: Vec<i64> =
            rows.iter().map(|&row| (self.rows[row][self.rows[row].len() - 1] + 1) % 10).collect();
        let zeros = Tensor::zeros([next.len() as i64, 10], tch::kind::FLOAT_CPU);
        for (place, _) in rows.iter().enumerate().filter(|(_, row)| self.rows[**row].contains(&9)) {
            let _ = zeros.get(place as i64).get(0).fill_(self.bad);
        }
        let next = Tensor::from_slice(&next).view([-1, 1]);
        // Adds, so that what is no number stays none.
        zeros.scatter_add(1, &next, &Tensor::ones_like(&next).to_kind(tch::Kind::Float))
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
