//! Publishing with history through a real Redis: what the script does, and that it does all of it or nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use websocket_service::backplane::{Backplane, BackplaneError, Published, Status};
use websocket_service::config::{HistoryConfig, Secret};
use websocket_service::history::open;
use websocket_service::protocol::{EventId, IdempotencyKey, Publication, Traceparent};

use crate::support::backplane::{Pod, publication, quick, user};
use crate::support::redis::{Options, RedisServer};
use crate::support::{LOCAL, within};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A stream's entry: its id, then fields and values.
type Entry = (String, Vec<String>);

async fn history(server: &RedisServer, name: &str) -> Vec<Entry> {
    server.run("XRANGE", &[format!("{{ws:{name}}}:history").as_bytes(), b"-", b"+"]).await
}

async fn lives_for(server: &RedisServer, key: &str) -> Duration {
    let left: i64 = server.run("PTTL", &[key.as_bytes()]).await;
    Duration::from_millis(u64::try_from(left).expect("it exists and expires"))
}

async fn publish(pod: &Pod, name: &str, publication: Publication) -> Result<Published, BackplaneError> {
    within("an answer", LOCAL, pod.backplane.publish(user(name), publication)).await
}

async fn id(pod: &Pod, name: &str, text: &str) -> EventId {
    publish(pod, name, publication(text)).await.expect("published").id.expect("an id")
}

fn keyed(text: &str, key: &str) -> Publication {
    let key = IdempotencyKey::new(key.as_bytes()).expect("a key");
    Publication { idempotency_key: Some(key), ..publication(text) }
}

#[tokio::test]
async fn a_message_is_kept_and_arrives_with_its_place() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    let first = publish(&pod, "ann", publication("one")).await.expect("published");
    let traced = Publication { traceparent: Traceparent::parse(TRACE), ..publication("two\u{1e}\0") };
    let second = publish(&pod, "ann", traced).await.expect("published");
    assert_eq!((first.subscribers, second.subscribers), (1, 1));
    let ids = [first.id.expect("an id"), second.id.expect("an id")];
    assert!(ids[0] < ids[1]);

    let seen = pod.until("both", |seen| seen.kept.len() == 2).await;
    let arrived: Vec<_> = seen.kept.iter().map(|record| (record.id, &*record.payload)).collect();
    assert_eq!(arrived, [(ids[0], b"one".as_slice()), (ids[1], b"two\x1e\0")]);
    let traces: Vec<_> =
        seen.kept.iter().map(|record| record.traceparent.as_ref().map(Traceparent::as_str)).collect();
    assert_eq!(traces, [None, Some(TRACE)]);

    let texts = |fields: &[&str]| fields.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let expected = [
        (ids[0].to_string(), texts(&["p", "one"])),
        (ids[1].to_string(), texts(&["p", "two\u{1e}\0", "t", TRACE])),
    ];
    assert_eq!(history(&server, "ann").await, expected);
}

#[tokio::test]
async fn ids_grow_for_each_user_on_whichever_pod_it_is_published() {
    let server = RedisServer::start().await;
    let pods = [Pod::start(&server.url()), Pod::start(&server.url())];
    let _ann = pods[0].subscribe("ann").await;
    let mut last = None;
    for number in 0..200 {
        let next = id(&pods[number % 2], "ann", "x").await;
        assert!(last < Some(next), "{last:?} {next}");
        last = Some(next);
    }
    let together = join_all((0..100).map(|number| id(&pods[number % 2], "ann", "y"))).await;
    assert_eq!(together.iter().collect::<BTreeSet<_>>().len(), 100);
    let seen = pods[0].until("all", |seen| seen.kept.len() == 300).await;
    assert!(seen.kept.is_sorted_by(|one, next| one.id < next.id), "the live order is that of the ids");
}

#[tokio::test]
async fn history_is_as_long_and_as_old_as_configured() {
    let server = RedisServer::start().await;
    let config = HistoryConfig { size: 10, ttl: Duration::from_millis(90_500) };
    let pod = Pod::start_with(Secret::inline(server.url()), quick(), config);
    for number in 0..500 {
        id(&pod, "ann", &number.to_string()).await;
    }
    let entries = history(&server, "ann").await;
    assert!((10..=110).contains(&entries.len()), "{}", entries.len());
    assert_eq!(entries.last().expect("entries").1, ["p", "499"]);
    let left = lives_for(&server, "{ws:ann}:history").await;
    assert!(left > Duration::from_secs(60) && left <= config.ttl, "{left:?}");
    server.run::<()>("PEXPIRE {ws:ann}:history 5000", &[]).await;
    id(&pod, "ann", "again").await;
    assert!(lives_for(&server, "{ws:ann}:history").await > Duration::from_secs(60), "it begins anew");
}

#[tokio::test]
async fn whoever_connects_keeps_what_is_about_to_expire() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let kept = id(&pod, "ann", "x").await.to_string();
    for given in [None, Some(kept.as_str()), Some("1-0")] {
        let minute: u64 = server.run("PEXPIRE", &[b"{ws:ann}:history", b"60000"]).await;
        assert_eq!(minute, 1);
        let opening = within("it opens", LOCAL, open(&*pod.backplane, &user("ann"), given, 9)).await;
        assert_eq!(opening.map(|opening| opening.end), Ok(true));
        assert!(lives_for(&server, "{ws:ann}:history").await > Duration::from_secs(60), "{given:?}");
    }
}

#[tokio::test]
async fn a_repetition_does_nothing_and_is_answered_as_the_first_time() {
    for size in [100, 0] {
        let server = RedisServer::start().await;
        let config = HistoryConfig { size, ..HistoryConfig::default() };
        let pod = Pod::start_with(Secret::inline(server.url()), quick(), config);
        let ann = pod.subscribe("ann").await;
        let answers = join_all((0..50).map(|_| publish(&pod, "ann", keyed("once", "k")))).await;
        let first = answers[0].clone().expect("published");
        assert_eq!((first.subscribers, first.id.is_some()), (1, size > 0));
        assert!(answers.iter().all(|answer| answer == &Ok(first)), "{answers:?}");
        drop(ann);
        crate::support::eventually("nobody listens", LOCAL, async || server.subscribers("ws:ann").await == 0)
            .await;
        assert_eq!(publish(&pod, "ann", keyed("another", "k")).await, Ok(first));
        let other = publish(&pod, "bob", keyed("once", "k")).await.expect("published");
        assert!(other.subscribers == 0 && (size == 0 || other.id != first.id), "a key is its user's own");
        assert_eq!(pod.seen().messages.len(), 1);
        assert_eq!(history(&server, "ann").await.len(), usize::from(size > 0));
        let left = lives_for(&server, "{ws:ann}:idempotency:k").await;
        assert!(left > Duration::from_secs(240) && left <= Duration::from_secs(300), "{left:?}");
    }
}

#[tokio::test]
async fn a_batch_may_be_repeated_too() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let key = IdempotencyKey::new(b"batch").expect("a key");
    let batch = || {
        let message = |(index, name): (usize, &&str)| {
            let key = Some(key.of_index(index));
            (user(name), Publication { idempotency_key: key, ..publication("x") })
        };
        ["ann", "bob", "ann"].iter().enumerate().map(message).collect::<Vec<_>>()
    };
    let first = pod.backplane.publish_all(batch()).await.expect("published");
    assert!(first[0].id < first[2].id, "ids are a user's own");
    assert_eq!(pod.backplane.publish_all(batch()).await, Ok(first));
    assert_eq!((history(&server, "ann").await.len(), history(&server, "bob").await.len()), (2, 1));
}

#[tokio::test]
async fn a_batch_that_cannot_be_done_whole_is_not_begun() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    server.run::<()>("SET {ws:bob}:history text", &[]).await;
    server.run::<()>("SET {ws:eve}:idempotency:k text", &[]).await;
    for last in [("bob", publication("2")), ("eve", keyed("2", "k"))] {
        let batch = vec![(user("ann"), keyed("1", "k")), (user(last.0), last.1)];
        let refused = pod.backplane.publish_all(batch).await;
        assert!(matches!(refused, Err(BackplaneError::Refused(_))), "{refused:?}");
    }
    assert!(history(&server, "ann").await.is_empty());
    let marker = id(&pod, "ann", "marker").await;
    let seen = pod.until("the marker", |seen| !seen.kept.is_empty()).await;
    assert_eq!(seen.kept[0].id, marker, "nothing came before it");
    assert!(publish(&pod, "ann", keyed("1", "k")).await.expect("published").id > Some(marker));
}

#[tokio::test]
async fn the_script_may_be_forgotten_at_any_time() {
    let mut server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let [before_sha, before_text] = server.script_calls().await;
    id(&pod, "ann", "1").await;
    id(&pod, "ann", "2").await;
    let [by_sha, by_text] = server.script_calls().await;
    assert_eq!((by_text - before_text, by_sha - before_sha), (1, 2), "one round trip later");
    server.run::<()>("SCRIPT FLUSH", &[]).await;
    id(&pod, "ann", "3").await;
    let batch = vec![(user("ann"), publication("4")), (user("ann"), publication("5"))];
    pod.backplane.publish_all(batch).await.expect("published");
    assert_eq!(history(&server, "ann").await.len(), 5, "once each");

    pod.until_status(Status::Up).await;
    server.stop();
    pod.until_status(Status::Down).await;
    server.restart().await;
    pod.until_status(Status::Up).await;
    id(&pod, "ann", "6").await;
    assert_eq!(history(&server, "ann").await.len(), 1, "this server keeps nothing over a restart");
}

#[tokio::test]
async fn a_full_redis_refuses_and_stores_nothing() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    id(&pod, "ann", "before").await;
    server.run::<()>("CONFIG SET maxmemory 1", &[]).await;
    for refused in [
        publish(&pod, "ann", publication("full")).await,
        publish(&pod, "ann", keyed("full", "k")).await,
        pod.backplane.publish_all(vec![(user("ann"), publication("full"))]).await.map(|all| all[0]),
    ] {
        assert!(
            matches!(&refused, Err(BackplaneError::Refused(words)) if words.contains("OOM")),
            "{refused:?}"
        );
    }
    server.run::<()>("CONFIG SET maxmemory 0", &[]).await;
    id(&pod, "ann", "after").await;
    let seen = pod.until("the last", |seen| seen.kept.len() == 2).await;
    assert_eq!(seen.messages[1].1, b"after");
    assert_eq!(history(&server, "ann").await.len(), 2);
    assert!(publish(&pod, "ann", keyed("now", "k")).await.is_ok(), "the key was not spent");
}

#[tokio::test]
async fn a_missing_right_leaves_nothing_half_done() {
    let rights = "user ws on >pw resetchannels ~{ws:* ~ws:* &ws:* &{ws:* +@all";
    for lacks in ["-publish", "-pexpire", "-xadd", "-set", "-get", "resetchannels &ws:*"] {
        let line: &'static str = format!("{rights} {lacks}").leak();
        let server = RedisServer::start_with(Options { lines: vec![line], ..Options::default() }).await;
        let pod = Pod::start(&format!("redis://ws:pw@{}", server.address()));
        let refused = publish(&pod, "ann", keyed("x", "k")).await;
        assert!(matches!(refused, Err(BackplaneError::Refused(_))), "{lacks}: {refused:?}");
        assert_eq!(server.user_keys().await, Vec::<String>::new(), "{lacks}");
    }
}
