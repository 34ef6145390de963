use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::KeyError;

/// Something that is read from files and can be read again while it is in use.
pub trait Reload: Send + Sync + 'static {
    /// What it is, for the log: `token keys`.
    fn name(&self) -> &'static str;

    /// Reads the files, and takes over what is in them if that changed and is good. Blocks on the file system; two at
    /// a time wait for one another.
    fn reload(&self) -> Reloaded;
}

/// What a look at the files gave.
#[derive(Debug)]
pub enum Reloaded {
    /// The same as at the last look, be that good or bad.
    Unchanged,
    /// Something new, now in force.
    Swapped,
    /// Something new that is no good; what was in force stays so.
    Kept(KeyError),
}

/// Looks at the files of `what` every `every` until `stop`, and logs one line a change, without any key in it.
///
/// The contents are compared, by polling: a mounted Secret is a symlink to a folder behind a second symlink that the
/// kubelet swaps, so a watch by inotify sits on files that never change again, and network file systems report none.
/// Key files are few and small, and keys change by the week.
pub async fn watch(what: Arc<impl Reload>, every: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let reader = Arc::clone(&what);
        match tokio::task::spawn_blocking(move || reader.reload()).await {
            Ok(Reloaded::Unchanged) => {}
            Ok(Reloaded::Swapped) => tracing::info!(what = what.name(), "reread after a change"),
            Ok(Reloaded::Kept(error)) => {
                tracing::warn!(what = what.name(), %error, "changed and cannot be used; the old one stays in force");
            }
            Err(error) => tracing::error!(what = what.name(), %error, "rereading failed"),
        }
    }
}

/// A key's text as it stands in its file; comparable, so that a change shows. Hidden by `Debug`, wiped when dropped.
#[derive(Debug)]
pub(super) struct RawKey(pub(super) SecretString);

impl PartialEq for RawKey {
    /// Not in constant time: both sides are the operator's own files.
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

/// Where raw keys come from and what is made of them.
pub(super) trait Source: Send + Sync + 'static {
    /// As read.
    type Raw: PartialEq + Send + 'static;
    /// As used.
    type Built: Send + Sync + 'static;

    fn read(&self) -> Result<Self::Raw, KeyError>;
    fn build(&self, raw: &Self::Raw) -> Result<Self::Built, KeyError>;
}

/// A source with what was last built from it.
pub(super) struct Live<S: Source> {
    source: S,
    /// The last look, or what went wrong at it. Held for as long as a look takes.
    seen: Mutex<Result<S::Raw, String>>,
    built: ArcSwap<S::Built>,
}

impl<S: Source> Live<S> {
    pub(super) fn load(source: S) -> Result<Self, KeyError> {
        let raw = source.read()?;
        let built = ArcSwap::from_pointee(source.build(&raw)?);
        Ok(Self { source, seen: Mutex::new(Ok(raw)), built })
    }

    /// What is in force now.
    pub(super) fn get(&self) -> Guard<Arc<S::Built>> {
        self.built.load()
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    pub(super) fn reload(&self) -> Reloaded {
        let mut seen = self.seen.lock();
        match self.source.read() {
            Ok(raw) if seen.as_ref().is_ok_and(|last| *last == raw) => Reloaded::Unchanged,
            Ok(raw) => {
                let built = self.source.build(&raw);
                *seen = Ok(raw);
                match built {
                    Ok(built) => {
                        self.built.store(Arc::new(built));
                        Reloaded::Swapped
                    }
                    Err(error) => Reloaded::Kept(error),
                }
            }
            Err(error) => {
                let text = error.to_string();
                if seen.as_ref().is_err_and(|last| *last == text) {
                    return Reloaded::Unchanged;
                }
                *seen = Err(text);
                Reloaded::Kept(error)
            }
        }
    }
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
