//! Server: listens, and answers until it is stopped.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::{App, RunningSource, router};
use crate::listener::{BoundedListener, Peer};
use crate::prepare::Preparer;
use crate::request_queue::RequestQueue;
use crate::{ServeConfig, ServeError, Source, worker};

/// Threads that answer connections; the work is done by the sources' threads.
const CONNECTION_THREADS: usize = 2;
/// Time that answers have to end once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    listener: BoundedListener,
    address: SocketAddr,
    app: Arc<App>,
    workers: Workers,
    stop: watch::Sender<bool>,
}

/// Stops a server, from any thread.
#[derive(Debug, Clone)]
pub struct StopHandle(watch::Sender<bool>);

impl StopHandle {
    /// Asks the server to stop: it takes no further connections, and gives the answers that are being written a few
    /// seconds.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
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
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONNECTION_THREADS)
            .max_blocking_threads(CONNECTION_THREADS)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(|source| ServeError::Thread { what: "connections".to_owned(), source })?;
        let listen = |source| ServeError::Listen { address: config.address, source };
        let listener = runtime.block_on(TcpListener::bind(config.address)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        config.address = address;
        let listener = BoundedListener::new(listener, &config.limits);
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
        Ok(Self { runtime, listener, address, app, workers, stop: watch::Sender::new(false) })
    }

    /// Returns the address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns a handle that stops the server.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.stop.clone())
    }

    /// Answers until it is stopped.
    ///
    /// # Errors
    /// [`ServeError::Serve`] when listening fails.
    pub fn run(self) -> Result<(), ServeError> {
        let Self { runtime, listener, app, workers, stop, .. } = self;
        let places = listener.places();
        let result = runtime.block_on(async {
            let service = router(app).into_make_service_with_connect_info::<Peer>();
            let mut stopped = stop.subscribe();
            let mut stopping = stop.subscribe();
            let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
                let _ = stopped.wait_for(|&stop| stop).await;
            });
            let mut serving = tokio::spawn(async move { serving.await });
            let asked = Box::pin(stopping.wait_for(|&stop| stop));
            match futures_util::future::select(&mut serving, asked).await {
                futures_util::future::Either::Left((result, _)) => return result,
                futures_util::future::Either::Right(_) => {}
            }
            // Who asks for nothing is not waited for.
            places.close_idle();
            if let Ok(result) = timeout(GRACE, &mut serving).await {
                return result;
            }
            // What is still being written ends here; a client that does not even take that is left alone.
            workers.stop();
            timeout(Duration::from_secs(1), &mut serving).await.unwrap_or(Ok(Ok(())))
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        drop(workers);
        match result {
            Ok(result) => result.map_err(ServeError::Serve),
            Err(error) => Err(ServeError::Serve(std::io::Error::other(error))),
        }
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
