//! Where to connect, and by which right.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use secrecy::SecretString;

use crate::auth::{Grant, MintError, Minter};
use crate::client::{Bearer, DialError, Endpoint, Hello, Socket, TokenFault, TokenSource, dial};
use crate::config::{AuthConfig, Choice, Secret, TokenAlgorithm};
use crate::protocol::UserId;

/// Beyond the longest run, so that a token's expiry is not among the closes; a token is minted for each connection.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What every command needs to connect.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AccessArgs {
    /// Where to connect: ws://HOST:PORT/ws
    #[arg(long, value_parser = Endpoint::parse)]
    url: Endpoint,
    #[command(flatten)]
    key: KeyArgs,
    /// Algorithm of the tokens: HS256, HS384 or HS512
    #[arg(long, value_name = "NAME", default_value = "HS256", value_parser = algorithm)]
    algorithm: TokenAlgorithm,
    /// `iss` of the tokens
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,
    /// `aud` of the tokens
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,
}

#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
struct KeyArgs {
    /// The shared key that the service verifies tokens with. Other users may see flags: the file is better
    #[arg(long, value_name = "KEY", value_parser = secret)]
    secret: Option<Secret>,
    /// File with the shared key; a line break at its end is not part of it
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    secret_file: Option<Secret>,
}

impl AccessArgs {
    /// Makes what connects. Each connection may take as long as `bound`, from the look-up of the name to the 101.
    ///
    /// # Errors
    /// When the key cannot be read or cannot sign.
    pub(super) fn dialer(&self, bound: Duration) -> anyhow::Result<Dialer> {
        Ok(Dialer { endpoint: self.url.clone(), mint: self.mint()?, bound })
    }

    /// Makes what signs tokens.
    ///
    /// # Errors
    /// As for [`AccessArgs::dialer`].
    pub(super) fn mint(&self) -> anyhow::Result<Mint> {
        let key = self.key.secret.as_ref().or(self.key.secret_file.as_ref()).context("there is no key")?;
        let minter = Minter::new(self.algorithm, &key.read()?)?;
        let grants = AuthConfig {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            ..AuthConfig::default()
        };
        Ok(Mint { minter, grants })
    }

    /// Where it is connected to.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.url
    }
}

/// Signs tokens for any user.
#[derive(Debug)]
pub(super) struct Mint {
    minter: Minter,
    grants: AuthConfig,
}

impl Mint {
    /// A token that outlives any run.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub(super) fn token(&self, user: &UserId) -> Result<Bearer, MintError> {
        let expires = SystemTime::now() + TOKEN_LIFETIME;
        let token = self.minter.mint(&Grant::new(&self.grants, user.clone(), TOKEN_LIFETIME))?;
        Ok(Bearer { token: SecretString::from(token.expose().to_owned()), expires: Some(expires) })
    }
}

/// The tokens of one user.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) mint: Arc<Mint>,
    pub(super) user: UserId,
}

impl TokenSource for Tokens {
    async fn token(&self, _fresh: bool) -> Result<Bearer, TokenFault> {
        Ok(self.mint.token(&self.user)?)
    }
}

/// Opens connections to one place, with tokens of its own making.
#[derive(Debug)]
pub(super) struct Dialer {
    endpoint: Endpoint,
    mint: Mint,
    bound: Duration,
}

impl Dialer {
    /// Connects as a user, in plain mode.
    ///
    /// # Errors
    /// [`DialError`].
    pub(super) async fn dial(&self, user: &UserId) -> Result<Socket, DialError> {
        let token = self.mint.token(user);
        let token = token.map_err(|error| DialError::Failed { kind: "token", reason: error.to_string() })?;
        dial(&self.endpoint, &token.token, &Hello::default(), self.bound).await
    }
}

/// For flags that hold a secret; its type hides it from `Debug`.
#[expect(clippy::unnecessary_wraps, reason = "the form of clap's parsers")]
pub(super) fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::inline(text))
}

/// For flags that name a secret's file.
#[expect(clippy::unnecessary_wraps, reason = "the form of clap's parsers")]
pub(super) fn secret_file(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::File(text.into()))
}

fn algorithm(text: &str) -> Result<TokenAlgorithm, String> {
    TokenAlgorithm::parse(text)
        .filter(|algorithm| algorithm.is_symmetric())
        .ok_or_else(|| "expected HS256, HS384 or HS512".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_signs_with_a_shared_key_is_an_algorithm() {
        assert_eq!(algorithm("hs512"), Ok(TokenAlgorithm::Hs512));
        assert!(algorithm("RS256").is_err() && algorithm("none").is_err());
    }
}
