//! How much of the memory that its control group allows the process has taken. A pod that goes beyond is killed with all its
//! connections, so it stops taking new ones before.
//!
//! Not the `sysinfo` crate: it counts pages of files, which the kernel takes back before it kills anybody, as taken.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Between two looks. A pod that takes a thousand connections a second grows by some 20 MB meanwhile.
const EVERY: Duration = Duration::from_secs(1);

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// What cannot be known, or has no limit.
const UNKNOWN: u64 = u64::MAX;

/// The share of the memory limit that is taken, as it was at the last look. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryShare(Arc<AtomicU64>);

impl Default for MemoryShare {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(UNKNOWN)))
    }
}

impl MemoryShare {
    /// In percent of the limit; none where there is no limit, or before the first look.
    #[must_use]
    pub fn percent(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|percent| *percent != UNKNOWN)
    }

    /// What a look found.
    pub fn set(&self, percent: Option<u64>) {
        self.0.store(percent.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// Looks every second until `stop`, and tells `look` each time. Without a limit it looks once.
    pub async fn watch(self, stop: CancellationToken, look: impl Fn(Option<u64>)) {
        let Some(group) = Group::of_this_process() else { return look(None) };
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let percent = group.percent();
            self.set(percent);
            look(percent);
        }
    }
}

/// A control group with a limit: its files of version 1 or 2.
#[derive(Debug)]
struct Group {
    usage: PathBuf,
    limit: PathBuf,
    stat: PathBuf,
    /// How the pages of files are called in `stat`, those of groups below included.
    files: [&'static str; 2],
}

impl Group {
    fn of_this_process() -> Option<Self> {
        Self::find(Path::new(ROOT), &fs::read_to_string("/proc/self/cgroup").ok()?)
    }

    /// The first that has a limit. In a container the group of `/proc/self/cgroup` is mounted as the root, or it is the host's
    /// path and not there at all.
    fn find(root: &Path, cgroup: &str) -> Option<Self> {
        let path = |controller: &str| {
            let of = |line: &&str| {
                line.split(':').nth(1).is_some_and(|names| names.split(',').any(|n| n == controller))
            };
            let line = cgroup.lines().find(of)?;
            Some(line.splitn(3, ':').nth(2)?.trim_start_matches('/'))
        };
        let second = [path("").map(|path| root.join(path)), Some(root.to_owned())];
        let first = [path("memory").map(|path| root.join("memory").join(path)), Some(root.join("memory"))];
        let second = second.into_iter().flatten().map(|folder| Self::second(&folder));
        let first = first.into_iter().flatten().map(|folder| Self::first(&folder));
        second.chain(first).find(|group| group.percent().is_some())
    }

    fn second(folder: &Path) -> Self {
        Self {
            usage: folder.join("memory.current"),
            limit: folder.join("memory.max"),
            stat: folder.join("memory.stat"),
            files: ["active_file", "inactive_file"],
        }
    }

    fn first(folder: &Path) -> Self {
        Self {
            usage: folder.join("memory.usage_in_bytes"),
            limit: folder.join("memory.limit_in_bytes"),
            stat: folder.join("memory.stat"),
            files: ["total_active_file", "total_inactive_file"],
        }
    }

    /// None where there is no limit: version 2 says `max`, version 1 a number beyond any machine.
    fn percent(&self) -> Option<u64> {
        let limit = number(&self.limit)?;
        if limit == 0 || limit >= 1 << 60 {
            return None;
        }
        let stat = fs::read_to_string(&self.stat).ok()?;
        let of_file = |line: &str| {
            let (name, bytes) = line.split_once(' ')?;
            if self.files.contains(&name) { bytes.trim().parse::<u64>().ok() } else { None }
        };
        let files: u64 = stat.lines().filter_map(of_file).sum();
        Some(number(&self.usage)?.saturating_sub(files) * 100 / limit)
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    fn percent(cgroup: &str, files: &[(&str, &str)]) -> Option<u64> {
        Group::find(tree(files).path(), cgroup)?.percent()
    }

    #[test]
    fn version_2_leaves_out_what_files_hold() {
        let stat = "anon 700\nfile 200\nactive_file 50\ninactive_file 150\nshmem 0\n";
        let files = [("memory.current", "900\n"), ("memory.max", "1000\n"), ("memory.stat", stat)];
        assert_eq!(percent("0::/\n", &files), Some(70));
        // The host's path, which is not there in a container.
        assert_eq!(percent("0::/kubepods.slice/pod1\n", &files), Some(70));
        let below = files.map(|(name, text)| (format!("a/b/{name}"), text));
        let below = below.each_ref().map(|(name, text)| (name.as_str(), *text));
        assert_eq!(percent("0::/a/b\n", &below), Some(70));
    }

    #[test]
    fn version_1_does_too() {
        let stat = "total_active_file 100\ntotal_inactive_file 100\nactive_file 1\n";
        let files = [
            ("memory/x/memory.usage_in_bytes", "1100\n"),
            ("memory/x/memory.limit_in_bytes", "2000\n"),
            ("memory/x/memory.stat", stat),
        ];
        assert_eq!(percent("5:cpu,cpuacct:/y\n4:memory:/x\n0::/\n", &files), Some(45));
    }

    #[test]
    fn without_a_limit_nothing_is_known() {
        assert_eq!(percent("0::/\n", &[]), None);
        let files = [("memory.current", "900\n"), ("memory.max", "max\n"), ("memory.stat", "")];
        assert_eq!(percent("0::/\n", &files), None);
        let files = [
            ("memory/memory.usage_in_bytes", "900\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/memory.stat", ""),
        ];
        assert_eq!(percent("4:memory:/\n", &files), None);
    }

    #[tokio::test]
    async fn what_is_seen_is_shared() {
        let share = MemoryShare::default();
        assert_eq!(share.percent(), None);
        share.clone().set(Some(91));
        assert_eq!(share.percent(), Some(91));
    }
}
