//! Every case of the wire, cut everywhere, with something written in between wherever it may be.

use super::*;
use crate::support::cases::{self, WireCase};
use crate::support::oracle::interpret;

fn all_settings() -> Vec<Settings> {
    // Events that are too long to be held are shorter than any.
    let flowing = Settings { hold_limit: 0, ..keep_alive() };
    let counted = Settings { count_events: true, restate: true, ..keep_alive() };
    let numbered = Settings { ids: Some(EventIds::Sequential), ..keep_alive() };
    vec![keep_alive(), flowing, counted, numbered]
}

/// Lets keepalives and an event into the stream. Says how many events were let in.
fn write_between(run: &mut Run) -> usize {
    let (open, before) = (run.engine.accepts_events(), run.engine.keepalives());
    run.pass(INTERVAL * 2);
    assert_eq!(run.engine.keepalives() > before, open, "silence is broken wherever it may be");
    run.inject(&Event::new().named("injected").data("whole\nand new"));
    usize::from(open)
}

fn check_case<'a>(
    case: &WireCase,
    settings: &Settings,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) {
    let mut run = Run::new(settings.clone(), Position::None);
    let mut injected = write_between(&mut run);
    for chunk in chunks {
        run.data(chunk);
        injected += write_between(&mut run);
    }
    let is_whole = run.engine.is_quiet();
    run.engine.end();
    run.take(None);

    let (mut seen, expected) = (interpret(&run.sent()), &case.expected);
    if !is_whole {
        // What is not the end of an event is dropped, and a `retry` in it with it.
        seen.retry = expected.retry;
    }
    let all = seen.events.len();
    seen.events.retain(|(name, data, _)| name != "injected" || data != "whole\nand new");
    assert_eq!(all - seen.events.len(), injected, "{}", case.name);
    if settings.ids.is_some() {
        let events = |all: &[(String, String, String)]| -> Vec<_> {
            all.iter().map(|(name, data, _)| (name.clone(), data.clone())).collect()
        };
        assert_eq!(events(&seen.events), events(&expected.events), "{}", case.name);
        return;
    }
    assert_eq!(seen, *expected, "{}", case.name);
}

fn for_every_case(check: impl Fn(&WireCase, &Settings)) {
    for case in cases::wire() {
        for settings in all_settings() {
            check(&case, &settings);
        }
    }
}

/// How far places to cut lie apart: in the two streams of many kilobytes all of them would take minutes.
fn apart(case: &WireCase) -> usize {
    if case.stream.len() < 4096 { 1 } else { case.stream.len() / 97 }
}

#[test]
fn every_case_is_the_same_in_its_chunks() {
    for_every_case(|case, settings| {
        check_case(case, settings, case.chunks.iter().map(|chunk| &**chunk));
    });
}

#[test]
fn every_case_is_the_same_byte_by_byte() {
    for_every_case(|case, settings| {
        check_case(case, settings, case.stream.chunks(apart(case)));
    });
}

#[test]
fn every_case_is_the_same_cut_in_two() {
    for_every_case(|case, settings| {
        for at in (0..=case.stream.len()).step_by(apart(case)) {
            let (head, tail) = case.stream.split_at(at);
            check_case(case, settings, [head, tail]);
        }
    });
}
