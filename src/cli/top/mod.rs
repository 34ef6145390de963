//! The `top` command: the fleet at a glance, once or again and again.

mod cells;
mod screen;
mod terminal;

use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::pods::{PodsArgs, read};
use crate::config::Config;
use crate::fleet::{ReadError, Source, View, Watch};
use crate::protocol::GAUGE_INTERVAL;

/// Between two looks for a report that is due.
const AGAIN: Duration = Duration::from_millis(200);

/// Arguments of `top`.
#[derive(Debug, Clone, clap::Args)]
pub struct TopArgs {
    #[command(flatten)]
    pods: PodsArgs,
    /// Seconds between two readings, 0.1 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    interval: Duration,
    /// Print one table and end; it takes an interval, for messages a second are counted between two readings
    #[arg(long)]
    once: bool,
    /// Print JSON, one object a reading, instead of tables
    #[arg(long)]
    json: bool,
}

/// Shows the fleet on a terminal until somebody presses `q`; where standard output is none, prints a table an interval;
/// with `--once` one alone.
///
/// # Errors
/// When no pod can be read at the start, with `--once` at the end, or when the output fails.
pub async fn run(args: &TopArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let mut source = args.pods.source(config)?;
    let mut watch = Watch::default();
    let first = watch.view(read(&mut source).await?);
    if args.once {
        print(&last(&mut source, &mut watch, args.interval).await?, args.json)?;
    } else if std::io::stdout().is_terminal() && !args.json {
        let (shown, views) = mpsc::channel(1);
        tokio::spawn(rounds(source, watch, args.interval, shown));
        terminal::run(first, views).await?;
    } else {
        stream(source, watch, first, args).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The view after one interval, or a little later where a pod's next report takes longer.
async fn last(source: &mut Source, watch: &mut Watch, interval: Duration) -> anyhow::Result<View> {
    let patience = Instant::now() + interval + GAUGE_INTERVAL;
    sleep(interval).await;
    loop {
        let view = watch.view(read(source).await?);
        if watch.has_rates() || Instant::now() >= patience {
            return Ok(view);
        }
        sleep(AGAIN).await;
    }
}

/// Reads in rounds, and ends with whoever shows the outcomes.
async fn rounds(
    mut source: Source,
    mut watch: Watch,
    every: Duration,
    shown: mpsc::Sender<Result<View, ReadError>>,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is over at once, and so was the first reading.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let outcome = source.read().await.map(|reading| watch.view(reading));
        if shown.send(outcome).await.is_err() {
            return;
        }
    }
}

/// Prints a view an interval, until nobody reads them any more. What fails on the way is told between them.
async fn stream(source: Source, watch: Watch, first: View, args: &TopArgs) -> anyhow::Result<()> {
    let (shown, mut views) = mpsc::channel(1);
    tokio::spawn(rounds(source, watch, args.interval, shown));
    let mut next = Some(Ok(first));
    while let Some(outcome) = next {
        match outcome {
            Ok(view) => match print(&view, args.json) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                printed => printed?,
            },
            Err(error) => writeln!(std::io::stderr(), "websocket-service: {error}")?,
        }
        next = views.recv().await;
    }
    Ok(())
}

fn print(view: &View, json: bool) -> std::io::Result<()> {
    let text = if json { serde_json::to_string(view)? + "\n" } else { cells::page(view) };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    let within = seconds.filter(|seconds| (0.1..=3_600.0).contains(seconds));
    within.map(Duration::from_secs_f64).ok_or_else(|| "give a number of seconds from 0.1 to 3600".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_number_of_seconds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "2s", "3601", "NaN", "inf", ""] {
            assert!(seconds(wrong).expect_err(wrong).contains("0.1 to 3600"));
        }
    }
}
