//! The command line of `finetune`.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use std::path::PathBuf;

use clap::{ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser};
use toml::Value;

use super::live::WebArgs;
use super::processes::ProcessArgs;
use super::recipe::Recipe;
use super::settings::FinetuneConfig;
use crate::compute::ComputeArgs;
use crate::spelling::parse_bool;

/// Fine-tune a LLaMA checkpoint on Alpaca records: a LoRA adapter that PEFT loads, or the whole model.
///
/// Every flag may be spelled with `_` or `-`. Flags override `--config`, which overrides `--recipe`, which overrides the
/// defaults (those of alpaca-lora's finetune.py).
#[derive(Debug, Parser)]
#[command(name = "finetune", version, max_term_width = 100, rename_all = "snake_case")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct FinetuneArgs {
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
    /// Run file with any of these settings (`name = value`); `run.toml` beside an adapter repeats its run
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub(crate) config: Option<PathBuf>,
    /// Print parameters, and estimated memory, time and disk, for these settings; load no weights, train nothing. Exit code 3
    /// when they do not fit
    #[arg(long, help_heading = "Run")]
    pub(crate) plan: bool,
    /// Print the plan as JSON
    #[arg(long, requires = "plan", help_heading = "Run")]
    pub(crate) json: bool,
    /// Print a run file with these settings, each with its help, and end
    #[arg(long, help_heading = "Run")]
    pub(crate) print_config: bool,
    /// Delete the run that the output directory holds, and start a new one there
    #[arg(long, help_heading = "Run")]
    pub(crate) overwrite_output_dir: bool,
    /// Settings of a paper: qlora (all-linear, r 64, alpha 16, NF4 with double quantisation, learning rate 2e-4 constant,
    /// gradient norm 0.3, group_by_length, paged AdamW)
    #[arg(long, value_name = "NAME", help_heading = "Run")]
    pub(crate) recipe: Option<Recipe>,
    #[command(flatten)]
    pub(crate) web: WebArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    pub(crate) processes: ProcessArgs,
    #[command(flatten)]
    pub(crate) wandb: WandbArgs,
}

/// Flags of alpaca-lora about a service that is not used.
#[derive(Debug, Args)]
#[command(next_help_heading = "Accepted, without effect", rename_all = "snake_case")]
#[expect(clippy::struct_field_names, reason = "the names are alpaca-lora's flags")]
pub(crate) struct WandbArgs {
    /// Accepted for alpaca-lora's sake
    #[arg(long, value_name = "NAME", hide = true)]
    wandb_project: Option<String>,
    /// Accepted for alpaca-lora's sake
    #[arg(long, value_name = "NAME", hide = true)]
    wandb_run_name: Option<String>,
    /// Accepted for alpaca-lora's sake
    #[arg(long, value_name = "WHAT", hide = true)]
    wandb_watch: Option<String>,
    /// Accepted for alpaca-lora's sake
    #[arg(long, value_name = "BOOL", hide = true)]
    wandb_log_model: Option<String>,
}

impl WandbArgs {
    /// Lists the flags with a value.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let flags = [
            ("wandb_project", &self.wandb_project),
            ("wandb_run_name", &self.wandb_run_name),
            ("wandb_watch", &self.wandb_watch),
            ("wandb_log_model", &self.wandb_log_model),
        ];
        let given =
            flags.into_iter().filter(|(_, value)| value.as_ref().is_some_and(|value| !value.is_empty()));
        given.map(|(name, _)| name).collect()
    }
}

/// The settings given on the command line: those fields of [`FinetuneConfig`] and no others.
#[derive(Debug, Clone)]
pub(crate) struct SettingFlags(ArgMatches);

impl SettingFlags {
    /// Overrides the fields of `config` whose flags were given.
    ///
    /// # Errors
    /// Never in practice: the values were parsed with the command line.
    pub(crate) fn apply(&self, config: &mut FinetuneConfig) -> Result<(), clap::Error> {
        config.update_from_arg_matches(&self.0)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(matches.clone()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = matches.clone();
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        // In the form for updates no flag is required.
        let defaults = toml::Table::try_from(FinetuneConfig::default()).unwrap_or_default();
        FinetuneConfig::augment_args_for_update(command).mut_args(|arg| {
            let name = arg.get_id().as_str();
            let heading =
                HEADINGS.iter().find(|(_, names)| names.contains(&name)).map(|(heading, _)| *heading);
            let arg = arg.help_heading(heading.unwrap_or("Training"));
            match defaults.get(arg.get_id().as_str()) {
                Some(default) => completed(arg, default),
                None => arg,
            }
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Headings of the settings in the help; the others are about training.
const HEADINGS: [(&str, &[&str]); 3] = [
    (
        "Model and data",
        &[
            "base_model",
            "data_path",
            "output_dir",
            "cutoff_len",
            "train_on_inputs",
            "add_eos_token",
            "group_by_length",
            "prompt_template_name",
            "skip_bad_records",
            "ignore_columns",
        ],
    ),
    (
        "Adapter",
        &[
            "lora_r",
            "lora_alpha",
            "lora_dropout",
            "lora_target_modules",
            "use_rslora",
            "lora_variant",
            "modules_to_save",
            "resize_vocab",
        ],
    ),
    (
        "Evaluation and checkpoints",
        &[
            "val_set_size",
            "val_data_path",
            "eval_steps",
            "logging_steps",
            "save_steps",
            "save_total_limit",
            "resume_from_checkpoint",
            "load_best_model_at_end",
            "time_phases",
        ],
    ),
];

/// Completes a flag by the default of its field: the help states it, and a switch may stand alone or have a value.
fn completed(arg: clap::Arg, default: &Value) -> clap::Arg {
    let (value_name, shown) = match default {
        Value::Boolean(on) => (Some("BOOL"), on.to_string()),
        Value::Integer(number) => (Some("N"), number.to_string()),
        Value::Float(number) if *number != 0.0 && number.abs() < 1e-3 => (Some("X"), format!("{number:e}")),
        Value::Float(number) => (Some("X"), number.to_string()),
        Value::Array(names) => (None, names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")),
        other => (None, other.as_str().unwrap_or_default().to_owned()),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let mut arg = if help.ends_with(']') { arg } else { arg.help(format!("{help} [default: {shown}]")) };
    if let Some(name) = value_name {
        arg = arg.value_name(name);
    }
    if default.is_bool() {
        arg =
            arg.action(ArgAction::Set).num_args(0..=1).default_missing_value("true").value_parser(parse_bool);
    }
    arg
}
