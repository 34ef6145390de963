//! The fleet at one moment: its pods, joined with what their sidecars report.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::protocol::{GAUGE_EXPIRY, PodGauge};

/// A pod with a fresh report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its labels, for selectors.
    pub labels: BTreeMap<String, String>,
    /// Open connections by its last report.
    pub connections: u64,
    /// When the report was made, in milliseconds since 1970.
    pub at: u64,
    /// Whether it is on its way out, by its deletion timestamp or its own word.
    pub leaving: bool,
}

/// What can be served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    /// Pods with a fresh report, live and draining, by name.
    pub pods: Vec<Pod>,
    /// Open connections of the whole fleet; `None` while nothing is known of a pod that should have reported.
    pub total: Option<u64>,
    /// Ready pods without a fresh report, which the total counts as the mean of the others.
    pub blind: usize,
}

/// A pod as Kubernetes knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownPod {
    /// Its name.
    pub name: String,
    /// Never used twice, unlike the name.
    pub uid: String,
    /// Where its gauge answers; none before it runs.
    pub ip: Option<IpAddr>,
    /// Its labels, for selectors.
    pub labels: BTreeMap<String, String>,
    /// Failed or succeeded: its containers have ended for good.
    pub over: bool,
    /// Its Ready condition.
    pub ready: bool,
    /// It has a deletion timestamp.
    pub terminating: bool,
    /// The deletion cost that the adapter has put on it, as it stands there; none where there is none or where it is
    /// somebody else's.
    pub own_cost: Option<String>,
}

impl KnownPod {
    /// Whether it counts as a replica: neither over nor on its way out.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.over && !self.terminating
    }
}

/// What a pod said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Open connections.
    pub connections: u64,
    /// When that was so, in milliseconds since 1970, by the adapter's clock where the pod's is ahead of it.
    pub at: u64,
    /// Whether the pod says that it is on its way out.
    pub draining: bool,
}

impl Report {
    /// Whether it still says something at `now`, in milliseconds since 1970.
    #[must_use]
    pub fn is_fresh(&self, now: u64) -> bool {
        u128::from(now.saturating_sub(self.at)) < GAUGE_EXPIRY.as_millis()
    }
}

/// The last report of each pod, by UID.
#[derive(Debug, Clone, Default)]
pub struct Reports {
    last: BTreeMap<String, Heard>,
}

/// A report, and the pod's own date on it.
#[derive(Debug, Clone, Copy)]
struct Heard {
    dated: u64,
    report: Report,
}

impl Reports {
    /// Takes what was read of a pod at `now`, unless something newer is known.
    ///
    /// A report from the future counts as made when it was first seen: a pod whose clock is ahead is believed, but not
    /// once its gauge stands still.
    pub fn hear(&mut self, uid: &str, gauge: &PodGauge, now: u64) {
        if let Some(heard) = self.last.get(uid)
            // What was heard last may be dated later because the pod's clock was put right since.
            && (heard.dated == gauge.at || heard.dated > gauge.at && heard.report.is_fresh(now))
        {
            return;
        }
        let report =
            Report { connections: gauge.connections, at: gauge.at.min(now), draining: gauge.draining };
        self.last.insert(uid.to_owned(), Heard { dated: gauge.at, report });
    }

    /// Forgets pods that are gone.
    pub fn keep(&mut self, pods: &[KnownPod]) {
        self.last.retain(|uid, _| pods.iter().any(|pod| pod.uid == *uid));
    }

    /// What a pod said last, if that is fresh.
    #[must_use]
    pub fn fresh(&self, uid: &str, now: u64) -> Option<Report> {
        self.last.get(uid).map(|heard| heard.report).filter(|report| report.is_fresh(now))
    }
}

impl Fleet {
    /// Joins the pods with their reports.
    ///
    /// A ready pod that does not report holds connections that nobody counts; as the mean of the live ones that do
    /// report, it makes neither a dip nor a peak. A pod that is not ready, or is terminating, counts only what it says.
    #[must_use]
    pub fn join(known: &[KnownPod], reports: &Reports, now: u64) -> Self {
        let mut pods = Vec::new();
        let (mut blind, mut live, mut live_sum, mut sum) = (0_usize, 0_u64, 0_u64, 0_u64);
        for pod in known.iter().filter(|pod| !pod.over) {
            let Some(report) = reports.fresh(&pod.uid, now) else {
                blind += usize::from(pod.ready && pod.is_live());
                continue;
            };
            let leaving = pod.terminating || report.draining;
            sum = sum.saturating_add(report.connections);
            if !leaving {
                live += 1;
                live_sum = live_sum.saturating_add(report.connections);
            }
            pods.push(Pod {
                name: pod.name.clone(),
                labels: pod.labels.clone(),
                connections: report.connections,
                at: report.at,
                leaving,
            });
        }
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let total = match (blind as u64, live) {
            (0, _) => Some(sum),
            (_, 0) => None,
            (blind, live) => Some(sum.saturating_add(live_sum.div_ceil(live).saturating_mul(blind))),
        };
        Self { pods, total, blind }
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
