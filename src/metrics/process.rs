//! The process's own metrics, under the names that every Prometheus client uses. Read from `/proc/self` when scraped; the
//! `process` feature of the `prometheus` crate would bring older doubles of crates that are here already.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntGauge};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::declare::{Declare, Description};

/// Names, kinds and help texts, in the order of [`Process::metrics`].
const DESCRIPTIONS: [(&str, &str, &str); 6] = [
    ("process_cpu_seconds_total", "counter", "User and system CPU time of the process, in seconds."),
    ("process_resident_memory_bytes", "gauge", "Resident memory of the process."),
    ("process_open_fds", "gauge", "Open file descriptors, of which each connection is one."),
    ("process_max_fds", "gauge", "Most file descriptors that may be open."),
    ("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970."),
    ("process_threads", "gauge", "Threads of the process."),
];

/// Reads the process when it is collected. What cannot be read keeps its last value.
pub(super) struct Process {
    cpu: Counter,
    /// Held while what is new is added, so that two scrapes at once do not both add it.
    adding: Mutex<()>,
    resident: IntGauge,
    open_files: IntGauge,
    max_files: IntGauge,
    start: Gauge,
    threads: IntGauge,
}

impl Declare {
    /// Declares the process's metrics as well.
    pub(super) fn with_process(mut self) -> Self {
        // Names are constants of this file: a wrong or doubled one shows in every test that makes a `Metrics`.
        let process = Process::new().expect("well-formed metric names");
        self.registry.register(Box::new(process)).expect("metric names used once");
        self.descriptions.extend(DESCRIPTIONS.map(|(name, kind, help)| Description {
            name,
            kind,
            label: None,
            owner: Vec::new(),
            help,
        }));
        self
    }
}

impl Process {
    fn new() -> prometheus::Result<Self> {
        let [cpu, resident, open, max, start, threads] = DESCRIPTIONS.map(|(name, _, help)| (name, help));
        let process = Self {
            cpu: Counter::new(cpu.0, cpu.1)?,
            adding: Mutex::new(()),
            resident: IntGauge::new(resident.0, resident.1)?,
            open_files: IntGauge::new(open.0, open.1)?,
            max_files: IntGauge::new(max.0, max.1)?,
            start: Gauge::new(start.0, start.1)?,
            threads: IntGauge::new(threads.0, threads.1)?,
        };
        process.start.set(started().unwrap_or_default());
        Ok(process)
    }

    fn metrics(&self) -> [&dyn Collector; 6] {
        [&self.cpu, &self.resident, &self.open_files, &self.max_files, &self.start, &self.threads]
    }

    fn read(&self) {
        set(&self.resident, resident());
        set(&self.open_files, open_files());
        set(&self.max_files, getrlimit(Resource::Nofile).current);
        set(&self.threads, stat_field(20));
        let _adding = self.adding.lock();
        self.cpu.inc_by((cpu_seconds() - self.cpu.get()).max(0.0));
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.metrics().into_iter().flat_map(Collector::collect).collect()
    }
}

fn set(gauge: &IntGauge, value: Option<u64>) {
    if let Some(value) = value {
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a clock's seconds fit")]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Bytes.
fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<u64>().ok()? * page_size() as u64)
}

fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Linux 6.2 and later say it without a walk over ten thousand entries.
    match fs::metadata(FOLDER).ok()?.len() {
        // The walk's own is one of them.
        0 => Some((fs::read_dir(FOLDER).ok()?.count() as u64).saturating_sub(1)),
        open => Some(open),
    }
}

/// A field of `/proc/self/stat`, counted from 1 as in proc(5); the second is a name that may hold anything.
fn stat_field(number: usize) -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after) = stat.rsplit_once(") ")?;
    after.split(' ').nth(number.checked_sub(3)?)?.parse().ok()
}

/// Seconds since 1970, from the ticks since the machine's start.
fn started() -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let up: f64 = uptime.split(' ').next()?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "a hundredth of a second is enough")]
    let after = stat_field(22)? as f64 / clock_ticks_per_second() as f64;
    let age = Duration::try_from_secs_f64(up - after).ok()?;
    let start = SystemTime::now().checked_sub(age)?;
    Some(start.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn value(name: &str) -> f64 {
        let page = Declare::default().with_process().encode();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().expect("a number")
    }

    #[test]
    fn the_process_is_seen_as_it_is() {
        let before = value("process_open_fds");
        let files: Vec<File> = (0..100).map(|_| File::open("/proc/self/stat").expect("readable")).collect();
        // Other tests of this process open and close some as well.
        assert!(value("process_open_fds") > before + 50.0 && before >= 3.0);
        drop(files);
        assert!(value("process_max_fds") >= before + 100.0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-1.0..86_400.0).contains(&age), "{age}");
        assert!(value("process_threads") >= 1.0);
        let memory = value("process_resident_memory_bytes");
        assert!((1e6..1e12).contains(&memory), "{memory}");
    }

    #[test]
    fn cpu_grows_with_what_is_spent_whichever_scrape_sees_it() {
        let process = Process::new().expect("well-formed");
        let spend = |seconds: f64| {
            let start = cpu_seconds();
            while cpu_seconds() < start + seconds {}
        };
        spend(0.01);
        process.read();
        let first = process.cpu.get();
        spend(0.02);
        process.read();
        assert!(first >= 0.01 && process.cpu.get() >= first + 0.02, "{first} {}", process.cpu.get());
        assert!(process.cpu.get() <= cpu_seconds());
    }
}
