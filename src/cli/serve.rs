//! The `serve` command.

use std::process::ExitCode;

use crate::config::Config;

/// Not there yet.
///
/// # Errors
/// Always.
pub async fn run(_config: Config) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not there yet")
}
