use super::*;
use crate::auth::test_support::*;
use crate::auth::{TokenError, Verifier};
use crate::config::AuthConfig;

fn check(config: &AuthConfig, token: &str) -> Result<(), TokenError> {
    Verifier::new(config).expect("good keys").verify_at(token, now()).map(|_| ())
}

fn problem(config: &AuthConfig) -> String {
    Verifier::new(config).expect_err("a bad key").to_string()
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, key) in files {
        fs::write(folder.path().join(name), key).expect("written");
    }
    folder
}

/// Current, previous and named keys, all different.
fn rotating(folder: &Path) -> AuthConfig {
    AuthConfig {
        keys: KeyMaterial {
            current: Some(Secret::inline("current")),
            previous: Some(Secret::inline("previous")),
            directory: Some(folder.to_owned()),
            ..KeyMaterial::default()
        },
        ..AuthConfig::default()
    }
}

#[test]
fn the_previous_key_still_counts_and_a_forgotten_one_does_not() {
    let folder = directory(&[]);
    let config = rotating(folder.path());
    for kid in [None, Some("unheard-of")] {
        assert_eq!(check(&config, &token_by("current", kid)), Ok(()));
        assert_eq!(check(&config, &token_by("previous", kid)), Ok(()));
        assert_eq!(check(&config, &token_by("forgotten", kid)), Err(TokenError::Signature));
    }
}

#[test]
fn a_kid_chooses_its_key_and_only_that() {
    let folder = directory(&[("2026-01.pem", "january\n"), ("2026-02", "february")]);
    let config = rotating(folder.path());
    assert_eq!(check(&config, &token_by("january", Some("2026-01"))), Ok(()));
    assert_eq!(check(&config, &token_by("february", Some("2026-02"))), Ok(()));
    assert_eq!(check(&config, &token_by("february", Some("2026-01"))), Err(TokenError::Signature));
    assert_eq!(check(&config, &token_by("current", Some("2026-01"))), Err(TokenError::Signature));
    assert_eq!(check(&config, &token_by("january", None)), Err(TokenError::Signature));
    assert_eq!(check(&config, &token_by("january", Some("2026-01.pem"))), Err(TokenError::Signature));
}

#[test]
fn a_kid_is_a_name_and_never_a_path() {
    let outer = directory(&[("outside", "outside")]);
    let folder = outer.path().join("keys");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("good"), "good").expect("written");
    let config = rotating(&folder);
    let absolute = outer.path().join("outside").display().to_string();
    for kid in
        ["../outside", &absolute, "./good", "good/../../outside", "", "good\0", "\n", &"x".repeat(4000)]
    {
        assert_eq!(check(&config, &token_by("outside", Some(kid))), Err(TokenError::Signature), "{kid:?}");
        assert_eq!(check(&config, &token_by("good", Some(kid))), Err(TokenError::Signature), "{kid:?}");
    }
}

#[test]
fn a_folder_alone_will_do() {
    let folder = directory(&[("a", "key-a")]);
    let mut config = rotating(folder.path());
    config.keys.current = None;
    config.keys.previous = None;
    assert_eq!(check(&config, &token_by("key-a", Some("a"))), Ok(()));
    assert_eq!(check(&config, &token_by("key-a", Some("b"))), Err(TokenError::UnknownKey));
    assert_eq!(check(&config, &token_by("key-a", None)), Err(TokenError::UnknownKey));
}

#[test]
fn the_layout_of_a_mounted_secret_is_read() {
    let folder = directory(&[(".hidden", "hidden")]);
    let data = folder.path().join("..2026_01_01");
    fs::create_dir(&data).expect("a folder");
    fs::create_dir(folder.path().join("lost+found")).expect("a folder");
    fs::write(data.join("a.key"), "key-a").expect("written");
    std::os::unix::fs::symlink("..2026_01_01", folder.path().join("..data")).expect("a link");
    std::os::unix::fs::symlink("..data/a.key", folder.path().join("a.key")).expect("a link");
    let config = rotating(folder.path());
    assert_eq!(check(&config, &token_by("key-a", Some("a"))), Ok(()));
    assert_eq!(check(&config, &token_by("hidden", Some(".hidden"))), Err(TokenError::Signature));
}

#[test]
fn a_faulty_folder_is_told_by_name() {
    let folder = directory(&[("a.pem", "one"), ("a.key", "two")]);
    assert!(problem(&rotating(folder.path())).contains("kid is in doubt"));
    let folder = directory(&[("blank", "\n")]);
    assert_eq!(problem(&rotating(folder.path())), "kid \"blank\": the key is empty");
    let missing = folder.path().join("missing");
    assert!(problem(&rotating(&missing)).contains(&missing.display().to_string()));
    let mut config = rotating(directory(&[]).path());
    config.keys = KeyMaterial::default();
    assert!(problem(&config).contains("WEBSOCKET_SERVICE_JWT_SECRET_KEY"));
    config.algorithm = TokenAlgorithm::Es256;
    assert!(problem(&config).contains("WEBSOCKET_SERVICE_JWT_PUBLIC_KEY"));
}

#[test]
fn a_key_of_the_wrong_kind_is_refused_at_once_and_never_shown() {
    use TokenAlgorithm::*;
    let public = |algorithm| pairs(algorithm)[0].public.clone();
    for (algorithm, key, expected) in [
        (Hs256, public(Rs256), "no shared secret"),
        (Hs256, format!("\n {}", public(Es256)), "no shared secret"),
        (Rs256, SECRET.to_owned(), "public RSA key"),
        (Rs256, public(Es256), "public RSA key"),
        (Rs256, pairs(Rs256)[0].private.clone(), "private key"),
        (Es256, public(Es384), "P-256"),
        (Es384, public(Es256), "P-384"),
        (Es256, public(EdDsa), "P-256"),
        (Es256, pairs(Es256)[0].private.clone(), "private key"),
        (EdDsa, public(Es256), "Ed25519"),
        (EdDsa, pairs(EdDsa)[0].private.clone(), "private key"),
        (EdDsa, "-----BEGIN PUBLIC KEY-----\nAAAA".to_owned(), "Ed25519"),
    ] {
        let problem = problem(&config(algorithm, &key));
        assert!(problem.contains(expected), "{algorithm:?}: {problem}");
        assert!(!problem.contains("-----") && !problem.contains(SECRET), "{problem}");
    }
}

#[test]
fn strict_refuses_short_secrets_wherever_they_are() {
    let strict =
        |config: &AuthConfig| Verifier::strict(config).map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(strict(&config(TokenAlgorithm::Hs256, &"x".repeat(32))), Ok(()));
    let short = config(TokenAlgorithm::Hs256, &"x".repeat(31));
    assert!(strict(&short).expect_err("short").contains("shorter than 32 bytes"));
    let folder = directory(&[("a", "short")]);
    let mut config = hs_config();
    config.keys.directory = Some(folder.path().to_owned());
    assert!(strict(&config).expect_err("short").contains("kid \"a\""));
    assert_eq!(strict(&self::config(TokenAlgorithm::EdDsa, &pairs(TokenAlgorithm::EdDsa)[0].public)), Ok(()));
}

#[test]
fn debug_shows_no_key() {
    let source = KeySource { algorithm: TokenAlgorithm::Hs256, material: hs_config().keys, strict: false };
    let raw = source.read().expect("readable");
    let set = source.build(&raw).expect("good");
    let shown = format!("{raw:?} {set:?} {:?}", Verifier::new(&hs_config()).expect("good"));
    assert!(!shown.contains(SECRET), "{shown}");
}
