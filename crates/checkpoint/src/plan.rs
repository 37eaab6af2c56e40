//! A merge, decided: every tensor of the output, its shape and precision.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use llama_model::LlamaConfig;
use lora::{Adapter, ModelShape};
use merge::{Deltas, TensorPlan, WeightedAdapter};
use nn_core::LinearSource;
use tch::{Device, Kind, Tensor};
use weights::GgufSplit;

use crate::CheckpointError;
use crate::base::Base;
use crate::config::{AdapterDir, MergeConfig};
use crate::head_of_embedding::HeadOfEmbedding;
use crate::linears::{EMBEDDING, HEAD, linear_weights, model_shape};
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
        let mut config = base.files().complete_config()?;
        let deltas = read_deltas(base, adapters, &settings, &mut config)?;
        let added_tokens = tokens_without_rows(base, config.vocab_size)?;
        let uniform = base.files().stored_kind().unwrap_or(Kind::Half);
        let quantised = if stored.is_some() { linear_weights(&config) } else { BTreeSet::new() };
        let shapes = config.tensor_shapes();
        let mut tensors = Vec::with_capacity(shapes.len());
        for (name, shape) in shapes {
            // The head of a tied base is its embedding.
            let tied_head = base.config.tie_word_embeddings && name == format!("{HEAD}.weight");
            let in_base = if tied_head { format!("{EMBEDDING}.weight") } else { name.clone() };
            let stored = if quantised.contains(&name) { None } else { base.files().tensor_kind(&in_base)? };
            let kind = match settings.precision {
                Precision::AsBase => stored.unwrap_or(uniform),
                Precision::Of(kind) => kind,
                Precision::Q8_0 => Kind::Float,
            };
            let of_vocabulary = [EMBEDDING, HEAD].iter().any(|path| name == format!("{path}.weight"));
            let added_rows = if of_vocabulary { added_tokens } else { 0 };
            tensors.push(TensorPlan { name, shape, added_rows, kind });
        }
        config.vocab_size += added_tokens;
        let left_out = base.files().unread_tensors()?;
        let split = GgufSplit::of(&base.dir).map(|split| split.name().to_owned());
        let stem = base.dir.file_stem().map(|name| name.to_string_lossy().into_owned());
        let mut model = MergedModel {
            base: base.files(),
            name: split.or(stem).unwrap_or_else(|| "merged".to_owned()),
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

    /// Returns the deltas of all adapters.
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
///
/// # Errors
/// When there is a tokenizer, and it is damaged; a base without one is no reason to stop.
fn tokens_without_rows(base: &Base, vocab_size: i64) -> Result<i64, CheckpointError> {
    match base.tokenizer() {
        Ok(tokenizer) => Ok((tokenizer.vocab_size() as i64 - vocab_size).max(0)),
        Err(CheckpointError::Tokenizer(error)) if error.is_damage() => Err(error.into()),
        Err(missing) => {
            tracing::warn!("the base has no tokenizer: {}", chain(&missing));
            Ok(0)
        }
    }
}

/// Reads the adapters for a base and combines them. Where they make another vocabulary, or a head of its own, `config` says so.
fn read_deltas(
    base: &Base,
    adapters: &[AdapterDir],
    settings: &MergeConfig,
    config: &mut LlamaConfig,
) -> Result<Deltas, CheckpointError> {
    let is_quantized = settings.base_quantization.is_some() || base.stored_quantization()?.is_some();
    let shape = ModelShape { is_quantized, ..model_shape(&base.config) };
    let mut weighted = Vec::with_capacity(adapters.len());
    for adapter in adapters {
        let of_adapter = |source| CheckpointError::Adapter {
            adapter: adapter.dir.clone(),
            base_model: base.name.clone(),
            source: Box::new(source),
        };
        let read = Adapter::read_with(&adapter.dir, settings.unknown_settings);
        let parts = read.and_then(|adapter| adapter.trained_parts(&shape)).map_err(of_adapter)?;
        let source = HeadOfEmbedding::over(base.files(), Device::Cpu, None)?;
        let on_base = parts
            .on_base(|layer| Ok(source.tensor(&format!("{}.weight", layer.path), &layer.weight_shape())?));
        let mut parts = on_base.map_err(of_adapter)?;
        if let Some((embedding, head)) = &shape.tied
            && parts.unties(embedding, head)
        {
            config.tie_word_embeddings = false;
        }
        // PEFT writes embeddings and heads beside the factors for them: mostly the base's own.
        parts.replaced.retain(|it| {
            let same = |own: Tensor| own.kind() == it.values.kind() && own == it.values;
            it.rows.is_some() || !source.tensor(&it.name, &it.values.size()).is_ok_and(same)
        });
        let embedding = parts.replaced.iter().find(|it| it.name == format!("{EMBEDDING}.weight"));
        let whole = embedding.filter(|it| it.rows.is_none());
        if let Some(rows) = whole.and_then(|it| it.values.size().first().copied()) {
            config.vocab_size = rows;
        }
        weighted.push(WeightedAdapter { parts, weight: adapter.weight });
    }
    Ok(Deltas::new(weighted, settings.combination, settings.scale)?)
}
