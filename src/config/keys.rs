//! Which keys are fit to verify tokens with.

use std::path::{Path, PathBuf};

use jsonwebtoken::DecodingKey;

use super::TokenAlgorithm;
use super::choice::Choice;
use super::fault::Problem;

/// Shortest shared key in production, in bytes: the output of SHA-256, as RFC 7518 §3.2 demands of HS256.
const MIN_KEY_BYTES: usize = 32;

/// Fewer different bytes than this are no random key of [`MIN_KEY_BYTES`], not even one in hexadecimal.
const MIN_DIFFERENT_BYTES: usize = 8;

/// What examples in documentation and tutorials hold, in lower case and without punctuation.
const EXAMPLES: &[&str] = &[
    "changeme",
    "changethis",
    "replaceme",
    "yoursecret",
    "yourjwtsecret",
    "yoursupersecret",
    "your256bit",
    "your384bit",
    "your512bit",
    "atleast256bits",
    "atleast32",
    "mysecret",
    "supersecret",
    "secretkey",
    "devsecret",
    "testsecret",
    "insecure",
    "placeholder",
    "example",
    "password",
];

/// The algorithm as settings spell it.
pub(super) fn name(algorithm: TokenAlgorithm) -> &'static str {
    algorithm.name()
}

/// Whether the key fits the algorithm, and, where `strict`, whether nobody can guess it. Never shows the key.
pub(super) fn check(algorithm: TokenAlgorithm, strict: bool, key: &str) -> Result<(), Problem> {
    if algorithm.is_symmetric() { shared(algorithm, strict, key) } else { public(algorithm, key) }
}

fn shared(algorithm: TokenAlgorithm, strict: bool, key: &str) -> Result<(), Problem> {
    // Anybody may know a public key: whoever signs with it as an HS secret would pass.
    if key.contains("-----BEGIN") {
        let problem = format!("is a key in PEM, which is no secret for {}", name(algorithm));
        return Err(Problem::new(
            problem,
            "set JWT_ALGORITHM to the key's own and give it as JWT_PUBLIC_KEY",
        ));
    }
    let problem = if !strict {
        return Ok(());
    } else if is_example(key) {
        "is an example, which anybody can guess".to_owned()
    } else if key.len() < MIN_KEY_BYTES {
        format!("is shorter than {MIN_KEY_BYTES} bytes")
    } else {
        return Ok(());
    };
    Err(Problem::new(problem, "make a random one: openssl rand -hex 32"))
}

fn public(algorithm: TokenAlgorithm, key: &str) -> Result<(), Problem> {
    if key.contains("PRIVATE KEY-----") {
        let remedy = "give the public key only; the private one belongs to whoever signs tokens";
        return Err(Problem::new("is a private key", remedy));
    }
    let parsed = match algorithm {
        TokenAlgorithm::Es256 | TokenAlgorithm::Es384 => DecodingKey::from_ec_pem(key.as_bytes()),
        TokenAlgorithm::EdDsa => DecodingKey::from_ed_pem(key.as_bytes()),
        _ => DecodingKey::from_rsa_pem(key.as_bytes()),
    };
    match parsed {
        Ok(_) => Ok(()),
        Err(_) => {
            let problem = format!("is no public key for {} in PEM", name(algorithm));
            Err(Problem::new(
                problem,
                "give it whole, from -----BEGIN PUBLIC KEY----- on, line breaks included",
            ))
        }
    }
}

/// Whether a secret is known from documentation, or as good as none.
pub(super) fn is_example(secret: &str) -> bool {
    let letters: String = secret.chars().filter(char::is_ascii_alphanumeric).collect();
    let letters = letters.to_ascii_lowercase();
    let different: std::collections::BTreeSet<u8> = secret.bytes().collect();
    letters == "secret"
        || EXAMPLES.iter().any(|example| letters.contains(example))
        || different.len() < MIN_DIFFERENT_BYTES
}

/// The key files of a `JWT_KEYS_DIR`, in order; what begins with a dot is no key, as in a mounted Secret.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let is_key = |path: &PathBuf| {
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && path.is_file()
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_key).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::EXAMPLE_KEY;

    #[test]
    fn examples_are_known() {
        let examples = [
            "secret",
            "changeme",
            "your-secret-key-here-make-it-long-and-random",
            "a-string-secret-at-least-256-bits-long",
            "your-256-bit-secret",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            EXAMPLE_KEY,
        ];
        for example in examples {
            assert!(is_example(example), "{example}");
        }
        assert!(!is_example("5f2b0c7e91d84a36b0f7c1e2d3a495867b6c5d4e3f201918"));
    }

    #[test]
    fn strictness_is_about_shared_keys_in_production() {
        let short = "k7Qz!x9Lm2";
        assert!(check(TokenAlgorithm::Hs256, false, short).is_ok());
        assert!(check(TokenAlgorithm::Hs256, true, short).is_err());
    }

    #[test]
    fn a_public_key_has_to_fit_its_algorithm() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key pair");
        assert_eq!(check(TokenAlgorithm::Es256, true, &key.public_key_pem()), Ok(()));
        for algorithm in [TokenAlgorithm::Rs256, TokenAlgorithm::EdDsa, TokenAlgorithm::Hs256] {
            assert!(check(algorithm, false, &key.public_key_pem()).is_err());
        }
        let problem = check(TokenAlgorithm::Es256, false, &key.serialize_pem()).expect_err("private");
        assert_eq!(problem.problem, "is a private key");
    }

    #[test]
    fn hidden_entries_and_folders_are_no_keys() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.pem", "a", "..data", ".hidden"] {
            std::fs::write(folder.path().join(name), "x").expect("written");
        }
        std::fs::create_dir(folder.path().join("sub")).expect("made");
        assert_eq!(files(folder.path()), [folder.path().join("a"), folder.path().join("b.pem")]);
    }
}
