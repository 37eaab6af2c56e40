//! Failures of opening and of writing a model.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiError;
use llama_model::ModelError;
use llama_tokenizer::TokenizerError;
use lora::LoraError;
use merge::MergeError;
use nn_core::{NnError, SettingError};
use qlora_nf4::QuantError;
use weights::WeightsError;

use crate::hub::RepoKind;

/// A model that cannot be opened, loaded or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Neither a path nor a name of the hub.
    #[error(
        "base_model `{base_model}` is not a directory or a file; it has to be a folder with config.json, the weights \
         and the tokenizer, a folder of Meta's with params.json, a .gguf file, or the name of a model on the hub \
         (`organisation/model`)"
    )]
    NotFound {
        /// The name that was asked for.
        base_model: String,
    },
    /// A file that is no model.
    #[error("base_model `{path}` is a file, but not a GGUF file; expected that or a directory")]
    NotGguf {
        /// The file.
        path: PathBuf,
    },
    /// A directory that holds more than one GGUF file and nothing else.
    #[error("`{dir}` holds {count} GGUF files; base_model has to name one of them")]
    SeveralGguf {
        /// The directory.
        dir: PathBuf,
        /// Number of GGUF files in it.
        count: usize,
    },
    /// A setting of a merge that is impossible, or not for its form.
    #[error("{reason}")]
    Setting {
        /// Name of the setting, its value, and the values it may have.
        reason: String,
    },
    /// An output that is a file.
    #[error("output_dir `{dir}` is a file")]
    OutputIsFile {
        /// The output.
        dir: PathBuf,
    },
    /// An output that holds something.
    #[error(
        "output_dir `{dir}` is not empty; name another directory, or replace it by --overwrite_output_dir"
    )]
    OutputNotEmpty {
        /// The output.
        dir: PathBuf,
    },
    /// An output that would take the base's place.
    #[error("output_dir `{dir}` is base_model")]
    OutputIsBase {
        /// The output.
        dir: PathBuf,
    },
    /// A base that is to be quantised before merging, and is already.
    #[error(
        "the base is quantised already ({stored}); leave out --base_precision {asked}, which it is added to as it is"
    )]
    BaseQuantised {
        /// Its quantisation.
        stored: String,
        /// The quantisation that was asked for.
        asked: String,
    },
    /// An adapter that cannot be merged into this base.
    #[error("adapter `{adapter}` does not fit base `{base_model}`")]
    Adapter {
        /// Its directory.
        adapter: PathBuf,
        /// The base.
        base_model: String,
        /// Cause.
        #[source]
        source: Box<LoraError>,
    },
    /// A tensor that GGUF files have no name for.
    #[error("GGUF files have no name for `{name}`")]
    NoGgufName {
        /// Its name in Hugging Face's files.
        name: String,
    },
    /// A base without a tokenizer that a GGUF file could hold.
    #[error("a GGUF file needs a tokenizer")]
    TokenizerNeeded {
        /// Cause.
        #[source]
        source: Box<CheckpointError>,
    },
    /// A `quantization_config` over plain weights.
    #[error("`{config}` says that the weights are quantised, but they are not")]
    NotQuantised {
        /// The `config.json`.
        config: PathBuf,
    },
    /// Quantised weights without a `quantization_config`.
    #[error("the weights in `{dir}` are quantised, but `config.json` there has no quantization_config")]
    QuantisationNotStated {
        /// The directory.
        dir: PathBuf,
    },
    /// A repository of the hub that cannot be asked for.
    #[error(
        "`{id}` is no local {}, and as {} of the hub it is not in the cache `{cache}` and cannot be fetched: \
         {reason}; give a local {}, or fetch it on a machine with a connection (`{}`) and copy the cache (HF_HOME names \
         another), or name a mirror by HF_ENDPOINT",
        kind.local(),
        kind.with_article(),
        kind.local(),
        kind.download_command(id)
    )]
    NotFetched {
        /// Its kind.
        kind: RepoKind,
        /// Its name.
        id: String,
        /// Directory of the hub's cache.
        cache: PathBuf,
        /// Reason.
        reason: String,
    },
    /// A repository that the hub keeps back.
    #[error(
        "the hub does not give `{id}` (status {status}): it is private or gated, or there is no such {kind}; ask for access \
         on its page and set HF_TOKEN"
    )]
    Gated {
        /// Its kind.
        kind: RepoKind,
        /// Its name.
        id: String,
        /// HTTP status.
        status: u16,
    },
    /// A name that is neither local nor on the hub.
    #[error("there is neither a {} nor {} of the hub called `{id}`", kind.local(), kind.with_article())]
    UnknownModel {
        /// Kind that was asked for.
        kind: RepoKind,
        /// The name.
        id: String,
    },
    /// A repository of the hub that is no adapter.
    #[error(
        "the hub's `{id}` is no adapter: it has no adapter_config.json with adapter_model.safetensors or adapter_model.bin{}",
        if *whole_model { "; it holds a whole model, which base_model takes" } else { "" }
    )]
    NotAnAdapter {
        /// Its name.
        id: String,
        /// It has the configuration of a model.
        whole_model: bool,
    },
    /// Neither an adapter's directory nor a name of the hub.
    #[error(
        "adapter `{adapter}` is not a directory; it has to be a folder with adapter_config.json and the adapter's weights, or \
         the name of an adapter on the hub (`organisation/adapter`)"
    )]
    NoAdapter {
        /// The name that was asked for.
        adapter: String,
    },
    /// Neither a file of records nor a name of the hub.
    #[error(
        "{setting} `{name}` is not a file; it has to be a JSON or JSONL file of records with instruction, input and output, \
         a directory of such files, or the name of a data set on the hub (`organisation/name`)"
    )]
    NoRecords {
        /// The setting.
        setting: &'static str,
        /// Its value.
        name: String,
    },
    /// A data set without JSON.
    #[error(
        "data set `{id}` has no JSON or JSON Lines file of records to train on, but {holds}; convert it, in Python by \
         `datasets.load_dataset(\"{id}\")[\"train\"].to_json(\"records.jsonl\")`, and give that file"
    )]
    NoJson {
        /// Its name or directory.
        id: String,
        /// Files that it has.
        holds: String,
    },
    /// The hub's cache in place of one repository in it.
    #[error("`{dir}` is a cache of the hub, not a repository in it; name one of {holds}")]
    WholeCache {
        /// The directory.
        dir: PathBuf,
        /// Folders of repositories in it.
        holds: String,
    },
    /// A repository in the cache of which no snapshot, or none of several, is the main branch.
    #[error("`{dir}` holds {count} snapshots, and none is that of refs/main; name one of them: {holds}")]
    Snapshots {
        /// The directory of snapshots.
        dir: PathBuf,
        /// Number of snapshots in it.
        count: usize,
        /// Their names.
        holds: String,
    },
    /// A model of the hub that has no configuration or no weights.
    #[error("the hub's `{id}` is no model in Hugging Face's layout: expected {expected}")]
    NotHuggingFace {
        /// The model.
        id: String,
        /// Files that were looked for.
        expected: String,
    },
    /// A model that was replaced while it was fetched, twice.
    #[error("the hub's `{id}` changed while it was fetched; run this again")]
    Changed {
        /// The model.
        id: String,
    },
    /// A client of the hub that cannot be made.
    #[error("cannot prepare to ask the hub")]
    Client(#[source] Box<ApiError>),
    /// A shard index that cannot be read.
    #[error("cannot read the shard index `{path}`")]
    ShardIndex {
        /// The file.
        path: PathBuf,
        /// Cause, where there is one.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A shard index that points out of its directory.
    #[error("cannot read the shard index `{path}`: it names `{name}`, which is no plain file name")]
    ShardName {
        /// The index.
        path: PathBuf,
        /// The name in it.
        name: String,
    },
    /// A GGUF file without a tokenizer.
    #[error("GGUF file `{path}` has no tokenizer: no `tokenizer.ggml.{key}`")]
    NoTokenizer {
        /// The file.
        path: PathBuf,
        /// The missing key.
        key: &'static str,
    },
    /// A GGUF file whose tokenizer has a value of another type.
    #[error("`{path}`: `tokenizer.ggml.{key}` is not of the type it has to be")]
    TokenizerValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// A GGUF file with a tokenizer of another kind.
    #[error("`{path}` has a tokenizer of the model `{model}`; llama and gpt2 are supported")]
    TokenizerModel {
        /// The file.
        path: PathBuf,
        /// Its kind, as llama.cpp names it.
        model: String,
    },
    /// A file that cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: std::io::Error,
    },
    /// A file that is not JSON.
    #[error("cannot read `{path}`")]
    Json {
        /// The file.
        path: PathBuf,
        /// Error of the parser.
        #[source]
        source: serde_json::Error,
    },
    /// A file that cannot be copied.
    #[error("cannot copy `{from}` to `{to}`")]
    Copy {
        /// The file.
        from: PathBuf,
        /// Its copy.
        to: PathBuf,
        /// Error of the system.
        #[source]
        source: std::io::Error,
    },
    /// Weights that cannot be loaded.
    #[error("cannot load `{dir}`")]
    Load {
        /// Path of the base.
        dir: PathBuf,
        /// Cause.
        #[source]
        source: Box<CheckpointError>,
    },
    /// A `params.json` that is not Meta's.
    #[error("`{path}` is not Meta's params.json of a LLaMA model")]
    Params {
        /// The file.
        path: PathBuf,
        /// Error of the parser.
        #[source]
        source: serde_json::Error,
    },
    /// A shard between others, or the only one, is not there.
    #[error("`{path}` is missing; the directory should hold {count} of such files")]
    ShardMissing {
        /// The file.
        path: PathBuf,
        /// Number of files there should be.
        count: usize,
    },
    /// A file states something this model cannot have.
    #[error("`{path}`: `{field}` is {actual}, but {expected}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The field's name.
        field: String,
        /// Its value.
        actual: String,
        /// Value it has to have.
        expected: String,
    },
    /// Something that a format has no place for.
    #[error("`{field}` is {actual}, but {expected}")]
    Unwritable {
        /// The field or tensor.
        field: String,
        /// Its value.
        actual: String,
        /// Why that cannot be written.
        expected: String,
    },
    /// A configuration with a key that is unknown or not supported.
    #[error(transparent)]
    Key(#[from] SettingError),
    /// A model that cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tokenizer that cannot be read.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Weights that cannot be quantised, or are in another way than they state.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A file that cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// An adapter that cannot be read.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// A merge that cannot be done, or whose proof does not hold.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A layer or tensor that cannot be made.
    #[error(transparent)]
    Nn(#[from] NnError),
}

impl CheckpointError {
    /// Tells whether the user asked for something that cannot be, rather than the machine or a file failing.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::NotGguf { .. }
                | Self::SeveralGguf { .. }
                | Self::NotQuantised { .. }
                | Self::QuantisationNotStated { .. }
                | Self::NotFetched { .. }
                | Self::Gated { .. }
                | Self::UnknownModel { .. }
                | Self::NotHuggingFace { .. }
                | Self::NotAnAdapter { .. }
                | Self::NoAdapter { .. }
                | Self::NoRecords { .. }
                | Self::NoJson { .. }
                | Self::WholeCache { .. }
                | Self::Snapshots { .. }
                | Self::Setting { .. }
                | Self::OutputIsFile { .. }
                | Self::OutputNotEmpty { .. }
                | Self::OutputIsBase { .. }
                | Self::BaseQuantised { .. }
                | Self::Quant(QuantError::AlreadyQuantised { .. })
        )
    }

    /// Names the file that a wrong field comes from, where that is not `config.json`.
    pub(crate) fn in_file(path: &Path) -> impl Fn(ModelError) -> Self {
        |error| match error {
            ModelError::Config { field, actual, expected } => {
                Self::Metadata { path: path.to_owned(), field, actual, expected }
            }
            other => other.into(),
        }
    }

    /// Names the base that could not be loaded.
    pub(crate) fn loading(dir: &Path) -> impl Fn(Self) -> Self {
        |source| Self::Load { dir: dir.to_owned(), source: Box::new(source) }
    }
}
