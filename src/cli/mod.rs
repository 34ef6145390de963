//! The command line: `serve` (the default) and what an operator needs at hand.
//!
//! Each command lives in its own file. The flags of settings are made from the declared table, so that they cannot
//! differ from the other spellings, and hold for every command.

pub mod config;
pub mod connections;
pub mod health;
mod pods;
pub mod publish;
pub mod publisher;
pub mod serve;
mod text;
pub mod token;
pub mod top;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Faults, Form, Initial, Kind, SETTINGS, Setting, kebab};

/// Exit code of a usage error and of a bad configuration: `EX_USAGE` of sysexits.
pub const EXIT_USAGE: u8 = 64;

const EPILOGUE: &str = "\
Settings also come from the environment (WEBSOCKET_SERVICE_MAX_CONNECTIONS=5000), from .env in the working directory and \
from the YAML file of --config (max_connections: 5000). Flags beat the environment, that beats .env, that beats YAML. \
--help lists every setting; docs/settings.md tells more.

Exit codes: 0 done, 1 failed, 64 wrong usage or bad configuration.";

/// WebSocket notifications for Kubernetes: clients connect with a JWT, back ends publish to Redis.
#[derive(Debug, Parser)]
#[command(name = "websocket-service", version, max_term_width = 110, after_help = EPILOGUE)]
struct Cli {
    /// YAML file with settings, at most 1 MiB.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve connections until SIGTERM; what happens when no command is given.
    Serve,
    /// Make a token to try things with, or say what is wrong with one.
    Token(token::TokenArgs),
    /// Publish a message to a user, as a back end would.
    Publish(publish::PublishArgs),
    /// Print the script with which back ends publish with history.
    Publisher(publisher::PublisherArgs),
    /// Show the settings in force and where each came from.
    Config(config::ConfigArgs),
    /// Ask the server on this machine whether it lives: exit code 0 says that it does.
    Health(health::HealthArgs),
    /// Watch the fleet: its pods, their connections, messages a second, and what is wrong with which.
    Top(top::TopArgs),
    /// Where a user is connected, how far it got, and why its last connection was closed.
    Connections(connections::ConnectionsArgs),
}

/// The command line, understood.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// The file of `--config`.
    pub config: Option<PathBuf>,
    /// Flags of settings as given, without their dashes, for [`crate::config::Sources::from_process`].
    pub flags: Vec<(String, String)>,
}

/// Reads the command line; the first argument is the program's name.
///
/// # Errors
/// What is to be shown instead of going on: a usage error, the help or the version. See [`stop`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let mut matches = command().try_get_matches_from(arguments)?;
    let flags = setting_flags(&matches);
    let cli = Cli::from_arg_matches_mut(&mut matches)?;
    Ok(Invocation { command: cli.command.unwrap_or(Command::Serve), config: cli.config, flags })
}

/// The whole command line, with a flag for every form of every setting.
fn command() -> clap::Command {
    let flags = SETTINGS.iter().flat_map(|setting| setting.forms().iter().map(|form| flag(setting, *form)));
    Cli::command().args(flags)
}

fn flag(setting: &Setting, form: Form) -> Arg {
    let name = kebab(&setting.key(form));
    // The documentation's backticks are noise in a terminal.
    let help = match (form, setting.initial) {
        (Form::File, _) => format!("File that holds --{}", kebab(setting.name)),
        (Form::InPlace, Initial::Default(default)) => {
            format!("{} [{}; default: {default}]", setting.doc, setting.values())
        }
        (Form::InPlace, Initial::Unset(_)) if setting.is_secret() => {
            format!("{} Other users may see flags: the environment or --{name}-file is better.", setting.doc)
        }
        (Form::InPlace, Initial::Unset(_)) => format!("{} [{}]", setting.doc, setting.values()),
    };
    // Some fifty flags would bury the commands, so -h leaves them out.
    Arg::new(name.clone())
        .long(name)
        .value_name(value_name(setting.kind, form))
        .help(help.replace('`', ""))
        .help_heading(setting.group.title())
        .global(true)
        .hide_short_help(true)
}

fn value_name(kind: Kind, form: Form) -> &'static str {
    match (kind, form) {
        (_, Form::File) => "FILE",
        (Kind::Number(..) | Kind::Limit(_), _) => "NUMBER",
        (Kind::Bytes(..), _) => "BYTES",
        (Kind::Seconds(..), _) => "SECONDS",
        (Kind::Milliseconds(_), _) => "MILLISECONDS",
        (Kind::Switch, _) => "BOOL",
        (Kind::Choice(_), _) => "NAME",
        (Kind::Address, _) => "ADDRESS",
        (Kind::Origins | Kind::KeySets | Kind::Networks | Kind::Servers, _) => "LIST",
        (Kind::Folder, _) => "FOLDER",
        (Kind::Secret, _) => "SECRET",
        (Kind::Text(_), _) => "TEXT",
    }
}

fn setting_flags(matches: &ArgMatches) -> Vec<(String, String)> {
    let names = SETTINGS.iter().flat_map(|s| s.forms().iter().map(|form| kebab(&s.key(*form))));
    names
        .filter_map(|name| Some((matches.get_one::<String>(&name)?.clone(), name)))
        .map(|(v, n)| (n, v))
        .collect()
}

/// Shows the help, the version or the usage error that ended [`parse`].
#[must_use]
pub fn stop(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when standard error itself fails.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
}

/// Shows everything that is wrong with the configuration.
#[must_use]
pub fn bad_configuration(faults: &Faults) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "websocket-service: {faults}");
    ExitCode::from(EXIT_USAGE)
}

/// Shows why a command failed.
#[must_use]
pub fn failed(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "websocket-service: {error:#}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Invocation, clap::Error> {
        let arguments = std::iter::once(&"websocket-service").chain(arguments);
        parse(arguments.map(OsString::from))
    }

    #[test]
    fn the_declaration_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn serve_is_the_default_and_flags_stand_before_or_behind_a_command() {
        let invocation = parsed(&["--port", "1"]).expect("parsed");
        assert!(matches!(invocation.command, Command::Serve));
        assert_eq!(invocation.flags, [("port".to_owned(), "1".to_owned())]);
        let invocation =
            parsed(&["--port=1", "config", "--config", "a.yaml", "--api-key-file=k"]).expect("parsed");
        assert!(matches!(invocation.command, Command::Config(_)));
        assert_eq!(invocation.config, Some(PathBuf::from("a.yaml")));
        let flags = [("port", "1"), ("api-key-file", "k")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(invocation.flags, flags);
    }

    #[test]
    fn every_setting_has_a_flag_with_its_documentation() {
        let help = command().render_long_help().to_string();
        for setting in SETTINGS {
            for form in setting.forms() {
                let flag = format!("--{} <", kebab(&setting.key(*form)));
                assert!(help.contains(&flag), "{flag}");
            }
        }
    }

    #[test]
    fn the_short_help_is_short() {
        let help = command().render_help().to_string();
        assert!(help.contains("publish") && !help.contains("--max-connections"), "{help}");
    }

    #[test]
    fn an_unknown_flag_names_the_nearest() {
        let error = parsed(&["--max-conections", "1"]).expect_err("unknown");
        assert!(error.to_string().contains("--max-connections"), "{error}");
        assert!(error.use_stderr());
    }
}
