//! The metrics' API behind real TLS: who is answered, and what happens while certificates change.

mod files;
mod process;
mod world;

use std::sync::Arc;

use crate::support::logs::Logs;
use crate::support::{LOCAL, eventually, within};
use world::{Authority, NAME, PODS, USER, World, refusal};

#[tokio::test]
async fn the_aggregator_is_answered() {
    let authority = Authority::new();
    let world = World::ready(&authority).await;
    let mut talk = world.connect(Some(&authority.client(NAME))).await.expect("connected");
    let answer = talk.ask(PODS, &[USER]).await.expect("an answer");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json()["items"].as_array().map(Vec::len), Some(2));
    // The connection is kept for the next one.
    for path in [
        "/apis/custom.metrics.k8s.io/v1beta1",
        "/apis/custom.metrics.k8s.io/v1beta1/namespaces/ns/deployments.apps/ws/websocket_fleet_connections",
    ] {
        assert_eq!(talk.ask(path, &[USER]).await.expect("an answer").status, 200, "{path}");
    }
    for path in ["/apis", "/openapi/v2", "/healthz"] {
        let answer = talk.ask(path, &[USER]).await.expect("an answer");
        assert_eq!(answer.status, 404, "{path}");
        refusal(&answer);
    }
    assert!(world.counts("metrics_adapter_requests_total{code=\"200\",resource=\"pods\"} 1").await);
    assert!(world.counts("metrics_adapter_requests_total{code=\"404\",resource=\"other\"} 3").await);
    assert!(world.counts("metrics_adapter_fleet_connections 12").await);
}

#[tokio::test]
async fn forged_headers_are_refused() {
    let logs = Logs::capture();
    let authority = Authority::new();
    let world = World::ready(&authority).await;
    let forged = [
        ("x-remote-user", "system:admin"),
        ("x-remote-group", "system:masters"),
        ("authorization", "Bearer secret-token"),
    ];
    let answer = world.ask(None, &forged).await.expect("an answer");
    assert_eq!(answer.status, 401);
    assert_eq!(refusal(&answer)["reason"], "Unauthorized");
    // A stranger does not keep a place.
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(world.counts("metrics_adapter_refused_total{reason=\"no_certificate\"} 1").await);
    assert_eq!(logs.count("no_certificate"), 1, "{}", logs.text());
    for secret in ["secret-token", "system:admin", "system:masters"] {
        assert_eq!(logs.count(secret), 0, "{secret}");
    }
}

#[tokio::test]
async fn the_right_authority_with_a_wrong_name_is_refused() {
    let authority = Authority::new();
    let world = World::ready(&authority).await;
    for name in ["system:kube-controller-manager", "front-proxy-client2"] {
        let answer = world.ask(Some(&authority.client(name)), &[USER]).await.expect("an answer");
        assert_eq!(answer.status, 401, "{name}");
        refusal(&answer);
    }
    assert!(world.counts("metrics_adapter_refused_total{reason=\"wrong_name\"} 2").await);
    // Whoever asks must be named, even by the aggregator.
    let answer = world.ask(Some(&authority.client(NAME)), &[]).await.expect("an answer");
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn another_authority_is_refused_in_the_handshake() {
    let world = World::ready(&Authority::new()).await;
    assert_eq!(world.status(&Authority::new().client(NAME)).await, None);
    eventually("counted", LOCAL, async || {
        world.counts("metrics_adapter_refused_total{reason=\"handshake\"} 1").await
    })
    .await;
}

#[tokio::test]
async fn nobody_is_believed_before_the_rules_are_read_and_after_they_are_gone() {
    let authority = Authority::new();
    let world = World::empty();
    world.identity.send_replace(Some(world.own.server()));
    let client = authority.client(NAME);
    assert_eq!(world.status(&client).await, Some(401));
    assert!(world.unready().await.contains(&"front_proxy_rules".to_owned()));
    assert!(world.counts("metrics_adapter_refused_total{reason=\"no_rules\"} 1").await);

    world.rules(&authority);
    // What the fleet's half does not know yet is no matter of trust.
    eventually("believed", LOCAL, async || world.status(&client).await == Some(503)).await;
    world.no_rules();
    eventually("not believed", LOCAL, async || world.status(&client).await == Some(401)).await;
}

#[tokio::test]
async fn a_rotated_authority_holds_at_once_on_kept_connections_too() {
    let (old, new) = (Authority::new(), Authority::new());
    let world = World::ready(&old).await;
    let old_client = old.client(NAME);
    let mut kept = world.connect(Some(&old_client)).await.expect("connected");
    assert_eq!(kept.ask(PODS, &[USER]).await.expect("an answer").status, 200);

    world.rules(&new);
    let new_client = new.client(NAME);
    eventually("the new one is believed", LOCAL, async || world.status(&new_client).await == Some(200)).await;
    let answer = kept.ask(PODS, &[USER]).await.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")));
    assert_eq!(world.status(&old_client).await, None, "refused in the handshake");
}

#[tokio::test]
async fn without_a_certificate_to_show_connections_are_closed() {
    let authority = Authority::new();
    let world = World::empty();
    world.rules(&authority);
    let client = authority.client(NAME);
    assert_eq!(world.status(&client).await, None);
    assert!(world.unready().await.contains(&"certificate".to_owned()));
    assert!(world.counts("metrics_adapter_refused_total{reason=\"no_identity\"} 1").await);

    world.identity.send_replace(Some(world.own.server()));
    eventually("answered", LOCAL, async || world.status(&client).await == Some(503)).await;
    let first = world.connect(Some(&client)).await.expect("connected").shown();
    world.identity.send_replace(Some(world.own.server()));
    let second = world.connect(Some(&client)).await.expect("connected").shown();
    assert_ne!(first, second, "the next handshake shows the new one");
}

#[tokio::test]
async fn a_fleet_that_is_not_known_any_more_is_an_error_but_no_reason_to_take_no_more_requests() {
    let authority = Authority::new();
    let world = World::ready(&authority).await;
    let client = authority.client(NAME);
    world.fleet.send_replace(Arc::default());
    assert_eq!(world.status(&client).await, Some(503));
    assert!(world.unready().await.is_empty());
}

#[tokio::test]
async fn a_leaving_adapter_still_answers_until_it_stops() {
    let authority = Authority::new();
    let world = World::ready(&authority).await;
    let client = authority.client(NAME);
    let mut idle = world.connect(Some(&client)).await.expect("connected");
    assert_eq!(idle.ask(PODS, &[USER]).await.expect("an answer").status, 200);
    world.serving.leave();
    assert_eq!(world.unready().await, ["leaving"]);
    assert_eq!(world.status(&client).await, Some(200));

    let address = world.serving.api;
    within("the end", LOCAL, world.serving.stop()).await;
    assert!(idle.ask(PODS, &[USER]).await.is_none(), "an idle connection is closed");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
