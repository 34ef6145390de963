//! Whatever way a message takes, it reaches the user's connections on all pods, whichever master the user has.

use serde_json::{Value, json};

use super::{CLASSIC, Fleet, SHARDED, reach};
use crate::commands::run;
use crate::support::cluster::MASTERS;
use crate::support::http;
use crate::support::service::bearer;
use crate::v1::V1;

/// Two pods and room for all clients.
async fn fleet(pubsub: &str, more: &[(&str, &str)]) -> Fleet {
    Fleet::start(pubsub, &[&[("MAX_CONNECTIONS_PER_USER", "50")], more].concat()).await
}

/// The script that `publisher --script` prints, loaded by each server as a cluster client does.
async fn load(fleet: &Fleet, pubsub: &str) -> String {
    let list = fleet.cluster.list();
    let (code, script) = run(&reach(&list, pubsub), &["publisher", "--script"]).await;
    assert_eq!(code, Some(0), "{script}");
    let mut hash = String::new();
    for server in &fleet.cluster.servers {
        hash = server.run("SCRIPT LOAD", &[script.as_bytes()]).await;
    }
    hash
}

async fn every_way_reaches_everybody(pubsub: &str) {
    let fleet = fleet(pubsub, &[]).await;
    let (list, hash) = (fleet.cluster.list(), load(&fleet, pubsub).await);
    for master in 0..MASTERS {
        let user = fleet.user(master).await;
        let mut clients = fleet.clients(&user).await;
        for at in 0..MASTERS {
            let text = format!("[\"bare\",{at}]");
            let pods = fleet.cluster.servers[at].publish(&user, text.as_bytes()).await;
            assert_eq!(pods, if at == master { 2 } else { 0 }, "Redis counts those who are connected there");
            clients.hear(&text, &Value::Null).await;
        }

        let channel = format!("ws:{user}");
        let words = [hash.as_bytes(), b"1", channel.as_bytes(), b"\"script\"", b""];
        let (id, pods): (String, u64) = fleet.cluster.servers[master].run("EVALSHA", &words).await;
        assert_eq!(pods, 2);
        clients.hear("\"script\"", &json!(id)).await;
        let elsewhere = &fleet.cluster.servers[(master + 1) % MASTERS];
        let sent_away = elsewhere.try_run::<(String, u64)>("EVALSHA", &words).await;
        assert_eq!(sent_away.expect_err("not its slot").code(), Some("MOVED"));

        for pod in &fleet.pods {
            let answer = pod.publish(&user, "\"http\"").await;
            let body = answer.json();
            assert_eq!((answer.status, &body["subscribers"]), (202, &json!(2)), "{body}");
            clients.hear("\"http\"", &body["id"]).await;
        }
        let (code, said) = run(&reach(&list, pubsub), &["publish", &user, "\"shell\""]).await;
        let body: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!((code, &body["subscribers"]), (Some(0), &json!(2)));
        clients.hear("\"shell\"", &body["id"]).await;

        // Who comes back to the other pod has missed nothing.
        let last = body["id"].as_str().expect("an id");
        drop(clients);
        let missed = fleet.pods[0].publish(&user, "\"missed\"").await.json();
        let mut back = V1::connect(&fleet.pods[1], &user, Some(last)).await;
        assert_eq!(back.hello["resumed"], true);
        assert_eq!(json!(back.message().await), json!([missed["id"], "missed"]));
        let live = fleet.pods[0].publish(&user, "\"live\"").await.json();
        assert_eq!(json!(back.message().await), json!([live["id"], "live"]));
    }
}

#[tokio::test]
async fn every_way_to_publish_reaches_users_of_all_masters_by_sharded_channels() {
    every_way_reaches_everybody(SHARDED).await;
}

#[tokio::test]
async fn every_way_to_publish_reaches_users_of_all_masters_by_classic_channels() {
    every_way_reaches_everybody(CLASSIC).await;
}

#[tokio::test]
async fn a_list_over_all_masters_is_published_and_answered_in_order() {
    for (pubsub, history) in [(SHARDED, "100"), (CLASSIC, "100"), (SHARDED, "0")] {
        let fleet = fleet(pubsub, &[("HISTORY_SIZE", history)]).await;
        let mut plain = Vec::new();
        let mut messages = Vec::new();
        for master in 0..MASTERS {
            let user = fleet.user(master).await;
            for pod in &fleet.pods {
                plain.push(pod.connect(&user).await);
            }
            messages.push(json!({ "user_id": user, "data": [master, 1] }));
            messages.push(json!({ "user_id": "nobody", "data": 0 }));
        }
        for master in 0..MASTERS {
            messages.push(json!({ "user_id": fleet.user(master).await, "data": [master, 2] }));
        }
        let body = Value::from(messages).to_string();
        let bearer = bearer();
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "list")];
        let (address, path) = (fleet.pods[0].public(), "/v1/messages");
        let answer = http::request(address, "POST", path, &headers, body.as_bytes()).await;
        let answers = answer.json();
        let subscribers: Vec<_> = answers
            .as_array()
            .unwrap_or_else(|| panic!("{answers}"))
            .iter()
            .map(|one| &one["subscribers"])
            .collect();
        assert_eq!((answer.status, json!(subscribers)), (202, json!([2, 0, 2, 0, 2, 0, 2, 2, 2])));
        let ids = answers.as_array().expect("a list").iter().filter(|one| one["id"].is_string()).count();
        assert_eq!(ids, if history == "0" { 0 } else { 9 });
        let again = http::request(fleet.pods[1].public(), "POST", path, &headers, body.as_bytes()).await;
        assert_eq!((again.status, again.json()), (202, answers), "a repetition does nothing");
        for (number, client) in plain.iter_mut().enumerate() {
            for part in 1..=2 {
                assert_eq!(client.text().await, format!("[{},{part}]", number / 2));
            }
        }
        for master in 0..MASTERS {
            fleet.cluster.servers[master].publish(&fleet.user(master).await, b"the last").await;
        }
        for client in &mut plain {
            assert_eq!(client.text().await, "the last", "nothing came twice");
        }
    }
}
