//! The `token` command: makes tokens to try things with, and says what is wrong with one.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use jsonwebtoken::dangerous::insecure_decode;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::runtime::Builder;

use crate::auth::{Grant, KeyError, Minter, Token, TokenError, Verifier};
use crate::config::{AuthConfig, Config, Environment, Secret};
use crate::protocol::UserId;
use crate::protocol::limits::MAX_TOKEN_BYTES;

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    /// Make a token for a user and print it
    Mint(MintArgs),
    /// Say who a token speaks for, until when, and whether the service would take it
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
struct MintArgs {
    /// User id, 1 to 256 bytes; the token's `sub`
    #[arg(long, value_name = "ID")]
    user: String,
    /// Seconds until the token expires
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    ttl: u64,
    /// File with the key to sign with: the shared secret (HS256, HS384, HS512) or the private key in PEM (all other
    /// algorithms). In development an HS key from the settings is used without it
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Key id to put into the token's header
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// The token, or `-` to read it from standard input, where no list of processes shows it
    // Its type hides it from `Debug`.
    #[arg(value_name = "TOKEN", allow_hyphen_values = true)]
    token: Token,
}

/// Runs the command. Exit code 1 says that a checked token is not valid.
///
/// # Errors
/// A bad key or user id, input that cannot be read, or standard output that cannot be written.
pub fn run(args: &TokenArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let good = match &args.command {
        TokenCommand::Mint(args) => mint(args, config, &mut out)?,
        TokenCommand::Check(args) => check(args, config, &mut std::io::stdin().lock(), &mut out)?,
    };
    out.flush()?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mint(args: &MintArgs, config: &Config, out: &mut impl Write) -> anyhow::Result<bool> {
    let user = UserId::new(&args.user).context("--user")?;
    let key = match &args.key_file {
        Some(file) => Secret::File(file.clone()),
        None => configured_key(args.kid.as_deref(), config)?,
    };
    let minter = Minter::new(config.auth.algorithm, &key.read()?)?;
    let mut grant = Grant::new(&config.auth, user, Duration::from_secs(args.ttl));
    grant.key_id.clone_from(&args.kid);
    writeln!(out, "{}", minter.mint(&grant)?.expose())?;
    Ok(true)
}

/// The configured key, where it can sign and may be used for it.
fn configured_key(kid: Option<&str>, config: &Config) -> anyhow::Result<Secret> {
    let AuthConfig { algorithm, keys, .. } = &config.auth;
    if !algorithm.is_symmetric() {
        bail!("the configured public key cannot sign: give the private key (PEM) with --key-file");
    }
    if config.environment != Environment::Development {
        bail!(
            "the configured key is used in development only: give the shared secret with --key-file, \
             or set WEBSOCKET_SERVICE_ENVIRONMENT=development"
        );
    }
    match (&keys.current, &keys.directory, kid) {
        (Some(_), Some(_), Some(_)) | (None, Some(_), _) => {
            bail!(
                "the settings hold several keys: say which signs with --key-file, its file in JWT_KEYS_DIR for one"
            )
        }
        (Some(key), ..) => Ok(key.clone()),
        (None, None, _) => bail!(NO_KEY),
    }
}

const NO_KEY: &str = "no key is configured, and a running server's made-up key is known to it alone: \
    set WEBSOCKET_SERVICE_JWT_SECRET_KEY for both, or take the URL that the server logs when it starts";

fn check(
    args: &CheckArgs,
    config: &Config,
    input: &mut impl Read,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let verifier = match Verifier::new(&config.auth) {
        Err(KeyError::Missing(_)) if config.auth.algorithm.is_symmetric() => bail!(NO_KEY),
        verifier => verifier?,
    };
    fetch_keys(&verifier)?;
    let mut text = args.token.expose().to_owned();
    if text == "-" {
        text.clear();
        // One byte too many is enough to see that it is too long; the rest is white space.
        let limit = MAX_TOKEN_BYTES as u64 + 1024;
        input.take(limit).read_to_string(&mut text).context("cannot read the token")?;
    }
    let text = text.trim();
    let verdict = verifier.verify(text);
    // Before the verdict it is only what the token says; of a token that is too long nothing is read.
    let said = if verdict == Err(TokenError::TooLong) { None } else { insecure_decode::<Value>(text).ok() };
    if let Some(said) = said {
        writeln!(out, "user:      {}", shown(&said.claims["sub"]))?;
        writeln!(out, "expires:   {}", expiry(&said.claims["exp"]))?;
        writeln!(out, "algorithm: {:?}", said.header.alg)?;
        writeln!(
            out,
            "kid:       {}",
            said.header.kid.map_or_else(|| "none".to_owned(), |kid| escaped(&kid))
        )?;
    }
    match verdict {
        Ok(_) => writeln!(out, "valid")?,
        Err(error) => writeln!(out, "not valid: {error} ({})", error.detail())?,
    }
    Ok(verdict.is_ok())
}

/// Fetches what issuers publish, as the service does at its start. A set that cannot be had matters only to its own tokens.
fn fetch_keys(verifier: &Verifier) -> anyhow::Result<()> {
    let Some(sets) = verifier.key_sets() else { return Ok(()) };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for set in sets {
        if let Err(error) = runtime.block_on(set.fetch_once()) {
            writeln!(std::io::stderr(), "the key set {} is missing: {error}", set.shown())?;
        }
    }
    runtime.shutdown_background();
    Ok(())
}

/// Control characters escaped, so that a token cannot write to the terminal as it likes.
fn escaped(text: &str) -> String {
    text.escape_debug().to_string()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => escaped(text),
        other => escaped(&other.to_string()),
    }
}

/// RFC 3339 where the value is a time that it can write.
fn expiry(value: &Value) -> String {
    value
        .as_i64()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| shown(value))
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
