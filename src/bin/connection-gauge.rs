//! The sidecar `connection-gauge`: reads its pod's connection count and tells it to the fleet.
//! See the library's `gauge`.

use std::io::Write;
use std::process::ExitCode;

use tokio::runtime::Builder;
use websocket_service::cli;
use websocket_service::gauge::{self, Settings};

/// Threads for name lookups and nothing else; each costs memory.
const BLOCKING_THREADS: usize = 1;

fn main() -> ExitCode {
    let settings = match gauge::parse(std::env::args_os()) {
        Ok(settings) => settings,
        Err(error) => return cli::stop(&error),
    };
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error itself fails.
            let _ = writeln!(std::io::stderr(), "connection-gauge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> anyhow::Result<()> {
    if settings.redis.is_some() {
        // For rediss://. An error says that one is installed already, which nobody did before us.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let runtime =
        Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let outcome = runtime.block_on(gauge::run(settings));
    // A name lookup that hangs would hold the process back.
    runtime.shutdown_background();
    outcome
}
