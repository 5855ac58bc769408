//! A reference of contracts, for the authors of pages: feature `schema`.

mod openapi;
mod typescript;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::contract::{Contract, event_name};
use typescript::TypeScript;

/// A list of contracts, with what pages and other clients can know of the events.
///
/// It is made of the types, so it cannot differ from what is sent: the data are as
/// [`Serialize`](serde::Serialize) writes them, and the descriptions are the doc comments of the
/// types.
///
/// Keep what it returns in the repository, and compare it in a test: then a change is seen in the
/// review, and page and server agree.
///
/// # Examples
///
/// ```
/// use schemars::JsonSchema;
/// use serde::Serialize;
/// use tower_sse::hub::{Contract, Reference};
///
/// /// An order was paid.
/// #[derive(Serialize, JsonSchema)]
/// struct Paid {
///     cents: u64,
///     /// As the bank writes it.
///     by: Option<String>,
/// }
///
/// impl Contract for Paid {
///     const EVENT: &'static str = "paid";
///     const CHANNEL: &'static str = "orders.*";
/// }
///
/// let reference = Reference::new().with::<Paid>();
/// assert_eq!(
///     reference.to_markdown(),
///     "| channel | event | data | description |\n\
///      | --- | --- | --- | --- |\n\
///      | `orders.*` | `paid` | `{ by: string \\| null; cents: number }` | An order was paid. |\n"
/// );
/// assert_eq!(
///     reference.to_typescript(),
///     "/** The data of each event, by the name of the event. */
/// export interface Events {
///   /** `orders.*`: An order was paid. */
///   paid: Paid;
/// }
///
/// /** An order was paid. */
/// export interface Paid {
///   /** As the bank writes it. */
///   by: string | null;
///   cents: number;
/// }
/// "
/// );
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Reference {
    entries: Vec<ReferenceEntry>,
}

#[derive(Clone, Debug)]
struct ReferenceEntry {
    channel: &'static str,
    event: &'static str,
    /// Tells one type from another.
    id: Cow<'static, str>,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl ReferenceEntry {
    fn key(&self) -> (&str, &str, &str) {
        (self.channel, self.event, &self.id)
    }
}

impl Reference {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a contract, unless the list has it.
    pub fn with<T: Contract + JsonSchema>(mut self) -> Self {
        // For its check.
        let _ = event_name::<T>();
        self.entries.push(ReferenceEntry {
            channel: T::CHANNEL,
            event: T::EVENT,
            id: T::schema_id(),
            schema: SchemaGenerator::subschema_for::<T>,
        });
        // What is made of the list does not change when code moves.
        self.entries.sort_unstable_by(|one, other| one.key().cmp(&other.key()));
        self.entries.dedup_by(|one, other| one.key() == other.key());
        self
    }

    /// The list as a table in Markdown, in the order of channels and names, and after it the types
    /// that it names.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let schemas = self.schemas();
        let types = TypeScript::new(&schemas);
        let mut text = "| channel | event | data | description |\n\
                        | --- | --- | --- | --- |\n"
            .to_owned();
        for contract in &schemas.contracts {
            let data = types.inline(schemas.resolve(&contract.schema));
            let description = cell(schemas.description(&contract.schema));
            let cells = [code(contract.channel), code(contract.event), code(&data), description];
            text.extend(["| ", &cells.join(" | "), " |\n"]);
        }
        // The types of the events themselves are in the table.
        let in_table = |name: &str| schemas.contracts.iter().any(|it| it.is_of(name));
        let named = schemas.definitions.keys().filter(|name| !in_table(name));
        let named: Vec<String> = named.map(|name| types.declaration(name)).collect();
        if !named.is_empty() {
            text.extend(["\n```ts\n", &named.join("\n"), "```\n"]);
        }
        text
    }

    /// The types of TypeScript: an interface `Events` with the data of each event by its name, and
    /// an interface or a type for each type with a name.
    ///
    /// A schema that has no type in TypeScript is `unknown`. An integer is a `number`, which is
    /// exact up to 2^53.
    ///
    /// ```ts
    /// source.addEventListener("paid", (event) => {
    ///   const paid: Events["paid"] = JSON.parse(event.data);
    /// });
    /// ```
    #[must_use]
    pub fn to_typescript(&self) -> String {
        let schemas = self.schemas();
        let types = TypeScript::new(&schemas);
        let mut text = types.events();
        for name in schemas.definitions.keys() {
            text.extend(["\n", &types.declaration(name)]);
        }
        text
    }

    /// A document of JSON Schema, draft 2020-12.
    ///
    /// It describes an object with the data of each event by the name of the event. The types with
    /// a name are in `$defs`, for tools that look for these.
    #[must_use]
    pub fn to_json_schema(&self) -> Value {
        let schemas = self.schemas();
        let events = schemas.by_event().map(|(event, contracts)| {
            let data: Vec<&Value> = contracts.iter().map(|contract| &contract.schema).collect();
            (event.to_owned(), any_of(data))
        });
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Events",
            "description": EVENTS,
            "type": "object",
            "properties": events.collect::<Map<_, _>>(),
            "$defs": schemas.definitions,
        })
    }

    /// A fragment of an OpenAPI document, version 3.2 or later: in `components`, a response
    /// `Events` of type `text/event-stream`, and the schemas of the data.
    ///
    /// An operation refers to it by `{"$ref": "#/components/responses/Events"}`. Its `itemSchema`
    /// tells events by their names. Events of other names are part of it too, such as the `close`
    /// and `gap` of this crate.
    #[must_use]
    pub fn to_openapi(&self) -> Value {
        openapi::components(&self.schemas())
    }

    fn schemas(&self) -> Schemas {
        // What is sent, and not what could be read: they differ in fields that may be absent.
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let mut generator = settings.into_generator();
        let contracts = self.entries.iter().map(|entry| ContractSchema {
            channel: entry.channel,
            event: entry.event,
            schema: (entry.schema)(&mut generator).to_value(),
        });
        let contracts = contracts.collect();
        Schemas { contracts, definitions: generator.take_definitions(true) }
    }
}

/// What is known of all contracts, made at one time: so a type has the same name in all of it.
struct Schemas {
    /// The schemas of types that have a name, by that name.
    definitions: Map<String, Value>,
    contracts: Vec<ContractSchema>,
}

struct ContractSchema {
    channel: &'static str,
    event: &'static str,
    /// Of the data; mostly a reference to a definition.
    schema: Value,
}

impl Schemas {
    /// The schema itself, if this is a reference to it and nothing more.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        definition_of(schema).and_then(|name| self.definitions.get(&name)).unwrap_or(schema)
    }

    /// The doc comment of a type.
    fn description<'a>(&'a self, schema: &'a Value) -> &'a str {
        let description = |schema: &'a Value| schema.get("description")?.as_str();
        description(schema).or_else(|| description(self.resolve(schema))).unwrap_or_default()
    }

    /// The contracts of each event name.
    fn by_event(&self) -> impl Iterator<Item = (&'static str, Vec<&ContractSchema>)> {
        let mut events = BTreeMap::<_, Vec<_>>::new();
        for contract in &self.contracts {
            events.entry(contract.event).or_default().push(contract);
        }
        events.into_iter()
    }
}

impl ContractSchema {
    /// Whether the data are of this definition.
    fn is_of(&self, definition: &str) -> bool {
        definition_of(&self.schema).is_some_and(|name| name == definition)
    }
}

/// The name of the definition that a schema refers to.
fn definition_of(schema: &Value) -> Option<String> {
    let name = schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
    // As in the fragment of a URI, and as in a JSON pointer.
    let decoded = percent_decode(name)?;
    Some(decoded.replace("~1", "/").replace("~0", "~"))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The schema of what is of one of these.
fn any_of(mut schemas: Vec<&Value>) -> Value {
    match schemas.pop() {
        Some(only) if schemas.is_empty() => only.clone(),
        last => json!({ "anyOf": schemas.into_iter().chain(last).collect::<Vec<_>>() }),
    }
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", cell(text)),
    }
}

/// A cell of a table is one line, and a bar would end it.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

const EVENTS: &str = "The data of each event, by the name of the event.";
