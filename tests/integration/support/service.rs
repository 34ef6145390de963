//! A whole service in this process, on free ports, as its users meet it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use websocket_service::app::{self, Addresses};
use websocket_service::auth::{Grant, Minter};
use websocket_service::config::{Config, Sources, TokenAlgorithm};
use websocket_service::drain::{Drain, Phase};
use websocket_service::metrics::Metrics;
use websocket_service::protocol::UserId;
use websocket_service::telemetry::Levels;

use super::client::Client;
use super::http::{self, Answer};
use super::{LOCAL, within};

/// The HS256 key of every service under test.
pub(crate) const SECRET: &str = "a-key-for-tests-that-is-long-enough-0123456789";
/// The API key of every service under test.
pub(crate) const API_KEY: &str = "an-api-key-for-tests";

/// A running service. Dropping it cuts everything off, as a crash would.
pub(crate) struct Service {
    pub(crate) addresses: Addresses,
    pub(crate) drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
    leave: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Service {
    /// On the in-process backplane, with settings as `("MAX_CONNECTIONS", "5")` on top of the tests' own.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with(config(settings)).await
    }

    /// On Redis at this URL.
    pub(crate) async fn start_on(redis_url: &str, settings: &[(&str, &str)]) -> Self {
        let mut all = vec![("REDIS_URL", redis_url)];
        all.extend_from_slice(settings);
        Self::start(&all).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let bound = app::build(config, Levels::detached()).await.expect("the service starts");
        let (addresses, drain, metrics) = (bound.addresses, bound.drain.clone(), Arc::clone(&bound.metrics));
        let (leave, left) = oneshot::channel();
        let task = tokio::spawn(bound.run(async {
            let _ = left.await;
        }));
        let service = Self { addresses, drain, metrics, leave: Some(leave), task };
        within("the service answers", LOCAL, async {
            while http::try_get(service.addresses.admin, "/healthz").await.is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        service
    }

    /// The URL of `/ws` with a query.
    pub(crate) fn url(&self, query: &str) -> String {
        format!("ws://{}/ws{query}", self.public())
    }

    pub(crate) fn public(&self) -> SocketAddr {
        local(self.addresses.public)
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        local(self.addresses.admin)
    }

    /// Connects as a user with a good token.
    ///
    /// # Panics
    /// When the upgrade is refused.
    pub(crate) async fn connect(&self, user: &str) -> Client {
        let query = format!("?token={}", token(user));
        Client::connect(&self.url(&query)).await.unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    /// Publishes through the HTTP API.
    pub(crate) async fn publish(&self, user: &str, payload: &str) -> Answer {
        let path = format!("/v1/users/{}/messages", http::escape(user));
        http::request(self.public(), "POST", &path, &[("authorization", &bearer())], payload.as_bytes()).await
    }

    /// The JSON of a GET on the admin port.
    pub(crate) async fn admin_json(&self, path: &str) -> Value {
        http::request(self.admin(), "GET", path, &[], b"").await.json()
    }

    /// The value of one series, as a scraper sees it.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        http::metric(self.admin(), series).await
    }

    /// Closes everybody with 1012 and ends, as a pod that is replaced does on its fast path.
    pub(crate) async fn replace(self) {
        self.drain.hurry();
        within("the drain", LOCAL, self.drain.reached(Phase::Drained)).await;
        self.stop().await;
    }

    /// Asks the process to leave, and waits until it has.
    pub(crate) async fn stop(mut self) {
        if let Some(leave) = self.leave.take() {
            let _ = leave.send(());
        }
        within("the service ends", LOCAL, &mut self.task).await.expect("no panic");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The tests' settings with others on top, loaded as a deployment's are.
pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    let own = [
        ("ENVIRONMENT", "testing"),
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("JWT_SECRET_KEY", SECRET),
        ("API_KEY", API_KEY),
    ];
    // The later layer wins: the tests' own are in `.env`, the test's in the environment.
    let dotenv: String =
        own.iter().map(|(name, value)| format!("WEBSOCKET_SERVICE_{name}={value}\n")).collect();
    let mut sources = Sources::default().with_dotenv(&dotenv);
    for (name, value) in settings {
        sources = sources.with_environment(&format!("WEBSOCKET_SERVICE_{name}"), value);
    }
    Config::load(&sources).unwrap_or_else(|faults| panic!("{faults}")).config
}

/// A good token for an hour.
pub(crate) fn token(user: &str) -> String {
    token_for(user, Duration::from_secs(3600))
}

/// A good token for so long.
pub(crate) fn token_for(user: &str, lifetime: Duration) -> String {
    let minter = Minter::new(TokenAlgorithm::Hs256, &SecretString::from(SECRET)).expect("a key");
    let user = UserId::new(user).expect("a valid user id");
    let grant = Grant::new(&config(&[]).auth, user, lifetime);
    minter.mint(&grant).expect("a token").expose().to_owned()
}

/// A token with these claims, signed well; `exp` is an hour from now unless it is given.
pub(crate) fn token_that_says(mut claims: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if claims["exp"].is_null() {
        claims["exp"] = (now + 3600).into();
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
}

pub(crate) fn bearer() -> String {
    format!("Bearer {API_KEY}")
}

fn local(address: SocketAddr) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], address.port()))
}
