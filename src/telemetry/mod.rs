//! What is logged, and how: the subscriber, its level that can be changed at run time, and the events.

pub mod events;
mod level;
mod throttle;

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

use crate::config::{LogFormat, TelemetryConfig};
pub use level::{LevelError, Levels};
use throttle::Throttle;

/// Installs the process's subscriber and returns the handle that changes its levels.
///
/// # Errors
/// When a subscriber is installed already.
pub fn init(config: &TelemetryConfig) -> Result<Levels, tracing_subscriber::util::TryInitError> {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(level::directives(config.level, &[])));
    let lines = match config.format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stdout).boxed(),
        LogFormat::Text => {
            let lines = fmt::layer().with_target(false).with_writer(io::stdout);
            // A file or a collector would keep the escapes; a terminal may still refuse them by NO_COLOR.
            if io::stdout().is_terminal() { lines.boxed() } else { lines.with_ansi(false).boxed() }
        }
    };
    let throttle = Throttle::default();
    let left_out = throttle.left_out();
    tracing_subscriber::registry().with(lines.with_filter(filter.and(throttle))).try_init()?;
    Ok(Levels::new(
        config.level,
        left_out,
        Some(Box::new(move |directives| {
            // Fails only when the subscriber is gone, and with it the log.
            let _ = handle.reload(EnvFilter::new(directives));
        })),
    ))
}
