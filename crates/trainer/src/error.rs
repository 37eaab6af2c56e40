//! Failures of training.

use std::io;
use std::path::PathBuf;

use nn_core::{BoxError, NnError, TorchFailure};
use process_group::GroupError;
use weights::WeightsError;

use crate::diagnosis::Diagnosis;

/// A failure of training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting is out of its range.
    #[error("`{field}` is {actual}; expected {expected}")]
    Setting {
        /// The field of [`crate::TrainConfig`].
        field: &'static str,
        /// Its value.
        actual: String,
        /// Its range.
        expected: &'static str,
    },
    /// The learning rate is 0 in every step.
    #[error(
        "nothing would be learnt: the learning rate is 0 in every step of {steps} (learning_rate {learning_rate}, \
         warmup_steps {warmup_steps}, from 0 at the first step); lower warmup_steps, train for more steps, or raise \
         learning_rate"
    )]
    NothingLearnt {
        /// Optimiser steps of the run.
        steps: u64,
        /// Peak learning rate.
        learning_rate: f64,
        /// Steps of warm-up.
        warmup_steps: u32,
    },
    /// Processes without work.
    #[error(
        "{world_size} processes share out the micro-batches of a step, which are {micro_batches}: some would have none; lower \
         micro_batch_size, raise batch_size, or start fewer"
    )]
    IdleProcesses {
        /// Micro-batches of one step.
        micro_batches: u32,
        /// Number of processes.
        world_size: usize,
    },
    /// There is no record to train on.
    #[error("the training data holds no record")]
    EmptyDataset,
    /// No label of the validation data counts in the loss.
    #[error("none of the {records} validation records has a label that counts in the loss")]
    NoValidationTargets {
        /// Number of records.
        records: usize,
    },
    /// The order of an epoch is not an order of the records.
    #[error("the order of epoch {epoch} is not a permutation of the {records} records")]
    EpochOrder {
        /// The epoch, from 0.
        epoch: u64,
        /// Number of records.
        records: usize,
    },
    /// The operating system gives no thread for a part of a micro-batch.
    #[error(
        "no thread for a part of a micro-batch; lower the number of threads, or raise the limit of processes (ulimit -u)"
    )]
    Thread(#[source] io::Error),
    /// There is nothing to train.
    #[error("there is no parameter to train")]
    NoParameters,
    /// A tensor given as parameter cannot receive a gradient.
    #[error("parameter `{name}` is frozen: it is no leaf that requires a gradient")]
    FrozenParameter {
        /// Its checkpoint name.
        name: String,
    },
    /// A parameter is not float32.
    #[error("parameter `{name}` is {actual:?}; trained parameters are Float")]
    ParameterKind {
        /// Its checkpoint name.
        name: String,
        /// Its kind.
        actual: tch::Kind,
    },
    /// The loss does not depend on a parameter.
    #[error("parameter `{name}` got no gradient: the loss does not depend on it")]
    NoGradient {
        /// Its checkpoint name.
        name: String,
    },
    /// Optimiser state of another shape.
    #[error("optimiser state `{name}` has shape {actual:?}; its parameter has {expected:?}")]
    OptimizerState {
        /// The tensor in `optimizer.safetensors`.
        name: String,
        /// The shape in the file.
        actual: Vec<i64>,
        /// The shape of the parameter.
        expected: Vec<i64>,
    },
    /// The loss of a micro-batch could not be computed.
    #[error("cannot compute the loss of {sequences} sequences with {tokens} tokens in all")]
    Loss {
        /// Number of sequences.
        sequences: usize,
        /// Number of tokens.
        tokens: usize,
        /// The model's failure.
        #[source]
        source: BoxError,
    },
    /// A step whose numbers cannot be used. Parameters and checkpoints are as before it.
    #[error("{0}")]
    BadStep(Box<Diagnosis>),
    /// The weights could not be searched for NaN and infinity.
    #[error("cannot search the weights for values that are not finite")]
    Search(#[source] BoxError),
    /// A validation loss that is NaN or infinite.
    #[error(
        "the validation loss after step {step} is {eval_loss}; {}",
        if names.is_empty() {
            "all weights are finite: try float32 or bfloat16 if the model runs in float16, and look at the validation records".to_owned()
        } else {
            format!("not all values are finite in {}", names.join(", "))
        }
    )]
    BadEvaluation {
        /// Steps done.
        step: u64,
        /// The loss.
        eval_loss: f64,
        /// Parameters, or else frozen weights, that hold NaN or infinity.
        names: Vec<String>,
    },
    /// An update that made a parameter NaN or infinite. Checkpoints written before stay as they are.
    #[error(
        "step {step} made values NaN or infinite in {}; nothing is saved of them: resume from an earlier checkpoint with a lower \
         learning rate or a longer warm-up",
        names.join(", ")
    )]
    NotFinite {
        /// Steps done.
        step: u64,
        /// The parameters.
        names: Vec<String>,
    },
    /// The trained parameters could not be saved.
    #[error("cannot save what is trained in `{path}`")]
    Save {
        /// The directory.
        path: PathBuf,
        /// Its failure.
        #[source]
        source: BoxError,
    },
    /// The trained parameters could not be restored.
    #[error("cannot restore what is trained from `{path}`")]
    Restore {
        /// The directory.
        path: PathBuf,
        /// Its failure.
        #[source]
        source: BoxError,
    },
    /// A fresh run would mix with the checkpoints of another.
    #[error("`{path}` is a checkpoint of an earlier run; resume from it, or choose another output directory")]
    EarlierRun {
        /// The newest checkpoint found.
        path: PathBuf,
    },
    /// A directory that is not one of our checkpoints.
    #[error("`{path}` is not a checkpoint: its `trainer_state.json` cannot be understood")]
    NotACheckpoint {
        /// The directory.
        path: PathBuf,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// A checkpoint of a run that differs from this one.
    #[error(
        "cannot resume from `{path}`: `{field}` is {actual} in this run, but {expected} in the checkpoint"
    )]
    ResumeMismatch {
        /// The checkpoint.
        path: PathBuf,
        /// Name of the value that differs.
        field: String,
        /// Its value in this run.
        actual: String,
        /// Its value in the checkpoint.
        expected: String,
    },
    /// A checkpoint with a file that is not as it was written. Nothing was taken from it.
    #[error(
        "`{path}` is damaged and cannot be resumed; {}",
        intact.as_ref().map_or("there is no intact checkpoint beside it: start anew".to_owned(), |intact| {
            format!("`{}` is intact: resume from that", intact.display())
        })
    )]
    DamagedCheckpoint {
        /// The checkpoint.
        path: PathBuf,
        /// The newest intact one beside it.
        intact: Option<PathBuf>,
        /// The file and its fault.
        #[source]
        source: Box<WeightsError>,
    },
    /// A run that reads something else than the one that it is to resume.
    #[error(
        "cannot resume from `{path}`: the {input} is not the one that the run began with (BLAKE3 {actual:.12} now, \
         {expected:.12} in the checkpoint); give the same one, or begin a new run in another directory"
    )]
    InputMismatch {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        input: String,
        /// Its digest now, or `absent`.
        actual: String,
        /// Its digest in the checkpoint, or `absent`.
        expected: String,
    },
    /// A checkpoint from after the end of the run that is to resume it.
    #[error("cannot resume from `{path}`: {step} steps are done there, but this run has {total_steps}")]
    PastTheEnd {
        /// The checkpoint.
        path: PathBuf,
        /// Steps done in it.
        step: u64,
        /// Steps of this run.
        total_steps: u64,
    },
    /// The checkpoint of the lowest validation loss is gone.
    #[error("`{path}`, the checkpoint with the lowest validation loss, is not in the output directory")]
    BestMissing {
        /// Its expected path.
        path: PathBuf,
    },
    /// The file system is full, or the user's quota is.
    #[error("the disk is full: cannot {action} `{path}`")]
    DiskFull {
        /// The attempted operation.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file of the run could not be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// The attempted operation.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A tensor file could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A batch whose parts do not fit each other.
    #[error(transparent)]
    Batch(#[from] NnError),
    /// Another process of the run has failed, or does something else.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// libtorch refused an operation.
    #[error(transparent)]
    Torch(#[from] TorchFailure),
}

impl TrainError {
    /// Tells whether the settings, the records or the checkpoint that the caller gave are wrong, rather than the run failing.
    pub fn is_usage(&self) -> bool {
        if let Self::Group(error) = self {
            return error.is_usage();
        }
        matches!(
            self,
            Self::Setting { .. }
                | Self::NothingLearnt { .. }
                | Self::IdleProcesses { .. }
                | Self::EmptyDataset
                | Self::NoValidationTargets { .. }
                | Self::EarlierRun { .. }
                | Self::NotACheckpoint { .. }
                | Self::ResumeMismatch { .. }
                | Self::PastTheEnd { .. }
                | Self::BestMissing { .. }
        )
    }
}

/// Names the file an I/O failure is about: `fs::remove_file(&path).at("delete", &path)?`.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &std::path::Path) -> Result<T, TrainError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &std::path::Path) -> Result<T, TrainError> {
        let path = path.to_owned();
        self.map_err(|source| match source.kind() {
            kind if weights::is_full(kind) => TrainError::DiskFull { action, path, source },
            _ => TrainError::Io { action, path, source },
        })
    }
}

/// Fails with [`TrainError::Setting`] unless `fits`.
pub(crate) fn check_setting(
    fits: bool,
    field: &'static str,
    actual: &dyn std::fmt::Display,
    expected: &'static str,
) -> Result<(), TrainError> {
    if fits { Ok(()) } else { Err(TrainError::Setting { field, actual: actual.to_string(), expected }) }
}
