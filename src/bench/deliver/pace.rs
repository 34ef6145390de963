//! The times at which messages are published: at a rate, or whenever there is room.

use std::time::Duration;

use tokio::time::{Interval, interval};

use super::args::{DeliverArgs, Pace};
use super::publisher::Lanes;
use super::tally::Tally;

/// When to publish.
pub(super) enum Publishing {
    Not,
    /// So many with each tick.
    Paced(Interval, u32),
    /// So many when they fit into the window: messages, deliveries, window.
    Saturated(u32, u64, u64),
}

impl Publishing {
    /// Begins: the first time is at once, where the window lets it.
    pub(super) fn start(args: &DeliverArgs) -> Self {
        let burst = args.burst().unwrap_or(1);
        match args.publish_rate {
            // A tick that came late is made up for, so the rate holds.
            Pace::Rate(rate) => Self::Paced(interval(Duration::from_secs(1) * burst / rate), burst),
            Pace::Max => {
                let deliveries = u64::from(burst) * u64::from(args.crowd.fan_out());
                Self::Saturated(burst, deliveries, args.window.into())
            }
        }
    }

    /// Messages at a time.
    pub(super) fn burst(&self) -> u32 {
        match self {
            Self::Not => 0,
            Self::Paced(_, burst) | Self::Saturated(burst, ..) => *burst,
        }
    }

    /// Waits for the next time. Nothing is lost when this is cancelled.
    pub(super) async fn ready(&mut self, tally: &Tally, lanes: &Lanes) {
        match self {
            Self::Not => std::future::pending().await,
            Self::Paced(interval, _) => drop(interval.tick().await),
            Self::Saturated(burst, deliveries, window) => {
                tally.room(*deliveries, *window).await;
                lanes.room(*burst).await;
            }
        }
    }
}
