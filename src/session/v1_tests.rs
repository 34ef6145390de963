//! v1 mode on a scripted connection, with a history that the test writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::scripted::Outgoing;
use super::scripted::Session;
use super::transport::Incoming;
use super::{CatchUp, NotRenewed, Outbox, Push, Renewals, V1, page_limit};
use crate::config::{OutboxConfig, OverflowPolicy, SessionConfig};
use crate::history::{Entry, From, History, HistoryError, open};
use crate::metrics::{ClosedWith, Metrics};
use crate::protocol::frame::ReconnectReason;
use crate::protocol::{Close, CloseCode, Envelope, ErrorCode, EventId, Record, ServiceError, UserId};

fn id(milliseconds: u64) -> EventId {
    EventId { milliseconds, sequence: 0 }
}

fn record(milliseconds: u64) -> Record {
    Record { id: id(milliseconds), traceparent: None, payload: milliseconds.to_string().into() }
}

/// A history in memory whose reads wait to be let through.
struct Written {
    entries: Mutex<BTreeMap<u64, bool>>,
    failing: Mutex<Option<HistoryError>>,
    reads: Semaphore,
    under_way: AtomicUsize,
}

/// A read that has neither ended nor been given up.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Written {
    fn new(messages: &[u64]) -> Arc<Self> {
        let entries = messages.iter().map(|id| (*id, true)).collect();
        Arc::new(Self {
            entries: Mutex::new(entries),
            failing: Mutex::default(),
            reads: Semaphore::new(1_000),
            under_way: AtomicUsize::new(0),
        })
    }

    fn add(&self, message: u64) {
        self.entries.lock().insert(message, true);
    }

    fn forget(&self, before: u64) {
        self.entries.lock().retain(|id, _| *id >= before);
    }

    /// From now on each read waits.
    fn block(&self) {
        self.reads.forget_permits(1_000);
    }
}

impl History for Written {
    fn read(&self, _: UserId, from: From, limit: usize) -> BoxFuture<'_, Result<Vec<Entry>, HistoryError>> {
        Box::pin(async move {
            self.under_way.fetch_add(1, Ordering::Relaxed);
            let _under_way = UnderWay(&self.under_way);
            if let Ok(permit) = self.reads.acquire().await {
                permit.forget();
                self.reads.add_permits(usize::from(self.reads.available_permits() > 500));
            }
            if let Some(error) = self.failing.lock().clone() {
                return Err(error);
            }
            let start = match from {
                From::Entry(id) => id.milliseconds,
                From::Oldest => 0,
            };
            let entries = self.entries.lock();
            let found = entries.range(start..).take(limit);
            Ok(found.map(|(id, _)| Entry::Message(record(*id))).collect())
        })
    }

    fn newest(&self, _: UserId) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        Box::pin(async { Ok(id(self.entries.lock().last_key_value().map_or(0, |(id, _)| *id))) })
    }

    fn keep(&self, _: Vec<UserId>) -> BoxFuture<'_, Result<(), HistoryError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Takes a token for what it says.
struct AsItSays;

impl Renewals for AsItSays {
    fn renew(&self, token: SecretString) -> BoxFuture<'static, Result<Instant, NotRenewed>> {
        let error = |message| ServiceError::new(ErrorCode::Authentication, "renew", message);
        let seconds = |text: &str| Duration::from_secs(text.parse().expect("a number"));
        let words: Vec<_> = token.expose_secret().split(' ').map(str::to_owned).collect();
        Box::pin(async move {
            match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["until", end] => Ok(Instant::now() + seconds(end)),
                ["after", wait, "until", end] => {
                    tokio::time::sleep(seconds(wait)).await;
                    Ok(Instant::now() + seconds(end))
                }
                ["after", wait] => {
                    tokio::time::sleep(seconds(wait)).await;
                    Err(NotRenewed::Refused(error("No token")))
                }
                [_] => Err(NotRenewed::Refused(error("No token"))),
                _ => Err(NotRenewed::Stranger(error("Another user's"))),
            }
        })
    }
}

async fn start(history: &Arc<Written>, last_event_id: Option<&str>) -> Session {
    start_with(history, last_event_id, SessionConfig::default()).await
}

async fn start_with(history: &Arc<Written>, last_event_id: Option<&str>, config: SessionConfig) -> Session {
    let metrics = Arc::new(Metrics::new());
    let history: Arc<dyn History> = Arc::clone(history) as _;
    let user = UserId::new("ann").expect("an id");
    let opening = open(&*history, &user, last_event_id, page_limit(&config)).await.expect("readable");
    let hello = format!("hello {} {}", opening.cursor, opening.resumed);
    let catch_up = CatchUp::new(history, user, opening, &config, &metrics);
    let v1 = Box::new(V1::new(hello, Some(catch_up), Box::new(AsItSays)));
    Session::start(Outbox::resuming(), Some(v1), config, metrics)
}

impl Session {
    fn live(&self, message: u64) -> Push {
        let envelope = Envelope::kept(record(message), usize::MAX).expect("text");
        self.offer(&envelope)
    }

    fn bare(&self, text: &str) {
        let envelope = Envelope::new(text.to_owned(), usize::MAX).expect("text");
        self.offer(&envelope);
    }

    fn says(&self, text: &str) {
        self.client.sends(Incoming::Text(text.to_owned().into()));
    }

    /// Waits for so many frames and tells them, messages by their numbers, pings left out.
    async fn told(&self, count: usize) -> Vec<String> {
        loop {
            let frames = self.client.received();
            let told: Vec<String> = frames.iter().filter_map(tell).collect();
            if told.len() >= count {
                return told;
            }
            self.client.has_received(frames.len() + 1).await;
        }
    }
}

fn tell(frame: &Outgoing) -> Option<String> {
    match frame {
        Outgoing::Text(text) => Some(match serde_json::from_str::<serde_json::Value>(text) {
            Ok(frame) if frame["type"] == "message" => {
                frame.get("data").or(frame.get("text")).map(ToString::to_string).unwrap_or_default()
            }
            Ok(frame) if frame["type"] == "gap" => format!("gap after {}", frame["after"]),
            Ok(frame) if frame["type"] == "error" => {
                format!("error {}", frame["code"].as_str().unwrap_or_default())
            }
            _ => text.to_string(),
        }),
        Outgoing::Close(code, _) => Some(code.to_string()),
        Outgoing::Ping => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_is_the_hello_what_was_missed_and_then_what_comes() {
    let history = Written::new(&[1, 2, 3]);
    let session = start(&history, Some("1-0")).await;
    session.live(3);
    session.live(4);
    assert_eq!(session.told(4).await, ["hello 1-0 true", "2", "3", "4"]);
    assert_eq!(session.metrics.messages_sent.get(), 3, "the hello is no message");
    assert_eq!(session.metrics.outbox_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_id_is_that_of_what_was_written_wherever_it_came_from() {
    let history = Written::new(&[1, 2, 3]);
    let session = start(&history, Some("1-0")).await;
    assert_eq!(session.outbox.standing().last_id, None);
    session.live(2);
    session.bare("7");
    assert_eq!(session.told(4).await, ["hello 1-0 true", "2", "3", "7"], "the second 2 is left out");
    assert_eq!(session.outbox.standing().last_id, Some(id(3)));
    session.live(4);
    session.told(5).await;
    assert_eq!(session.outbox.standing().last_id, Some(id(4)));
}

#[tokio::test(start_paused = true)]
async fn many_missed_messages_come_page_by_page() {
    let history = Written::new(&(1..=500).collect::<Vec<_>>());
    let session = start(&history, Some("1-0")).await;
    session.live(501);
    let told = session.told(501).await;
    let expected: Vec<String> = (2..=501).map(|n: u64| n.to_string()).collect();
    assert_eq!(told[1..], expected);
}

#[tokio::test(start_paused = true)]
async fn a_first_comer_gets_what_comes() {
    let history = Written::new(&[7]);
    let session = start(&history, None).await;
    session.live(7);
    session.bare("bare");
    session.live(8);
    assert_eq!(session.told(3).await, ["hello 7-0 false", "\"bare\"", "8"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_continued_is_a_gap_and_all_there_is() {
    for given in ["0-5", "99-0", "nonsense"] {
        let history = Written::new(&[3, 4]);
        let session = start(&history, Some(given)).await;
        let told = session.told(4).await;
        assert_eq!(
            told,
            [
                format!("hello {} false", id(3).predecessor()),
                format!("gap after \"{given}\""),
                "3".into(),
                "4".into()
            ]
        );
        assert_eq!(session.metrics.gaps.get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_cut_what_was_missed_comes_first() {
    let history = Written::new(&[1]);
    let session = start(&history, None).await;
    history.add(2);
    session.live(2);
    session.told(2).await;
    session.outbox.cut(&session.metrics);
    for missed in [3, 4, 5] {
        history.add(missed);
    }
    assert_eq!(session.live(5), Push::Held, "the new link brings the last of them");
    session.bare("7");
    assert_eq!(session.told(3).await[2], "7", "what has no history does not wait");
    session.outbox.restored();
    assert_eq!(session.told(6).await[3..], ["3", "4", "5"]);
    history.add(6);
    session.live(6);
    assert_eq!(session.told(7).await[6], "6");
    assert_eq!(session.metrics.gaps.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_was_longer_than_history_is_a_gap() {
    let history = Written::new(&[1]);
    let session = start(&history, None).await;
    history.add(2);
    session.live(2);
    session.told(2).await;
    session.outbox.cut(&session.metrics);
    history.add(3);
    history.add(4);
    history.forget(4);
    session.outbox.restored();
    assert_eq!(session.told(4).await[1..], ["2", "gap after \"2-0\"", "4"]);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_history_is_asked_again_and_a_refusal_is_a_gap() {
    let history = Written::new(&[1, 2]);
    let session = start(&history, None).await;
    session.outbox.cut(&session.metrics);
    history.add(3);
    *history.failing.lock() = Some(HistoryError::Unavailable);
    session.outbox.restored();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(session.told(1).await.len(), 1, "nothing yet");
    *history.failing.lock() = None;
    assert_eq!(session.told(2).await[1], "3");

    session.outbox.cut(&session.metrics);
    *history.failing.lock() = Some(HistoryError::Refused("NOPERM".to_owned()));
    session.outbox.restored();
    assert_eq!(session.told(3).await[2], "gap after \"3-0\"");
    session.live(9);
    assert_eq!(session.told(4).await[3], "9", "what comes goes on");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_everything_although_its_outbox_overflows_while_it_catches_up() {
    let outbox = OutboxConfig { bytes: 1_000, messages: 3, policy: OverflowPolicy::DropOldest };
    let config =
        SessionConfig { outbox, batch_max_messages: 2, max_message_bytes: 300, ..SessionConfig::default() };
    let history = Written::new(&(1..=20).collect::<Vec<_>>());
    let session = start_with(&history, Some("1-0"), config).await;
    session.client.reads(false);
    for message in 21..=60 {
        history.add(message);
        session.live(message);
        tokio::task::yield_now().await;
    }
    session.client.reads(true);
    let told = session.told(60).await;
    let expected: Vec<String> = (2..=60).map(|n: u64| n.to_string()).collect();
    assert_eq!(told[1..], expected);
    // Live by now, and overflowing again.
    session.client.reads(false);
    for message in 61..=80 {
        history.add(message);
        session.live(message);
        tokio::task::yield_now().await;
    }
    session.client.reads(true);
    assert_eq!(session.told(80).await.last().map(String::as_str), Some("80"));
    assert_eq!(session.told(80).await.len(), 80, "each once");
}

#[tokio::test(start_paused = true)]
async fn a_drain_invites_back_and_waits_for_no_history() {
    let history = Written::new(&(1..=500).collect::<Vec<_>>());
    let session = start(&history, Some("1-0")).await;
    session.told(3).await;
    history.block();
    session.outbox.cut(&session.metrics);
    session.outbox.restored();
    while history.under_way.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let close = Close::with_code(CloseCode::Restart, ErrorCode::ServiceUnavailable, "Server is draining");
    session.outbox.close(close.inviting(Duration::from_millis(1_234), ReconnectReason::Drain));
    session.client.has_closed().await;
    assert_eq!(history.under_way.load(Ordering::Relaxed), 0, "its place is given back at once");
    let told = session.told(2).await;
    let end = &told[told.len() - 2..];
    assert_eq!(end, [r#"{"type":"reconnect","after_ms":1234,"reason":"drain"}"#, "1012"]);
    session.client.sends(Incoming::Close);
    assert_eq!(session.task.await.expect("ends").with, ClosedWith::Code(CloseCode::Restart));
}

#[tokio::test(start_paused = true)]
async fn a_drain_writes_what_was_read_and_reads_no_further() {
    let history = Written::new(&(1..=500).collect::<Vec<_>>());
    let config = SessionConfig { batch_max_messages: 2, ..SessionConfig::default() };
    let read = page_limit(&config);
    let session = start_with(&history, Some("1-0"), config).await;
    let close = Close::with_code(CloseCode::Restart, ErrorCode::ServiceUnavailable, "Server is draining");
    session.outbox.close(close);
    session.client.has_closed().await;
    let told = session.told(1).await;
    // The first entry that was read is the one that the client has.
    let expected: Vec<String> = (2..=read).map(|n| n.to_string()).chain(["1012".to_owned()]).collect();
    assert_eq!(told[1..], expected);
}

#[tokio::test(start_paused = true)]
async fn frames_of_the_client_are_answered() {
    let session = start(&Written::new(&[1]), None).await;
    session.says(r#"{"type":"ping","data":{"n" :1}}"#);
    assert_eq!(session.told(2).await[1], r#"{"type":"pong","data":{"n" :1}}"#);
    session.says("hello");
    assert_eq!(session.told(3).await[2], "error INVALID_REQUEST");
    session.says(r#"{"type":"subscribe"}"#);
    session.says(r#"{"type":"auth","token":"junk"}"#);
    assert_eq!(session.told(4).await[3], "error AUTHENTICATION_ERROR");
    assert!(!session.task.is_finished(), "the connection stays");
    session.says(r#"{"type":"auth","token":"stranger x"}"#);
    assert_eq!(session.told(5).await[4], "1008");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_moves_the_end_either_way() {
    let renew = async |seconds: u64| {
        let session = start(&Written::new(&[1]), None).await;
        let opened = Instant::now();
        session.says(&format!(r#"{{"type":"auth","token":"until {seconds}"}}"#));
        let answering = tokio::spawn({
            let client = session.client.clone();
            async move {
                let mut seen = 0;
                loop {
                    seen = client.has_received(seen + 1).await.len();
                    client.sends(Incoming::Pong);
                }
            }
        });
        let ended = session.task.await.expect("ends");
        answering.abort();
        assert_eq!(ended.close.map(|close| close.message), Some("Token has expired".into()));
        opened.elapsed().as_secs()
    };
    assert!((7_200..7_220).contains(&renew(7_200).await), "later than the first token's end");
    assert!((100..120).contains(&renew(100).await), "sooner");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_takes_long_to_look_at_holds_nothing_up_and_gives_way_to_a_fresher_one() {
    let session = start(&Written::new(&[1]), None).await;
    let auth = |token: &str| session.says(&format!(r#"{{"type":"auth","token":"{token}"}}"#));
    let opened = Instant::now();
    auth("after 5");
    session.says(r#"{"type":"ping","data":1}"#);
    assert_eq!(session.told(2).await[1], r#"{"type":"pong","data":1}"#);
    assert!(opened.elapsed() < Duration::from_secs(5), "answered while the token is looked at");
    assert_eq!(session.told(3).await[2], "error AUTHENTICATION_ERROR");
    assert!(opened.elapsed() >= Duration::from_secs(5));

    // The first would end the connection in 6 s, and is not what counts.
    auth("after 5 until 1");
    auth("until 30");
    let ended = session.task.await.expect("ends");
    assert_eq!(ended.close.map(|close| close.message), Some("Token has expired".into()));
    // The peer does not answer the close, and is waited for.
    assert!((35..=40).contains(&opened.elapsed().as_secs()), "{:?}", opened.elapsed());
}
