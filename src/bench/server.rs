//! What the server spends, seen from outside: its process, or the metrics of its pods.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::fetch::Fetch;

/// For one answer of a pod.
const BOUND: Duration = Duration::from_secs(2);

const CPU: &str = "process_cpu_seconds_total";
const RSS: &str = "process_resident_memory_bytes";

/// Where to read memory and CPU from.
#[derive(Debug, Clone, clap::Args)]
#[group(required = false, multiple = false)]
pub(super) struct ServerArgs {
    /// The server's process on this machine, for its memory and CPU
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// Instead: `http://HOST:9004/metrics` of each of the server's pods; may be repeated
    #[arg(long, value_name = "URL")]
    metrics_url: Vec<String>,
}

/// What a server has spent so far and holds now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Figures {
    /// Resident memory, in bytes.
    pub(super) rss: u64,
    /// User and system time since its start, in seconds.
    pub(super) cpu_s: f64,
}

/// The server that is looked at.
#[derive(Debug)]
pub(super) enum Server {
    Unknown,
    Process(u32),
    Pods(Box<Fetch>, Vec<String>),
}

impl ServerArgs {
    /// Sees that it can be looked at.
    ///
    /// # Errors
    /// When there is no such process, or a pod does not answer.
    pub(super) async fn find(&self) -> anyhow::Result<Server> {
        let server = match self.pid {
            Some(pid) => Server::Process(pid),
            None if self.metrics_url.is_empty() => return Ok(Server::Unknown),
            None => Server::Pods(Box::new(Fetch::new(BOUND)), self.metrics_url.clone()),
        };
        server.try_read().await.context("the server's memory and CPU cannot be read")?;
        Ok(server)
    }
}

impl Server {
    /// Reads it; none where nothing was named, or it is gone.
    pub(super) async fn read(&self) -> Option<Figures> {
        match self {
            Self::Unknown => None,
            server => server.try_read().await.ok(),
        }
    }

    async fn try_read(&self) -> anyhow::Result<Figures> {
        match self {
            Self::Unknown => bail!("no server is named"),
            Self::Process(pid) => of_process(*pid),
            Self::Pods(fetch, urls) => {
                let mut sum = Figures { rss: 0, cpu_s: 0.0 };
                for url in urls {
                    let page = fetch.text(url).await?;
                    sum.rss += memory(series(&page, RSS).with_context(|| format!("{url} has no {RSS}"))?);
                    sum.cpu_s += series(&page, CPU).with_context(|| format!("{url} has no {CPU}"))?;
                }
                Ok(sum)
            }
        }
    }
}

fn of_process(pid: u32) -> anyhow::Result<Figures> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| path)
    };
    let rss = resident(&read("status")?).context("no VmRSS")?;
    let ticks = ticks(&read("stat")?).context("no utime")?;
    #[expect(clippy::cast_precision_loss, reason = "a report")]
    let cpu_s = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(Figures { rss, cpu_s })
}

/// `VmRSS` of `/proc/N/status`, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// `utime` and `stime` of `/proc/N/stat`, fields 14 and 15; the second is a name that may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(") ")?;
    let mut fields = after.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// The value of a series without labels.
fn series(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// A gauge of bytes; the text format has floats.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no process has as much")]
fn memory(value: f64) -> u64 {
    value as u64
}

/// What is worth saying of a server over a run; each is missing where it could not be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Memory {
    /// Bytes before the first connection.
    pub(super) rss_before: Option<u64>,
    /// Bytes with all connections open and idle.
    pub(super) rss_idle: Option<u64>,
    /// Bytes after all have left.
    pub(super) rss_after: Option<u64>,
    pub(super) bytes_per_connection: Option<i64>,
}

impl Memory {
    pub(super) fn new(
        before: Option<Figures>,
        idle: Option<Figures>,
        after: Option<Figures>,
        open: u64,
    ) -> Self {
        let rss = |figures: Option<Figures>| figures.map(|figures| figures.rss);
        let grown =
            rss(before).zip(rss(idle)).map(|(before, idle)| idle.cast_signed() - before.cast_signed());
        let open = i64::try_from(open).unwrap_or(i64::MAX);
        Self {
            rss_before: rss(before),
            rss_idle: rss(idle),
            rss_after: rss(after),
            bytes_per_connection: grown.and_then(|grown| grown.checked_div(open)),
        }
    }
}

/// CPU between two readings, in microseconds for each of so many.
pub(super) fn cpu_us_each(from: Option<Figures>, to: Option<Figures>, count: f64) -> Option<f64> {
    let spent = to?.cpu_s - from?.cpu_s;
    (count > 0.0).then(|| (spent * 1e8 / count).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_read() {
        let server = Server::Process(std::process::id());
        let figures = server.read().await.expect("this process");
        assert!(figures.rss > 1_000_000 && figures.rss < 1 << 40, "{figures:?}");
        assert!(Server::Process(u32::MAX).read().await.is_none() && Server::Unknown.read().await.is_none());
    }

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 2 3";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    8 kB\nVmX:\t1 kB\n"), Some(8192));
        let page = "# TYPE a counter\na_total 1\na 2.5e3\nb{c=\"d\"} 1\n";
        assert_eq!((series(page, "a"), series(page, "b")), (Some(2500.0), None));
    }

    #[test]
    fn differences_are_shared_out() {
        let at = |rss, cpu_s| Some(Figures { rss, cpu_s });
        let memory = Memory::new(at(1_000, 0.0), at(900, 0.0), None, 10);
        assert_eq!((memory.bytes_per_connection, memory.rss_after), (Some(-10), None));
        assert_eq!(Memory::new(at(1, 0.0), at(2, 0.0), None, 0).bytes_per_connection, None);
        assert_eq!(cpu_us_each(at(0, 1.0), at(0, 1.5), 1_000.0), Some(500.0));
        assert_eq!(
            (cpu_us_each(None, at(0, 1.0), 1.0), cpu_us_each(at(0, 0.0), at(0, 1.0), 0.0)),
            (None, None)
        );
    }
}
