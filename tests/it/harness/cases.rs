//! The cases in `tests/cases`, which were collected from the tests of many clients and servers.

use serde::Deserialize;

use super::support::Interpreted;

/// A stream, and what a client sees of it.
#[derive(Debug)]
pub struct WireCase {
    pub name: String,
    pub stream: Vec<u8>,
    /// The stream cut as the case wants it: whole, if it does not say.
    pub chunks: Vec<Vec<u8>>,
    pub expected: Interpreted,
}

/// An event as it was given, and what must become of it.
#[derive(Debug, Deserialize)]
pub struct EncodeCase {
    pub name: String,
    pub given: Given,
    #[serde(flatten)]
    pub must: Must,
}

/// What is given to the setters of an event.
#[derive(Debug, Deserialize)]
pub struct Given {
    pub comment: Option<String>,
    pub event: Option<String>,
    pub id: Option<String>,
    /// In milliseconds.
    pub retry: Option<f64>,
    pub data: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "must", rename_all = "snake_case")]
pub enum Must {
    Accept {
        canonical_bytes: String,
        #[serde(flatten)]
        expected: Expected,
    },
    RejectOrNeutralise {
        rule: String,
    },
}

#[derive(Debug, Deserialize)]
pub struct Expected {
    #[serde(rename = "expected")]
    events: Vec<ExpectedEvent>,
    #[serde(rename = "expected_last_event_id")]
    last_event_id: String,
    #[serde(rename = "expected_retry")]
    retry: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct ExpectedEvent {
    event: String,
    data: String,
    id: String,
}

#[derive(Deserialize)]
struct RawWireCase {
    name: String,
    input_hex: Option<String>,
    input_gen: Option<Generated>,
    chunks_hex: Option<Vec<String>>,
    #[serde(flatten)]
    expected: Expected,
}

/// Streams that are too long to be spelled out. Their expected data are described in words.
#[derive(Deserialize)]
#[serde(untagged)]
enum Generated {
    /// Events of growing length. The words are the program: see [`growing`].
    Each {
        each: String,
    },
    Repeat {
        prefix: String,
        unit: String,
        count: usize,
        suffix: String,
    },
}

/// The cases of `wire.json`.
pub fn wire() -> Vec<WireCase> {
    let cases: Vec<RawWireCase> =
        serde_json::from_str(include_str!("../../cases/wire.json")).unwrap();
    cases.into_iter().map(WireCase::from).collect()
}

/// The cases of `encode.json`.
pub fn encode() -> Vec<EncodeCase> {
    serde_json::from_str(include_str!("../../cases/encode.json")).unwrap()
}

impl From<RawWireCase> for WireCase {
    fn from(raw: RawWireCase) -> Self {
        let mut expected = Interpreted::from(raw.expected);
        let stream = match (raw.input_hex, raw.input_gen) {
            (Some(hex), None) => from_hex(&hex),
            (None, Some(generated)) => {
                let (stream, data) = generated.run();
                expected.events = data.into_iter().map(message).collect();
                stream.into_bytes()
            }
            _ => panic!("{}: one of input_hex and input_gen is needed", raw.name),
        };
        let chunks = match raw.chunks_hex {
            Some(chunks) => chunks.iter().map(|hex| from_hex(hex)).collect(),
            None => vec![stream.clone()],
        };
        assert_eq!(chunks.concat(), stream, "{}", raw.name);
        Self { name: raw.name, stream, chunks, expected }
    }
}

impl From<Expected> for Interpreted {
    fn from(expected: Expected) -> Self {
        let events = expected.events.into_iter();
        Self {
            events: events.map(|event| (event.event, event.data, event.id)).collect(),
            last_event_id: expected.last_event_id,
            retry: expected.retry,
        }
    }
}

impl Generated {
    /// The stream, and the data of its events.
    fn run(self) -> (String, Vec<String>) {
        match self {
            Self::Each { each } => growing(&each),
            Self::Repeat { prefix, unit, count, suffix } => {
                let data = unit.repeat(count);
                (prefix + &data + &suffix, vec![data])
            }
        }
    }
}

fn growing(each: &str) -> (String, Vec<String>) {
    let known = r"for i in 1..=100: 'data: ' + ('{i} ' repeated i times) + '\n\n'";
    assert_eq!(each, known);
    let data: Vec<String> = (1..=100).map(|i: usize| format!("{i} ").repeat(i)).collect();
    let events: Vec<String> = data.iter().map(|data| format!("data: {data}\n\n")).collect();
    (events.concat(), data)
}

fn message(data: String) -> (String, String, String) {
    ("message".to_owned(), data, String::new())
}

fn from_hex(hex: &str) -> Vec<u8> {
    let starts = (0..hex.len()).step_by(2);
    starts.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
