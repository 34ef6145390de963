//! Reading history from a real Redis: marks, lifetimes, what is not there and what may not be read.

use std::time::Duration;

use websocket_service::backplane::Backplane;
use websocket_service::config::{HistoryConfig, Secret};
use websocket_service::history::{Entry, From, History, HistoryError, Join, open};
use websocket_service::protocol::EventId;

use crate::support::backplane::{Pod, publication, quick, user};
use crate::support::redis::{Options, RedisServer};

fn ids(entries: &[Entry]) -> Vec<EventId> {
    entries.iter().map(Entry::id).collect()
}

#[tokio::test]
async fn a_mark_is_small_and_becomes_the_first_entry() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let mark = pod.backplane.newest(user("ann")).await.expect("a mark");
    assert_eq!(pod.backplane.newest(user("ann")).await, Ok(mark), "the same for everybody who comes");
    let bytes: u64 = server.run("MEMORY USAGE {ws:ann}:mark", &[]).await;
    assert!(bytes < 200, "each quiet user costs Redis that: {bytes} bytes");
    assert_eq!(server.run::<u64>("EXISTS {ws:ann}:history", &[]).await, 0);
    assert_eq!(pod.backplane.read(user("ann"), From::Entry(mark), 10).await, Ok(vec![Entry::Mark(mark)]));

    let id = pod.backplane.publish(user("ann"), publication("1")).await.expect("published").id;
    assert!(id > Some(mark));
    assert_eq!(server.run::<u64>("EXISTS {ws:ann}:mark", &[]).await, 0, "moved");
    let entries = pod.backplane.read(user("ann"), From::Entry(mark), 10).await.expect("readable");
    assert_eq!(ids(&entries), [Some(mark), id].map(|id| id.expect("an id")));
    assert_eq!(pod.backplane.newest(user("ann")).await.ok(), id);
}

#[tokio::test]
async fn a_mark_that_is_gone_proves_nothing() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let mark = pod.backplane.newest(user("ann")).await.expect("a mark");
    let () = server.run("FLUSHALL", &[]).await;
    for published in [false, true] {
        if published {
            pod.backplane.publish(user("ann"), publication("1")).await.expect("published");
        }
        let mut join = Join::after(mark);
        let entries = pod.backplane.read(user("ann"), join.next(), 10).await.expect("readable");
        assert!(join.read(entries, 10).gap.is_some(), "published: {published}");
    }
}

#[tokio::test]
async fn who_is_there_keeps_what_there_is() {
    let server = RedisServer::start().await;
    let history = HistoryConfig { ttl: Duration::from_secs(100), ..HistoryConfig::default() };
    let pod = Pod::start_with(Secret::inline(server.url()), quick(), history);
    let mark = pod.backplane.newest(user("bob")).await.expect("a mark");
    pod.backplane.publish(user("ann"), publication("1")).await.expect("published");
    let left = async |key: &str| server.run::<i64>(&format!("PTTL {key}"), &[]).await;
    let shorten = async || {
        for key in ["{ws:ann}:history", "{ws:bob}:mark"] {
            let _: u64 = server.run(&format!("PEXPIRE {key} 5000"), &[]).await;
        }
    };
    let is_whole = async || left("{ws:ann}:history").await > 90_000 && left("{ws:bob}:mark").await > 90_000;
    assert!(is_whole().await);
    shorten().await;
    pod.backplane.keep(vec![user("ann"), user("bob"), user("nobody")]).await.expect("kept");
    assert!(is_whole().await, "kept for the connected");
    shorten().await;
    pod.backplane.newest(user("ann")).await.expect("there");
    pod.backplane.read(user("bob"), From::Entry(mark), 10).await.expect("there");
    assert!(is_whole().await, "and by whoever connects");
}

#[tokio::test]
async fn a_refusal_is_an_honest_gap_and_an_outage_is_for_later() {
    let lines = vec!["user ws on >pw ~* &* +@all -xrange"];
    let mut server = RedisServer::start_with(Options { lines, ..Options::default() }).await;
    let pod = Pod::start(&format!("redis://ws:pw@{}", server.address()));
    let id =
        pod.backplane.publish(user("ann"), publication("1")).await.expect("published").id.expect("an id");
    let found = pod.backplane.read(user("ann"), From::Entry(id), 10).await;
    assert!(matches!(found, Err(HistoryError::Refused(_))), "{found:?}");
    let opening = open(&*pod.backplane, &user("ann"), Some(&id.to_string()), 10).await.expect("it opens");
    assert_eq!((opening.resumed, opening.gap), (false, Some(id.to_string())));
    server.stop();
    let found = open(&*pod.backplane, &user("ann"), None, 10).await;
    assert_eq!(found.err(), Some(HistoryError::Unavailable));
}
