//! Watching a run: its figures for the live page while it learns, its files when it ends.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serve::{SiteServer, StopHandle};
use trainer::{EvalRecord, Pace, Reporter, RunInfo, StepProgress, StepRecord, StopFlag};
use weights::atomic_write;

use crate::live::{LiveSite, Shared};
use crate::record::flat_settings;
use crate::{RunPageError, RunRecord, Sampler, State, loss_svg, page, samples};

/// Time that an open page has to ask for the end of the run.
const FAREWELL: Duration = Duration::from_secs(3);
/// A page that asked this long ago is open no more, in milliseconds.
const OPEN_MS: u64 = 10_000;

/// A run that is looked at.
#[derive(Debug)]
pub struct Watch {
    dir: PathBuf,
    shared: Shared,
    server: Mutex<Option<(StopHandle, JoinHandle<()>)>>,
}

impl Watch {
    /// Begins to watch a run into the directory `dir`. `command` began it; `settings` is the text of its `run.toml`.
    pub fn new(dir: &Path, command: Option<String>, settings: &str) -> Self {
        let settings = flat_settings(settings);
        let run = RunRecord { state: State::Loading, command, settings, ..RunRecord::named(dir) };
        Self { dir: dir.to_owned(), shared: Shared::new(run), server: Mutex::new(None) }
    }

    /// Serves the live page from a thread of its own until the watch ends; `stop` is requested by its button. Returns the address.
    ///
    /// # Errors
    /// [`RunPageError::Serve`] when the address cannot be bound, and no thread started.
    pub fn serve(
        &self,
        address: SocketAddr,
        api_key: Option<String>,
        stop: StopFlag,
    ) -> Result<SocketAddr, RunPageError> {
        let site = LiveSite { shared: self.shared.clone(), stop };
        let server = SiteServer::bind(Arc::new(site), address, api_key)?;
        let (address, handle) = (server.local_addr(), server.stop_handle());
        let serve = move || {
            if let Err(error) = server.run() {
                tracing::warn!("the live page ends, the run goes on: {error}");
            }
        };
        let thread = std::thread::Builder::new().name("live page".into()).spawn(serve).map_err(|source| {
            RunPageError::Serve(serve::ServeError::Thread { what: "the live page".to_owned(), source })
        })?;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some((handle, thread));
        Ok(address)
    }

    /// Returns a reporter that tells `inner` everything too; `sampler` answers prompts at each evaluation, or with each checkpoint
    /// where nothing is evaluated.
    pub fn reporter<'a>(&'a self, inner: &'a mut dyn Reporter, sampler: Option<Sampler<'a>>) -> Watched<'a> {
        Watched { watch: self, inner, sampler, pace: Pace::default(), evaluates: false, complained: false }
    }

    /// Ends the run: writes its page and its picture. `message` says why it failed, or how it goes on.
    pub fn end(&self, state: State, message: Option<String>) {
        {
            let mut run = self.shared.lock();
            run.state = state;
            run.message = message;
            run.left_s = None;
        }
        if let Err(error) = self.write() {
            tracing::warn!("the page of the run is not written: {error}");
        }
    }

    /// Returns the run as it stands.
    pub fn run(&self) -> RunRecord {
        self.shared.lock().clone()
    }

    /// Writes `run.html` and `loss.svg`.
    fn write(&self) -> Result<(), RunPageError> {
        let runs = [self.run()];
        if runs[0].total_steps == 0 {
            return Ok(());
        }
        atomic_write(&self.dir.join("run.html"), |file| file.write_all(page(&runs).as_bytes()))?;
        atomic_write(&self.dir.join("loss.svg"), |file| file.write_all(loss_svg(&runs).as_bytes()))?;
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((handle, thread)) = server else { return };
        {
            let mut run = self.shared.lock();
            if matches!(run.state, State::Loading | State::Running | State::Stopping) {
                run.state = State::Failed;
            }
        }
        // A page that is open learns of the end.
        let (ended, asked) = self.shared.asked();
        let is_open = asked.is_some_and(|asked| asked + OPEN_MS > ended);
        let begun = Instant::now();
        while is_open
            && begun.elapsed() < FAREWELL
            && self.shared.asked().1.is_none_or(|asked| asked <= ended)
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(if is_open { 50 } else { 0 }));
        handle.stop();
        let _ = thread.join();
    }
}

/// A reporter that keeps a [`Watch`] up to date. Nothing that goes wrong here reaches the run.
pub struct Watched<'a> {
    watch: &'a Watch,
    inner: &'a mut dyn Reporter,
    sampler: Option<Sampler<'a>>,
    pace: Pace,
    evaluates: bool,
    complained: bool,
}

impl Watched<'_> {
    /// Asks the prompts, and keeps the answers.
    fn sample(&mut self, step: u64) {
        let Some(sampler) = &self.sampler else { return };
        match sampler.ask(step) {
            Ok(samples) => {
                let kept = samples::append(&self.watch.dir, &samples);
                self.watch.shared.lock().samples.extend(samples);
                self.tell(kept);
            }
            Err(reason) => {
                self.sampler = None;
                self.inner.note(&format!("no more answers are shown while it learns: {reason}"));
            }
        }
    }

    /// Tells of the first failure to write, once.
    fn tell(&mut self, result: Result<(), RunPageError>) {
        if let Err(error) = result
            && !std::mem::replace(&mut self.complained, true)
        {
            self.inner.note(&format!("{error}: the run goes on without its page"));
        }
    }

    /// Brings the files up to date, for a run that is killed later.
    fn write(&mut self) {
        let written = self.watch.write();
        self.tell(written);
    }
}

impl Reporter for Watched<'_> {
    fn started(&mut self, info: &RunInfo) {
        self.evaluates = info.validation_records > 0;
        self.pace.step(Instant::now());
        let before = RunRecord::read(&self.watch.dir).unwrap_or_default();
        let samples = samples::keep_up_to(&self.watch.dir, info.step);
        let mut run = self.watch.shared.lock();
        (run.steps, run.evals) = (before.steps, before.evals);
        (run.state, run.step, run.total_steps) = (State::Running, info.step, info.total_steps);
        let kept = samples.map(|samples| run.samples = samples);
        drop(run);
        self.tell(kept);
        self.inner.started(info);
    }

    fn stepped(&mut self, progress: &StepProgress) {
        self.pace.step(Instant::now());
        let mut run = self.watch.shared.lock();
        run.step = progress.step;
        run.left_s =
            Some(self.pace.time_of(progress.total_steps.saturating_sub(progress.step)).as_secs_f64());
        drop(run);
        self.inner.stepped(progress);
    }

    fn logged(&mut self, record: &StepRecord) {
        self.watch.shared.lock().steps.push(record.clone());
        self.inner.logged(record);
    }

    fn evaluating(&mut self, done: usize, total: usize) {
        self.inner.evaluating(done, total);
    }

    fn evaluated(&mut self, record: &EvalRecord, is_best: bool) {
        self.watch.shared.lock().evals.push(record.clone());
        self.inner.evaluated(record, is_best);
        self.sample(record.step);
        self.write();
    }

    fn saved(&mut self, checkpoint: &Path) {
        self.inner.saved(checkpoint);
        if !self.evaluates {
            let step = self.watch.shared.lock().step;
            self.sample(step);
        }
        self.write();
    }

    fn note(&mut self, text: &str) {
        self.watch.shared.lock().notes.push(text.to_owned());
        self.inner.note(text);
    }

    fn ended(&mut self) {
        self.inner.ended();
    }
}
