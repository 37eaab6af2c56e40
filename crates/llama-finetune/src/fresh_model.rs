//! New models: a published shape, the vocabulary of a tokenizer, random weights.

use std::path::Path;

use llama_model::{LlamaConfig, RandomSource, TokenIds, preset};
use llama_tokenizer::LlamaTokenizer;
use nn_core::LinearSource;
use tch::{Device, Kind};
use weights::{AtomicDir, SafetensorsWriter, TensorSpec, atomic_write, pt_metadata};

use crate::full_model::{MODEL_WEIGHTS, config_json};
use crate::{FinetuneError, FullModel};

/// Returns the shape called `name`, with the vocabulary and special tokens of `tokenizer` where there is one.
///
/// # Errors
/// [`FinetuneError::Model`] for a name that is no preset.
pub fn fresh_config(name: &str, tokenizer: Option<&LlamaTokenizer>) -> Result<LlamaConfig, FinetuneError> {
    let mut config = preset(name)?;
    if let Some(tokenizer) = tokenizer {
        // Matrix products like a round number of rows.
        config.vocab_size = (tokenizer.vocab_size() as i64 + 63) / 64 * 64;
        config.bos_token_id = Some(tokenizer.bos_id());
        config.eos_token_id = Some(TokenIds::One(tokenizer.eos_id()));
        config.pad_token_id = Some(tokenizer.pad_id());
    }
    Ok(config)
}

/// Writes a model of random weights in `kind` to the directory `output_dir`, tensor by tensor: a 7B model needs the memory
/// of its largest matrix.
///
/// # Errors
/// [`FinetuneError::Weights`] when the disk refuses.
pub fn write_random_model(
    config: &LlamaConfig,
    seed: u64,
    kind: Kind,
    output_dir: &Path,
) -> Result<(), FinetuneError> {
    let source = RandomSource { seed, std: config.initializer_range, device: Device::Cpu, kind };
    let dir = AtomicDir::create(output_dir)?;
    let specs =
        config.tensor_shapes().into_iter().map(|(name, shape)| TensorSpec { name, kind, shape }).collect();
    SafetensorsWriter::new(&dir.path().join(MODEL_WEIGHTS), specs, &pt_metadata())?
        .write(|spec| Ok::<_, FinetuneError>(source.tensor(&spec.name, &spec.shape)?))?;
    let text = config_json(config, kind);
    atomic_write(&dir.path().join("config.json"), |file| file.write_all(text.as_bytes()))?;
    Ok(dir.commit()?)
}

impl FullModel {
    /// Builds a model of random weights, drawn with `seed`.
    ///
    /// # Errors
    /// [`FinetuneError::Model`] when the shape does not fit itself.
    pub fn random(config: &LlamaConfig, seed: u64, device: Device) -> Result<Self, FinetuneError> {
        let std = config.initializer_range;
        Self::load(config, RandomSource { seed, std, device, kind: Kind::Float })
    }
}
