//! The accept loop of the metrics' API: TLS, the caller's proof, then the routes.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, error, warn};

use super::api::{Refusal, Resource};
use super::caller::{Distrust, believe};
use super::front_proxy::Rules;
use super::metrics::Metrics;
use super::tls::server_config;
use crate::rate_limit::TokenBucket;
use crate::server::accept::next;
use crate::tls::Identity;

/// Connections at one time. The aggregator keeps a few; the rest is for strangers, who are not kept for long.
const MAX_CONNECTIONS: usize = 512;

/// How long a handshake may take, and the head of a stranger's one request.
const STRANGERS_TIME: Duration = Duration::from_secs(5);

/// How long the aggregator's connections may wait for their next request: longer than its own bound of 90 s, so that
/// it does not send one just when the connection is closed.
const IDLE: Duration = Duration::from_secs(120);

/// Largest head of a request, in bytes: group headers and long selectors included.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How long requests under way have to finish at the end.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// Refusals logged a second, and at once after a quiet time: whoever reaches the port can make them.
const LOGGED_REFUSALS: (u32, u32) = (1, 10);

/// Who is believed, what is shown to them, and what is counted.
#[derive(Debug)]
pub struct Door {
    rules: watch::Receiver<Option<Arc<Rules>>>,
    identity: watch::Receiver<Option<Identity>>,
    metrics: Arc<Metrics>,
    log: Mutex<TokenBucket>,
}

impl Door {
    /// Rules and identity may change, or come, at any time.
    #[must_use]
    pub fn new(
        rules: watch::Receiver<Option<Arc<Rules>>>,
        identity: watch::Receiver<Option<Identity>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let log = Mutex::new(TokenBucket::full(LOGGED_REFUSALS.1, Instant::now()));
        Self { rules, identity, metrics, log }
    }

    fn refused(&self, reason: Distrust, peer: IpAddr, detail: &str) {
        self.metrics.refused(reason);
        let (rate, burst) = LOGGED_REFUSALS;
        if self.log.lock().take(rate, burst, Instant::now()) {
            warn!(reason = reason.label(), %peer, detail, "refused");
        } else {
            debug!(reason = reason.label(), %peer, detail, "refused");
        }
    }

    async fn handle(
        &self,
        router: Router,
        chain: &[CertificateDer<'static>],
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Response {
        let rules = self.rules.borrow().clone();
        match believe(rules.as_deref(), chain, request.headers()) {
            Ok(user) => debug!(user, path = request.uri().path(), "asked"),
            Err(reason) => {
                self.refused(reason, peer, "");
                let mut response = Refusal::unauthorized(reason.message()).into_response();
                // The next handshake may show what this one did not: rules and certificates change.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                return response;
            }
        }
        let Ok(response) = router.oneshot(request.map(Body::new)).await;
        let resource = response.extensions().get().copied().unwrap_or(Resource::Other);
        self.metrics.answered(resource, response.status());
        response
    }
}

/// The configuration of the next handshake.
struct Tls {
    rules: watch::Receiver<Option<Arc<Rules>>>,
    identity: watch::Receiver<Option<Identity>>,
    /// Built from both as they were last seen; none before the first look.
    built: Option<Option<Arc<ServerConfig>>>,
}

impl Tls {
    fn config(&mut self) -> Option<Arc<ServerConfig>> {
        let (rules, identity) = (self.rules.borrow_and_update(), self.identity.borrow_and_update());
        if let Some(built) = &self.built
            && !rules.has_changed()
            && !identity.has_changed()
        {
            return built.clone();
        }
        let config = identity.as_ref().and_then(|identity| {
            server_config(identity, rules.as_deref())
                .inspect_err(|error| error!(%error, "the certificate to show cannot be used"))
                .ok()
        });
        let config = config.map(Arc::new);
        self.built = Some(config.clone());
        config
    }
}

/// Serves until `stop`, then lets requests under way finish.
pub async fn serve(listener: TcpListener, router: Router, door: Arc<Door>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut tls = Tls { rules: door.rules.clone(), identity: door.identity.clone(), built: None };
    while let Some((stream, peer, place)) = stop.run_until_cancelled(next(&listener, &places)).await {
        let Some(config) = tls.config() else {
            door.refused(Distrust::NoIdentity, peer, "there is no certificate to show yet");
            continue;
        };
        let (door, router, stop) = (Arc::clone(&door), router.clone(), stop.clone());
        connections.spawn(async move {
            connection(stream, peer, config, door, router, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if timeout(LAST_REQUESTS, connections.wait()).await.is_err() {
        warn!("requests that were under way are cut");
    }
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    config: Arc<ServerConfig>,
    door: Arc<Door>,
    router: Router,
    stop: CancellationToken,
) {
    let handshake = timeout(STRANGERS_TIME, TlsAcceptor::from(config).accept(stream));
    let stream = match stop.run_until_cancelled(handshake).await {
        None => return,
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(error))) => return door.refused(Distrust::Handshake, peer, &error.to_string()),
        Some(Err(_)) => return door.refused(Distrust::Handshake, peer, "it took too long"),
    };
    let chain: Arc<[_]> = stream.get_ref().1.peer_certificates().unwrap_or_default().into();
    let stranger = chain.is_empty();
    let service = service_fn(move |request| {
        let (door, chain, router) = (Arc::clone(&door), Arc::clone(&chain), router.clone());
        async move { Ok::<_, Infallible>(door.handle(router, &chain, peer, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(if stranger { STRANGERS_TIME } else { IDLE })
        .keep_alive(!stranger)
        .max_buf_size(MAX_HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection ended early");
    }
}
