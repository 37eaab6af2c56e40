//! Failures of fine-tuning as a whole.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use alpaca_data::DataError;
use checkpoint::CheckpointError;
use infer::InferError;
use llama_model::ModelError;
use llama_tokenizer::TokenizerError;
use lora::LoraError;
use merge::MergeError;
use nn_core::{BoxError, NnError, TorchFailure};
use qlora_nf4::QuantError;
use torch_ext::ExtError;
use trainer::TrainError;
use weights::WeightsError;

/// A fine-tuning job that cannot be set up, run or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinetuneError {
    /// libtorch has no CUDA, or it cannot be loaded.
    #[error("the libtorch in use cannot use CUDA (`cargo xtask setup --cuda` installs one that can)")]
    NoCuda(#[source] ExtError),
    /// A CUDA device that the machine does not have.
    #[error("device is `{device}`, but this machine shows {count} CUDA devices: {reason}")]
    NoDevice {
        /// The device as it was asked for.
        device: String,
        /// CUDA devices of this machine.
        count: usize,
        /// Why, or which there are.
        reason: String,
    },
    /// A model over all GPUs where something else says where it goes.
    #[error(
        "device_map is auto, which shares the layers out over all GPUs, and there is {with}; expected only one of the two \
         (CUDA_VISIBLE_DEVICES limits the GPUs)"
    )]
    DeviceMap {
        /// The other setting.
        with: String,
    },
    /// A value that a setting cannot have.
    #[error("{name} is `{actual}`; expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        actual: String,
        /// The values it can have.
        expected: &'static str,
    },
    /// A quantisation that there is not.
    #[error(transparent)]
    Quantization(QuantError),
    /// Fewer than one thread was asked for.
    #[error("threads is 0; expected at least 1")]
    NoThreads,
    /// The thread pool exists already, with another number of threads.
    #[error("cannot set the number of threads")]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// A target of the adapter is no linear layer of the model.
    #[error("target module `{target}` is no linear layer of the model, which has {known}")]
    UnknownTarget {
        /// The target as the configuration spells it.
        target: String,
        /// The names of the linear layers.
        known: String,
    },
    /// A memory plan was asked for targets that only the loaded model can resolve.
    #[error("--plan counts names and all-linear; a regular expression needs the model itself")]
    PatternNeedsModel,
    /// A file or directory cannot be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// No base is named.
    #[error("base_model is missing, and no adapter names it: give --base_model MODEL")]
    NoBase,
    /// The settings of the run that made an adapter cannot be read.
    #[error("`{path}` beside the adapter is not the run file of its training")]
    RunFile {
        /// The file.
        path: PathBuf,
        /// Error of the parser.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The template that an adapter was trained with cannot be used.
    #[error(
        "adapter `{dir}` was trained with the prompt template `{template}`, which cannot be loaded; name a template to ask with"
    )]
    TrainedTemplate {
        /// Directory of the adapter.
        dir: PathBuf,
        /// Name or file of the template.
        template: String,
        /// The reason.
        #[source]
        source: Box<DataError>,
    },
    /// An adapter that a run cannot start from.
    #[error(
        "adapter `{dir}` has `{field}` {theirs}, and this run {ours}: its tensors do not fit; ask for the same to start from it"
    )]
    OtherAdapter {
        /// Directory of the adapter.
        dir: PathBuf,
        /// PEFT's name of the field.
        field: &'static str,
        /// Its value there.
        theirs: String,
        /// The run's value.
        ours: String,
    },
    /// Checkpoints of transformers' Trainer where a run of this program is to go on.
    #[error(
        "`{checkpoint}` is a checkpoint of transformers' Trainer, written by Python, and a run here cannot go on from its \
         optimiser; name another output_dir, and `{checkpoint}` in resume_from_checkpoint: a new run then starts from its \
         adapter"
    )]
    ForeignRun {
        /// The checkpoint.
        checkpoint: PathBuf,
    },
    /// A checkpoint of transformers' Trainer without an adapter or model.
    #[error(
        "`{checkpoint}` is a checkpoint of transformers' Trainer, written by Python, but holds no {weights} to start from{}",
        above.as_deref().map_or_else(String::new, |dir| format!("; `{}` holds it: name that", dir.display()))
    )]
    ForeignCheckpoint {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// The file that it lacks.
        weights: &'static str,
        /// The directory above, where that holds the file.
        above: Option<PathBuf>,
    },
    /// More records held out for validation than there are.
    #[error("{0}; lower --val_set_size (0 for no validation)")]
    HeldOut(DataError),
    /// An output directory that is a file.
    #[error("output_dir `{dir}` is a file")]
    OutputIsFile {
        /// The file.
        dir: PathBuf,
    },
    /// An output directory with files of a run.
    #[error(
        "output_dir `{dir}` holds {run} (`{file}`); {way_out} in its place by --overwrite_output_dir, or name another \
         directory"
    )]
    OutputHoldsRun {
        /// The directory.
        dir: PathBuf,
        /// The run that it holds.
        run: &'static str,
        /// One of its files.
        file: String,
        /// The first thing to do about it.
        way_out: &'static str,
    },
    /// A directory that no run can start from.
    #[error(
        "resume_from_checkpoint `{from}` is neither a checkpoint (trainer_state.json) nor {kind} ({weights})"
    )]
    NoStart {
        /// The directory.
        from: PathBuf,
        /// What else it could be.
        kind: &'static str,
        /// The file that it would then hold.
        weights: &'static str,
    },
    /// A line of a file of prompts that is no prompt.
    #[error("`{path}`, line {line}: {reason}")]
    PromptLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Fields that are wrong or missing.
        reason: String,
    },
    /// A file of prompts without one.
    #[error("`{path}` has no prompts")]
    NoPrompts {
        /// The file.
        path: PathBuf,
    },
    /// A file of answers to other prompts.
    #[error(
        "line {} of `{path}` is not the answer to prompt {prompt} of this input; choose another --out, or remove it",
        .prompt + 1
    )]
    OtherAnswers {
        /// The file of answers.
        path: PathBuf,
        /// The prompt, counted from 0.
        prompt: usize,
    },
    /// Another process writes the file.
    #[error("`{path}` is being written by another process; wait for its end, or choose another --out")]
    OutputInUse {
        /// The file.
        path: PathBuf,
    },
    /// Allocator statistics or another extension of libtorch failed.
    #[error(transparent)]
    Extension(#[from] ExtError),
    /// Two models of which one should have come of the other have different shapes.
    #[error("`{merged}` is not of the shape of `{base}`")]
    Shapes {
        /// The model that came of the other.
        merged: PathBuf,
        /// The other.
        base: PathBuf,
        /// The first tensor that differs.
        #[source]
        source: Box<NnError>,
    },
    /// Two models between which there is no adapter.
    #[error("no linear layer of `{merged}` differs from `{base}`: there is no adapter between them")]
    NoDifference {
        /// One model.
        merged: String,
        /// The other.
        base: String,
    },
    /// A merge cannot be verified without a tokenizer.
    #[error("verify needs the tokenizer, for its prompts")]
    VerifyNeedsTokenizer(#[source] CheckpointError),
    /// Written files that are not the base with its adapters.
    #[error(
        "the written files are not base and adapter: their distributions differ by {kl:.3e} nats on `{prompt}`, where \
         rounding may explain {limit:.0e}"
    )]
    NotTheMerge {
        /// KL divergence of one prompt, in nats.
        kl: f64,
        /// The prompt.
        prompt: String,
        /// The largest divergence that rounding explains.
        limit: f64,
    },
    /// Two models that read a text as different tokens.
    #[error(
        "`{compared}` reads the text {text:?} as the tokens {actual}, and `{reference}` as {expected}{vocabularies}"
    )]
    OtherTokens {
        /// The model that is right.
        reference: String,
        /// The other.
        compared: String,
        /// The first text that differs.
        text: Box<str>,
        /// The ids that the reference makes of it.
        expected: Box<str>,
        /// The ids that the other makes of it.
        actual: Box<str>,
        /// In what the vocabularies differ, or nothing.
        vocabularies: String,
    },
    /// Written files that end answers otherwise than the base does.
    #[error("the written files end an answer at {actual:?}, the base at {expected:?}")]
    OtherEnds {
        /// The base's end tokens.
        expected: Vec<i64>,
        /// Those of the written files.
        actual: Vec<i64>,
    },
    /// A model cannot be opened or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A run cannot begin or go on.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The difference of two models cannot be decomposed.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Records cannot be read or tokenised.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The tokenizer refuses a text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Generation or a perplexity failed.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The model cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A saved adapter cannot be read, or does not fit the model.
    #[error("cannot load adapter `{dir}`")]
    Adapter {
        /// Directory of the adapter.
        dir: PathBuf,
        /// The reason.
        #[source]
        source: Box<LoraError>,
    },
    /// The adapter cannot be attached or written.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// A layer or libtorch failed.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// Files of weights cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A trained model failed to save or restore itself.
    #[error(transparent)]
    Trainable(#[from] BoxError),
}

impl FinetuneError {
    /// Returns true when the caller asked for something that cannot be: the programs then leave with exit code 2.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::NoDevice { .. }
            | Self::DeviceMap { .. }
            | Self::Setting { .. }
            | Self::Quantization(_)
            | Self::NoThreads
            | Self::NoBase
            | Self::RunFile { .. }
            | Self::TrainedTemplate { .. }
            | Self::OtherAdapter { .. }
            | Self::ForeignRun { .. }
            | Self::ForeignCheckpoint { .. }
            | Self::Adapter { .. }
            | Self::HeldOut(_)
            | Self::OutputIsFile { .. }
            | Self::OutputHoldsRun { .. }
            | Self::NoStart { .. }
            | Self::PromptLine { .. }
            | Self::NoPrompts { .. }
            | Self::OtherAnswers { .. }
            | Self::OutputInUse { .. }
            | Self::UnknownTarget { .. }
            | Self::PatternNeedsModel => true,
            Self::Lora(error) => {
                matches!(error, LoraError::UnknownTarget { .. } | LoraError::Pattern { .. })
            }
            Self::Io { action: "read", source, .. } => {
                matches!(
                    source.kind(),
                    ErrorKind::NotFound | ErrorKind::InvalidData | ErrorKind::IsADirectory
                )
            }
            Self::Checkpoint(error) => error.is_usage(),
            Self::Data(error) => error.is_usage(),
            Self::Train(error) => error.is_usage(),
            Self::Model(error) => matches!(error, ModelError::UnknownPreset { .. }),
            _ => false,
        }
    }
}

impl From<TorchFailure> for FinetuneError {
    fn from(failure: TorchFailure) -> Self {
        Self::Nn(failure.into())
    }
}

/// Names the action and the path of a failure of the system.
pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FinetuneError {
    move |source| FinetuneError::Io { action, path: path.to_owned(), source }
}

/// Creates a directory and those above it.
pub(crate) fn create_dir(dir: &Path) -> Result<(), FinetuneError> {
    std::fs::create_dir_all(dir).map_err(io("create", dir))
}
