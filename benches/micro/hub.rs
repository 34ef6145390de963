//! Finding a user's connections and giving them a message.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use divan::{Bencher, black_box};
use websocket_service::hub::{Hub, Registration};
use websocket_service::metrics::Metrics;
use websocket_service::protocol::{Envelope, UserId};

use crate::support::{CALLS, UNBOUNDED, USUAL, envelope, register, user};

/// As many as a pod has by default, so that look-ups miss the cache as they do there.
const USERS: usize = 10_000;

/// Calls of a sample where threads are to meet: milliseconds, so that both are at it for nearly all of the time, although one
/// is always woken a little later.
const TOGETHER: u32 = 20_000;
const SAMPLES: u32 = 20;

/// Messages that each user has when a benchmark begins. Nobody takes them, and a queue that has grown for the 65th has room for
/// 63 more, which is beyond the 40 that a benchmark delivers: what is timed is no allocation.
const BEFORE: usize = 65;

/// A pod's users, each with one connection.
struct Crowd {
    hub: Arc<Hub>,
    users: Vec<UserId>,
    metrics: Metrics,
    _connected: Vec<Registration>,
}

impl Crowd {
    fn gather() -> Self {
        let hub = Hub::new();
        let users: Vec<UserId> = (0..USERS).map(user).collect();
        let connected = users.iter().map(|user| register(&hub, user)).collect();
        let crowd = Self { hub, users, metrics: Metrics::new(), _connected: connected };
        let message = envelope(USUAL);
        for user in &crowd.users {
            for _ in 0..BEFORE {
                crowd.deliver(user.as_str(), &message);
            }
        }
        crowd
    }

    fn deliver(&self, user: &str, envelope: &Arc<Envelope>) -> usize {
        self.hub.deliver(black_box(user), envelope, &UNBOUNDED, &self.metrics)
    }
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Each thread has a message of its own, as the service's workers have, and begins far from where the others do.
    static MESSAGE: Arc<Envelope> = envelope(USUAL);
    static TURN: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) * USERS / 3);
}

/// The hub's part of a delivery, to users in turn. With two threads: what they cost each other when they meet only by
/// chance. Twice the time of one thread would be a lock that all share.
#[divan::bench(threads = [1, 2], sample_count = SAMPLES, sample_size = TOGETHER)]
fn to_different_users(bencher: Bencher<'_, '_>) {
    let crowd = Crowd::gather();
    bencher.bench(|| {
        let turn = TURN.replace(TURN.get() + 1);
        MESSAGE.with(|message| crowd.deliver(crowd.users[turn % USERS].as_str(), message))
    });
}

/// All messages are one user's. With two threads: the worst that contention can be.
#[divan::bench(threads = [1, 2], sample_count = SAMPLES, sample_size = TOGETHER)]
fn to_the_same_user(bencher: Bencher<'_, '_>) {
    let crowd = Crowd::gather();
    bencher.bench(|| MESSAGE.with(|message| crowd.deliver("user-0", message)));
}

/// Fan-out: one message to a thousand connections of one user.
#[divan::bench(sample_size = 10)]
fn to_1000_connections(bencher: Bencher<'_, '_>) {
    let (hub, metrics, message) = (Hub::new(), Metrics::new(), envelope(USUAL));
    let one = user(0);
    let _connected: Vec<Registration> = (0..1000).map(|_| register(&hub, &one)).collect();
    bencher.bench(|| hub.deliver(black_box("user-0"), &message, &UNBOUNDED, &metrics));
}

/// The look-up alone: the user has just left.
#[divan::bench(sample_size = CALLS)]
fn to_nobody(bencher: Bencher<'_, '_>) {
    let (crowd, message) = (Crowd::gather(), envelope(USUAL));
    bencher.bench(|| crowd.deliver("nobody", &message));
}

/// The hub's part of a connection: its coming and its leaving.
#[divan::bench(threads = [1, 2], sample_count = SAMPLES, sample_size = TOGETHER)]
fn register_and_leave(bencher: Bencher<'_, '_>) {
    let crowd = Crowd::gather();
    bencher.bench(|| {
        let turn = TURN.replace(TURN.get() + 1);
        drop(register(&crowd.hub, &crowd.users[turn % USERS]));
    });
}
