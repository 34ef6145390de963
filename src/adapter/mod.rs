//! `metrics-adapter`: serves `custom.metrics.k8s.io` from the gauges of the fleet's pods.
//!
//! ```text
//! control ──Fleet──▶ api ◀── serve ◀──TLS── aggregator ◀── autoscaler
//!       └─Identity──────────▶  │
//! kube-system ──Rules──────────▶ caller
//! ```

pub mod api;
pub mod caller;
pub mod control;
#[cfg(test)]
mod doc;
pub mod fleet;
pub mod front_proxy;
pub mod health;
pub mod metrics;
pub mod serve;
pub mod settings;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::config::Secret;
use crate::server::{Door as Entrance, accept};
use crate::signal::Signals;
use crate::telemetry;
use crate::tls::{EVERY, Files, Identity, watch};
use api::Api;
use control::ControlMetrics;
use fleet::Fleet;
use health::Health;
use metrics::Metrics;
use serve::Door;
use settings::{CertificateSource, Settings};

/// How long requests are still served after SIGTERM: the aggregator takes a moment to see that an endpoint is gone.
const LAME_DUCK: Duration = Duration::from_secs(3);

/// What the serving half is told by the other.
#[derive(Debug)]
pub struct Known {
    /// The fleet; `Fleet::default()` before anything is known of it.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// The adapter's own certificate; not looked at where it comes from files.
    pub identity: watch::Receiver<Option<Identity>>,
    /// What the other half counts.
    pub metrics: ControlMetrics,
}

/// The serving half, running.
#[derive(Debug)]
pub struct Serving {
    /// Where the metrics' API listens.
    pub api: SocketAddr,
    /// Where health is.
    pub health: SocketAddr,
    leaving: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Serving {
    /// Binds both ports and serves.
    ///
    /// # Errors
    /// When a port cannot be bound, or two metrics have one name.
    pub fn start(settings: &Settings, client: Client, known: Known) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new(&known.metrics).context("metrics")?);
        let (listener, api_address) = bind(settings.listen)?;
        let (health_listener, health_address) = bind(settings.health)?;
        let (leaving, stop, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let until_stop = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let stop = stop.clone();
            tasks.spawn(async move {
                stop.run_until_cancelled(work).await;
            });
        };

        let (sender, rules) = watch::channel(None);
        until_stop(Box::pin(front_proxy::watch_rules(client, sender)));
        let identity = match &settings.certificate {
            CertificateSource::SelfMade { .. } => known.identity,
            CertificateSource::Files { certificate, key } => {
                let (sender, identity) = watch::channel(None);
                let (certificate, key) = (Secret::File(certificate.clone()), Secret::File(key.clone()));
                until_stop(Box::pin(watch(Files { certificate, key }, EVERY, move |identity| {
                    sender.send_replace(Some(identity));
                })));
                identity
            }
        };
        let api = Api::new(settings.namespace.clone(), settings.deployment.clone(), known.fleet);
        let health = Health {
            api: api.clone(),
            rules: rules.clone(),
            identity: identity.clone(),
            metrics: Arc::clone(&metrics),
            leaving: leaving.clone(),
        };
        let door = Arc::new(Door::new(rules, identity, metrics));
        tasks.spawn(serve::serve(listener, api.router(), door, stop.clone()));
        tasks.spawn(accept::serve(health_listener, Entrance::default(), health.router(), stop.clone()));
        tasks.close();
        Ok(Self { api: api_address, health: health_address, leaving, stop, tasks })
    }

    /// Tells probes that the adapter is leaving; requests are still served.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Stops accepting and waits for requests under way, some seconds at most.
    pub async fn stop(self) {
        self.leaving.cancel();
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

fn bind(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let bound = accept::bind(address).and_then(|listener| {
        let address: io::Result<SocketAddr> = listener.local_addr();
        Ok((listener, address?))
    });
    bound.with_context(|| format!("cannot listen on {address}; is another process there?"))
}

/// Serves until SIGTERM or SIGINT, and some seconds longer; a second signal cuts that short.
///
/// # Errors
/// When the log, the signals, the ports or the way to Kubernetes cannot be set up.
pub async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let _levels = telemetry::init(&settings.telemetry)?;
    let mut signals = Signals::listen()?;
    let client = Client::try_default().await.context("there is no way to Kubernetes")?;
    let stop = CancellationToken::new();
    let control = control::start(&settings, &client, &stop);
    let known = Known {
        fleet: control.fleet.clone(),
        identity: control.identity.clone(),
        metrics: control.metrics.clone(),
    };
    let serving = Serving::start(&settings, client, known)?;
    let (api, health) = (serving.api, serving.health);
    info!(%api, %health, deployment = settings.deployment, version = env!("CARGO_PKG_VERSION"), "listening");

    let signal = signals.next().await;
    info!(?signal, "asked to leave");
    serving.leave();
    // Another adapter should lead as soon as it can; what is served meanwhile is a few seconds old.
    stop.cancel();
    tokio::select! {
        () = sleep(LAME_DUCK) => {}
        signal = signals.next() => info!(?signal, "asked again"),
    }
    tokio::join!(serving.stop(), control.stopped());
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}
