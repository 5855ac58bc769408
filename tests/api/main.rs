//! Prints the public API of the library, one line an item, from what rustdoc writes as JSON.
//!
//! It reads the JSON of the oldest supported Rust, whose format never changes.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use public_api::Builder;
use serde_json::Value;

/// The format of Rust 1.85.
const FORMAT: u64 = 37;
/// The format that `public_api` reads.
const READ: u64 = 38;

fn main() -> Result<(), Box<dyn Error>> {
    let argument = env::args_os().nth(1).ok_or("usage: tower-sse-api target/doc/tower_sse.json")?;
    for line in listing(Path::new(&argument))? {
        println!("{line}");
    }
    Ok(())
}

fn listing(path: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut json: Value = serde_json::from_slice(&fs::read(path)?)?;
    let format = json["format_version"].as_u64();
    if format != Some(FORMAT) {
        return Err(format!("rustdoc wrote format {format:?}, and {FORMAT} is read").into());
    }
    json["format_version"] = READ.into();
    convert(&mut json);

    let converted = path.with_extension("converted.json");
    fs::write(&converted, serde_json::to_vec(&json)?)?;
    let api = Builder::from_rustdoc_json(&converted).omit_blanket_impls(true).build()?;
    let lines = api.items().map(ToString::to_string);
    Ok(lines.filter(|line| is_of_interest(line)).collect())
}

/// Makes format 38 of format 37, which differ in two names.
fn convert(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_path = fields.len() == 3
                && ["name", "id", "args"].iter().all(|field| fields.contains_key(*field));
            if is_path {
                let name = fields.remove("name").unwrap_or_default();
                fields.insert("path".to_owned(), name);
            }
            if let Some(Value::Array(captured)) = fields.get_mut("use") {
                for name in captured {
                    *name = match name.as_str() {
                        Some(lifetime) if lifetime.starts_with('\'') => {
                            serde_json::json!({ "lifetime": lifetime })
                        }
                        _ => serde_json::json!({ "param": name }),
                    };
                }
            }
            fields.values_mut().for_each(convert);
        }
        Value::Array(values) => values.iter_mut().for_each(convert),
        _ => {}
    }
}

/// What nearly every type has would hide the rest.
///
/// A type that is `Send` by itself has no line. One that is not has the line `impl !Send`, and one
/// that is only for some parameters has a line with `where`.
fn is_of_interest(line: &str) -> bool {
    let is_manual = line.contains("tower_sse::manual");
    let is_hidden = ["::panic::unwind_safe::", "marker::Freeze", "__Origin<"]
        .iter()
        .any(|name| line.contains(name));
    let is_marker = ["Send", "Sync", "Unpin"]
        .iter()
        .any(|marker| line.contains(&format!(" core::marker::{marker} for ")));
    let is_derived = line.contains("::StructuralPartialEq")
        || [
            "::clone(&self)",
            "::fmt(&self, f: &mut core::fmt::Formatter",
            "::eq(&self, ",
            "::hash<__H: core::hash::Hasher>",
        ]
        .iter()
        .any(|method| line.contains(method));
    !is_manual && !is_hidden && !is_derived && (!is_marker || line.contains(" where "))
}
