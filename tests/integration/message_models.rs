//! The contract for front ends: message models and the shapes of errors.

use serde_json::{Value, json};

use crate::support::http;
use crate::support::schema::{check, schema, validator};
use crate::support::service::{Service, bearer, token};
use crate::v1::V1;

const SCHEMAS: [&str; 6] =
    ["notification", "error", "error-body", "close-reason", "v1-server-frame", "v1-client-frame"];

#[test]
fn every_schema_takes_its_own_examples_and_more_fields() {
    for name in SCHEMAS {
        let examples = schema(name)["examples"].as_array().expect("examples").clone();
        assert!(!examples.is_empty());
        for mut example in examples {
            check(name, &example);
            example["a_field_of_tomorrow"] = json!({ "any": ["thing"] });
            check(name, &example);
        }
    }
}

#[test]
fn a_field_that_is_missing_or_wrong_is_found() {
    for name in SCHEMAS {
        let example = schema(name)["examples"][0].clone();
        for required in schema(name)["required"].as_array().expect("required") {
            let mut without = example.clone();
            without.as_object_mut().expect("an object").remove(required.as_str().expect("a name"));
            assert!(!validator(name).is_valid(&without), "{name} without {required}");
        }
    }
    let code = json!({ "error_code": "OTHER", "message": "", "correlation_id": "6f0c2d3e-5a55-4c93-9d51-0f6f4a7b8c9d" });
    assert!(!validator("close-reason").is_valid(&code), "codes are a closed set");
    assert!(!validator("notification").is_valid(&json!({ "type": "error", "event_type": "a", "data": 1 })));
}

#[tokio::test]
async fn models_arrive_as_they_were_published() {
    let service = Service::start(&[]).await;
    let mut client = service.connect("ann").await;
    for name in ["notification", "error"] {
        for example in schema(name)["examples"].as_array().expect("examples") {
            for text in [example.to_string(), serde_json::to_string_pretty(example).expect("JSON")] {
                service.publish("ann", &text).await;
                let arrived = client.text().await;
                assert_eq!(arrived, text);
                let value: Value = serde_json::from_str(&arrived).expect("JSON");
                check(name, &value);
            }
        }
    }
}

#[test]
fn a_frame_of_v1_that_lacks_a_field_is_found() {
    for name in ["v1-server-frame", "v1-client-frame"] {
        let frames = schema(name)["$defs"].as_object().expect("definitions").clone();
        for example in schema(name)["examples"].as_array().expect("examples") {
            let frame = &frames[example["type"].as_str().expect("a type")];
            for required in frame["required"].as_array().expect("required") {
                let mut without = example.clone();
                without.as_object_mut().expect("an object").remove(required.as_str().expect("a name"));
                assert!(!validator(name).is_valid(&without), "{example} without {required}");
            }
        }
    }
    for bad in [
        json!({ "type": "message", "id": "1-0" }),
        json!({ "type": "message", "id": "1-0", "data": 1, "text": "1" }),
        json!({ "type": "message", "id": 7, "data": 1 }),
        json!({ "type": "gap", "after": 7 }),
    ] {
        assert!(!validator("v1-server-frame").is_valid(&bad), "{bad}");
    }
}

/// What the service sends is checked wherever a test reads it: [`V1::frame`].
#[tokio::test]
async fn the_service_takes_the_frames_of_the_schema() {
    let service = Service::start(&[]).await;
    let mut client = V1::connect(&service, "ann", None).await;
    for mut example in schema("v1-client-frame")["examples"].as_array().expect("examples").clone() {
        let answered = example["type"] == "ping";
        if example.get("token").is_some() {
            example["token"] = json!(token("ann"));
        }
        client.says(&example).await;
        if answered {
            example["type"] = json!("pong");
            assert_eq!(client.frame().await, example);
        }
    }
    client.says(&json!({ "type": "ping", "data": "last" })).await;
    assert_eq!(client.frame().await["data"], "last", "nothing was answered with an error");
}

#[tokio::test]
async fn a_publisher_s_trace_reaches_the_client() {
    let service = Service::start(&[]).await;
    let mut client = V1::connect(&service, "ann", None).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let bearer = bearer();
    let headers = [("authorization", bearer.as_str()), ("traceparent", trace)];
    let path = "/v1/users/ann/messages";
    assert_eq!(http::request(service.public(), "POST", path, &headers, b"7").await.status, 202);
    assert_eq!(client.frame().await["traceparent"], trace);
}
