//! Starting a run.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, find_last_checkpoint};
use crate::error::IoContext;
use crate::events::EventWriter;
use crate::metrics::{KeepUpTo, MetricsFile};
use crate::run::{Checkpoint, Run};
use crate::state::{Fingerprint, TrainerState, fingerprint};
use crate::{AdamW, Best, Dataset, LrSchedule, Phases, Reporter, RunInfo, StepPlan, StopFlag};
use crate::{TrainConfig, TrainError, Trainable};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps are done and the result is saved in the output directory.
    Finished(Summary),
    /// A stop was requested.
    Stopped {
        /// Optimiser steps done.
        step: u64,
        /// The checkpoint to resume from; none if no step was done.
        checkpoint: Option<PathBuf>,
        /// What was done so far.
        summary: Summary,
    },
}

/// What a run did, from its start and not from the last resume.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Optimiser steps done.
    pub steps: u64,
    /// The last loss in the metrics.
    pub final_loss: Option<f64>,
    /// Tokens that went through the model in training.
    pub tokens: u64,
    /// Steps that had no target and changed nothing.
    pub skipped_steps: u64,
    /// Seconds, interruptions left out.
    pub elapsed_s: f64,
    /// Seconds of them in optimiser steps; evaluation and saving are not counted.
    pub train_s: f64,
    /// Where these went.
    pub phases: Phases,
    /// The lowest validation loss. Its parameters are the result where `load_best_model_at_end` is set.
    pub best: Option<Best>,
}

/// A run that is to be.
pub struct Trainer<'a> {
    config: TrainConfig,
    trainable: &'a dyn Trainable,
    train: &'a dyn Dataset,
    validation: Option<&'a dyn Dataset>,
    output_dir: PathBuf,
    reporter: &'a mut dyn Reporter,
    stop: StopFlag,
    identity: Fingerprint,
}

impl<'a> Trainer<'a> {
    /// Puts a run together. Everything it writes goes to `output_dir`.
    pub fn new(
        config: TrainConfig,
        trainable: &'a dyn Trainable,
        train: &'a dyn Dataset,
        validation: Option<&'a dyn Dataset>,
        output_dir: impl Into<PathBuf>,
        reporter: &'a mut dyn Reporter,
    ) -> Self {
        let output_dir = output_dir.into();
        let (stop, identity) = (StopFlag::new(), Fingerprint::new());
        Self { config, trainable, train, validation, output_dir, reporter, stop, identity }
    }

    /// Adds what shapes the run and is not in its configuration (a scale, a precision): a checkpoint of a run of which it
    /// was different is refused by this name.
    #[must_use]
    pub fn identity(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.identity.insert(name.into(), value.into());
        self
    }

    /// Lets `stop` end the run: it is looked at after every micro-batch, a step under way is given up, and a checkpoint is
    /// saved.
    #[must_use]
    pub fn stop_flag(mut self, stop: StopFlag) -> Self {
        self.stop = stop;
        self
    }

    /// Checks that the run can begin, from the beginning or from the checkpoint `resume`, before anything is written. What
    /// the output directory holds is left to [`Trainer::run`].
    ///
    /// # Errors
    /// [`TrainError`] for the first thing that is wrong with settings, data or checkpoint.
    pub fn check(&self, resume: Option<&Path>) -> Result<(), TrainError> {
        self.begin(resume).map(|_| ())
    }

    /// Trains to the end, from the beginning or from the checkpoint `resume`, and saves the result in the output directory.
    ///
    /// A resumed run drops the lines of metrics and the checkpoints that lie after `resume`, and then writes the same ones
    /// again. It may be longer or shorter than the run that wrote the checkpoint; the learning rate then follows the new
    /// length from there on.
    ///
    /// # Errors
    /// [`TrainError::BadStep`] when loss or gradient cannot be used; [`TrainError::EarlierRun`] when the output directory
    /// holds checkpoints that are not resumed; [`TrainError::ResumeMismatch`] when the checkpoint is of another run; and
    /// every other [`TrainError`]. Checkpoints written before stay as they are.
    pub fn run(self, resume: Option<&Path>) -> Result<Outcome, TrainError> {
        Run::train(self.start(resume)?)
    }

    /// What the run begins with; whether it is of another length than the one it resumes.
    fn begin(&self, resume: Option<&Path>) -> Result<(StepPlan, TrainerState, bool), TrainError> {
        let Self { config, train, validation, .. } = self;
        config.validate()?;
        check_data(*train, *validation)?;
        let plan = StepPlan::new(config, train.len());
        let parameters = self.trainable.parameters();
        let fingerprint = fingerprint(config, *train, *validation, &parameters, &self.identity);
        let Some(path) = resume else {
            return Ok((plan, TrainerState::new(config, &plan, fingerprint), false));
        };
        let mut state = TrainerState::load(path)?;
        state.check_same_run(&fingerprint, path)?;
        check_best(config, &state, &self.output_dir)?;
        let new_length = state.set_length(&plan, path)?;
        Ok((plan, state, new_length))
    }

    fn start(self, resume: Option<&Path>) -> Result<Run<'a>, TrainError> {
        let (plan, state, new_length) = self.begin(resume)?;
        let Self { config, trainable, train, validation, output_dir, reporter, stop, .. } = self;
        check_directory(&output_dir, resume)?;
        fs::create_dir_all(&output_dir).at("create", &output_dir)?;
        let mut optimizer = AdamW::with_state(trainable.parameters(), config.adamw(), config.adamw_state())?;
        if let Some(path) = resume {
            checkpoint::restore(path, trainable, &mut optimizer)?;
            checkpoint::delete_after(&output_dir, state.step)?;
        }
        let warmup_steps = u64::from(config.warmup_steps);
        let schedule =
            LrSchedule::new(config.lr_scheduler, config.learning_rate, warmup_steps, plan.total_steps);
        weights::AtomicDir::clean_stale(&output_dir)?;
        let keep = KeepUpTo { step: state.step, evaluated: state.evaluated_step == Some(state.step) };
        let metrics = MetricsFile::open(MetricsFile::path_in(&output_dir), resume.map(|_| keep))?;
        let events = EventWriter::create(&output_dir.join("runs"), state.step + 1)?;
        let last_checkpoint = resume.map(|path| Checkpoint { step: state.step, path: path.to_owned() });

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
            validation,
            output_dir,
            reporter,
            stop,
            optimizer,
            metrics,
            events,
            order: None,
            last_checkpoint,
            clock: std::time::Instant::now(),
            earlier_s: state.elapsed_s,
            state,
        })
    }
}

/// There is something to train on and, where it is wanted, something to evaluate on.
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

/// The output directory holds no checkpoints but those of the run that is resumed.
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

/// The checkpoint that the run may end with is there.
fn check_best(config: &TrainConfig, state: &TrainerState, output_dir: &Path) -> Result<(), TrainError> {
    match state.best {
        Some(best) if config.load_best_model_at_end && best.step != state.step => {
            let path = checkpoint::checkpoint_path(output_dir, best.step);
            if path.is_dir() { Ok(()) } else { Err(TrainError::BestMissing { path }) }
        }
        _ => Ok(()),
    }
}
