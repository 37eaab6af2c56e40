//! Access control: the API key and the host name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use crate::listener::Peer;

/// Whom a server answers.
#[derive(Debug)]
pub(crate) struct Access {
    /// Address that it listens on.
    pub(crate) address: SocketAddr,
    /// Key to send, if one is asked for.
    pub(crate) api_key: Option<String>,
}

/// Puts the guard before routes: the key before `keyed`, and before all the host name, the pause and the mark of a busy connection.
pub(crate) fn guarded<S: Clone + Send + Sync + 'static>(
    keyed: Router<S>,
    open: Router<S>,
    access: Arc<Access>,
    nothing_here: &'static str,
) -> Router<S> {
    keyed
        .layer(from_fn_with_state(access.clone(), key))
        .merge(open)
        .fallback(move || async move { ApiError::not_found(nothing_here) })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(from_fn_with_state(access, host))
        .layer(from_fn(refused))
        .layer(from_fn(busy))
}

/// Notes that the connection is in use.
async fn busy(ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    let _busy = peer.activity.begin();
    next.run(request).await
}

/// Pause before "too many requests" is said. Whoever asks again at once would otherwise cost more than whoever waits.
const REFUSAL_PAUSE: Duration = Duration::from_millis(250);

/// Delays the answer to a request for which there was no room.
async fn refused(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        tokio::time::sleep(REFUSAL_PAUSE).await;
    }
    response
}

/// Checks the key, where there is one.
async fn key(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let Some(expected) = &access.api_key else { return next.run(request).await };
    let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default().trim_ascii();
    if equal(given, expected.as_bytes()) {
        next.run(request).await
    } else {
        ApiError::wrong_key().into_response()
    }
}

/// Compares in constant time, which does not tell how much of the key is right.
fn equal(given: &[u8], expected: &[u8]) -> bool {
    let differing = given.iter().zip(expected).fold(0, |bits, (a, b)| bits | (a ^ b));
    given.len() == expected.len() && std::hint::black_box(differing) == 0
}

/// Checks the `Host` header of a server without a key that listens on this machine only: it has to name this machine.
/// Otherwise any page in the user's browser could ask, by a name of its own that it lets point here.
async fn host(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if access.api_key.is_some() || !access.address.ip().is_loopback() {
        return next.run(request).await;
    }
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if is_this_machine(host) { next.run(request).await } else { ApiError::wrong_host(host).into_response() }
}

fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
        || host == "[::1]"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_host_names_are_accepted() {
        for host in ["localhost", "LocalHost:7860", "127.0.0.1:7860", "127.0.0.1", "[::1]:80", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "10.0.0.1:7860", "127.0.0.1.evil.example:80"]
        {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn a_key_equals_only_itself() {
        assert!(equal(b"secret", b"secret"));
        for given in [&b""[..], b"secre", b"secret1", b"Secret"] {
            assert!(!equal(given, b"secret"));
        }
    }
}
