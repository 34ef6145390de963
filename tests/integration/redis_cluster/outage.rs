//! A master that goes for good, and one that comes back: whom it concerns, and whom not.

use serde_json::{Value, json};

use super::{Fleet, SHARDED, both_subscribe, published};
use crate::support::client::Client;
use crate::support::cluster::{AGREED, partner};
use crate::support::schema::check_answer;
use crate::support::service::{Service, bearer, token};
use crate::support::{eventually, http};
use crate::v1::V1;

/// The master that goes.
const GONE: usize = 1;

async fn backplane(pod: &Service, says: &str) {
    eventually(says, AGREED, async || pod.admin_json("/status").await["backplane"] == says).await;
}

async fn is_ready(pod: &Service) {
    let answer = http::request(pod.admin(), "GET", "/readyz", &[], b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The frames up to this message; only gaps are among them.
async fn until_message(client: &mut V1, id: &Value) {
    loop {
        let frame = client.frame().await;
        if frame["type"] != "gap" {
            assert_eq!((&frame["type"], &frame["id"]), (&json!("message"), id), "{frame}");
            return;
        }
    }
}

#[tokio::test]
async fn without_a_master_and_its_replica_only_its_users_are_cut_off() {
    let mut fleet = Fleet::start(SHARDED, &[]).await;
    let (lost, kept) = (fleet.user(GONE).await, fleet.user(2).await);
    let (mut cut, mut whole) = (fleet.clients(&lost).await, fleet.clients(&kept).await);
    fleet.cluster.kill(partner(GONE));
    fleet.cluster.kill(GONE);
    for (pod, last) in fleet.pods.iter().zip(["3", "4"]) {
        backplane(pod, "degraded").await;
        is_ready(pod).await;
        let answer = pod.publish(&lost, "nobody has it").await;
        check_answer(&answer, 503, "SERVICE_UNAVAILABLE");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        let url = pod.url(&format!("?token={}", token(&lost)));
        let refused = Client::connect(&url).await.err().expect("its channel cannot be had");
        assert_eq!(refused.status, 503);

        let answer = pod.publish(&kept, "1").await;
        assert_eq!((answer.status, &answer.json()["subscribers"]), (202, &json!(2)));
        whole.hear("1", &answer.json()["id"]).await;
        let mut late = pod.connect(&kept).await;
        fleet.cluster.servers[0].publish(&kept, b"2").await;
        whole.hear("2", &Value::Null).await;
        assert_eq!(late.text().await, "2");

        let list = json!([{ "user_id": kept, "data": 0 }, { "user_id": lost, "data": 0 }]).to_string();
        let bearer = bearer();
        let headers = [("authorization", bearer.as_str())];
        let answer = http::request(pod.public(), "POST", "/v1/messages", &headers, list.as_bytes()).await;
        check_answer(&answer, 503, "SERVICE_UNAVAILABLE");
        whole.hear(last, &published(pod, &kept, last).await).await;
    }

    // It comes back, and has forgotten everything.
    fleet.cluster.restart(GONE).await;
    for pod in &fleet.pods {
        backplane(pod, "up").await;
    }
    both_subscribe(&fleet.cluster.servers[GONE], &lost).await;
    let id = published(&fleet.pods[0], &lost, "\"back\"").await;
    for client in &mut cut.v1 {
        until_message(client, &id).await;
    }
    for client in &mut cut.plain {
        assert_eq!(client.text().await, "\"back\"");
    }
    whole.hear("5", &published(&fleet.pods[0], &kept, "5").await).await;
}

#[tokio::test]
async fn a_master_that_comes_back_as_a_replica_changes_nothing() {
    let mut fleet = Fleet::start(SHARDED, &[]).await;
    let user = fleet.user(GONE).await;
    let mut clients = fleet.clients(&user).await;
    clients.hear("1", &published(&fleet.pods[0], &user, "1").await).await;
    fleet.cluster.servers[GONE].settle().await;
    fleet.cluster.kill(GONE);
    let new = fleet.cluster.replaced(GONE).await;
    both_subscribe(&fleet.cluster.servers[new], &user).await;
    clients.hear("2", &published(&fleet.pods[1], &user, "2").await).await;

    fleet.cluster.restart(GONE).await;
    let links = fleet.subscribed().await;
    assert!(links[GONE].is_empty() && !links[new].is_empty(), "{links:?}");
    let asked = async || {
        let mut sum = 0;
        for server in &fleet.cluster.servers {
            sum += server.calls("cluster|nodes").await;
        }
        sum
    };
    let before = asked().await;
    eventually("each pod has looked three times", AGREED, async || asked().await >= before + 6).await;
    assert_eq!(fleet.subscribed().await, links);
    clients.hear("3", &published(&fleet.pods[0], &user, "3").await).await;
}
