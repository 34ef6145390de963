//! The `serve` command.
