//! The `publish` command.

use std::process::ExitCode;

use crate::config::Config;

/// Arguments of `publish`.
#[derive(Debug, clap::Args)]
pub struct PublishArgs {}

/// Not there yet.
///
/// # Errors
/// Always.
pub async fn run(_args: &PublishArgs, _config: Config) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not there yet")
}
