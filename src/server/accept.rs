//! The accept loop. Not `axum::serve`: it sets no timer, so a client that sends its request slowly would hold a
//! connection for ever, and its shutdown does not know upgraded sockets.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::door::Door;

/// How long a client may take to come in (the PROXY header, TLS), then for the head of a request; and how long an idle
/// connection may wait for its next one.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest head of a request, in bytes; room for the longest token and a browser's cookies.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Connections that speak HTTP at one time, upgraded ones not counted. Bounds what strangers who never finish a
/// request can hold: at most `MAX_HEAD_BYTES` each.
const MAX_HTTP_CONNECTIONS: usize = 4_096;

/// Connections that the kernel completes ahead of the loop; a reconnect storm should queue, not be refused.
const BACKLOG: u32 = 4_096;

/// Pause after an accept that failed for want of files or memory, which the next one would too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long requests under way have to finish at the end.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Binds a listener.
///
/// # Errors
/// When the address is taken or not this machine's.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the last process's connections to leave the kernel's table.
    socket.set_reuseaddr(true)?;
    // Messages are small and awaited: no waiting for more to fill a segment. Accepted sockets inherit it.
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, then lets requests under way finish.
pub async fn serve(listener: TcpListener, door: Door, answer: impl Answer, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    while let Some((stream, peer, place)) = stop.run_until_cancelled(next(&listener, &places)).await {
        let (answer, door, http, stop) = (answer.clone(), door.clone(), http.clone(), stop.clone());
        connections.spawn(async move {
            let passing = timeout(HEADER_READ_TIMEOUT, door.pass(stream, peer));
            let (stream, peer) = match stop.run_until_cancelled(passing).await {
                Some(Ok(Ok(passed))) => passed,
                Some(Ok(Err(error))) => return debug!(%peer, %error, "a connection did not come in"),
                Some(Err(_)) => return debug!(%peer, "a connection did not come in: it took too long"),
                None => return,
            };
            let service = service_fn(move |request| {
                let answer = answer.clone();
                async move { Ok::<_, Infallible>(answer.answer(peer, request).await) }
            });
            let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                // A client that left or spoke something else. Its request line may hold a token, so only the kind.
                debug!(timeout = error.is_timeout(), parse = error.is_parse(), "http connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if timeout(LAST_REQUESTS, connections.wait()).await.is_err() {
        warn!("requests that were under way are cut");
    }
}

/// The next connection, once there is room for one.
pub(crate) async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, IpAddr, OwnedSemaphorePermit) {
    loop {
        // The semaphore is never closed; were it, the loop would wait here for `stop`.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip().to_canonical(), place),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Who answers requests. One for a listener, cloned for each of its connections.
pub trait Answer: Clone + Send + 'static {
    /// Answers one request of this peer.
    fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> impl Future<Output = Response> + Send;
}

impl Answer for Router {
    async fn answer(&self, _peer: IpAddr, request: Request<Incoming>) -> Response {
        match self.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_send_at_once() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
        let _client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let (stream, ..) = next(&listener, &Arc::new(Semaphore::new(1))).await;
        assert!(stream.nodelay().expect("asked"));
    }
}
