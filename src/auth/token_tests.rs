use super::*;
use proptest::prelude::*;

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
    }
    map
}

fn present(
    query: Option<&str>,
    lines: &[(&'static str, &str)],
) -> (Result<String, TokenError>, Option<&'static str>) {
    let presented = from_request(query, &headers(lines));
    (presented.token.map(|token| token.expose().to_owned()), presented.subprotocol)
}

fn jwt() -> Result<String, TokenError> {
    Ok(JWT.to_owned())
}

#[test]
fn finds_the_token_in_each_of_its_places() {
    assert_eq!(present(Some(&format!("token={JWT}")), &[]), (jwt(), None));
    assert_eq!(present(Some(&format!("last_event_id=5-0&token={JWT}&x")), &[]), (jwt(), None));
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer  ", "bearer\t"] {
        assert_eq!(present(None, &[("authorization", &format!("{scheme} {JWT}"))]), (jwt(), None));
    }
    let offer = format!("bearer, {JWT}");
    assert_eq!(present(Some(""), &[("sec-websocket-protocol", &offer)]), (jwt(), Some("bearer")));
}

#[test]
fn reads_the_list_of_subprotocols_in_any_layout() {
    for lines in [
        vec![format!("bearer,{JWT}")],
        vec![format!("bearer,, {JWT},")],
        vec!["bearer".to_owned(), JWT.to_owned()],
        vec!["other, bearer".to_owned(), format!("{JWT}, more")],
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("sec-websocket-protocol", line.as_str())).collect();
        assert_eq!(present(None, &lines), (jwt(), Some("bearer")), "{lines:?}");
    }
    for line in [
        format!("websocket-service.v1, bearer, {JWT}"),
        format!("bearer, {JWT}, websocket-service.v1"),
        format!("bearer, {JWT}, other, websocket-service.v1"),
    ] {
        let found = present(None, &[("sec-websocket-protocol", line.as_str())]);
        assert_eq!(found, (jwt(), Some("websocket-service.v1")), "{line}");
    }
}

#[test]
fn selects_only_what_is_spoken() {
    let query = format!("token={JWT}");
    let offered = |offer| present(Some(&query), &[("sec-websocket-protocol", offer)]);
    assert_eq!(offered("websocket-service.v1"), (jwt(), Some("websocket-service.v1")));
    assert_eq!(offered("bearer"), (jwt(), Some("bearer")));
    assert_eq!(offered("bearer, websocket-service.v1"), (jwt(), Some("websocket-service.v1")));
    assert_eq!(offered("Bearer, x"), (jwt(), None));
}

#[test]
fn a_refused_token_still_gets_its_subprotocol() {
    let offer = format!("bearer, {}", "x".repeat(MAX_TOKEN_BYTES + 1));
    assert_eq!(
        present(None, &[("sec-websocket-protocol", &offer)]),
        (Err(TokenError::TooLong), Some("bearer"))
    );
}

#[test]
fn a_token_may_be_named_once() {
    let (bearer, offer) = (format!("Bearer {JWT}"), format!("bearer, {JWT}"));
    let query = format!("token={JWT}");
    let authorization = ("authorization", bearer.as_str());
    let protocol = ("sec-websocket-protocol", offer.as_str());
    for (query, lines) in [
        (format!("{query}&{query}"), vec![]),
        (format!("{query}&t%6Fken=x"), vec![]),
        (format!("token=&{query}"), vec![]),
        (query.clone(), vec![authorization]),
        (query, vec![protocol]),
        (String::new(), vec![authorization, protocol]),
        (String::new(), vec![authorization, authorization]),
        (String::new(), vec![protocol, protocol]),
    ] {
        assert_eq!(present(Some(&query), &lines).0, Err(TokenError::Several), "{query} {lines:?}");
    }
}

#[test]
fn without_a_token_it_is_missing() {
    for query in [None, Some(""), Some("token="), Some("token"), Some("Token=x"), Some("&&=&tok%zen=x")] {
        assert_eq!(present(query, &[]).0, Err(TokenError::Missing), "{query:?}");
    }
    for line in ["Basic YTpi", "Bearer", "Bearer ", "Bearerx"] {
        assert_eq!(present(None, &[("authorization", line)]).0, Err(TokenError::Missing), "{line}");
    }
    assert_eq!(present(None, &[("sec-websocket-protocol", "bearer")]).0, Err(TokenError::Missing));
}

#[test]
fn another_scheme_does_not_hide_the_token() {
    let query = format!("token={JWT}");
    assert_eq!(present(Some(&query), &[("authorization", "Basic YTpi")]).0, jwt());
}

#[test]
fn broken_encoding_is_refused() {
    for query in ["token=%", "token=%2", "token=%zz", "token=a%+1", "token=%ff", "token=%C3%28"] {
        assert_eq!(present(Some(query), &[]).0, Err(TokenError::Encoding), "{query}");
    }
    assert_eq!(present(None, &[("authorization", "Bearer \u{e4}")]).0, Ok("\u{e4}".to_owned()));
    let mut map = HeaderMap::new();
    map.insert(AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff").expect("a header value"));
    assert_eq!(from_request(None, &map).token, Err(TokenError::Encoding));
}

#[test]
fn the_bound_counts_decoded_bytes() {
    let at = |count: usize, unit: &str| present(Some(&format!("token={}", unit.repeat(count))), &[]).0;
    for unit in ["x", "%78"] {
        assert_eq!(at(MAX_TOKEN_BYTES, unit), Ok("x".repeat(MAX_TOKEN_BYTES)));
        assert_eq!(at(MAX_TOKEN_BYTES + 1, unit), Err(TokenError::TooLong));
    }
    let longest = "x".repeat(MAX_TOKEN_BYTES);
    assert_eq!(present(None, &[("authorization", &format!("Bearer {longest}"))]).0, Ok(longest.clone()));
    assert_eq!(
        present(None, &[("authorization", &format!("Bearer {longest}x"))]).0,
        Err(TokenError::TooLong)
    );
}

#[test]
fn debug_hides_the_token() {
    let presented = from_request(Some(&format!("token={JWT}")), &HeaderMap::new());
    assert!(!format!("{presented:?}").contains("eyJ"));
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn any_token_survives_form_encoding(token in "\\PC{1,100}", key in "(token|%74oken|tok%65n)") {
        let query = format!("a=b&{key}={}", encode(&token));
        prop_assert_eq!(present(Some(&query), &[]).0, Ok(token));
    }

    #[test]
    fn no_query_and_no_headers_panic(
        query in "(\\PC|&|=|%|\\+|token){0,200}",
        authorization in proptest::collection::vec(any::<u8>(), 0..60),
        protocol in "(bearer|,| |\\PC|websocket-service.v1){0,60}",
    ) {
        let mut map = HeaderMap::new();
        for (name, bytes) in [(AUTHORIZATION, authorization), (SEC_WEBSOCKET_PROTOCOL, protocol.into_bytes())] {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                map.append(name, value);
            }
        }
        if let Ok(token) = from_request(Some(&query), &map).token {
            prop_assert!((1..=MAX_TOKEN_BYTES).contains(&token.expose().len()));
        }
    }
}
