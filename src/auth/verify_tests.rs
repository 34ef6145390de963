use super::*;
use crate::auth::Grant;
use crate::auth::test_support::*;
use crate::config::TokenAlgorithm;
use proptest::prelude::*;
use serde_json::json;

fn verifier(config: &AuthConfig) -> Verifier {
    Verifier::new(config).expect("good keys")
}

fn verify(token: &str) -> Result<Identity, TokenError> {
    verifier(&hs_config()).verify_at(token, now())
}

fn claims_error(claims: &Value) -> Option<TokenError> {
    verify(&token(claims)).err()
}

#[test]
fn every_algorithm_verifies_its_own_key_and_no_other() {
    for algorithm in ALGORITHMS {
        let [ours, other] = pairs(algorithm);
        let config = config(algorithm, &ours.public);
        let grant = Grant::new(&config, user("alice"), Duration::from_secs(60));
        let minted = |private: &str| {
            let minter = Minter::new(algorithm, &private.to_owned().into()).expect("a private key");
            minter.mint(&grant).expect("a token")
        };
        let verifier = verifier(&config);
        let identity = verifier.verify(minted(&ours.private).expose()).expect("a good token");
        assert_eq!(identity.user, user("alice"));
        assert!(identity.expires_at > SystemTime::now());
        assert_eq!(
            verifier.verify(minted(&other.private).expose()),
            Err(TokenError::Signature),
            "{algorithm:?}"
        );
    }
}

#[test]
fn the_identity_is_sub_and_exp() {
    let expires_at = now() + Duration::from_secs(3600);
    assert_eq!(
        verify(&token(&good_claims())),
        Ok(Identity { user: user("alice"), expires_at, credential: Credential::default() })
    );
}

#[test]
fn the_algorithm_never_comes_from_the_token() {
    use TokenAlgorithm::*;
    let claims = good_claims().to_string();
    // Signed in truth by another member of the family.
    assert_eq!(verify(&raw_hs(Hs512, r#"{"alg":"HS512"}"#, &claims, SECRET)), Err(TokenError::Algorithm));
    // The header lies, one way and the other.
    assert_eq!(verify(&raw_hs(Hs256, r#"{"alg":"HS384"}"#, &claims, SECRET)), Err(TokenError::Algorithm));
    assert_eq!(verify(&raw_hs(Hs384, r#"{"alg":"HS256"}"#, &claims, SECRET)), Err(TokenError::Signature));
    for algorithm in [Rs256, Ps256, Es256, EdDsa] {
        let public = pairs(algorithm)[0].public.clone();
        let verifier = verifier(&config(algorithm, &public));
        // The classic: the public key, which everybody has, as HMAC secret.
        for header in ["HS256", "RS256", "PS256", "ES256", "EdDSA"] {
            let token = raw_hs(Hs256, &json!({ "alg": header }).to_string(), &claims, &public);
            let error = verifier.verify_at(&token, now()).expect_err("forged");
            assert!(
                [TokenError::Algorithm, TokenError::Signature].contains(&error),
                "{algorithm:?} {header}"
            );
        }
    }
}

#[test]
fn unsigned_tokens_are_refused() {
    let claims = base64(good_claims().to_string().as_bytes());
    for alg in ["none", "None", "NONE", "nOnE", "", "HS257", "ES512"] {
        let header = base64(json!({ "alg": alg }).to_string().as_bytes());
        for token in
            [format!("{header}.{claims}."), format!("{header}.{claims}"), format!("{header}.{claims}.AA")]
        {
            assert_eq!(verify(&token), Err(TokenError::Malformed), "{alg}");
        }
    }
    let header = base64(br#"{"alg":"HS256"}"#);
    assert_eq!(verify(&format!("{header}.{claims}.")), Err(TokenError::Signature));
}

#[test]
fn headers_that_ask_for_more_are_refused() {
    let with = |header: &str| {
        verify(&raw_hs(TokenAlgorithm::Hs256, header, &good_claims().to_string(), SECRET))
            .map(|identity| identity.user)
    };
    assert_eq!(with(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#), Err(TokenError::Critical));
    assert_eq!(with(r#"{"alg":"HS256","crit":["exp"]}"#), Err(TokenError::Critical));
    // Not allowed to be empty (RFC 7515 §4.1.11), so not taken for none.
    assert_eq!(with(r#"{"alg":"HS256","crit":[]}"#), Err(TokenError::Critical));
    assert_eq!(with(r#"{"alg":"HS256","crit":"b64"}"#), Err(TokenError::Malformed));
    assert_eq!(with(r#"{"alg":"HS256","alg":"none"}"#), Err(TokenError::Malformed));
    assert_eq!(with(r#"{"alg":"HS256","\u0061lg":"HS256"}"#), Err(TokenError::Malformed));
    for kid in ["5", "[]", "{}", "true", r#"["a"]"#] {
        assert_eq!(with(&format!(r#"{{"alg":"HS256","kid":{kid}}}"#)), Err(TokenError::Malformed), "{kid}");
    }
    // Without crit it means nothing (RFC 7797 §6): the claims are read as they always are.
    assert_eq!(with(r#"{"alg":"HS256","b64":false}"#), Ok(user("alice")));
    assert_eq!(with(r#"{"typ":"JWT"}"#), Err(TokenError::Malformed));
    // A key that comes with the token is not looked at.
    let jwk = r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"},"jku":"https://evil.example","x":1}"#;
    assert_eq!(with(jwk), Ok(user("alice")));
}

#[test]
fn claims_that_are_not_encoded_are_no_claims() {
    let header = base64(br#"{"alg":"HS256","b64":false,"crit":["b64"]}"#);
    for claims in [good_claims().to_string(), "$.02".to_owned(), String::new()] {
        let error = verify(&format!("{header}.{claims}.AAAA")).expect_err("refused");
        assert!([TokenError::Critical, TokenError::Malformed].contains(&error), "{claims}");
    }
}

#[test]
fn a_claim_that_counts_may_be_said_once_and_what_is_deep_does_no_harm() {
    let config = AuthConfig { issuer: Some("a".to_owned()), audience: Some("b".to_owned()), ..hs_config() };
    let verifier = verifier(&config);
    let with = |header: &str, more: &str| {
        let claims = format!(r#"{{"sub":"a","exp":{},"iss":"a","aud":"b"{more}}}"#, NOW + 60);
        let token = raw_hs(TokenAlgorithm::Hs256, header, &claims, SECRET);
        assert!(token.len() <= MAX_TOKEN_BYTES);
        verifier.verify_at(&token, now()).map(|_| ())
    };
    const PLAIN: &str = r#"{"alg":"HS256"}"#;
    assert_eq!(with(PLAIN, ""), Ok(()));
    for more in [
        r#","sub":"root""#,
        r#","s\u0075b":"root""#,
        r#","exp":1"#,
        r#","iss":"a""#,
        r#","aud":"b""#,
        r#"} {"#,
    ] {
        assert_eq!(with(PLAIN, more), Err(TokenError::Malformed), "{more}");
    }
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(with(PLAIN, &format!(r#","more":{}"#, deep(2_500))), Ok(()));
    for claim in ["sub", "nbf"] {
        let token =
            raw_hs(TokenAlgorithm::Hs256, PLAIN, &format!(r#"{{"{claim}":{}}}"#, deep(2_500)), SECRET);
        assert_eq!(verifier.verify_at(&token, now()), Err(TokenError::Malformed));
    }
    let header = format!(r#"{{"alg":"HS256","more":{}}}"#, deep(2_500));
    assert_eq!(with(&header, ""), Err(TokenError::Malformed));
}

#[test]
fn when_a_token_was_made_does_not_count() {
    for iat in [json!(NOW + 10_000), json!(0), json!(-1), json!("soon"), json!(null)] {
        assert_eq!(claims_error(&json!({ "sub": "a", "exp": NOW + 60, "iat": iat })), None, "{iat}");
    }
}

#[test]
fn what_is_revoked_is_refused_by_its_id_or_by_when_it_was_made() {
    use crate::protocol::Revoked;
    let verifier = verifier(&hs_config());
    let with = |exp: u64, more: Value| {
        let mut claims = json!({ "sub": "alice", "exp": exp });
        claims.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        verifier.verify_at(&token(&claims), now()).map(|identity| identity.credential)
    };
    let one = || TokenId::new("one").expect("an id");
    let (claims, credential) =
        (json!({ "jti": "one", "iat": 99.5 }), Credential { issued_at: 99, id: Some(one()) });
    assert_eq!(with(NOW + 60, claims.clone()), Ok(credential));
    verifier.revoked().add(Revoked::Token { token_id: one() });
    assert_eq!(with(NOW + 60, claims.clone()), Err(TokenError::Revoked));
    assert_eq!(with(1, claims), Err(TokenError::Expired), "it is that anyway");
    assert!(with(NOW + 60, json!({ "jti": "two" })).is_ok());

    verifier.revoked().add(Revoked::User { user_id: user("alice"), issued_before: 100 });
    for old in [json!({ "iat": 99 }), json!({}), json!({ "iat": "soon" }), json!({ "jti": "two", "iat": -1 })]
    {
        assert_eq!(with(NOW + 60, old.clone()), Err(TokenError::Revoked), "{old}");
    }
    assert!(with(NOW + 60, json!({ "iat": 100 })).is_ok());
}

#[test]
fn sub_is_required_and_bounded() {
    for (sub, error) in [
        (json!(null), Some(TokenError::NoSubject)),
        (json!(""), Some(TokenError::BadSubject)),
        (json!(7), Some(TokenError::BadSubject)),
        (json!(["alice"]), Some(TokenError::Malformed)),
        (json!(true), Some(TokenError::BadSubject)),
        (json!("x".repeat(257)), Some(TokenError::BadSubject)),
        (json!("ü".repeat(129)), Some(TokenError::BadSubject)),
        (json!("x".repeat(256)), None),
        (json!("a b:{c}\n\u{0}\"ü"), None),
    ] {
        assert_eq!(claims_error(&json!({ "sub": sub, "exp": NOW + 60 })), error, "{sub}");
    }
    assert_eq!(claims_error(&json!({ "exp": NOW + 60 })), Some(TokenError::NoSubject));
}

#[test]
fn exp_is_required_and_a_time() {
    assert_eq!(claims_error(&json!({ "sub": "a" })), Some(TokenError::NoExpiry));
    assert_eq!(claims_error(&json!({ "sub": "a", "exp": null })), Some(TokenError::NoExpiry));
    for exp in [
        "1e30",
        "-1",
        "-0.5",
        "-1800000060.5",
        "\"1800000060\"",
        "true",
        "[]",
        "{}",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "253402300800",
        "253402300800.5",
        "1800000060000",
    ] {
        let claims = format!(r#"{{"sub":"a","exp":{exp}}}"#);
        let token = raw_hs(TokenAlgorithm::Hs256, r#"{"alg":"HS256"}"#, &claims, SECRET);
        assert_eq!(verify(&token), Err(TokenError::BadExpiry), "{exp}");
    }
    assert_eq!(claims_error(&json!({ "sub": "a", "exp": MAX_EXP })), None);
    assert_eq!(claims_error(&json!({ "sub": "a", "exp": 0 })), Some(TokenError::Expired));
    // Beyond any number, and twice: no JSON that means something.
    for exp in ["1e400", "1,\"exp\":1900000000"] {
        let claims = format!(r#"{{"sub":"a","exp":{exp}}}"#);
        let token = raw_hs(TokenAlgorithm::Hs256, r#"{"alg":"HS256"}"#, &claims, SECRET);
        assert_eq!(verify(&token), Err(TokenError::Malformed), "{exp}");
    }
}

#[test]
fn times_may_have_fractions_which_are_cut_off() {
    for exp in ["1800000060.75", "1800000060.0", "18000000607e-1"] {
        let claims = format!(r#"{{"sub":"a","exp":{exp},"nbf":1799999999.9}}"#);
        let token = raw_hs(TokenAlgorithm::Hs256, r#"{"alg":"HS256"}"#, &claims, SECRET);
        let expires_at = now() + Duration::from_secs(60);
        assert_eq!(
            verify(&token),
            Ok(Identity { user: user("a"), expires_at, credential: Credential::default() }),
            "{exp}"
        );
    }
    assert_eq!(claims_error(&json!({ "sub": "a", "exp": 1.5 })), Some(TokenError::Expired));
}

#[test]
fn the_leeway_bounds_both_times_to_the_nanosecond() {
    for leeway in [0, 5] {
        let config = AuthConfig { leeway: Duration::from_secs(leeway), ..hs_config() };
        let verifier = verifier(&config);
        let at = |claims: Value, now: SystemTime| verifier.verify_at(&token(&claims), now).map(|_| ());
        let tick = Duration::from_nanos(1);
        let exp = json!({ "sub": "a", "exp": NOW });
        let last = now() + Duration::from_secs(leeway);
        assert_eq!(at(exp.clone(), last - tick), Ok(()));
        assert_eq!(at(exp, last), Err(TokenError::Expired));
        let nbf = json!({ "sub": "a", "exp": NOW + 60, "nbf": NOW });
        let first = now() - Duration::from_secs(leeway);
        assert_eq!(at(nbf.clone(), first), Ok(()));
        assert_eq!(at(nbf, first - tick), Err(TokenError::NotActive));
    }
}

#[test]
fn a_boundless_leeway_does_not_panic() {
    let verifier = verifier(&AuthConfig { leeway: Duration::MAX, ..hs_config() });
    let claims = json!({ "sub": "a", "exp": 1, "nbf": MAX_EXP });
    assert!(verifier.verify_at(&token(&claims), now()).is_ok());
}

#[test]
fn nbf_counts_when_present() {
    let with = |nbf: Value| claims_error(&json!({ "sub": "a", "exp": NOW + 60, "nbf": nbf }));
    assert_eq!(with(json!(null)), None);
    assert_eq!(with(json!(0)), None);
    assert_eq!(with(json!(u64::MAX)), Some(TokenError::NotActive));
    assert_eq!(with(json!(1.5)), None);
    assert_eq!(with(json!(1e30)), Some(TokenError::NotActive));
    for nbf in [json!(-1), json!(-1.5), json!("1"), json!([])] {
        assert_eq!(with(nbf), Some(TokenError::BadNotBefore));
    }
}

#[test]
fn issuer_and_audience_count_only_when_configured() {
    let claims = |iss: Value, aud: Value| json!({ "sub": "a", "exp": NOW + 60, "iss": iss, "aud": aud });
    for odd in [json!(null), json!("x"), json!(["x", "y"]), json!(5), json!({})] {
        assert_eq!(claims_error(&claims(odd.clone(), odd)), None);
    }
    let config = AuthConfig {
        issuer: Some("https://id.example".to_owned()),
        audience: Some("push".to_owned()),
        ..hs_config()
    };
    let verifier = verifier(&config);
    let error = |iss: Value, aud: Value| verifier.verify_at(&token(&claims(iss, aud)), now()).err();
    let iss = json!("https://id.example");
    assert_eq!(error(iss.clone(), json!("push")), None);
    assert_eq!(error(iss.clone(), json!(["other", "push"])), None);
    for bad in [json!(null), json!("other"), json!(["other"]), json!([]), json!(5), json!("PUSH")] {
        assert_eq!(error(iss.clone(), bad.clone()), Some(TokenError::Audience), "{bad}");
    }
    for bad in [json!(null), json!("https://id.example/"), json!(5)] {
        assert_eq!(error(bad.clone(), json!("push")), Some(TokenError::Issuer), "{bad}");
    }
}

#[test]
fn length_is_checked_before_anything_else() {
    assert_eq!(verify(""), Err(TokenError::Missing));
    assert_eq!(verify(&"x".repeat(MAX_TOKEN_BYTES)), Err(TokenError::Malformed));
    assert_eq!(verify(&"x".repeat(MAX_TOKEN_BYTES + 1)), Err(TokenError::TooLong));
}

proptest! {
    #[test]
    fn any_text_is_an_error_and_no_panic(text in "\\PC{0,200}", parts in "([A-Za-z0-9_-]{0,40}\\.){0,4}[A-Za-z0-9_-]{0,60}") {
        let verifier = verifier(&hs_config());
        prop_assert!(verifier.verify(&text).is_err());
        prop_assert!(verifier.verify(&parts).is_err());
    }

    #[test]
    fn any_signed_claims_do_not_panic(claims in "\\PC{0,80}", header in "\\PC{0,40}", exp in any::<f64>(), nbf in any::<i128>()) {
        let verifier = verifier(&hs_config());
        let numbers = format!(r#"{{"sub":"a","exp":{exp},"nbf":{nbf}}}"#);
        for claims in [&claims, &numbers] {
            let header = format!(r#"{{"alg":"HS256","kid":{}}}"#, json!(header));
            let token = raw_hs(TokenAlgorithm::Hs256, &header, claims, SECRET);
            prop_assert!(verifier.verify_at(&token, now()).is_err());
        }
    }

    #[test]
    fn one_changed_byte_breaks_a_token(at in 0usize..1000, to in "[A-Za-z0-9_.-]") {
        let mut bytes = token(&good_claims()).into_bytes();
        let at = at % bytes.len();
        let to = to.as_bytes()[0];
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        prop_assert!(verify(&String::from_utf8(bytes).expect("ASCII")).is_err());
    }
}
