//! The `publish` command: sends one message from a shell.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, ensure};

use crate::backplane::redis::publish_once;
use crate::config::Config;
use crate::protocol::{IdempotencyKey, Payload, Publication, UserId};

/// What `CLIENT LIST` shows while the command runs.
const CLIENT_NAME: &str = "websocket-service-cli";

/// Publishes one message to a user's connections, on whichever pods they are.
#[derive(Debug, Clone, clap::Args)]
pub struct PublishArgs {
    /// The user id, as in the tokens' `sub`
    pub user: String,
    /// The message, sent byte for byte; `-` reads it from standard input
    pub payload: String,
    /// Name of this publication, 1 to 255 visible ASCII characters: repeated within five minutes it does nothing and prints
    /// the same
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// Publishes through Redis and prints `{"id":"…","subscribers":n}`; `subscribers` counts pods, and without history the id is
/// null.
///
/// # Errors
/// When the user id or the message is none, `REDIS_URL` is not set, or Redis does not take the message.
pub async fn run(args: &PublishArgs, config: Config) -> anyhow::Result<ExitCode> {
    let user = UserId::new(&args.user).context("not a user id")?;
    let payload = payload(&args.payload, io::stdin().lock(), config.session.max_message_bytes)?;
    let key = args.idempotency_key.as_ref().map(|key| IdempotencyKey::new(key.as_bytes())).transpose()?;
    let publication = Publication { idempotency_key: key, ..payload.into() };
    ensure!(
        config.backplane.redis_url.is_some(),
        "REDIS_URL is not set: without Redis messages do not leave the process that publishes them"
    );
    let published =
        publish_once(&config.backplane, &config.history, CLIENT_NAME, &user, &publication).await?;
    let mut line = serde_json::to_vec(&published)?;
    line.push(b'\n');
    io::stdout().write_all(&line)?;
    Ok(ExitCode::SUCCESS)
}

/// The message, from the argument or from `stdin`, of which no more than the bound is read.
fn payload(argument: &str, stdin: impl Read, limit: usize) -> anyhow::Result<Payload> {
    let mut bytes = Vec::new();
    if argument == "-" {
        stdin.take(limit as u64 + 1).read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        bytes.extend_from_slice(argument.as_bytes());
    }
    ensure!(!bytes.is_empty(), "the message is empty");
    ensure!(bytes.len() <= limit, "the message is larger than MAX_MESSAGE_BYTES ({limit} bytes)");
    Payload::try_from(bytes).ok().context("the message is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(argument: &str, stdin: &[u8]) -> Result<String, String> {
        payload(argument, stdin, 8).map(|text| text.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn takes_the_message_from_either_place() {
        assert_eq!(read("hello", b"unread"), Ok("hello".to_owned()));
        assert_eq!(read("-", b"12345 \n\n"), Ok("12345 \n\n".to_owned()), "byte for byte");
    }

    #[test]
    fn refuses_what_the_service_would_not_deliver() {
        let too_large = Err("the message is larger than MAX_MESSAGE_BYTES (8 bytes)".to_owned());
        assert_eq!(read("123456789", b""), too_large);
        assert_eq!(read("", b""), Err("the message is empty".to_owned()));
        assert_eq!(read("-", b"123456789"), too_large);
        assert_eq!(read("-", b"\xff"), Err("the message is not UTF-8".to_owned()));
    }

    #[tokio::test]
    async fn needs_redis_and_a_user() {
        let run = async |user: &str| {
            let args =
                PublishArgs { user: user.to_owned(), payload: "hello".to_owned(), idempotency_key: None };
            run(&args, Config::default()).await.expect_err("refused").to_string()
        };
        assert!(run("ann").await.contains("REDIS_URL is not set"));
        assert_eq!(run("").await, "not a user id");
    }
}
