//! The command line of `finetune`.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Parser;
use lora::{TargetModules, VariantName};
use serde::Serialize;
use trainer::{LrScheduler, OptimizerKind};

use super::recipe::Recipe;
use crate::flags::{optimizer_parser, parse_bool, parse_targets, parse_variant};

/// Fine-tune a LLaMA checkpoint on Alpaca records: a LoRA adapter that PEFT loads, or the whole model.
///
/// Every flag may be spelled with `_` or `-`. Flags beat `--config`, which beats the defaults (those of alpaca-lora's
/// finetune.py).
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "flags")]
#[command(name = "finetune", version, max_term_width = 100)]
pub struct FinetuneArgs {
    /// The settings of the run.
    #[command(flatten)]
    pub settings: Settings,
    /// Run file with any of these settings (`name = value`); `run.toml` beside an adapter repeats its run
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print parameters and memory for the given flags and device, load nothing, train nothing
    #[arg(long)]
    pub plan: bool,
    /// Start anew in an output directory that holds another run, deleting that run's files
    #[arg(long = "overwrite_output_dir")]
    pub overwrite_output_dir: bool,
    /// Settings of a paper, which flags and run file beat: qlora (all-linear, r 64, alpha 16, NF4 with double
    /// quantisation, learning rate 2e-4 constant, gradient norm 0.3, group_by_length, paged AdamW)
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<Recipe>,
    /// The same as --quantize nf4
    #[arg(long = "load_in_4bit", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool)]
    pub load_in_4bit: bool,
    /// The same as --quantize int8
    #[arg(long = "load_in_8bit", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool)]
    pub load_in_8bit: bool,
    /// Accepted for alpaca-lora's sake
    #[arg(long = "wandb_project", value_name = "NAME", hide = true)]
    pub wandb_project: Option<String>,
    /// Accepted for alpaca-lora's sake
    #[arg(long = "wandb_run_name", value_name = "NAME", hide = true)]
    pub wandb_run_name: Option<String>,
    /// Accepted for alpaca-lora's sake
    #[arg(long = "wandb_watch", value_name = "WHAT", hide = true)]
    pub wandb_watch: Option<String>,
    /// Accepted for alpaca-lora's sake
    #[arg(long = "wandb_log_model", value_name = "BOOL", hide = true)]
    pub wandb_log_model: Option<String>,
}

/// The settings, each absent unless it was given; named as in `run.toml`.
#[derive(Debug, Parser, Serialize)]
pub struct Settings {
    /// Directory of the base model (Hugging Face layout) [required]
    #[arg(long = "base_model", value_name = "DIR")]
    base_model: Option<String>,
    /// JSON or JSONL file of records with instruction, input and output [required]
    #[arg(long = "data_path", value_name = "FILE")]
    data_path: Option<String>,
    /// Where the adapter goes [default: ./lora-alpaca]
    #[arg(long = "output_dir", value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Records of one optimiser step [default: 128]
    #[arg(long = "batch_size", value_name = "N")]
    batch_size: Option<u32>,
    /// Records of one forward pass; has to divide batch_size [default: 4]
    #[arg(long = "micro_batch_size", value_name = "N")]
    micro_batch_size: Option<u32>,
    /// Times every record is seen [default: 3]
    #[arg(long = "num_epochs", value_name = "N")]
    num_epochs: Option<NonZeroU32>,
    /// Peak learning rate [default: 3e-4]
    #[arg(long = "learning_rate", value_name = "X")]
    learning_rate: Option<f64>,
    /// Tokens a record is cut to [default: 256]
    #[arg(long = "cutoff_len", value_name = "N")]
    cutoff_len: Option<usize>,
    /// Records set aside for validation, 0 for none [default: 2000]
    #[arg(long = "val_set_size", value_name = "N")]
    val_set_size: Option<usize>,
    /// Rank of the adapter [default: 8]
    #[arg(long = "lora_r", value_name = "N")]
    lora_r: Option<i64>,
    /// The adapter is scaled by alpha / r [default: 16]
    #[arg(long = "lora_alpha", value_name = "X")]
    lora_alpha: Option<f64>,
    /// Dropout of the adapter's input [default: 0.05]
    #[arg(long = "lora_dropout", value_name = "X")]
    lora_dropout: Option<f64>,
    /// Layers that are adapted: names, `[q_proj,v_proj]`, a regular expression, or all-linear [default: q_proj,v_proj]
    #[arg(long = "lora_target_modules", value_name = "NAMES", value_parser = parse_targets)]
    lora_target_modules: Option<TargetModules>,
    /// Whether the prompt's tokens count in the loss [default: true]
    #[arg(long = "train_on_inputs", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    train_on_inputs: Option<bool>,
    /// Accepted as alpaca-lora has it; an end token is always learnt unless the record was cut [default: false]
    #[arg(long = "add_eos_token", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    add_eos_token: Option<bool>,
    /// Put records of similar length into one batch [default: false]
    #[arg(long = "group_by_length", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    group_by_length: Option<bool>,
    /// Checkpoint directory to go on from, or `latest` for the last one in output_dir
    #[arg(long = "resume_from_checkpoint", value_name = "DIR")]
    resume_from_checkpoint: Option<String>,
    /// Prompt template: alpaca, alpaca_legacy, alpaca_short, or a JSON file [default: alpaca]
    #[arg(long = "prompt_template_name", value_name = "NAME")]
    prompt_template_name: Option<String>,

    /// Steps over which the learning rate rises [default: 100]
    #[arg(long = "warmup_steps", value_name = "N")]
    warmup_steps: Option<u32>,
    /// Steps between two lines of metrics [default: 10]
    #[arg(long = "logging_steps", value_name = "N")]
    logging_steps: Option<NonZeroU32>,
    /// Steps between two evaluations [default: 200]
    #[arg(long = "eval_steps", value_name = "N")]
    eval_steps: Option<NonZeroU32>,
    /// Steps between two checkpoints [default: 200]
    #[arg(long = "save_steps", value_name = "N")]
    save_steps: Option<NonZeroU32>,
    /// Checkpoints kept [default: 3]
    #[arg(long = "save_total_limit", value_name = "N")]
    save_total_limit: Option<NonZeroU32>,

    /// auto, cpu, cuda or cuda:N [default: auto]
    #[arg(long)]
    device: Option<String>,
    /// Precision of the base, and of the computation with a quantised one: auto, float32, bfloat16, float16 [default:
    /// auto]
    #[arg(long, visible_alias = "compute_dtype")]
    dtype: Option<String>,
    /// Quantise the base's linear layers while loading: nf4, fp4, int8 or none [default: none]
    #[arg(long, value_name = "NAME")]
    quantize: Option<String>,
    /// Quantise the scales of nf4 and fp4 too [default: false]
    #[arg(long = "double_quant", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    double_quant: Option<bool>,
    /// Optimiser [default: adamw]
    #[arg(long, value_name = "NAME", value_parser = optimizer_parser())]
    optim: Option<OptimizerKind>,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Seed of everything random [default: 42]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Optimiser steps of the whole run, instead of num_epochs
    #[arg(long = "max_steps", value_name = "N")]
    max_steps: Option<NonZeroU32>,
    /// linear, cosine, constant or constant_with_warmup [default: linear]
    #[arg(long = "lr_scheduler", value_name = "NAME")]
    lr_scheduler: Option<LrScheduler>,
    /// Weight decay of the optimiser [default: 0]
    #[arg(long = "weight_decay", value_name = "X")]
    weight_decay: Option<f64>,
    /// First beta of the optimiser [default: its own, 0.9 for AdamW]
    #[arg(long = "adam_beta1", value_name = "X")]
    adam_beta1: Option<f64>,
    /// Second beta of the optimiser [default: its own, 0.999 for AdamW]
    #[arg(long = "adam_beta2", value_name = "X")]
    adam_beta2: Option<f64>,
    /// Norm the gradient is clipped to, 0 for none [default: 1]
    #[arg(long = "max_grad_norm", value_name = "X")]
    max_grad_norm: Option<f64>,
    /// Scale the adapter by alpha / sqrt(r) [default: false]
    #[arg(long = "use_rslora", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    use_rslora: Option<bool>,
    /// Variant of LoRA [default: lora]
    #[arg(long = "lora_variant", value_name = "NAME", value_parser = parse_variant())]
    lora_variant: Option<VariantName>,
    /// Keep only each layer's input and compute the rest again: less memory, a third more time [default: false]
    #[arg(long = "gradient_checkpointing", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    gradient_checkpointing: Option<bool>,
    /// File of validation records, instead of val_set_size
    #[arg(long = "val_data_path", value_name = "FILE")]
    val_data_path: Option<String>,
    /// End with the parameters of the lowest validation loss [default: true]
    #[arg(long = "load_best_model_at_end", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    load_best_model_at_end: Option<bool>,
    /// Wait for a GPU after every pass, so that the seconds of each phase in summary.json are exact [default: false]
    #[arg(long = "time_phases", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    time_phases: Option<bool>,
    /// Leave bad records out, with a count, instead of stopping [default: false]
    #[arg(long = "skip_bad_records", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    skip_bad_records: Option<bool>,
    /// Train every parameter and write a whole model instead of an adapter [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool)]
    full: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::FinetuneConfig;
    use clap::CommandFactory;

    #[test]
    fn every_setting_of_a_run_has_its_flag() {
        let config = FinetuneConfig {
            base_model: "a".to_owned(),
            resume_from_checkpoint: Some("b".to_owned()),
            threads: Some(1),
            max_steps: NonZeroU32::new(1),
            val_data_path: Some("c".to_owned()),
            ..FinetuneConfig::default()
        };
        let mut fields: Vec<String> =
            toml::Table::try_from(&config).unwrap().into_iter().map(|(name, _)| name).collect();
        fields.push("resume_from_checkpoint".to_owned()); // where a run went on from is not part of what it is
        let command = Settings::command();
        let mut flags: Vec<String> =
            command.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned).collect();
        flags.retain(|flag| flag != "help");
        fields.sort();
        flags.sort();
        assert_eq!(fields, flags);
    }

    #[test]
    fn a_switch_may_stand_alone_or_carry_pythons_spelling() {
        let parse = |args: &[&str]| {
            let args = FinetuneArgs::try_parse_from([&["finetune"], args].concat()).unwrap();
            args.settings.train_on_inputs
        };
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&["--train_on_inputs"]), Some(true));
        assert_eq!(parse(&["--train_on_inputs", "False"]), Some(false));
        assert_eq!(parse(&["--train_on_inputs=False", "--lora_r", "4"]), Some(false));
    }
}
