use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{KeySet, KeySetError};
use crate::backoff::Backoff;
use crate::told::Told;

/// How long keys are good where their issuer does not say.
const DEFAULT_AGE: Duration = Duration::from_secs(600);
/// Shorter ages are taken for this one: a key that is new is asked for anyway.
const MIN_AGE: Duration = Duration::from_secs(60);
/// Longer ones for this one: a key that was taken out has to go.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// After a failure the next attempt comes within one second to a minute.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LAST: Duration = Duration::from_secs(60);
const RETRY_LEAST: Duration = Duration::from_secs(1);

/// One fetch, for whoever is told.
#[derive(Debug)]
pub struct Fetched<'a> {
    /// Where the set is, without the query.
    pub url: &'a str,
    /// How many keys it has, or why it could not be had.
    pub outcome: Result<usize, &'a KeySetError>,
    /// The keys are others than before, or the outcome is another one: worth a line in the log.
    pub is_news: bool,
}

/// Who is told of fetches: metrics and log, seen from here. Must not block.
pub trait FetchObserver: Send + Sync + 'static {
    /// A fetch has ended.
    fn fetched(&self, fetched: &Fetched<'_>);
}

/// Fetches a set now, ahead of its age, and when tokens ask for it, until `stop`. One task a set.
pub async fn keep(set: Arc<KeySet>, observer: Arc<dyn FetchObserver>, stop: CancellationToken) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
    let mut told = Told::default();
    while let Some(outcome) = stop.run_until_cancelled(set.fetch()).await {
        let (wait, changed) = match &outcome {
            Ok((_, changed, max_age)) => {
                backoff.reset();
                let age = max_age.unwrap_or(DEFAULT_AGE).clamp(MIN_AGE, MAX_AGE);
                // Pods that started together do not ask together for ever.
                (age.mul_f64(rand::random_range(0.75..0.95)), *changed)
            }
            Err(_) => (backoff.next_delay().max(RETRY_LEAST), false),
        };
        let outcome = outcome.as_ref().map(|(count, ..)| *count);
        let is_news = told.is_new(outcome.map(|_| ())) || changed;
        observer.fetched(&Fetched { url: &set.shown, outcome, is_news });
        let next = async {
            tokio::select! {
                () = sleep(wait) => {}
                () = set.wanted() => {}
            }
        };
        if stop.run_until_cancelled(next).await.is_none() {
            return;
        }
    }
}
