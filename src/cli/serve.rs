//! The `serve` command.

use std::process::ExitCode;

use tracing::{info, warn};

use crate::app;
use crate::config::Config;
use crate::drain::{Drain, Phase};
use crate::open_files;
use crate::signal::{Signal, Signals};
use crate::telemetry;

/// Open files besides the connections: listeners, Redis, requests of probes and publishers, with room to spare.
const OTHER_FILES: u64 = 200;

/// Serves until SIGTERM or SIGINT, then drains. Exits with 0 however the drain went.
///
/// # Errors
/// When the log, the signals or the service cannot be set up; nothing is served then.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let levels = telemetry::init(&config.telemetry)?;
    let signals = Signals::listen()?;
    let environment = config.environment;
    let needed = OTHER_FILES.saturating_add(config.limits.connections as u64);
    if let Some(files) = open_files::raise().filter(|files| *files < needed) {
        warn!(
            files,
            needed, "too few files may be open for MAX_CONNECTIONS: raise the hard limit (ulimit -Hn)"
        );
    }
    let bound = app::build(config, levels).await?;

    let app::Addresses { public, admin } = bound.addresses;
    info!(%public, %admin, ?environment, version = env!("CARGO_PKG_VERSION"), "listening");
    if let Some(url) = &bound.try_url {
        info!(
            "development: the token's key is made up; try http://localhost:{}/ or connect to {url}",
            public.port()
        );
    }
    let leave = obey(signals, bound.drain.clone());
    bound.run(leave).await;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Turns signals into the drain's steps; resolves when the process was asked to leave and the drain is through.
async fn obey(mut signals: Signals, drain: Drain) {
    let mut asked = false;
    loop {
        tokio::select! {
            () = drain.reached(Phase::Drained), if asked => return,
            signal = signals.next() => {
                info!(?signal, "asked to leave");
                drain.start();
                if asked || signal == Signal::Interrupt {
                    drain.hurry();
                }
                asked = true;
            }
        }
    }
}
