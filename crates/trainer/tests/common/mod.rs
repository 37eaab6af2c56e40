//! A small model and data for it.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nn_core::{BoxError, Dataset, Mode, TokenBatch, Trainable, mix_seed};
use serde_json::Value;
use tch::{Kind, Reduction, Tensor, no_grad};
use trainer::{Outcome, Reporter, StopFlag, TrainConfig, Trainer};
use weights::{TensorStore, write_safetensors};

/// Tokens of the toy language.
pub(crate) const VOCAB: i64 = 11;
/// A token whose loss [`Bigram::broken`] spoils.
pub(crate) const BAD_TOKEN: i64 = 10;

const WIDTH: i64 = 6;

/// Draws `shape` numbers evenly from 0 up to 1, from `seed` alone.
fn uniform(shape: &[i64], seed: u64) -> Tensor {
    let count = shape.iter().product::<i64>() as u64;
    let draw = |at| (mix_seed(seed, at) >> 40) as f32 / (1_u32 << 24) as f32;
    Tensor::from_slice(&(0..count).map(draw).collect::<Vec<_>>()).reshape(shape)
}

/// The fault of a [`Bigram`] on a batch that holds [`BAD_TOKEN`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Broken {
    No,
    /// The loss is multiplied with this.
    Factor(f64),
}

/// Predicts a token from the one before: `logits = dropout(table[id]) · head + bias`.
#[derive(Debug)]
pub(crate) struct Bigram {
    pub(crate) table: Tensor, // [V, C]
    pub(crate) head: Tensor,  // [C, V]
    pub(crate) bias: Tensor,  // [V]
    pub(crate) dropout: f64,
    pub(crate) broken: Broken,
    /// Asks for a stop in the forward pass of this number, from 0.
    pub(crate) stop_in: Option<(usize, StopFlag)>,
    pub(crate) forwards: Cell<usize>,
}

impl Bigram {
    pub(crate) fn new() -> Self {
        let leaf = |shape: &[i64], seed| ((uniform(shape, seed) - 0.5) * 1.7).set_requires_grad(true);
        Self {
            table: leaf(&[VOCAB, WIDTH], 1),
            head: leaf(&[WIDTH, VOCAB], 2),
            bias: leaf(&[VOCAB], 3),
            dropout: 0.2,
            broken: Broken::No,
            stop_in: None,
            forwards: Cell::new(0),
        }
    }

    /// Every value, parameter by parameter.
    pub(crate) fn values(&self) -> Vec<f32> {
        let flat = self.parameters().into_iter().map(|(_, tensor)| tensor.detach().reshape([-1]));
        Vec::try_from(Tensor::cat(&flat.collect::<Vec<_>>(), 0)).unwrap()
    }

    /// Every gradient, parameter by parameter.
    pub(crate) fn gradients(&self) -> Vec<f32> {
        let flat = self.parameters().into_iter().map(|(_, tensor)| tensor.grad().reshape([-1]));
        Vec::try_from(Tensor::cat(&flat.collect::<Vec<_>>(), 0)).unwrap()
    }
}

impl Trainable for Bigram {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        [("table", &self.table), ("head", &self.head), ("bias", &self.bias)]
            .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
            .into()
    }

    fn loss_sum(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, BoxError> {
        if let Some((at, stop)) = &self.stop_in
            && self.forwards.replace(self.forwards.get() + 1) == *at
        {
            stop.request();
        }
        let (positions, labels) = batch.targets();
        let ids: Vec<i64> = positions.iter().map(|&at| batch.input_ids[at as usize]).collect();
        let mut hidden = self.table.index_select(0, &Tensor::from_slice(&ids)); // [targets, C]
        if let Mode::Train { seed } = mode
            && self.dropout > 0.0
        {
            let kept = uniform(&hidden.size(), seed).ge(self.dropout).to_kind(Kind::Float);
            hidden = hidden * kept / (1.0 - self.dropout);
        }
        let logits = hidden.matmul(&self.head) + &self.bias; // [targets, V]
        let labels = Tensor::from_slice(&labels);
        let loss = logits.cross_entropy_loss(&labels, None::<Tensor>, Reduction::Sum, -100, 0.0);
        Ok(match self.broken {
            Broken::Factor(factor) if batch.input_ids.contains(&BAD_TOKEN) => loss * factor,
            _ => loss,
        })
    }

    fn save(&self, dir: &Path) -> Result<(), BoxError> {
        let parameters = self.parameters();
        let named: Vec<_> = parameters.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        Ok(write_safetensors(&dir.join("bigram.safetensors"), &named, &BTreeMap::new())?)
    }

    fn restore(&self, dir: &Path) -> Result<(), BoxError> {
        let store = TensorStore::open_file(&dir.join("bigram.safetensors"))?;
        for (name, mut parameter) in self.parameters() {
            let saved = store.tensor(&name)?;
            no_grad(|| parameter.copy_(&saved));
        }
        Ok(())
    }
}

/// Sequences of unequal length, in an order of its own for each epoch.
#[derive(Debug, Clone)]
pub(crate) struct Sentences(pub(crate) Vec<Vec<i64>>);

impl Sentences {
    /// `count` sentences of 3 to 9 tokens below [`BAD_TOKEN`] in which a token says much of its successor.
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        let sentence = |index: usize| {
            let draw = |at: u64| mix_seed(mix_seed(seed, index as u64), at);
            let mut token = (draw(0) % 10) as i64;
            let mut sentence = vec![token];
            for at in 1..3 + draw(99) % 7 {
                token = if draw(at) % 4 == 0 { (draw(at + 50) % 10) as i64 } else { (token * 3 + 1) % 10 };
                sentence.push(token);
            }
            sentence
        };
        Self((0..count).map(sentence).collect())
    }
}

impl Dataset for Sentences {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn epoch_order(&self, epoch: u64, _seed: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by_key(|&index| mix_seed(epoch, index as u64));
        order
    }

    fn batch(&self, indices: &[usize]) -> TokenBatch {
        TokenBatch::from_sequences(indices.iter().map(|&i| (self.0[i].as_slice(), self.0[i].as_slice())))
    }
}

/// 22 records in micro-batches of 3, 2 of them a step: 4 steps an epoch, of which the last has one micro-batch and that
/// one record too few. 12 steps in all.
pub(crate) fn config() -> TrainConfig {
    TrainConfig {
        micro_batch_size: 3,
        gradient_accumulation_steps: 2,
        num_epochs: 3,
        learning_rate: 0.05,
        warmup_steps: 2,
        weight_decay: 0.01,
        logging_steps: 3,
        eval_steps: 4,
        save_steps: 2,
        save_total_limit: None,
        ..TrainConfig::default()
    }
}

/// Records for [`config`].
pub(crate) const RECORDS: usize = 22;

/// Ignores everything.
struct Unwatched;

impl Reporter for Unwatched {}

/// Trains `model` in `dir` on the usual data.
pub(crate) fn train(
    config: &TrainConfig,
    model: &Bigram,
    dir: &Path,
    resume: Option<&Path>,
) -> Result<Outcome, trainer::TrainError> {
    train_with(config, model, dir, resume, &mut Unwatched)
}

/// [`train`], watched by `reporter`.
pub(crate) fn train_with(
    config: &TrainConfig,
    model: &Bigram,
    dir: &Path,
    resume: Option<&Path>,
    reporter: &mut dyn Reporter,
) -> Result<Outcome, trainer::TrainError> {
    let (data, validation) = (Sentences::new(RECORDS, 1), Sentences::new(5, 2));
    let mut trainer = Trainer::new(model, &data, config.clone()).validation(&validation).reporter(reporter);
    if let Some(checkpoint) = resume {
        trainer = trainer.resume_from(checkpoint);
    }
    if let Some((_, stop)) = &model.stop_in {
        trainer = trainer.stop_flag(stop.clone());
    }
    trainer.run(dir)
}

/// The file of what was trained.
pub(crate) fn result(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("bigram.safetensors")).unwrap()
}

/// The lines of metrics without what a clock or the memory says.
pub(crate) fn metrics(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let timeless = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let fields = line.as_object_mut().unwrap();
        for name in ["tokens_per_s", "elapsed_s", "eval_s", "memory_mib"] {
            fields.remove(name);
        }
        line
    };
    text.lines().map(timeless).collect()
}

/// The steps of the checkpoints in `dir`, and nothing half-written beside them.
pub(crate) fn checkpoints(dir: &Path) -> Vec<u64> {
    let mut steps = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with('.'), "left over: {name}");
        steps.extend(name.strip_prefix("checkpoint-").map(|step| step.parse::<u64>().unwrap()));
    }
    steps.sort_unstable();
    steps
}

/// A copy of the directory `from` in `to`.
pub(crate) fn copy_dir(from: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
    to.to_owned()
}
