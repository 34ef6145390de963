//! The program as a pod runs it.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::world::Authority;
use crate::support::program::Program;
use crate::support::{LOCAL, eventually, http};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metrics-adapter"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    // Where coverage is measured, the process's counts as well.
    #[expect(clippy::disallowed_methods, reason = "no setting of the adapter")]
    if let Some(file) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", file);
    }
    command
}

#[tokio::test]
async fn wrong_usage_is_told_with_exit_code_64() {
    for (arguments, says) in [
        (&["--deployment=ws", "--selector=app=ws"][..], "--namespace"),
        (&["--namespace=ns", "--deployment=ws", "--selector=app=ws", "--tls-key=k"], "--tls-certificate"),
        (&["--namespace=ns", "--deployment=ws", "--selector=,"], "--selector"),
        (&["--replicas=3"], "--replicas"),
    ] {
        let mut program = Program::start(&mut command(arguments));
        program.notes(says, LOCAL).await;
        assert_eq!(program.exit_code().await, Some(64), "{}", program.text());
    }
}

#[tokio::test]
async fn it_stays_up_without_kubernetes_and_leaves_on_sigterm() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = Authority::new().server_pem();
    fs::write(folder.path().join("tls.crt"), certificate).expect("written");
    fs::write(folder.path().join("tls.key"), key).expect("written");
    // Nothing listens on port 9 here, or at least no API server.
    let config = "{apiVersion: v1, kind: Config, current-context: c, \
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}], \
        contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}]}";
    fs::write(folder.path().join("config"), config).expect("written");

    let mut command = command(&["--host=127.0.0.1", "--port=0", "--health-port=0"]);
    command.current_dir(folder.path()).env("KUBECONFIG", folder.path().join("config"));
    for (name, value) in [
        ("POD_NAMESPACE", "ns"),
        ("METRICS_ADAPTER_DEPLOYMENT", "ws"),
        ("METRICS_ADAPTER_SELECTOR", "app=ws"),
        ("METRICS_ADAPTER_TLS_CERTIFICATE", "tls.crt"),
        ("METRICS_ADAPTER_TLS_KEY", "tls.key"),
    ] {
        command.env(name, value);
    }
    let mut program = Program::start(&mut command);
    let line = program.says("listening", LOCAL).await;
    let line: Value = serde_json::from_str(&line).expect("a JSON line");
    let health = line["health"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let reasons = async || http::request(health, "GET", "/readyz", &[], b"").await.json()["reasons"].clone();
    eventually("the certificate is read", LOCAL, async || {
        reasons().await == serde_json::json!(["front_proxy_rules", "fleet"])
    })
    .await;
    assert_eq!(http::request(health, "GET", "/healthz", &[], b"").await.status, 200);

    program.signal("TERM");
    program.says("asked to leave", LOCAL).await;
    // The log line comes first, by a moment.
    eventually("it says so", LOCAL, async || reasons().await[0] == "leaving").await;
    assert_eq!(program.exit_code().await, Some(0), "{}", program.text());
}
