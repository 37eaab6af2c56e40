//! A merge, decided: every tensor of the output, its shape and precision.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use llama_model::LlamaConfig;
use lora::Adapter;
use merge::{Deltas, TensorPlan, WeightedAdapter};
use tch::Kind;

use crate::CheckpointError;
use crate::base::Base;
use crate::config::{AdapterDir, MergeConfig};
use crate::linears::{linear_weights, linears};
use crate::merged_model::{MergedModel, Precision, chain};

/// Merge that is decided, and about to be carried out.
#[derive(Debug)]
pub struct MergePlan<'a> {
    base: &'a Base,
    settings: MergeConfig,
    output_dir: PathBuf,
    model: MergedModel<'a>,
    added_tokens: i64,
    left_out: Vec<String>,
}

/// Embedding and head.
const OF_VOCABULARY: [&str; 2] = ["model.embed_tokens.weight", "lm_head.weight"];

impl<'a> MergePlan<'a> {
    /// Reads the adapters and decides every tensor; writes nothing.
    pub(crate) fn new(
        base: &'a Base,
        adapters: &[AdapterDir],
        settings: MergeConfig,
        output_dir: &Path,
    ) -> Result<Self, CheckpointError> {
        settings.validate()?;
        settings.check_output(output_dir)?;
        if std::fs::canonicalize(&base.dir).ok() == std::fs::canonicalize(output_dir).ok() {
            return Err(CheckpointError::OutputIsBase { dir: output_dir.to_owned() });
        }
        base.check_weights()?;
        let stored = base.stored_quantization()?;
        if let (Some(stored), Some(asked)) = (stored, settings.base_quantization) {
            let (stored, asked) = (stored.describe(), asked.describe());
            return Err(CheckpointError::BaseQuantised { stored, asked });
        }
        let deltas = read_deltas(base, adapters, &settings)?;
        let mut config = base.files().complete_config()?;
        let added_tokens = tokens_without_rows(base, config.vocab_size);
        let uniform = base.files().stored_kind().unwrap_or(Kind::Half);
        let quantised = if stored.is_some() { linear_weights(&config) } else { BTreeSet::new() };
        let shapes = config.tensor_shapes();
        let mut tensors = Vec::with_capacity(shapes.len());
        for (name, shape) in shapes {
            let stored = if quantised.contains(&name) { None } else { base.files().tensor_kind(&name)? };
            let kind = match settings.precision {
                Precision::AsBase => stored.unwrap_or(uniform),
                Precision::Of(kind) => kind,
                Precision::Q8_0 => Kind::Float,
            };
            let added_rows = if OF_VOCABULARY.contains(&name.as_str()) { added_tokens } else { 0 };
            tensors.push(TensorPlan { name, shape, added_rows, kind });
        }
        config.vocab_size += added_tokens;
        let left_out = base.files().unread_tensors()?;
        let stem = base.dir.file_stem();
        let mut model = MergedModel {
            base: base.files(),
            name: stem.map_or_else(|| "merged".to_owned(), |name| name.to_string_lossy().into_owned()),
            settings: settings.write_settings(),
            deltas,
            config,
            tensors,
        };
        model.config.torch_dtype = Some(model.dtype().to_owned());
        Ok(Self { base, settings, output_dir: output_dir.to_owned(), model, added_tokens, left_out })
    }

    /// Returns the base.
    pub fn base(&self) -> &'a Base {
        self.base
    }

    /// Returns the settings of the merge.
    pub fn settings(&self) -> &MergeConfig {
        &self.settings
    }

    /// Returns the directory that is to be written.
    pub fn output_dir(&self) -> &Path {
        &self.output_dir
    }

    /// Returns everything that the adapters add.
    pub fn deltas(&self) -> &Deltas {
        &self.model.deltas
    }

    /// Returns the shape of the merged model.
    pub fn config(&self) -> &LlamaConfig {
        &self.model.config
    }

    /// Counts the tokens that the tokenizer has and the base's embedding has not; they get rows.
    pub fn added_tokens(&self) -> i64 {
        self.added_tokens
    }

    /// Names the tensors of the base that the model does not read.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Returns the precision of the linear layers.
    pub fn kind(&self) -> Kind {
        self.model.kind()
    }

    /// Returns PyTorch's name of that precision.
    pub fn dtype(&self) -> &'static str {
        self.model.dtype()
    }

    /// Returns the model that is to be written.
    pub(crate) fn model(&self) -> &MergedModel<'a> {
        &self.model
    }
}

/// Counts the tokens of the tokenizer that an embedding of `vocab_size` rows has no row for.
fn tokens_without_rows(base: &Base, vocab_size: i64) -> i64 {
    match base.tokenizer() {
        Ok(tokenizer) => (tokenizer.vocab_size() as i64 - vocab_size).max(0),
        Err(missing) => {
            tracing::warn!("the base has no tokenizer: {}", chain(&missing));
            0
        }
    }
}

/// Reads the adapters for a base and combines them.
fn read_deltas(
    base: &Base,
    adapters: &[AdapterDir],
    settings: &MergeConfig,
) -> Result<Deltas, CheckpointError> {
    let linears = linears(&base.config);
    let mut weighted = Vec::with_capacity(adapters.len());
    for adapter in adapters {
        let read = Adapter::read(&adapter.dir).and_then(|adapter| adapter.trained_layers(&linears));
        let layers = read.map_err(|source| CheckpointError::Adapter {
            adapter: adapter.dir.clone(),
            base_model: base.name.clone(),
            source: Box::new(source),
        })?;
        weighted.push(WeightedAdapter { layers, weight: adapter.weight });
    }
    Ok(Deltas::new(weighted, settings.combination, settings.scale)?)
}
