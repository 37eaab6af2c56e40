//! From a resolved configuration to a saved adapter.

use std::path::{Path, PathBuf};

use alpaca_data::{BadRecords, EpochOrder, Example, PromptTemplate, Record, load_records, split, tokenize_records};
use anyhow::{Context, Result};
use llama_model::Llama;
use llama_tokenizer::LlamaTokenizer;
use lora::{LoraAdapters, verify_saved};
use tch::{Device, Kind};
use trainer::{Outcome, ProgressReporter, StepPlan, Summary, TrainConfig, Trainable, Trainer, find_last_checkpoint};
use weights::{CheckpointSource, TensorStore};

use super::args::FinetuneArgs;
use super::config::FinetuneConfig;
use super::output::{prepare, write_run_file};
use super::plan::{grouped, plan};
use crate::base::Base;
use crate::data::Examples;
use crate::device::{self, kind_name, parse_kind};
use crate::exit::usage;
use crate::report::{print, stop_on_signals};
use crate::task::{FullTask, LoraTask};

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: FinetuneArgs) -> Result<()> {
    let flags = toml::Table::try_from(&args.settings).context("cannot read the flags")?;
    let config = FinetuneConfig::resolve(flags, args.config.as_deref())?;
    if args.plan {
        print(&plan(&config)?);
        return Ok(());
    }
    let wandb = [&args.wandb_project, &args.wandb_run_name, &args.wandb_watch, &args.wandb_log_model];
    if wandb.iter().any(|flag| flag.as_ref().is_some_and(|value| !value.is_empty())) {
        tracing::info!("wandb is not used: metrics.jsonl and TensorBoard events (runs/) in output_dir hold the curves");
    }
    device::set_threads(config.threads)?;
    let device = device::start(&config.device)?;
    let base = Base::open(&config.base_model)?;
    let tokenizer = base.tokenizer()?;
    let data = Data::load(&config, &tokenizer)?;

    let start = Start::find(&config)?;
    prepare(&config.output_dir, matches!(start, Start::Resume { in_place: true, .. }), args.overwrite_output_dir)?;
    write_run_file(&config.output_dir, &config.to_toml()?)?;
    if config.full { full(&config, &base, device, &start, &data) } else { adapter(&config, &base, device, &start, &data) }
}

/// Where a run begins.
enum Start {
    /// With fresh factors.
    Fresh,
    /// At a checkpoint of this run, which lies in the output directory or elsewhere.
    Resume { checkpoint: PathBuf, in_place: bool },
    /// With the weights of a saved adapter or model, as step 0 of a new run.
    Weights(PathBuf),
}

impl Start {
    fn find(config: &FinetuneConfig) -> Result<Self> {
        let Some(from) = config.resume_from_checkpoint.as_deref().filter(|from| !from.is_empty()) else {
            return Ok(Self::Fresh);
        };
        if from == "latest" {
            return Ok(match find_last_checkpoint(&config.output_dir)? {
                Some(checkpoint) => Self::Resume { checkpoint, in_place: true },
                None => {
                    tracing::info!("no checkpoint in `{}` yet: starting anew", config.output_dir.display());
                    Self::Fresh
                }
            });
        }
        let path = PathBuf::from(from);
        if path.join("trainer_state.json").exists() {
            let here = |path: &Path| std::fs::canonicalize(path).ok();
            let in_place = path.parent().and_then(here) == here(&config.output_dir);
            return Ok(Self::Resume { checkpoint: path, in_place });
        }
        if path.join("adapter_config.json").exists() || path.join("model.safetensors").exists() {
            tracing::info!("`{from}` holds weights without a trainer's state: they are the start of a new run");
            return Ok(Self::Weights(path));
        }
        Err(usage(format!(
            "resume_from_checkpoint `{from}` is neither a checkpoint (trainer_state.json) nor an adapter directory"
        )))
    }

    fn checkpoint(&self) -> Option<&Path> {
        match self {
            Self::Resume { checkpoint, .. } => Some(checkpoint),
            Self::Fresh | Self::Weights(_) => None,
        }
    }
}

/// Tokenised records.
struct Data {
    train: Examples,
    validation: Option<Examples>,
}

impl Data {
    fn load(config: &FinetuneConfig, tokenizer: &LlamaTokenizer) -> Result<Self> {
        let template = PromptTemplate::load(&config.prompt_template_name).map_err(|error| usage(error.to_string()))?;
        let records = read_records(config, &config.data_path, "data_path")?;
        let tokenize = |records: &[Record], what: &str| -> Result<Vec<Example>> {
            let (examples, report) = tokenize_records(records, &template, tokenizer, &config.tokenize())?;
            tracing::info!("{what}: {report}");
            Ok(examples)
        };
        let order = EpochOrder {
            seed: config.seed,
            group_by_length: config.group_by_length,
            batch_size: config.batch_size as usize,
        };
        let examples = |examples: Vec<Example>| Examples { examples, order: order.clone() };
        let (train, validation) = match &config.val_data_path {
            Some(path) => {
                let validation = read_records(config, path, "val_data_path")?;
                (tokenize(&records, "training records")?, Some(tokenize(&validation, "validation records")?))
            }
            None => {
                let parts = split(records.len(), config.val_set_size, config.seed)
                    .map_err(|error| usage(format!("{error}; lower --val_set_size (0 for no validation)")))?;
                let pick = |indices: &[usize]| indices.iter().map(|&i| records[i].clone()).collect::<Vec<_>>();
                let train = tokenize(&pick(&parts.train), "training records")?;
                let validation = (!parts.validation.is_empty())
                    .then(|| tokenize(&pick(&parts.validation), "validation records"))
                    .transpose()?;
                (train, validation)
            }
        };
        Ok(Self { train: examples(train), validation: validation.map(examples) })
    }
}

fn read_records(config: &FinetuneConfig, path: &str, flag: &str) -> Result<Vec<Record>> {
    if !Path::new(path).is_file() {
        return Err(usage(format!(
            "{flag} `{path}` is not a file; it has to be a local JSON or JSONL file of records with instruction, input \
             and output (datasets/README.md says where the well-known ones are)"
        )));
    }
    let bad = if config.skip_bad_records { BadRecords::Skip } else { BadRecords::Refuse };
    let loaded = load_records(Path::new(path), bad)?;
    if !loaded.skipped.is_empty() {
        tracing::warn!("{} bad records of `{path}` were left out, first: {}", loaded.skipped.len(), loaded.skipped[0]);
    }
    Ok(loaded.records)
}

fn adapter(config: &FinetuneConfig, base: &Base, device: Device, start: &Start, data: &Data) -> Result<()> {
    let mut model = base.load(device, parse_kind(&config.dtype)?)?;
    model.set_gradient_checkpointing(config.gradient_checkpointing);
    let adapters = LoraAdapters::attach(&mut model, &config.lora(), config.seed).map_err(|error| match error {
        lora::LoraError::UnknownTarget { .. } | lora::LoraError::Pattern { .. } => usage(error.to_string()),
        other => other.into(),
    })?;
    if let Start::Weights(dir) = start {
        adapters.restore(dir)?;
    }
    describe(config, &model, adapters.num_parameters(), data);
    let task = LoraTask { model, adapters };
    let Some(summary) = train(config, &task, start, data)? else { return Ok(()) };
    let saved = verify_saved(&task.adapters, &config.output_dir)
        .context("the adapter was trained and saved, but reading it back found it wanting")?;
    tracing::info!(
        "read back: {} tensors, {} parameters, no lora_B is zero",
        saved.num_tensors,
        grouped(saved.num_parameters as i64)
    );
    finish(config, &summary);
    Ok(())
}

fn full(config: &FinetuneConfig, base: &Base, device: Device, start: &Start, data: &Data) -> Result<()> {
    if !matches!(parse_kind(&config.dtype)?, None | Some(Kind::Float)) {
        return Err(usage(format!("dtype is `{}`; --full trains in float32", config.dtype)));
    }
    let store = TensorStore::open(&base.dir)?;
    let source = weights::Trainable::new(CheckpointSource::new(&store, device, None), Kind::Float);
    let mut model = Llama::load(&base.config, &source)?;
    model.set_gradient_checkpointing(config.gradient_checkpointing);
    let task = FullTask { model, parameters: source.into_parameters() };
    if let Start::Weights(dir) = start {
        task.restore(dir).map_err(|error| anyhow::anyhow!(error))?;
    }
    describe(config, &task.model, task.parameters.iter().map(|(_, tensor)| tensor.numel()).sum(), data);
    let Some(summary) = train(config, &task, start, data)? else { return Ok(()) };
    base.copy_tokenizer(&config.output_dir)?;
    finish(config, &summary);
    Ok(())
}

/// Says what is about to run.
fn describe(config: &FinetuneConfig, model: &Llama, trainable: usize, data: &Data) {
    let total = model.config().num_parameters();
    tracing::info!(
        "model: {} parameters in {} on {}; {} trainable ({:.4} %)",
        grouped(total),
        kind_name(model.kind()),
        device::name(model.device()),
        grouped(trainable as i64),
        100.0 * trainable as f64 / total as f64
    );
    let train: TrainConfig = config.train();
    let steps = StepPlan::new(&train, data.train.examples.len()).total_steps;
    tracing::info!(
        "run: {steps} steps of {} records ({} x {} accumulated), learning rate {}",
        config.batch_size,
        config.micro_batch_size,
        train.gradient_accumulation_steps,
        config.learning_rate
    );
    if u64::from(config.warmup_steps) >= steps && steps > 0 {
        tracing::warn!(
            "warmup_steps {} is not shorter than the run of {steps} steps: the learning rate never reaches {}",
            config.warmup_steps,
            config.learning_rate
        );
    }
}

/// Runs the loop; `None` when it was stopped, with a checkpoint to go on from.
fn train(config: &FinetuneConfig, task: &dyn Trainable, start: &Start, data: &Data) -> Result<Option<Summary>> {
    let mut reporter = ProgressReporter::new();
    let validation = data.validation.as_ref().map(|examples| examples as &dyn trainer::Dataset);
    let trainer =
        Trainer::new(config.train(), task, &data.train, validation, &config.output_dir, &mut reporter)
            .stop_flag(stop_on_signals()?);
    match trainer.run(start.checkpoint())? {
        Outcome::Finished(summary) => Ok(Some(summary)),
        Outcome::Stopped { step, checkpoint, .. } => {
            match checkpoint {
                Some(path) => tracing::info!(
                    "stopped after step {step}; go on with --resume_from_checkpoint {}",
                    path.display()
                ),
                None => tracing::info!("stopped before the first step was done; nothing was saved"),
            }
            Ok(None)
        }
    }
}

fn finish(config: &FinetuneConfig, summary: &Summary) {
    let loss = summary.final_loss.map_or_else(String::new, |loss| format!(", training loss {loss:.4}"));
    let best = summary.best.map_or_else(String::new, |best| {
        format!(", best validation loss {:.4} at step {}", best.eval_loss, best.step)
    });
    tracing::info!(
        "{} steps, {} tokens in {:.1} s{loss}{best}",
        summary.steps,
        grouped(summary.tokens as i64),
        summary.elapsed_s
    );
    print(&format!("{}\n", config.output_dir.display()));
}
