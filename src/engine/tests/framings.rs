//! Streams that are no event streams, as scripts and against their specifications.

use proptest::prelude::*;

use super::course::{Course, course};
use super::*;
use crate::support::{interpret_lines, interpret_records, lines, records};

pub(super) fn lively(line: &str) -> Settings {
    let mut settings = keep_alive();
    settings.keep_alive.as_mut().unwrap().set_line(line);
    settings
}

/// What is sent, with a bar in front of each frame, and `~` for the separator of records.
fn shown(framing: Framing, settings: &Settings, steps: &[Step]) -> String {
    let mut run = Run::of(framing, settings.clone());
    run.steps(steps);
    run.shown().replace('\u{1e}', "~")
}

#[track_caller]
fn check(framing: Framing, settings: &Settings, table: &[(&[Step], &str)]) {
    for (steps, expected) in table {
        assert_eq!(shown(framing, settings, steps), *expected, "{steps:?}");
    }
}

const CLOSE: &str = r#"{"type":"close","reason":"shutdown"}"#;

#[test]
#[rustfmt::skip]
fn lines_leave_whole_and_the_text_of_the_server_is_lines_between_them() {
    check(Framing::JsonLines, &keep_alive(), &[
        // No comment gets into such a stream, neither first nor in silence.
        (&[Halves(6)],                                         ""),
        (&[Data(b"{}\n"), Halves(6)],                          "|{}\n"),
        (&[Data(b"{}\n{"), Data(b"}"), Data(b"\n[")],          "|{}\n|{}\n"),
        (&[Data(b"{}\r"), Data(b"\n")],                        "|{}^\n"),
        (&[Data(b"\n"), Data(b" \n"), Data(b"\r\n")],          "|\n| \n|^\n"),
        // An event is its data. What is unfinished comes after it.
        (&[Data(b"1"), Inject("a"), Data(b"2\n")],             "|x\n|12\n"),
        // A drain drops what is unfinished.
        (&[Data(b"1\n2"), Shut, Data(b"3\n")],                 &format!("|1\n|{CLOSE}\n")),
        (&[Shut, End],                                         &format!("|{CLOSE}\n")),
        // At its own end the last line needs no end.
        (&[Data(b"1\n2"), End],                                "|1\n|2"),
        (&[Data(b"1\n  "), End],                               "|1\n|  "),
        (&[Data(b"1\n2"), Fail],                               "|1\n"),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_keepalive_of_lines_is_written_where_it_is_asked_for_and_never_into_a_line() {
    check(Framing::JsonLines, &lively(""), &[
        (&[Halves(2)],                                         "|\n"),
        (&[Data(b"1\n"), Halves(3)],                           "|1\n|\n"),
        (&[Data(b"1"), Halves(3), Data(b"\n")],                "|\n|1\n"),
    ]);
    check(Framing::JsonLines, &lively("{\"type\":\r\n\"BOOKMARK\"}"), &[
        (&[Halves(2)],                                         "|{\"type\": \"BOOKMARK\"}\n"),
    ]);
    check(Framing::JsonSequence, &lively(""), &[(&[Halves(2), Data(b"\x1e1\n")], "|~|~1\n")]);
    check(Framing::JsonSequence, &lively("1"), &[(&[Halves(2)], "|~1\n")]);
}

#[test]
#[rustfmt::skip]
fn a_record_leaves_whole_even_if_it_is_spread_over_lines() {
    check(Framing::JsonSequence, &keep_alive(), &[
        (&[Halves(6)],                                         ""),
        (&[Data(b"\x1e{\n"), Inject("a"), Data(b"}\n")],       "|~x\n|~{\n}\n"),
        (&[Data(b"\x1e\"a\\\""), Data(b"\n[\"\n")],            "|~\"a\\\"\n[\"\n"),
        (&[Data(b"\x1e\n"), Inject("a"), Data(b"1\n")],        "|~x\n|~\n1\n"),
        // A separator ends what was cut short.
        (&[Data(b"\x1e{\n\x1e1\n")],                           "|~{\n~1\n"),
        (&[Data(b"\x1e{\n"), Data(b"\x1e1\n")],                "|~{\n~1\n"),
        (&[Data(b"\x1e12"), Data(b"\x1e"), Shut],              &format!("|~12|~{CLOSE}\n")),
        (&[Data(b"\x1e1\n\x1e2"), End],                        "|~1\n|~2"),
    ]);
    // Deeper than is counted, the next separator tells.
    let deep: &'static [u8] = [&b"\x1e"[..], &[b'['; 300], &[b']'; 300], b"\n"].concat().leak();
    let mut run = Run::of(Framing::JsonSequence, Settings::default());
    run.data(deep);
    assert!(run.frames.is_empty());
    run.data(b"\x1e");
    assert_eq!(run.sent(), deep);
}

#[test]
#[rustfmt::skip]
fn a_long_line_flows_unheld_and_nothing_is_written_into_it() {
    let short = Settings { hold_limit: 4, ..lively("") };
    check(Framing::JsonLines, &short, &[
        (&[Data(b"12345"), Inject("a"), Halves(6), Data(b"6\n")], "|12345|6\n"),
        (&[Data(b"12345"), Shut, Data(b"6\n7\n")],             &format!("|12345|6\n|{CLOSE}\n")),
        (&[Data(b"12345"), Shut, Halves(2), Data(b"\n")],      "|12345"),
        (&[Data(b"12345"), End],                               "|12345"),
    ]);
    for (steps, expected) in [
        (&[Data(b"12345"), End][..],                           EndReason::Finished),
        (&[Data(b"123"), End],                                 EndReason::Finished),
        (&[Data(b"12345"), Shut, Halves(2)],                   EndReason::Cut),
        (&[Data(b"123"), Shut],                                EndReason::Closed),
        (&[Data(b"123"), Fail],                                EndReason::Error),
    ] {
        let mut run = Run::of(Framing::JsonLines, short.clone());
        run.steps(steps);
        assert_eq!(run.engine.ended(), Some(expected), "{steps:?}");
    }
}

#[test]
#[rustfmt::skip]
fn a_farewell_after_a_line_without_an_end_ends_it_first() {
    let finished = r#"{"type":"close","reason":"finished"}"#;
    let settings = Settings { close_at_end: Some(Farewell::close()), hold_limit: 4, ..Settings::default() };
    check(Framing::JsonLines, &settings, &[
        (&[End],                                               &format!("|{finished}\n")),
        (&[Data(b"1\n"), End],                                 &format!("|1\n|{finished}\n")),
        (&[Data(b"1\n2"), End],                                &format!("|1\n|2|\n{finished}\n")),
        (&[Data(b"12345"), End],                               &format!("|12345|\n{finished}\n")),
    ]);
}

#[test]
fn each_kind_of_farewell_is_a_line() {
    let event = || Event::new().named("done").data("{\"a\":\n1}");
    for (farewell, lines, records) in [
        (Farewell::close(), format!("{CLOSE}\n"), format!("\u{1e}{CLOSE}\n")),
        (
            Farewell::close().for_reason(CloseReason::Shutdown),
            format!("{CLOSE}\n"),
            format!("\u{1e}{CLOSE}\n"),
        ),
        (
            Farewell::reconnect(),
            CLOSE.replace("close", "reconnect") + "\n",
            format!("\u{1e}{}\n", CLOSE.replace("close", "reconnect")),
        ),
        (Farewell::event(event()), "{\"a\": 1}\n".into(), "\u{1e}{\"a\": 1}\n".into()),
        (Farewell::event(Event::new().comment("x")), String::new(), String::new()),
        (Farewell::bytes("[1]\n"), "[1]\n".into(), "[1]\n".into()),
        (Farewell::none(), String::new(), String::new()),
    ] {
        for (framing, expected) in [(Framing::JsonLines, lines), (Framing::JsonSequence, records)] {
            let mut run = Run::of(framing, Settings::default());
            run.close(farewell.clone());
            assert_eq!(
                String::from_utf8(run.sent()).unwrap(),
                expected,
                "{framing:?} {farewell:?}"
            );
            assert_eq!(run.engine.ended(), Some(EndReason::Closed));
        }
    }
}

#[test]
fn an_event_without_data_has_no_place_among_lines() {
    for event in [Event::new().comment("x"), Event::new().data(""), Event::new().data("\n")] {
        let mut run = Run::of(Framing::JsonLines, Settings { count_events: true, ..keep_alive() });
        run.inject(&event);
        assert_eq!((run.sent().len(), run.engine.progress().events), (0, 0), "{event:?}");
    }
}

pub(super) fn settings() -> impl Strategy<Value = Settings> {
    let limit = prop_oneof![Just(Settings::HOLD_LIMIT), 0..40_usize];
    let line = prop::sample::select(vec![None, Some(""), Some(SIGN)]);
    (limit, line, any::<[bool; 3]>()).prop_map(
        |(hold_limit, line, [restate, count_events, observed])| Settings {
            hold_limit,
            restate,
            count_events,
            observation: if observed { Observation::FirstEvent } else { Observation::Nothing },
            rotation: None,
            ..line.map_or_else(keep_alive, lively)
        },
    )
}

const SIGN: &str = r#"{"type":"BOOKMARK"}"#;
pub(super) const INJECTED: &str = r#"{"injected":true}"#;

/// Runs a stream of JSON with what is written in between, and compares what its client reads with
/// what `interpret` reads in the stream itself.
fn run_json(
    framing: Framing,
    interpret: fn(&[u8]) -> Vec<String>,
    stream: &[u8],
    course: &Course,
    settings: &Settings,
) -> Result<(), TestCaseError> {
    let chunks = course.chunks(stream);
    let mut run = Run::of(framing, settings.clone());
    let added = Event::new().named("a name").data(INJECTED);
    let injected = run.take_course(course, &chunks, &added);
    let room = run.engine.splitter.room();
    let in_event = run.engine.splitter.in_event();
    run.end(course);

    let mut expected = interpret(&chunks.concat());
    let mut seen = interpret(&run.sent());
    let all = seen.len();
    seen.retain(|value| value != INJECTED);
    prop_assert_eq!((all - seen.len()) as u64, injected);
    seen.retain(|value| value != SIGN);
    let ended = (expected.len() - usize::from(in_event)) as u64;
    if course.is_closed() && room != Room::None {
        let farewell = seen.pop();
        prop_assert_eq!(farewell.as_deref(), Some(CLOSE));
        // What was not ended was held, and is dropped.
        expected.truncate(expected.len() - usize::from(in_event));
    }
    prop_assert_eq!(seen, expected);
    if settings.count_events {
        prop_assert_eq!(run.engine.progress().events, ended + injected);
    }
    // Without what was added, every byte of the stream is there, as it was.
    if !course.is_closed()
        && injected == 0
        && !settings.keep_alive.as_ref().is_some_and(|it| it.suits(Notation::Lines))
    {
        prop_assert_eq!(run.sent(), stream);
    }
    Ok(())
}

proptest! {
    /// Whatever the cuts and the timings, a client sees the same values, and those that were added.
    #[test]
    fn clients_see_the_same_lines_whatever_the_cuts_and_timings(
        stream in lines(), course in course(), settings in settings(),
    ) {
        run_json(Framing::JsonLines, interpret_lines, &stream, &course, &settings)?;
    }

    #[test]
    fn clients_see_the_same_records_whatever_the_cuts_and_timings(
        stream in records(), course in course(), settings in settings(),
    ) {
        run_json(Framing::JsonSequence, interpret_records, &stream, &course, &settings)?;
    }
}
