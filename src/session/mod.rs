//! One connection's life. What it does is decided in [`Machine`]; [`run`] only waits and moves frames.

mod catch_up;
mod closing;
mod hold;
mod machine;
mod outbox;
mod run;
pub mod transport;
mod v1;
mod write;

#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod v1_tests;

pub use catch_up::{CatchUp, page_limit};
pub use closing::{CLOSE_WAIT, close};
pub use machine::{Action, Machine, expiry};
pub use outbox::{Outbox, Push, Standing};
pub use run::{Ended, Surroundings, run};
pub use v1::{NotRenewed, Renewals, V1};
