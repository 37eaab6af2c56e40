//! Server: listens at once, and answers with its models as soon as they are there.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::api::{App, RunningSource, router};
use crate::http::{Http, StopHandle};
use crate::lock::lock;
use crate::prepare::Preparer;
use crate::request_queue::RequestQueue;
use crate::{Limits, ServeConfig, ServeError, Source, worker};

/// Server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    http: Http,
    loader: Loader,
}

/// Gives a server its models, from any thread and once they are loaded. Until then the page tells how far that is, and requests
/// are told to wait.
#[derive(Debug, Clone)]
pub struct Loader {
    app: Arc<App>,
    workers: Arc<Mutex<Workers>>,
}

impl Server {
    /// Binds the address and starts a worker thread for each source.
    ///
    /// # Errors
    /// [`ServeError`] when there is no source, two have one name, or the address cannot be bound.
    pub fn bind(sources: Vec<Source>, config: ServeConfig) -> Result<Self, ServeError> {
        check(&sources)?;
        let rows = config.limits.rows;
        let server = Self::listen(config)?;
        server.loader().ready(sources, rows)?;
        Ok(server)
    }

    /// Binds the address; [`Server::loader`] brings the sources.
    ///
    /// # Errors
    /// [`ServeError`] when the address cannot be bound.
    pub fn listen(mut config: ServeConfig) -> Result<Self, ServeError> {
        let http = Http::bind(config.address, &config.limits)?;
        config.address = http.address();
        let (preparer, threads) = Preparer::start(config.limits.queue_len)
            .map_err(|source| ServeError::Thread { what: "prompts".to_owned(), source })?;
        let workers = Workers { preparer: preparer.clone(), threads, sources: Vec::new() };
        let app = Arc::new(App::new(config, preparer));
        Ok(Self { http, loader: Loader { app, workers: Arc::new(Mutex::new(workers)) } })
    }

    /// Returns the handle that brings the sources.
    pub fn loader(&self) -> Loader {
        self.loader.clone()
    }

    /// Returns the address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.http.address()
    }

    /// Returns a handle that stops the server.
    pub fn stop_handle(&self) -> StopHandle {
        self.http.stop_handle()
    }

    /// Answers until it is stopped.
    ///
    /// # Errors
    /// [`ServeError::Serve`] when listening fails.
    pub fn run(self) -> Result<(), ServeError> {
        let Self { http, loader: Loader { app, workers } } = self;
        let result = http.run(router(app), || lock(&workers).stop());
        lock(&workers).end();
        result
    }
}

impl Loader {
    /// Tells the page what is being loaded: `done` parts `of` so many, 0 where nobody knows.
    pub fn say(&self, text: &str, done: usize, of: usize) {
        self.app.say(text, done, of);
    }

    /// Starts a worker thread for each source; from now on they answer, `rows` sequences of each together.
    ///
    /// # Errors
    /// [`ServeError`] when there is no source, two have one name, or a thread cannot be started.
    pub fn ready(&self, sources: Vec<Source>, rows: usize) -> Result<(), ServeError> {
        check(&sources)?;
        let limits = Limits { rows, ..self.app.config.limits.clone() };
        let mut served = Vec::new();
        for source in sources {
            let (source, thread) = start(source, &limits)?;
            lock(&self.workers).sources.push((source.queue.clone(), thread));
            served.push(Arc::new(source));
        }
        self.app.ready(served, rows);
        Ok(())
    }
}

/// Checks that there are sources, and that each has a name of its own.
fn check(sources: &[Source]) -> Result<(), ServeError> {
    if sources.is_empty() {
        return Err(ServeError::NoSource);
    }
    let mut names = HashSet::new();
    match sources.iter().find(|source| !names.insert(&source.name)) {
        Some(source) => Err(ServeError::SameName { name: source.name.clone() }),
        None => Ok(()),
    }
}

/// Threads of the sources, and those that prepare prompts; dropping it ends them.
#[derive(Debug)]
struct Workers {
    preparer: Arc<Preparer>,
    threads: Vec<JoinHandle<()>>,
    sources: Vec<(Arc<RequestQueue>, JoinHandle<()>)>,
}

impl Workers {
    fn stop(&self) {
        self.preparer.stop();
        self.sources.iter().for_each(|(queue, _)| queue.stop());
    }

    /// Ends all threads, and waits for them.
    fn end(&mut self) {
        self.stop();
        for thread in self.sources.drain(..).map(|(_, thread)| thread).chain(self.threads.drain(..)) {
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a worker thread that owns the source's model.
fn start(source: Source, limits: &Limits) -> Result<(RunningSource, JoinHandle<()>), ServeError> {
    let Source { name, description, adapter_off, model, text, templates, eos_ids } = source;
    let capacity = model.max_len().min(limits.prompt_tokens + limits.new_tokens).max(1);
    let vocab_size = model.vocab_size();
    let queue = Arc::new(RequestQueue::new(&name, limits));
    let (requests, decoder) = (queue.clone(), text.clone());
    let thread = std::thread::Builder::new()
        .name(format!("source {name}"))
        .spawn(move || worker::run(&requests, &*model, &*decoder, capacity))
        .map_err(|error| ServeError::Thread { what: format!("source `{name}`"), source: error })?;
    let text = crate::api::TextFunctions(text);
    let stuck = std::sync::OnceLock::new();
    let source = RunningSource {
        name,
        description,
        adapter_off,
        queue,
        text,
        templates,
        stuck,
        eos_ids,
        vocab_size,
        capacity,
    };
    Ok((source, thread))
}
