//! Ends of streams as scripts of what happens, and at any time.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::engine::Rotation;
use crate::engine::tests::Step::{Close as Shut, Data, Halves, Inject};
use crate::engine::tests::{INTERVAL, Run, Step};
use crate::support::{cut, cuts, interpret, stream};
use crate::wire::Event;

/// An age of ten halves, of which the first stream lives eight; clients wait for a second.
fn aged(max_age: Option<u32>, idle: Option<u32>) -> Settings {
    let halves = |n| INTERVAL / 2 * n;
    let second = Duration::from_secs(1);
    let rotation = Rotation {
        max_age: max_age.map(halves),
        idle: idle.map(halves),
        retry: second..=second,
        ..Rotation::default()
    };
    Settings { rotation: Some(rotation), restate: true, ..Settings::default() }
}

fn run(settings: &Settings, expires: Option<u32>, steps: &[Step]) -> Run {
    let expires = expires.map(|halves| INTERVAL / 2 * halves);
    let mut run = Run::expiring(settings.clone(), Position::brought(b"41"), expires);
    run.steps(steps);
    run
}

const A: Step = Data(b"data: a\n\n");

fn close(told: &str, id: u32) -> String {
    format!("|event: close\nretry: 1000\ndata: {{\"reason\":\"{told}\"}}\nid: {id}\n\n")
}

/// What is sent, and the event that says why it was the last: its reason, and its id.
type Row<'a> = (&'a [Step], &'a str, Option<(&'a str, u32)>);

#[track_caller]
fn check(settings: &Settings, expires: Option<u32>, table: &[Row<'_>]) {
    for (steps, sent, told) in table {
        let run = run(settings, expires, steps);
        let last = told.map(|(told, id)| close(told, id)).unwrap_or_default();
        assert_eq!(run.shown(), format!("{sent}{last}"), "{steps:?}");
        let ended = told.map(|_| EndReason::Rotated);
        assert_eq!(run.engine.ended(), ended, "{steps:?}");
    }
}

#[test]
#[rustfmt::skip]
fn a_stream_ends_at_its_age_behind_a_whole_event() {
    check(&aged(Some(10), None), None, &[
        (&[Halves(7)],                                          "",                None),
        (&[Halves(8)],                                          "",                Some(("rotated", 41))),
        (&[A, Halves(7), A, Halves(1), A],                      "|data: a\n\n|data: a\n\n", Some(("rotated", 41))),
        (&[Data(b"id: 7\ndata: a\n\n"), Halves(8)],             "|id: 7\ndata: a\n\n", Some(("rotated", 7))),
        (&[Data(b"data: a\n\ndata: half"), Halves(8), Data(b"\n\n")], "|data: a\n\n", Some(("rotated", 41))),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_long_event_ends_first_however_long_it_takes() {
    let settings = Settings { hold_limit: 8, ..aged(Some(10), None) };
    check(&settings, None, &[
        (&[Data(b"data: 789"), Halves(8)],                      "|data: 789",      None),
        (&[Data(b"data: 789"), Halves(99), Data(b"0"), Halves(99)], "|data: 789|0", None),
        (&[Data(b"data: 789"), Halves(99), Data(b"\n\ndata: b\n\n")], "|data: 789|\n\n", Some(("rotated", 41))),
        (&[Data(b"data: 789"), Halves(7), Data(b"\n\n"), Halves(1)], "|data: 789|\n\n", Some(("rotated", 41))),
    ]);
    // Until a drain's moment to cut it.
    let mut run = run(&settings, None, &[Data(b"data: 789"), Halves(8), Shut, Halves(2)]);
    assert_eq!(run.engine.ended(), Some(EndReason::Cut));
    run.data(b"\n\n");
    assert_eq!(run.shown(), "|data: 789");
}

#[test]
#[rustfmt::skip]
fn the_earliest_of_age_expiry_and_drain_counts() {
    check(&aged(Some(10), None), Some(3), &[
        (&[Halves(2)],                                          "",                None),
        (&[Halves(3)],                                          "",                Some(("expired", 41))),
    ]);
    check(&aged(Some(10), None), Some(8), &[(&[Halves(8)],      "",                Some(("expired", 41)))]);
    check(&aged(Some(10), None), Some(9), &[(&[Halves(8)],      "",                Some(("rotated", 41)))]);
    check(&aged(None, None), Some(0), &[(&[A, Halves(1)],       "",                Some(("expired", 41)))]);
    // A drain at the ninth half, in a stream that rotates at the eighth, and the other way round.
    for (at, told) in [(9, "rotated"), (7, "shutdown"), (8, "shutdown")] {
        let mut run = run(&aged(Some(10), None), None, &[]);
        let at = run.now + INTERVAL / 2 * at;
        let second = Duration::from_secs(1);
        let order = Close { reason: CloseReason::Shutdown, farewell: Cow::Owned(Farewell::close()), retry: Some(Retry::after(second)), at, cut_at: None };
        let now = run.now;
        run.command(Command::Close { order, now });
        assert!(run.frames.is_empty());
        run.pass(INTERVAL * 5);
        assert_eq!(run.shown(), close(told, 41));
    }
    // Both are long due when the time is asked for.
    let mut run = run(&aged(Some(10), None), None, &[]);
    let order = Close { reason: CloseReason::Shutdown, farewell: Cow::Owned(Farewell::none()), retry: None, at: run.now + INTERVAL * 2, cut_at: None };
    let now = run.now;
    run.command(Command::Close { order, now });
    assert_eq!(run.timeout(INTERVAL * 9), None);
    assert_eq!(run.engine.ended(), Some(EndReason::Closed));
    assert_eq!(run.timeout(INTERVAL * 10), None);
}

#[test]
#[rustfmt::skip]
fn only_events_of_its_own_keep_a_stream_from_being_idle() {
    let mut keep_alive = KeepAlive::new(INTERVAL, &Signal::COMMENT, Instant::now());
    keep_alive.jitter = 0.0;
    let event = Event::new().named("beat").data("{}");
    keep_alive.heartbeat = Some(Heartbeat { every: INTERVAL * 2, event: Arc::new(Injection::new(event)) });
    let alive = Settings { keep_alive: Some(keep_alive), ..aged(None, Some(8)) };
    let idle = Some(("idle", 41));
    check(&aged(None, Some(8)), None, &[
        (&[Halves(7)],                                          "",                None),
        (&[Halves(8)],                                          "",                idle),
        (&[Halves(7), A, Halves(8)],                            "|data: a\n\n",    None),
        (&[Halves(7), A, Halves(9)],                            "|data: a\n\n",    idle),
        (&[Halves(7), Data(b": up\n\n"), Halves(1)],            "|: up\n\n",       idle),
        (&[Halves(7), Data(b"retry: 5\n\n"), Halves(1)],        "|retry: 5\n\n",   idle),
        (&[Halves(7), Data(b"data: half\n"), Halves(1)],        "",                idle),
        (&[Halves(7), Inject("i"), Halves(1)],                  "|event: i\ndata: x\n\n", idle),
        (&[Halves(1), Inject("i"), A, Halves(7)],               "|event: i\ndata: x\n\n|data: a\n\n", None),
    ]);
    check(&alive, None, &[
        (&[Halves(8)], "|:\n|:\n|event: beat\ndata: {}\n\n|:\n|:\n", idle),
    ]);
    // In a long event it is not.
    let long = Settings { hold_limit: 8, ..aged(None, Some(8)) };
    check(&long, None, &[
        (&[Data(b"data: 789"), Halves(99), Data(b"\n\n"), Halves(8)], "|data: 789|\n\n", None),
        (&[Data(b"data: 789"), Halves(99), Data(b"\n\n"), Halves(9)], "|data: 789|\n\n", idle),
    ]);
}

#[test]
fn a_stream_that_was_not_polled_is_not_idle_for_it() {
    let mut run = run(&aged(None, Some(8)), None, &[Halves(6)]);
    assert_eq!(run.timeout(INTERVAL * 100), None);
    run.data(b"data: a\n\n");
    assert_eq!(run.timeout(INTERVAL / 2), None);
    assert_eq!(run.engine.ended(), None);
}

#[test]
fn short_limits_do_not_spin() {
    let idle = Some(Duration::from_nanos(1));
    let settings = Settings {
        rotation: Some(Rotation { idle, ..Rotation::default() }),
        ..Settings::default()
    };
    let mut run = run(&settings, None, &[]);
    run.pass(Duration::from_millis(8));
    assert_eq!(run.engine.ended(), Some(EndReason::Rotated));
}

#[test]
fn frames_pass_unscanned_until_it_is_time() {
    let mut run = run(&aged(Some(10), None), None, &[A; 20]);
    assert_eq!(run.engine.fast_path(), FastPath::WatchedEvents);
    run.pass(INTERVAL * 4);
    assert_eq!(run.engine.fast_path(), FastPath::Over);
}

#[test]
fn streams_without_it_pay_nothing() {
    assert!(size_of::<Engine>() <= 6 * size_of::<usize>(), "{}", size_of::<Engine>());
}

proptest! {
    /// Whatever the cuts, what came before a stream's end is what comes without one.
    #[test]
    fn an_end_at_any_time_changes_nothing_that_came_before(
        stream in stream(), cuts in cuts(), at in any::<Index>(), numbered in any::<bool>(),
        hold_limit in prop_oneof![Just(Settings::HOLD_LIMIT), 0..40_usize],
    ) {
        let chunks = cut(&stream, &cuts);
        let ids = numbered.then_some(EventIds::Sequential);
        let settings = Settings { ids, hold_limit, ..aged(None, None) };
        let at = at.index(chunks.len() + 1);
        let play = |expires: u32| {
            let mut run = run(&settings, Some(expires), &[]);
            for chunk in &chunks {
                run.pass(INTERVAL / 2);
                run.data(chunk);
            }
            run
        };
        let (whole, ended) = (play(1000), play(u32::try_from(at).unwrap()));
        let (expected, mut seen) = (interpret(&whole.sent()), interpret(&ended.sent()));
        if ended.engine.ended().is_some() {
            let (name, data, id) = seen.events.pop().unwrap();
            prop_assert_eq!((name.as_str(), data.as_str()), ("close", r#"{"reason":"expired"}"#));
            // The farewell does not move the client.
            let (_, before) = ended.frames.split_last().unwrap();
            let place = interpret(&before.concat()).last_event_id;
            prop_assert!(id == place || place.is_empty() && id == "41", "{place} {id}");
        } else {
            // Only a long event keeps it open.
            prop_assert!(at > chunks.len() || !ended.engine.accepts_events());
        }
        prop_assert!(seen.events.len() <= expected.events.len());
        for (seen, expected) in seen.events.iter().zip(&expected.events) {
            prop_assert_eq!(seen, expected);
        }
        // What came before its time is there.
        let before = interpret(&chunks[..at.saturating_sub(1).min(chunks.len())].concat());
        prop_assert!(seen.events.len() >= before.events.len());
    }
}
