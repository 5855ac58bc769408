//! Events are written in one way, and nobody's data can write fields of its own.

use std::error::Error;
use std::time::Duration;

use proptest::prelude::*;
use tower_sse::{Event, EventId, EventName, InvalidText};

use crate::harness::cases::{self, Given, Must};
use crate::harness::support::{Interpreted, interpret};

const OTHER: EventName = EventName::from_static("other");

#[test]
fn no_case_is_lost() {
    let cases = cases::encode();
    let accepted = cases.iter().filter(|case| matches!(case.must, Must::Accept { .. }));
    assert_eq!((accepted.count(), cases.len()), (18, 27));
}

#[test]
fn accepted_cases_are_written_canonically() {
    for case in cases::encode() {
        let Must::Accept { mut canonical_bytes, expected } = case.must else {
            continue;
        };
        let mut expected = Interpreted::from(expected);
        // The case is right about the digits, but Node reconnects at once when it is asked to
        // wait longer than 31 bits of milliseconds.
        if case.given.retry == Some(4_294_967_296.0) {
            canonical_bytes = canonical_bytes.replace("4294967296", "2147483647");
            expected.retry = Some(2_147_483_647);
        }

        let bytes = build(&case.given).unwrap().encode();
        assert_eq!(bytes, canonical_bytes, "{}", case.name);
        assert_eq!(interpret(&bytes), expected, "{}", case.name);
    }
}

#[test]
fn names_and_ids_that_would_write_fields_are_refused() {
    let mut refused = 0;
    for case in cases::encode() {
        let Must::RejectOrNeutralise { rule } = case.must else {
            continue;
        };
        if rule.contains("must return an error") {
            assert!(build(&case.given).is_err(), "{}", case.name);
            refused += 1;
        }
    }
    assert_eq!(refused, 6);
}

#[test]
fn retry_is_rounded_up_to_whole_milliseconds() {
    let bytes = build(&given("sub-millisecond retry")).unwrap().encode();
    assert_eq!(bytes, "retry: 1\ndata: x\n\n");

    #[rustfmt::skip]
    let table = [
        (Duration::ZERO,                   "retry: 1\n"),
        (Duration::from_nanos(1),          "retry: 1\n"),
        (Duration::from_micros(1_001),     "retry: 2\n"),
        (Duration::from_secs(3),            "retry: 3000\n"),
        (Duration::from_millis(1 << 31),   "retry: 2147483647\n"),
        (Duration::MAX,                    "retry: 2147483647\n"),
    ];
    for (delay, expected) in table {
        assert_eq!(Event::new().retry(delay).encode(), expected, "{delay:?}");
    }
}

#[test]
fn a_retry_alone_rides_in_the_event_that_follows() {
    let retry = build(&given("retry-only standalone block")).unwrap().encode();
    assert_eq!(retry, "retry: 3000\n");

    let seen = interpret(&[retry, Event::new().data("x").encode()].concat());
    assert_eq!(seen.retry, Some(3000));
    assert_eq!(seen.events, [("message".to_owned(), "x".to_owned(), String::new())]);
}

/// The case asks for a JSON object instead. That is for whoever builds the close event to see to:
/// here, empty data are what was asked for, and other protocols need them (MCP does).
#[test]
fn empty_data_are_written_as_they_are() {
    let bytes = build(&given("close event built with empty reason")).unwrap().encode();
    assert_eq!(bytes, "event: close\ndata: \n\n");
    assert_eq!(interpret(&bytes).events, [("close".to_owned(), String::new(), String::new())]);
}

#[test]
fn data_are_split_on_every_line_end() {
    let event = Event::new().data("a\rb\r\nc\n\rd\r");
    let expected = "data: a\ndata: b\ndata: c\ndata: \ndata: d\ndata: \n\n";
    assert_eq!(event.encode(), expected);
}

#[test]
fn the_default_type_is_not_written() {
    for name in [EventName::from_static("message"), EventName::from_static("")] {
        let event = Event::new().event(OTHER).event(name).data("x");
        assert_eq!(event.encode(), "data: x\n\n");
        assert_eq!(event, Event::new().data("x"));
    }
}

#[test]
fn without_data_neither_name_nor_id_is_written() {
    let event = Event::new().event(OTHER).id(EventId::from_static("1"));
    assert_eq!(event.encode(), "");
    let event = event.comment("c").retry(Duration::from_secs(1));
    assert_eq!(event.encode(), ": c\nretry: 1000\n");
}

#[test]
fn comments_add_up_and_data_are_replaced() {
    let event = Event::new().comment("a\r\nb").comment("").comment("c").data("x").data("y");
    assert_eq!(event.encode(), ": a\n: b\n:\n: c\ndata: y\n\n");
}

#[test]
fn a_literal_needs_no_question_mark_and_equals_text_made_at_run_time() -> Result<(), InvalidText> {
    let literal = Event::new().event(OTHER).id(EventId::from_static("1")).data("x");
    let made = Event::new().event(EventName::new("other")?).id(EventId::try_from("1")?).data("x");
    assert_eq!(literal, made);
    Ok(())
}

#[test]
fn html_is_data_in_as_many_lines_as_it_has() {
    let fragment = "<ul>\r\n <li>a</li>\r<li>: b</li>\n</ul>\n";
    let event = Event::html(fragment).event(EventName::from_static("list"));
    let lines = "event: list\ndata: <ul>\ndata:  <li>a</li>\ndata: <li>: b</li>\ndata: </ul>\n";
    assert_eq!(event.encode(), format!("{lines}data: \n\n"));
    assert_eq!(
        event.encode(),
        Event::new().event(EventName::from_static("list")).data(fragment).encode()
    );
    assert_eq!(Event::html("").encode(), "data: \n\n");
}

#[cfg(feature = "json")]
#[test]
fn json_is_one_line_of_data() -> Result<(), Box<dyn Error>> {
    let event = Event::json(&serde_json::json!({"text": "a\nb\r"}))?;
    assert_eq!(event.encode(), "data: {\"text\":\"a\\nb\\r\"}\n\n");
    let unserialisable = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(Event::json(&unserialisable).is_err());
    Ok(())
}

proptest! {
    #[test]
    fn whatever_is_accepted_arrives(data: String, name in text(), id in text(), breaks in text()) {
        let data = [data, breaks].concat();
        let event = Event::new().data(data.as_str());
        let Ok(event) = EventName::new(&name).map(|name| event.event(name)) else {
            prop_assert!(name.contains(['\0', '\r', '\n']));
            return Ok(());
        };
        let Ok(event) = EventId::new(&id).map(|id| event.id(id)) else {
            prop_assert!(id.contains(['\0', '\r', '\n']));
            return Ok(());
        };

        let name = if name.is_empty() { "message".to_owned() } else { name };
        let data = data.replace("\r\n", "\n").replace('\r', "\n");
        let seen = interpret(&event.encode());
        prop_assert_eq!(seen.events, [(name, data, id)]);
    }
}

/// Short, so that most have nothing in them that is refused, and some do.
fn text() -> impl Strategy<Value = String> {
    let part =
        prop_oneof![9 => "[a: ]", 3 => "\\PC", 1 => "[\0\r\n]", 1 => Just("\r\n".to_owned())];
    proptest::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

fn given(name: &str) -> Given {
    let mut cases = cases::encode().into_iter();
    cases.find(|case| case.name == name).unwrap().given
}

fn build(given: &Given) -> Result<Event, Box<dyn Error>> {
    let mut event = Event::new();
    if let Some(comment) = &given.comment {
        event = event.comment(comment);
    }
    if let Some(name) = &given.event {
        event = event.event(EventName::new(name)?);
    }
    if let Some(id) = &given.id {
        event = event.id(EventId::new(id)?);
    }
    if let Some(millis) = given.retry {
        event = event.retry(Duration::try_from_secs_f64(millis / 1000.0)?);
    }
    if let Some(data) = &given.data {
        event = event.data(data);
    }
    Ok(event)
}
