use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use websocket_service::adapter::control;
use websocket_service::adapter::settings::Settings;
use websocket_service::protocol::gauge_key;

use super::{NAMESPACE, pod, pod_path};
use crate::support::kube_api::KubeApi;
use crate::support::redis::RedisServer;
use crate::support::{LOCAL, within};

#[tokio::test]
async fn everything_starts_and_stops_together() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let arguments = "metrics-adapter --namespace ns --pod-name me --deployment ws --selector app=ws --tls-secret tls \
        --service ws-metrics --lease ws --target 100 --gauge-port 1 --redis-url";
    let arguments = arguments.split_whitespace().chain([url.as_str()]).map(Into::into);
    let settings = Settings::parse(arguments).expect("sound");
    let api = KubeApi::default();
    api.put(&pod_path("a"), pod("a", "127.0.0.1"));
    let at =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let report = json!({"pod": "a", "namespace": "ns", "node": "", "connections": 5, "limit": 9, "draining": false,
        "revision": "", "at": u64::try_from(at).expect("soon")});
    redis.run::<()>("SET", &[gauge_key("uid-a").as_bytes(), report.to_string().as_bytes()]).await;

    let stop = CancellationToken::new();
    let mut control = control::start(&settings, &api.client(), &stop);
    assert_eq!(control.fleet.borrow().total, None, "nothing is known yet");
    within("a total", LOCAL, control.fleet.wait_for(|fleet| fleet.total == Some(5))).await.expect("a sender");
    within("a leader", LOCAL, control.leading.wait_for(|leads| *leads)).await.expect("a sender");
    within("a certificate", LOCAL, control.identity.wait_for(Option::is_some)).await.expect("a sender");
    assert!(api.get(&format!("{NAMESPACE}/secrets/tls")).is_some());

    stop.cancel();
    within("all tasks end", LOCAL, control.stopped()).await;
    let lease = api.get("/apis/coordination.k8s.io/v1/namespaces/ns/leases/ws").expect("a Lease");
    assert_eq!(lease["spec"]["holderIdentity"], Value::from(""), "another can lead at once");
    assert_eq!(control.metrics.leader.get(), 0);
}
