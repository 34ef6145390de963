//! The keys in force: configured ones, and in development made-up ones where none are.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, ApiKey, Grant, KeyError, Minter, Token, Verifier};
use crate::config::{Config, Environment, PublishConfig, Secret};
use crate::protocol::UserId;
use crate::server::Page;

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
        let missing = auth.keys.current.is_none() && auth.keys.directory.is_none();
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

    /// Starts looking at the key files.
    pub(super) fn watch(&self, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
        let mut tasks =
            vec![tokio::spawn(auth::watch(Arc::clone(&self.verifier), REREAD_EVERY, stop.clone()))];
        if let Some(api_key) = &self.api_key {
            tasks.push(tokio::spawn(auth::watch(Arc::clone(api_key), REREAD_EVERY, stop.clone())));
        }
        tasks
    }
}

fn demo_token(config: &Config, minter: &Minter) -> Option<Token> {
    let user = UserId::new(DEMO_USER).ok()?;
    minter.mint(&Grant::new(&config.auth, user, DEMO_LIFETIME)).ok()
}
