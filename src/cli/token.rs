//! The `token` command.
