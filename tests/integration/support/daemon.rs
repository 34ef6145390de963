//! The real program as a pod runs it: a process, its settings in the environment, signals.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::http::{self, Answer};
use super::program::Program;
use super::redis::free_port;
use super::service::{API_KEY, SECRET, bearer, token};
use super::{LOCAL, eventually, within};

/// A running service, killed when dropped.
pub(crate) struct Daemon {
    pub(crate) program: Program,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    _folder: TempDir,
}

impl Daemon {
    /// In `testing`, with settings as `("MAX_CONNECTIONS", "5")` on top of the tests' own; serving when this returns.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::run(&with_own(settings)).await
    }

    /// In `development`, with a made-up key.
    pub(crate) async fn development() -> Self {
        Self::run(&[("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0")]).await
    }

    /// The same, started by a shell after it did `first` (`ulimit -n 100`), or with `first` behind the command (`>file`).
    pub(crate) async fn start_by_shell(first: &str, settings: &[(&str, &str)]) -> Self {
        let [public, admin] = [free_port(), free_port()];
        let ports = [("PORT", public.to_string()), ("ADMIN_PORT", admin.to_string())];
        let ports = ports.each_ref().map(|(name, port)| (*name, port.as_str()));
        let service = command(&with_own(&[settings, &ports].concat()), &[]);
        let folder = tempfile::tempdir().expect("a folder");
        let script = match first.strip_prefix('>') {
            Some(_) => format!("exec \"$0\" {first}"),
            None => format!("{first} && exec \"$0\""),
        };
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().args(["-c", &script]).arg(service.get_program()).current_dir(folder.path());
        shell.envs(service.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let process = Self {
            program: Program::start(&mut shell),
            public: address(public),
            admin: address(admin),
            _folder: folder,
        };
        eventually("the process answers", LOCAL, async || {
            http::try_get(process.admin, "/readyz").await.is_some_and(|answer| answer.status == 200)
        })
        .await;
        process
    }

    async fn run(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut program = Program::start(command(settings, &[]).current_dir(folder.path()));
        let line = program.says("listening", LOCAL).await;
        let process =
            Self { public: port(&line, "public"), admin: port(&line, "admin"), program, _folder: folder };
        within("the process is ready or says why not", LOCAL, async {
            while http::try_get(process.admin, "/readyz").await.is_none() {}
        })
        .await;
        process
    }

    /// The URL of `/ws` with a good token for a user.
    pub(crate) fn url(&self, user: &str) -> String {
        format!("ws://{}/ws?token={}", self.public, token(user))
    }

    /// Connects as a user with a good token.
    pub(crate) async fn connect(&self, user: &str) -> Client {
        Client::connect(&self.url(user)).await.unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    /// Publishes through the HTTP API.
    pub(crate) async fn publish(&self, user: &str, payload: &str) -> Answer {
        let path = format!("/v1/users/{}/messages", http::escape(user));
        http::request(self.public, "POST", &path, &[("authorization", &bearer())], payload.as_bytes()).await
    }

    /// A GET on the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        http::request(self.admin, "GET", path, &[], b"").await
    }

    /// Why it is unready; nothing where it is ready.
    pub(crate) async fn unready(&self) -> Vec<String> {
        let answer = self.admin("/readyz").await;
        let reasons: Vec<String> =
            serde_json::from_value(answer.json()["reasons"].clone()).expect("a list of names");
        assert_eq!(answer.status, if reasons.is_empty() { 200 } else { 503 });
        reasons
    }
}

/// The program with these settings in an environment that holds nothing else, and its arguments.
pub(crate) fn command(settings: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_websocket-service"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    // Where coverage is measured, the process's counts as well.
    #[expect(clippy::disallowed_methods, reason = "no setting of the service")]
    if let Some(file) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", file);
    }
    for (name, value) in settings {
        let ours =
            if name.starts_with("OTEL_") || name.starts_with("SSL_") { "" } else { "WEBSOCKET_SERVICE_" };
        command.env(format!("{ours}{name}"), value);
    }
    command
}

/// The tests' own settings under these; a secret given as a file takes the place of the tests' own.
pub(crate) fn with_own<'a>(settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = [
        ("ENVIRONMENT", "testing"),
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("JWT_SECRET_KEY", SECRET),
        ("API_KEY", API_KEY),
        ("DRAIN_LAME_DUCK_SECONDS", "0"),
    ];
    let given = |name: &str| settings.iter().any(|(other, _)| other.trim_end_matches("_FILE") == name);
    own.into_iter().filter(|(name, _)| !given(name)).chain(settings.iter().copied()).collect()
}

/// An address out of the line that tells them, in either format.
fn port(line: &str, name: &str) -> SocketAddr {
    let address = match serde_json::from_str::<Value>(line) {
        Ok(fields) => fields[name].as_str().unwrap_or_default().to_owned(),
        Err(_) => {
            let field = format!("{name}=");
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(&field));
            word.unwrap_or_default().to_owned()
        }
    };
    address.parse().unwrap_or_else(|_| panic!("no {name} address in {line}"))
}
