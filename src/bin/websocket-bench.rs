//! Clients that measure and probe the service.

use std::io::Write;
use std::process::ExitCode;

use tokio::runtime::Builder;
use websocket_service::{bench, cli};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Threads for looking up names. A thousand connections may be lost at once, and each asks for the name anew.
const LOOKUPS: usize = 16;

fn main() -> ExitCode {
    // One provider for Redis over TLS; an error says that one is installed already, which nobody did before us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let command = match bench::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => return cli::stop(&error),
    };
    // One thread is enough for some ten thousand idle clients, and takes the least from the service next to it.
    let outcome = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(LOOKUPS)
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(bench::run(&command));
            // A look-up that nobody waits for any more must not hold the exit.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "websocket-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
