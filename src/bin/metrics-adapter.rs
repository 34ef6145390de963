//! See the library's `adapter`.

use std::io::Write;
use std::process::ExitCode;

use tokio::runtime::Builder;
use websocket_service::adapter::{self, settings::Settings};
use websocket_service::cli;

/// A few requests a minute and a handful of watches: more would only be idle.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    // One provider for TLS. An error says that one is installed already, which nobody did before us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let settings = match Settings::parse(std::env::args_os()) {
        Ok(settings) => settings,
        Err(error) => return cli::stop(&error),
    };
    serve(settings).unwrap_or_else(|error| {
        // Nobody is left to tell when standard error itself fails.
        let _ = writeln!(std::io::stderr(), "metrics-adapter: {error:#}");
        ExitCode::FAILURE
    })
}

fn serve(settings: Settings) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    runtime.block_on(adapter::run(settings))
}
