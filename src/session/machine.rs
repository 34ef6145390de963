use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::closing::CLOSE_WAIT;
use super::transport::{Incoming, TransportError};
use crate::config::SessionConfig;
use crate::protocol::{Close, CloseCode, ErrorCode, Payload};
use crate::rate_limit::TokenBucket;

/// Part of the heartbeat interval by which each ping is early, at random, so that connections that came together do
/// not ping together for ever.
const HEARTBEAT_JITTER: f64 = 0.2;

/// Parts of the heartbeat interval at whose ends pings are sent: 100 ms for 30 s. Connections share these moments, so that
/// a pod wakes ten times a second for its pings and as often for the pongs, and not hundreds of times: a wake-up costs
/// more than a ping.
const HEARTBEAT_TICKS: u32 = 300;

/// What one connection does, decided without I/O: frames and moments go in, actions come out.
///
/// All of its times are one deadline, so that a connection needs one timer. A sign of life only moves a mark; the
/// timer finds out when it fires.
#[derive(Debug)]
pub struct Machine {
    last_seen: Instant,
    next_ping: Instant,
    expires_at: Instant,
    /// When the batch that gathers now is written, if the settings let it wait.
    linger_until: Option<Instant>,
    /// Until when what is queued may still be written, once the connection is to close.
    close_by: Option<Instant>,
    bucket: TokenBucket,
    /// Texts are frames of v1 mode.
    v1: bool,
}

/// What the session is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Go on waiting.
    Nothing,
    /// Queue this text of the service's own.
    Reply(String),
    /// Do what this frame of v1 mode says.
    Read(Payload),
    /// Send a ping.
    Ping,
    /// Write what is queued.
    Write,
    /// Close for the outbox's reason, although messages still wait.
    GiveUp,
    /// Close, with this code and reason.
    Close(Close),
    /// The client closed: flush the answer and leave.
    Leave,
    /// The client is gone.
    Lost,
}

impl Machine {
    /// A connection that opened now and whose token ends at `expires_at`.
    #[must_use]
    pub fn new(config: &SessionConfig, expires_at: Instant, now: Instant) -> Self {
        // The first ping comes anywhere in the interval: a reconnect storm is spread at once.
        let first = config.heartbeat.mul_f64(rand::random_range(0.1..1.0));
        Self {
            last_seen: now,
            next_ping: on_tick(config.heartbeat, now, first),
            expires_at,
            linger_until: None,
            close_by: None,
            bucket: TokenBucket::full(burst(config), now),
            v1: false,
        }
    }

    /// The same in v1 mode.
    #[must_use]
    pub fn v1(self) -> Self {
        Self { v1: true, ..self }
    }

    /// A fresh token was shown: the connection ends with it, sooner or later than before.
    pub fn renewed(&mut self, expires_at: Instant) {
        self.expires_at = expires_at;
    }

    /// When [`Machine::on_deadline`] wants to be called.
    #[must_use]
    pub fn deadline(&self, config: &SessionConfig) -> Instant {
        let due = self.next_ping.min(self.last_seen + config.timeout).min(self.expires_at);
        [self.linger_until, self.close_by].into_iter().flatten().fold(due, Instant::min)
    }

    /// How many messages must wait before [`Machine::on_queued`] wants to be called.
    #[must_use]
    pub fn threshold(&self, config: &SessionConfig) -> usize {
        if self.linger_until.is_some() { config.batch_max_messages } else { 1 }
    }

    /// A frame came from the client.
    pub fn on_frame(&mut self, config: &SessionConfig, frame: Incoming, now: Instant) -> Action {
        self.last_seen = now;
        if frame == Incoming::Close {
            return Action::Leave;
        }
        let rate = config.client_messages_per_second;
        if rate > 0 && !self.bucket.take(rate, burst(config), now) {
            return Action::Close(Close::of(ErrorCode::RateLimit, "Sends too many messages"));
        }
        match frame {
            Incoming::Text(text) if self.v1 => Action::Read(text),
            Incoming::Text(text) if config.echo => Action::Reply(echo(&text)),
            Incoming::Binary => Action::Close(Close::of(ErrorCode::Validation, "Binary is not supported")),
            Incoming::Text(_) | Incoming::Ping | Incoming::Pong | Incoming::Close => Action::Nothing,
        }
    }

    /// The client can no longer be understood, or is gone; `None` when there is nobody to tell.
    #[must_use]
    pub fn on_error(error: TransportError) -> Option<Close> {
        match error {
            TransportError::Lost => None,
            TransportError::TooLarge => {
                Some(Close::with_code(CloseCode::TooLarge, ErrorCode::Validation, "Message too large"))
            }
            TransportError::InvalidUtf8 => {
                Some(Close::with_code(CloseCode::InvalidUtf8, ErrorCode::Validation, "Text is not UTF-8"))
            }
            TransportError::Protocol => Some(Close::of(ErrorCode::InvalidRequest, "Protocol error")),
        }
    }

    /// Messages wait, or the connection is to close. A full batch never waits, nor does one before a close.
    pub fn on_queued(
        &mut self,
        config: &SessionConfig,
        waiting: usize,
        closing: bool,
        now: Instant,
    ) -> Action {
        if waiting == 0 && !closing {
            return Action::Nothing;
        }
        if closing {
            self.close_by.get_or_insert(now + CLOSE_WAIT);
            return Action::Write;
        }
        if config.batch_linger.is_zero() || waiting >= config.batch_max_messages {
            return Action::Write;
        }
        self.linger_until.get_or_insert(now + config.batch_linger);
        Action::Nothing
    }

    /// A batch was written.
    pub fn on_written(&mut self) {
        self.linger_until = None;
    }

    /// The deadline passed.
    pub fn on_deadline(&mut self, config: &SessionConfig, now: Instant) -> Action {
        if now >= self.expires_at {
            return Action::Close(Close::of(ErrorCode::Authentication, "Token has expired"));
        }
        if now >= self.last_seen + config.timeout {
            return Action::Close(Close::of(ErrorCode::Timeout, "No sign of life"));
        }
        if self.close_by.is_some_and(|by| now >= by) {
            return Action::GiveUp;
        }
        if self.linger_until.is_some_and(|until| now >= until) {
            return Action::Write;
        }
        if now >= self.next_ping {
            let early = rand::random_range(0.0..HEARTBEAT_JITTER);
            self.next_ping = on_tick(config.heartbeat, now, config.heartbeat.mul_f64(1.0 - early));
            return Action::Ping;
        }
        Action::Nothing
    }
}

/// The last shared moment before `wait` is over. The wall clock is what all connections have in common; when it jumps, so
/// do the moments, and nothing else.
fn on_tick(heartbeat: Duration, now: Instant, wait: Duration) -> Instant {
    let tick = (heartbeat / HEARTBEAT_TICKS).as_micros().max(1);
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + wait;
    let past = u64::try_from(wall.as_micros() % tick).unwrap_or_default();
    now + wait.saturating_sub(Duration::from_micros(past))
}

/// The token bucket's size: what a client may send at once after a pause.
fn burst(config: &SessionConfig) -> u32 {
    config.client_messages_per_second.saturating_mul(2)
}

fn echo(text: &Payload) -> String {
    let mut reply = String::with_capacity("Echo: ".len() + text.len());
    reply.push_str("Echo: ");
    reply.push_str(text);
    reply
}

/// The moment on tokio's clock that lies `remaining` ahead; far enough for any token, short enough never to overflow.
#[must_use]
pub fn expiry(remaining: Duration, now: Instant) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now + remaining.min(YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SessionConfig {
        SessionConfig { client_messages_per_second: 10, ..SessionConfig::default() }
    }

    fn text(text: &str) -> Incoming {
        Incoming::Text(Payload::from(text.to_owned()))
    }

    fn open(config: &SessionConfig) -> (Machine, Instant) {
        let now = Instant::now();
        (Machine::new(config, now + Duration::from_secs(3600), now), now)
    }

    fn closes_with(action: &Action) -> Option<u16> {
        match action {
            Action::Close(close) => Some(close.code.number()),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn echoes_text_unless_told_not_to() {
        let (mut machine, now) = open(&config());
        assert_eq!(machine.on_frame(&config(), text("größe"), now), Action::Reply("Echo: größe".into()));
        let silent = SessionConfig { echo: false, ..config() };
        assert_eq!(machine.on_frame(&silent, text("a"), now), Action::Nothing);
    }

    #[tokio::test(start_paused = true)]
    async fn every_error_of_a_client_has_its_code() {
        let (mut machine, now) = open(&config());
        assert_eq!(closes_with(&machine.on_frame(&config(), Incoming::Binary, now)), Some(1003));
        let code = |error| Machine::on_error(error).map(|close| close.code.number());
        assert_eq!(code(TransportError::TooLarge), Some(1009));
        assert_eq!(code(TransportError::InvalidUtf8), Some(1007));
        assert_eq!(code(TransportError::Protocol), Some(1002));
        assert_eq!(code(TransportError::Lost), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_any_frame_is_closed() {
        for frame in [text("x"), Incoming::Ping, Incoming::Pong] {
            let (mut machine, now) = open(&config());
            let codes: Vec<_> =
                (0..21).map(|_| closes_with(&machine.on_frame(&config(), frame.clone(), now))).collect();
            assert_eq!(codes.iter().position(Option::is_some), Some(20), "{frame:?}");
            assert_eq!(codes[20], Some(4003));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_close_whatever_it_sent_before() {
        let (mut machine, now) = open(&config());
        for _ in 0..20 {
            machine.on_frame(&config(), Incoming::Ping, now);
        }
        assert_eq!(machine.on_frame(&config(), Incoming::Close, now), Action::Leave);
    }

    #[tokio::test(start_paused = true)]
    async fn pings_within_each_interval_and_gives_up_on_silence() {
        let config = config();
        let (mut machine, start) = open(&config);
        let mut pings = 0;
        let end = loop {
            let now = machine.deadline(&config);
            match machine.on_deadline(&config, now) {
                Action::Ping => pings += 1,
                Action::Nothing => {}
                action => break (now, action),
            }
        };
        assert_eq!(end.0, start + config.timeout);
        assert_eq!(closes_with(&end.1), Some(4001));
        assert!((2..=4).contains(&pings), "{pings} pings in 60 s of silence");
    }

    #[tokio::test(start_paused = true)]
    async fn pings_follow_each_other_within_the_interval_and_not_much_sooner() {
        let config = SessionConfig { client_messages_per_second: 0, ..config() };
        let (mut machine, mut last) = open(&config);
        let mut gaps = Vec::new();
        while gaps.len() < 100 {
            let now = machine.deadline(&config);
            assert_eq!(machine.on_deadline(&config, now), Action::Ping);
            assert_eq!(machine.on_frame(&config, Incoming::Pong, now), Action::Nothing, "no limit");
            gaps.push(now - last);
            last = now;
        }
        let least = config.heartbeat.mul_f64(1.0 - HEARTBEAT_JITTER) - config.heartbeat / HEARTBEAT_TICKS;
        // The first comes anywhere in the interval.
        assert!(gaps[1..].iter().all(|gap| (least..=config.heartbeat).contains(gap)), "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_ping_at_shared_moments() {
        let config = config();
        let tick = config.heartbeat / HEARTBEAT_TICKS;
        let now = Instant::now();
        let moments: Vec<_> = (0..1_000).map(|_| open(&config).0.deadline(&config)).collect();
        let earliest = *moments.iter().min().expect("many");
        // The wall clock moves a little while they are made.
        let slack = Duration::from_millis(20);
        for moment in &moments {
            let off = (*moment - earliest).as_micros() % tick.as_micros();
            let off = off.min(tick.as_micros() - off);
            assert!(off <= slack.as_micros(), "{off} µs beside a shared moment");
            assert!(*moment > now && *moment <= now + config.heartbeat);
        }
        let spread: std::collections::HashSet<_> =
            moments.iter().map(|moment| (*moment - earliest).as_millis() / 100).collect();
        assert!(spread.len() > 100, "and are spread over the interval: {}", spread.len());
    }

    #[tokio::test(start_paused = true)]
    async fn any_frame_is_a_sign_of_life() {
        let config = config();
        let (mut machine, start) = open(&config);
        let later = start + Duration::from_secs(50);
        machine.on_frame(&config, Incoming::Pong, later);
        assert_eq!(machine.on_deadline(&config, start + config.timeout), Action::Ping);
        assert_eq!(closes_with(&machine.on_deadline(&config, later + config.timeout)), Some(4001));
    }

    #[tokio::test(start_paused = true)]
    async fn the_token_s_end_is_the_connection_s() {
        let config = config();
        let now = Instant::now();
        let mut machine = Machine::new(&config, now + Duration::from_secs(1), now);
        assert_eq!(machine.deadline(&config), now + Duration::from_secs(1));
        let action = machine.on_deadline(&config, now + Duration::from_secs(1));
        assert_eq!(action, Action::Close(Close::of(ErrorCode::Authentication, "Token has expired")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_the_linger_or_until_it_is_full() {
        let config =
            SessionConfig { batch_linger: Duration::from_millis(20), batch_max_messages: 3, ..config() };
        let (mut machine, now) = open(&config);
        assert_eq!(machine.on_queued(&config, 1, false, now), Action::Nothing);
        assert_eq!((machine.threshold(&config), machine.deadline(&config)), (3, now + config.batch_linger));
        assert_eq!(machine.on_queued(&config, 3, false, now), Action::Write);
        assert_eq!(machine.on_deadline(&config, now + config.batch_linger), Action::Write);
        machine.on_written();
        assert_eq!(machine.threshold(&config), 1);
        let direct = SessionConfig { batch_linger: Duration::ZERO, ..config };
        assert_eq!(machine.on_queued(&direct, 1, false, now), Action::Write);
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_does_not_wait_for_ever_for_a_peer_that_does_not_read() {
        // The first ping comes at random; here it is never the next deadline.
        let config = SessionConfig { heartbeat: Duration::from_secs(600), ..config() };
        let (mut machine, now) = open(&config);
        assert_eq!(machine.on_queued(&config, 5, true, now), Action::Write);
        assert_eq!(machine.on_queued(&config, 3, true, now + CLOSE_WAIT / 2), Action::Write);
        assert_eq!(machine.deadline(&config), now + CLOSE_WAIT);
        assert_eq!(machine.on_deadline(&config, now + CLOSE_WAIT), Action::GiveUp);
    }
    #[tokio::test(start_paused = true)]
    async fn a_token_for_ever_ends_after_a_year_and_does_not_overflow() {
        let (now, day) = (Instant::now(), Duration::from_secs(86_400));
        assert_eq!(expiry(day, now), now + day);
        assert_eq!(expiry(Duration::MAX, now), now + 365 * day);
    }
}
