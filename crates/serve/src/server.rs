//! Server: listens, and answers until it is stopped.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::api::{App, RunningSource, router};
use crate::http::{Http, StopHandle};
use crate::prepare::Preparer;
use crate::request_queue::RequestQueue;
use crate::{ServeConfig, ServeError, Source, worker};

/// Server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    http: Http,
    app: Arc<App>,
    workers: Workers,
}

impl Server {
    /// Binds the address and starts a worker thread for each source.
    ///
    /// # Errors
    /// [`ServeError`] when there is no source, two have one name, or the address cannot be bound.
    pub fn bind(sources: Vec<Source>, mut config: ServeConfig) -> Result<Self, ServeError> {
        if sources.is_empty() {
            return Err(ServeError::NoSource);
        }
        let mut names = HashSet::new();
        if let Some(source) = sources.iter().find(|source| !names.insert(source.name.clone())) {
            return Err(ServeError::SameName { name: source.name.clone() });
        }
        let http = Http::bind(config.address, &config.limits)?;
        config.address = http.address();
        let (preparer, threads) = Preparer::start(config.limits.queue_len)
            .map_err(|source| ServeError::Thread { what: "prompts".to_owned(), source })?;
        let mut workers = Workers { preparer: preparer.clone(), threads, sources: Vec::new() };
        let mut served = Vec::new();
        for source in sources {
            let (source, thread) = start(source, &config)?;
            workers.sources.push((source.queue.clone(), thread));
            served.push(Arc::new(source));
        }
        let app = Arc::new(App { sources: served, config, preparer });
        Ok(Self { http, app, workers })
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
        let Self { http, app, workers } = self;
        http.run(router(app), || workers.stop())
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
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
        for thread in self.sources.drain(..).map(|(_, thread)| thread).chain(self.threads.drain(..)) {
            let _ = thread.join();
        }
    }
}

/// Starts a worker thread that owns the source's model.
fn start(source: Source, config: &ServeConfig) -> Result<(RunningSource, JoinHandle<()>), ServeError> {
    let Source { name, description, model, text, templates, eos_ids } = source;
    let limits = &config.limits;
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
    let source =
        RunningSource { name, description, queue, text, templates, stuck, eos_ids, vocab_size, capacity };
    Ok((source, thread))
}
