use super::*;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use tower::ServiceExt;

const AT: u64 = 1_795_321_628_000;

fn pod(name: &str, tier: &str, connections: u64, age: u64) -> Pod {
    let labels = BTreeMap::from([("tier".to_owned(), tier.to_owned())]);
    Pod { name: name.to_owned(), labels, connections, at: AT - age, leaving: false }
}

fn fleet() -> Fleet {
    let pods = vec![pod("ws-a", "a", 12, 0), pod("ws-b", "b", 0, 3_000)];
    Fleet { pods, total: Some(12), blind: 0 }
}

/// The API over a fleet; `None`: the pods have not been listed.
fn api(fleet: Option<Fleet>) -> (Api, watch::Sender<Arc<Fleet>>) {
    let (sender, receiver) = watch::channel(Arc::default());
    if let Some(fleet) = fleet {
        sender.send_replace(Arc::new(fleet));
    }
    (Api::new("ns".to_owned(), "ws".to_owned(), receiver), sender)
}

async fn asked(api: &Api, method: Method, path: &str) -> (StatusCode, Json, Resource) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    let response = api.clone().router().oneshot(request).await.expect("infallible");
    let resource = response.extensions().get().copied().unwrap_or(Resource::Other);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{path}");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).expect("JSON"), resource)
}

async fn get(api: &Api, path: &str) -> (StatusCode, Json, Resource) {
    asked(api, Method::GET, &format!("/apis/custom.metrics.k8s.io/{path}")).await
}

fn names(list: &Json) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["describedObject"]["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn all_pods_are_answered_at_once_idle_ones_included() {
    let (api, _sender) = api(Some(fleet()));
    for name in ["%2A", "*"] {
        let (status, list, resource) =
            get(&api, &format!("v1beta2/namespaces/ns/pods/{name}/websocket_active_connections")).await;
        assert_eq!((status, resource), (StatusCode::OK, Resource::Pods));
        let item = |name: &str, value: &str, at: &str| {
            json!({
                "describedObject": {"kind": "Pod", "namespace": "ns", "name": name, "apiVersion": "/v1"},
                "metric": {"name": "websocket_active_connections", "selector": null},
                "timestamp": at, "windowSeconds": 0, "value": value,
            })
        };
        let items = [item("ws-a", "12", "2026-11-22T04:27:08Z"), item("ws-b", "0", "2026-11-22T04:27:05Z")];
        let expected = json!({
            "kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": {}, "items": items,
        });
        assert_eq!(list, expected);
    }
}

#[tokio::test]
async fn the_label_selector_chooses_among_pods() {
    let (api, _sender) = api(Some(fleet()));
    for (selector, chosen) in
        [("tier%3Da", &["ws-a"][..]), ("tier+in+%28a%2Cb%29", &["ws-a", "ws-b"]), ("tier%3Dc", &[])]
    {
        let path = format!(
            "v1beta1/namespaces/ns/pods/%2A/websocket_active_connections?labelSelector={selector}&timeout=32s"
        );
        let (status, list, _) = get(&api, &path).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(names(&list), chosen, "{selector}");
    }
}

#[tokio::test]
async fn one_object_is_one_item() {
    let (api, _sender) = api(Some(fleet()));
    let (_, list, _) = get(&api, "v1beta2/namespaces/ns/pods/ws-b/websocket_active_connections").await;
    assert_eq!(names(&list), ["ws-b"]);
    let (_, list, resource) =
        get(&api, "v1beta2/namespaces/ns/deployments.apps/ws/websocket_fleet_connections").await;
    assert_eq!(resource, Resource::Deployments);
    let item = json!({
        "describedObject": {"kind": "Deployment", "namespace": "ns", "name": "ws", "apiVersion": "apps/v1"},
        "metric": {"name": "websocket_fleet_connections", "selector": null},
        "timestamp": "2026-11-22T04:27:05Z", "windowSeconds": 0, "value": "12",
    });
    assert_eq!(list["items"], json!([item]));
}

#[tokio::test]
async fn an_unknown_sum_is_an_error_so_that_the_autoscaler_holds() {
    let path = "v1beta2/namespaces/ns/deployments.apps/ws/websocket_fleet_connections";
    let (blind, _sender) = api(Some(Fleet { pods: Vec::new(), total: None, blind: 2 }));
    let (status, body, _) = get(&blind, path).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (&body["kind"], &body["apiVersion"], &body["code"]),
        (&json!("Status"), &json!("v1"), &json!(503))
    );
    assert_eq!((&body["status"], &body["reason"]), (&json!("Failure"), &json!("ServiceUnavailable")));
    assert!(body["message"].as_str().is_some_and(|text| text.contains("2 should")), "{body}");

    let (early, _sender) = api(None);
    for path in [path, "v1beta2/namespaces/ns/pods/%2A/websocket_active_connections"] {
        let (status, body, _) = get(&early, path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body["message"].as_str().is_some_and(|text| text.contains("not been listed")), "{body}");
    }
}

#[tokio::test]
async fn an_empty_fleet_is_zero_and_not_unknown() {
    let (api, _sender) = api(Some(Fleet { total: Some(0), ..Fleet::default() }));
    let path = "v1beta2/namespaces/ns/deployments.apps/ws/websocket_fleet_connections";
    let (status, list, _) = get(&api, path).await;
    assert_eq!((status, &list["items"][0]["value"]), (StatusCode::OK, &json!("0")));
}

#[tokio::test]
async fn what_is_not_served_is_a_status() {
    let (api, _sender) = api(Some(fleet()));
    for (path, code) in [
        ("v1", 404),
        ("v1beta3/namespaces/ns/pods/%2A/websocket_active_connections", 404),
        ("v1beta2/namespaces/other/pods/%2A/websocket_active_connections", 404),
        ("v1beta2/namespaces/ns/pods/%2A/cpu", 404),
        ("v1beta2/namespaces/ns/pods/%2A/websocket_fleet_connections", 404),
        ("v1beta2/namespaces/ns/pods/ws-z/websocket_active_connections", 404),
        ("v1beta2/namespaces/ns/deployments.apps/other/websocket_fleet_connections", 404),
        ("v1beta2/namespaces/ns/deployments.apps/%2A/websocket_fleet_connections", 404),
        ("v1beta2/namespaces/ns/metrics/websocket_fleet_connections", 404),
        ("v1beta2/namespaces/ns/pods/%FF/websocket_active_connections", 400),
        ("v1beta2/namespaces/ns/pods/%2A/websocket_active_connections?labelSelector=a%3E1", 400),
        ("v1beta2/namespaces/ns/pods/%2A/websocket_active_connections?labelSelector=a&labelSelector=b", 400),
        ("v1beta2/namespaces/ns/pods/%2A/websocket_active_connections?metricLabelSelector=%2C", 400),
        ("v1beta2/namespaces/ns/pods/%2A/websocket_active_connections?metricLabelSelector=a%3Db", 404),
    ] {
        let (status, body, _) = get(&api, path).await;
        assert_eq!(
            (status.as_u16(), &body["code"], &body["kind"]),
            (code, &json!(code), &json!("Status")),
            "{path}"
        );
    }
    for path in ["/", "/apis", "/apis/custom.metrics.k8s.io", "/openapi/v2", "/openapi/v3"] {
        assert_eq!(asked(&api, Method::GET, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    let (status, ..) = asked(&api, Method::DELETE, "/apis/custom.metrics.k8s.io/v1beta2").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_selector_of_the_metric_s_labels_that_wants_none_is_served() {
    let (api, _sender) = api(Some(fleet()));
    for selector in ["", "%21a", "a%21%3Db"] {
        let path = format!(
            "v1beta2/namespaces/ns/pods/%2A/websocket_active_connections?metricLabelSelector={selector}"
        );
        assert_eq!(get(&api, &path).await.0, StatusCode::OK, "{selector}");
    }
}

#[tokio::test]
async fn discovery_needs_no_fleet() {
    let (api, _sender) = api(None);
    for version in ["v1beta1", "v1beta2"] {
        let (status, list, resource) = get(&api, version).await;
        assert_eq!((status, resource), (StatusCode::OK, Resource::Discovery));
        assert_eq!(list["groupVersion"], format!("custom.metrics.k8s.io/{version}"));
        assert_eq!(list["resources"].as_array().map(Vec::len), Some(2));
    }
}

#[tokio::test]
async fn a_pod_s_odd_clock_is_no_error() {
    let mut odd = fleet();
    odd.pods[0].at = u64::MAX;
    let (api, _sender) = api(Some(odd));
    let (status, list, _) = get(&api, "v1beta2/namespaces/ns/pods/ws-a/websocket_active_connections").await;
    assert_eq!(status, StatusCode::OK);
    assert!(list["items"][0]["timestamp"].as_str().is_some_and(|at| at.starts_with("20")), "{list}");
}
