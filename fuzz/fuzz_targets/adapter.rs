//! What the aggregator may ask the metrics adapter: any path, any query.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Method, Request, header};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tower::ServiceExt;
use websocket_service::adapter::api::Api;
use websocket_service::adapter::fleet::{Fleet, Pod};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

static ROUTER: LazyLock<Router> = LazyLock::new(|| {
    let labels = BTreeMap::from([("tier".to_owned(), "a".to_owned())]);
    let pod = Pod { name: "ws-a".to_owned(), labels, connections: 12, at: 1_795_321_628_000, leaving: false };
    let fleet = Fleet { pods: vec![pod], total: Some(12), blind: 0 };
    let (_, fleet) = watch::channel(Arc::new(fleet));
    Api::new("ns".to_owned(), "ws".to_owned(), fleet).router()
});

fuzz_target!(|data: (bool, bool, &str, &str)| {
    let (whole, post, path, query) = data;
    let group = if whole { "" } else { "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/" };
    let method = if post { Method::POST } else { Method::GET };
    let request = Request::builder().method(method).uri(format!("{group}{path}?{query}")).body(Body::empty());
    let Ok(request) = request else { return };
    let response = RUNTIME.block_on(ROUTER.clone().oneshot(request)).expect("infallible");
    let status = response.status().as_u16();
    assert!([200, 400, 404, 405].contains(&status), "{status}");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let body = RUNTIME.block_on(to_bytes(response.into_body(), 1 << 20)).expect("a body");
    let document: serde_json::Value = serde_json::from_slice(&body).expect("JSON, always");
    assert_eq!(document["kind"] == "Status", status != 200);
});
