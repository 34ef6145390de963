//! Slots that move from one master to another, while their users are connected.

use serde_json::{Value, json};

use super::crowd::Crowd;
use super::{CLASSIC, Fleet, SHARDED, both_subscribe, published, reach};
use crate::commands::run;
use crate::support::cluster::{RedisCluster, slot};
use crate::support::daemon::Daemon;
use crate::support::{LOCAL, eventually};
use crate::v1::V1;

/// From the first master to the second.
async fn a_slot_moves(pubsub: &str) {
    let fleet = Fleet::start(pubsub, &[]).await;
    let [source, target] = [0, 1].map(|index| &fleet.cluster.servers[index]);
    let users = fleet.cluster.users_of(0, 2).await;
    let [ann, bob] = [&users[0], &users[1]];
    let (mut moved, mut others) = (fleet.clients(ann).await, fleet.clients(bob).await);
    let first = published(&fleet.pods[0], ann, "1").await;
    moved.hear("1", &first).await;
    others.hear("1", &published(&fleet.pods[0], bob, "1").await).await;
    let links = fleet.subscribed().await;

    fleet.cluster.move_slot(slot(&format!("ws:{ann}")), 1).await;
    // Some of these come before the pods know.
    let mut sent = Vec::new();
    for number in 2..=5 {
        let id = published(&fleet.pods[number % 2], ann, &number.to_string()).await;
        sent.push(json!([id, number]));
    }
    for client in &mut moved.v1 {
        for message in &sent {
            assert_eq!(&json!(client.message().await), message, "once, and in order");
        }
    }
    both_subscribe(target, ann).await;
    let channel = format!("ws:{ann}");
    eventually("nobody is left at the old one", LOCAL, async || source.subscribers(&channel).await == 0)
        .await;
    source.publish(ann, b"6").await;
    for client in &mut moved.v1 {
        let frame = client.frame().await;
        assert_eq!(
            (&frame["type"], &frame["data"], &frame["id"]),
            (&json!("message"), &json!(6), &Value::Null)
        );
    }
    for client in &mut moved.plain {
        // What came while its channels moved may be missing for who has no history.
        let mut last = 1;
        while last < 6 {
            let number = client.text().await.parse().expect("a number");
            assert!(number > last, "{number} after {last}");
            last = number;
        }
    }
    let id = published(&fleet.pods[1], ann, "7").await;
    moved.hear("7", &id).await;
    // What was published before the move is where it is published now.
    let mut back = V1::connect(&fleet.pods[0], ann, first.as_str()).await;
    assert_eq!(back.hello["resumed"], true);
    for message in sent.into_iter().chain([json!([id, 7])]) {
        assert_eq!(json!(back.message().await), message);
    }

    assert_eq!(fleet.subscribed().await, links, "no link was made anew");
    others.hear("2", &published(&fleet.pods[1], bob, "2").await).await;
}

#[tokio::test]
async fn who_is_connected_while_the_slot_moves_gets_all_once_and_in_order_by_sharded_channels() {
    a_slot_moves(SHARDED).await;
}

#[tokio::test]
async fn who_is_connected_while_the_slot_moves_gets_all_once_and_in_order_by_classic_channels() {
    a_slot_moves(CLASSIC).await;
}

/// While keys are on their way Redis sends whoever asks for one that is not there, as the script does for the channel, to
/// the new master, where the user's history is not yet: a publication there would make a second one.
#[tokio::test]
async fn slots_that_move_under_load_lose_nothing_and_make_no_second_history() {
    let cluster = RedisCluster::start().await;
    let list = cluster.list();
    let settings = reach(&list, SHARDED);
    let pods = [Daemon::start(&settings).await, Daemon::start(&settings).await];
    let users = cluster.users_of(0, 5).await;
    let crowd = Crowd::start(&cluster, &pods, 10).await;
    crowd.hears(2).await;
    for user in &users {
        cluster.move_slot(slot(&format!("ws:{user}")), 1).await;
    }
    crowd.hears(3).await;
    for user in &users {
        cluster.move_slot(slot(&format!("ws:{user}")), 0).await;
    }
    crowd.hears(3).await;
    let report = crowd.finish().await;
    assert_eq!((report.lost, report.twice, report.gaps), (0, 0, 0), "{report:?}");
    assert_eq!(report.ended, Vec::<String>::new(), "clients stay connected");
    for user in &users {
        let key = format!("{{ws:{user}}}:history");
        let kept: u64 = cluster.servers[0].run("XLEN", &[key.as_bytes()]).await;
        assert!(kept >= 8, "{user}: all that was published is in one history, not {kept}");
    }
}

/// With the history as a second key a cluster's client is told to try again, wherever it asks.
#[tokio::test]
async fn a_script_that_names_the_history_waits_for_the_slot() {
    let cluster = RedisCluster::start().await;
    let (user, list) = (cluster.users_of(0, 1).await.remove(0), cluster.list());
    let (_, script) = run(&reach(&list, SHARDED), &["publisher", "--script"]).await;
    let (channel, history) = (format!("ws:{user}"), format!("{{ws:{user}}}:history"));
    let words = [script.as_bytes(), b"2", channel.as_bytes(), history.as_bytes(), b"text"];
    let id: String = cluster.servers[0].run("EVAL", &words).await;

    let number = slot(&channel).to_string();
    for (at, what, other) in [(1, "IMPORTING", 0), (0, "MIGRATING", 1)] {
        let other: String = cluster.servers[other].run("CLUSTER MYID", &[]).await;
        let words = [number.as_bytes(), what.as_bytes(), other.as_bytes()];
        cluster.servers[at].run::<()>("CLUSTER SETSLOT", &words).await;
    }
    let said =
        cluster.servers[0].try_run::<String>("EVAL", &words).await.expect_err("the slot is on its way");
    assert_eq!(said.code(), Some("TRYAGAIN"), "{said}");
    let mut there = cluster.servers[1].keep().await;
    let mut asked = redis::pipe();
    asked.cmd("ASKING").ignore().cmd("EVAL").arg(&words);
    let said = asked.query_async::<(String,)>(&mut there).await.expect_err("nor is it there yet");
    assert_eq!(said.kind(), redis::ErrorKind::Server(redis::ServerErrorKind::TryAgain), "{said}");
    let kept: Vec<(String, Vec<String>)> =
        cluster.servers[0].run("XRANGE", &[history.as_bytes(), b"-", b"+"]).await;
    assert_eq!(kept, [(id, vec!["p".to_owned(), "text".to_owned()])]);
}
