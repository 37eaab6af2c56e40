//! What a fine-tuning run is: one flat table, the same in flags and in `run.toml`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use alpaca_data::TokenizeConfig;
use anyhow::{Context, Result};
use lora::{LoraConfig, TargetModules, VariantName};
use nn_core::Dtype;
use qlora_nf4::Quantization;
use serde::{Deserialize, Serialize};
use tch::Kind;
use trainer::{LrScheduler, OptimizerKind, TrainConfig};

use crate::exit::usage;
use crate::flags::parse_quantization;

/// A run, fully decided. Names and defaults of the first group are those of `finetune.py` in tloen/alpaca-lora; the second
/// group it fixes in code; the third is this program's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of alpaca-lora or PEFT")]
pub struct FinetuneConfig {
    /// Directory of the base model.
    pub base_model: String,
    /// File of Alpaca records.
    pub data_path: String,
    /// Where the adapter goes.
    pub output_dir: PathBuf,
    /// Records of one optimiser step.
    pub batch_size: u32,
    /// Records of one forward pass.
    pub micro_batch_size: u32,
    /// Times every record is seen.
    pub num_epochs: NonZeroU32,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Tokens a record is cut to.
    pub cutoff_len: usize,
    /// Records set aside for validation.
    pub val_set_size: usize,
    /// Rank.
    pub lora_r: i64,
    /// Numerator of the scale `alpha / r`.
    pub lora_alpha: f64,
    /// Dropout of the adapter's input.
    pub lora_dropout: f64,
    /// Which linear layers are adapted.
    pub lora_target_modules: TargetModules,
    /// Whether the prompt's tokens count in the loss.
    pub train_on_inputs: bool,
    /// Kept for alpaca-lora's sake: an end token is always appended to a record that was not cut.
    pub add_eos_token: bool,
    /// Whether records of similar length share a batch.
    pub group_by_length: bool,
    /// Checkpoint to go on from: a directory, or `latest` for the last one in `output_dir`, if there is one.
    #[serde(skip_serializing)]
    pub resume_from_checkpoint: Option<String>,
    /// Template by name or file.
    pub prompt_template_name: String,

    /// Steps over which the learning rate rises.
    pub warmup_steps: u32,
    /// Steps between two lines of metrics.
    pub logging_steps: NonZeroU32,
    /// Steps between two evaluations.
    pub eval_steps: NonZeroU32,
    /// Steps between two checkpoints.
    pub save_steps: NonZeroU32,
    /// Checkpoints kept.
    pub save_total_limit: Option<NonZeroU32>,

    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Precision of the base: `auto`, `float32`, `bfloat16` or `float16`.
    pub dtype: String,
    /// How the base's linear layers are quantised: `nf4`, `fp4`, `int8` or `none`.
    pub quantize: String,
    /// Quantise the scales of 4-bit blocks too.
    pub double_quant: bool,
    /// The optimiser.
    pub optim: OptimizerKind,
    /// Threads; all cores when absent.
    pub threads: Option<usize>,
    /// Seed of everything random.
    pub seed: u64,
    /// Steps of the whole run, instead of epochs.
    pub max_steps: Option<NonZeroU32>,
    /// Shape of the learning rate over the run.
    pub lr_scheduler: LrScheduler,
    /// Weight decay.
    pub weight_decay: f64,
    /// First beta of the optimiser.
    pub adam_beta1: Option<f64>,
    /// Second beta of the optimiser.
    pub adam_beta2: Option<f64>,
    /// Norm the gradient is clipped to; 0 for none.
    pub max_grad_norm: f64,
    /// Scale `alpha / sqrt(r)`.
    pub use_rslora: bool,
    /// Variant of LoRA.
    pub lora_variant: VariantName,
    /// Keep only each layer's input for the backward pass.
    pub gradient_checkpointing: bool,
    /// File of validation records, instead of `val_set_size`.
    pub val_data_path: Option<String>,
    /// End with the parameters of the lowest validation loss.
    pub load_best_model_at_end: bool,
    /// Tell the phases of a step apart on a GPU too.
    pub time_phases: bool,
    /// Leave bad records out instead of stopping.
    pub skip_bad_records: bool,
    /// Train every parameter instead of an adapter.
    pub full: bool,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        let train = TrainConfig::default();
        let count = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self {
            base_model: String::new(),
            data_path: "yahma/alpaca-cleaned".to_owned(),
            output_dir: "./lora-alpaca".into(),
            batch_size: 128,
            micro_batch_size: 4,
            num_epochs: count(train.num_epochs),
            learning_rate: 3e-4,
            cutoff_len: 256,
            val_set_size: 2000,
            lora_r: 8,
            lora_alpha: 16.0,
            lora_dropout: 0.05,
            lora_target_modules: TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]),
            train_on_inputs: true,
            add_eos_token: false,
            group_by_length: false,
            resume_from_checkpoint: None,
            prompt_template_name: "alpaca".to_owned(),
            warmup_steps: train.warmup_steps,
            logging_steps: count(train.logging_steps),
            eval_steps: count(train.eval_steps),
            save_steps: count(train.save_steps),
            save_total_limit: train.save_total_limit.map(count),
            device: "auto".to_owned(),
            dtype: "auto".to_owned(),
            quantize: "none".to_owned(),
            double_quant: false,
            optim: train.optimizer,
            threads: None,
            seed: train.seed,
            max_steps: None,
            lr_scheduler: train.lr_scheduler,
            weight_decay: train.weight_decay,
            adam_beta1: train.adam_beta1,
            adam_beta2: train.adam_beta2,
            max_grad_norm: train.max_grad_norm,
            use_rslora: false,
            lora_variant: VariantName::default(),
            gradient_checkpointing: false,
            val_data_path: None,
            load_best_model_at_end: train.load_best_model_at_end,
            time_phases: train.time_phases,
            skip_bad_records: false,
            full: false,
        }
    }
}

impl FinetuneConfig {
    /// Puts flags over the run file over the defaults. `flags` holds the flags that were given, under the names of the
    /// fields.
    ///
    /// # Errors
    /// When the run file cannot be read or names an unknown field, or a value is out of range.
    pub fn resolve(flags: toml::Table, file: Option<&Path>) -> Result<Self> {
        Self::resolve_over(toml::Table::new(), flags, file)
    }

    /// As [`FinetuneConfig::resolve`], with a recipe's settings between the run file and the defaults.
    ///
    /// # Errors
    /// As [`FinetuneConfig::resolve`].
    pub fn resolve_over(mut recipe: toml::Table, flags: toml::Table, file: Option<&Path>) -> Result<Self> {
        let table = match file {
            None => toml::Table::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| usage(format!("cannot read config `{}`: {error}", path.display())))?;
                text.parse().map_err(|error: toml::de::Error| {
                    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                    let line = before.matches('\n').count() + 1;
                    usage(format!("config `{}`, line {line}: {}", path.display(), error.message()))
                })?
            }
        };
        recipe.extend(table);
        recipe.extend(flags);
        let mut config: Self = recipe.try_into().map_err(|error: toml::de::Error| {
            // The name of the field is in the last line.
            let text = error.to_string();
            usage(format!("wrong setting: {}", text.trim().lines().collect::<Vec<_>>().join(" ")))
        })?;
        // Decided here, so that `run.toml` says what was used.
        let (beta1, beta2) = config.optim.default_betas();
        config.adam_beta1.get_or_insert(beta1);
        config.adam_beta2.get_or_insert(beta2);
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<()> {
        let refuse = |text: String| Err(usage(text));
        if self.base_model.trim().is_empty() {
            return refuse("--base_model is missing: the directory of the base model".to_owned());
        }
        if self.micro_batch_size == 0 || self.batch_size == 0 {
            return refuse(format!(
                "batch_size is {} and micro_batch_size is {}; both have to be at least 1",
                self.batch_size, self.micro_batch_size
            ));
        }
        if !self.batch_size.is_multiple_of(self.micro_batch_size) {
            return refuse(format!(
                "batch_size {} is not divisible by micro_batch_size {}; gradients are accumulated over whole \
                 micro-batches",
                self.batch_size, self.micro_batch_size
            ));
        }
        if self.cutoff_len < 2 {
            return refuse(format!(
                "cutoff_len is {}; it has to be at least 2, one token to read and one to predict",
                self.cutoff_len
            ));
        }
        if self.quantization()?.is_some() && self.full {
            return refuse(format!(
                "quantize is `{}`; --full trains the weights, which have to be whole",
                self.quantize
            ));
        }
        let kind = self.dtype.parse::<Dtype>()?.kind();
        if self.full && !matches!(kind, None | Some(Kind::Float)) {
            return refuse(format!("dtype is `{}`; --full trains in float32", self.dtype));
        }
        self.lora().validate().map_err(|error| usage(error.to_string()))?;
        self.train().validate().map_err(|error| usage(error.to_string()))
    }

    /// How the base is quantised.
    ///
    /// # Errors
    /// For a name that is none.
    pub fn quantization(&self) -> Result<Option<Quantization>> {
        parse_quantization(&self.quantize, self.double_quant)
    }

    /// The trainer's share.
    pub fn train(&self) -> TrainConfig {
        TrainConfig {
            micro_batch_size: self.micro_batch_size,
            gradient_accumulation_steps: self.batch_size / self.micro_batch_size.max(1),
            num_epochs: self.num_epochs.get(),
            max_steps: self.max_steps.map(NonZeroU32::get),
            learning_rate: self.learning_rate,
            lr_scheduler: self.lr_scheduler,
            warmup_steps: self.warmup_steps,
            weight_decay: self.weight_decay,
            adam_beta1: self.adam_beta1,
            adam_beta2: self.adam_beta2,
            optimizer: self.optim,
            max_grad_norm: self.max_grad_norm,
            logging_steps: self.logging_steps.get(),
            eval_steps: self.eval_steps.get(),
            save_steps: self.save_steps.get(),
            save_total_limit: self.save_total_limit.map(NonZeroU32::get),
            seed: self.seed,
            load_best_model_at_end: self.load_best_model_at_end,
            time_phases: self.time_phases,
            ..TrainConfig::default()
        }
    }

    /// The adapter's share.
    pub fn lora(&self) -> LoraConfig {
        LoraConfig {
            base_model_name_or_path: Some(self.base_model.trim().to_owned()),
            r: self.lora_r,
            lora_alpha: self.lora_alpha,
            lora_dropout: self.lora_dropout,
            target_modules: Some(self.lora_target_modules.clone()),
            use_rslora: self.use_rslora,
            variant: self.lora_variant.clone(),
            ..LoraConfig::default()
        }
    }

    /// The tokenising share.
    pub fn tokenize(&self) -> TokenizeConfig {
        TokenizeConfig {
            cutoff_len: self.cutoff_len,
            train_on_inputs: self.train_on_inputs,
            add_eos_token: self.add_eos_token,
        }
    }

    /// The text of a `run.toml` that repeats this run.
    ///
    /// # Errors
    /// Never in practice: every field is a number, a flag or a string.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).context("cannot write the configuration as TOML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn flags_beat_the_file_and_the_file_beats_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run.toml");
        std::fs::write(&file, "base_model = 'a'\nlora_r = 4\ncutoff_len = 64\n").unwrap();
        let config = FinetuneConfig::resolve(flags("lora_r = 2"), Some(&file)).unwrap();
        assert_eq!((config.lora_r, config.cutoff_len, config.batch_size), (2, 64, 128));
    }

    #[test]
    fn a_written_run_file_repeats_the_run() {
        let config = FinetuneConfig::resolve(
            flags("base_model = 'a'\nlora_target_modules = 'all-linear'\nmax_steps = 3\nlr_scheduler = 'cosine'"),
            None,
        )
        .unwrap();
        let again = FinetuneConfig::resolve(flags(&config.to_toml().unwrap()), None).unwrap();
        assert_eq!(config, again);
    }

    #[test]
    fn the_labs_own_line_is_accepted() {
        let line = "base_model = 'a'\nbatch_size = 2\nmicro_batch_size = 1\nval_set_size = 2";
        let config = FinetuneConfig::resolve(flags(line), None).unwrap();
        assert_eq!(config.train().gradient_accumulation_steps, 2);
    }

    #[test]
    fn a_wrong_setting_is_refused_by_name() {
        for (setting, named) in [
            ("cutoff_len = 0", "cutoff_len is 0"),
            ("batch_size = 10", "batch_size 10"),
            ("micro_batch_size = 0", "micro_batch_size is 0"),
            ("lora_r = 0", "`r` is 0"),
            ("lora_rank = 3", "lora_rank"),
            ("num_epochs = 0", "num_epochs"),
            ("learning_rate = -1.0", "learning_rate"),
            ("lora_variant = 'ia3'", "`ia3` is set"),
        ] {
            let table = flags(&format!("base_model = 'a'\n{setting}"));
            let error = FinetuneConfig::resolve(table, None).unwrap_err().to_string();
            assert!(error.contains(named), "{setting}: {error}");
        }
    }
}
