//! Reports as text: a table of two columns, and charts of block characters within 100 columns.

use std::fmt::Write;

use crate::bench::latency::{Latencies, Summary};
use crate::bench::server::Memory;

/// Eighths of a character, for bars.
const BLOCKS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Eighths of a line, for curves.
const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Width of the longest bar, and of a curve.
const BAR: usize = 60;
const CURVE: usize = 80;

/// Lines of a curve.
const HEIGHT: u64 = 6;

/// A report that grows line by line.
#[derive(Debug, Default)]
pub(in crate::bench) struct Page(String);

impl Page {
    /// Begins with a heading.
    pub(in crate::bench) fn new(heading: &str) -> Self {
        Self(format!("{heading}\n"))
    }

    /// `name  value`.
    pub(in crate::bench) fn row(&mut self, name: &str, value: &str) {
        // A String takes all that is written.
        let _ = writeln!(self.0, "  {name:<26} {value}");
    }

    /// The quantiles of latencies.
    pub(in crate::bench) fn latency(&mut self, name: &str, summary: Summary) {
        let Summary { p50, p90, p99, p999, max } = summary;
        self.row(name, &format!("p50 {p50}   p90 {p90}   p99 {p99}   p99.9 {p999}   max {max} ms"));
    }

    /// The server's memory.
    pub(in crate::bench) fn memory(&mut self, memory: Memory) {
        let Memory { rss_before, rss_idle, rss_after, bytes_per_connection } = memory;
        let each = [("before", rss_before), ("idle", rss_idle), ("after", rss_after)];
        let known = each.iter().filter_map(|(when, rss)| Some(format!("{when} {}", mebibytes((*rss)?))));
        self.row("server's memory", &known.collect::<Vec<_>>().join("   "));
        self.number("bytes a connection", bytes_per_connection.map(|bytes| (bytes, "")));
    }

    /// A number with its unit; nothing where it is not known.
    pub(in crate::bench) fn number(&mut self, name: &str, value: Option<(impl std::fmt::Display, &str)>) {
        if let Some((value, unit)) = value {
            self.row(name, format!("{value} {unit}").trim_end());
        }
    }

    /// A histogram of latencies, a bar a step.
    pub(in crate::bench) fn histogram(&mut self, name: &str, latencies: &Latencies) {
        let steps = latencies.histogram();
        let highest = steps.iter().map(|(_, count)| *count).max().unwrap_or_default();
        if highest == 0 {
            return;
        }
        let _ = writeln!(self.0, "\n  {name}, up to so many ms");
        let first = steps.iter().position(|(_, count)| *count > 0).unwrap_or_default();
        for (upper, count) in &steps[first..] {
            let bar = bar(*count, highest);
            let _ = writeln!(
                self.0,
                "  {upper:>10.2}  {bar:<BAR$} {}",
                if *count > 0 { count.to_string() } else { String::new() }
            );
        }
    }

    /// Values over time, as a curve: where there are more than columns, the highest of those that share one.
    pub(in crate::bench) fn curve(&mut self, name: &str, values: &[u64], unit: &str) {
        let highest = values.iter().copied().max().unwrap_or_default();
        if highest == 0 {
            return;
        }
        let each = values.len().div_ceil(CURVE).max(1);
        let columns: Vec<u64> =
            values.chunks(each).map(|chunk| chunk.iter().copied().max().unwrap_or_default()).collect();
        let _ = writeln!(self.0, "\n  {name}, over {} {unit}", values.len());
        for line in (0..HEIGHT).rev() {
            let label = if line + 1 == HEIGHT { highest.to_string() } else { String::new() };
            let drawn: String = columns.iter().map(|value| step(*value, highest, line)).collect();
            let _ = writeln!(self.0, "  {label:>10} │{}", drawn.trim_end());
        }
        let _ = writeln!(self.0, "  {:>10} └{}", 0, "─".repeat(columns.len()));
    }

    /// The whole text.
    pub(in crate::bench) fn text(self) -> String {
        self.0.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// Anything that is there shows.
fn bar(count: u64, highest: u64) -> String {
    let eighths = (u128::from(count) * BAR as u128 * 8).div_ceil(u128::from(highest));
    let eighths = usize::try_from(eighths).unwrap_or(BAR * 8);
    let mut bar = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        bar.push(BLOCKS[eighths % 8]);
    }
    bar
}

/// What a value shows in one line of a curve, where 0 is the lowest line.
fn step(value: u64, highest: u64, line: u64) -> char {
    let eighths = (u128::from(value) * u128::from(HEIGHT) * 8).div_ceil(u128::from(highest));
    let here = eighths.saturating_sub(u128::from(line) * 8).min(8);
    STEPS[usize::try_from(here).unwrap_or(8)]
}

#[expect(clippy::cast_precision_loss, reason = "a report")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_fits_its_width() {
        let mut latencies = Latencies::default();
        for micros in [70, 900, 1_000, 1_000, 86_000_000] {
            latencies.add(micros);
        }
        let mut page = Page::new("deliver");
        page.latency("latency", latencies.summary());
        page.histogram("latency", &latencies);
        page.curve("deliveries", &(0..1_000).collect::<Vec<_>>(), "s");
        let text = page.text();
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        assert!(text.contains(" 999 │") && text.contains("over 1000 s"), "{text}");
    }

    #[test]
    fn bars_and_curves_are_in_proportion() {
        assert_eq!((bar(0, 5), bar(1, 1_000_000)), (String::new(), "▏".to_owned()));
        assert_eq!(bar(5, 5).chars().count(), BAR);
        let column = |value| (0..HEIGHT).map(|line| step(value, 48, line)).collect::<String>();
        assert_eq!([column(0), column(1), column(24), column(48)], ["      ", "▁     ", "███   ", "██████"]);
    }
}
