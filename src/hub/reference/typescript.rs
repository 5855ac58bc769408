//! Types of TypeScript for schemas.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{EVENTS, Schemas, definition_of};

/// Writes the types of schemas.
pub(super) struct TypeScript<'a> {
    schemas: &'a Schemas,
    /// The names in TypeScript of definitions.
    names: BTreeMap<&'a str, String>,
}

/// How a type is written.
#[derive(Clone, Copy)]
enum Layout {
    /// On one line, without comments.
    Inline,
    /// On several lines with comments, indented by so much.
    Lines(usize),
}

/// A type, and what it has at its top, which decides on parentheses.
#[derive(PartialEq, Eq)]
struct Type {
    text: String,
    top: Top,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Top {
    Union,
    Intersection,
    Other,
}

type Keywords = Map<String, Value>;

impl<'a> TypeScript<'a> {
    pub(super) fn new(schemas: &'a Schemas) -> Self {
        let mut names = BTreeMap::<&str, String>::new();
        for definition in schemas.definitions.keys() {
            let base = identifier(definition);
            let mut name = base.clone();
            for n in 2.. {
                if names.values().all(|other| *other != name) {
                    break;
                }
                name = format!("{base}{n}");
            }
            names.insert(definition, name);
        }
        Self { schemas, names }
    }

    /// The interface of all events.
    pub(super) fn events(&self) -> String {
        let mut text = comment(EVENTS, 0);
        text.push_str("export interface Events {\n");
        for (event, contracts) in self.schemas.by_event() {
            let about = contracts.iter().map(|contract| {
                let description = self.schemas.description(&contract.schema);
                match description {
                    "" => format!("`{}`", contract.channel),
                    description => format!("`{}`: {description}", contract.channel),
                }
            });
            let mut about: Vec<String> = about.collect();
            about.dedup();
            text.push_str(&comment(&about.join("\n\n"), 1));
            let data = contracts.iter().map(|it| self.type_of(&it.schema, Layout::Lines(1)));
            let data = union(data.collect()).text;
            text.extend([&*indent(1), &property(event), ": ", &data, ";\n"]);
        }
        text.push_str("}\n");
        text
    }

    /// The interface, or else the type, of a definition.
    pub(super) fn declaration(&self, definition: &str) -> String {
        let (Some(schema), Some(name)) =
            (self.schemas.definitions.get(definition), self.names.get(definition))
        else {
            return String::new();
        };
        let mut text = comment_of(schema, 0);
        let keywords = schema.as_object();
        if let Some(keywords) = keywords.filter(|keywords| is_interface(keywords)) {
            let members = self.object(keywords, Layout::Lines(0)).text;
            text.extend(["export interface ", name, " ", &members, "\n"]);
            return text;
        }
        text.extend(["export type ", name, " ="]);
        match keywords.and_then(described_branches) {
            Some(branches) => {
                for branch in branches {
                    let branch_type = self.type_of(branch, Layout::Lines(1)).text;
                    text.extend(["\n", &comment_of(branch, 1), &indent(1), "| ", &branch_type]);
                }
            }
            None => text.extend([" ", &self.type_of(schema, Layout::Lines(0)).text]),
        }
        text.push_str(";\n");
        text
    }

    /// The type on one line, in which types that have a name stand by their name.
    pub(super) fn inline(&self, schema: &Value) -> String {
        self.type_of(schema, Layout::Inline).text
    }

    fn type_of(&self, schema: &Value, layout: Layout) -> Type {
        let Value::Object(keywords) = schema else {
            return match schema {
                Value::Bool(false) => other("never"),
                _ => other(UNKNOWN),
            };
        };
        let mut parts = Vec::new();
        if keywords.contains_key("$ref") {
            let name = definition_of(schema).and_then(|name| self.names.get(&*name));
            parts.push(other(name.map_or(UNKNOWN, String::as_str)));
        }
        for any in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = keywords.get(any) {
                let branches = branches.iter().map(|branch| self.type_of(branch, layout));
                parts.push(union(branches.collect()));
            }
        }
        if let Some(Value::Array(all)) = keywords.get("allOf") {
            parts.extend(all.iter().map(|schema| self.type_of(schema, layout)));
        }
        if let Some(own) = self.own_type(keywords, layout, parts.is_empty()) {
            parts.insert(0, own);
        }
        intersection(parts)
    }

    /// The type that the keywords of a schema itself give.
    fn own_type(&self, keywords: &Keywords, layout: Layout, is_alone: bool) -> Option<Type> {
        if let Some(value) = keywords.get("const") {
            return Some(literal(value));
        }
        if let Some(Value::Array(values)) = keywords.get("enum") {
            return Some(union(values.iter().map(literal).collect()));
        }
        let types = match keywords.get("type") {
            Some(Value::String(name)) => vec![&**name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ if has_members(keywords) => vec!["object"],
            _ if keywords.contains_key("items") || keywords.contains_key("prefixItems") => {
                vec!["array"]
            }
            _ => return None,
        };
        // Others say which object.
        if types == ["object"] && !has_members(keywords) && !is_alone {
            return None;
        }
        Some(union(types.into_iter().map(|name| self.simple(name, keywords, layout)).collect()))
    }

    fn simple(&self, name: &str, keywords: &Keywords, layout: Layout) -> Type {
        match name {
            "null" | "boolean" | "string" | "number" => other(name),
            "integer" => other("number"),
            "array" => self.array(keywords, layout),
            "object" => self.object(keywords, layout),
            _ => other(UNKNOWN),
        }
    }

    fn array(&self, keywords: &Keywords, layout: Layout) -> Type {
        let bound = |name| usize::try_from(keywords.get(name)?.as_u64()?).ok();
        let (min, max) = (bound("minItems").unwrap_or(0), bound("maxItems"));
        let item = keywords.get("items").filter(|item| **item != Value::Bool(false));
        let none_more = keywords.get("items") == Some(&Value::Bool(false));
        let list = |item: Option<&Value>| {
            let item = item.map_or_else(|| other(UNKNOWN), |item| self.type_of(item, layout));
            format!("{}[]", item.within(Top::Other))
        };
        let Some(Value::Array(first)) = keywords.get("prefixItems") else {
            return match (item, max) {
                (Some(item), Some(len)) if len == min && len <= MAX_TUPLE => {
                    let item = self.type_of(item, layout).text;
                    other(format!("[{}]", vec![item; len].join(", ")))
                }
                _ if none_more => other("[]"),
                _ => other(list(item)),
            };
        };
        let mut items: Vec<String> = first
            .iter()
            .enumerate()
            .map(|(at, item)| {
                let item = self.type_of(item, layout);
                match at < min {
                    true => item.text,
                    false => format!("{}?", item.within(Top::Other)),
                }
            })
            .collect();
        if !none_more && max.is_none_or(|max| max > first.len()) {
            items.push(format!("...{}", list(item)));
        }
        other(format!("[{}]", items.join(", ")))
    }

    fn object(&self, keywords: &Keywords, layout: Layout) -> Type {
        let none = Map::new();
        let map = |name| keywords.get(name).and_then(Value::as_object).unwrap_or(&none);
        let (properties, patterns) = (map("properties"), map("patternProperties"));
        let required = keywords.get("required").and_then(Value::as_array);
        let required: Vec<&str> =
            required.into_iter().flatten().filter_map(Value::as_str).collect();
        let additional = keywords.get("additionalProperties");
        let inner = match layout {
            Layout::Inline => layout,
            Layout::Lines(depth) => Layout::Lines(depth + 1),
        };

        let mut members = Vec::new();
        for (name, schema) in properties {
            let mark = if required.contains(&&**name) { "" } else { "?" };
            let value = self.type_of(schema, inner).text;
            members.push((Some(schema), format!("{}{mark}: {value}", property(name))));
        }
        for name in required.iter().filter(|name| !properties.contains_key(**name)) {
            members.push((None, format!("{}: {UNKNOWN}", property(name))));
        }
        let mut others: Vec<Type> =
            patterns.values().map(|schema| self.type_of(schema, inner)).collect();
        match additional {
            Some(Value::Bool(false)) => {}
            Some(schema) => others.push(self.type_of(schema, inner)),
            None if members.is_empty() && others.is_empty() => others.push(other(UNKNOWN)),
            None => {}
        }
        if others.is_empty() && members.is_empty() {
            others.push(other("never"));
        }
        if !others.is_empty() {
            // The type of an index must be that of all members.
            let index = if members.is_empty() { union(others).text } else { UNKNOWN.to_owned() };
            members.push((None, format!("[key: string]: {index}")));
        }
        other(match layout {
            Layout::Inline => {
                let members: Vec<&str> = members.iter().map(|(_, member)| &**member).collect();
                format!("{{ {} }}", members.join("; "))
            }
            Layout::Lines(depth) => {
                let mut text = "{\n".to_owned();
                for (schema, member) in members {
                    text.push_str(&schema.map_or_else(String::new, |it| comment_of(it, depth + 1)));
                    text.extend([&*indent(depth + 1), &member, ";\n"]);
                }
                text + &indent(depth) + "}"
            }
        })
    }
}

impl Type {
    /// In parentheses, if its top would come apart within another type.
    fn within(self, outer: Top) -> String {
        match self.top < outer {
            true => format!("({})", self.text),
            false => self.text,
        }
    }
}

fn other(text: impl Into<String>) -> Type {
    Type { text: text.into(), top: Top::Other }
}

fn union(types: Vec<Type>) -> Type {
    join(types, Top::Union, " | ", "never")
}

fn intersection(types: Vec<Type>) -> Type {
    join(types, Top::Intersection, " & ", UNKNOWN)
}

/// Joins types, each once.
fn join(types: Vec<Type>, top: Top, sign: &str, none: &str) -> Type {
    let mut once = Vec::<Type>::new();
    for it in types {
        if !once.contains(&it) {
            once.push(it);
        }
    }
    match once.len() {
        0 => other(none),
        1 => once.remove(0),
        _ => {
            let texts: Vec<String> = once.into_iter().map(|it| it.within(top)).collect();
            Type { text: texts.join(sign), top }
        }
    }
}

/// The type whose only value this is.
fn literal(value: &Value) -> Type {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| literal(item).text).collect();
            other(format!("[{}]", items.join(", ")))
        }
        Value::Object(members) => {
            let members = members.iter();
            let members =
                members.map(|(name, it)| format!("{}: {}", property(name), literal(it).text));
            other(format!("{{ {} }}", members.collect::<Vec<_>>().join("; ")))
        }
        // Strings of JSON are strings of TypeScript, too.
        simple => other(simple.to_string()),
    }
}

/// Whether a schema says which members an object has.
fn has_members(keywords: &Keywords) -> bool {
    ["properties", "patternProperties", "additionalProperties", "required"]
        .iter()
        .any(|name| keywords.contains_key(*name))
}

/// Whether a schema is that of an object, and of no other object besides.
fn is_interface(keywords: &Keywords) -> bool {
    let others = ["$ref", "anyOf", "oneOf", "allOf", "const", "enum"];
    keywords.get("type").is_some_and(|it| it == "object")
        && keywords.contains_key("properties")
        && !others.iter().any(|name| keywords.contains_key(*name))
}

/// The branches of a schema that is no more than one of these, if one has a description.
fn described_branches(keywords: &Keywords) -> Option<&Vec<Value>> {
    let about = ["title", "description", "deprecated", "examples", "default"];
    let mut rest = keywords.iter().filter(|(name, _)| !about.contains(&&***name));
    let (name, branches) = rest.next()?;
    let branches = branches.as_array().filter(|_| name == "oneOf" || name == "anyOf")?;
    let is_described = branches.iter().any(|branch| branch.get("description").is_some());
    (rest.next().is_none() && is_described).then_some(branches)
}

/// The doc comment of a schema.
fn comment_of(schema: &Value, depth: usize) -> String {
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    match schema.get("deprecated") {
        Some(Value::Bool(true)) => comment(&format!("{description}\n@deprecated"), depth),
        _ => comment(description, depth),
    }
}

fn comment(text: &str, depth: usize) -> String {
    let indent = indent(depth);
    let text = text.trim().replace("*/", "*\\/");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    match &*lines {
        [] => String::new(),
        [line] => format!("{indent}/** {line} */\n"),
        lines => {
            let mut text = format!("{indent}/**\n");
            for line in lines {
                let space = if line.is_empty() { "" } else { " " };
                text.extend([&*indent, " *", space, line, "\n"]);
            }
            text + &indent + " */\n"
        }
    }
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

/// The name of a member.
fn property(name: &str) -> String {
    match is_identifier(name) {
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    }
}

fn is_identifier(name: &str) -> bool {
    let may_be = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '$');
    name.chars().all(may_be) && name.starts_with(|it: char| !it.is_ascii_digit())
}

/// The name of a type for the name of a definition.
fn identifier(definition: &str) -> String {
    let name = definition.replace(|it: char| !it.is_ascii_alphanumeric() && it != '_', "_");
    match is_identifier(&name) && !RESERVED.contains(&&*name) {
        true => name,
        false => format!("_{name}"),
    }
}

const UNKNOWN: &str = "unknown";

/// Longer arrays of a fixed length are written as arrays.
const MAX_TUPLE: usize = 16;

/// What cannot be the name of a type, or is that of another one here.
const RESERVED: &[&str] = &[
    "Events",
    "any",
    "as",
    "asserts",
    "async",
    "await",
    "bigint",
    "boolean",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "declare",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "from",
    "function",
    "get",
    "if",
    "implements",
    "import",
    "in",
    "infer",
    "instanceof",
    "interface",
    "is",
    "keyof",
    "let",
    "module",
    "namespace",
    "never",
    "new",
    "null",
    "number",
    "object",
    "of",
    "package",
    "private",
    "protected",
    "public",
    "readonly",
    "require",
    "return",
    "set",
    "static",
    "string",
    "super",
    "switch",
    "symbol",
    "this",
    "throw",
    "true",
    "try",
    "type",
    "typeof",
    "undefined",
    "unique",
    "unknown",
    "var",
    "void",
    "while",
    "with",
    "yield",
];
