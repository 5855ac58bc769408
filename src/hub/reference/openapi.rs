//! The fragment of an OpenAPI document.
//!
//! The text of [OpenAPI 3.2][sse] says how an event is described: as an object of its fields, whose
//! `data` is a string, perhaps with `contentSchema`.
//!
//! [sse]: https://spec.openapis.org/oas/v3.2.0.html#special-considerations-for-server-sent-events

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{ContractSchema, Schemas, any_of, definition_of};

pub(super) fn components(schemas: &Schemas) -> Value {
    let keys = Keys::of(schemas);
    let definitions = schemas.definitions.iter();
    let definitions =
        definitions.map(|(name, schema)| (keys.of_definition(name), keys.moved(schema)));
    let definitions: Map<String, Value> = definitions.collect();
    json!({
        "components": {
            "responses": {
                "Events": {
                    "description": "A stream of events.",
                    "content": { "text/event-stream": { "itemSchema": item(schemas, &keys) } },
                },
            },
            "schemas": definitions,
        },
    })
}

/// The schema of an event.
fn item(schemas: &Schemas, keys: &Keys) -> Value {
    let branches = schemas.by_event().map(|(event, contracts)| branch(event, &contracts, keys));
    let mut branches: Vec<Value> = branches.collect();
    branches.push(others(schemas));
    json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": { "type": "string" },
            "event": { "type": "string" },
            "id": { "type": "string" },
            "retry": { "type": "integer", "minimum": 0 },
        },
        "oneOf": branches,
    })
}

/// The schema of the events of one name.
fn branch(event: &str, contracts: &[&ContractSchema], keys: &Keys) -> Value {
    let data: Vec<Value> = contracts.iter().map(|contract| keys.moved(&contract.schema)).collect();
    let data = json!({
        "contentMediaType": "application/json",
        "contentSchema": any_of(data.iter().collect()),
    });
    match is_unnamed(event) {
        true => json!({ "not": { "required": ["event"] }, "properties": { "data": data } }),
        false => json!({
            "required": ["event"],
            "properties": { "event": { "const": event }, "data": data },
        }),
    }
}

/// The schema of events that are in no contract.
fn others(schemas: &Schemas) -> Value {
    let events: Vec<&str> = schemas.by_event().map(|(event, _)| event).collect();
    let mut schema = json!({
        "description": "Another event, such as one that says how the stream goes on.",
        "properties": { "event": { "not": { "enum": events } } },
    });
    if events.into_iter().any(is_unnamed) {
        schema["required"] = json!(["event"]);
    }
    schema
}

/// Whether the events are sent without their name.
fn is_unnamed(event: &str) -> bool {
    event == "message"
}

/// The keys of definitions among the components, which may have letters, digits, `.`, `-` and `_`.
struct Keys(BTreeMap<String, String>);

impl Keys {
    fn of(schemas: &Schemas) -> Self {
        let mut keys = BTreeMap::<String, String>::new();
        for name in schemas.definitions.keys() {
            let valid = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_');
            let base = name.replace(|it| !valid(it), "_");
            let mut key = base.clone();
            for n in 2.. {
                if keys.values().all(|other| *other != key) {
                    break;
                }
                key = format!("{base}{n}");
            }
            keys.insert(name.clone(), key);
        }
        Self(keys)
    }

    fn of_definition(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// A schema with its references where the components are.
    fn moved(&self, schema: &Value) -> Value {
        let map = |map: &Map<String, Value>| {
            let moved = map.iter().map(|(keyword, value)| {
                let value = match (&**keyword, definition_of(schema)) {
                    ("$ref", Some(name)) => {
                        json!(format!("#/components/schemas/{}", self.of_definition(&name)))
                    }
                    // Data, and no schemas.
                    ("const" | "enum" | "default" | "examples", _) => value.clone(),
                    _ => self.moved(value),
                };
                (keyword.clone(), value)
            });
            Value::Object(moved.collect())
        };
        match schema {
            Value::Object(schema) => map(schema),
            Value::Array(schemas) => schemas.iter().map(|schema| self.moved(schema)).collect(),
            other => other.clone(),
        }
    }
}
