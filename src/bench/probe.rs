//! The `probe` command: sees one message through, from Redis to a client.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::access::{AccessArgs, secret, secret_file};
use crate::backplane::Published;
use crate::backplane::redis::{PublishOnceError, publish_once};
use crate::client::{DialError, Socket, leave};
use crate::config::{BackplaneConfig, HistoryConfig, RedisReachArgs, Secret};
use crate::protocol::{Payload, Publication, UserId};

/// What `CLIENT LIST` shows while the command runs.
const CLIENT_NAME: &str = "websocket-bench";

/// Between two attempts to publish.
const RETRY: Duration = Duration::from_millis(500);

/// Arguments of `probe`.
#[derive(Debug, Clone, clap::Args)]
pub struct ProbeArgs {
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    reach: Box<RedisReachArgs>,
    /// What stands before the user id in a channel's name
    #[arg(long, value_name = "TEXT", default_value = "ws:")]
    channel_prefix: String,
    /// Whom to connect as and to publish for; a made-up name unless given
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Seconds that all of it may take
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
struct RedisArgs {
    /// Where to publish: redis:// or rediss://. Other users may see flags: the file is better
    #[arg(long, value_name = "URL", value_parser = secret)]
    redis_url: Option<Secret>,
    /// File with the URL
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    redis_url_file: Option<Secret>,
}

/// Connects, publishes, sees the message arrive, closes, and prints a line.
///
/// # Errors
/// The step that failed, and why.
pub(super) async fn run(args: &ProbeArgs) -> anyhow::Result<()> {
    let start = Instant::now();
    let bound = Duration::from_secs(args.timeout);
    let deadline = start + bound;
    let made_up = format!("{:032x}", rand::random::<u128>());
    let user = match &args.user {
        Some(name) => UserId::new(name).context("--user")?,
        None => UserId::new(&format!("probe-{made_up}"))?,
    };
    let text = format!("probe {made_up}");
    let publication = Payload::from(text.as_str()).into();

    let dialer = args.access.dialer(bound).context("no token can be made")?;
    let endpoint = args.access.endpoint();
    let mut socket = dialer.dial(&user).await.map_err(|error| match error {
        DialError::Refused { .. } => anyhow!("the upgrade was {error}"),
        DialError::Failed { .. } => {
            anyhow!("cannot connect to {}:{}: {error}", endpoint.host, endpoint.port)
        }
    })?;
    let connected = start.elapsed();

    let redis = BackplaneConfig {
        redis_url: args.redis.redis_url.clone().or_else(|| args.redis.redis_url_file.clone()),
        reach: args.reach.reach().map_err(anyhow::Error::msg)?,
        channel_prefix: args.channel_prefix.clone(),
    };
    let publishing = Instant::now();
    let published = publish(&redis, &user, &publication, deadline).await?;
    match timeout_at(deadline, arrival(&mut socket, &text)).await {
        Ok(outcome) => outcome?,
        Err(_) if published.subscribers == 0 => bail!(
            "the message was published and nobody listened to the user's channel: the service uses another Redis, \
             another WEBSOCKET_CHANNEL_PREFIX, or none"
        ),
        Err(_) => bail!("the message was published and did not arrive within {bound:?}"),
    }
    let arrived = publishing.elapsed();
    if !matches!(timeout_at(deadline, leave(&mut socket)).await, Ok(true)) {
        bail!("the message arrived, but the service did not answer the close");
    }
    writeln!(
        std::io::stdout().lock(),
        "connected in {connected:.0?}; a message published on Redis arrived {arrived:.0?} later; closed"
    )?;
    Ok(())
}

/// Publishes, and tries again until the deadline: a `NetworkPolicy` may take seconds until it knows a new pod.
async fn publish(
    redis: &BackplaneConfig,
    user: &UserId,
    publication: &Publication,
    deadline: Instant,
) -> anyhow::Result<Published> {
    // Arrives whether or not the service keeps a history, which the probe does not know.
    let bare = HistoryConfig { size: 0, ..HistoryConfig::default() };
    let mut failed = None;
    let attempts = async {
        loop {
            match publish_once(redis, &bare, CLIENT_NAME, user, publication).await {
                Err(error @ PublishOnceError::Connect(_)) => failed = Some(error),
                outcome => return outcome,
            }
            sleep(RETRY).await;
        }
    };
    let outcome = timeout_at(deadline, attempts).await;
    // The last attempt's end is the deadline's doing; what the one before it met says more.
    let outcome = match (outcome, failed) {
        (Ok(outcome), _) => outcome,
        (Err(_), Some(error)) => Err(error),
        (Err(_), None) => bail!("connected, but Redis did not answer in time"),
    };
    outcome.context("connected, but the message cannot be published")
}

/// Waits for the text; other messages are somebody else's.
async fn arrival(socket: &mut Socket, text: &str) -> anyhow::Result<()> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(message))) if message.as_str() == text => return Ok(()),
            Some(Ok(Message::Close(Some(frame)))) => {
                let (code, reason) = (u16::from(frame.code), frame.reason.escape_debug().to_string());
                bail!("the service closed the connection with {code} before the message arrived: {reason}")
            }
            Some(Ok(Message::Close(None))) => {
                bail!("the service closed the connection before the message arrived, without a code")
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => bail!("the connection was lost before the message arrived"),
        }
    }
}
