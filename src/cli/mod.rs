//! The command line: `serve` (the default) and what an operator needs at hand.

pub mod config;
pub mod publish;
pub mod serve;
pub mod token;
