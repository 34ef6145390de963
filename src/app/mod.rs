//! The composition root: the one place that knows every part.

mod entrance;
mod inbox;
mod keep;
mod keys;
mod left_out;
mod present;
mod revoking;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::auth::{KeyError, RevokedTokens, Verifier};
use crate::backplane::memory::{MemoryBackplane, MemoryRevocations};
use crate::backplane::redis::{RedisBackplane, StartError};
use crate::backplane::{Backplane, Registry, Revocations, Sink, Status};
use crate::config::{Config, Environment};
use crate::drain::{Drain, Phase};
use crate::history::History;
use crate::history::memory::Rings;
use crate::hub::Hub;
use crate::memory::MemoryShare;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::server::{self, Admission, Door, Service, accept};
use crate::telemetry::Levels;
use crate::tls::IdentityError;
use crate::trace::{self, ExportError};
use inbox::{Inbox, LinkObserver, Wakes};
use keys::Keys;
use revoking::Revoking;

/// How long the last spans have to reach the collector, at the very end.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A port cannot be bound.
    #[error("cannot listen on {address}: {source}; is another process there?")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Spans cannot be sent as the settings say.
    #[error(transparent)]
    Tracing(#[from] ExportError),
    /// The certificate to show cannot be used.
    #[error("TLS_CERTIFICATE and TLS_KEY: {0}")]
    Certificate(#[from] IdentityError),
    /// The backplane's settings cannot be used.
    #[error(transparent)]
    Backplane(#[from] StartError),
}

/// Where the service listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Clients and publishers.
    pub public: SocketAddr,
    /// The cluster.
    pub admin: SocketAddr,
}

/// A service whose ports are bound and whose parts are made, not yet serving.
#[derive(Debug)]
pub struct Bound {
    /// The ports as bound; of use where the settings said 0.
    pub addresses: Addresses,
    /// Starts the drain, and tells how far it is.
    pub drain: Drain,
    /// Where to look at the counters.
    pub metrics: Arc<Metrics>,
    /// A URL with a token to try, where the key was made up.
    pub try_url: Option<String>,
    service: Arc<Service>,
    listeners: (TcpListener, TcpListener),
    door: Door,
    started: Arc<AtomicBool>,
    stop: CancellationToken,
    background: Vec<JoinHandle<()>>,
}

/// Binds every port, then makes every part. Starts nothing that cannot be dropped, and needs no Redis to be there.
///
/// # Errors
/// [`BuildError`] when a port is taken, or a key or URL is no good.
pub async fn build(config: Config, levels: Levels) -> Result<Bound, BuildError> {
    let public = listen(&config, config.server.port)?;
    let admin = listen(&config, config.server.admin_port)?;
    let addresses = Addresses { public: local(&public)?, admin: local(&admin)? };

    let (door, certificate) = entrance::of(&config.server)?;
    let keys = Keys::load(&config)?;
    let scheme = if door.tls.is_some() { "wss" } else { "ws" };
    let try_url = keys
        .token
        .as_ref()
        .map(|token| format!("{scheme}://localhost:{}/ws?token={}", addresses.public.port(), token.expose()));
    let page = (config.environment == Environment::Development).then(|| keys.page());

    let stop = CancellationToken::new();
    let pod = gethostname::gethostname().to_string_lossy().into_owned();
    let tracer = trace::start(&config.traces, &pod)?;
    let (hub, metrics) = (Hub::new(), Arc::new(Metrics::new()));
    metrics.connections_limit.set(i64::try_from(config.limits.connections).unwrap_or(i64::MAX));
    let Messages { backplane, history, registry, revocations, wakes } =
        messages(&config, &hub, &metrics, keys.verifier.revoked(), &pod, &stop)?;
    let (drain, started) = (Drain::default(), Arc::new(AtomicBool::new(false)));
    let mut background = keys.watch(&metrics, &stop);
    if let Some(certificate) = certificate {
        background.push(tokio::spawn(certificate.keep(stop.clone())));
    }
    let memory = MemoryShare::default();
    background.push(tokio::spawn({
        let (memory, metrics, stop) = (memory.clone(), Arc::clone(&metrics), stop.clone());
        async move { memory.watch(stop, |percent| metrics.memory_percent.set(percent)).await }
    }));
    if let Some(history) = &history {
        let (hub, history) = (Arc::clone(&hub), Arc::clone(history));
        background.push(tokio::spawn(keep::keep(hub, history, config.history.ttl, stop.clone())));
    }

    if let Some(registry) = &registry {
        let (hub, registry) = (Arc::clone(&hub), Arc::clone(registry));
        let (pod, wakes, stop) = (pod.clone(), Arc::clone(&wakes), stop.clone());
        background.push(tokio::spawn(present::keep(hub, registry, pod, wakes, stop)));
    }
    let revoking = Revoking {
        kept: Arc::clone(&revocations),
        tokens: Arc::clone(keys.verifier.revoked()),
        hub: Arc::clone(&hub),
        metrics: Arc::clone(&metrics),
        wakes,
    };
    background.push(tokio::spawn(revoking.run(stop.clone())));

    let service = Arc::new(Service {
        readiness: readiness(&started, &drain, &keys.verifier, &backplane),
        admission: Admission::new(&config.limits, memory),
        verifier: keys.verifier,
        api_key: keys.api_key,
        drain: drain.clone(),
        metrics: Arc::clone(&metrics),
        hub,
        backplane,
        history,
        registry,
        revocations,
        levels,
        tracer,
        page,
        pod,
        config,
    });
    background.push(tokio::spawn(left_out::tell(Arc::clone(&service), stop.clone())));
    Ok(Bound {
        addresses,
        drain,
        metrics,
        try_url,
        service,
        listeners: (public, admin),
        door,
        started,
        stop,
        background,
    })
}

impl Bound {
    /// Serves until `leave` resolves, which should be after a drain. Requests under way then finish.
    pub async fn run(self, leave: impl Future<Output = ()>) {
        let Self { service, listeners: (public, admin), door, started, stop, background, .. } = self;
        // The listeners go last: until then the pod answers its probes and tells why it is unready.
        let closed = CancellationToken::new();
        let (world, cluster) = (server::Public::new(&service), server::admin_router(&service));
        let public = tokio::spawn(accept::serve(public, door, world, closed.clone()));
        let admin = tokio::spawn(accept::serve(admin, Door::default(), cluster, closed.clone()));
        started.store(true, Ordering::Release);

        tokio::select! {
            () = leave => {}
            // Never resolves: a drained pod stays, unready, until it is asked to leave.
            () = async {
                let Service { hub, config, metrics, tracer, .. } = &*service;
                service.drain.run(hub, &config.drain, metrics, tracer).await;
                std::future::pending::<()>().await;
            } => {}
        }
        closed.cancel();
        let _ = tokio::join!(public, admin);
        stop.cancel();
        for task in background {
            let _ = task.await;
        }
        let tracer = service.tracer.clone();
        // It waits for the collector, on a thread that may.
        let _ = spawn_blocking(move || tracer.stop(LAST_SPANS)).await;
    }
}

fn listen(config: &Config, port: u16) -> Result<TcpListener, BuildError> {
    let address = SocketAddr::new(config.server.host, port);
    accept::bind(address).map_err(|source| BuildError::Bind { address, source })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, BuildError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    listener.local_addr().map_err(|source| BuildError::Bind { address: unknown, source })
}

/// The way messages come and go.
struct Messages {
    backplane: Arc<dyn Backplane>,
    /// Where they are kept, while history is on.
    history: Option<Arc<dyn History>>,
    /// The connections of all pods, where there may be several.
    registry: Option<Arc<dyn Registry>>,
    /// Tokens that do not count any more.
    revocations: Arc<dyn Revocations>,
    wakes: Arc<Wakes>,
}

fn messages(
    config: &Config,
    hub: &Arc<Hub>,
    metrics: &Arc<Metrics>,
    revoked: &Arc<RevokedTokens>,
    pod: &str,
    stop: &CancellationToken,
) -> Result<Messages, StartError> {
    let sink = Inbox::new(Arc::clone(hub), Arc::clone(metrics), Arc::clone(revoked), &config.session);
    let wakes = sink.wakes();
    let sink: Arc<dyn Sink> = Arc::new(sink);
    if config.backplane.redis_url.is_none() {
        metrics.backplane_up.set(1);
        let rings = config.history.is_on().then(|| Arc::new(Rings::new(config.history)));
        let history = rings.clone().map(|rings| rings as Arc<dyn History>);
        let revocations = Arc::new(MemoryRevocations::new(Arc::clone(&sink)));
        let backplane = Arc::new(MemoryBackplane::new(sink, rings));
        return Ok(Messages { backplane, history, registry: None, revocations, wakes });
    }
    let observer = Arc::new(LinkObserver::new(Arc::clone(metrics)));
    let name = format!("websocket-service-{pod}");
    let backplane = RedisBackplane::start(&config.backplane, config.history, sink, observer, &name, stop)?;
    let history = config.history.is_on().then(|| Arc::clone(&backplane) as Arc<dyn History>);
    let (registry, revocations) = (Some(backplane.registry()), backplane.revocations());
    Ok(Messages { backplane, history, registry, revocations, wakes })
}

/// Starting, draining, and a backplane that was never there make the pod unready. One that went away later does not:
/// all pods share it, and all would go at once. A pod that has proof of being deaf while others hear goes alone.
///
/// So it is with token keys: without any nobody can be let in; an issuer that goes away later takes no pod with it.
fn readiness(
    started: &Arc<AtomicBool>,
    drain: &Drain,
    verifier: &Arc<Verifier>,
    backplane: &Arc<dyn Backplane>,
) -> Readiness {
    let (started, drain, backplane) = (Arc::clone(started), drain.clone(), Arc::clone(backplane));
    let verifier = Arc::clone(verifier);
    Readiness::default()
        .with("starting", move || started.load(Ordering::Acquire))
        .with("draining", move || drain.phase() == Phase::Serving)
        .with("token-keys", move || verifier.has_keys())
        .with("backplane", move || backplane.status() != Status::Connecting && !backplane.deaf_alone())
}
