//! The training loop, for anything that is trained.
//!
//! The loop knows two contracts of `nn-core`: a [`Trainable`](nn_core::Trainable) gives parameters and a loss and can save and restore itself; a
//! [`Dataset`](nn_core::Dataset) gives batches in an order that depends on the epoch and the seed. It knows no model, no adapter and no record
//! format.
//!
//! - [`Trainer`] runs a [`TrainConfig`] to its end: steps, evaluation, checkpoints, metrics.
//! - [`OPTIMIZERS`] lists the optimisers; an [`UpdateRule`] adds one. `AdamW` and the learning rate follow PyTorch and
//!   transformers to the last formula.
//! - A run that is killed at any moment and resumed from [`find_last_checkpoint`] ends in the same bytes as one that was
//!   not: everything random is a function of the seed, the step and the micro-batch, so a checkpoint holds parameters,
//!   optimiser state and a few counters, and nothing else.
//! - Several processes train as one ([`Trainer::group`]): each runs its share of a step's micro-batches, and the curve is that of one
//!   process.
//! - `metrics.jsonl` and `runs/` (TensorBoard) in the output directory record the run; a [`Reporter`] shows it.
//!
//! Feature `testing` adds the parts of the loop, for tests and benchmarks: `optimizer_step`, `Optimizer`, `LrSchedule`.

// A message must never end the work: `eprintln!` panics where nobody reads.
#![warn(clippy::print_stderr)]
#![cfg_attr(
    not(feature = "testing"),
    allow(unreachable_pub, dead_code, reason = "exported by the feature `testing`")
)]

mod checkpoint;
mod config;
mod crc32c;
mod curves;
mod diagnosis;
mod error;
mod evaluate;
mod events;
mod fingerprint;
mod inputs;
mod loss_scale;
mod metrics;
mod optim;
mod outcome;
mod parts;
mod pass;
mod phases;
mod plan;
mod progress;
mod records;
mod report;
mod run;
mod schedule;
mod share;
mod state;
mod step;
mod stop;
mod trainer;

pub use checkpoint::find_last_checkpoint;
pub use config::TrainConfig;
pub use diagnosis::Diagnosis;
pub use error::TrainError;
pub use metrics::{EvalRecord, StepRecord};
pub use optim::{OPTIMIZERS, OptimizerKind, StateTensor, UpdateRule, UpdateStep};
pub use outcome::{Outcome, Summary};
pub use phases::Phases;
pub use progress::{Pace, ProgressReporter};
pub use report::{Reporter, RunInfo, StepProgress};
pub use schedule::LrScheduler;
pub use state::Best;
pub use stop::StopFlag;
pub use trainer::Trainer;

#[cfg(feature = "testing")]
pub use optim::{Gradients, Optimizer};
#[cfg(feature = "testing")]
pub use schedule::LrSchedule;
#[cfg(feature = "testing")]
pub use step::{StepOutcome, StepSettings, StepStats, optimizer_step};
