//! The numbers of the link to Redis, each with its reason.

use std::time::Duration;

/// Before a server is asked again that said that a slot is not its own: about what its neighbours take to agree.
pub(super) const ELSEWHERE_PAUSE: Duration = Duration::from_millis(50);

/// Bounds and periods. The defaults are for production; tests shorten them. Not a user's settings.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Name lookup, TCP, TLS, login and naming of a connection, together. Milliseconds as a rule; seconds where the
    /// lookup is retried or the server is loaded.
    pub connect: Duration,
    /// From a SUBSCRIBE or UNSUBSCRIBE to its last confirmation. A chunk takes a healthy server about a millisecond;
    /// one that blocks longer than this in a script or a snapshot has lost its clients anyway.
    pub confirm: Duration,
    /// For a publication, the wait for a connection included. Back ends wait for the answer.
    pub publish: Duration,
    /// Between two PINGs. With `ping_answer` this is how long a link that is open and dead goes unnoticed: TCP alone
    /// takes minutes, and a pod that only listens would never find out.
    pub ping_every: Duration,
    /// For the answer to a PING, or any other sign of life.
    pub ping_answer: Duration,
    /// Bound of the first delay before connecting again.
    pub backoff_base: Duration,
    /// Bound of the delays in a long outage; about what users wait for messages after its end.
    pub backoff_cap: Duration,
    /// Names in one SUBSCRIBE. 500 names of the longest user id are 128 KiB: one command blocks the server for well
    /// under a millisecond, and 100,000 users need 200 of them, or 400 while each has a second channel for history.
    pub chunk: usize,
    /// Between two canaries. Three of them are how long a pod may be deaf before it has healed.
    pub canary_every: Duration,
    /// For a canary to come back on a link that brings nothing else. Redis has sent it before it answers the PUBLISH, so
    /// what is waited for is the network.
    pub canary_answer: Duration,
    /// For the same, beyond that, on a link that is busy.
    pub canary_patience: Duration,
    /// Between two questions to nodes of a cluster: how long a failover, or a slot that moved, goes unnoticed where no
    /// connection tells of it.
    pub topology_every: Duration,
    /// Between two words of a pod that it lives. After three that are missing, its connections do not count.
    pub roll_every: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            confirm: Duration::from_secs(10),
            publish: Duration::from_secs(2),
            ping_every: Duration::from_secs(5),
            ping_answer: Duration::from_secs(3),
            backoff_base: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(5),
            chunk: 500,
            canary_every: Duration::from_secs(5),
            canary_answer: Duration::from_secs(3),
            canary_patience: Duration::from_secs(10),
            topology_every: Duration::from_secs(1),
            roll_every: Duration::from_secs(5),
        }
    }
}
