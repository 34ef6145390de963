//! A user's connections over all pods: their limit, their list, and closing them from any pod.

use std::time::SystemTime;

use serde_json::Value;
use websocket_service::backplane::{Disconnect, Order, Why};

use crate::support::backplane::user;
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::http::{self, Answer};
use crate::support::logs::Logs;
use crate::support::redis::{Options, RedisServer};
use crate::support::schema::{check_answer, check_close};
use crate::support::service::{Service, token};
use crate::support::{LOCAL, eventually};

const REJECT: (&str, &str) = ("MAX_CONNECTIONS_PER_USER", "1");
const EVICT: (&str, &str) = ("MAX_CONNECTIONS_PER_USER_POLICY", "evict_oldest");

/// Two pods on one Redis.
async fn two(redis: &RedisServer, settings: &[(&str, &str)]) -> [Service; 2] {
    [Service::start_on(&redis.url(), settings).await, Service::start_on(&redis.url(), settings).await]
}

pub(crate) async fn admin(pod: &Service, method: &str, path: &str) -> Answer {
    http::request(pod.admin(), method, path, &[], b"").await
}

/// The user's connections as a pod lists them.
async fn listed(pod: &Service, query: &str) -> Vec<Value> {
    let answer = admin(pod, "GET", &format!("/v1/users/ann/connections{query}")).await.json();
    answer["connections"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

async fn until_listed(pod: &Service, count: usize) -> Vec<Value> {
    eventually("the fleet's list", LOCAL, async || listed(pod, "").await.len() == count).await;
    listed(pod, "").await
}

#[tokio::test]
async fn the_limit_of_a_user_counts_over_all_pods() {
    let redis = RedisServer::start().await;
    let [one, two] = two(&redis, &[REJECT]).await;
    let first = one.connect("ann").await;
    let closed = two.connect("ann").await.closed().await;
    check_close(&closed, 4000, "QUOTA_EXCEEDED");
    let _bob = two.connect("bob").await;
    // Its place is free for the next one, on whichever pod that comes.
    let path = "/v1/users/ann/connections";
    assert_eq!(admin(&one, "DELETE", path).await.json()["closed"], 1);
    check_close(&first.closed().await, 4004, "AUTHORIZATION_ERROR");
    until_listed(&two, 0).await;
    let mut next = two.connect("ann").await;
    one.publish("ann", "hello").await;
    assert_eq!(next.text().await, "hello");
}

#[tokio::test]
async fn or_the_oldest_goes_wherever_it_is() {
    let redis = RedisServer::start().await;
    let [one, two] = two(&redis, &[REJECT, EVICT]).await;
    let first = one.connect("ann").await;
    let mut second = two.connect("ann").await;
    check_close(&first.closed().await, 4000, "QUOTA_EXCEEDED");
    one.publish("ann", "hello").await;
    assert_eq!(second.text().await, "hello");
    until_listed(&one, 1).await;
    // On the same pod too.
    let _third = two.connect("ann").await;
    check_close(&second.closed().await, 4000, "QUOTA_EXCEEDED");
}

#[tokio::test]
async fn each_pod_lists_the_connections_of_all() {
    let redis = RedisServer::start().await;
    let [one, two] = two(&redis, &[]).await;
    let _first = one.connect("ann").await;
    let agent = [("User-Agent", "phone/7"), ("Sec-WebSocket-Protocol", "websocket-service.v1")];
    let _second =
        Client::connect_with(&two.url(&format!("?token={}", token("ann"))), &agent).await.expect("taken");
    let of = |list: &[Value], mode: &str| {
        list.iter().find(|one| one["mode"] == mode).unwrap_or_else(|| panic!("{list:?}")).clone()
    };
    for pod in [&one, &two] {
        let list = until_listed(pod, 2).await;
        assert_eq!(of(&list, "plain")["client"], Value::Null);
        let v1 = of(&list, "v1");
        assert_eq!((&v1["client"], &v1["address"]), (&"phone/7".into(), &"127.0.0.1".into()));
        assert_eq!(listed(pod, "?scope=pod").await.len(), 1);
    }
    let list = listed(&one, "").await;
    let queued = |mode| of(&list, mode)["queued_messages"].clone();
    assert_eq!((queued("plain"), queued("v1")), (0.into(), Value::Null), "what waits is known of its own");
    check_answer(&admin(&one, "GET", "/v1/users/ann/connections?scope=all").await, 400, "VALIDATION_ERROR");
}

#[tokio::test]
async fn connections_are_closed_on_whichever_pod_they_are() {
    let redis = RedisServer::start().await;
    let [one, two] = two(&redis, &[]).await;
    let (first, second) = (one.connect("ann").await, two.connect("ann").await);
    let id = listed(&two, "?scope=pod").await[0]["connection_id"].clone();
    let mut third = two.connect("ann").await;
    let _bob = two.connect("bob").await;
    until_listed(&one, 3).await;
    let path = format!("/v1/users/ann/connections/{}", id.as_str().expect("an id"));
    assert_eq!(admin(&one, "DELETE", &path).await.json()["closed"], 1);
    check_close(&second.closed().await, 4004, "AUTHORIZATION_ERROR");
    one.publish("ann", "still here").await;
    assert_eq!(third.text().await, "still here");
    until_listed(&one, 2).await;
    check_answer(&admin(&one, "DELETE", &path).await, 404, "RESOURCE_NOT_FOUND");
    check_answer(&admin(&one, "DELETE", "/v1/users/ann/connections/7").await, 400, "VALIDATION_ERROR");

    assert_eq!(admin(&two, "DELETE", "/v1/users/ann/connections").await.json()["closed"], 2);
    for client in [first, third] {
        check_close(&client.closed().await, 4004, "AUTHORIZATION_ERROR");
    }
    until_listed(&one, 0).await;
}

#[tokio::test]
async fn a_word_that_arrives_late_does_not_close_who_came_meanwhile() {
    let redis = RedisServer::start().await;
    let pod = Service::start_on(&redis.url(), &[]).await;
    let word = || {
        let (connections, opened_before) = (Vec::new(), Some(SystemTime::now()));
        let all = Disconnect { user: user("ann"), connections, opened_before, why: Why::Disconnected };
        serde_json::to_vec(&Order::Disconnect(all)).expect("JSON")
    };
    let tell = async |word: &[u8]| {
        let heard: u64 = redis.run("PUBLISH", &[b"{ws:websocket-service:pods}:orders", word]).await;
        assert_eq!(heard, 1);
    };
    let late = word();
    let mut client = pod.connect("ann").await;
    tell(&late).await;
    pod.publish("ann", "hello").await;
    assert_eq!(client.text().await, "hello");
    tell(&word()).await;
    check_close(&client.closed().await, 4004, "AUTHORIZATION_ERROR");
}

#[tokio::test]
async fn what_a_killed_pod_held_does_not_count_for_long() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let killed = Daemon::start(&[("REDIS_URL", &url)]).await;
    let [one, _] = two(&redis, &[REJECT]).await;
    let _lost = killed.connect("ann").await;
    assert_eq!(until_listed(&one, 1).await[0]["mode"], "plain");
    // SIGKILL: it says no word.
    drop(killed);
    until_listed(&one, 0).await;
    let mut next = one.connect("ann").await;
    one.publish("ann", "hello").await;
    assert_eq!(next.text().await, "hello");
    assert_eq!(redis.run::<u64>("HLEN {ws:ann}:connections", &[]).await, 1, "the dead entry went");
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_told_anew() {
    let mut redis = RedisServer::start().await;
    let [one, two] = two(&redis, &[]).await;
    let (_first, _second) = (one.connect("ann").await, two.connect("ann").await);
    until_listed(&one, 2).await;
    redis.restart().await;
    until_listed(&one, 2).await;
    until_listed(&two, 2).await;
}

#[tokio::test]
async fn while_redis_is_away_a_pod_lists_its_own_and_says_so() {
    let mut redis = RedisServer::start().await;
    let [one, _] = two(&redis, &[]).await;
    let first = one.connect("ann").await;
    redis.stop();
    eventually("the outage shows", LOCAL, async || one.metric("websocket_backplane_up").await == 0.0).await;
    let answer = admin(&one, "GET", "/v1/users/ann/connections").await.json();
    assert_eq!((&answer["scope"], answer["connections"].as_array().map(Vec::len)), (&"pod".into(), Some(1)));
    let answer = admin(&one, "DELETE", "/v1/users/ann/connections").await;
    check_answer(&answer, 503, "SERVICE_UNAVAILABLE");
    check_close(&first.closed().await, 4004, "AUTHORIZATION_ERROR");
    redis.restart().await;
    // What left meanwhile is taken out.
    until_listed(&one, 0).await;
}

#[tokio::test]
async fn the_rights_it_needs_are_those_of_the_documentation() {
    let lines = vec![
        "user default on nopass resetchannels &ws:* &{ws:* resetkeys ~ws:* ~{ws:* -@all +subscribe +unsubscribe +publish \
         +ping +evalsha +eval +xadd +xlen +pexpire +get +set +del +xrange +xrevrange +time +zadd +zrem +zremrangebyscore \
         +zcard +zscore +hset +hsetnx +hdel +hgetall +hexists +hlen +hello +client +info",
    ];
    let redis = RedisServer::start_with(Options { lines, ..Options::default() }).await;
    let [one, two] = two(&redis, &[REJECT, EVICT]).await;
    let first = one.connect("ann").await;
    let second = two.connect("ann").await;
    check_close(&first.closed().await, 4000, "QUOTA_EXCEEDED");
    until_listed(&one, 1).await;
    assert_eq!(admin(&one, "DELETE", "/v1/users/ann/connections").await.json()["closed"], 1);
    check_close(&second.closed().await, 4004, "AUTHORIZATION_ERROR");
    until_listed(&one, 0).await;
    let revoked = admin(&one, "PUT", "/v1/revocations/users/ann").await.json();
    assert_eq!(revoked["pods"], 2, "{revoked}");
    assert_eq!(admin(&two, "DELETE", "/v1/revocations/users/ann").await.json()["lifted"], true);
    let stats: String = redis.run("INFO errorstats", &[]).await;
    assert!(!stats.contains("NOPERM"), "{stats}");
}

#[tokio::test]
async fn without_the_rights_each_pod_counts_by_itself_and_says_so_once() {
    let lines = vec![
        "user default on nopass ~* resetchannels &ws:* &{ws:ann}:messages &{ws:bob}:messages +@all -hset",
    ];
    let redis = RedisServer::start_with(Options { lines, ..Options::default() }).await;
    let logs = Logs::capture();
    let [one, two] = two(&redis, &[REJECT]).await;
    let (mut first, mut second) = (one.connect("ann").await, two.connect("ann").await);
    let _bob = one.connect("bob").await;
    one.publish("ann", "hello").await;
    assert_eq!((first.text().await, second.text().await), ("hello".to_owned(), "hello".to_owned()));
    assert_eq!(logs.count("users' limits count on each pod by itself"), 2, "{}", logs.text());
    assert_eq!(logs.count("the server refused the channel of orders"), 2, "{}", logs.text());
}
