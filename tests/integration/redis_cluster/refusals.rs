//! What is refused in a cluster, and that nothing has happened then.

use serde_json::json;

use super::{CLASSIC, Fleet, SHARDED, reach};
use crate::commands::run;
use crate::support::client::Client;
use crate::support::cluster::MASTERS;
use crate::support::http;
use crate::support::schema::check_answer;
use crate::support::service::{bearer, token};

/// Ids that would part a user's keys from the user's channel.
const PARTED: [&str; 4] = ["a}b", "}", "{tag}", "a{b}c"];

#[tokio::test]
async fn a_list_with_one_bad_message_publishes_nothing_on_any_master() {
    let fleet = Fleet::start(SHARDED, &[("MAX_MESSAGE_BYTES", "64")]).await;
    let mut users = Vec::new();
    let mut clients = Vec::new();
    for master in 0..MASTERS {
        let user = fleet.user(master).await;
        clients.push(fleet.clients(&user).await);
        users.push(user);
    }
    let large = json!({ "user_id": users[0], "data": "x".repeat(64) });
    let parted = json!({ "user_id": PARTED[0], "data": 1 });
    for (bad, statuses) in
        [(large, [413, 413]), (parted, [400, 422]), (json!({ "user_id": "", "data": 1 }), [422, 422])]
    {
        let mut list: Vec<_> =
            users.iter().map(|user| json!({ "user_id": user, "data": "before" })).collect();
        list.push(bad);
        let (body, bearer) = (json!(list).to_string(), bearer());
        let headers = [("authorization", bearer.as_str())];
        let pod = &fleet.pods[0];
        let answer = http::request(pod.public(), "POST", "/v1/messages", &headers, body.as_bytes()).await;
        assert!(statuses.contains(&answer.status), "{answer:?}");
        check_answer(&answer, answer.status, "VALIDATION_ERROR");
    }
    for (user, clients) in users.iter().zip(&mut clients) {
        let answer = fleet.pods[1].publish(user, "\"after\"").await.json();
        clients.hear("\"after\"", &answer["id"]).await;
    }
}

#[tokio::test]
async fn a_user_id_with_a_closing_brace_is_refused_by_every_way_and_named() {
    for pubsub in [SHARDED, CLASSIC] {
        let fleet = Fleet::start(pubsub, &[]).await;
        let (pod, list) = (&fleet.pods[0], fleet.cluster.list());
        for user in PARTED {
            let answer = pod.publish(user, "x").await;
            check_answer(&answer, 400, "VALIDATION_ERROR");
            let message = answer.json()["error_detail"]["message"].to_string();
            assert!(message.contains("brace"), "{message}");

            let message = match Client::connect(&pod.url(&format!("?token={}", token(user)))).await {
                Ok(client) => client.closed().await.field("message"),
                Err(answer) => {
                    assert!((400..500).contains(&answer.status), "asking again is no use: {answer:?}");
                    answer.json()["error_detail"]["message"].to_string()
                }
            };
            assert!(message.contains("brace"), "{message}");
            assert_eq!(run(&reach(&list, pubsub), &["publish", user, "x"]).await, (Some(1), String::new()));
        }
        // An opening one alone is no tag.
        let mut clients = fleet.clients("a{b").await;
        for pod in &fleet.pods {
            let answer = pod.publish("a{b", "1").await.json();
            assert_eq!(answer["subscribers"], 2);
            clients.hear("1", &answer["id"]).await;
        }
    }
}
