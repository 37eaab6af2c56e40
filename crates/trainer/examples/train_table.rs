//! A table that learns which token follows which, trained to its end by the loop that trains adapters.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use nn_core::{BoxError, Dataset, Mode, TokenBatch, Trainable};
use tch::{Device, Kind, Reduction, Tensor, no_grad};
use trainer::{Outcome, TrainConfig, Trainer};
use weights::{TensorStore, write_safetensors};

// ANCHOR: readme
fn main() -> Result<(), Box<dyn Error>> {
    let table = Table(Tensor::zeros([10, 10], (Kind::Float, Device::Cpu)).set_requires_grad(true));
    let config = TrainConfig {
        micro_batch_size: 2,
        gradient_accumulation_steps: 1,
        max_steps: Some(60),
        learning_rate: 0.3,
        warmup_steps: 5,
        ..TrainConfig::default()
    };
    let dir = std::env::temp_dir().join(format!("example-run-{}", std::process::id()));
    if let Outcome::Finished(summary) = Trainer::new(&table, &Cycles, config).run(&dir)? {
        println!("{} steps, {} tokens, last loss {:.3?}", summary.steps, summary.tokens, summary.final_loss);
    }
    print!("{}", std::fs::read_to_string(dir.join("metrics.jsonl"))?);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
// ANCHOR_END: readme

/// Logits of the next token, by the last one, `[V, V]`.
struct Table(Tensor);

impl Trainable for Table {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        vec![("table".to_owned(), self.0.shallow_clone())]
    }

    fn loss_sum(&self, batch: &TokenBatch, _mode: Mode) -> Result<Tensor, BoxError> {
        let (positions, labels) = batch.targets();
        let ids: Vec<i64> = positions.iter().map(|&at| batch.input_ids[at as usize]).collect();
        let logits = self.0.f_index_select(0, &Tensor::from_slice(&ids))?; // [targets, V]
        let labels = Tensor::from_slice(&labels);
        Ok(logits.f_cross_entropy_loss(&labels, None::<Tensor>, Reduction::Sum, -100, 0.0)?)
    }

    fn save(&self, dir: &Path) -> Result<(), BoxError> {
        let tensors = [("table".to_owned(), &self.0)];
        Ok(write_safetensors(&dir.join("table.safetensors"), &tensors, &BTreeMap::new())?)
    }

    fn restore(&self, dir: &Path) -> Result<(), BoxError> {
        let saved = TensorStore::open_file(&dir.join("table.safetensors"))?.tensor("table")?;
        no_grad(|| self.0.shallow_clone().f_copy_(&saved))?;
        Ok(())
    }
}

/// Sequences that count up, each from another number.
struct Cycles;

impl Dataset for Cycles {
    fn len(&self) -> usize {
        8
    }

    fn epoch_order(&self, _epoch: u64, _seed: u64) -> Vec<usize> {
        (0..8).collect()
    }

    fn batch(&self, indices: &[usize]) -> TokenBatch {
        let sequences: Vec<Vec<i64>> =
            indices.iter().map(|&from| (0..6).map(|step| (from as i64 + step) % 10).collect()).collect();
        TokenBatch::from_sequences(sequences.iter().map(|ids| (ids.as_slice(), ids.as_slice())))
    }
}
