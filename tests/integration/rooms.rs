//! Who may know whom: the rooms of the source, and the crates that only one of them touches.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::program::repository;

/// What each room may use of the others. A room that is not named here fails the test: its place is to be decided.
const MAY_KNOW: &[(&str, &[&str])] = &[
    // Pure types and small values, below everything.
    ("protocol", &[]),
    ("backoff", &[]),
    ("fetch", &[]),
    ("memory", &[]),
    ("open_files", &[]),
    ("rate_limit", &[]),
    ("readiness", &[]),
    ("signal", &[]),
    ("told", &[]),
    ("config", &["protocol"]),
    ("tls", &["config"]),
    ("metrics", &["protocol"]),
    ("trace", &["config", "protocol", "tls"]),
    // The parts, none of which knows how another does its work.
    ("auth", &["backoff", "config", "protocol", "tls", "told"]),
    ("history", &["config", "protocol"]),
    ("session", &["backoff", "config", "history", "metrics", "protocol", "rate_limit", "trace"]),
    ("hub", &["config", "metrics", "protocol", "session"]),
    ("backplane", &["backoff", "config", "history", "protocol", "tls", "told", "trace"]),
    // An event is the log line and the counters of what a part did, so it sees their values.
    ("telemetry", &["backplane", "config", "hub", "metrics", "protocol", "rate_limit", "session", "trace"]),
    ("drain", &["config", "hub", "metrics", "protocol", "session", "telemetry", "trace"]),
    // The pods from outside: what they report, or answer.
    ("fleet", &["backplane", "config", "fetch", "protocol"]),
    // What puts the parts together.
    (
        "server",
        &[
            "auth",
            "backplane",
            "config",
            "drain",
            "history",
            "hub",
            "memory",
            "metrics",
            "protocol",
            "rate_limit",
            "readiness",
            "session",
            "telemetry",
            "trace",
        ],
    ),
    (
        "app",
        &[
            "auth",
            "backplane",
            "config",
            "drain",
            "history",
            "hub",
            "memory",
            "metrics",
            "protocol",
            "readiness",
            "server",
            "telemetry",
            "tls",
            "told",
            "trace",
        ],
    ),
    // The other programs, none of which knows another.
    (
        "gauge",
        &["backoff", "backplane", "config", "fetch", "metrics", "protocol", "signal", "telemetry", "told"],
    ),
    (
        "adapter",
        &[
            "backoff",
            "backplane",
            "config",
            "fetch",
            "protocol",
            "rate_limit",
            "readiness",
            "server",
            "signal",
            "telemetry",
            "tls",
            "told",
        ],
    ),
    // It stands where a front end does: of the service it knows what travels.
    ("client", &["backoff", "protocol"]),
    (
        "bench",
        &[
            "auth",
            "backoff",
            "backplane",
            "client",
            "config",
            "fetch",
            "history",
            "open_files",
            "protocol",
            "signal",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "auth",
            "backplane",
            "config",
            "drain",
            "fetch",
            "fleet",
            "history",
            "open_files",
            "protocol",
            "signal",
            "telemetry",
        ],
    ),
];

/// Crates and modules that only these places touch. Each is a file, or a folder with a slash at its end.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("axum", &["adapter/", "server/"]),
    ("hyper", &["adapter/serve.rs", "gauge/http.rs", "server/"]),
    // The URL's form is checked with the crate that will read it.
    (
        "redis",
        &[
            "adapter/control/redis.rs",
            "backplane/",
            "bench/deliver/link.rs",
            "config/parse.rs",
            "fleet/",
            "gauge/report.rs",
        ],
    ),
    (
        "tokio_tungstenite",
        &["bench/", "client/", "session/transport/", "protocol/payload.rs", "server/handshake.rs"],
    ),
    ("hdrhistogram", &["bench/latency.rs"]),
    ("indicatif", &["bench/output/"]),
    ("ratatui", &["cli/top/"]),
    ("crossterm", &["cli/top/"]),
    ("serde_yaml", &["config/yaml.rs"]),
    ("jsonwebtoken", &["auth/", "config/keys.rs", "cli/token.rs", "bin/"]),
    ("prometheus", &["adapter/", "metrics/"]),
    ("opentelemetry", &["trace/"]),
    ("opentelemetry_otlp", &["trace/export.rs"]),
    ("tikv_jemalloc_ctl", &["metrics/allocator.rs"]),
    (
        "clap",
        &["adapter/settings", "bench/", "cli/", "config/reach_args.rs", "gauge/flags.rs", "gauge/doc.rs"],
    ),
    // The service itself needs no Kubernetes.
    ("kube", &["adapter/"]),
    ("k8s_openapi", &["adapter/"]),
    (
        "rustls",
        &[
            "adapter/",
            "auth/jwks/download.rs",
            "backplane/redis/tls.rs",
            "bin/",
            "config/pem.rs",
            "tls/",
            "trace/export.rs",
        ],
    ),
    ("tokio_rustls", &["adapter/serve.rs", "app/entrance.rs", "backplane/redis/dial.rs", "server/"]),
    ("rustls_native_certs", &["tls/system.rs"]),
    ("proxy_header", &["server/proxy_protocol.rs"]),
    ("x509_parser", &["adapter/caller.rs"]),
    // The URL's form is checked with the crate that will read it.
    // Settings come from one loader, so that tests need no process environment. The others are the program's own
    // arguments, and the switch that writes generated pages.
    ("std::env", &["config/source.rs", "bin/", "generated.rs"]),
];

/// Every source file, by its path below `src`, without comments.
fn sources() -> BTreeMap<String, String> {
    let root = repository().join("src");
    let mut files = BTreeMap::new();
    collect(&root, &root, &mut files);
    assert!(files.len() > 50, "the sources are elsewhere");
    files
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.strip_prefix(root).expect("below src").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("UTF-8");
            let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            files.insert(name, code.collect::<Vec<_>>().join("\n"));
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// What follows each `path::` that begins there: `redis` is the crate, and not the module of `backplane::redis`.
fn uses<'a>(code: &'a str, path: &str) -> Vec<&'a str> {
    let path = format!("{path}::");
    code.match_indices(&path)
        .filter(|(at, _)| {
            let before = &code[..*at];
            // `::redis::` is the crate as well; `a::redis::` is not.
            let before = before.strip_suffix("::").unwrap_or(before);
            !before.ends_with(is_word)
        })
        .map(|(at, _)| &code[at + path.len()..])
        .collect()
}

fn room(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

#[test]
fn rooms_know_only_whom_they_may() {
    let allowed: BTreeMap<_, _> = MAY_KNOW.iter().copied().collect();
    let mut broken = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (file, code) in sources() {
        let own = room(&file).to_owned();
        // The table of contents, and the programs' `main`, which only start a command.
        if ["lib", "bin", "generated"].contains(&own.as_str()) {
            continue;
        }
        let Some(may) = allowed.get(own.as_str()) else {
            broken.insert(format!("{file}: the room {own} has no place in the table"));
            continue;
        };
        seen.insert(own.clone());
        for rest in uses(&code, "crate") {
            let other = rest.split(|c| !is_word(c)).next().unwrap_or_default();
            assert!(!other.is_empty(), "{file}: name one room a `use crate::` line");
            // How tests write generated pages; no part of the program.
            let allowed_to_all = other == "generated";
            if other != own && !allowed_to_all && !may.contains(&other) {
                broken.insert(format!("{file}: {own} must not know {other}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(seen.len(), MAY_KNOW.len(), "a room of the table is gone");
}

#[test]
fn crates_stay_where_they_belong() {
    let sources = sources();
    let mut broken = Vec::new();
    for (name, places) in ONLY_IN {
        for place in *places {
            let used =
                sources.iter().any(|(file, code)| file.starts_with(place) && !uses(code, name).is_empty());
            assert!(used, "{name} is not used in {place} any more: take it out of the table");
        }
        for (file, code) in &sources {
            if !uses(code, name).is_empty() && !places.iter().any(|place| file.starts_with(place)) {
                broken.push(format!("{file} uses {name}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_check_sees_what_it_should() {
    assert_eq!(uses("use ::redis::x; use redis::y;\nlet a = redis::z", "redis").len(), 3);
    assert!(uses("use crate::backplane::redis::x; my_redis::y; redis_x::z", "redis").is_empty());
    assert_eq!(uses("crate::hub::Hub", "crate"), ["hub::Hub"]);
    assert_eq!((room("hub/mod.rs"), room("signal.rs")), ("hub", "signal"));
}
