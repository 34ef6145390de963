//! The fleet's pods, as the API server tells them.

use std::future::ready;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::metrics::ControlMetrics;
use super::{DELETION_COST, FIELD_MANAGER};
use crate::adapter::fleet::KnownPod;
use crate::told::Told;

/// How long the watch may fail before the pods that it showed last count as unknown. A blip must not stop the scaling;
/// pods that came since would be missing in the total, which would look like a reason to scale in.
const PATIENCE: Duration = Duration::from_secs(60);
/// A failure this long after the last one is a new one: the watch says nothing when it works again and nothing changed,
/// and the delays between attempts grow to half a minute, plus what an attempt takes.
const STREAK: Duration = Duration::from_secs(120);

/// The pods of a selector; filled by [`Pods::watch`].
#[derive(Debug)]
pub struct Pods {
    store: Store<Pod>,
    failing: Mutex<Failing>,
}

/// A streak of failures.
#[derive(Debug, Default)]
struct Failing {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Failing {
    fn failed(&mut self, now: Instant) {
        if self.last.is_none_or(|last| now - last > STREAK) {
            self.since = Some(now);
        }
        self.last = Some(now);
    }

    fn is_lost(&self, now: Instant) -> bool {
        let (Some(since), Some(last)) = (self.since, self.last) else { return false };
        now - since >= PATIENCE && now - last <= STREAK
    }
}

/// Feeds a [`Pods`].
#[derive(Debug)]
pub struct Writer(reflector::store::Writer<Pod>);

impl Pods {
    /// No pods yet, and what will fill them in.
    #[must_use]
    pub fn new() -> (Self, Writer) {
        let (store, writer) = reflector::store();
        (Self { store, failing: Mutex::default() }, Writer(writer))
    }

    /// The pods as they are now; `None` before the first list, and while the watch has failed for a minute.
    #[must_use]
    pub fn known(&self) -> Option<Vec<KnownPod>> {
        let ready = self.store.wait_until_ready();
        let listed = futures_util::FutureExt::now_or_never(ready).is_some_and(|outcome| outcome.is_ok());
        if !listed || self.failing.lock().is_lost(Instant::now()) {
            return None;
        }
        Some(self.store.state().iter().map(|pod| known(pod)).collect())
    }

    /// Lists and watches the pods of `selector`, for ever; failures are retried with a growing delay.
    pub async fn watch(
        &self,
        writer: Writer,
        client: Client,
        namespace: &str,
        selector: &str,
        metrics: &ControlMetrics,
    ) {
        let api: Api<Pod> = Api::namespaced(client, namespace);
        let events = watcher(api, watcher::Config::default().labels(selector))
            .modify(slim)
            .reflect(writer.0)
            // Each attempt begins with one, before anything was answered: no sign that the watch works.
            .filter(|event| ready(!matches!(event, Ok(watcher::Event::Init))))
            .default_backoff();
        let mut events = std::pin::pin!(events);
        let mut told = Told::working();
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => {
                    if told.is_new::<watcher::Error>(Ok(())) {
                        tracing::info!("the watch on the fleet's pods works again");
                    }
                    *self.failing.lock() = Failing::default();
                }
                Err(error) => {
                    metrics.pods_watch_failures.inc();
                    self.failing.lock().failed(Instant::now());
                    if told.is_new(Err(&error)) {
                        tracing::warn!(
                            %error,
                            "cannot watch the fleet's pods; the adapter's Role needs get, list and watch on pods"
                        );
                    }
                }
            }
        }
    }
}

/// Drops what nothing here reads: most of a pod.
fn slim(pod: &mut Pod) {
    if let Some(fields) = &mut pod.metadata.managed_fields {
        fields.retain(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    }
    pod.metadata.annotations.get_or_insert_default().retain(|name, _| name == DELETION_COST);
    pod.spec = None;
    if let Some(status) = &mut pod.status {
        status.container_statuses = None;
        status.init_container_statuses = None;
    }
}

fn known(pod: &Pod) -> KnownPod {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    KnownPod {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        ip: status.and_then(|status| status.pod_ip.as_deref()?.parse().ok()),
        labels: pod.labels().clone(),
        over: matches!(phase, Some("Failed" | "Succeeded")),
        ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        own_cost: own_cost(pod),
    }
}

/// The cost on the pod, where the adapter is the one that applied it.
fn own_cost(pod: &Pod) -> Option<String> {
    let ours = pod.managed_fields().iter().any(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && fields.is_some_and(|f| {
                !f["f:metadata"]["f:annotations"][format!("f:{DELETION_COST}").as_str()].is_null()
            })
    });
    pod.annotations().get(DELETION_COST).filter(|_| ours).cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(manager: &str) -> Pod {
        let pod = json!({
            "metadata": {
                "name": "ws-1", "namespace": "ns", "uid": "u1", "labels": {"app": "ws"},
                "annotations": {DELETION_COST: "4", "other": "x"},
                "managedFields": [
                    {"manager": "kubelet", "operation": "Update", "fieldsV1": {}},
                    {"manager": manager, "operation": "Apply",
                     "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{DELETION_COST}"): {}}}}},
                ],
            },
            "spec": {"containers": []},
            "status": {"phase": "Running", "podIP": "fd00::7", "conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "False"}]},
        });
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn reads_what_it_needs_of_a_pod() {
        let mut ours = pod(FIELD_MANAGER);
        slim(&mut ours);
        assert_eq!(ours.managed_fields().len(), 1);
        let expected = KnownPod {
            name: "ws-1".to_owned(),
            uid: "u1".to_owned(),
            ip: "fd00::7".parse().ok(),
            labels: [("app".to_owned(), "ws".to_owned())].into(),
            ready: true,
            own_cost: Some("4".to_owned()),
            ..KnownPod::default()
        };
        assert_eq!(known(&ours), expected);

        let mut theirs = pod("karpenter");
        slim(&mut theirs);
        assert_eq!(known(&theirs).own_cost, None);
    }

    #[test]
    fn tells_the_ones_that_are_no_replicas_any_more() {
        let mut over = pod("x");
        over.status.get_or_insert_default().phase = Some("Failed".to_owned());
        assert!(known(&over).over);
        let mut leaving = pod("x");
        leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-22T04:27:08Z")).ok();
        assert!(known(&leaving).terminating);
    }

    #[test]
    fn counts_the_pods_as_unknown_only_after_a_minute_of_failures() {
        let mut failing = Failing::default();
        let start = Instant::now();
        assert!(!failing.is_lost(start));
        for second in [0, 30] {
            failing.failed(start + Duration::from_secs(second));
        }
        assert!(!failing.is_lost(start + Duration::from_secs(59)));
        failing.failed(start + Duration::from_secs(60));
        assert!(failing.is_lost(start + Duration::from_secs(60)));
        let later = start + Duration::from_secs(181);
        assert!(!failing.is_lost(later), "it works again, or there would have been another failure");
        failing.failed(later);
        assert!(!failing.is_lost(later), "a new one");
    }
}
