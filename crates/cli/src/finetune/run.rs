//! From decided settings to a saved adapter.

use std::path::Path;
use std::time::Instant;

use alpaca_data::{PromptTemplate, Templates};
use anyhow::{Context, Result};
use checkpoint::{Base, DeviceMap, LoadTimes};
use llama_finetune::{
    DeviceMapChoice, FinetuneError, FullModel, Launch, LoraModel, OutputMode, PartBytes, ProcessGroup,
    RunInputs, RunSummary, StartingPoint, TrainedWith, TrainingData, answer_records, base_bytes,
    chat_template, grown_vocabulary, start_changes, write_run_file,
};
use llama_tokenizer::LlamaTokenizer;
use lora::LoraConfig;
use nn_core::{CausalLm, Dtype, Trainable, UnknownSettings};
use run_page::{SamplePrompt, Sampler, State, Watch};
use tch::{Device, Kind};
use terminal::{count, print_result};
use trainer::{Outcome, ProgressReporter, Reporter, StopFlag, Summary, Trainer};
use weights::DirLock;

use super::args::FinetuneArgs;
use super::live;
use super::plan::{plan, run_shape, trainable};
use super::print_config::commented;
use super::processes::leave;
use super::report;
use super::resolve::{resolve, settled};
use super::settings::FinetuneConfig;
use crate::exit::usage;
use crate::messages::tells_progress;
use crate::stop::stop_on_signals;
use crate::usage::DoesNotFit;

/// Runs the program. What is wrong with flags, files or data shows before anything is written.
///
/// # Errors
/// With what the user can do about it.
#[expect(clippy::needless_pass_by_value, reason = "the arguments end with the program")]
pub fn run(args: FinetuneArgs) -> Result<()> {
    if args.print_config {
        return Ok(print_result(&commented(&settled(&args)?)?)?);
    }
    let config = resolve(&args)?;
    let launch = Launch::from_env()?;
    let processes = args.processes.count(launch.as_ref())?;
    config.device_map.check(config.device, processes)?;
    if args.plan {
        let plan = plan(&config, args.compute.unknown_settings.stance(), processes)?;
        print_result(&if args.json { plan.to_json()? + "\n" } else { plan.to_string() })?;
        return plan.lacks().map_or(Ok(()), |lacks| Err(DoesNotFit(lacks).into()));
    }
    if processes > 1 && launch.is_none() {
        return args.processes.start(processes, &config);
    }
    let (group, device) = args.processes.join(launch, &config)?;
    leave(&group, train(&args, &config, &group, device))
}

/// Trains in this process, one of `group`.
fn train(args: &FinetuneArgs, config: &FinetuneConfig, group: &ProcessGroup, device: Device) -> Result<()> {
    let unknown_settings = args.compute.unknown_settings.stance();
    let wandb = args.wandb.given();
    if !wandb.is_empty() {
        tracing::warn!(
            "{}: nothing is sent to Weights & Biases, these flags do nothing; metrics.jsonl and TensorBoard events (runs/) in \
             output_dir hold the curves",
            wandb.join(", ")
        );
    }
    // One process of each machine fetches from the hub, and the others find it there.
    let base = group.one_of_each_machine_first(|| {
        Base::open_with(&config.base_model, unknown_settings).map_err(anyhow::Error::from)
    })?;
    if std::fs::canonicalize(&base.dir).ok() == std::fs::canonicalize(&config.output_dir).ok() {
        return Err(usage(format!(
            "output_dir `{}` is the directory of base_model",
            config.output_dir.display()
        )));
    }
    let begin = || {
        let from = config.resume_from_checkpoint.as_deref();
        let start = StartingPoint::find(from, &config.output_dir, config.full)?;
        let mode = start.output_mode(args.overwrite_output_dir);
        mode.check(&config.output_dir)?;
        Ok::<_, FinetuneError>((start, mode))
    };
    begin()?;
    let lock = group.is_first().then(|| DirLock::acquire(&config.output_dir)).transpose()?;
    // Again, now that nobody else can change the directory.
    let (start, mode) = begin()?;
    let tokenizer = base.tokenizer()?;
    let prompt = PromptTemplate::load(&config.prompt_template_name)?;
    let templates = Templates { prompt, chat: chat_template(&base, &tokenizer)? };
    let data = group.one_of_each_machine_first(|| {
        TrainingData::load(&config.data(), &templates, &tokenizer).map_err(anyhow::Error::from)
    })?;
    report::start(&start, &config.output_dir);
    if config.optim.is_paged() && !device.is_cuda() {
        tracing::info!("optim: nothing is paged on a CPU, the state stays where the weights are");
    }
    let stop = StopFlag::new();
    let watch = group.is_first().then(|| live::watch(&args.web, config, &stop)).transpose()?;
    let job = Job {
        config,
        group,
        base: &base,
        device,
        start: &start,
        mode,
        data: &data,
        tokenizer: &tokenizer,
        unknown_settings,
        lock: lock.as_ref(),
        stop: &stop,
        watch: watch.as_ref(),
        asks: args.web.web.is_some(),
    };
    if config.full { job.full() } else { job.adapter() }
}

/// All parts of a run, checked but for the weights.
struct Job<'a> {
    config: &'a FinetuneConfig,
    group: &'a ProcessGroup,
    base: &'a Base,
    device: Device,
    start: &'a StartingPoint,
    mode: OutputMode,
    data: &'a TrainingData,
    tokenizer: &'a LlamaTokenizer,
    unknown_settings: UnknownSettings,
    /// Held by the process that writes.
    lock: Option<&'a DirLock>,
    stop: &'a StopFlag,
    /// Held by it too.
    watch: Option<&'a Watch>,
    /// Ask the model a few records while it learns.
    asks: bool,
}

impl Job<'_> {
    /// Trains an adapter.
    fn adapter(&self) -> Result<()> {
        let Self { config, start, .. } = self;
        let quantization = config.quantization()?;
        let (mut model, times) = self.base.load_timed(&self.devices()?, config.dtype, quantization)?;
        let quantization = quantization.or(self.base.stored_quantization()?);
        if let Some(quantization) = quantization {
            tracing::info!("linear layers of the base are in {}", quantization.describe());
        }
        model.set_gradient_checkpointing(config.gradient_checkpointing);
        let tokens = self.tokenizer.vocab_size() as i64;
        let lora = LoraConfig { revision: self.base.revision(), ..config.lora() };
        let wanted = config.resize_vocab.then_some(tokens);
        let (lora, vocab_size) = grown_vocabulary(&self.base.config, wanted, lora);
        if let Some(tokens) = vocab_size {
            tracing::info!("extended vocabulary size from {} to {tokens}", self.base.config.vocab_size);
        } else if config.resize_vocab {
            let rows = self.base.config.vocab_size;
            tracing::info!("resize_vocab: the base has {rows} rows for {tokens} tokens; nothing grows");
        }
        let mut model =
            LoraModel::attach_resized(model, &lora, config.seed, vocab_size).map_err(|error| {
                // In one line: a regular expression's error has several.
                if error.is_usage() { usage(error.to_string()) } else { error.into() }
            })?;
        if let StartingPoint::Weights { dir, .. } = start {
            self.restore(&mut model, dir)?;
        }
        let kind = model.model().kind();
        let trainable = model.adapters().num_parameters();
        report::describe(config, model.model(), trainable, self.data.train.len());
        let Some(summary) = self.train(&model, &model, kind)? else { return Ok(()) };
        let num_tensors = model
            .adapters()
            .verify_saved(&config.output_dir)
            .context("the adapter was trained and saved, but reading it back found it wanting")?;
        let parameters = count(trainable as i64);
        tracing::info!("read back: {num_tensors} tensors, {parameters} parameters, no lora_B is zero");
        let bytes = base_bytes(&self.base.config, kind, quantization);
        self.finish(&summary, times, bytes, &model.model().devices())
    }

    /// Decides on which devices the base goes.
    fn devices(&self) -> Result<DeviceMap> {
        let Self { config, base, device, .. } = *self;
        if config.device_map == DeviceMapChoice::None {
            return Ok(device.into());
        }
        // A regular expression is resolved by the loaded model alone; what trains is small beside the layers.
        let trainable = trainable(config, base).unwrap_or(0);
        let run = run_shape(config, base, device, trainable)?;
        Ok(config.device_map.map(device, &PartBytes::of_run(&base.config, &run)))
    }

    /// Starts from the saved adapter in `dir`, and tells what this run changes about it.
    fn restore(&self, model: &mut LoraModel, dir: &Path) -> Result<()> {
        let Self { config, base, .. } = self;
        for change in start_changes(dir, model.adapters().config())? {
            tracing::warn!("{change}");
        }
        let trained_with = TrainedWith::read(dir)?;
        trained_with.template(Some(&config.prompt_template_name))?;
        trained_with.quantization(config.quantization()?.into(), base.stored_quantization()?)?;
        trained_with.base(Some(&config.base_model));
        if base.tokenizer_beside(dir)?.is_some() {
            let dir = dir.display();
            tracing::warn!(
                "the tokenizer beside adapter `{dir}` differs from the base's, which this run uses"
            );
        }
        Ok(model.start_from(dir, self.unknown_settings)?)
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
        let begun = Instant::now();
        let mut model =
            FullModel::load(&base.files().complete_config()?, base.source(self.devices()?, None)?)
                .with_context(|| format!("cannot load `{}`", base.dir.display()))?;
        model.model_mut().set_gradient_checkpointing(config.gradient_checkpointing);
        let times = LoadTimes { load_s: begun.elapsed().as_secs_f64(), quantise_s: 0.0 };
        if let StartingPoint::Weights { dir, .. } = start {
            model.restore(dir).map_err(FinetuneError::from)?;
        }
        report::describe(config, model.model(), model.num_parameters(), self.data.train.len());
        let Some(summary) = self.train(&model, &model, Kind::Float)? else { return Ok(()) };
        base.files().copy_tokenizer(&config.output_dir)?;
        let bytes = base_bytes(&base.config, Kind::Float, None);
        self.finish(&summary, times, bytes, &model.model().devices())
    }

    /// Runs the loop; `None` when it was stopped, or another process reports its end. `model` answers, and is the `trainable`.
    fn train(&self, trainable: &dyn Trainable, model: &dyn CausalLm, kind: Kind) -> Result<Option<Summary>> {
        let Self { config, start, data, .. } = self;
        let eos_ids = self.base.eos_ids(self.tokenizer);
        let answer = || {
            answer_records(model, self.tokenizer, &eos_ids, &data.shown)
                .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
        };
        let shown = data.shown.iter().map(|record| SamplePrompt {
            prompt: record.prompt.clone(),
            reference: record.reference.clone(),
        });
        let sampler = self.asks.then(|| Sampler { prompts: shown.collect(), answer: &answer });
        let mut progress = ProgressReporter::new().quiet(!tells_progress());
        let mut watched;
        let reporter: &mut dyn Reporter = match self.watch {
            Some(watch) => {
                watched = watch.reporter(&mut progress, sampler);
                &mut watched
            }
            None => &mut progress,
        };
        stop_on_signals(self.stop)?;
        let mut trainer = Trainer::new(trainable, &*data.train, config.train())
            .reporter(reporter)
            .stop_flag(self.stop.clone())
            .group(self.group)
            .identity("dtype", Dtype::name_of(kind));
        if let Some(lock) = self.lock {
            trainer = trainer.lock(lock);
        }
        let inputs =
            RunInputs::read(self.base, &config.data(), &config.prompt_template_name, &config.output_dir)?;
        for (name, digest) in inputs.digests() {
            trainer = trainer.input(name, *digest);
        }
        if let Some(examples) = &data.validation {
            trainer = trainer.validation(&**examples);
        }
        if let Some(checkpoint) = start.checkpoint() {
            trainer = trainer.resume_from(checkpoint);
        }
        if !config.full {
            trainer = trainer
                .identity("lora_alpha", config.lora_alpha)
                .identity("lora_dropout", config.lora_dropout)
                .identity("use_rslora", config.use_rslora)
                .identity("quantize", config.quantize.to_string())
                .identity("double_quant", config.double_quant);
        }
        let output_dir = &config.output_dir;
        trainer.check(output_dir)?;
        if self.group.is_first() {
            self.mode.prepare(output_dir)?;
            write_run_file(output_dir, &config.to_toml()?)?;
            inputs.keep(output_dir)?;
        }
        let end = |state, message| {
            if let Some(watch) = self.watch {
                watch.end(state, message);
            }
        };
        match trainer.run(output_dir) {
            // The first process checks and reports what it has written.
            Ok(Outcome::Finished(summary)) => {
                end(State::Finished, None);
                Ok(self.group.is_first().then_some(summary))
            }
            Ok(Outcome::Stopped { step, checkpoint, .. }) => {
                end(State::Stopped, Some(report::stopped(step, checkpoint.as_deref())));
                Ok(None)
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                end(State::Failed, Some(format!("{error:#}")));
                Err(error)
            }
        }
    }

    /// Writes and reports the figures of a finished run.
    fn finish(&self, summary: &Summary, times: LoadTimes, base_bytes: f64, devices: &[Device]) -> Result<()> {
        RunSummary::new(summary, times, base_bytes, devices)?.write(&self.config.output_dir)?;
        let losses = self.watch.map(|watch| watch.run().losses()).unwrap_or_default();
        report::finished(self.config, summary, &losses);
        Ok(())
    }
}
