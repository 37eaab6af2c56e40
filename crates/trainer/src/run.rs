//! The training loop.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use nn_core::{Dataset, TokenBatch, Trainable, mix_seed};
use process_group::ProcessGroup;
use tch::{Device, no_grad_guard};
use weights::DirLock;

use crate::TrainError;
use crate::checkpoint::{self, checkpoint_path};
use crate::config::TrainConfig;
use crate::curves::Curves;
use crate::diagnosis::Diagnosis;
use crate::evaluate::evaluate;
use crate::loss_scale::LossScale;
use crate::metrics::{EvalRecord, StepRecord};
use crate::optim::Optimizer;
use crate::outcome::{Outcome, Summary};
use crate::plan::StepPlan;
use crate::records::RecordDealer;
use crate::report::{Reporter, StepProgress};
use crate::schedule::LrSchedule;
use crate::state::{Best, TrainerState};
use crate::step::{StepOutcome, StepSettings, frozen_not_finite, shared_step};
use crate::stop::StopFlag;

/// A checkpoint on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    pub(crate) step: u64,
    pub(crate) path: PathBuf,
}

/// A run in progress.
pub(crate) struct Run<'a> {
    pub(crate) config: TrainConfig,
    pub(crate) plan: StepPlan,
    pub(crate) schedule: LrSchedule,
    pub(crate) trainable: &'a dyn Trainable,
    pub(crate) train: &'a dyn Dataset,
    pub(crate) dealer: RecordDealer<'a>,
    pub(crate) validation: Option<&'a dyn Dataset>,
    pub(crate) output_dir: PathBuf,
    pub(crate) reporter: &'a mut dyn Reporter,
    pub(crate) stop: StopFlag,
    pub(crate) optimizer: Optimizer,
    pub(crate) state: TrainerState,
    /// The processes that train together; the first of them writes.
    pub(crate) group: ProcessGroup,
    /// Set in the process that writes.
    pub(crate) curves: Option<Curves>,
    pub(crate) last_checkpoint: Option<Checkpoint>,
    /// Keeps other processes out of the output directory, unless the caller does.
    pub(crate) _lock: Option<DirLock>,
    /// Start of this process's part of the run.
    pub(crate) clock: Instant,
    /// Seconds of the run before this process.
    pub(crate) earlier_s: f64,
}

/// Continues, or breaks when a stop was requested.
type Flow = ControlFlow<()>;

impl Run<'_> {
    /// Trains to the end or to a stop.
    pub(crate) fn train(mut self) -> Result<Outcome, TrainError> {
        let outcome = self.run_loop();
        self.reporter.ended();
        outcome
    }

    fn run_loop(&mut self) -> Result<Outcome, TrainError> {
        loop {
            if self.evaluation_is_due() && self.evaluate()?.is_break() {
                return self.stopped();
            }
            if self.checkpoint_is_due() {
                self.save_checkpoint()?;
            }
            if self.state.step >= self.plan.total_steps {
                return self.finished();
            }
            if self.step()?.is_break() {
                return self.stopped();
            }
            if self.is_due(self.config.logging_steps) {
                self.log()?;
            }
        }
    }

    /// Checks for something that is due every `every` steps and after the last one.
    fn is_due(&self, every: u32) -> bool {
        let step = self.state.step;
        step > 0 && (step.is_multiple_of(u64::from(every)) || step == self.plan.total_steps)
    }

    fn evaluation_is_due(&self) -> bool {
        self.validation.is_some()
            && self.state.evaluated_step != Some(self.state.step)
            && self.is_due(self.config.eval_steps)
    }

    fn checkpoint_is_due(&self) -> bool {
        let step = self.state.step;
        let is_best = self.best_to_load().is_some_and(|best| best.step == step);
        let is_saved = self.last_checkpoint.as_ref().is_some_and(|last| last.step == step);
        !is_saved && (is_best || self.is_due(self.config.save_steps))
    }

    /// Returns the lowest validation loss where the run is to end with its parameters.
    fn best_to_load(&self) -> Option<Best> {
        self.state.best.filter(|_| self.config.load_best_model_at_end)
    }

    /// Takes one optimiser step.
    fn step(&mut self) -> Result<Flow, TrainError> {
        let clock = Instant::now();
        let done = self.state.step;
        let micro_batches = self.dealer.micro_batches(done)?;
        let batches: Vec<TokenBatch> =
            micro_batches.iter().map(|records| self.train.batch(records)).collect();
        let settings = StepSettings {
            seed: mix_seed(self.config.seed, done),
            learning_rate: self.schedule.at(done),
            max_grad_norm: self.config.max_grad_norm,
            time_phases: self.config.time_phases,
            loss_scale: 1.0,
        };
        let stats = match self.scaled_step(&batches, settings)? {
            StepOutcome::Updated(stats) => Some(stats),
            StepOutcome::NoTargets | StepOutcome::Overflowed => None,
            StepOutcome::Interrupted => return Ok(Flow::Break(())),
            StepOutcome::Unusable(numbers) => {
                let records = numbers.micro_batches.iter().flat_map(|&i| micro_batches[i].clone()).collect();
                let learning_rate = settings.learning_rate;
                let diagnosis = Diagnosis { step: done + 1, learning_rate, records, numbers };
                return Err(TrainError::BadStep(Box::new(diagnosis)));
            }
        };
        if stats.is_none() && self.state.skipped_steps == 0 {
            let text =
                "no label counts in the loss: the step changes nothing (told once, counted in the metrics)";
            self.reporter.note(&format!("step {}: {text}", done + 1));
        }
        self.state.count_step(&self.plan, stats.as_ref(), clock.elapsed().as_secs_f64());
        self.reporter.stepped(&StepProgress {
            step: self.state.step,
            total_steps: self.plan.total_steps,
            loss: stats.map(|stats| stats.loss),
            learning_rate: settings.learning_rate,
            tokens_per_s: self.state.window.tokens_per_s(),
            memory_mib: self.memory_mib(),
        });
        Ok(Flow::Continue(()))
    }

    /// Takes a step under the loss scale, and takes it anew under a lower one where gradients overflow.
    fn scaled_step(
        &mut self,
        batches: &[TokenBatch],
        settings: StepSettings,
    ) -> Result<StepOutcome, TrainError> {
        let Self { trainable, optimizer, stop, group, state, .. } = self;
        loop {
            let loss_scale = state.loss_scale.map_or(1.0, LossScale::factor);
            let settings = StepSettings { loss_scale, ..settings };
            let outcome = shared_step(*trainable, optimizer, batches, &settings, stop, group)?;
            match (&outcome, &mut state.loss_scale) {
                (StepOutcome::Overflowed, Some(scale)) => scale.lower(),
                (StepOutcome::Updated(_), Some(scale)) => {
                    scale.count();
                    return Ok(outcome);
                }
                _ => return Ok(outcome),
            }
        }
    }

    /// Writes a line of metrics and starts the next window.
    fn log(&mut self) -> Result<(), TrainError> {
        let window = std::mem::take(&mut self.state.window);
        let record = StepRecord {
            step: self.state.step,
            epoch: self.plan.epochs_done(self.state.step),
            loss: window.loss(),
            learning_rate: self.schedule.at(self.state.step.saturating_sub(1)),
            grad_norm: window.grad_norm,
            tokens: self.state.tokens,
            tokens_per_s: window.tokens_per_s(),
            elapsed_s: self.elapsed_s(),
            memory_mib: self.memory_mib(),
            skipped_steps: self.state.skipped_steps,
        };
        self.state.logged_loss = record.loss.or(self.state.logged_loss);
        if let Some(curves) = &mut self.curves {
            curves.step(&record, self.reporter)?;
        }
        self.reporter.logged(&record);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<Flow, TrainError> {
        let Some(validation) = self.validation else { return Ok(Flow::Continue(())) };
        let clock = Instant::now();
        let batch_size = self.config.micro_batch_size as usize;
        let mut on_batch = |done| self.reporter.evaluating(done, validation.len());
        let loss = evaluate(self.trainable, validation, batch_size, &self.stop, &self.group, &mut on_batch)?;
        let Some(eval_loss) = loss else { return Ok(Flow::Break(())) };
        let (step, epoch) = (self.state.step, self.plan.epochs_done(self.state.step));
        if !eval_loss.is_finite() {
            let mut names = self.optimizer.not_finite()?;
            if names.is_empty() {
                names = frozen_not_finite(self.trainable)?;
            }
            return Err(TrainError::BadEvaluation { step, eval_loss, names });
        }
        let (eval_s, elapsed_s) = (clock.elapsed().as_secs_f64(), self.elapsed_s());
        let is_best = self.state.best.is_none_or(|best| eval_loss < best.eval_loss);
        if is_best {
            self.state.best = Some(Best { step, eval_loss });
        }
        self.state.evaluated_step = Some(step);
        let record = EvalRecord { step, epoch, eval_loss, eval_s, elapsed_s };
        if let Some(curves) = &mut self.curves {
            curves.evaluation(&record, self.reporter)?;
        }
        self.reporter.evaluated(&record, is_best);
        Ok(Flow::Continue(()))
    }

    /// Checks that what is about to be saved can be used.
    fn check_finite(&self) -> Result<(), TrainError> {
        let names = self.optimizer.not_finite()?;
        if names.is_empty() {
            return Ok(());
        }
        Err(TrainError::NotFinite { step: self.state.step, names })
    }

    fn save_checkpoint(&mut self) -> Result<(), TrainError> {
        self.check_finite()?;
        self.state.elapsed_s = self.elapsed_s();
        let path = checkpoint_path(&self.output_dir, self.state.step);
        self.last_checkpoint = Some(Checkpoint { step: self.state.step, path });
        let Some(curves) = &self.curves else { return Ok(()) };
        // A checkpoint must not outlive the lines of metrics it stands behind.
        curves.sync()?;
        let path = checkpoint::save(&self.output_dir, self.trainable, &self.optimizer, &self.state)?;
        self.reporter.saved(&path);
        if let Some(limit) = self.config.save_total_limit {
            let best = self.best_to_load().map(|best| best.step);
            checkpoint::prune(&self.output_dir, limit as usize, best)?;
        }
        Ok(())
    }

    fn finished(&mut self) -> Result<Outcome, TrainError> {
        if let Some(best) = self.best_to_load().filter(|best| best.step != self.state.step) {
            if self.group.is_first() {
                checkpoint::restore_best(&checkpoint_path(&self.output_dir, best.step), self.trainable)?;
            }
            self.spread_parameters()?;
        }
        self.check_finite()?;
        if self.group.is_first() {
            let failed = |source| TrainError::Save { path: self.output_dir.clone(), source };
            self.trainable.save(&self.output_dir).map_err(failed)?;
        }
        // The result is there for every process when its run has ended.
        self.group.barrier()?;
        Ok(Outcome::Finished(self.summary()))
    }

    fn stopped(&mut self) -> Result<Outcome, TrainError> {
        let step = self.state.step;
        if step > 0 && self.last_checkpoint.as_ref().is_none_or(|last| last.step != step) {
            self.save_checkpoint()?;
        }
        let checkpoint = self.last_checkpoint.as_ref().map(|last| last.path.clone());
        Ok(Outcome::Stopped { step, checkpoint, summary: self.summary() })
    }

    /// Copies the parameters of the first process into the others.
    pub(crate) fn spread_parameters(&self) -> Result<(), TrainError> {
        let _guard = no_grad_guard();
        for (_, tensor) in self.optimizer.parameters() {
            self.group.broadcast(&mut tensor.shallow_clone(), 0)?;
        }
        Ok(())
    }

    fn summary(&self) -> Summary {
        Summary {
            steps: self.state.step,
            final_loss: self.state.logged_loss,
            tokens: self.state.tokens,
            skipped_steps: self.state.skipped_steps,
            elapsed_s: self.elapsed_s(),
            train_s: self.state.train_s,
            phases: self.state.phases,
            best: self.state.best,
        }
    }

    fn elapsed_s(&self) -> f64 {
        self.earlier_s + self.clock.elapsed().as_secs_f64()
    }

    /// Measures [`StepRecord::memory_mib`].
    fn memory_mib(&self) -> u64 {
        let peak = |device| match device {
            Device::Cuda(index) => torch_ext::cuda::memory(index).ok().map(|memory| memory.peak_bytes),
            _ => None,
        };
        let on_cuda: Option<u64> = self.optimizer.devices().into_iter().map(peak).sum();
        on_cuda.unwrap_or_else(|| torch_ext::process_memory().resident_bytes) >> 20
    }
}
