//! The service as a process of its own, for what only a process has: its log, its exit.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::service::{API_KEY, SECRET};
use super::{LOCAL, eventually};

/// A running process. Dropping it kills it.
pub(crate) struct Process {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Process {
    /// Starts it with a JSON log at `TRACE`, and waits until it listens.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let own = [
            ("ENVIRONMENT", "testing"),
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("ADMIN_PORT", "0"),
            ("JWT_SECRET_KEY", SECRET),
            ("API_KEY", API_KEY),
            ("LOG_FORMAT", "json"),
            ("LOG_LEVEL", "TRACE"),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_websocket-service"))
            .env_clear()
            .envs(
                own.iter().chain(settings).map(|(name, value)| (format!("WEBSOCKET_SERVICE_{name}"), value)),
            )
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("started");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, seen) = (child.stdout.take().expect("a pipe"), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                seen.lock().push(line);
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Self { public: nowhere, admin: nowhere, child, lines, _folder: folder };
        eventually("the process listens", LOCAL, async || process.find("listening").is_some()).await;
        let listening = process.find("listening").expect("seen above");
        let address = |name: &str| {
            // In JSON a field; in text `name=value`.
            let after = &listening[listening.find(name).expect("an address") + name.len()..];
            let text: String = after.chars().skip_while(|c| !c.is_ascii_digit()).collect();
            let end = text.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c))).unwrap_or(text.len());
            text[..end].parse().expect("an address")
        };
        (process.public, process.admin) = (address("public"), address("admin"));
        process
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// The first line that holds `part`.
    pub(crate) fn find(&self, part: &str) -> Option<String> {
        self.lines.lock().iter().find(|line| line.contains(part)).cloned()
    }

    /// Waits for lines that hold `part`, and returns all that do.
    pub(crate) async fn logged(&self, part: &str) -> Vec<Value> {
        eventually(part, LOCAL, async || self.find(part).is_some()).await;
        let lines = self.log();
        let parse = |line: &String| serde_json::from_str(line).expect("a line of JSON");
        lines.iter().filter(|line| line.contains(part)).map(parse).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
