//! Setting up a run.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use nn_core::{Dataset, Trainable};
use process_group::ProcessGroup;
use weights::{Digest, DirLock};

use crate::TrainError;
use crate::checkpoint::{self, find_last_checkpoint};
use crate::config::TrainConfig;
use crate::curves::Curves;
use crate::error::IoContext;
use crate::events::Events;
use crate::fingerprint::{Fingerprint, check_same_run, fingerprint};
use crate::inputs::{Inputs, check_inputs, check_none_gone, dataset_digest};
use crate::loss_scale::LossScale;
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
    inputs: Vec<(String, Digest)>,
    resume_from: Option<PathBuf>,
    lock: Option<&'a DirLock>,
    group: ProcessGroup,
    /// What takes reading: computed once, by [`Trainer::check`] or [`Trainer::run`].
    read: OnceCell<Read>,
}

/// What a run reads before it begins.
#[derive(Clone)]
struct Read {
    /// Digests of the records.
    records: Vec<(String, Digest)>,
    /// Counters of the checkpoint to resume, whose files are intact.
    saved: Option<TrainerState>,
}

/// The beginning of a run, worked out before anything is written.
struct Beginning {
    plan: StepPlan,
    state: TrainerState,
    /// Set for a run of another length than the one it resumes.
    new_length: bool,
    /// Set for a checkpoint of a version that kept no digests.
    unproven: bool,
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
            inputs: Vec::new(),
            resume_from: None,
            lock: None,
            group: ProcessGroup::alone(),
            read: OnceCell::new(),
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

    /// Adds something that the run reads (a file of the base, the data), by the digest of its content. A checkpoint of a run
    /// that read another content is refused, and the message says that "the `name`" differs. The tokens and labels of all
    /// records need no mention.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>, digest: Digest) -> Self {
        self.inputs.push((name.into(), digest));
        self
    }

    /// Uses the caller's lock on the output directory; without one, [`Trainer::run`] takes it.
    #[must_use]
    pub fn lock(mut self, lock: &'a DirLock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Trains as one of several processes that are all given the same model, records, configuration and directory. Each runs its
    /// share of the micro-batches of a step and of an evaluation; the losses, the gradient and all that follows are those of one
    /// process, but for the order of sums of float32. The first process alone writes and reports; a stop that any is asked
    /// for is one of all.
    #[must_use]
    pub fn group(mut self, group: &ProcessGroup) -> Self {
        self.group = group.clone();
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

    /// Checks that the run can begin, before anything is written, and that all processes begin the same one. [`Trainer::run`] also
    /// checks that `output_dir` does not hold another run.
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
    /// holds checkpoints that are not resumed; [`TrainError::ResumeMismatch`] and [`TrainError::InputMismatch`] when the
    /// checkpoint is of another run; [`TrainError::DamagedCheckpoint`] when its files are not as they were written;
    /// [`WeightsError::InUse`](weights::WeightsError::InUse) when another process has the directory; and every other [`TrainError`]. Checkpoints written before stay as they are.
    pub fn run(mut self, output_dir: impl Into<PathBuf>) -> Result<Outcome, TrainError> {
        let mut silent = Silent;
        let first = self.group.is_first();
        let reporter = self.reporter.take().filter(|_| first);
        self.start(output_dir.into(), reporter.unwrap_or(&mut silent))?.train()
    }

    fn begin(&self, output_dir: &Path) -> Result<Beginning, TrainError> {
        let beginning = self.begin_alone(output_dir)?;
        let TrainerState { step, fingerprint, inputs, .. } = &beginning.state;
        agree(&self.group, *step, fingerprint, inputs)?;
        Ok(beginning)
    }

    fn begin_alone(&self, output_dir: &Path) -> Result<Beginning, TrainError> {
        let Self { config, train, validation, .. } = self;
        config.validate()?;
        check_data(*train, *validation)?;
        let plan = StepPlan::new(config, train.len());
        check_learns(config, &plan)?;
        check_all_work(config, &self.group)?;
        let parameters = self.trainable.parameters();
        let fingerprint = fingerprint(config, *train, *validation, &parameters, &self.identity);
        let Read { records, saved } = self.read()?;
        let inputs = [self.inputs.clone(), records.clone()].concat();
        let named = inputs.iter().map(|(name, digest)| (name.clone(), digest.to_string())).collect();
        let (Some(path), Some(mut state)) = (&self.resume_from, saved) else {
            let state = TrainerState::new(config, &plan, fingerprint, named);
            return Ok(Beginning { plan, state, new_length: false, unproven: false });
        };
        let unproven = state.inputs.is_empty();
        // A file that differs explains more than a setting, and a setting more than the records it made.
        if !unproven {
            check_inputs(&self.inputs, &state.inputs, path)?;
        }
        check_same_run(&fingerprint, &state.fingerprint, path)?;
        if !unproven {
            check_inputs(&records, &state.inputs, path)?;
            check_none_gone(&inputs, &state.inputs, path)?;
        }
        check_best(config, &state, output_dir)?;
        let new_length = state.set_length(&plan, path)?;
        state.inputs = named;
        Ok(Beginning { plan, state, new_length, unproven })
    }

    /// Reads the checkpoint to resume, and all records.
    fn read(&self) -> Result<Read, TrainError> {
        if let Some(read) = self.read.get() {
            return Ok(read.clone());
        }
        let saved = self.resume_from.as_deref().map(checkpoint::load_state).transpose()?;
        let validation = self.validation.map(|data| ("tokenised validation data", data));
        let records = [("tokenised training data", self.train)].into_iter().chain(validation);
        let records = records.map(|(name, data)| (name.to_owned(), dataset_digest(data))).collect();
        Ok(self.read.get_or_init(|| Read { records, saved }).clone())
    }

    fn start<'r>(self, output_dir: PathBuf, reporter: &'r mut dyn Reporter) -> Result<Run<'r>, TrainError>
    where
        'a: 'r,
    {
        let Beginning { plan, mut state, new_length, unproven } = self.begin(&output_dir)?;
        let loss_scale = LossScale::of(self.trainable.activations());
        state.loss_scale = loss_scale.map(|first| state.loss_scale.unwrap_or(first));
        let Self { config, trainable, train, validation, stop, resume_from, lock, group, .. } = self;
        let writes = group.is_first();
        // Nothing is written before the directory is this run's own.
        let own_lock = (lock.is_none() && writes).then(|| DirLock::acquire(&output_dir)).transpose()?;
        if writes {
            check_directory(&output_dir, resume_from.as_deref())?;
        }
        let mut optimizer = Optimizer::from_config(trainable.parameters(), &config)?;
        if let Some(path) = &resume_from {
            checkpoint::restore(path, trainable, &mut optimizer)?;
            // Every process has read it before the first deletes anything.
            group.barrier()?;
        }
        let dealer = RecordDealer::new(train, plan, config.seed);
        let schedule = config.schedule(plan.total_steps);
        let curves = if writes {
            Some(open_curves(&output_dir, &state, resume_from.is_some(), reporter)?)
        } else {
            None
        };
        if let Some(note) = lock.or(own_lock.as_ref()).and_then(DirLock::note) {
            reporter.note(note);
        }
        if unproven {
            reporter.note(
                "the checkpoint is of an earlier version, without digests: damage to it, and another base or other data \
                 than the run began with, cannot be noticed; later checkpoints have them",
            );
        }
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
        let run = Run {
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
            group,
            curves,
            last_checkpoint,
            _lock: own_lock,
            clock: std::time::Instant::now(),
            earlier_s: state.elapsed_s,
            state,
        };
        // Processors of different makes may have drawn the fresh parameters with other last digits.
        run.spread_parameters()?;
        Ok(run)
    }
}

/// Checks that every process begins the same run.
fn agree(
    group: &ProcessGroup,
    step: u64,
    fingerprint: &Fingerprint,
    inputs: &Inputs,
) -> Result<(), TrainError> {
    let shared =
        "every process needs the same flags, the same files, and an output directory that all of them see";
    let digest =
        |texts: &mut dyn Iterator<Item = String>| Digest::of_pieces(texts).to_string()[..12].to_owned();
    let settings = fingerprint.iter().map(|(name, value)| format!("{name} {value}\n"));
    group.agree("done", &format!("{step} steps"), shared)?;
    group.agree("settings with digest", &digest(&mut { settings }), shared)?;
    for (name, value) in inputs {
        group.agree(&format!("the {name} with digest"), value, shared)?;
    }
    Ok(())
}

/// Clears away what a dead process left half-done, and opens the files of the curves.
fn open_curves(
    output_dir: &Path,
    state: &TrainerState,
    resumed: bool,
    reporter: &mut dyn Reporter,
) -> Result<Curves, TrainError> {
    if resumed {
        checkpoint::delete_after(output_dir, state.step)?;
    }
    weights::AtomicDir::clean_stale(output_dir)?;
    let keep = KeepUpTo { step: state.step, evaluated: state.evaluated_step == Some(state.step) };
    let path = MetricsFile::path_in(output_dir);
    let (metrics, unreadable) = MetricsFile::open(path, resumed.then_some(keep))?;
    if unreadable > 0 {
        reporter.note(&format!("metrics.jsonl: {unreadable} lines that cannot be read are left out"));
    }
    let events = Events::create(&output_dir.join("runs"), state.step + 1, reporter);
    Ok(Curves { metrics, events })
}

/// Checks that every process has something to do in a step.
fn check_all_work(config: &TrainConfig, group: &ProcessGroup) -> Result<(), TrainError> {
    let (micro_batches, world_size) = (config.gradient_accumulation_steps, group.world_size());
    if world_size > micro_batches as usize {
        return Err(TrainError::IdleProcesses { micro_batches, world_size });
    }
    Ok(())
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
