//! The keys in force: configured ones, and in development made-up ones where none are.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, ApiKey, FetchObserver, Fetched, Grant, KeyError, Minter, Token, Verifier};
use crate::config::{Config, Environment, PublishConfig, Secret};
use crate::metrics::Metrics;
use crate::protocol::UserId;
use crate::server::Page;
use crate::telemetry::events;

/// How often key files are looked at. The kubelet itself takes up to a minute to bring a changed Secret.
const REREAD_EVERY: Duration = Duration::from_secs(5);

/// The user of the ready-made token.
const DEMO_USER: &str = "demo";

/// How long the ready-made token is good.
const DEMO_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What verifies callers, and what a developer is given to try.
pub(super) struct Keys {
    pub(super) verifier: Arc<Verifier>,
    pub(super) api_key: Option<Arc<ApiKey>>,
    /// A token for [`DEMO_USER`], where the key was made up.
    pub(super) token: Option<Token>,
    made_up_api_key: Option<String>,
}

impl Keys {
    pub(super) fn load(config: &Config) -> Result<Self, KeyError> {
        let auth = &config.auth;
        let development = config.environment == Environment::Development;
        let given = &auth.keys;
        let missing = given.current.is_none() && given.directory.is_none() && given.published.is_empty();
        let (verifier, token) = if development && missing && auth.algorithm.is_symmetric() {
            let (verifier, minter) = Verifier::generated(auth)?;
            (verifier, demo_token(config, &minter))
        } else if config.environment == Environment::Production {
            (Verifier::strict(auth)?, None)
        } else {
            (Verifier::new(auth)?, None)
        };
        let mut publish = config.publish.clone();
        let mut made_up_api_key = None;
        if development && publish.api_key.is_none() {
            let key = format!("{:032x}", rand::random::<u128>());
            publish = PublishConfig { api_key: Some(Secret::inline(key.clone())) };
            made_up_api_key = Some(key);
        }
        let api_key = ApiKey::new(&publish)?.map(Arc::new);
        Ok(Self { verifier: Arc::new(verifier), api_key, token, made_up_api_key })
    }

    /// The development page. It holds made-up secrets only: configured ones are asked for.
    pub(super) fn page(&self) -> Page {
        Page::new(DEMO_USER, self.token.as_ref().map(Token::expose), self.made_up_api_key.as_deref())
    }

    /// Starts looking at the key files, and fetching what issuers publish.
    pub(super) fn watch(&self, metrics: &Arc<Metrics>, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
        let mut tasks = Vec::new();
        match self.verifier.key_sets() {
            None => {
                let verifier = Arc::clone(&self.verifier);
                tasks.push(tokio::spawn(auth::watch(verifier, REREAD_EVERY, stop.clone())));
            }
            Some(sets) => {
                let observer: Arc<dyn FetchObserver> = Arc::new(Fetches(Arc::clone(metrics)));
                let keep = |set| auth::keep(Arc::clone(set), Arc::clone(&observer), stop.clone());
                tasks.extend(sets.map(|set| tokio::spawn(keep(set))));
            }
        }
        if let Some(api_key) = &self.api_key {
            tasks.push(tokio::spawn(auth::watch(Arc::clone(api_key), REREAD_EVERY, stop.clone())));
        }
        tasks
    }
}

/// Tells metrics and log of fetches.
struct Fetches(Arc<Metrics>);

impl FetchObserver for Fetches {
    fn fetched(&self, Fetched { url, outcome, is_news }: &Fetched<'_>) {
        let outcome = outcome.map_err(|error| error as &dyn std::fmt::Display);
        events::keys_fetched(&self.0, url, outcome, *is_news);
    }
}

fn demo_token(config: &Config, minter: &Minter) -> Option<Token> {
    let user = UserId::new(DEMO_USER).ok()?;
    minter.mint(&Grant::new(&config.auth, user, DEMO_LIFETIME)).ok()
}
