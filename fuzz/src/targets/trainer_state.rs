//! The state and the metrics of a run that is resumed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use nn_core::{BoxError, Dataset, Mode, TokenBatch, Trainable};
use tch::Tensor;
use trainer::{StopFlag, TrainConfig, TrainError, Trainer};
use weights::{DIGEST_LIST, TensorStore, write_digests, write_safetensors};

use crate::Target;
use crate::files::{directory, joined, parts};

/// One parameter, which is its own loss.
struct Scalar(Tensor);

impl Trainable for Scalar {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        vec![("x".to_owned(), self.0.shallow_clone())]
    }

    fn loss_sum(&self, _: &TokenBatch, _: Mode) -> Result<Tensor, BoxError> {
        Ok(self.0.f_square()?.f_sum(tch::Kind::Float)?)
    }

    fn save(&self, dir: &Path) -> Result<(), BoxError> {
        Ok(write_safetensors(&dir.join("x.safetensors"), &[("x".to_owned(), &self.0)], &BTreeMap::new())?)
    }

    fn restore(&self, dir: &Path) -> Result<(), BoxError> {
        let _ = TensorStore::open_file(&dir.join("x.safetensors"))?.tensor("x")?;
        Ok(())
    }
}

struct Records;

impl Dataset for Records {
    fn len(&self) -> usize {
        4
    }

    fn epoch_order(&self, _: u64, _: u64) -> Vec<usize> {
        vec![0, 1, 2, 3]
    }

    fn batch(&self, indices: &[usize]) -> TokenBatch {
        TokenBatch::from_sequences(indices.iter().map(|_| (&[1_i64, 2][..], &[1_i64, 2][..])))
    }
}

const STEPS: u32 = 3;

/// Trains, or resumes and stops at once.
fn train(dir: &Path, resume: bool) -> Result<(), TrainError> {
    let scalar = Scalar(Tensor::ones([1], tch::kind::FLOAT_CPU).set_requires_grad(true));
    let config = TrainConfig {
        micro_batch_size: 1,
        gradient_accumulation_steps: 1,
        max_steps: Some(STEPS),
        logging_steps: 1,
        save_steps: 2,
        ..TrainConfig::default()
    };
    let stop = StopFlag::new();
    let mut trainer = Trainer::new(&scalar, &Records, config).stop_flag(stop.clone());
    if resume {
        stop.request();
        trainer = trainer.resume_from(dir.join(CHECKPOINT));
    }
    trainer.run(dir).map(|_| ())
}

const CHECKPOINT: &str = "checkpoint-2";
const STATE: &str = "trainer_state.json";

/// The files of a checkpoint and the metrics of its run.
static RUN: LazyLock<[Vec<u8>; 5]> = LazyLock::new(|| {
    let dir = directory("trained", &[]);
    train(&dir, false).expect("a run of three steps");
    let read = |name: &str| std::fs::read(dir.join(name)).expect("a file of a run");
    [
        read(&format!("{CHECKPOINT}/{STATE}")),
        read("metrics.jsonl"),
        read(&format!("{CHECKPOINT}/x.safetensors")),
        read(&format!("{CHECKPOINT}/optimizer.safetensors")),
        read(&format!("{CHECKPOINT}/{DIGEST_LIST}")),
    ]
});

pub(super) const TARGET: Target = Target {
    name: "trainer_state",
    reads: "`trainer_state.json`, `optimizer.safetensors`, `B3SUMS`, `metrics.jsonl`: a run that `trainer` resumes",
    limit_s: 4,
    seeds: || {
        let [state, metrics, _, optimizer, digests] = &*RUN;
        vec![
            state.clone(),
            joined(&[state, metrics]),
            joined(&[state, metrics, optimizer]),
            joined(&[state, metrics, optimizer, digests]),
        ]
    },
    run: |bytes| {
        let [_, _, parameters, optimizer, _] = &*RUN;
        let files = parts(bytes, [STATE, "metrics.jsonl", "optimizer.safetensors", DIGEST_LIST]);
        let named = |name: &str| files.iter().find(|(other, _)| *other == name).map(|(_, bytes)| *bytes);
        let dir = directory("resumed", &[("metrics.jsonl", named("metrics.jsonl").unwrap_or_default())]);
        let optimizer = named("optimizer.safetensors").unwrap_or(optimizer);
        let checkpoint = directory(
            &format!("resumed/{CHECKPOINT}"),
            &[
                (STATE, named(STATE).unwrap_or_default()),
                ("x.safetensors", parameters),
                ("optimizer.safetensors", optimizer),
            ],
        );
        // Digests that are right, so that what they cover is read; or a list of them that is foreign too.
        match named(DIGEST_LIST) {
            Some(list) => std::fs::write(checkpoint.join(DIGEST_LIST), list)?,
            None => write_digests(&checkpoint)?,
        }
        Ok(train(&dir, true)?)
    },
};
