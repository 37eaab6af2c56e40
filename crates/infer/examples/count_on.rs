//! Answers from a model that counts: any [`CausalLm`] will do.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::ops::ControlFlow;

use infer::{BoxError, GenerateConfig, SamplingConfig, TokenText, generate_streaming, greedy};
use nn_core::{CausalLm, DecodeSession, NnError};
use tch::Tensor;

// ANCHOR: readme
fn main() -> Result<(), Box<dyn Error>> {
    let config = GenerateConfig { max_new_tokens: 5, eos_ids: vec![7], ..GenerateConfig::default() };
    println!("{:?}", greedy(&Counter, &[vec![3, 4], vec![8]], &config)?); // [[5, 6], [9, 0, 1, 2, 3]]

    let sampling = SamplingConfig { do_sample: true, temperature: 0.5, seed: 1, ..SamplingConfig::default() };
    let config = GenerateConfig { sampling, ..config };
    let answers = generate_streaming(&Counter, &Digits, &[vec![1]], &config, &mut |_, piece| {
        print!("{piece}"); // as it is written
        ControlFlow::Continue(())
    })?;
    println!("\n{:?}", answers[0].finish);
    Ok(())
}
// ANCHOR_END: readme

/// Holds that each digit is followed by the next.
struct Counter;

struct Counting(Vec<Vec<i64>>);

impl CausalLm for Counter {
    fn vocab_size(&self) -> usize {
        10
    }

    fn max_len(&self) -> usize {
        100
    }

    fn open(&self, rows: usize, _capacity: usize) -> Result<Box<dyn DecodeSession + '_>, NnError> {
        Ok(Box::new(Counting(vec![Vec::new(); rows])))
    }
}

impl Counting {
    fn logits(&self, rows: impl Iterator<Item = usize>) -> Tensor {
        let next: Vec<i64> = rows.map(|row| (self.0[row].last().unwrap_or(&0) + 1) % 10).collect();
        let zeros = Tensor::zeros([next.len() as i64, 10], tch::kind::FLOAT_CPU);
        zeros.scatter_value(1, &Tensor::from_slice(&next).view([-1, 1]), 3.0) // [n, V]
    }
}

impl DecodeSession for Counting {
    fn prefill(&mut self, prompts: &[(usize, &[i64])]) -> Result<Tensor, NnError> {
        for &(row, prompt) in prompts {
            self.0[row] = prompt.to_vec();
        }
        Ok(self.logits(prompts.iter().map(|&(row, _)| row)))
    }

    fn step(&mut self, tokens: &[(usize, i64)]) -> Result<Tensor, NnError> {
        for &(row, token) in tokens {
            self.0[row].push(token);
        }
        Ok(self.logits(tokens.iter().map(|&(row, _)| row)))
    }

    fn select(&mut self, parents: &[usize]) -> Result<(), NnError> {
        let old = self.0.clone();
        parents.iter().enumerate().for_each(|(row, &parent)| self.0[row].clone_from(&old[parent]));
        Ok(())
    }

    fn move_row(&mut self, from: usize, to: usize) -> Result<(), NnError> {
        self.0[to] = std::mem::take(&mut self.0[from]);
        Ok(())
    }

    fn len(&self, row: usize) -> usize {
        self.0[row].len()
    }
}

/// Token ids are digits.
struct Digits;

impl TokenText for Digits {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        Ok(ids.iter().map(ToString::to_string).collect())
    }
}
