//! What is sent is what the schemas of a reference of contracts say, as a validator reads them.

use std::fmt::Write as _;

use jsonschema::{Validator, draft202012};
use serde_json::{Value, json};

use crate::harness::contracts::{reference, values};

fn validator(schema: &Value) -> Validator {
    assert!(jsonschema::meta::is_valid(schema), "{schema:#}");
    draft202012::new(schema).unwrap()
}

#[test]
fn what_is_sent_is_valid_by_the_json_schema_of_its_event() {
    let schema = reference().to_json_schema();
    let validator = validator(&schema);
    for (event, data) in values() {
        let sent = json!({ event: data });
        let errors: Vec<String> = validator.iter_errors(&sent).map(|it| it.to_string()).collect();
        assert!(errors.is_empty(), "{sent:#}\n{errors:#?}");
    }
}

#[test]
fn what_is_never_sent_is_not_valid() {
    let validator = validator(&reference().to_json_schema());
    for (event, data) in values() {
        // Each field of an object is needed, except those that may be left out.
        for field in data.as_object().into_iter().flatten().map(|(field, _)| field) {
            if field == "note" || field == "more" || event == "game move" {
                continue;
            }
            let mut less = data.clone();
            less.as_object_mut().unwrap().remove(field);
            assert!(!validator.is_valid(&json!({ event: less })), "{event} without {field}");
        }
        assert!(!validator.is_valid(&json!({ event: [data] })), "{event} in an array");
    }
}

#[test]
fn an_event_is_valid_by_the_item_schema_of_the_openapi_fragment_and_its_data_by_that_of_its_name() {
    let fragment = reference().to_openapi();
    let response = &fragment["components"]["responses"]["Events"];
    assert!(response["description"].is_string());
    let item = &response["content"]["text/event-stream"]["itemSchema"];
    let within = |schema: &Value| {
        let mut document = schema.clone();
        // Where its references are found.
        document["components"] = fragment["components"].clone();
        validator(&document)
    };
    let valid = within(item);
    let branches = item["oneOf"].as_array().unwrap();
    for (name, data) in values() {
        let mut event = json!({ "data": data.to_string(), "id": "7-1" });
        if name != "message" {
            event["event"] = json!(name);
        }
        assert!(valid.is_valid(&event), "{event:#}");
        let is_of_name = |it: &&Value| match name {
            "message" => it["not"] == json!({ "required": ["event"] }),
            name => it["properties"]["event"]["const"] == name,
        };
        let branch = branches.iter().find(is_of_name).unwrap();
        let content = &branch["properties"]["data"];
        assert_eq!(content["contentMediaType"], "application/json");
        let content = within(&content["contentSchema"]);
        assert!(content.is_valid(&data), "{name}: {data:#}");
        assert!(!content.is_valid(&json!([data])));
    }
    for (event, is_valid) in [
        (json!({ "event": "close", "data": "{}", "retry": 5 }), true),
        (json!({ "event": "paid" }), false),
        (json!({ "event": "paid", "data": {} }), false),
        (json!({ "event": "close", "data": "", "retry": -1 }), false),
    ] {
        assert_eq!(valid.is_valid(&event), is_valid, "{event:#}");
    }
    for key in fragment["components"]["schemas"].as_object().unwrap().keys() {
        let valid = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_');
        assert!(key.chars().all(valid), "{key}");
    }
    // It fits into other documents: nothing refers to what is not there.
    let mut references = String::new();
    let _ = write!(references, "{fragment}");
    assert!(!references.contains("#/$defs"));
}
