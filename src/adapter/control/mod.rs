//! What the adapter knows and does: it watches the fleet, elects a leader, and the leader writes to the cluster.
//!
//! ```text
//! pods ─┐                        ┌─▶ the API that is served
//!       ├─▶ gauges ─▶ Fleet ─────┤
//! redis ┘                        └─▶ deletion cost ─▶ pods       (leader)
//! Secret ─▶ Identity ─▶ TLS          authority ─▶ Secret, APIServices (leader)
//! ```

pub mod authority;
pub mod ca_bundle;
pub mod call;
pub mod certificate;
pub mod cost_writer;
pub mod deletion_cost;
pub mod gauges;
pub mod leader;
pub mod metrics;
pub mod pods;
pub mod redis;

use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fleet::Fleet;
use super::settings::{CertificateSource, Settings};
use crate::tls::Identity;
use authority::{Authority, Seen};
use cost_writer::CostWriter;
use gauges::Gauges;
use leader::{Candidate, while_leading};
pub use metrics::ControlMetrics;
use pods::Pods;

/// As whom the adapter writes to the cluster.
pub const FIELD_MANAGER: &str = "metrics-adapter";
/// The annotation that orders the pods of a `ReplicaSet` when some have to go.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The running half: what it publishes.
#[derive(Debug)]
pub struct Control {
    /// The fleet as of the last round, about every 2 s. Its total is `None` before the first one.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// The certificate to show, from the Secret; stays `None` where the certificate comes from files.
    pub identity: watch::Receiver<Option<Identity>>,
    /// Whether this adapter is the one that writes to the cluster.
    pub leading: watch::Receiver<bool>,
    /// What it counts; to be registered.
    pub metrics: ControlMetrics,
    tasks: TaskTracker,
}

impl Control {
    /// Waits for the end of all tasks, after the token of [`start`] was cancelled. Takes about 2 s at most: the leader
    /// lets go of its Lease, so that another takes over at once.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

/// Starts the tasks; they end with `stop`. Failures are logged and retried, none ends a task.
#[must_use]
pub fn start(settings: &Settings, client: &Client, stop: &CancellationToken) -> Control {
    let metrics = ControlMetrics::new();
    let tasks = TaskTracker::new();
    let until_stop = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let stop = stop.clone();
        tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    };

    let (pods, writer) = Pods::new();
    let pods = Arc::new(pods);
    until_stop({
        let (pods, client, metrics) = (Arc::clone(&pods), client.clone(), metrics.clone());
        let (namespace, selector) = (settings.namespace.clone(), settings.selector.clone());
        Box::pin(async move { pods.watch(writer, client, &namespace, &selector, &metrics).await })
    });

    let (fleet_sender, fleet) = watch::channel(Arc::default());
    until_stop(Box::pin(Gauges::new(settings, &metrics).run(Arc::clone(&pods), fleet_sender)));

    let (leads, leading) = watch::channel(false);
    if let Some(leadership) = &settings.leadership {
        let candidate = Candidate::new(client.clone(), &settings.namespace, leadership, metrics.clone());
        // Ends by itself, after letting go.
        tasks.spawn(candidate.run(leads, stop.clone()));
    }

    let (identity_sender, identity) = watch::channel(None);
    if let CertificateSource::SelfMade { secret, service } = &settings.certificate {
        let (seen_sender, seen) = watch::channel(Seen::default());
        let (client, metrics, leading) = (client.clone(), metrics.clone(), leading.clone());
        let (namespace, secret) = (settings.namespace.clone(), secret.clone());
        let service = service.clone();
        until_stop({
            let (client, namespace, secret) = (client.clone(), namespace.clone(), secret.clone());
            Box::pin(async move {
                authority::watch_secret(client, &namespace, &secret, &seen_sender, &identity_sender).await;
            })
        });
        until_stop(Box::pin(while_leading(leading, move || {
            Authority::new(client.clone(), &namespace, &secret, &service, seen.clone(), metrics.clone())
                .lead()
        })));
    }

    if let Some(goal) = settings.deletion_cost {
        let (client, metrics, leading, fleet) =
            (client.clone(), metrics.clone(), leading.clone(), fleet.clone());
        let namespace = settings.namespace.clone();
        until_stop(Box::pin(while_leading(leading, move || {
            let writer = CostWriter::new(client.clone(), &namespace, goal, metrics.clone());
            writer.lead(Arc::clone(&pods), fleet.clone())
        })));
    }

    tasks.close();
    Control { fleet, identity, leading, metrics, tasks }
}
