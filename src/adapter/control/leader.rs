//! Which of the adapters writes to the cluster: the one that holds the Lease.
//!
//! The rules are those of Kubernetes' own components. A Lease is taken when its holder let go of it, or when it has
//! stood still for its whole duration by the clock of whoever watches it: no two clocks are compared. Each write names the
//! version that it replaces, so of two that take it at a time one is refused. A holder that cannot renew stops leading
//! before anybody else may start.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::metrics::ControlMetrics;
use crate::adapter::settings::Leadership;
use crate::told::Told;

/// How long a Lease holds without a renewal.
const DURATION_SECONDS: i32 = 15;
/// The same.
const DURATION: Duration = Duration::from_secs(15);
/// Between two looks at the Lease.
const RENEW: Duration = Duration::from_secs(5);
/// Between a failure and the next attempt.
const RETRY: Duration = Duration::from_secs(2);
/// For one look, with what follows from it.
const ATTEMPT: Duration = Duration::from_secs(5);
/// A holder that has not renewed for so long stops leading: well before others may take over.
const GIVE_UP: Duration = Duration::from_secs(10);
/// For letting go at the end.
const RELEASE: Duration = Duration::from_secs(2);

/// A candidate.
pub struct Candidate {
    leases: Api<Lease>,
    lease: String,
    identity: String,
    seen: Option<Seen>,
    metrics: ControlMetrics,
}

/// The Lease as it was when it last changed.
struct Seen {
    version: Option<String>,
    at: Instant,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate").field("lease", &self.lease).field("identity", &self.identity).finish()
    }
}

impl Candidate {
    /// Of one Lease in a namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str, leadership: &Leadership, metrics: ControlMetrics) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            lease: leadership.lease.clone(),
            identity: leadership.identity.clone(),
            seen: None,
            metrics,
        }
    }

    /// Stands until `stop`, then lets go of the Lease. `leading` is true while it is held.
    pub async fn run(mut self, leading: watch::Sender<bool>, stop: CancellationToken) {
        let mut told = Told::working();
        let mut held_until = None;
        while !stop.is_cancelled() {
            let start = Instant::now();
            let bound = held_until.map_or(start + ATTEMPT, |until: Instant| until.min(start + ATTEMPT));
            let attempt = timeout_at(bound, self.attempt());
            let Some(outcome) = stop.run_until_cancelled(attempt).await else { break };
            let mut pause = RENEW + RENEW.mul_f64(rand::random_range(0.0..0.1));
            match outcome.map_err(|_| "no answer in time".to_owned()).and_then(|held| held.map_err(text)) {
                Ok(held) => {
                    told.is_new::<String>(Ok(()));
                    // Counted from before the renewal was sent: nobody sees it earlier.
                    held_until = held.then(|| start + GIVE_UP);
                }
                Err(error) => {
                    pause = RETRY;
                    if told.is_new(Err(&error)) {
                        tracing::warn!(
                            error,
                            lease = self.lease,
                            "cannot get or renew the Lease; the adapter's Role needs create, get and update on leases"
                        );
                    }
                    held_until = held_until.filter(|until| Instant::now() < *until);
                }
            }
            self.tell(&leading, held_until.is_some());
            // One that leads also wakes up in time to give up.
            let next = held_until.map_or(start + pause, |until| until.min(start + pause));
            let _ = stop.run_until_cancelled(tokio::time::sleep_until(next)).await;
        }
        let held = *leading.borrow();
        // What a leader does ends before another can begin.
        self.tell(&leading, false);
        // Even if it is not known to be held: the answer to the last attempt may have been cut off.
        let released = timeout(RELEASE, self.release()).await;
        if held && !matches!(released, Ok(Ok(()))) {
            tracing::info!(lease = self.lease, "could not let go of the Lease; it runs out in 15 s");
        }
    }

    fn tell(&self, leading: &watch::Sender<bool>, now: bool) {
        let changed = leading.send_if_modified(|leads| std::mem::replace(leads, now) != now);
        if changed {
            self.metrics.leader.set(i64::from(now));
            tracing::info!(
                lease = self.lease,
                identity = self.identity,
                "{}",
                if now { "leads from now on" } else { "leads no more" }
            );
        }
    }

    /// Looks at the Lease, and takes or renews it where that is right. Whether it is held.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(&self.lease).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.lease.clone()), ..ObjectMeta::default() },
                spec: Some(self.claim(None)),
            };
            return won(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take();
        if !self.may_hold(lease.metadata.resource_version.as_ref(), spec.as_ref()) {
            return Ok(false);
        }
        // With the version that was read: whoever wrote since wins.
        lease.spec = Some(self.claim(spec.as_ref()));
        won(self.leases.replace(&self.lease, &PostParams::default(), &lease).await)
    }

    /// Whether the Lease is this one's, nobody's, or stands still for longer than its holder promised.
    fn may_hold(&mut self, version: Option<&String>, spec: Option<&LeaseSpec>) -> bool {
        let now = Instant::now();
        let seen = match &self.seen {
            Some(seen) if seen.version.as_ref() == version => seen.at,
            _ => {
                self.seen = Some(Seen { version: version.cloned(), at: now });
                now
            }
        };
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        let promised = spec.and_then(|spec| spec.lease_duration_seconds);
        let promised = promised.and_then(|s| u64::try_from(s).ok()).map_or(DURATION, Duration::from_secs);
        holder.is_empty() || holder == self.identity || now - seen > promised
    }

    fn claim(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let mut claim = before.cloned().unwrap_or_default();
        if claim.holder_identity.as_ref() != Some(&self.identity) {
            claim.lease_transitions =
                before.map(|spec| spec.lease_transitions.unwrap_or(0).saturating_add(1));
            claim.acquire_time = Some(now.clone());
            claim.holder_identity = Some(self.identity.clone());
        }
        claim.renew_time = Some(now);
        claim.lease_duration_seconds = Some(DURATION_SECONDS);
        claim
    }

    /// Lets go, so that another need not wait.
    async fn release(&self) -> kube::Result<()> {
        let mut lease = self.leases.get(&self.lease).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() == Some(&self.identity) {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            self.leases.replace(&self.lease, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn text(error: kube::Error) -> String {
    error.to_string()
}

/// Whether a claim was accepted; a conflict means that another was faster.
fn won(claim: kube::Result<Lease>) -> kube::Result<bool> {
    match claim {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Runs `work` while leading, from the start each time; drops it, wherever it is, as soon as the lead is lost. Ends
/// when nobody stands for election any more.
pub async fn while_leading<F: Future<Output = ()>>(
    mut leading: watch::Receiver<bool>,
    mut work: impl FnMut() -> F,
) {
    while leading.wait_for(|leads| *leads).await.is_ok() {
        let lost = async {
            let _ = leading.wait_for(|leads| !leads).await;
        };
        tokio::select! {
            biased;
            () = lost => {}
            () = work() => sleep(RENEW).await,
        }
    }
}
