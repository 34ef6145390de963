//! What is seen of a run while it lasts, and the report at its end.

use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

use super::args::{DeliverArgs, Via};
use super::report::{Final, Looks, text};
use super::tally::Tally;
use crate::bench::dialect::Mode;
use crate::bench::output::Output;
use crate::bench::server::Server;
use crate::bench::session::{Sample, per_second, tenths};

/// The parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Holding,
    Publishing,
    Settling,
}

impl Phase {
    /// As the report has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Holding => "holding",
            Self::Publishing => "publishing",
            Self::Settling => "settling",
        }
    }
}

/// What a run is watched with, and what was seen of it.
pub(super) struct Watch {
    pub(super) output: Output,
    pub(super) server: Server,
    pub(super) looks: Looks,
    pub(super) start: Instant,
    samples: Vec<Sample>,
    /// Deliveries of each second of publishing.
    seconds: Vec<u64>,
    received: u64,
}

impl Watch {
    /// Looks at the server for the first time.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) async fn start(args: &DeliverArgs) -> anyhow::Result<Self> {
        let server = args.crowd.server.find().await?;
        let looks = Looks { before: server.read().await, ..Looks::default() };
        let output = Output::new(args.crowd.json);
        let (start, samples, seconds) = (Instant::now(), Vec::new(), Vec::new());
        Ok(Self { output, server, looks, start, samples, seconds, received: 0 })
    }

    /// A second is over.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) async fn second(&mut self, tally: &Tally, phase: Phase) -> anyhow::Result<()> {
        let t = tenths(self.start.elapsed());
        let figures = self.server.read().await;
        let (open, opened, received) = tally.brief();
        let (rss, cpu_s) = figures.map(|figures| (figures.rss, figures.cpu_s)).unzip();
        self.samples.push(Sample { t, open, rss, cpu_s });
        let new = received - std::mem::replace(&mut self.received, received);
        if phase == Phase::Publishing {
            self.seconds.push(new);
        }
        let position = if phase == Phase::Connecting { opened } else { 0 };
        self.output.at(position, format!("{open} open, {received} delivered, {new} in this second"));
        self.output.line(&tally.report(t, phase.name(), false, false))
    }

    /// The report. `idle` connections were open before the first message.
    ///
    /// # Errors
    /// When nothing was published, or standard output cannot be written.
    pub(super) fn finish(
        &self,
        args: &DeliverArgs,
        tally: &Tally,
        phase: Phase,
        idle: u64,
        published_for: Duration,
    ) -> anyhow::Result<()> {
        let judged = args.crowd.mode == Mode::V1 && matches!(args.via, Via::Script | Via::Http);
        let report = tally.report(tenths(self.start.elapsed()), phase.name(), true, judged);
        let latencies = tally.latencies();
        let counts = &report.counts;
        let last = Final {
            command: "deliver",
            mode: args.crowd.mode.name(),
            report: &report,
            delivered: counts.received,
            delivered_per_s: per_second(counts.received, published_for),
            latency_histogram: latencies.histogram(),
            server: self.looks.spent(idle, counts.opened, counts.received),
            samples: &self.samples,
        };
        self.output.report(&last, || text(&last, args.crowd.mode, &latencies, &self.seconds))?;
        match counts.accepted {
            0 => bail!("nothing was published: {}", counts.last_publish_error.as_deref().unwrap_or_default()),
            _ => Ok(()),
        }
    }
}
