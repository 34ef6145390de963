//! The contract for front ends: message models and the shapes of errors.

use serde_json::{Value, json};

use crate::support::schema::{check, schema, validator};
use crate::support::service::Service;

const SCHEMAS: [&str; 4] = ["notification", "error", "error-body", "close-reason"];

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
