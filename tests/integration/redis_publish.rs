//! Publishing through a real Redis.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;
use websocket_service::backplane::redis::Tuning;
use websocket_service::backplane::{Backplane, BackplaneError, Status};
use websocket_service::cli::publish::{PublishArgs, run};
use websocket_service::config::{Config, Secret};

use crate::support::backplane::{Pod, publication, quick, user};
use crate::support::logs::Logs;
use crate::support::redis::{Options, RedisServer};
use crate::support::{LOCAL, eventually, within};

/// Short enough to wait for, long enough not to strike a healthy server on a busy machine.
const PUBLISH: Duration = Duration::from_secs(1);

/// The bound itself, and time for a busy machine to notice it.
const LATE: Duration = Duration::from_secs(4);

async fn publish(pod: &Pod, text: &str) -> Result<u64, BackplaneError> {
    let publish = pod.backplane.publish(user("ann"), publication(text));
    within("an answer", LOCAL, publish).await.map(|published| published.subscribers)
}

#[tokio::test]
async fn subscribers_counts_pods() {
    let server = RedisServer::start().await;
    let (one, two) = (Pod::start(&server.url()), Pod::start(&server.url()));
    assert_eq!(publish(&one, "nobody").await, Ok(0));
    let _here = (one.subscribe("ann").await, one.subscribe("ann").await);
    assert_eq!(publish(&two, "one").await, Ok(1));
    let _there = two.subscribe("ann").await;
    assert_eq!(publish(&one, "two").await, Ok(2));
    let seen = one.until("both", |seen| seen.messages.len() == 2).await;
    assert_eq!(seen.messages[1], ("ann".to_owned(), b"two".to_vec()));
    two.until("the second", |seen| seen.messages.len() == 1).await;
}

#[tokio::test]
async fn many_are_published_in_one_step_and_in_order() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    let messages = (0..1_000)
        .map(|number| (user(["ann", "bob"][number % 2]), publication(&number.to_string())))
        .collect();
    let before = server.script_calls().await;
    let published = pod.backplane.publish_all(messages).await.expect("published");
    let counts: Vec<u64> = published.iter().map(|one| one.subscribers).collect();
    assert_eq!((counts.len(), &counts[..4]), (1_000, [1, 0, 1, 0].as_slice()));
    let seen = pod.until("ann's half", |seen| seen.messages.len() == 500).await;
    let expected: Vec<Vec<u8>> =
        (0..1_000).step_by(2).map(|number| number.to_string().into_bytes()).collect();
    assert_eq!(seen.messages.into_iter().map(|(_, payload)| payload).collect::<Vec<_>>(), expected);
    let after = server.script_calls().await;
    assert_eq!([after[0] - before[0], after[1] - before[1]], [1, 1]);
    assert_eq!(pod.backplane.publish_all(Vec::new()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn one_that_is_refused_stops_all() {
    let lines = vec!["user ws on >pw ~* &ws:a* &{ws:a* +@all"];
    let server = RedisServer::start_with(Options { lines, ..Options::default() }).await;
    let pod = Pod::start(&format!("redis://ws:pw@{}", server.address()));
    let _ann = pod.subscribe("ann").await;
    let messages = vec![(user("ann"), publication("1")), (user("bob"), publication("2"))];
    let refused = pod.backplane.publish_all(messages).await;
    assert!(matches!(refused, Err(BackplaneError::Refused(_))), "{refused:?}");
    assert_eq!(publish(&pod, "after").await, Ok(1));
    let seen = pod.until("the last", |seen| !seen.messages.is_empty()).await;
    assert_eq!(seen.messages[0].1, b"after", "nothing of the refused ones was sent");
}

#[tokio::test]
async fn a_hung_server_is_an_error_in_time_and_heals() {
    let server = RedisServer::start().await;
    let tuning = Tuning {
        publish: PUBLISH,
        ping_every: Duration::from_millis(50),
        ping_answer: Duration::from_secs(2),
        connect: Duration::from_secs(2),
        ..quick()
    };
    let pod = Pod::start_tuned(Secret::inline(server.url()), tuning);
    let _ann = pod.subscribe("ann").await;
    assert_eq!(publish(&pod, "before").await, Ok(1));

    server.pause();
    let start = Instant::now();
    assert_eq!(publish(&pod, "hung").await, Err(BackplaneError::Timeout));
    assert!(start.elapsed() < LATE, "answered after {:?}", start.elapsed());
    pod.until_status(Status::Down).await;

    server.resume();
    pod.until("the gap", |seen| seen.gaps > 0).await;
    eventually("publishing works again", LOCAL, async || publish(&pod, "after").await == Ok(1)).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_in_time_and_heals() {
    let mut server = RedisServer::start().await;
    let tuning = Tuning { publish: PUBLISH, ..quick() };
    let pod = Pod::start_tuned(Secret::inline(server.url()), tuning);
    assert_eq!(publish(&pod, "before").await, Ok(0));
    server.stop();
    pod.until_status(Status::Down).await;
    let start = Instant::now();
    assert_eq!(publish(&pod, "away").await, Err(BackplaneError::Unavailable));
    assert!(start.elapsed() < LATE, "answered after {:?}", start.elapsed());
    server.restart().await;
    eventually("publishing works again", LOCAL, async || publish(&pod, "after").await == Ok(0)).await;
}

#[tokio::test]
async fn a_short_outage_delays_a_publication_and_fails_none() {
    let mut server = RedisServer::start().await;
    let pod = Pod::start_tuned(Secret::inline(server.url()), Tuning { publish: LOCAL.limit, ..quick() });
    assert_eq!(publish(&pod, "before").await, Ok(0));
    let logs = Logs::capture();
    server.stop();
    eventually("the publisher notices", LOCAL, async || logs.count("link=\"publisher\"") >= 1).await;
    let (published, ()) = tokio::join!(publish(&pod, "during"), server.restart());
    assert_eq!(published, Ok(0));
}

#[tokio::test]
async fn a_killed_connection_is_remade_before_anybody_publishes() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    assert_eq!(publish(&pod, "before").await, Ok(0));
    let id = async || {
        let clients: String = server.run("CLIENT LIST", &[]).await;
        let line = clients.lines().find(|line| line.contains("name=pod-1-publisher"))?;
        line.split(' ').next()?.strip_prefix("id=").map(str::to_owned)
    };
    let old = id().await.expect("the connection has a name");
    assert_eq!(server.run::<u64>("CLIENT KILL ID", &[old.as_bytes()]).await, 1);
    eventually("a new connection", LOCAL, async || id().await.is_some_and(|new| new != old)).await;
    assert_eq!(publish(&pod, "after").await, Ok(0));
}

#[tokio::test]
async fn the_command_publishes_for_every_pod() {
    let server = RedisServer::start().await;
    let pod = Pod::start(&server.url());
    let _ann = pod.subscribe("ann").await;
    let mut config = Config::default();
    config.backplane.redis_url = Some(Secret::inline(server.url()));
    let args = PublishArgs {
        user: "ann".to_owned(),
        payload: "from a shell".to_owned(),
        idempotency_key: Some("once".to_owned()),
    };
    for _ in 0..2 {
        assert_eq!(run(&args, config.clone()).await.expect("published"), ExitCode::SUCCESS);
    }
    assert_eq!(server.run::<u64>("XLEN {ws:ann}:history", &[]).await, 1);
    let seen = pod.until("the message", |seen| !seen.messages.is_empty()).await;
    assert_eq!(seen.messages, [("ann".to_owned(), b"from a shell".to_vec())]);
}
