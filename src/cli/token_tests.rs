use super::*;
use crate::auth::test_support::{self, SECRET, hs_config, pairs, user};
use crate::config::TokenAlgorithm;
use clap::Parser;
use serde_json::json;
use std::fs;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    token: TokenArgs,
}

/// What the command prints and whether it says yes, or its error as a person sees it.
fn token_command(args: &[&str], config: &Config, input: &str) -> Result<(String, bool), String> {
    let cli = Cli::try_parse_from([&["token"], args].concat()).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    let good = match &cli.token.command {
        TokenCommand::Mint(args) => mint(args, config, &mut out),
        TokenCommand::Check(args) => check(args, config, &mut input.as_bytes(), &mut out),
    };
    good.map(|good| (String::from_utf8(out).expect("UTF-8"), good)).map_err(|error| format!("{error:#}"))
}

fn config(auth: AuthConfig, environment: Environment) -> Config {
    Config { auth, environment, ..Config::default() }
}

fn development() -> Config {
    config(hs_config(), Environment::Development)
}

#[test]
fn a_minted_token_checks_out() {
    let mut config = development();
    config.auth.issuer = Some("us".to_owned());
    config.auth.audience = Some("push".to_owned());
    let (minted, _) =
        token_command(&["mint", "--user", "alice", "--kid", "k1"], &config, "").expect("a token");
    assert_eq!(minted.lines().count(), 1);
    let identity = Verifier::new(&config.auth).expect("good keys").verify(minted.trim()).expect("valid");
    let lifetime = identity.expires_at.duration_since(std::time::SystemTime::now()).expect("in the future");
    assert!(lifetime <= Duration::from_secs(3600) && lifetime > Duration::from_secs(3000), "{lifetime:?}");
    for (argument, input) in [(minted.trim(), ""), ("-", minted.as_str())] {
        let (out, good) = token_command(&["check", argument], &config, input).expect("a verdict");
        let expires = OffsetDateTime::from(identity.expires_at).format(&Rfc3339).expect("a date");
        assert!(good, "{out}");
        assert_eq!(
            out,
            format!("user:      alice\nexpires:   {expires}\nalgorithm: HS256\nkid:       k1\nvalid\n")
        );
        assert!(!out.contains(minted.trim()));
    }
}

#[test]
fn check_says_why_not() {
    let token = test_support::token(&json!({ "sub": "a\n\u{1b}[2Jb", "exp": 0 }));
    let (out, good) = token_command(&["check", &token], &development(), "").expect("a verdict");
    assert!(!good);
    assert!(out.contains("user:      a\\n\\u{1b}[2Jb\nexpires:   1970-01-01T00:00:00Z\n"), "{out}");
    assert!(out.ends_with("not valid: Token has expired (the token's exp has passed)\n"), "{out}");
    for (text, reason) in
        [("nonsense", "Token is invalid"), ("", "Token is missing"), ("-x.y.z", "Token is invalid")]
    {
        let (out, good) = token_command(&["check", text], &development(), "").expect("a verdict");
        assert!(!good && out.starts_with(&format!("not valid: {reason}")), "{out}");
    }
    let long = "x".repeat(MAX_TOKEN_BYTES + 1);
    let (out, good) = token_command(&["check", "-"], &development(), &long).expect("a verdict");
    assert!(!good && out.starts_with("not valid: Token is too long"), "{out}");
}

#[test]
fn odd_claims_are_shown_as_they_are() {
    let token = test_support::token(&json!({ "sub": 7, "exp": "soon\n" }));
    let (out, good) = token_command(&["check", &token], &development(), "").expect("a verdict");
    assert!(!good && out.contains("expires:   soon\\n\n") && out.contains("kid:       none"), "{out}");
}

#[test]
fn the_configured_key_signs_in_development_only() {
    for environment in [Environment::Testing, Environment::Staging, Environment::Production] {
        let error = token_command(&["mint", "--user", "a"], &config(hs_config(), environment), "")
            .expect_err("refused");
        assert!(error.contains("--key-file") && error.contains("shared secret"), "{error}");
    }
    let none = config(AuthConfig::default(), Environment::Development);
    for args in [&["mint", "--user", "a"][..], &["check", "x.y.z"]] {
        let error = token_command(args, &none, "").expect_err("no key");
        assert!(error.contains("JWT_SECRET_KEY") && error.contains("URL"), "{error}");
    }
    let pair = &pairs(TokenAlgorithm::Es256)[0];
    let public = config(test_support::config(TokenAlgorithm::Es256, &pair.public), Environment::Development);
    let error = token_command(&["mint", "--user", "a"], &public, "").expect_err("cannot sign");
    assert!(error.contains("private key (PEM)"), "{error}");
}

#[test]
fn a_key_file_signs_everywhere_by_the_configured_algorithm() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key").display().to_string();
    for algorithm in
        [TokenAlgorithm::Hs256, TokenAlgorithm::Rs256, TokenAlgorithm::Es384, TokenAlgorithm::EdDsa]
    {
        let pair = &pairs(algorithm)[0];
        fs::write(&file, &pair.private).expect("written");
        let config = config(test_support::config(algorithm, &pair.public), Environment::Production);
        let args = ["mint", "--user", "bob", "--ttl", "60", "--key-file", &file];
        let (minted, _) = token_command(&args, &config, "").expect("a token");
        let identity = Verifier::new(&config.auth).expect("good keys").verify(minted.trim()).expect("valid");
        assert_eq!(identity.user, user("bob"));
    }
}

#[test]
fn several_configured_keys_are_not_guessed_among() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = development();
    config.auth.keys.directory = Some(folder.path().to_owned());
    assert!(token_command(&["mint", "--user", "a"], &config, "").is_ok());
    let error = token_command(&["mint", "--user", "a", "--kid", "k"], &config, "").expect_err("in doubt");
    assert!(error.contains("JWT_KEYS_DIR"), "{error}");
}

#[test]
fn bad_arguments_are_told() {
    for (args, expected) in [
        (&["mint", "--user", ""][..], "user id is empty"),
        (&["mint", "--user", "a", "--ttl", "253402300800"], "9999"),
        (&["mint", "--user", "a", "--ttl", "x"], "--ttl"),
        (&["mint", "--user", "a", "--key-file", "/no/such/file"], "/no/such/file"),
        (&["mint"], "--user"),
    ] {
        let error = token_command(args, &development(), "").expect_err("bad");
        assert!(error.contains(expected) && !error.contains(SECRET), "{error}");
    }
}

#[test]
fn parsed_arguments_do_not_show_the_token() {
    let cli = Cli::try_parse_from(["token", "check", "eyJhbGciOiJIUzI1NiJ9"]).expect("parsed");
    assert!(!format!("{cli:?}").contains("eyJ"));
}
