//! `connection-gauge`: reads how many connections its pod holds, shows it, and tells the fleet through Redis.
//!
//! Two loops: `poll` asks the service and never waits for Redis; `report` passes on the latest answer and has its own
//! bounds. What they find out is in `state`, which `http` shows.

#[cfg(test)]
mod doc;
mod flags;
mod http;
mod poll;
mod report;
mod state;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use flags::{Identity, Settings, parse};

use self::report::Reporter;
use self::state::State;
use crate::fetch::Fetch;
use crate::signal::{Signal, Signals};
use crate::telemetry;

/// How long the service may take to say how it is; it answers from memory.
const ANSWER: Duration = Duration::from_secs(1);

/// Runs until it is told to leave and the service is gone, or until it is told twice.
///
/// # Errors
/// When the log, the signals or the port cannot be set up.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(&settings.telemetry)?;
    let mut signals = Signals::listen()?;
    let listener = http::bind(settings.address).await.with_context(|| {
        format!("cannot listen on {}: free it, or choose another by --host and --port", settings.address)
    })?;
    let address = listener.local_addr()?;
    let version = env!("CARGO_PKG_VERSION");
    info!(%address, status = settings.status_url, redis = settings.redis.is_some(), version, "listening");

    let state = Arc::new(State::new(&settings.identity));
    tokio::spawn(http::serve(listener, Arc::clone(&state)));

    let (readings, latest) = watch::channel(None);
    let gone = CancellationToken::new();
    let reporter = settings.redis.map(|redis| {
        let reporter = Reporter::new(redis, &settings.identity, Arc::clone(&state));
        tokio::spawn(reporter.run(latest, gone.clone()))
    });

    let (leaving, hurry) = (CancellationToken::new(), CancellationToken::new());
    let fetch = Fetch::new(ANSWER);
    let ask = async || fetch.json(&settings.status_url).await;
    let stay = async {
        let poll = poll::run(ask, &settings.identity, &state, &readings, &leaving);
        hurry.run_until_cancelled(poll).await;
        gone.cancel();
        if let Some(reporter) = reporter {
            // It fails only by a panic, which has been printed.
            let _ = reporter.await;
        }
    };
    tokio::select! {
        () = stay => {}
        () = obey(&mut signals, &leaving, &hurry) => {}
    }
    info!("stopped");
    Ok(())
}

/// SIGTERM: once the service is gone. It may come together with the service's own, whose drain is then to be followed to
/// its end. SIGINT: now. Resolves with a second signal, which waits for nothing.
async fn obey(signals: &mut Signals, leaving: &CancellationToken, hurry: &CancellationToken) {
    let signal = signals.next().await;
    info!(?signal, "asked to leave");
    match signal {
        Signal::Terminate => leaving.cancel(),
        Signal::Interrupt => hurry.cancel(),
    }
    let signal = signals.next().await;
    info!(?signal, "asked again; the report is left to expire");
}
