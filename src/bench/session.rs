//! A run as it is watched: parts with a name, a line each second, signals.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::output::Output;
use super::score::Score;
use super::server::{Figures, Server};
use crate::signal::Signals;

/// A second of a run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    /// Seconds since the start.
    pub(super) t: f64,
    pub(super) open: u64,
    /// Of the server; none where no server is named.
    pub(super) rss: Option<u64>,
    pub(super) cpu_s: Option<f64>,
}

#[derive(Serialize)]
struct Line<'a> {
    phase: &'static str,
    #[serde(flatten)]
    sample: &'a Sample,
    opened: u64,
    failed: u64,
}

/// Watches a run.
pub(super) struct Session {
    pub(super) output: Output,
    pub(super) server: Server,
    pub(super) samples: Vec<Sample>,
    signals: Signals,
    start: Instant,
    seconds: Interval,
}

impl Session {
    /// Begins.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub(super) fn start(json: bool, server: Server) -> anyhow::Result<Self> {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut seconds = interval_at(start + second, second);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (output, signals) = (Output::new(json), Signals::listen()?);
        Ok(Self { output, server, samples: Vec::new(), signals, start, seconds })
    }

    /// Lets a part run to its end, or to a signal: then it is none. `length` is what `progress` goes up to.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) async fn part<T>(
        &mut self,
        name: &'static str,
        score: &Score,
        length: u64,
        progress: impl Fn() -> u64,
        part: impl Future<Output = T>,
    ) -> anyhow::Result<Option<T>> {
        self.output.part(name, length);
        tokio::pin!(part);
        loop {
            tokio::select! {
                outcome = &mut part => return Ok(Some(outcome)),
                _ = self.signals.next() => return Ok(None),
                _ = self.seconds.tick() => {
                    let (open, opened, failed) = score.look(|counts| (counts.open, counts.opened, counts.failed.total()));
                    let sample = self.sample(open).await;
                    self.output.line(&Line { phase: name, sample: &sample, opened, failed })?;
                    self.output.at(progress(), format!("{open} open, {failed} failed"));
                    self.samples.push(sample);
                }
            }
        }
    }

    /// The same for a wait.
    ///
    /// # Errors
    /// As for [`Session::part`].
    pub(super) async fn wait(
        &mut self,
        name: &'static str,
        score: &Score,
        wait: Duration,
    ) -> anyhow::Result<Option<()>> {
        let start = Instant::now();
        let passed = move || start.elapsed().as_secs();
        self.part(name, score, wait.as_secs(), passed, tokio::time::sleep(wait)).await
    }

    async fn sample(&self, open: u64) -> Sample {
        let figures = self.server.read().await;
        Sample {
            t: tenths(self.start.elapsed()),
            open,
            rss: figures.map(|figures: Figures| figures.rss),
            cpu_s: figures.map(|figures| figures.cpu_s),
        }
    }
}

/// Seconds, to a tenth.
pub(super) fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// A count for each second of a time, to a tenth; 0 of none.
#[expect(clippy::cast_precision_loss, reason = "a report")]
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    match time.as_secs_f64() {
        0.0 => 0.0,
        seconds => (count as f64 / seconds * 10.0).round() / 10.0,
    }
}
