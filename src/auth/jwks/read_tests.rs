use super::*;
use crate::auth::test_support::{ALGORITHMS, jwk, pairs, set_of};
use proptest::prelude::*;
use serde_json::json;

fn count(keys: &[Value], algorithm: TokenAlgorithm) -> Result<usize, String> {
    PublicKeys::read(&set_of(keys), algorithm).map(|keys| keys.len()).map_err(|error| error.to_string())
}

/// The entry with one field changed; null takes it out.
fn with(key: &Value, field: &str, value: Value) -> Value {
    let mut key = key.clone();
    match value {
        Value::Null => key.as_object_mut().expect("an object").remove(field),
        value => key.as_object_mut().expect("an object").insert(field.to_owned(), value),
    };
    key
}

#[test]
fn a_key_counts_for_its_own_algorithm_only_and_a_shared_one_for_none() {
    for own in ALGORITHMS {
        let entry = jwk(own, &pairs(own)[0], Some("a"));
        for configured in ALGORITHMS {
            let fits = own == configured && !own.is_symmetric();
            assert_eq!(
                count(std::slice::from_ref(&entry), configured).is_ok(),
                fits,
                "{own:?} {configured:?}"
            );
        }
    }
}

#[test]
fn entries_for_something_else_are_passed_over() {
    use TokenAlgorithm::{Es256, Rs256};
    let good = jwk(Rs256, &pairs(Rs256)[0], Some("a"));
    let ec = jwk(Es256, &pairs(Es256)[0], Some("b"));
    for fine in [
        with(&good, "alg", Value::Null),
        with(&good, "use", Value::Null),
        with(&good, "kid", Value::Null),
        with(&good, "key_ops", json!(["verify"])),
        with(&good, "x5c", json!(["AAAA"])),
        with(&good, "issued", json!({ "deep": [1] })),
        with(&good, "n", json!("A".repeat(1366))),
    ] {
        assert_eq!(count(std::slice::from_ref(&fine), Rs256), Ok(1), "{fine}");
    }
    for other in [
        ec.clone(),
        with(&good, "use", json!("enc")),
        with(&good, "use", json!(7)),
        with(&good, "alg", json!("RS512")),
        with(&good, "alg", json!("RSA-OAEP")),
        with(&good, "alg", json!("none")),
        with(&good, "key_ops", json!(["encrypt"])),
        with(&good, "kty", json!("oct")),
        with(&good, "n", json!("AQAB")),
        with(&good, "n", json!("A".repeat(340))),
        with(&good, "n", json!("A".repeat(1368))),
        with(&good, "n", json!("!".repeat(342))),
        with(&good, "n", Value::Null),
        with(&good, "kid", json!("x".repeat(257))),
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "RS256", "use": "sig" }),
        json!({ "kty": "RSA" }),
        json!({}),
        json!(null),
        json!("key"),
    ] {
        assert_eq!(count(&[good.clone(), other.clone()], Rs256), Ok(1), "{other}");
        let none = count(std::slice::from_ref(&other), Rs256).expect_err("no key");
        assert!(none.contains("no key for signatures of JWT_ALGORITHM"), "{none}");
    }
    assert_eq!(count(&[good.clone(), with(&good, "kid", json!("b"))], Rs256), Ok(2));
    // A key on another curve would never verify, or be taken for what it is not.
    assert!(count(&[with(&with(&ec, "crv", json!("P-384")), "alg", json!("ES256"))], Es256).is_err());
}

#[test]
fn what_is_no_set_or_too_large_a_one_is_an_error() {
    let read = |body: &[u8]| PublicKeys::read(body, TokenAlgorithm::Rs256).expect_err("no set").to_string();
    let deep = format!("{{\"keys\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for body in
        ["", "<html>", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[}"#, r#"{"keys":[],"keys":[]}"#, &deep]
    {
        assert!(read(body.as_bytes()).contains("no JSON Web Key Set"), "{body:.40}");
    }
    assert!(read(b"{\"keys\":[\"\xff\"]}").contains("no JSON Web Key Set"));
    assert!(read(&set_of(&[])).contains("no key for signatures"));
    assert!(read(&set_of(&vec![json!({}); 101])).contains("101 keys, which are more than 100"));
}

#[test]
fn a_kid_chooses_and_without_one_ten_at_most_are_tried() {
    let [a, b] = pairs(TokenAlgorithm::Es256);
    let entry = |pair, kid| jwk(TokenAlgorithm::Es256, pair, kid);
    let keys = [entry(&a, Some("a")), entry(&b, Some("b")), entry(&b, Some("b")), entry(&b, None)];
    let keys = PublicKeys::read(&set_of(&keys), TokenAlgorithm::Es256).expect("keys");
    let tried = |kid| keys.candidates(kid).count();
    assert_eq!([Some("a"), Some("b"), Some("c"), Some(""), None].map(tried), [1, 2, 0, 0, 4]);
    let many =
        PublicKeys::read(&set_of(&vec![entry(&a, Some("a")); 100]), TokenAlgorithm::Es256).expect("keys");
    assert_eq!((many.candidates(None).count(), many.candidates(Some("a")).count()), (10, 10));
}

proptest! {
    #[test]
    fn any_bytes_are_a_set_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
        for body in [&body[..], text.as_bytes(), format!(r#"{{"keys":[{{"kty":"RSA","n":{text:?},"e":"AQAB"}}]}}"#).as_bytes()] {
            prop_assert!(PublicKeys::read(body, TokenAlgorithm::Rs256).is_err());
        }
    }
}
