//! The `config` command.
