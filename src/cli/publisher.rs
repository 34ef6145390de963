//! The `publisher` command: shows the script with which back ends publish with history.

use std::io::Write;
use std::process::ExitCode;

use super::EXIT_USAGE;
use crate::config::Config;
use crate::history::{SendBy, publish_script};

/// What is said when it is not clear what to show.
const HELP: &str = "\
websocket-service: say what to show:
  websocket-service publisher --script > publish.lua
prints the Lua script that publishes with history, with the settings in force. From redis-cli:
  redis-cli --eval publish.lua ws:alice , '{\"n\":1}'
From a program: EVALSHA, or EVAL where Redis does not know it yet; docs/publishing.md shows how.
";

/// Arguments of `publisher`.
#[derive(Debug, Clone, clap::Args)]
pub struct PublisherArgs {
    /// Print the Lua script, with the size and age of history and the largest message as configured
    #[arg(long)]
    script: bool,
}

/// Prints the script.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &PublisherArgs, config: &Config) -> anyhow::Result<ExitCode> {
    if !args.script {
        // Not on standard output, which somebody may take for the script.
        std::io::stderr().write_all(HELP.as_bytes())?;
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let send = SendBy::for_redis(&config.backplane.reach);
    let script = publish_script(&config.history, send, config.session.max_message_bytes);
    std::io::stdout().write_all(script.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
