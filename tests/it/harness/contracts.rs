//! Contracts with data of all kinds of types.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;
use tower_sse::hub::{Contract, Reference};

/// An order was paid.
///
/// It says `*/` in its text, too.
#[derive(Serialize, JsonSchema)]
pub struct Paid {
    pub cents: u64,
    /// As the bank writes it.
    pub by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    #[serde(rename = "due-date")]
    pub due_date: (u16, u8, u8),
    pub lines: Vec<Line>,
    pub rates: [f32; 2],
    pub tags: BTreeMap<String, Vec<Option<bool>>>,
    pub by_number: HashMap<u32, Line>,
    pub state: State,
    #[serde(flatten)]
    pub place: Place,
}

#[derive(Serialize, JsonSchema)]
pub struct Line {
    pub text: String,
    /// Lines of this line.
    pub parts: Vec<Line>,
}

#[derive(Serialize, JsonSchema)]
pub struct Note(pub String);

/// Where it is.
#[derive(Serialize, JsonSchema)]
pub struct Place {
    pub shelf: i32,
}

/// How far it is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is not sent.
    Waiting,
    Sent,
    /// Quoted: "it".
    #[serde(rename = "it's \"back\"\\")]
    Back,
}

/// What happened in a game.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Move {
    Pass,
    /// A stone was set.
    Stone {
        x: u8,
        y: u8,
    },
    Chat(Line),
}

#[derive(Serialize, JsonSchema)]
pub enum External {
    None,
    One(Line),
    Two(u8, Option<String>),
    Named { object: String },
}

#[derive(Serialize, JsonSchema)]
#[serde(tag = "t", content = "c")]
pub enum Adjacent {
    A(u8),
    B { b: bool },
    C,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Untagged {
    Text(String),
    Number(i64),
    Both(Box<Untagged>, ()),
}

#[derive(Serialize, JsonSchema)]
pub struct Mixed {
    pub external: External,
    pub adjacent: Vec<Adjacent>,
    pub untagged: Untagged,
    pub anything: serde_json::Value,
    pub unit: (),
    #[deprecated]
    pub old: Option<Box<Mixed>>,
    #[serde(flatten)]
    pub rest: BTreeMap<String, u8>,
}

#[derive(Serialize, JsonSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// One name for two fields.
    pub class: Events,
}

/// A name that is that of the interface of all events.
#[derive(Serialize, JsonSchema)]
pub struct Events {
    pub number: Number,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename = "number")]
pub struct Number {
    pub is: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Cents(pub u64);

macro_rules! contracts {
    ($($Type:ty, $event:literal, $channel:literal;)*) => {
        $(impl Contract for $Type {
            const EVENT: &'static str = $event;
            const CHANNEL: &'static str = $channel;
        })*

        pub fn reference() -> Reference {
            let reference = Reference::new();
            $(let reference = reference.with::<$Type>();)*
            reference
        }
    };
}

contracts! {
    Paid, "paid", "orders.*";
    Move, "game move", "games.>";
    Mixed, "mixed", "mixed";
    Page<Line>, "page", "pages";
    Page<Cents>, "page", "pages";
    State, "message", "states";
    Cents, "cents", "orders.*";
}

fn line(text: &str, parts: Vec<Line>) -> Line {
    Line { text: text.to_owned(), parts }
}

fn events() -> Events {
    Events { number: Number { is: true } }
}

/// Values of all contracts as they are sent, by the names of their events.
#[allow(deprecated, reason = "a field is, to be shown as such")]
pub fn values() -> Vec<(&'static str, serde_json::Value)> {
    let paid = |note| Paid {
        cents: 1250,
        by: None,
        note,
        due_date: (2026, 11, 28),
        lines: vec![line("a", vec![line("b", vec![])])],
        rates: [0.5, 1.0],
        tags: [("x".to_owned(), vec![Some(true), None])].into(),
        by_number: [(7, line("seven", vec![]))].into(),
        state: State::Back,
        place: Place { shelf: -1 },
    };
    let mixed = |external, untagged, old| Mixed {
        external,
        adjacent: vec![Adjacent::A(1), Adjacent::B { b: true }, Adjacent::C],
        untagged,
        anything: serde_json::json!({"a": [1, null]}),
        unit: (),
        old,
        rest: [("more".to_owned(), 1)].into(),
    };
    let both = Untagged::Both(Box::new(Untagged::Text("x".to_owned())), ());
    let inner = mixed(External::None, Untagged::Number(-1), None);
    let named = External::Named { object: "o".to_owned() };
    let json = |value: &dyn erased::Json| value.json();
    vec![
        ("paid", json(&paid(None))),
        ("paid", json(&paid(Some(Note("n".to_owned()))))),
        ("game move", json(&Move::Pass)),
        ("game move", json(&Move::Stone { x: 1, y: 2 })),
        ("game move", json(&Move::Chat(line("c", vec![])))),
        ("mixed", json(&mixed(External::One(line("l", vec![])), both, Some(Box::new(inner))))),
        ("mixed", json(&mixed(External::Two(1, None), Untagged::Text(String::new()), None))),
        ("mixed", json(&mixed(named, Untagged::Number(1), None))),
        ("page", json(&Page { items: vec![line("p", vec![])], class: events() })),
        ("page", json(&Page { items: vec![Cents(1)], class: events() })),
        ("message", json(&State::Waiting)),
        ("message", json(&State::Sent)),
        ("cents", json(&Cents(5))),
    ]
}

mod erased {
    pub trait Json {
        fn json(&self) -> serde_json::Value;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> serde_json::Value {
            serde_json::to_value(self).unwrap()
        }
    }
}
