use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use websocket_service::adapter::control::cost_writer::CostWriter;
use websocket_service::adapter::control::pods::Pods;
use websocket_service::adapter::control::{ControlMetrics, DELETION_COST};
use websocket_service::adapter::fleet::{Fleet, Pod};
use websocket_service::adapter::settings::DeletionCost;

use super::{NAMESPACE, pod, pod_path, soon};
use crate::support::kube_api::KubeApi;

/// A leader with a target of 100, and the fleet that it reads, which says the same every 2 s.
struct Leader {
    api: KubeApi,
    metrics: ControlMetrics,
    counts: watch::Sender<Vec<(&'static str, u64)>>,
}

impl Leader {
    async fn start(counts: &[(&'static str, u64)]) -> Self {
        let api = KubeApi::default();
        for (name, _) in counts {
            api.put(&pod_path(name), pod(name, "10.0.0.1"));
        }
        let metrics = ControlMetrics::new();
        let (pods, writer) = Pods::new();
        let pods = Arc::new(pods);
        let (watched, client, watch_metrics) = (Arc::clone(&pods), api.client(), metrics.clone());
        tokio::spawn(async move { watched.watch(writer, client, "ns", "app=ws", &watch_metrics).await });

        let (sender, fleet) = watch::channel(Arc::default());
        let goal =
            DeletionCost { target: NonZeroU64::new(100).expect("above 0"), min_replicas: NonZeroU32::MIN };
        let cost_writer = CostWriter::new(api.client(), "ns", goal, metrics.clone());
        tokio::spawn(cost_writer.lead(pods, fleet));
        let (counts, readings) = watch::channel(counts.to_vec());
        tokio::spawn(async move {
            loop {
                sleep(Duration::from_secs(2)).await;
                let reading = readings.borrow().clone();
                sender.send_replace(Arc::new(fleet_of(&reading)));
            }
        });
        Self { api, metrics, counts }
    }

    fn cost(&self, name: &str) -> Value {
        self.api.get(&pod_path(name)).expect("a pod")["metadata"]["annotations"][DELETION_COST].clone()
    }

    fn writes(&self) -> usize {
        self.api.writes(NAMESPACE).len()
    }
}

fn fleet_of(counts: &[(&'static str, u64)]) -> Fleet {
    let pods = counts.iter().map(|(name, connections)| Pod {
        name: (*name).to_owned(),
        labels: [].into(),
        connections: *connections,
        at: 0,
        leaving: false,
    });
    let total = counts.iter().map(|(_, connections)| connections).sum();
    Fleet { pods: pods.collect(), total: Some(total), blind: 0 }
}

#[tokio::test(start_paused = true)]
async fn costs_come_with_a_scale_in_and_go_with_it() {
    let leader = Leader::start(&[("a", 90), ("b", 80)]).await;
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(leader.writes(), 0, "a steady fleet costs no write");

    leader.counts.send_replace(vec![("a", 60), ("b", 5)]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((leader.cost("a"), leader.cost("b")), (json!("6"), json!("3")));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(leader.writes(), 2);

    leader.counts.send_replace(vec![("a", 90), ("b", 80)]);
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!((leader.cost("a"), leader.cost("b")), (Value::Null, Value::Null));
    assert_eq!((leader.writes(), leader.metrics.deletion_cost_applied.get()), (4, 4));
    assert_eq!(leader.api.rights_used(), ["pods list", "pods patch", "pods watch"]);
}

#[tokio::test(start_paused = true)]
async fn another_s_cost_is_left_alone() {
    let leader = Leader::start(&[("a", 90), ("b", 80)]).await;
    let mut theirs = pod("a", "10.0.0.1");
    theirs["metadata"]["annotations"][DELETION_COST] = json!("-100");
    theirs["metadata"]["managedFields"] = json!([{"manager": "karpenter", "operation": "Update",
        "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{DELETION_COST}"): {}}}}}]);
    leader.api.put(&pod_path("a"), theirs);
    leader.counts.send_replace(vec![("a", 60), ("b", 5)]);
    sleep(Duration::from_secs(600)).await;
    leader.counts.send_replace(vec![("a", 3), ("b", 5)]);
    sleep(Duration::from_secs(600)).await;
    assert_eq!((leader.cost("a"), leader.cost("b")), (json!("-100"), json!("3")));
    let metrics = &leader.metrics;
    assert_eq!((metrics.deletion_cost_conflict.get(), metrics.deletion_cost_applied.get()), (1, 1));
    assert_eq!(leader.writes(), 2, "one try");
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_tried_once_a_minute_and_pod() {
    let leader = Leader::start(&[("a", 60), ("b", 5)]).await;
    leader.api.refuse(Method::PATCH, NAMESPACE, 403);
    sleep(Duration::from_secs(600)).await;
    let (writes, failed) = (leader.writes(), leader.metrics.deletion_cost_failed.get());
    assert!((16..=20).contains(&writes), "{writes}");
    assert_eq!(failed, writes as u64);
    leader.api.allow_all();
    sleep(Duration::from_secs(62)).await;
    assert_eq!((leader.cost("a"), leader.cost("b")), (json!("6"), json!("3")));
}

#[tokio::test(start_paused = true)]
async fn a_write_means_one_pod_only_and_uses_no_force() {
    let leader = Leader::start(&[("a", 60), ("b", 5)]).await;
    sleep(Duration::from_secs(60)).await;
    let writes = leader.api.writes(NAMESPACE);
    assert_eq!(writes.len(), 2);
    for write in writes {
        let name = write.path.rsplit('/').next().expect("a name");
        assert_eq!(write.body["metadata"]["uid"], format!("uid-{name}"), "not a successor of the same name");
        assert!(write.query.contains("fieldManager=metrics-adapter"), "{}", write.query);
        assert!(!write.query.contains("force"), "{}", write.query);
    }
}

#[tokio::test(start_paused = true)]
async fn pods_are_unknown_before_the_first_list_and_after_a_minute_without_a_watch() {
    let api = KubeApi::default();
    api.put(&pod_path("a"), pod("a", "10.0.0.1"));
    api.refuse(Method::GET, NAMESPACE, 403);
    let metrics = ControlMetrics::new();
    let (pods, writer) = Pods::new();
    let pods = Arc::new(pods);
    let (watched, client, watch_metrics) = (Arc::clone(&pods), api.client(), metrics.clone());
    tokio::spawn(async move { watched.watch(writer, client, "ns", "app=ws", &watch_metrics).await });
    let names = || {
        let known = pods.known()?;
        Some(known.into_iter().map(|pod| pod.name).collect::<BTreeSet<_>>())
    };
    let becomes = async |expected: Option<&[&str]>| {
        let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        while names() != expected {
            sleep(Duration::from_secs(1)).await;
        }
    };
    sleep(Duration::from_secs(5)).await;
    assert_eq!(names(), None);
    assert!(metrics.pods_watch_failures.get() > 0);
    api.allow_all();
    soon("the first list", becomes(Some(&["a"]))).await;
    api.put(&pod_path("b"), pod("b", "10.0.0.2"));
    soon("a new pod", becomes(Some(&["a", "b"]))).await;

    api.refuse(Method::GET, NAMESPACE, 403);
    sleep(Duration::from_secs(50)).await;
    assert!(names().is_some(), "a blip changes nothing");
    soon("they are unknown", becomes(None)).await;
    api.allow_all();
    soon("they are known again", becomes(Some(&["a", "b"]))).await;
}
