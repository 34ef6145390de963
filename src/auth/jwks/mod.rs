//! Key sets that issuers publish under a URL.
//!
//! One task a set fetches it ([`keep`]): at start, ahead of its age, and when a token names a key that the set does not
//! have. It is the only one that does, so there is never more than one fetch of a set under way; whoever verifies reads
//! what is at hand without a lock, and waits only for a key that may be new.

mod download;
mod error;
mod keep;
mod read;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::config::{KeySetUrl, TokenAlgorithm};
use download::{Origin, Web};
pub use error::KeySetError;
pub use keep::{FetchObserver, Fetched, keep};
use read::MAX_KID_BYTES;
pub(super) use read::PublicKeys;

/// Least time from one fetch that tokens asked for to the next. What strangers can cause is six fetches a minute and
/// pod, whatever key ids they think of.
const HOLD_OFF: Duration = Duration::from_secs(10);

/// How long a `kid` that was not in a set just fetched is taken to be nobody's.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// Most such `kid`s; the one that was not seen for longest is forgotten.
const MAX_UNKNOWN: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Most tokens that wait for a fetch at once; others are refused at once.
const MAX_WAITING: usize = 256;

/// How long a token waits for a fetch: as long as one may take.
const WAIT: Duration = download::BOUND;

/// How long keys are used after the last fetch that worked. An issuer that is away must not end all sessions; one whose
/// answers somebody holds back must not keep a revoked key in force for ever.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// One issuer's key set, as last fetched.
pub struct KeySet {
    shown: String,
    algorithm: TokenAlgorithm,
    origin: Box<dyn Origin>,
    made: Instant,
    current: ArcSwapOption<Current>,
    /// The last fetch failed.
    failing: AtomicBool,
    asked: Mutex<Asked>,
    /// Wakes the task that fetches: a token asks for it.
    wanted: Notify,
    /// Told of each fetch that has ended.
    ended: watch::Sender<()>,
    waiting: Semaphore,
}

struct Current {
    keys: PublicKeys,
    at: Instant,
}

/// What tokens may ask for.
struct Asked {
    /// A fetch is under way.
    under_way: bool,
    /// A token asked for the next one.
    wanted: bool,
    /// Before then no token causes a fetch.
    not_before: Instant,
    /// When these may be asked for again.
    unknown: LruCache<String, Instant>,
}

/// What a token learns that names a key the set does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Newer {
    /// A fetch has ended meanwhile: look again.
    Fetched,
    /// There is no such key.
    No,
    /// That cannot be found out now.
    NotNow,
}

impl KeySet {
    pub(super) fn new(of: &KeySetUrl, algorithm: TokenAlgorithm) -> Arc<Self> {
        Self::from_origin(of.shown(), Box::new(Web(of.url.clone())), algorithm)
    }

    fn from_origin(shown: String, origin: Box<dyn Origin>, algorithm: TokenAlgorithm) -> Arc<Self> {
        let now = Instant::now();
        let asked =
            Asked { under_way: false, wanted: false, not_before: now, unknown: LruCache::new(MAX_UNKNOWN) };
        Arc::new(Self {
            shown,
            algorithm,
            origin,
            made: now,
            current: ArcSwapOption::empty(),
            failing: AtomicBool::new(false),
            asked: Mutex::new(asked),
            wanted: Notify::new(),
            ended: watch::Sender::new(()),
            waiting: Semaphore::new(MAX_WAITING),
        })
    }

    /// Where it is, without the query, for logs.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether it was ever fetched.
    #[must_use]
    pub fn was_fetched(&self) -> bool {
        self.current.load().is_some()
    }

    /// How long ago it was last fetched; where it never was, since when it has been tried.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.current.load().as_ref().map_or(self.made, |current| current.at).elapsed()
    }

    /// Does `with` the keys at hand; `None` where there are none, or none any more.
    pub(super) fn with_keys<T>(&self, with: impl FnOnce(&PublicKeys) -> T) -> Option<T> {
        let current = self.current.load();
        current.as_ref().filter(|current| current.at.elapsed() < KEPT_FOR).map(|current| with(&current.keys))
    }

    /// Sees to it that the set is fetched for a token whose key is not there, unless there was a fetch just now, and waits
    /// for it, at most [`WAIT`]. `kid` is none where there are no keys at all.
    pub(super) async fn newer(&self, kid: Option<&str>) -> Newer {
        if kid.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Newer::No;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return self.unsure() };
        let Some(mut ended) = self.ask(kid) else {
            return if kid.is_some_and(|kid| self.is_unknown(kid)) { Newer::No } else { self.unsure() };
        };
        match timeout(WAIT, ended.changed()).await {
            Ok(Ok(())) if !self.is_failing() => Newer::Fetched,
            _ => Newer::NotNow,
        }
    }

    /// What is said without a look: after a fetch that worked it is taken that there is no such key, or strangers with
    /// made-up key ids would look like an outage.
    fn unsure(&self) -> Newer {
        if self.is_failing() || !self.was_fetched() { Newer::NotNow } else { Newer::No }
    }

    /// The set was fetched, and there is no such key in it.
    pub(super) fn remember_unknown(&self, kid: &str) {
        self.asked.lock().unknown.put(kid.to_owned(), Instant::now() + UNKNOWN_FOR);
    }

    fn is_unknown(&self, kid: &str) -> bool {
        self.asked.lock().unknown.get(kid).is_some_and(|until| Instant::now() < *until)
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// Asks for a fetch; what to wait for, if it comes at once or is under way.
    fn ask(&self, kid: Option<&str>) -> Option<watch::Receiver<()>> {
        let now = Instant::now();
        let mut asked = self.asked.lock();
        if kid.and_then(|kid| asked.unknown.get(kid)).is_some_and(|until| now < *until) {
            return None;
        }
        if asked.under_way {
            return Some(self.ended.subscribe());
        }
        asked.wanted = true;
        let at_once = now >= asked.not_before;
        let ended = at_once.then(|| self.ended.subscribe());
        drop(asked);
        self.wanted.notify_one();
        ended
    }

    /// Resolves when a token asks for a fetch and one may begin.
    async fn wanted(&self) {
        loop {
            let not_before = {
                let asked = self.asked.lock();
                asked.wanted.then_some(asked.not_before)
            };
            match not_before {
                Some(moment) => return tokio::time::sleep_until(moment).await,
                None => self.wanted.notified().await,
            }
        }
    }

    /// Fetches it; how many keys there are now, whether they are others than before, and how long they are good. Called
    /// by one at a time.
    async fn fetch(&self) -> Result<(usize, bool, Option<Duration>), KeySetError> {
        {
            let mut asked = self.asked.lock();
            asked.under_way = true;
            if std::mem::take(&mut asked.wanted) {
                asked.not_before = Instant::now() + HOLD_OFF;
            }
        }
        let answer = self.origin.get().await;
        let read = answer
            .and_then(|document| Ok((PublicKeys::read(&document.body, self.algorithm)?, document.max_age)));
        self.failing.store(read.is_err(), Ordering::Release);
        let fetched = read.map(|(keys, max_age)| {
            let count = keys.len();
            let changed = self.current.load().as_ref().is_none_or(|before| !before.keys.is_like(&keys));
            self.current.store(Some(Arc::new(Current { keys, at: Instant::now() })));
            (count, changed, max_age)
        });
        let mut asked = self.asked.lock();
        asked.under_way = false;
        self.ended.send_replace(());
        fetched
    }

    /// Fetches it once, for a program that verifies one token.
    ///
    /// # Errors
    /// [`KeySetError`] when it cannot be had.
    pub async fn fetch_once(&self) -> Result<(), KeySetError> {
        self.fetch().await.map(|_| ())
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("url", &self.shown).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
