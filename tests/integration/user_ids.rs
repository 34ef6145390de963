//! User ids of any text, the same in every path.

use serde_json::json;

use crate::support::http::{self, escape};
use crate::support::raw::Raw;
use crate::support::schema::{check_answer, check_close};
use crate::support::service::{Service, bearer};
use crate::support::{LOCAL, eventually};

const IDS: [&str; 14] = [
    "plain",
    "with space",
    "a:b:c",
    "{tag}",
    "{user_id}",
    "a/b",
    "..",
    "50%",
    "a+b?c#d&e=f",
    "größe 你好 👩\u{200d}🚀",
    "line\nbreak\r\n",
    "\"quoted\"\\",
    "NUL\u{0}",
    "*",
];

#[tokio::test]
async fn any_text_is_a_user_in_every_path() {
    let service = Service::start(&[]).await;
    let longest = "ü".repeat(128);
    let others = service.connect("other").await;
    for user in IDS.into_iter().chain([longest.as_str()]) {
        let mut client = service.connect(user).await;
        let path = format!("/v1/users/{}/connections", escape(user));

        let answer = service.publish(user, "one").await;
        assert_eq!((answer.status, answer.json()["subscribers"].as_u64()), (202, Some(1)), "{user:?}");
        assert_eq!(client.text().await, "one");
        let body = json!([{ "user_id": user, "data": 2 }]).to_string();
        let answer = http::request(
            service.public(),
            "POST",
            "/v1/messages",
            &[("authorization", &bearer())],
            body.as_bytes(),
        )
        .await;
        assert_eq!(answer.status, 202);
        assert_eq!(client.text().await, "2");

        let open = service.admin_json(&path).await;
        assert_eq!(open["connections"].as_array().map(Vec::len), Some(1), "{user:?}");
        let closed = http::request(service.admin(), "DELETE", &path, &[], b"").await;
        assert_eq!((closed.status, closed.json()["closed"].as_u64()), (200, Some(1)));
        check_close(&client.closed().await, 4004, "AUTHORIZATION_ERROR");
        eventually("gone from the list", LOCAL, async || {
            let known = service.admin_json(&path).await;
            known["connections"] == json!([]) && known["last_close"]["code"] == 4004
        })
        .await;
        let answer = service.publish(user, "nobody").await;
        assert_eq!((answer.status, answer.json()["subscribers"].as_u64()), (202, Some(0)));
    }
    drop(others);
}

#[tokio::test]
async fn an_id_that_is_too_long_is_refused_in_every_path() {
    let service = Service::start(&[]).await;
    let long = "x".repeat(257);
    check_answer(&service.publish(&long, "x").await, 400, "VALIDATION_ERROR");
    let path = format!("/v1/users/{long}/connections");
    for method in ["GET", "DELETE"] {
        let answer = http::request(service.admin(), method, &path, &[], b"").await;
        check_answer(&answer, 400, "VALIDATION_ERROR");
    }
    // Whoever signs such a token is told, too.
    let token = crate::support::tokens::signed(&json!({ "sub": long, "exp": 4_000_000_000_u64 }));
    let mut client = Raw::open(service.public(), &format!("?token={token}"), &[]).await.expect("upgraded");
    assert_eq!(check_close(&client.closed().await, 1008, "AUTHENTICATION_ERROR"), "Bad sub in token");
}
