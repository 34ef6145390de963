//! Users' connections over all pods, and revoked tokens, where the users' keys are on several masters.

use serde_json::Value;

use super::{CLASSIC, Fleet, SHARDED};
use crate::registry::admin;
use crate::support::client::Client;
use crate::support::cluster::MASTERS;
use crate::support::schema::{check_answer, check_close};
use crate::support::service::{Service, token};
use crate::support::{LOCAL, eventually};

fn connections(user: &str) -> String {
    format!("/v1/users/{user}/connections")
}

/// The user's connections as a pod lists them, once there are so many.
async fn until_listed(pod: &Service, user: &str, count: usize) -> Vec<Value> {
    let mut list = Vec::new();
    eventually("the fleet's list", LOCAL, async || {
        let answer = pod.admin_json(&connections(user)).await;
        list = answer["connections"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        list.len() == count
    })
    .await;
    list
}

#[tokio::test]
async fn the_limit_of_a_user_counts_over_all_pods() {
    let fleet = Fleet::start(SHARDED, &[("MAX_CONNECTIONS_PER_USER", "1")]).await;
    let [one, two] = &fleet.pods;
    for master in 0..MASTERS {
        let user = fleet.user(master).await;
        let first = one.connect(&user).await;
        check_close(&two.connect(&user).await.closed().await, 4000, "QUOTA_EXCEEDED");
        assert_eq!(admin(two, "DELETE", &connections(&user)).await.json()["closed"], 1);
        check_close(&first.closed().await, 4004, "AUTHORIZATION_ERROR");
        until_listed(two, &user, 0).await;
        let mut next = two.connect(&user).await;
        one.publish(&user, "hello").await;
        assert_eq!(next.text().await, "hello");
    }
}

#[tokio::test]
async fn or_the_oldest_goes_wherever_it_is() {
    let settings = [("MAX_CONNECTIONS_PER_USER", "1"), ("MAX_CONNECTIONS_PER_USER_POLICY", "evict_oldest")];
    let fleet = Fleet::start(CLASSIC, &settings).await;
    let [one, two] = &fleet.pods;
    for master in 0..MASTERS {
        let user = fleet.user(master).await;
        let first = one.connect(&user).await;
        let mut second = two.connect(&user).await;
        check_close(&first.closed().await, 4000, "QUOTA_EXCEEDED");
        one.publish(&user, "hello").await;
        assert_eq!(second.text().await, "hello");
    }
}

#[tokio::test]
async fn connections_are_listed_and_closed_from_any_pod() {
    let fleet = Fleet::start(SHARDED, &[]).await;
    let [one, two] = &fleet.pods;
    let mut others = Vec::new();
    for master in 0..MASTERS {
        let users = fleet.cluster.users_of(master, 2).await;
        let clients =
            [one.connect(&users[0]).await, two.connect(&users[0]).await, two.connect(&users[0]).await];
        others.push(two.connect(&users[1]).await);
        for pod in [one, two] {
            let list = until_listed(pod, &users[0], 3).await;
            assert!(list.iter().all(|entry| entry["address"] == "127.0.0.1"), "{list:?}");
        }
        let path = connections(&users[0]);
        let answer = admin(one, "DELETE", &format!("{path}/00000000-0000-4000-8000-000000000000")).await;
        check_answer(&answer, 404, "RESOURCE_NOT_FOUND");
        assert_eq!(admin(one, "DELETE", &path).await.json()["closed"], 3);
        for client in clients {
            check_close(&client.closed().await, 4004, "AUTHORIZATION_ERROR");
        }
        until_listed(one, &users[0], 0).await;
    }
    for client in &mut others {
        client.send("still here?".into()).await;
        assert_eq!(client.text().await, "Echo: still here?");
    }
}

#[tokio::test]
async fn tokens_are_revoked_on_every_pod_at_once() {
    for pubsub in [SHARDED, CLASSIC] {
        let fleet = Fleet::start(pubsub, &[]).await;
        let [one, two] = &fleet.pods;
        for master in 0..MASTERS {
            let user = fleet.user(master).await;
            let old = format!("?token={}", token(&user));
            let open = async |pod: &Service| Client::connect(&pod.url(&old)).await.expect("upgraded");
            let clients = [open(one).await, open(two).await];
            let path = format!("/v1/revocations/users/{user}");
            assert_eq!(admin(one, "PUT", &path).await.json()["pods"], 2);
            for client in clients {
                check_close(&client.closed().await, 4004, "AUTHORIZATION_ERROR");
            }
            for pod in [one, two] {
                check_close(&open(pod).await.closed().await, 4004, "AUTHORIZATION_ERROR");
            }
            assert_eq!(admin(two, "DELETE", &path).await.json()["lifted"], true);
            eventually("it is lifted", LOCAL, async || one.metric("websocket_revocations").await == 0.0)
                .await;
        }
    }
}
