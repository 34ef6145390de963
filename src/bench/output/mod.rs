//! What a command shows: lines of JSON, or progress on a terminal and a report at the end.

pub(super) mod chart;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// A line on standard error that is drawn anew, and standard output.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    /// Only on a terminal.
    bar: Option<ProgressBar>,
}

impl Output {
    /// With `json` every line goes to standard output as JSON; otherwise only the report does, as text.
    pub(super) fn new(json: bool) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self { json, bar }
    }

    /// A new part begins, which is over at `length`; 0 where nobody knows.
    pub(super) fn part(&self, name: &'static str, length: u64) {
        let Some(bar) = &self.bar else { return };
        let template = match length {
            0 => "{prefix:<11} {spinner} {elapsed_precise} {msg}",
            _ => "{prefix:<11} {bar:30} {pos}/{len} {elapsed_precise} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.reset();
        bar.set_length(length);
        bar.set_prefix(name);
    }

    /// How far the part is.
    pub(super) fn at(&self, position: u64, message: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.set_message(message.into());
        }
    }

    /// The line of a second.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) fn line(&self, line: &impl Serialize) -> anyhow::Result<()> {
        if self.json { print(line) } else { Ok(()) }
    }

    /// The report: `json`, or the text.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) fn report(&self, json: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.json {
            return print(json);
        }
        let mut out = std::io::stdout().lock();
        out.write_all(text().as_bytes())?;
        Ok(out.flush()?)
    }
}

/// A line of JSON on standard output.
///
/// # Errors
/// When it cannot be written.
pub(super) fn print(report: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}
