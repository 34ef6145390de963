//! The terminal: keys come in, the screen goes out, and it is left as it was found.

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::screen::{Pressed, Screen};
use crate::fleet::{ReadError, View};
use crate::signal::Signals;

/// Shows views until somebody leaves, or asks the process to.
///
/// # Errors
/// When the terminal cannot be used.
pub(super) async fn run(
    first: View,
    mut views: mpsc::Receiver<Result<View, ReadError>>,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    // Before the first change, so that half of them are taken back too. A panic is seen to by the crate.
    let _restored = Restored;
    let mut terminal = ratatui::try_init()?;
    let mut keys = EventStream::new();
    let mut screen = Screen::new(first);
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        tokio::select! {
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) => {
                    if screen.press(key) == Pressed::Leave {
                        return Ok(());
                    }
                }
                // A new size is seen by the next drawing.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            _ = signals.next() => return Ok(()),
            outcome = views.recv() => match outcome {
                Some(Ok(view)) => screen.show(view),
                Some(Err(error)) => screen.fail(&error.to_string(), OffsetDateTime::now_utc()),
                None => return Ok(()),
            },
        }
    }
}

/// Gives the terminal back when dropped.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        // Nobody is left to tell when the terminal itself fails.
        let _ = ratatui::try_restore();
    }
}
