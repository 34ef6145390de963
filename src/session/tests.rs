//! The loop on a scripted connection, with paused time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::scripted::Outgoing;
use super::scripted::{Session, connection};
use super::transport::{Incoming, TransportError};
use super::{CLOSE_WAIT, Ended, Machine, Outbox, Push, Surroundings, run};
use crate::config::{OutboxConfig, OverflowPolicy, SessionConfig};
use crate::metrics::{ClosedWith, FailedMessage, Metrics};
use crate::protocol::{Close, CloseCode, CorrelationId, Envelope, ErrorCode};

fn start(config: SessionConfig) -> Session {
    Session::start(Outbox::default(), None, config, Arc::default())
}

impl Session {
    fn publish(&self, text: &str) -> Push {
        let envelope = Envelope::new(text.to_owned(), usize::MAX).expect("text");
        self.offer(&envelope)
    }

    async fn ends(self) -> Ended {
        self.task.await.expect("the session does not panic")
    }
}

fn text(text: &str) -> Outgoing {
    Outgoing::Text(text.to_owned().into())
}

fn closes_with(frame: Option<&Outgoing>) -> Option<u16> {
    match frame {
        Some(Outgoing::Close(code, _)) => Some(*code),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn messages_arrive_in_order_and_are_counted() {
    let session = start(SessionConfig::default());
    for n in 0..10 {
        assert_eq!(session.publish(&n.to_string()), Push::Queued);
    }
    let received = session.client.has_received(10).await;
    assert_eq!(received, (0..10).map(|n| text(&n.to_string())).collect::<Vec<_>>());
    assert_eq!(session.client.flushes(), 1, "what waits together is flushed together");
    assert_eq!(session.metrics.messages_sent.get(), 10);
    assert_eq!(session.metrics.outbox_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_holds_at_most_a_batch() {
    let session = start(SessionConfig { batch_max_messages: 4, ..SessionConfig::default() });
    for n in 0..10 {
        session.publish(&n.to_string());
    }
    session.client.has_received(10).await;
    assert_eq!(session.client.flushes(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_batch_lingers_only_as_long_as_configured() {
    let linger = Duration::from_millis(50);
    let session =
        start(SessionConfig { batch_linger: linger, batch_max_messages: 3, ..SessionConfig::default() });
    let published = Instant::now();
    session.publish("a");
    session.publish("b");
    session.client.has_received(2).await;
    // tokio's timer fires at whole milliseconds.
    assert!(published.elapsed() >= linger && published.elapsed() <= linger + Duration::from_millis(2));
    let full = Instant::now();
    for n in 0..3 {
        session.publish(&n.to_string());
    }
    session.client.has_received(5).await;
    assert_eq!(full.elapsed(), Duration::ZERO, "a full batch does not wait");
    assert_eq!(session.client.flushes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_gets_its_answer_and_counts_as_1000() {
    let session = start(SessionConfig::default());
    let client = session.client.clone();
    client.sends(Incoming::Close);
    let ended = session.ends().await;
    assert_eq!(ended, Ended { with: ClosedWith::Code(CloseCode::Normal), close: None });
    assert_eq!(client.received(), [Outgoing::Close(1000, String::new())]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_counts_what_it_did_not_get() {
    let session = start(SessionConfig::default());
    session.client.reads(false);
    session.publish("first");
    tokio::task::yield_now().await;
    session.publish("second");
    session.client.fails(TransportError::Lost);
    let metrics = Arc::clone(&session.metrics);
    assert_eq!(session.ends().await.with, ClosedWith::Lost);
    assert_eq!(metrics.messages_failed.of(FailedMessage::ConnectionLost).get(), 2);
    assert_eq!(metrics.outbox_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_is_closed_with_4002_although_its_socket_is_full() {
    let outbox = OutboxConfig { bytes: 100, messages: 3, policy: OverflowPolicy::Close };
    let session = start(SessionConfig { outbox, batch_max_messages: 1, ..SessionConfig::default() });
    session.publish("0");
    session.client.has_received(1).await;
    session.client.reads(false);
    while session.publish("more") == Push::Queued {
        tokio::task::yield_now().await;
    }
    session.client.reads(true);
    let client = session.client.clone();
    let metrics = Arc::clone(&session.metrics);
    let received = client.has_received(2).await;
    assert_eq!(closes_with(received.last()), Some(4002));
    client.sends(Incoming::Close);
    assert_eq!(session.ends().await.with, ClosedWith::Code(CloseCode::SlowConsumer));
    assert!(metrics.messages_failed.of(FailedMessage::OutboxFull).get() >= 4);
    assert_eq!(metrics.outbox_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_flushes_the_queue_before_the_close_frame() {
    let session = start(SessionConfig { batch_max_messages: 2, ..SessionConfig::default() });
    for n in 0..5 {
        session.publish(&n.to_string());
    }
    session.outbox.close(Close::of(ErrorCode::ServiceUnavailable, "Server is draining"));
    let received = session.client.has_received(6).await;
    assert_eq!(received[4], text("4"));
    assert_eq!(closes_with(received.last()), Some(1013));
    session.client.sends(Incoming::Close);
    assert_eq!(session.ends().await.with, ClosedWith::Code(CloseCode::TryAgainLater));
}

#[tokio::test(start_paused = true)]
async fn a_close_gives_up_on_a_client_that_neither_reads_nor_answers() {
    let session = start(SessionConfig { batch_max_messages: 1, ..SessionConfig::default() });
    session.client.reads(false);
    for n in 0..5 {
        session.publish(&n.to_string());
    }
    let asked = Instant::now();
    session.outbox.close(Close::of(ErrorCode::ServiceUnavailable, "Server is draining"));
    let ended = session.ends().await;
    assert_eq!(ended.with, ClosedWith::Code(CloseCode::TryAgainLater));
    assert!(asked.elapsed() <= 2 * CLOSE_WAIT + Duration::from_millis(5), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_its_answer_and_no_longer_than_five_seconds() {
    for (answers, waited) in [(true, Duration::ZERO), (false, CLOSE_WAIT)] {
        let session = start(SessionConfig::default());
        let asked = Instant::now();
        session.outbox.close(Close::of(ErrorCode::ServiceUnavailable, "Server is draining"));
        session.client.has_closed().await;
        tokio::task::yield_now().await;
        assert!(!session.task.is_finished());
        if answers {
            // What a client had sent before it saw the close frame.
            session.client.sends(Incoming::Text("late".to_owned().into()));
            session.client.sends(Incoming::Close);
        }
        session.ends().await;
        // tokio's timer fires at whole milliseconds.
        assert!(asked.elapsed() >= waited && asked.elapsed() <= waited + Duration::from_millis(2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_waits_for_nobody() {
    let session = start(SessionConfig::default());
    session.client.reads(false);
    session.publish("stuck");
    tokio::task::yield_now().await;
    let asked = Instant::now();
    session.outbox.abort(Close::of(ErrorCode::ServiceUnavailable, "Server stops"));
    session.ends().await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn silence_is_pinged_then_closed_with_4001() {
    let session = start(SessionConfig::default());
    let opened = Instant::now();
    let client = session.client.clone();
    let ended = session.ends().await;
    assert_eq!(ended.with, ClosedWith::Code(CloseCode::HeartbeatTimeout));
    let waited = opened.elapsed();
    assert!(
        waited >= Duration::from_secs(60) && waited <= Duration::from_secs(60) + 2 * CLOSE_WAIT,
        "{waited:?}"
    );
    let pings = client.received().iter().filter(|frame| **frame == Outgoing::Ping).count();
    assert!((2..=4).contains(&pings), "{pings} pings");
}

#[tokio::test(start_paused = true)]
async fn pongs_keep_a_connection_until_its_token_ends() {
    let session = start(SessionConfig::default());
    let opened = Instant::now();
    let client = session.client.clone();
    let answering = tokio::spawn(async move {
        let mut seen = 0;
        loop {
            seen = client.has_received(seen + 1).await.len();
            client.sends(Incoming::Pong);
        }
    });
    let ended = session.ends().await;
    answering.abort();
    assert_eq!(ended.close.map(|close| close.message), Some("Token has expired".into()));
    assert!(opened.elapsed() >= Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn an_echo_is_no_message() {
    let session = start(SessionConfig::default());
    session.client.sends(Incoming::Text("hello".to_owned().into()));
    assert_eq!(session.client.has_received(1).await, [text("Echo: hello")]);
    assert_eq!(session.metrics.messages_sent.get(), 0);
    assert_eq!(session.metrics.flush_messages.get_sample_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn frames_and_messages_take_turns() {
    let config = SessionConfig { batch_max_messages: 1, ..SessionConfig::default() };
    let session = start(config);
    let client = session.client.clone();
    for n in 0..5 {
        session.publish(&n.to_string());
    }
    for frame in [Incoming::Pong, Incoming::Pong, Incoming::Close] {
        client.sends(frame);
    }
    session.ends().await;
    // A message before each frame: what is read is looked at although more waits to be written, and the other way round.
    let close = Outgoing::Close(1000, String::new());
    assert_eq!(client.received(), [text("0"), text("1"), text("2"), close]);
}

#[tokio::test(start_paused = true)]
async fn a_chatty_client_does_not_starve_its_own_messages() {
    let session =
        start(SessionConfig { client_messages_per_second: 0, echo: false, ..SessionConfig::default() });
    for _ in 0..10_000 {
        session.client.sends(Incoming::Pong);
    }
    session.publish("news");
    let received = session.client.has_received(1).await;
    assert_eq!(received, [text("news")]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_small() {
    let (mut transport, _client) = connection();
    let (outbox, metrics, config) = (Outbox::default(), Metrics::new(), SessionConfig::default());
    let now = Instant::now();
    let around = Surroundings {
        outbox: &outbox,
        config: &config,
        metrics: &metrics,
        correlation_id: CorrelationId::random(),
        route: None,
    };
    let future = run(&mut transport, Machine::new(&config, now, now), None, around);
    let size = size_of_val(&future);
    assert!(size <= 1024, "every connection holds this future: {size} bytes");
}
