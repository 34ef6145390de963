use std::time::Duration;

use futures_util::future::join_all;

use super::{Heard, ReadError, Reading, Word, now};
use crate::fetch::{Fetch, FetchError};
use crate::protocol::{PodGauge, PodStatus};

/// How long one pod may take; it answers from memory.
const ANSWER: Duration = Duration::from_secs(2);

/// Certain pods, each asked for its `/status`.
#[derive(Debug)]
pub struct Pods {
    urls: Vec<String>,
    fetch: Fetch,
}

impl Pods {
    /// Pods by the URLs of their admin ports, without a slash at the end: `http://HOST:9004`.
    #[must_use]
    pub fn new(urls: Vec<String>) -> Self {
        Self { urls, fetch: Fetch::new(ANSWER) }
    }

    /// Where they are asked.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Asks all of them at once. Takes 2 s at most.
    ///
    /// # Errors
    /// [`ReadError::Silent`] when not one answers.
    pub async fn read(&self) -> Result<Reading, ReadError> {
        let answers = join_all(self.urls.iter().map(|url| self.ask(url))).await;
        if answers.iter().all(Result::is_err) {
            let errors = answers.iter().filter_map(|answer| answer.as_ref().err().map(ToString::to_string));
            return Err(ReadError::Silent(errors.collect::<Vec<_>>().join("; ")));
        }
        let pods = self.urls.iter().zip(answers).map(|(url, answer)| Heard {
            key: url.clone(),
            word: match answer {
                Ok(gauge) => Word::Report(Box::new(gauge)),
                Err(error) => Word::Silent(error.to_string()),
            },
        });
        Ok(Reading { at: now(), pods: pods.collect() })
    }

    async fn ask(&self, url: &str) -> Result<PodGauge, FetchError> {
        let at = now();
        let status = self.fetch.json(&format!("{url}/status")).await?;
        Ok(gauge(url, status, at))
    }
}

/// What the pod's sidecar would report, as far as the pod itself knows it.
fn gauge(url: &str, status: PodStatus, at: u64) -> PodGauge {
    PodGauge {
        pod: if status.pod.is_empty() { url.to_owned() } else { status.pod },
        connections: status.connections,
        limit: status.limit,
        draining: status.draining,
        at,
        users: status.users,
        messages_sent: status.messages_sent,
        outbox_bytes: status.outbox_bytes,
        backplane: status.backplane,
        version: status.version,
        admin: url.strip_prefix("http://").and_then(|authority| authority.parse().ok()),
        ..PodGauge::default()
    }
}
