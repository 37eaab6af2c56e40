//! Setting up a run.

use std::fs;
use std::path::{Path, PathBuf};

use nn_core::{Dataset, Trainable};

use crate::TrainError;
use crate::checkpoint::{self, find_last_checkpoint};
use crate::config::TrainConfig;
use crate::error::IoContext;
use crate::events::EventWriter;
use crate::fingerprint::{Fingerprint, check_same_run, fingerprint};
use crate::metrics::{KeepUpTo, MetricsFile};
use crate::optim::Optimizer;
use crate::outcome::Outcome;
use crate::plan::StepPlan;
use crate::records::RecordDealer;
use crate::report::{Reporter, RunInfo, Silent};
use crate::run::{Checkpoint, Run};
use crate::state::TrainerState;
use crate::stop::StopFlag;

/// Trains something on a dataset.
///
/// `Trainer::new(&mut model, &data, config).validation(&held_out).run("out")?` trains to the end, with evaluation, metrics
/// and checkpoints in `out`.
pub struct Trainer<'a> {
    trainable: &'a dyn Trainable,
    train: &'a dyn Dataset,
    config: TrainConfig,
    validation: Option<&'a dyn Dataset>,
    reporter: Option<&'a mut dyn Reporter>,
    stop: StopFlag,
    identity: Fingerprint,
    resume_from: Option<PathBuf>,
}

/// The beginning of a run, worked out before anything is written.
struct Beginning {
    plan: StepPlan,
    state: TrainerState,
    /// Set for a run of another length than the one it resumes.
    new_length: bool,
}

impl<'a> Trainer<'a> {
    /// Sets up a run that trains `trainable` on `train`.
    pub fn new(trainable: &'a dyn Trainable, train: &'a dyn Dataset, config: TrainConfig) -> Self {
        Self {
            trainable,
            train,
            config,
            validation: None,
            reporter: None,
            stop: StopFlag::new(),
            identity: Fingerprint::new(),
            resume_from: None,
        }
    }

    /// Evaluates on `data` every `eval_steps` steps and after the last one.
    #[must_use]
    pub fn validation(mut self, data: &'a dyn Dataset) -> Self {
        self.validation = Some(data);
        self
    }

    /// Shows the run's progress through `reporter`.
    #[must_use]
    pub fn reporter(mut self, reporter: &'a mut dyn Reporter) -> Self {
        self.reporter = Some(reporter);
        self
    }

    /// Ends the run early when `stop` is requested. The flag is read before every micro-batch; the current step is
    /// abandoned, and a checkpoint is saved.
    #[must_use]
    pub fn stop_flag(mut self, stop: StopFlag) -> Self {
        self.stop = stop;
        self
    }

    /// Adds a value that shapes the run and is not in its configuration (a scale, a precision). A checkpoint of a run with
    /// another value is refused, and the message names it.
    #[must_use]
    pub fn identity(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.identity.insert(name.into(), value.into());
        self
    }

    /// Resumes the run that wrote `checkpoint`.
    ///
    /// Lines of metrics and checkpoints after `checkpoint` are dropped, and then written again. The run may be longer or
    /// shorter than the one that wrote the checkpoint; the learning rate then follows the new length from there on.
    #[must_use]
    pub fn resume_from(mut self, checkpoint: impl Into<PathBuf>) -> Self {
        self.resume_from = Some(checkpoint.into());
        self
    }

    /// Checks that the run can begin, before anything is written. [`Trainer::run`] also checks that `output_dir` does not
    /// hold another run.
    ///
    /// # Errors
    /// [`TrainError`] for the first thing that is wrong with settings, data or checkpoint.
    pub fn check(&self, output_dir: impl AsRef<Path>) -> Result<(), TrainError> {
        self.begin(output_dir.as_ref()).map(|_| ())
    }

    /// Trains to the end and saves the result in `output_dir`, where checkpoints and metrics go too.
    ///
    /// # Errors
    /// [`TrainError::BadStep`] when loss or gradient cannot be used; [`TrainError::EarlierRun`] when the output directory
    /// holds checkpoints that are not resumed; [`TrainError::ResumeMismatch`] when the checkpoint is of another run; and
    /// every other [`TrainError`]. Checkpoints written before stay as they are.
    pub fn run(mut self, output_dir: impl Into<PathBuf>) -> Result<Outcome, TrainError> {
        let mut silent = Silent;
        let reporter = self.reporter.take();
        self.start(output_dir.into(), reporter.unwrap_or(&mut silent))?.train()
    }

    fn begin(&self, output_dir: &Path) -> Result<Beginning, TrainError> {
        let Self { config, train, validation, .. } = self;
        config.validate()?;
        check_data(*train, *validation)?;
        let plan = StepPlan::new(config, train.len());
        check_learns(config, &plan)?;
        let parameters = self.trainable.parameters();
        let fingerprint = fingerprint(config, *train, *validation, &parameters, &self.identity);
        let Some(path) = &self.resume_from else {
            let state = TrainerState::new(config, &plan, fingerprint);
            return Ok(Beginning { plan, state, new_length: false });
        };
        let mut state = TrainerState::load(path)?;
        check_same_run(&fingerprint, &state.fingerprint, path)?;
        check_best(config, &state, output_dir)?;
        let new_length = state.set_length(&plan, path)?;
        Ok(Beginning { plan, state, new_length })
    }

    fn start<'r>(self, output_dir: PathBuf, reporter: &'r mut dyn Reporter) -> Result<Run<'r>, TrainError>
    where
        'a: 'r,
    {
        let Beginning { plan, state, new_length } = self.begin(&output_dir)?;
        let Self { config, trainable, train, validation, stop, resume_from, .. } = self;
        check_directory(&output_dir, resume_from.as_deref())?;
        fs::create_dir_all(&output_dir).at("create", &output_dir)?;
        let mut optimizer = Optimizer::from_config(trainable.parameters(), &config)?;
        if let Some(path) = &resume_from {
            checkpoint::restore(path, trainable, &mut optimizer)?;
            checkpoint::delete_after(&output_dir, state.step)?;
        }
        let dealer = RecordDealer::new(train, plan, config.seed);
        let schedule = config.schedule(plan.total_steps);
        weights::AtomicDir::clean_stale(&output_dir)?;
        let keep = KeepUpTo { step: state.step, evaluated: state.evaluated_step == Some(state.step) };
        let metrics =
            MetricsFile::open(MetricsFile::path_in(&output_dir), resume_from.as_ref().map(|_| keep))?;
        let events = EventWriter::create(&output_dir.join("runs"), state.step + 1)?;
        let last_checkpoint = resume_from.map(|path| Checkpoint { step: state.step, path });

        if new_length {
            let (step, total) = (state.step, plan.total_steps);
            let text = "the learning rate follows the new length from here on";
            reporter.note(&format!("resumed after step {step} as a run of {total} steps: {text}"));
        }
        reporter.started(&RunInfo {
            step: state.step,
            total_steps: plan.total_steps,
            train_records: train.len(),
            validation_records: validation.map_or(0, Dataset::len),
            trained_elements: optimizer.parameters().iter().map(|(_, tensor)| tensor.numel()).sum(),
        });
        Ok(Run {
            config,
            plan,
            schedule,
            trainable,
            train,
            dealer,
            validation,
            output_dir,
            reporter,
            stop,
            optimizer,
            metrics,
            events,
            last_checkpoint,
            clock: std::time::Instant::now(),
            earlier_s: state.elapsed_s,
            state,
        })
    }
}

/// Checks that there is something to train on and, where validation is wanted, something to evaluate on.
fn check_data(train: &dyn Dataset, validation: Option<&dyn Dataset>) -> Result<(), TrainError> {
    if train.is_empty() {
        return Err(TrainError::EmptyDataset);
    }
    match validation {
        Some(data) if (0..data.len()).all(|index| data.batch(&[index]).num_targets() == 0) => {
            Err(TrainError::NoValidationTargets { records: data.len() })
        }
        _ => Ok(()),
    }
}

/// Checks that the learning rate is above 0 in some step.
fn check_learns(config: &TrainConfig, plan: &StepPlan) -> Result<(), TrainError> {
    let schedule = config.schedule(plan.total_steps);
    if plan.total_steps == 0 || (0..plan.total_steps).any(|step| schedule.at(step) > 0.0) {
        return Ok(());
    }
    let TrainConfig { learning_rate, warmup_steps, .. } = *config;
    Err(TrainError::NothingLearnt { steps: plan.total_steps, learning_rate, warmup_steps })
}

/// Checks that the output directory holds no checkpoints but those of the run that is resumed.
fn check_directory(output_dir: &Path, resume: Option<&Path>) -> Result<(), TrainError> {
    let Some(path) = find_last_checkpoint(output_dir)? else { return Ok(()) };
    let same_place = |resume: &Path| {
        let real = fs::canonicalize(resume).at("find", resume)?;
        Ok::<_, TrainError>(real.parent() == Some(&*fs::canonicalize(output_dir).at("find", output_dir)?))
    };
    if resume.map(same_place).transpose()?.unwrap_or(false) {
        Ok(())
    } else {
        Err(TrainError::EarlierRun { path })
    }
}

/// Checks that the checkpoint the run may end with exists.
fn check_best(config: &TrainConfig, state: &TrainerState, output_dir: &Path) -> Result<(), TrainError> {
    match state.best {
        Some(best) if config.load_best_model_at_end && best.step != state.step => {
            let path = checkpoint::checkpoint_path(output_dir, best.step);
            if path.is_dir() { Ok(()) } else { Err(TrainError::BestMissing { path }) }
        }
        _ => Ok(()),
    }
}
