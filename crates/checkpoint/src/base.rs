//! Opening a base model: a directory in Hugging Face's layout or in Meta's, a GGUF file, or the name of a model on the
//! hub.

use std::path::{Path, PathBuf};
use std::time::Instant;

use llama_model::{Llama, LlamaConfig, TokenIds};
use llama_tokenizer::{LlamaTokenizer, check_special_ids};
use nn_core::Dtype;
use qlora_nf4::{
    QuantError, Quantization, QuantizingSource, StoredSource, is_quantized, read_quantization_config,
};
use tch::{Device, Kind};
use weights::{GgufFile, TensorStore};

use crate::gguf::{GgufCheckpoint, read_tokenizer};
use crate::memory::auto_kind;
use crate::meta::MetaCheckpoint;
use crate::source::BaseWeights;
use crate::tokenizer_files::copy_tokenizer_files;
use crate::{CheckpointError, chat, hub, tokenizer_files};

/// A base model on disk, opened but not loaded.
#[derive(Debug)]
pub struct Base {
    /// Where it lies: its directory, or its file.
    pub dir: PathBuf,
    /// Its shape.
    pub config: LlamaConfig,
    layout: Layout,
}

/// What loading a base took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadTimes {
    /// Seconds without quantising.
    pub load_s: f64,
    /// Seconds of quantising; 0 for a base that is not, or was on the disk.
    pub quantise_s: f64,
}

/// How a base is written.
#[derive(Debug)]
enum Layout {
    HuggingFace,
    Meta(MetaCheckpoint),
    Gguf(GgufCheckpoint),
}

/// The one GGUF file of a directory that has nothing else to say what it is, such as `merge --format gguf` writes.
fn only_gguf(dir: &Path) -> Result<Option<PathBuf>, CheckpointError> {
    if !dir.is_dir() || dir.join("config.json").exists() || MetaCheckpoint::is_one(dir) {
        return Ok(None);
    }
    let entries = dir.read_dir().map_err(|source| CheckpointError::Read { path: dir.to_owned(), source })?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    match files.len() {
        0 | 1 => Ok(files.pop()),
        count => Err(CheckpointError::SeveralGguf { dir: dir.to_owned(), count }),
    }
}

impl Base {
    /// Opens `base_model`: what lies there, or else what the hub has under this name, fetched into its usual cache.
    ///
    /// # Errors
    /// When it is no LLaMA model, or the hub cannot be asked.
    pub fn open(base_model: &str) -> Result<Self, CheckpointError> {
        let name = base_model.trim();
        let path = PathBuf::from(name);
        if path.exists() {
            return Self::open_path(path);
        }
        if hub::is_id(name) {
            return Self::open_path(hub::fetch(name)?);
        }
        Err(CheckpointError::NotFound { base_model: base_model.to_owned() })
    }

    fn open_path(dir: PathBuf) -> Result<Self, CheckpointError> {
        let dir = only_gguf(&dir)?.unwrap_or(dir);
        let (config, layout) = if dir.is_file() {
            if !GgufFile::is_one(&dir) {
                return Err(CheckpointError::NotGguf { path: dir });
            }
            let checkpoint = GgufCheckpoint::open(&dir)?;
            (checkpoint.config().clone(), Layout::Gguf(checkpoint))
        } else if !dir.join("config.json").exists() && MetaCheckpoint::is_one(&dir) {
            let checkpoint = MetaCheckpoint::open(&dir)?;
            (checkpoint.config().clone(), Layout::Meta(checkpoint))
        } else {
            (LlamaConfig::from_dir(&dir)?, Layout::HuggingFace)
        };
        Ok(Self { dir, config, layout })
    }

    /// The tokenizer, after a look at the special tokens that old conversions got wrong.
    ///
    /// # Errors
    /// When the base has none, or one that cannot be read.
    pub fn tokenizer(&self) -> Result<LlamaTokenizer, CheckpointError> {
        let tokenizer = match &self.layout {
            Layout::Gguf(checkpoint) => read_tokenizer(checkpoint.file())?,
            Layout::HuggingFace | Layout::Meta(_) => LlamaTokenizer::from_dir(self.tokenizer_dir())?,
        };
        let (bos, eos) = (self.config.bos_token_id, self.config.eos_ids());
        for problem in check_special_ids(&tokenizer, bos, eos, self.config.pad_token_id) {
            tracing::warn!("{problem}");
        }
        Ok(tokenizer)
    }

    /// The ids that end an answer: the tokenizer's, and the configuration's where they agree with the vocabulary.
    pub fn eos_ids(&self, tokenizer: &LlamaTokenizer) -> Vec<i64> {
        let mut ids = vec![tokenizer.eos_id()];
        // Llama 3's instruct models name several; a decapoda-style `eos_token_id: 1` (which is `<s>`) is not one.
        ids.extend(self.config.eos_ids().iter().copied().filter(|&id| id != tokenizer.bos_id()));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The Jinja text that lays out a chat for this model, if it has one.
    ///
    /// # Errors
    /// When a file that should hold it cannot be read.
    pub fn chat_template(&self) -> Result<Option<String>, CheckpointError> {
        match &self.layout {
            Layout::Gguf(checkpoint) => Ok(chat::in_metadata(checkpoint.file())),
            Layout::HuggingFace | Layout::Meta(_) => chat::in_dir(&self.dir),
        }
    }

    /// The weights, opened but not loaded.
    ///
    /// # Errors
    /// When their headers cannot be read.
    pub fn weights(&self) -> Result<BaseWeights<'_>, CheckpointError> {
        Ok(match &self.layout {
            Layout::HuggingFace => BaseWeights::HuggingFace(TensorStore::open(&self.dir)?),
            Layout::Meta(checkpoint) => BaseWeights::Meta(checkpoint),
            Layout::Gguf(checkpoint) => BaseWeights::Gguf(checkpoint),
        })
    }

    /// The precision in which the weights need not be copied; `None` where they are in blocks of few bits.
    pub fn stored_kind(&self) -> Option<Kind> {
        if let Layout::Gguf(checkpoint) = &self.layout {
            return checkpoint.file().info("blk.0.attn_q.weight").ok()?.ggml_type.kind();
        }
        Some(match self.config.torch_dtype.as_deref() {
            Some("bfloat16") => Kind::BFloat16,
            Some("float16") => Kind::Half,
            _ => Kind::Float,
        })
    }

    /// Loads the weights on `device` in `dtype` (chosen by [`auto_kind`] when it is `auto`). What is already in that
    /// precision on the CPU is mapped, not read.
    ///
    /// # Errors
    /// When the weights cannot be read or do not have the shapes of the configuration.
    pub fn load(&self, device: Device, dtype: Dtype) -> Result<Llama, CheckpointError> {
        self.load_quantized(device, dtype, None)
    }

    /// As [`Base::load`], with the linear layers quantised on the way where `asked` says so; `dtype` is then that of the
    /// rest and of the computation. A base that is quantised already is opened as it is.
    ///
    /// # Errors
    /// As [`Base::load`], and when a base that is quantised already is to be quantised.
    pub fn load_quantized(
        &self,
        device: Device,
        dtype: Dtype,
        asked: Option<Quantization>,
    ) -> Result<Llama, CheckpointError> {
        self.load_timed(device, dtype, asked).map(|(model, _)| model)
    }

    /// As [`Base::load_quantized`], with the time it took.
    ///
    /// # Errors
    /// As [`Base::load_quantized`].
    pub fn load_timed(
        &self,
        device: Device,
        dtype: Dtype,
        asked: Option<Quantization>,
    ) -> Result<(Llama, LoadTimes), CheckpointError> {
        let begun = Instant::now();
        let mut quantise_s = 0.0;
        let weights = self.weights()?;
        let stored = self.stored_quantization()?;
        if let (Some(stored), Some(asked)) = (stored, asked) {
            let (stored, asked) = (stored.describe(), asked.describe());
            return Err(QuantError::AlreadyQuantised { stored, asked }.into());
        }
        let parameters = self.config.num_parameters();
        // As many numbers in float32 as take that memory.
        let quantised = |quantization: Quantization| (quantization.bytes(parameters) / 4.0) as i64;
        let parameters = asked.or(stored).map_or(parameters, quantised);
        let kind = dtype.kind().unwrap_or_else(|| auto_kind(device, parameters));
        let model = match (&weights, stored, asked) {
            (BaseWeights::HuggingFace(store), Some(_), None) => {
                Llama::load(&self.config, &StoredSource::new(store, device, Some(kind)))
            }
            (_, _, Some(asked)) => {
                let source = weights.source(Device::Cpu, None);
                let source = QuantizingSource::new(source, asked, device, kind);
                let model = Llama::load(&self.config, &source);
                quantise_s = source.seconds();
                model
            }
            _ => Llama::load(&self.config, &weights.source(device, Some(kind))),
        };
        let loading = CheckpointError::loading(&self.dir);
        let model = model.map_err(|error| loading(error.into()))?;
        let load_s = begun.elapsed().as_secs_f64() - quantise_s;
        Ok((model, LoadTimes { load_s, quantise_s }))
    }

    /// How the base is quantised, by its `config.json`; the weights are not looked at.
    ///
    /// # Errors
    /// When `config.json` names something else than bitsandbytes.
    pub fn stated_quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        let Layout::HuggingFace = self.layout else { return Ok(None) };
        let path = self.dir.join("config.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| CheckpointError::Read { path: path.clone(), source })?;
        let config = serde_json::from_str(&text).map_err(|source| CheckpointError::Json { path, source })?;
        let loading = CheckpointError::loading(&self.dir);
        read_quantization_config(&config).map_err(|error| loading(error.into()))
    }

    /// How the base is quantised on disk; `None` where it is not, or in blocks of GGUF's.
    ///
    /// # Errors
    /// When `config.json` says something else than bitsandbytes, or than the weights.
    pub fn stored_quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        let Layout::HuggingFace = self.layout else { return Ok(None) };
        match (self.stated_quantization()?, is_quantized(&TensorStore::open(&self.dir)?)) {
            (Some(_), false) => Err(CheckpointError::NotQuantised { config: self.dir.join("config.json") }),
            (None, true) => Err(CheckpointError::QuantisationNotStated { dir: self.dir.clone() }),
            (stated, _) => Ok(stated),
        }
    }

    /// The shape with the special tokens that a file for other programs has to state; Meta's files leave them to the
    /// tokenizer.
    ///
    /// # Errors
    /// As [`Self::tokenizer`].
    pub fn complete_config(&self) -> Result<LlamaConfig, CheckpointError> {
        let mut config = self.config.clone();
        if matches!(self.layout, Layout::Meta(_)) {
            let tokenizer = self.tokenizer()?;
            config.bos_token_id = Some(tokenizer.bos_id());
            config.eos_token_id = Some(TokenIds::One(tokenizer.eos_id()));
        }
        Ok(config)
    }

    /// Puts the tokenizer's files into `target`: copies of them, or what says the same of a GGUF file's.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn copy_tokenizer(&self, target: &Path) -> Result<(), CheckpointError> {
        match &self.layout {
            Layout::Gguf(_) => {
                tokenizer_files::write(&self.tokenizer()?, self.chat_template()?.as_deref(), target)
            }
            Layout::HuggingFace | Layout::Meta(_) => copy_tokenizer_files(self.tokenizer_dir(), target),
        }
    }

    /// The file, where the base is a GGUF file.
    pub fn gguf_file(&self) -> Option<&GgufFile> {
        if let Layout::Gguf(checkpoint) = &self.layout { Some(checkpoint.file()) } else { None }
    }

    /// Where the tokenizer's files lie: with the weights, or above them, as Meta's download has it.
    pub fn tokenizer_dir(&self) -> &Path {
        let has_one =
            |dir: &Path| dir.join("tokenizer.json").exists() || dir.join("tokenizer.model").exists();
        match (&self.layout, self.dir.parent()) {
            (Layout::Meta(_), Some(above)) if !has_one(&self.dir) && has_one(above) => above,
            _ => &self.dir,
        }
    }
}
