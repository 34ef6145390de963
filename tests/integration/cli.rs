//! The program as an operator meets it: exit codes, and what is said where.

use std::path::Path;
use std::process::{Command, Output};

struct Shell {
    folder: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("written");
    }

    /// Runs in a folder and an environment of its own.
    fn run(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_websocket-service"))
            .env_clear()
            .envs(environment.iter().copied())
            .current_dir::<&Path>(self.folder.path())
            .args(arguments)
            .output()
            .expect("started")
    }
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_sound_configuration_is_valid() {
    let (code, out, err) = told(&Shell::new().run(&[], &["config", "--check"]));
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "configuration is valid\n", ""));
}

#[test]
fn help_and_version_are_no_errors() {
    for (argument, part) in
        [("--help", "--max-connections"), ("-h", "publish"), ("--version", env!("CARGO_PKG_VERSION"))]
    {
        let (code, out, err) = told(&Shell::new().run(&[], &[argument]));
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.contains(part), "{out}");
    }
}

#[test]
fn wrong_usage_ends_with_64() {
    for arguments in [&["--max-conections", "5"][..], &["sevre"], &["--port"], &["config", "more"]] {
        let (code, out, err) = told(&Shell::new().run(&[], arguments));
        assert_eq!((code, out.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(err.starts_with("error: "), "{err}");
    }
}

#[test]
fn every_fault_of_every_source_is_told_at_once_without_secrets() {
    let shell = Shell::new();
    shell.write(".env", "WEBSOCKET_SERVICE_ECHO=perhaps\nWEBSOCKET_SERVICE_API_KEY='hush\n");
    shell.write("settings.yaml", "max_connections: many\n");
    let environment = [
        ("WEBSOCKET_SERVICE_PORT", "abc"),
        ("WEBSOCKET_SERVICE_CHANNEL_PREFIX", "hush"),
        ("WEBSOCKET_SERVICE_REDIS_URL", "http://:hush@redis"),
    ];
    let arguments = ["config", "--check", "--config", "settings.yaml", "--drain-close-code", "1000"];
    let (code, out, err) = told(&shell.run(&environment, &arguments));
    assert_eq!((code, out.as_str()), (Some(64), ""));
    let parts = [
        "7 faults",
        "ECHO (.env WEBSOCKET_SERVICE_ECHO)",
        ".env: line 2",
        "MAX_CONNECTIONS (settings.yaml: max_connections)",
        "PORT (environment WEBSOCKET_SERVICE_PORT)",
        "WEBSOCKET_SERVICE_WEBSOCKET_CHANNEL_PREFIX",
        "REDIS_URL (environment WEBSOCKET_SERVICE_REDIS_URL)",
        "DRAIN_CLOSE_CODE (flag --drain-close-code)",
    ];
    for part in parts {
        assert!(err.contains(part), "{part} in {err}");
    }
    assert!(!err.contains("hush"), "{err}");
}

#[test]
fn every_command_refuses_a_bad_configuration() {
    for arguments in [&[][..], &["serve"], &["config"]] {
        let (code, _, err) =
            told(&Shell::new().run(&[("WEBSOCKET_SERVICE_ENVIRONMENT", "production")], arguments));
        assert_eq!(code, Some(64));
        assert!(err.contains("JWT_SECRET_KEY (not set)"), "{err}");
    }
}

#[test]
fn a_config_file_that_is_not_there_is_a_fault() {
    let (code, _, err) = told(&Shell::new().run(&[], &["config", "--config", "no.yaml"]));
    assert_eq!(code, Some(64));
    assert!(err.contains("no.yaml: cannot be read"), "{err}");
}

#[test]
fn sources_of_the_process_are_laid_over_each_other() {
    let shell = Shell::new();
    shell.write(".env", "WEBSOCKET_SERVICE_HOST=127.0.0.3\nWEBSOCKET_SERVICE_MAX_CONNECTIONS=3\nOTHER=1\n");
    shell.write("settings.yaml", "host: 127.0.0.2\nmax_connections: 2\nadmin_port: 2\n");
    let environment = [
        ("WEBSOCKET_SERVICE_HOST", "127.0.0.4"),
        // What Kubernetes adds for a Service of our name.
        ("WEBSOCKET_SERVICE_PORT", "tcp://10.0.0.1:8004"),
        ("WEBSOCKET_SERVICE_SERVICE_HOST", "10.0.0.1"),
    ];
    let (code, out, err) =
        told(&shell.run(&environment, &["--config=settings.yaml", "config", "--port", "5"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let line = |name: &str| {
        let words = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        words.into_iter().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_default()
    };
    assert_eq!(line("PORT"), "PORT 5 flag --port");
    assert_eq!(line("HOST"), "HOST 127.0.0.4 environment WEBSOCKET_SERVICE_HOST");
    assert_eq!(line("MAX_CONNECTIONS"), "MAX_CONNECTIONS 3 .env WEBSOCKET_SERVICE_MAX_CONNECTIONS");
    assert_eq!(line("ADMIN_PORT"), "ADMIN_PORT 2 settings.yaml: admin_port");
    assert_eq!(line("ECHO"), "ECHO true default");
}
