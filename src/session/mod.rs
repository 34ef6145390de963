//! One connection's life. What it does is decided in [`Machine`]; [`run`] only waits and moves frames.

mod closing;
mod machine;
mod outbox;
mod run;
pub mod transport;

#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;

pub use closing::{CLOSE_WAIT, close};
pub use machine::{Action, Machine, expiry};
pub use outbox::{Outbox, Push};
pub use run::{Ended, Surroundings, run};
