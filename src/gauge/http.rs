//! What the kubelet, Prometheus and the metrics adapter ask.
//!
//! One request a connection, few connections, each with an end: the container has 16 MiB, and whoever opens connections
//! and says nothing is not to keep the kubelet's probe out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::state::State;
use crate::metrics::CONTENT_TYPE;
use crate::protocol::{CorrelationId, ErrorCode, ServiceError};

/// How long a client may take for the head of its request.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may take altogether.
const CONNECTION_BOUND: Duration = Duration::from_secs(10);

/// Connections at one time; each holds at most `MAX_HEAD_BYTES`, so 512 KiB together.
const MAX_CONNECTIONS: usize = 64;

/// Largest head of a request, in bytes; the least that the crate takes.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Pause after an accept that failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const JSON: &str = "application/json";
/// What was being done, in an error's body.
const OPERATION: &str = "connection_gauge";

/// Binds the listener.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    http.keep_alive(false).max_buf_size(MAX_HEAD_BYTES);
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let state = Arc::clone(&state);
        let service = service_fn(move |request: http::Request<_>| {
            let answer = answer(&state, request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Ok(Err(error)) = timeout(CONNECTION_BOUND, connection).await {
                debug!(%error, "http connection ended early");
            }
            drop(place);
        });
    }
}

fn answer(state: &State, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let error = |code, message| Err(ServiceError::new(code, OPERATION, message));
    let found = match path {
        _ if !matches!(*method, Method::GET | Method::HEAD) => {
            Err(ServiceError::new(ErrorCode::InvalidRequest, OPERATION, "Only GET is answered here")
                .with_status(StatusCode::METHOD_NOT_ALLOWED))
        }
        "/metrics" => Ok((CONTENT_TYPE, state.exposition())),
        "/gauge" => match state.pod() {
            Some(gauge) => Ok((JSON, json!(gauge).to_string())),
            None => error(ErrorCode::ServiceUnavailable, "The service has not told its connections for 15 s"),
        },
        "/healthz" if state.is_alive() => Ok((JSON, json!({ "status": "ok" }).to_string())),
        "/healthz" => error(ErrorCode::ServiceUnavailable, "The service has not been asked for 30 s"),
        _ => error(ErrorCode::ResourceNotFound, "There is nothing at this path"),
    };
    match found {
        Ok((content_type, body)) => response(StatusCode::OK, content_type, body),
        Err(error) => response(error.status(), JSON, error.body(CorrelationId::random()).to_string()),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::gauge::flags::tests::identity;
    use crate::gauge::poll::tests::reading;
    use crate::gauge::state::HANGS_AFTER;
    use crate::protocol::GAUGE_EXPIRY;

    fn status(state: &State, path: &str) -> u16 {
        answer(state, &Method::GET, path).status().as_u16()
    }

    #[tokio::test(start_paused = true)]
    async fn each_path_says_what_is_so() {
        let state = State::new(&identity());
        assert_eq!((status(&state, "/healthz"), status(&state, "/gauge")), (200, 503));
        state.turned(Some((reading(3), Instant::now())));
        assert_eq!(
            (status(&state, "/gauge"), status(&state, "/metrics"), status(&state, "/")),
            (200, 200, 404)
        );
        assert_eq!(answer(&state, &Method::POST, "/gauge").status(), 405);
        assert_eq!(answer(&state, &Method::HEAD, "/healthz").status(), 200);
        tokio::time::advance(GAUGE_EXPIRY + Duration::from_millis(1)).await;
        assert_eq!((status(&state, "/healthz"), status(&state, "/gauge")), (200, 503));
        tokio::time::advance(HANGS_AFTER).await;
        assert_eq!(status(&state, "/healthz"), 503);
    }
}
