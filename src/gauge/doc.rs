//! `docs/connection-gauge.md`, from the flags.

use std::fmt::Write;

use clap::CommandFactory;

use super::flags::Flags;
use crate::generated::assert_current;

const INTRODUCTION: &str = "\
<!-- Generated from src/gauge/ by `make docs`. Do not edit. -->

# connection-gauge

The sidecar of a pod. Every 2 s it asks the service's `/status` how many connections are open, shows the answer on its own
`/metrics`, and writes it to Redis, where the metrics adapter, the other sidecars and `websocket-service top` read it. It
needs no rights in Kubernetes; a limit of 16 MiB of memory is meant to be enough.

| path | answer |
| --- | --- |
| `/metrics` | [metrics](metrics.md#of-the-sidecar) |
| `/gauge` | the last report; 503 when it is older than 15 s |
| `/healthz` | 200 while the loop turns, whatever the service and Redis do; 503 when it has not for 30 s. For a liveness probe; a readiness probe would hold the pod back |

## In Redis

| key | value |
| --- | --- |
| `websocket-service:gauge:UID` | the report as JSON: `pod`, `namespace`, `node`, `connections`, `limit`, `draining`, `revision`, `at` (milliseconds since 1970); where known `users`, `messages_sent` (since the start), `outbox_bytes`, `backplane`, `version`, `admin` (where other pods reach port 9004); expires after 15 s |
| `websocket-service:fleet:NAMESPACE/FLEET` | sorted set of the UIDs by the time of their last report; expires after 60 s |

An ACL needs `~websocket-service:*` and `+set +get +del +zadd +zrem +zremrangebyscore +zrange +pexpire`, besides what the
connection takes (`+hello +client|setname +client|setinfo`). `websocket-service top` and `connections` read both keys, with
`+zrange +get`.

While Redis is away the metrics stay, `connection_gauge_redis_up` is 0, and it is tried again with growing delays of at
most 5 s. While the service does not answer nothing is reported, and the last report expires.

## Its end

After SIGTERM it stays while the service still answers, so that a drain is seen to its end; then it takes its report back
and exits with 0. A second SIGTERM ends it at once; the report then expires.

## Flags

A flag beats its variable. A usage error ends it with exit code 64.

| flag | environment | default | meaning |
| --- | --- | --- | --- |
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for flag in Flags::command().get_arguments() {
        let Some(name) = flag.get_long().filter(|name| !["help", "version"].contains(name)) else { continue };
        let variable = flag.get_env().unwrap_or_default().to_string_lossy();
        let default = match flag.get_default_values() {
            [value] if !value.is_empty() => format!("`{}`", value.to_string_lossy()),
            _ => String::new(),
        };
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "| `--{name}` | `{variable}` | {default} | {help}. |");
    }
    page
}

#[test]
fn generated_page_is_current() {
    assert_current("docs/connection-gauge.md", &page());
}
