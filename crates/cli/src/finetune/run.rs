//! From a resolved configuration to a saved adapter.

use std::time::Instant;

use anyhow::{Context, Result};
use llama_finetune::{FinetuneError, FullModel, LoraModel, base_bytes};
use llama_model::Llama;
use lora::verify_saved;
use qlora_nf4::Quantization;
use tch::{Device, Kind};
use trainer::{Outcome, ProgressReporter, Summary, TrainConfig, Trainable, Trainer};

use super::args::FinetuneArgs;
use super::config::FinetuneConfig;
use super::output::{self, Claim, write_run_file};
use super::plan::{grouped, plan};
use super::recipe::Recipe;
use super::records::Data;
use super::start::Start;
use super::summary;
use crate::device::{self, kind_name};
use crate::exit::usage;
use crate::flags::load_in_bits;
use crate::report::{print, stop_on_signals};
use checkpoint::{Base, LoadTimes};

/// Runs the program. What is wrong with flags, files or data shows before anything is written.
///
/// # Errors
/// With what the user can do about it.
#[expect(clippy::needless_pass_by_value, reason = "the arguments end with the program")]
pub fn run(args: FinetuneArgs) -> Result<()> {
    let mut flags = toml::Table::try_from(&args.settings).context("cannot read the flags")?;
    if let Some(asked) = load_in_bits(args.load_in_4bit, args.load_in_8bit)? {
        let name = if asked == Quantization::Eight { "int8" } else { "nf4" };
        flags.entry("quantize").or_insert_with(|| name.into());
    }
    let recipe = args.recipe.map(Recipe::settings).unwrap_or_default();
    let config = FinetuneConfig::resolve_over(recipe, flags, args.config.as_deref())?;
    if args.plan {
        print(&plan(&config)?);
        return Ok(());
    }
    let wandb = [&args.wandb_project, &args.wandb_run_name, &args.wandb_watch, &args.wandb_log_model];
    if wandb.iter().any(|flag| flag.as_ref().is_some_and(|value| !value.is_empty())) {
        tracing::info!(
            "wandb is not used: metrics.jsonl and TensorBoard events (runs/) in output_dir hold the curves"
        );
    }
    device::set_threads(config.threads)?;
    let device = device::start(&config.device)?;
    let base = Base::open(&config.base_model)?;
    if std::fs::canonicalize(&base.dir).ok() == std::fs::canonicalize(&config.output_dir).ok() {
        return Err(usage(format!(
            "output_dir `{}` is the directory of base_model",
            config.output_dir.display()
        )));
    }
    let start = Start::find(&config)?;
    let claim = start.claim(args.overwrite_output_dir);
    output::check(&config.output_dir, claim)?;
    let tokenizer = base.tokenizer()?;
    let data = Data::load(&config, &tokenizer)?;
    start.announce(&config.output_dir);
    if config.optim.is_paged() && !device.is_cuda() {
        tracing::info!("optim: nothing is paged on a CPU, the state stays where the weights are");
    }
    let job = Job { config: &config, base: &base, device, start: &start, claim, data: &data };
    if config.full { job.full() } else { job.adapter() }
}

/// All that a run is made of, checked but for the weights.
struct Job<'a> {
    config: &'a FinetuneConfig,
    base: &'a Base,
    device: Device,
    start: &'a Start,
    claim: Claim,
    data: &'a Data,
}

impl Job<'_> {
    /// Trains an adapter.
    fn adapter(&self) -> Result<()> {
        let Self { config, start, .. } = self;
        let quantization = config.quantization()?;
        let dtype = config.dtype.parse()?;
        let (mut model, times) = self.base.load_timed(self.device, dtype, quantization)?;
        let quantization = quantization.or(self.base.stored_quantization()?);
        if let Some(quantization) = quantization {
            tracing::info!("linear layers of the base are in {}", quantization.describe());
        }
        model.set_gradient_checkpointing(config.gradient_checkpointing);
        let model = LoraModel::attach_with_seed(model, &config.lora(), config.seed)?;
        if let Start::Weights(dir) = start {
            model.adapters().restore(dir)?;
        }
        self.describe(model.model(), model.adapters().num_parameters());
        let kind = model.model().kind();
        let Some(summary) = self.train(&model, kind)? else { return Ok(()) };
        let saved = verify_saved(model.adapters(), &config.output_dir)
            .context("the adapter was trained and saved, but reading it back found it wanting")?;
        tracing::info!(
            "read back: {} tensors, {} parameters, no lora_B is zero",
            saved.num_tensors,
            grouped(saved.num_parameters as i64)
        );
        let bytes = base_bytes(&self.base.config, kind, quantization);
        summary::write(&config.output_dir, &summary, times, bytes, self.device)?;
        finish(config, &summary);
        Ok(())
    }

    /// Trains every parameter.
    fn full(&self) -> Result<()> {
        let Self { config, base, start, .. } = self;
        if let Some(stored) = base.stored_quantization()? {
            return Err(usage(format!(
                "full trains every weight, but the base is quantised already ({})",
                stored.describe()
            )));
        }
        let weights = base.weights()?;
        let begun = Instant::now();
        let mut model = FullModel::load(&base.complete_config()?, weights.source(self.device, None))
            .with_context(|| format!("cannot load `{}`", base.dir.display()))?;
        model.model_mut().set_gradient_checkpointing(config.gradient_checkpointing);
        let times = LoadTimes { load_s: begun.elapsed().as_secs_f64(), quantise_s: 0.0 };
        if let Start::Weights(dir) = start {
            model.restore(dir).map_err(FinetuneError::from)?;
        }
        self.describe(model.model(), model.num_parameters());
        let Some(summary) = self.train(&model, Kind::Float)? else { return Ok(()) };
        base.copy_tokenizer(&config.output_dir)?;
        let bytes = base_bytes(&base.config, Kind::Float, None);
        summary::write(&config.output_dir, &summary, times, bytes, self.device)?;
        finish(config, &summary);
        Ok(())
    }

    /// Says what is about to run.
    fn describe(&self, model: &Llama, trainable: usize) {
        let Self { config, data, .. } = self;
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
        let steps = train.total_steps(data.train.examples.len());
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

    /// Runs the loop; `None` when it was stopped.
    fn train(&self, task: &dyn Trainable, kind: Kind) -> Result<Option<Summary>> {
        let Self { config, start, data, .. } = self;
        let mut reporter = ProgressReporter::new();
        let mut trainer = Trainer::new(task, &data.train, config.train())
            .reporter(&mut reporter)
            .stop_flag(stop_on_signals()?)
            .identity("dtype", kind_name(kind));
        if let Some(examples) = &data.validation {
            trainer = trainer.validation(examples);
        }
        if let Some(checkpoint) = start.checkpoint() {
            trainer = trainer.resume_from(checkpoint);
        }
        if !config.full {
            trainer = trainer
                .identity("lora_alpha", config.lora_alpha)
                .identity("lora_dropout", config.lora_dropout)
                .identity("use_rslora", config.use_rslora)
                .identity("quantize", &*config.quantize)
                .identity("double_quant", config.double_quant);
        }
        trainer.check(&config.output_dir)?;
        output::take(&config.output_dir, self.claim)?;
        write_run_file(&config.output_dir, &config.to_toml()?)?;
        match trainer.run(&config.output_dir)? {
            Outcome::Finished(summary) => Ok(Some(summary)),
            Outcome::Stopped { step, checkpoint, .. } => {
                if let Some(path) = checkpoint {
                    let path = path.display();
                    tracing::info!("stopped after step {step}; go on with --resume_from_checkpoint {path}");
                } else {
                    tracing::info!("stopped before the first step was done; nothing was saved");
                }
                Ok(None)
            }
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
