//! Who may log in to Redis and what an ACL allows, and what an operator reads when it does not.

use std::fs;

use websocket_service::backplane::{Backplane, BackplaneError, Status};
use websocket_service::config::{HistoryConfig, Secret};
use websocket_service::history::{From, History};
use websocket_service::protocol::{IdempotencyKey, Publication};

use crate::support::backplane::{Pod, publication, quick, user};
use crate::support::logs::Logs;
use crate::support::redis::{Options, RedisServer};
use crate::support::{LOCAL, eventually, within};

/// What the service needs while it keeps no history.
const WITHOUT_HISTORY: &str =
    "user ws on >p@ss/w:rd resetchannels &ws:* -@all +subscribe +unsubscribe +publish +multi +exec +ping";

/// What it needs besides to read history.
const READING: &str = "+xrange +xrevrange +time";

/// What it needs besides to publish with history, and to know a repetition.
const WITH_HISTORY: &str = "&{ws:* ~ws:* ~{ws:* +eval +evalsha +xadd +xlen +pexpire +get +set +del";

#[tokio::test]
async fn an_acl_user_needs_no_more_than_it_uses() {
    let with_history: &str = format!("{WITHOUT_HISTORY} {WITH_HISTORY} {READING}").leak();
    for (line, size) in [(WITHOUT_HISTORY, 0), (with_history, 100)] {
        let server = RedisServer::start_with(Options { lines: vec![line], ..Options::default() }).await;
        let url = Secret::inline(format!("redis://ws:p%40ss%2Fw%3Ard@{}/", server.address()));
        let history = HistoryConfig { size, ..HistoryConfig::default() };
        let pod = Pod::start_with(url, quick(), history);
        let _ann = pod.subscribe("ann").await;
        let published = pod
            .backplane
            .publish_all(vec![(user("ann"), publication("1")), (user("ann"), publication("2"))])
            .await;
        assert_eq!(published.map(|all| all.len()), Ok(2));
        pod.until("both", |seen| seen.messages.len() == 2).await;
        if size > 0 {
            let key = IdempotencyKey::new(b"k").expect("a key");
            let keyed = Publication { idempotency_key: Some(key), ..publication("3") };
            assert!(pod.backplane.publish(user("ann"), keyed).await.is_ok());
            let all = pod.backplane.read(user("ann"), From::Oldest, 10).await.expect("readable");
            assert_eq!(all.len(), 3);
            // A user without history gets a mark, and the first publication takes it over.
            let mark = pod.backplane.newest(user("bob")).await.expect("a mark");
            assert!(pod.backplane.publish(user("bob"), publication("1")).await.is_ok());
            let both = pod.backplane.read(user("bob"), From::Entry(mark), 10).await.expect("readable");
            assert_eq!(both.len(), 2, "the mark and the message");
            pod.backplane.keep(vec![user("ann"), user("bob")]).await.expect("kept");
        }
    }
}

#[tokio::test]
async fn one_forbidden_user_makes_nobody_else_deaf() {
    let lines = vec!["user ws on >pw resetchannels &ws:a* &{ws:a* +@all"];
    let server = RedisServer::start_with(Options { lines, ..Options::default() }).await;
    let pod = Pod::start(&format!("redis://ws:pw@{}", server.address()));
    pod.until_status(Status::Up).await;
    // One command carries all three.
    let (ann, bob, amy) = within("answers", LOCAL, async {
        tokio::join!(
            pod.backplane.subscribe(user("ann")),
            pod.backplane.subscribe(user("bob")),
            pod.backplane.subscribe(user("amy")),
        )
    })
    .await;
    assert!(matches!(bob, Err(BackplaneError::Refused(_))), "{bob:?}");
    assert!(ann.is_ok() && amy.is_ok());
    assert_eq!(server.subscribers("ws:amy").await, 1);
    assert_eq!(pod.seen().statuses, [Status::Up], "the link stays");
}

#[tokio::test]
async fn a_wrong_password_is_said_once_and_never_shown() {
    let server = RedisServer::start_with(Options { password: Some("right"), ..Options::default() }).await;
    let logs = Logs::capture();
    let pod = Pod::start(&format!("redis://:wr0ngpass@{}", server.address()));
    eventually("several attempts", LOCAL, async || logs.count("still no link to Redis") >= 6).await;
    assert_eq!(pod.backplane.status(), Status::Connecting);
    let text = logs.text();
    assert!(!text.contains("wr0ngpass"), "{text}");
    let warnings: Vec<&str> = text.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 2, "one for each connection: {warnings:?}");
    let address = server.address();
    assert!(
        warnings.iter().all(|line| line.contains("WRONGPASS") && line.contains(&address)),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_rotated_password_needs_no_restart() {
    let server = RedisServer::start_with(Options { password: Some("new"), ..Options::default() }).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("url");
    let pod = Pod::start_tuned(Secret::File(file.clone()), quick());
    let logs = Logs::capture();
    eventually("the file is missing", LOCAL, async || logs.count("cannot read the secret file") >= 1).await;
    fs::write(&file, format!("redis://:old@{}\n", server.address())).expect("written");
    eventually("the old password is refused", LOCAL, async || logs.count("WRONGPASS") >= 1).await;
    fs::write(&file, "http://:old@s3cret/").expect("written");
    eventually("no URL", LOCAL, async || logs.count("REDIS_URL cannot be used") >= 1).await;
    fs::write(&file, format!("{}\n", server.url())).expect("written");
    let _ann = pod.subscribe("ann").await;
    let text = logs.text();
    assert!(!text.contains("s3cret") && !text.contains(":old@"), "{text}");
}

#[tokio::test]
async fn a_server_without_resp3_is_named() {
    let lines = vec!["rename-command HELLO \"\""];
    let server = RedisServer::start_with(Options { lines, ..Options::default() }).await;
    let logs = Logs::capture();
    let pod = Pod::start(&server.url());
    eventually("several attempts", LOCAL, async || logs.count("still no link to Redis") >= 4).await;
    let text = logs.text();
    assert!(text.lines().any(|line| line.contains("ERROR") && line.contains("Redis 6.0")), "{text}");
    assert_eq!(pod.backplane.status(), Status::Connecting);
}
