//! How long the body of a stream may give nothing, as scripts of what happens.

use super::*;

/// Streams that are given up after three halves of the interval.
fn impatient() -> Settings {
    let (mut settings, second) = (keep_alive(), Duration::from_secs(1));
    let keep_alive = settings.keep_alive.as_mut();
    keep_alive.unwrap().give_up_after = Some(INTERVAL / 2 * 3);
    Settings { error_retry: second..=second, ..settings }
}

const TIMEOUT: &str = "|event: close\nretry: 1000\ndata: {\"reason\":\"timeout\"}\n\n";

#[test]
#[rustfmt::skip]
fn a_stream_whose_body_gives_nothing_is_given_up_and_its_own_bytes_are_signs_of_life() {
    let ends = |text: &str| format!("{text}{TIMEOUT}");
    check(&impatient(), &[
        (&[Halves(2)],                                         "|:\n|:\n"),
        (&[Halves(3)],                                         &ends("|:\n|:\n")),
        (&[Halves(9)],                                         &ends("|:\n|:\n")),
        // The limit begins at the check after the last bytes.
        (&[Halves(2), Data(b"data: a\n\n"), Halves(3)],        "|:\n|:\n|data: a\n\n|:\n"),
        (&[Halves(2), Data(b"data: a\n\n"), Halves(4)],        &ends("|:\n|:\n|data: a\n\n|:\n")),
        (&[Halves(2), Data(b": here\n"), Halves(3)],           "|:\n|:\n|: here\n|:\n"),
        // Bytes that are held, too, though the client sees nothing of them.
        (&[Halves(2), Data(b"data: h"), Halves(3)],            "|:\n|:\n|:\n"),
        (&[Halves(2), Data(b"data: h"), Halves(4)],            &ends("|:\n|:\n|:\n")),
        // But not what the server writes.
        (&[Halves(2), Inject("i"), Halves(1)],                 &ends("|:\n|:\n|event: i\ndata: x\n\n")),
        // Nor is an event forgotten that came before it.
        (&[Halves(2), Data(b"data: a\n\n"), Inject("i"), Halves(3)],
                                                               "|:\n|:\n|data: a\n\n|event: i\ndata: x\n\n|:\n"),
    ]);
    assert_eq!(reason(&impatient(), &[Halves(3)]), Some(EndReason::Error));
}

#[test]
fn a_stream_that_is_given_up_in_a_long_event_is_cut() {
    let settings = Settings { hold_limit: 8, ..impatient() };
    check(&settings, &[(&[Data(b"data: 789"), Halves(9)], "|:\n|data: 789")]);
    assert_eq!(reason(&settings, &[Data(b"data: 789"), Halves(9)]), Some(EndReason::Cut));
}

#[test]
fn the_time_in_which_a_stream_is_not_polled_does_not_count() {
    let mut run = Run::new(impatient(), Position::None);
    assert_eq!(run.timeout(INTERVAL * 9), None);
    assert_eq!(run.engine.ended(), None);
    run.pass(INTERVAL / 2 * 3);
    assert_eq!(run.engine.ended(), Some(EndReason::Error));
}

/// The body is asked first: it may have what is missing.
#[test]
fn a_body_that_was_not_asked_is_not_given_up() {
    let mut run = Run::new(impatient(), Position::None);
    run.pass(INTERVAL / 2 * 2);
    run.now += INTERVAL / 2;
    let frame = run.engine.handle_timeout(&run.settings, run.now, BodyState::Unknown);
    assert_eq!((frame, run.engine.ended()), (None, None));
    run.data(b"data: a\n\n");
    run.pass(INTERVAL / 2 * 3);
    assert_eq!(run.engine.ended(), None);
}

#[test]
fn the_words_of_a_dialect_are_sent_and_so_is_a_farewell_that_is_set() {
    let words = Words::new(|reason, _| Farewell::event(Event::new().data(reason.as_str())).bare());
    let said = Settings { words: Some(words), ..impatient() };
    check(
        &said,
        &[(&[Halves(3)], "|:\n|:\n|data: timeout\n\n"), (&[Fail], "|:\n|data: error\n\n")],
    );
    let set = Settings { on_error: Some(Farewell::bytes("bye")), ..said };
    check(&set, &[(&[Halves(3)], "|:\n|:\n|bye"), (&[Fail], "|:\n|bye")]);
}

/// The opening comment is the server's, also in a stream that ends for its age.
#[test]
fn an_age_limit_does_not_put_off_the_end_of_a_stream_whose_body_gives_nothing() {
    let rotation = Rotation { max_age: Some(INTERVAL * 100), ..Rotation::default() };
    let settings = Settings { rotation: Some(rotation), ..impatient() };
    check(&settings, &[(&[Halves(3)], &format!("|:\n|:\n{TIMEOUT}"))]);
}

#[test]
fn a_client_whose_stream_is_given_up_keeps_its_position() {
    for (steps, id) in [
        (&[Halves(9)][..], "\nid: 41\n"),
        (&[Data(b"id: 42\ndata: a\n\n"), Halves(9)], "\nid: 42\n"),
    ] {
        let mut run = Run::new(impatient(), Position::brought(b"41"));
        run.steps(steps);
        let last = run.shown().rsplit('|').next().map(str::to_owned).unwrap();
        assert!(last.starts_with("event: close\n") && last.contains(id), "{steps:?} {last}");
    }
}
