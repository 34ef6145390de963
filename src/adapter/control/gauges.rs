//! What the pods report, round by round: from Redis, or from their own gauges where that is missing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};
use rand::seq::SliceRandom;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout_at};

use super::metrics::ControlMetrics;
use super::pods::Pods;
use super::redis::RedisReports;
use crate::adapter::fleet::{Fleet, KnownPod, Reports};
use crate::adapter::settings::Settings;
use crate::fetch::{Fetch, FetchError};
use crate::protocol::{GAUGE_INTERVAL, PodGauge};

/// For one pod's own gauge: a few hundred bytes within the cluster.
const ASK: Duration = Duration::from_secs(1);
/// Pods that are asked at a time.
const ASK_AT_ONCE: usize = 16;
/// For all pods of a round. Many that do not answer must not make the reports of the others stale.
const ASK_ALL: Duration = Duration::from_secs(5);

/// Reads the reports.
#[derive(Debug)]
pub struct Gauges {
    redis: Option<RedisReports>,
    fetch: Fetch,
    namespace: String,
    port: u16,
    reports: Reports,
}

impl Gauges {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(settings: &Settings, metrics: &ControlMetrics) -> Self {
        Self {
            redis: settings
                .redis_url
                .clone()
                .map(|url| RedisReports::new(url, &settings.redis_reach, metrics.clone())),
            fetch: Fetch::new(ASK),
            namespace: settings.namespace.clone(),
            port: settings.gauge_port,
            reports: Reports::default(),
        }
    }

    /// Reads in rounds, for ever, and publishes the fleet after each. While the pods are unknown, so is the fleet.
    pub async fn run(mut self, pods: Arc<Pods>, fleet: watch::Sender<Arc<Fleet>>) {
        let mut rounds = interval(GAUGE_INTERVAL);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let read = match pods.known() {
                Some(known) => self.read(&known).await,
                None => Fleet::default(),
            };
            fleet.send_replace(Arc::new(read));
        }
    }

    /// One round. Takes 8 s at most.
    pub async fn read(&mut self, known: &[KnownPod]) -> Fleet {
        self.reports.keep(known);
        let running: Vec<KnownPod> = known.iter().filter(|pod| !pod.over).cloned().collect();
        let redis_answers = self.read_redis(&running).await;
        let heard = now();
        let ask = running.into_iter().filter(|pod| {
            // With Redis there, a pod that is not ready or on its way out may rightly have no report yet or any more.
            let should_report = pod.ready && pod.is_live();
            !redis_answers || should_report && self.reports.fresh(&pod.uid, heard).is_none()
        });
        self.ask(ask.collect()).await;
        Fleet::join(known, &self.reports, now())
    }

    /// Whether Redis answered, whatever it holds.
    async fn read_redis(&mut self, pods: &[KnownPod]) -> bool {
        let Some(redis) = &mut self.redis else { return false };
        let uids: Vec<&str> = pods.iter().map(|pod| pod.uid.as_str()).collect();
        let Some(gauges) = redis.read(&uids).await else { return false };
        let now = now();
        for (pod, gauge) in pods.iter().zip(gauges) {
            if let Some(gauge) = gauge.filter(|gauge| is_of(gauge, pod, &self.namespace)) {
                self.reports.hear(&pod.uid, &gauge, now);
            }
        }
        true
    }

    /// Asks these pods' own gauges, as far as the round's time goes.
    async fn ask(&mut self, mut pods: Vec<KnownPod>) {
        // Where the time does not suffice, other ones come first in the next round.
        pods.shuffle(&mut rand::rng());
        let deadline = tokio::time::Instant::now() + ASK_ALL;
        let mut questions = Vec::new();
        for pod in pods {
            // Without an address it has not begun to run.
            if let Some(ip) = pod.ip {
                questions.push(ask(self.fetch.clone(), SocketAddr::new(ip, self.port), pod));
            }
        }
        let mut answers = stream::iter(questions).buffer_unordered(ASK_AT_ONCE);
        while let Ok(Some((pod, answer))) = timeout_at(deadline, answers.next()).await {
            match answer {
                // An address may belong to another pod by now.
                Ok(gauge) if is_of(&gauge, &pod, &self.namespace) => {
                    self.reports.hear(&pod.uid, &gauge, now());
                }
                Ok(gauge) => {
                    tracing::debug!(pod = pod.name, other = gauge.pod, "another pod's gauge answered");
                }
                Err(error) => tracing::debug!(pod = pod.name, %error, "a pod's gauge does not answer"),
            }
        }
    }
}

async fn ask(fetch: Fetch, gauge: SocketAddr, pod: KnownPod) -> (KnownPod, Result<PodGauge, FetchError>) {
    // A socket address brackets IPv6, as a URL wants it.
    let answer = fetch.json(&format!("http://{gauge}/gauge")).await;
    (pod, answer)
}

fn is_of(gauge: &PodGauge, pod: &KnownPod, namespace: &str) -> bool {
    gauge.pod == pod.name && gauge.namespace == namespace
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
