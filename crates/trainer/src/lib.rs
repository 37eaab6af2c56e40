//! The training loop, for anything that is trained.
//!
//! The loop knows two contracts: a [`Trainable`] gives parameters and a loss and can save and restore itself; a
//! [`Dataset`] gives batches in an order that is a function of the epoch. It knows no model, no adapter and no record
//! format.
//!
//! - [`Trainer`] runs a [`TrainConfig`] to its end: steps, evaluation, checkpoints, metrics. [`optimizer_step`] is one of
//!   its steps, for benchmarks and for loops of one's own.
//! - [`AdamW`] and [`LrSchedule`] follow PyTorch and transformers to the last formula.
//! - A run that is killed at any moment and resumed from [`find_last_checkpoint`] ends in the same bytes as one that was
//!   not: everything random is a function of the seed, the step and the micro-batch, so a checkpoint holds parameters,
//!   optimiser state and a few counters, and nothing else.
//! - `metrics.jsonl` and `runs/` (TensorBoard) in the output directory record what happened; a [`Reporter`] shows it.

mod adamw;
mod checkpoint;
mod config;
mod crc32c;
mod diagnosis;
mod error;
mod evaluate;
mod events;
mod metrics;
mod phases;
mod plan;
mod progress;
mod report;
mod run;
mod schedule;
mod state;
mod step;
mod stop;
mod trainer;

pub use adamw::{AdamW, AdamWConfig, AdamWState, Gradients};
pub use checkpoint::find_last_checkpoint;
pub use config::TrainConfig;
pub use diagnosis::Diagnosis;
pub use error::TrainError;
pub use evaluate::evaluate;
pub use metrics::{EvalRecord, StepRecord};
pub use nn_core::{BoxError, Dataset, Trainable};
pub use phases::Phases;
pub use plan::StepPlan;
pub use progress::ProgressReporter;
pub use report::{Reporter, RunInfo, Silent, StepProgress};
pub use schedule::{LrSchedule, LrScheduler};
pub use state::Best;
pub use step::{StepOutcome, StepSettings, StepStats, optimizer_step};
pub use stop::StopFlag;
pub use trainer::{Outcome, Summary, Trainer};
