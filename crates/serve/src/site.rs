//! A site of another program: one page and the JSON it asks for, behind the same listener and guard as the models.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use crate::api::{Access, ApiError, guarded, html_page, is_json};
use crate::http::{Http, StopHandle};
use crate::{Limits, ServeError};

/// Content of a site. It is asked from several threads, and must answer at once.
pub trait Site: Send + Sync + 'static {
    /// Returns the page at `/`: HTML that loads nothing. It is open to those who have no key, so it holds nothing secret.
    fn page(&self) -> String;

    /// Answers `GET /api/NAME`, if there is something of that name.
    fn get(&self, name: &str) -> Option<Value>;

    /// Acts on `POST /api/NAME`, if there is something of that name to do.
    fn post(&self, name: &str) -> Option<Value>;
}

/// Answer to any other path.
const NOTHING_HERE: &str = "there is nothing at this path; `/` is the page";

/// A site that listens and does not answer yet.
pub struct SiteServer {
    http: Http,
    routes: Router,
}

impl fmt::Debug for SiteServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SiteServer").field("http", &self.http).finish_non_exhaustive()
    }
}

impl SiteServer {
    /// Binds `address`; what is below `/api` asks for `api_key`, where there is one. Without one, a server of this machine
    /// answers to names of this machine only.
    ///
    /// # Errors
    /// [`ServeError`] when the address cannot be bound.
    pub fn bind(
        site: Arc<dyn Site>,
        address: SocketAddr,
        api_key: Option<String>,
    ) -> Result<Self, ServeError> {
        let http = Http::bind(
            address,
            &Limits { connections: 64, connections_per_address: 48, ..Limits::default() },
        )?;
        let access = Access { address: http.address(), api_key };
        let keyed = Router::new().route("/api/{name}", get(read).post(act));
        let open = Router::new().route("/", get(page));
        let routes = guarded(keyed, open, Arc::new(access), NOTHING_HERE).with_state(site);
        Ok(Self { http, routes })
    }

    /// Returns the address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.http.address()
    }

    /// Returns a handle that stops it.
    pub fn stop_handle(&self) -> StopHandle {
        self.http.stop_handle()
    }

    /// Answers until it is stopped.
    ///
    /// # Errors
    /// [`ServeError::Serve`] when listening fails.
    pub fn run(self) -> Result<(), ServeError> {
        self.http.run(self.routes, || {})
    }
}

async fn page(State(site): State<Arc<dyn Site>>) -> Response {
    html_page(site.page())
}

async fn read(State(site): State<Arc<dyn Site>>, Path(name): Path<String>) -> Response {
    answer(site.get(&name))
}

async fn act(State(site): State<Arc<dyn Site>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    // A page of another site can post plain text anywhere without asking, but not JSON.
    if !is_json(&headers) {
        return ApiError::unsupported_media_type().into_response();
    }
    answer(site.post(&name))
}

fn answer(value: Option<Value>) -> Response {
    match value {
        Some(value) => Json(value).into_response(),
        None => ApiError::not_found(NOTHING_HERE).into_response(),
    }
}
