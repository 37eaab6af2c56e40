//! A base model: opened and loaded.

use std::path::PathBuf;
use std::time::Instant;

use llama_model::{Llama, LlamaConfig};
use llama_tokenizer::{LlamaTokenizer, check_special_ids};
use nn_core::{Dtype, LinearSource, NnError, UnknownSettings};
use qlora_nf4::{QuantError, Quantization, QuantizingSource};
use tch::{Device, Kind};

use crate::chat_tokens::tokens_in_dir;
use crate::device_map::{DeviceMap, MappedSource};
use crate::format::Format;
use crate::formats::{FORMATS, HuggingFace};
use crate::generation_config::eos_ids;
use crate::memory::{auto_kind, why_bf16};
use crate::model_files::ModelFiles;
use crate::{CheckpointError, hub};

/// Base model on disk, opened but not loaded.
#[derive(Debug)]
pub struct Base {
    /// The name it was opened by.
    pub name: String,
    /// Path of its directory or file.
    pub dir: PathBuf,
    /// Its shape.
    pub config: LlamaConfig,
    /// Directory of the tokenizer's files.
    pub(crate) tokenizer_dir: PathBuf,
    pub(crate) files: Box<dyn ModelFiles>,
}

/// Time that loading a base took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadTimes {
    /// Seconds without quantising.
    pub load_s: f64,
    /// Seconds of quantising; 0 for a base that is not, or was on the disk.
    pub quantise_s: f64,
}

impl Base {
    /// Opens the model at the path `base_model`, or else the hub's model of this name, fetched into its usual cache. Settings
    /// that nobody here knows are refused.
    ///
    /// # Errors
    /// When it is no LLaMA model, or the hub cannot be asked.
    pub fn open(base_model: &str) -> Result<Self, CheckpointError> {
        Self::open_at(base_model, None, UnknownSettings::Refuse)
    }

    /// Opens a model as [`Base::open`] does; `unknown` says what becomes of settings of its configuration that nobody here knows.
    ///
    /// # Errors
    /// Those of [`Base::open`].
    pub fn open_with(base_model: &str, unknown: UnknownSettings) -> Result<Self, CheckpointError> {
        Self::open_at(base_model, None, unknown)
    }

    /// Opens a model as [`Base::open_with`] does; one of the hub at `revision`, a branch, a tag or a commit, instead of its main
    /// branch.
    ///
    /// # Errors
    /// Those of [`Base::open`].
    pub fn open_at(
        base_model: &str,
        revision: Option<&str>,
        unknown: UnknownSettings,
    ) -> Result<Self, CheckpointError> {
        let name = base_model.trim();
        let path = PathBuf::from(name);
        let path = if path.is_dir() && !path.join("config.json").exists() {
            hub::snapshot_in(&path)?
        } else if path.exists() {
            path
        } else if hub::is_id(name) {
            hub::fetch_model(name, revision)?
        } else {
            return Err(CheckpointError::NotFound { base_model: base_model.to_owned() });
        };
        let (dir, files) = open_path(path, unknown)?;
        let tokenizer_dir = dir.clone();
        Ok(Self { name: base_model.to_owned(), dir, config: files.config().clone(), tokenizer_dir, files })
    }

    /// Returns the commit of the hub that the files are of, where they lie in its cache.
    pub fn revision(&self) -> Option<String> {
        hub::commit_of(&self.dir)
    }

    /// Returns the opened files.
    pub fn files(&self) -> &dyn ModelFiles {
        &*self.files
    }

    /// Reads the tokenizer, and warns of special tokens that old conversions got wrong and of files that contradict each
    /// other.
    ///
    /// # Errors
    /// When the base has none, or one that cannot be read.
    pub fn tokenizer(&self) -> Result<LlamaTokenizer, CheckpointError> {
        let tokenizer = self.files.tokenizer()?;
        let (bos, eos) = (self.config.bos_token_id, self.config.eos_ids());
        for problem in check_special_ids(&tokenizer, bos, eos, self.config.pad_token_id) {
            tracing::warn!("{problem}");
        }
        for note in tokenizer.notes() {
            tracing::warn!("{note}");
        }
        if tokenizer.adds_eos() {
            tracing::warn!(
                "the tokenizer ends every text (add_eos_token); prompts are not ended here, examples to learn from are"
            );
        }
        Ok(tokenizer)
    }

    /// Returns the ids that end an answer: the tokenizer's, and all that `config.json` and `generation_config.json` name.
    pub fn eos_ids(&self, tokenizer: &LlamaTokenizer) -> Vec<i64> {
        eos_ids(&*self.files, tokenizer)
    }

    /// Reads the Jinja text that lays out a chat for this model, if it has one.
    ///
    /// # Errors
    /// When a file that should hold it cannot be read.
    pub fn chat_template(&self) -> Result<Option<String>, CheckpointError> {
        self.files.chat_template()
    }

    /// Returns the special tokens that a chat template sees, by the names of its variables: `bos_token`, `unk_token`,
    /// `additional_special_tokens` and others. A token that a file says there is none of is null.
    pub fn chat_tokens(&self, tokenizer: &LlamaTokenizer) -> serde_json::Map<String, serde_json::Value> {
        let ids = [
            ("bos_token", Some(tokenizer.bos_id())),
            ("eos_token", Some(tokenizer.eos_id())),
            ("unk_token", tokenizer.unk_id()),
        ];
        let known =
            ids.into_iter().filter_map(|(name, id)| Some((name.to_owned(), tokenizer.token(id?)?.into())));
        known.chain(tokens_in_dir(&self.tokenizer_dir)).collect()
    }

    /// Opens a source of its layers on a device, or on several as a [`DeviceMap`] says, in `kind`; `None` keeps the stored one.
    /// Quantised layers stay so as layers, and come dequantised as tensors.
    ///
    /// # Errors
    /// Those of [`Base::check_weights`].
    pub fn source(
        &self,
        devices: impl Into<DeviceMap>,
        kind: Option<Kind>,
    ) -> Result<Box<dyn LinearSource + '_>, CheckpointError> {
        self.check_weights()?;
        let source = MappedSource::new(&devices.into(), |device| self.files.source(device, kind))?;
        Ok(Box::new(source))
    }

    /// Holds the configuration against the names and shapes of the weights, before anything is read or built of them.
    ///
    /// # Errors
    /// When the headers of the weights cannot be read; for the first tensor that is missing, or has another shape than the
    /// configuration gives it.
    pub fn check_weights(&self) -> Result<(), CheckpointError> {
        let loading = CheckpointError::loading(&self.dir);
        for (name, expected) in self.config.tensor_shapes() {
            let Some(actual) = self.files.tensor_shape(&name).map_err(&loading)? else { continue };
            if actual != expected {
                return Err(loading(NnError::Shape { name, actual, expected }.into()));
            }
        }
        Ok(())
    }

    /// Tells the user of weights that the model does not read.
    fn note_unread(&self) -> Result<(), CheckpointError> {
        let unread = self.files.unread_tensors()?;
        // Frequencies that old files hold, which follow from the configuration; a head that is the embedding.
        let is_known = |name: &&String| name.ends_with("rotary_emb.inv_freq") || *name == "lm_head.weight";
        let mut strange = unread.iter().filter(|name| !is_known(name));
        if let Some(first) = strange.next() {
            let (dir, count) = (self.dir.display(), 1 + strange.count());
            tracing::warn!(
                "`{dir}`: {count} tensors are not read, since config.json asks for none of them: `{first}` is the first"
            );
        }
        Ok(())
    }

    /// Loads the weights on a device, or on several as a [`DeviceMap`] says, in `dtype` (chosen by [`auto_kind`] when it is
    /// `auto`). What is already in that precision on the CPU is mapped, not read.
    ///
    /// # Errors
    /// When the weights cannot be read or do not have the shapes of the configuration.
    pub fn load(&self, devices: impl Into<DeviceMap>, dtype: Dtype) -> Result<Llama, CheckpointError> {
        self.load_quantized(devices, dtype, None)
    }

    /// Loads the weights as [`Base::load`] does, with the linear layers quantised on the way where `asked` says so;
    /// `dtype` is then that of the rest and of the computation. A base that is quantised already is opened as it is.
    ///
    /// # Errors
    /// Those of [`Base::load`], and when a base that is quantised already is to be quantised.
    pub fn load_quantized(
        &self,
        devices: impl Into<DeviceMap>,
        dtype: Dtype,
        asked: Option<Quantization>,
    ) -> Result<Llama, CheckpointError> {
        self.load_timed(&devices.into(), dtype, asked).map(|(model, _)| model)
    }

    /// Loads the weights as [`Base::load_quantized`] does, and returns the time it took too.
    ///
    /// # Errors
    /// Those of [`Base::load_quantized`].
    pub fn load_timed(
        &self,
        devices: &DeviceMap,
        dtype: Dtype,
        asked: Option<Quantization>,
    ) -> Result<(Llama, LoadTimes), CheckpointError> {
        let begun = Instant::now();
        let mut quantise_s = 0.0;
        self.check_weights()?;
        self.note_unread()?;
        let stored = self.stored_quantization()?;
        if let (Some(stored), Some(asked)) = (stored, asked) {
            let (stored, asked) = (stored.describe(), asked.describe());
            return Err(QuantError::AlreadyQuantised { stored, asked }.into());
        }
        let kind = self.kind(devices.first(), dtype, asked.or(stored));
        if dtype == Dtype::Auto && devices.first() == Device::Cpu && kind == Kind::BFloat16 {
            tracing::info!("computing in bfloat16, {} (--dtype float32 for the other)", why_bf16());
        }
        let model = if let Some(asked) = asked {
            let source = MappedSource::new(devices, |device| {
                let source = self.files.source(Device::Cpu, None)?;
                Ok::<_, CheckpointError>(QuantizingSource::new(source, asked, device, kind))
            })?;
            let model = Llama::load(&self.config, &source);
            quantise_s = source.sources().map(QuantizingSource::seconds).sum();
            model
        } else {
            let source = MappedSource::new(devices, |device| self.files.source(device, Some(kind)))?;
            Llama::load(&self.config, &source)
        };
        let loading = CheckpointError::loading(&self.dir);
        let model = model.map_err(|error| loading(error.into()))?;
        let load_s = begun.elapsed().as_secs_f64() - quantise_s;
        Ok((model, LoadTimes { load_s, quantise_s }))
    }

    /// Returns the precision that `dtype` stands for on `device`, where the linear layers are in `quantization`.
    pub fn kind(&self, device: Device, dtype: Dtype, quantization: Option<Quantization>) -> Kind {
        let parameters = self.config.num_parameters();
        // As many numbers in float32 as take that memory.
        let quantised = |quantization: Quantization| (quantization.bytes(parameters) / 4.0) as i64;
        let parameters = quantization.map_or(parameters, quantised);
        dtype.kind().unwrap_or_else(|| auto_kind(device, parameters))
    }

    /// Reads from the configuration alone how the base is quantised.
    ///
    /// # Errors
    /// When that is not as bitsandbytes has it.
    pub fn stated_quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        self.files.stated_quantization()
    }

    /// Finds out how the base is quantised on disk; `None` where it is not, or in blocks of GGUF's.
    ///
    /// # Errors
    /// When the configuration says something else than bitsandbytes, or than the weights.
    pub fn stored_quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        self.files.quantization()
    }
}

/// Opens a path in the first form that recognises it.
fn open_path(
    path: PathBuf,
    unknown: UnknownSettings,
) -> Result<(PathBuf, Box<dyn ModelFiles>), CheckpointError> {
    for format in FORMATS {
        if let Some(found) = format.detect(&path)? {
            let files = format.open(&found, unknown)?;
            return Ok((found, files));
        }
    }
    if path.is_file() {
        return Err(CheckpointError::NotGguf { path });
    }
    if !path.is_dir() {
        return Err(CheckpointError::NotFound { base_model: path.display().to_string() });
    }
    // Says what is missing.
    let files = HuggingFace.open(&path, unknown)?;
    Ok((path, files))
}
