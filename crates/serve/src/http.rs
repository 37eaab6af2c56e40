//! The ground of a server: an address that is listened on within limits, routes behind it, an end in order.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::listener::{BoundedListener, Peer};
use crate::{Limits, ServeError};

/// Threads that answer connections; the work is done elsewhere.
pub(crate) const CONNECTION_THREADS: usize = 2;
/// Time that answers have to end once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Address that is listened on; nothing is answered yet.
#[derive(Debug)]
pub(crate) struct Http {
    runtime: Runtime,
    listener: BoundedListener,
    address: SocketAddr,
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

impl Http {
    /// Binds `address`; port 0 takes a free one.
    pub(crate) fn bind(address: SocketAddr, limits: &Limits) -> Result<Self, ServeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONNECTION_THREADS)
            .max_blocking_threads(CONNECTION_THREADS)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(|source| ServeError::Thread { what: "connections".to_owned(), source })?;
        let listen = |source| ServeError::Listen { address, source };
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let listener = BoundedListener::new(listener, limits);
        Ok(Self { runtime, listener, address, stop: watch::Sender::new(false) })
    }

    /// Returns the address it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a handle that stops it.
    pub(crate) fn stop_handle(&self) -> StopHandle {
        StopHandle(self.stop.clone())
    }

    /// Answers by `routes` until it is stopped; `end_work` ends what is still being answered a few seconds later.
    pub(crate) fn run(self, routes: Router, end_work: impl FnOnce()) -> Result<(), ServeError> {
        let Self { runtime, listener, stop, .. } = self;
        let places = listener.places();
        let result = runtime.block_on(async {
            let service = routes.into_make_service_with_connect_info::<Peer>();
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
            end_work();
            timeout(Duration::from_secs(1), &mut serving).await.unwrap_or(Ok(Ok(())))
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        match result {
            Ok(result) => result.map_err(ServeError::Serve),
            Err(error) => Err(ServeError::Serve(std::io::Error::other(error))),
        }
    }
}
