//! Proof of delivery: the pod publishes to itself, and gives up a link on which that does not come back.
//!
//! A PING proves that the server answers, not that it sends what is published: a subscription that a proxy or a failover
//! lost looks healthy for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ::redis::cmd;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::commands::Commands;
use super::lines::Line;
use super::scripts::Stored;
use super::slots::NodeId;
use super::table::{Known, Table};
use super::tuning::Tuning;
use super::users::Users;
use crate::backplane::{BackplaneError, Canary, Observer, Status, Subscription};
use crate::protocol::UserId;
use crate::told::Told;

/// Names that are tried for one that a server serves. One that has a thousandth of the slots is found all but surely.
const NAMES_TRIED: usize = 10_000;

/// Periods for which a pod's word on whether it hears counts.
const WORD_COUNTS: u32 = 3;

/// The canary of this pod at one server: a user nobody is, so that it takes the way of every message.
#[derive(Debug)]
pub(super) struct Cage {
    /// One that the server serves; another where that has changed.
    user: ArcSwap<UserId>,
    /// The number of the newest canary that came back, and when.
    back: watch::Sender<(u64, Instant)>,
    last_back: Mutex<Option<Instant>>,
    /// Messages of any kind that the link has brought.
    arrivals: AtomicU64,
    condemned: Notify,
    deaf_alone: AtomicBool,
}

impl Default for Cage {
    fn default() -> Self {
        Self {
            user: ArcSwap::from_pointee(nobody()),
            back: watch::Sender::new((0, Instant::now())),
            last_back: Mutex::default(),
            arrivals: AtomicU64::new(0),
            condemned: Notify::new(),
            deaf_alone: AtomicBool::new(false),
        }
    }
}

impl Cage {
    /// Takes note of a message for a user; true when it is the canary, which is for nobody else.
    pub(super) fn hears(&self, user: &str, payload: &[u8]) -> bool {
        // Only one task writes: no need to add in one step.
        self.arrivals.store(self.arrivals.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if user != self.user.load().as_str() {
            return false;
        }
        if let Some(number) = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok()) {
            let now = Instant::now();
            *self.last_back.lock() = Some(now);
            self.back.send_replace((number, now));
        }
        true
    }

    /// How long ago it last came back.
    pub(super) fn age(&self) -> Option<Duration> {
        self.last_back.lock().map(|at| at.elapsed())
    }

    /// Whether this pod does not hear, and at least as many others do.
    pub(super) fn deaf_alone(&self) -> bool {
        self.deaf_alone.load(Ordering::Relaxed)
    }

    /// Resolves when the link that there is now is to be given up.
    pub(super) async fn condemned(&self) {
        self.condemned.notified().await;
    }
}

fn nobody() -> UserId {
    let name = format!("websocket-service:canary:{}", uuid::Uuid::from_u128(rand::random()));
    UserId::new(&name).expect("a short name")
}

/// Sends the canary, for as long as the server is one.
pub(super) struct Keeper {
    pub(super) node: NodeId,
    /// Tells the server from others, over all pods; empty where there is one.
    pub(super) place: String,
    pub(super) cage: Arc<Cage>,
    pub(super) table: Arc<Table>,
    pub(super) users: Arc<Users>,
    pub(super) line: Arc<Line>,
    pub(super) commands: Arc<Commands>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) tuning: Tuning,
    /// Says it to the fleet.
    pub(super) word: Arc<Stored>,
}

/// What a canary proved.
enum Proof {
    Back(Duration),
    /// Redis took it, and it did not come; by the link of this number, where there was one.
    Lost(Option<u64>),
    /// Redis did not take it, or may not: it says nothing of the way back.
    None(Option<BackplaneError>),
}

/// Says to the fleet whether a pod hears.
pub(super) fn word() -> Stored {
    Stored::new(include_str!("canary.lua").to_owned())
}

impl Keeper {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // An outage has lines of its own; this is about rights that are missing.
        let (mut refused, mut unsaid) = (Told::working(), Told::working());
        let sending = async {
            let _ = self.status.wait_for(|status| *status == Status::Up).await;
            self.rest().await;
            let mut interest = self.settle().await;
            for number in 1.. {
                if !self.users.is_of(self.node, self.cage.user.load().as_str()) {
                    drop(interest);
                    interest = self.settle().await;
                }
                let proof = self.send(number).await;
                let (outcome, hears) = match &proof {
                    Proof::Back(took) => (Canary::Back(*took), Some(true)),
                    Proof::Lost(_) => (Canary::Lost, Some(false)),
                    Proof::None(_) => (Canary::Unknown, None),
                };
                self.observer.canary(outcome);
                let lost = match proof {
                    Proof::Lost(link) => Some(link),
                    Proof::None(Some(BackplaneError::Refused(words))) if refused.is_new(Err(&words)) => {
                        tracing::warn!(words, "no proof of delivery: the server refuses the pod's canary");
                        None
                    }
                    Proof::Back(_) | Proof::None(_) => None,
                };
                self.judge(hears, &mut unsaid).await;
                match lost {
                    Some(link) => self.remake(link).await,
                    None => self.rest().await,
                }
            }
        };
        stop.run_until_cancelled(sending).await;
    }

    /// Takes a name that the server serves. In a cluster of a hundred masters it takes some hundred tries.
    async fn settle(&self) -> Subscription {
        let mut names = std::iter::repeat_with(nobody).take(NAMES_TRIED);
        let own = names.find(|user| self.users.is_of(self.node, user.as_str()));
        let user = own.unwrap_or_else(nobody);
        self.cage.user.store(Arc::new(user.clone()));
        let interest = self.users.want(user.clone());
        // Refused or not, it is known then.
        let _ = timeout(self.tuning.canary_every, self.users.joined(&user)).await;
        interest
    }

    async fn send(&self, number: u64) -> Proof {
        let user = self.cage.user.load_full();
        let link = match self.table.known(&user) {
            Known::Joined(link) => Some(link),
            Known::Pending => None,
            Known::Refused => {
                let words = "no permission for the canary's channel".to_owned();
                return Proof::None(Some(BackplaneError::Refused(words)));
            }
        };
        let (sent, arrived) = (Instant::now(), self.cage.arrivals.load(Ordering::Relaxed));
        if let Err(error) = self.publish(number).await {
            return Proof::None(Some(error));
        }
        let mut back = self.cage.back.subscribe();
        let mut comes = async |bound| {
            let came = timeout(bound, back.wait_for(|(newest, _)| *newest >= number)).await;
            came.ok().and_then(Result::ok).map(|newest| newest.1)
        };
        let mut came = comes(self.tuning.canary_answer).await;
        // A link that is busy delivering is late, not deaf: giving it up would lose what it still carries.
        if came.is_none() && self.cage.arrivals.load(Ordering::Relaxed) > arrived {
            came = comes(self.tuning.canary_patience).await;
        }
        match came {
            Some(at) => Proof::Back(at.duration_since(sent)),
            None => Proof::Lost(link),
        }
    }

    async fn publish(&self, number: u64) -> Result<(), BackplaneError> {
        let deadline = Instant::now() + self.tuning.publish;
        let mut publish = cmd("PUBLISH");
        publish.arg(self.commands.channel(&self.cage.user.load())).arg(number);
        let call = |mut connection| async move { publish.exec_async(&mut connection).await };
        self.line.ask(deadline, call).await
    }

    /// Says to the fleet whether this pod hears, and finds out whether it alone does not.
    async fn judge(&self, hears: Option<bool>, unsaid: &mut Told) {
        let alone = match hears {
            None => false,
            Some(hears) => match self.say(hears).await {
                Ok((hearing, deaf)) => !hears && is_alone(hearing, deaf),
                Err(error) => {
                    if unsaid.is_new(Err(&error)) {
                        tracing::warn!(%error, "cannot compare with other pods whether messages arrive");
                    }
                    false
                }
            },
        };
        if self.cage.deaf_alone.swap(alone, Ordering::Relaxed) != alone {
            if alone {
                tracing::warn!("unready: other pods hear Redis and this one does not");
            } else {
                tracing::info!("this pod does not stand alone with deafness any more");
            }
        }
    }

    /// How many pods hear, and how many do not.
    async fn say(&self, hears: bool) -> Result<(u64, u64), BackplaneError> {
        let deadline = Instant::now() + self.tuning.publish;
        let counts = (self.tuning.canary_every * WORD_COUNTS).as_millis().to_string();
        // By the prefix: fleets with channels of their own are not to be compared, and who may use a user's keys may use these.
        let of_set = |set: &str| self.commands.of_fleet("canary", &[set, &self.place].concat());
        let ((slot, hearing), (_, deaf)) = (of_set("hearing"), of_set("deaf"));
        let (pod, keys) = (self.cage.user.load_full(), [&hearing, &deaf]);
        let call = |connection| {
            self.word.run(connection, |call| {
                call.arg(2).arg(&keys).arg(pod.as_str()).arg(u8::from(hears)).arg(&counts);
            })
        };
        self.commands.lines.ask(slot, deadline, call).await
    }

    /// Gives up the link that lost a canary, and waits for the next one.
    async fn remake(&mut self, link: Option<u64>) {
        let deadline = Instant::now() + self.tuning.canary_every;
        if link.is_some() && self.table.link() == link {
            self.cage.condemned.notify_waiters();
            let _ = timeout_at(deadline, self.status.wait_for(|status| *status != Status::Up)).await;
        }
        let _ = timeout_at(deadline, self.status.wait_for(|status| *status == Status::Up)).await;
    }

    /// Until the next one. Pods that started together do not stay together.
    async fn rest(&self) {
        sleep(self.tuning.canary_every.mul_f64(rand::random_range(0.9..=1.0))).await;
    }
}

/// Whether a deaf pod should send its clients' next connections elsewhere: only while at least as many pods hear as do
/// not, so that a fault that all share takes no more than half of the fleet out, and for no longer than their last words
/// count.
fn is_alone(hearing: u64, deaf: u64) -> bool {
    hearing >= deaf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_is_deaf_together_stays_ready() {
        assert!(is_alone(1, 1) && is_alone(9, 1) && is_alone(2, 2));
        assert!(!is_alone(0, 1) && !is_alone(0, 9) && !is_alone(1, 2));
    }

    #[test]
    fn a_canary_is_for_nobody_else() {
        let cage = Cage::default();
        assert_eq!((cage.hears("ann", b"1"), cage.age()), (false, None));
        let name = cage.user.load().as_str().to_owned();
        assert!(cage.hears(&name, b"nonsense") && cage.age().is_none());
        assert!(cage.hears(&name, b"7") && cage.age().is_some());
        assert_eq!(cage.back.borrow().0, 7);
    }
}
