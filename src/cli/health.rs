//! The `health` command: asks a running server whether it lives, for a container without a shell or curl.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::pods::own_url;
use crate::config::Config;
use crate::fetch::Fetch;

/// Below the 30 s after which a container's engine gives a check up by itself, so that the sentence is seen.
const BOUND: Duration = Duration::from_secs(5);

/// Asks a running server whether it lives.
#[derive(Debug, Clone, clap::Args)]
pub struct HealthArgs {
    /// What to ask, instead of /healthz on this machine's configured admin port
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Succeeds, without a word, when the answer is 200.
///
/// # Errors
/// When there is another answer, or none within five seconds.
pub async fn run(args: &HealthArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => format!("{}/healthz", own_url(&config.server)?),
    };
    Fetch::new(BOUND).ok(&url).await.context("not healthy")?;
    Ok(ExitCode::SUCCESS)
}
