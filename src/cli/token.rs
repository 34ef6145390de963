//! The `token` command.

use std::process::ExitCode;

use crate::config::Config;

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {}

/// Not there yet.
///
/// # Errors
/// Always.
pub fn run(_args: &TokenArgs, _config: &Config) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not there yet")
}
