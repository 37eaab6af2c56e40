//! The settings of a fine-tuning run: one flat table, the same in flags and in `run.toml`.

#![expect(clippy::doc_markdown, reason = "the comments on fields are the help text")]

use std::num::NonZeroU32;
use std::path::PathBuf;

use alpaca_data::{BadRecords, IgnoredColumns, ReadConfig, TokenizeConfig};
use anyhow::{Context, Result};
use clap::{ArgAction, Args, Command};
use llama_finetune::{DataConfig, DeviceChoice, DeviceMapChoice, QuantizationChoice, Validation};
use lora::{LoraConfig, TargetModules, VariantName};
use nn_core::Dtype;
use qlora_nf4::Quantization;
use serde::{Deserialize, Serialize};
use trainer::{LrScheduler, OptimizerKind, TrainConfig};

use crate::exit::usage;
use crate::ranges::check_table;
use crate::spelling::{NameList, parse_bool, parse_names, parse_optimizer, parse_variant};

/// A run, fully decided. Names and defaults of the first group are those of `finetune.py` in tloen/alpaca-lora; the second
/// group it fixes in code; the third is this program's own. Each field is a flag, a key of `run.toml` and a default.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(rename_all = "snake_case")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of alpaca-lora or PEFT")]
pub struct FinetuneConfig {
    /// Base model: a directory in Hugging Face's layout or Meta's, a GGUF file, or a name on the hub [required]
    #[allow(rustdoc::broken_intra_doc_links, reason = "no link, but what clap shows")]
    #[arg(long, value_name = "MODEL")]
    pub base_model: String,
    /// Alpaca records, plain texts or conversations: a JSON or JSONL file, a directory of such files, or a data set on the hub
    #[arg(long, value_name = "FILE")]
    pub data_path: String,
    /// Directory of the results: the adapter, metrics and checkpoints
    #[arg(long, value_name = "DIR")]
    pub output_dir: PathBuf,
    /// Records of one optimiser step
    #[arg(long)]
    pub batch_size: u32,
    /// Records of one forward pass; has to divide batch_size (the rest is gradient accumulation)
    #[arg(long)]
    pub micro_batch_size: u32,
    /// Passes over the training records
    #[arg(long)]
    pub num_epochs: NonZeroU32,
    /// Peak learning rate
    #[arg(long)]
    pub learning_rate: f64,
    /// Tokens a record is truncated to
    #[arg(long)]
    pub cutoff_len: usize,
    /// Records held out for validation, 0 for none
    #[arg(long)]
    pub val_set_size: usize,
    /// Rank r of the adapter
    #[arg(long)]
    pub lora_r: i64,
    /// Scaling of the adapter: it is multiplied by alpha / r
    #[arg(long)]
    pub lora_alpha: f64,
    /// Dropout on the adapter's input
    #[arg(long)]
    pub lora_dropout: f64,
    /// Linear layers to adapt: names, `[q_proj,v_proj]`, a regular expression, or all-linear
    #[arg(long, value_name = "NAMES")]
    pub lora_target_modules: TargetModules,
    /// Compute the loss on the prompt's tokens too
    #[arg(long)]
    pub train_on_inputs: bool,
    /// Accepted as alpaca-lora has it; an end token is always learnt unless the record was cut
    #[arg(long)]
    pub add_eos_token: bool,
    /// Batch records of similar length together
    #[arg(long)]
    pub group_by_length: bool,
    /// Resume from a checkpoint directory, or from `latest` or `True`, the last one in output_dir; or start from the weights of
    /// an adapter
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing)]
    pub resume_from_checkpoint: Option<String>,
    /// Prompt template: alpaca, alpaca_legacy, alpaca_short, vigogne, or a JSON file
    #[arg(long, value_name = "NAME")]
    pub prompt_template_name: String,

    /// Steps over which the learning rate rises from 0 (linear warm-up)
    #[arg(long)]
    pub warmup_steps: u32,
    /// Steps between two lines of metrics
    #[arg(long)]
    pub logging_steps: NonZeroU32,
    /// Steps between two evaluations of the validation loss
    #[arg(long)]
    pub eval_steps: NonZeroU32,
    /// Steps between two checkpoints
    #[arg(long)]
    pub save_steps: NonZeroU32,
    /// Checkpoints to keep; older ones are deleted
    #[arg(long)]
    pub save_total_limit: Option<NonZeroU32>,

    /// Device of the run
    #[arg(skip)]
    pub device: DeviceChoice,
    /// Device map: auto shares the layers out over all GPUs, none does not
    #[arg(skip)]
    pub device_map: DeviceMapChoice,
    /// Precision of the base and of the computation
    #[arg(skip)]
    pub dtype: Dtype,
    /// Quantisation of the base's linear layers
    #[arg(skip)]
    pub quantize: QuantizationChoice,
    /// Double quantisation
    #[arg(skip)]
    pub double_quant: bool,
    /// Optimiser
    #[arg(long, value_name = "NAME", value_parser = parse_optimizer())]
    pub optim: OptimizerKind,
    /// CPU threads; all cores when absent
    #[arg(skip)]
    pub threads: Option<usize>,
    /// Seed of the split, the order of the records, the fresh adapter and dropout
    #[arg(long)]
    pub seed: u64,
    /// Optimiser steps of the whole run, instead of num_epochs
    #[arg(long, value_name = "N")]
    pub max_steps: Option<NonZeroU32>,
    /// Learning-rate schedule after warm-up: linear, cosine, constant or constant_with_warmup
    #[arg(long, value_name = "NAME")]
    pub lr_scheduler: LrScheduler,
    /// Decoupled weight decay
    #[arg(long)]
    pub weight_decay: f64,
    /// beta1 of the optimiser, the decay of the first moment [default: its own, 0.9 for AdamW]
    #[arg(long, value_name = "X")]
    pub adam_beta1: Option<f64>,
    /// beta2 of the optimiser, the decay of the second moment [default: its own, 0.999 for AdamW]
    #[arg(long, value_name = "X")]
    pub adam_beta2: Option<f64>,
    /// Gradient clipping: the largest global norm of the gradient, 0 for none
    #[arg(long)]
    pub max_grad_norm: f64,
    /// Rank-stabilised LoRA: scale the adapter by alpha / sqrt(r)
    #[arg(long)]
    pub use_rslora: bool,
    /// Variant of LoRA [default: lora]
    #[arg(long, value_name = "NAME", value_parser = parse_variant())]
    #[serde(skip_serializing_if = "is_default")]
    pub lora_variant: VariantName,
    /// Modules of which the adapter trains and saves a whole copy, as PEFT does: lm_head, embed_tokens, norm, or the end of any
    /// other path [default: none]
    #[arg(long, value_name = "NAMES", value_parser = parse_names)]
    #[serde(skip_serializing_if = "is_default")]
    pub modules_to_save: NameList,
    /// Give the tokens of the tokenizer that the base has no rows for rows of their own, the mean of the others, and train
    /// embedding and head as modules to save [default: false]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    #[serde(skip_serializing_if = "is_default")]
    pub resize_vocab: bool,
    /// Activation checkpointing: keep only each layer's input and recompute the rest in the backward pass; less memory,
    /// a third more time
    #[arg(long)]
    pub gradient_checkpointing: bool,
    /// Validation records, named as data_path, instead of val_set_size
    #[arg(long, value_name = "FILE")]
    pub val_data_path: Option<String>,
    /// End with the parameters of the lowest validation loss
    #[arg(long)]
    pub load_best_model_at_end: bool,
    /// Wait for the GPU after every pass, so that the seconds of each phase in summary.json are exact
    #[arg(long)]
    pub time_phases: bool,
    /// Skip bad records and count them, instead of stopping at the first
    #[arg(long)]
    pub skip_bad_records: bool,
    /// Go on where records fill columns that have no place in the prompt, such as system and history: without those of these
    /// names, or without all [default: false]
    #[arg(long, value_name = "NAMES", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "is_default")]
    pub ignore_columns: IgnoredColumns,
    /// Full fine-tuning: train every weight and write a whole model instead of an adapter
    #[arg(long)]
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
            batch_size: train.micro_batch_size * train.gradient_accumulation_steps,
            micro_batch_size: train.micro_batch_size,
            num_epochs: count(train.num_epochs),
            learning_rate: train.learning_rate,
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
            device: DeviceChoice::Auto,
            device_map: DeviceMapChoice::None,
            dtype: Dtype::Auto,
            quantize: QuantizationChoice::default(),
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
            modules_to_save: NameList::default(),
            resize_vocab: false,
            gradient_checkpointing: false,
            val_data_path: None,
            load_best_model_at_end: train.load_best_model_at_end,
            time_phases: train.time_phases,
            skip_bad_records: false,
            ignore_columns: IgnoredColumns::None,
            full: false,
        }
    }
}

/// Checks for a value that an older `run.toml` leaves out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl FinetuneConfig {
    /// Checks every value, and those that have to fit together.
    ///
    /// # Errors
    /// A sentence about the first that is wrong.
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |text: String| Err(usage(text));
        check_table(&toml::Table::try_from(self).context("cannot look at the settings")?)?;
        if self.base_model.trim().is_empty() {
            return refuse("--base_model is missing: the directory of the base model".to_owned());
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
        if self.full && (self.resize_vocab || !self.modules_to_save.0.is_empty()) {
            return refuse(
                "modules_to_save and resize_vocab are for adapters; --full trains every weight".to_owned(),
            );
        }
        if self.full && !matches!(self.dtype, Dtype::Auto | Dtype::Float32) {
            return refuse(format!("dtype is `{}`; --full trains in float32", self.dtype));
        }
        self.lora().validate().map_err(|error| usage(error.to_string()))?;
        self.train().validate().map_err(|error| usage(error.to_string()))
    }

    /// Returns the quantisation of the base.
    ///
    /// # Errors
    /// When double quantisation does not go with the scheme.
    pub(crate) fn quantization(&self) -> Result<Option<Quantization>> {
        Ok(self.quantize.with_double_quant(self.double_quant)?)
    }

    /// Returns the trainer's settings.
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

    /// Returns the adapter's settings.
    pub(crate) fn lora(&self) -> LoraConfig {
        LoraConfig {
            base_model_name_or_path: Some(self.base_model.trim().to_owned()),
            r: self.lora_r,
            lora_alpha: self.lora_alpha,
            lora_dropout: self.lora_dropout,
            target_modules: Some(self.lora_target_modules.clone()),
            use_rslora: self.use_rslora,
            variant: self.lora_variant.clone(),
            modules_to_save: (!self.modules_to_save.0.is_empty()).then(|| self.modules_to_save.0.clone()),
            ..LoraConfig::default()
        }
    }

    /// Returns the files of records, and the way they become datasets.
    pub(crate) fn data(&self) -> DataConfig<'_> {
        let validation = self.val_data_path.as_deref().map(Validation::File);
        DataConfig {
            data_path: &self.data_path,
            validation: validation.unwrap_or(Validation::HeldOut(self.val_set_size)),
            seed: self.seed,
            read: ReadConfig {
                bad: if self.skip_bad_records { BadRecords::Skip } else { BadRecords::Refuse },
                ignored: self.ignore_columns.clone(),
            },
            tokenize: TokenizeConfig {
                cutoff_len: self.cutoff_len,
                train_on_inputs: self.train_on_inputs,
                add_eos_token: self.add_eos_token,
            },
            group_by_length: self.group_by_length.then_some(self.batch_size as usize),
        }
    }

    /// Returns the flags of the fields that are flags of `finetune` alone.
    pub(crate) fn augmented() -> Command {
        Self::augment_args(Command::new("settings"))
    }

    /// Returns the text of a `run.toml` that repeats this run.
    ///
    /// # Errors
    /// Never in practice: every field is a number, a flag or a string.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self).context("cannot write the configuration as TOML")
    }
}
