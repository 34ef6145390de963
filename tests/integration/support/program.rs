//! A program in a process of its own: what it prints, line by line, as events.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use tokio::sync::watch;

use super::{Bound, LOCAL, eventually, within};

/// A running program, killed when dropped.
pub(crate) struct Program {
    child: Child,
    name: String,
    out: watch::Receiver<Vec<String>>,
    err: watch::Receiver<Vec<String>>,
}

impl Program {
    /// Starts it with nothing on its standard input, unless the command says otherwise.
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {name}: {error}; `make tools-test` installs it"));
        let out = lines(child.stdout.take().expect("piped"));
        let err = lines(child.stderr.take().expect("piped"));
        Self { child, name, out, err }
    }

    /// The first line of its standard output that holds `part`, printed or to come.
    pub(crate) async fn says(&mut self, part: &str, bound: Bound) -> String {
        let mut out = self.out.clone();
        self.first(&mut out, part, bound).await
    }

    /// The same of its standard error.
    pub(crate) async fn notes(&mut self, part: &str, bound: Bound) -> String {
        let mut err = self.err.clone();
        self.first(&mut err, part, bound).await
    }

    async fn first(&self, lines: &mut watch::Receiver<Vec<String>>, part: &str, bound: Bound) -> String {
        let holds = |line: &&String| line.contains(part);
        let what = format!("{} says {part:?}", self.name);
        let found = within(&what, bound, async {
            let found = lines.wait_for(|lines| lines.iter().any(|line| holds(&line))).await.ok()?;
            found.iter().find(holds).cloned()
        });
        found.await.unwrap_or_else(|| panic!("{} ended without {part:?}:\n{}", self.name, self.text()))
    }

    /// Waits for its end, and for everything that it printed.
    pub(crate) async fn exit(&mut self, bound: Bound) -> ExitStatus {
        let mut status = None;
        eventually(&format!("{} ends", self.name), bound, async || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        })
        .await;
        // The readers' ends are dropped with the last line.
        while self.out.changed().await.is_ok() {}
        while self.err.changed().await.is_ok() {}
        status.expect("it has ended")
    }

    /// Waits for its end and returns the exit code; none where a signal ended it.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        self.exit(LOCAL).await.code()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal: `TERM`, `INT`.
    pub(crate) fn signal(&mut self, signal: &str) {
        assert!(self.runs(), "{} has ended:\n{}", self.name, self.text());
        let kill = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot send SIG{signal}");
    }

    /// The lines of its standard output so far.
    pub(crate) fn out(&self) -> Vec<String> {
        self.out.borrow().clone()
    }

    /// Everything that it printed so far, for a failure's message.
    pub(crate) fn text(&self) -> String {
        format!("{}\n--- and as errors\n{}", self.out.borrow().join("\n"), self.err.borrow().join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A script of this repository under the tests' own Python: `scripts/python FILE …`.
pub(crate) fn python(file: &str, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(repository().join("scripts/python"));
    command.arg(repository().join(file)).args(arguments).stdin(Stdio::null());
    command
}

/// Where the repository is.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn lines(stream: impl Read + Send + 'static) -> watch::Receiver<Vec<String>> {
    let (sender, lines) = watch::channel(Vec::new());
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            sender.send_modify(|lines| lines.push(text));
            line.clear();
        }
    });
    lines
}
