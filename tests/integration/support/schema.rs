//! The published JSON Schemas, as a front end would use them.

use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

use super::client::Closed;
use super::http::Answer;

/// A schema of `docs/schemas` by its short name.
pub(crate) fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schemas/{name}.schema.json"));
    serde_json::from_slice(&std::fs::read(path).expect("a schema")).expect("JSON")
}

pub(crate) fn validator(name: &str) -> Validator {
    jsonschema::options().should_validate_formats(true).build(&schema(name)).expect("a valid schema")
}

/// # Panics
/// With every fault, when the value does not follow the schema.
pub(crate) fn check(name: &str, value: &Value) {
    let faults: Vec<String> = validator(name).iter_errors(value).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?} in {value}");
}

/// Checks an error's whole answer: status, body and header agree. Returns its correlation id.
pub(crate) fn check_answer(answer: &Answer, status: u16, code: &str) -> String {
    assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    check("error-body", &body);
    let detail = &body["error_detail"];
    let message = detail["message"].as_str().expect("a message");
    assert_eq!(body["error"], format!("[{code}] {message}"));
    assert_eq!(detail["service"], "websocket-service");
    let id = detail["correlation_id"].as_str().expect("an id");
    assert_eq!(answer.header("x-correlation-id"), Some(id));
    assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Bearer"));
    id.to_owned()
}

/// Checks a close frame's code and reason. Returns the reason's message.
pub(crate) fn check_close(closed: &Closed, code: u16, error_code: &str) -> String {
    assert_eq!(closed.code, code, "{closed:?}");
    assert!(closed.reason.len() <= 123, "{closed:?}");
    check("close-reason", &serde_json::from_str(&closed.reason).expect("a JSON reason"));
    assert_eq!(closed.field("error_code"), error_code);
    closed.field("message")
}
