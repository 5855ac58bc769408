//! The engine as scripts of what happens.

mod calls;
mod course;
mod framings;
mod lifetime;
mod patience;
mod property;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::wire::{Event, EventId, EventName};

/// What happens to an engine; time goes in halves of the keepalive's interval.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Data(&'static [u8]),
    Halves(u32),
    Inject(&'static str),
    Close,
    Fail,
    End,
}
use Step::{Close as Shut, Data, End, Fail, Halves, Inject};

/// An engine under a script, with all that it has sent.
pub(super) struct Run {
    pub(super) engine: Engine,
    pub(super) settings: Settings,
    pub(super) now: Instant,
    pub(super) frames: Vec<Bytes>,
    pub(super) status: Option<Box<Status>>,
}

pub(super) const INTERVAL: Duration = Duration::from_secs(10);

impl Run {
    pub(super) fn new(settings: Settings, place: Position) -> Self {
        Self::expiring(settings, place, None)
    }

    /// A run of a stream whose credential expires after so long.
    pub(super) fn expiring(settings: Settings, place: Position, expires: Option<Duration>) -> Self {
        Self::begin(Engine::new(Scanner::new(Framing::Sse), &settings, 0, place), settings, expires)
    }

    /// A run of a stream with this framing.
    pub(super) fn of(framing: Framing, settings: Settings) -> Self {
        Self::begin(
            Engine::new(Scanner::new(framing), &settings, 0, Position::None),
            settings,
            None,
        )
    }

    fn begin(engine: Engine, settings: Settings, expires: Option<Duration>) -> Self {
        let (now, frames, status) = (Instant::now(), Vec::new(), None);
        let mut run = Self { engine, settings, now, frames, status };
        let (now, expires) = (run.now, expires.map(|after| run.now + after));
        run.command(Command::Open { now, expires });
        run
    }

    pub(super) fn command(&mut self, command: Command<'_>) {
        let frame = self.engine.handle_command(&self.settings, command);
        self.take(frame);
    }

    pub(super) fn take(&mut self, first: Option<Bytes>) {
        self.frames.extend(first);
        loop {
            let ended = self.engine.ended();
            let Some(output) = self.engine.poll_output(&self.settings) else {
                return;
            };
            assert_eq!((ended, self.status.is_some()), (None, false), "this was not the last");
            match output {
                Output::Frame(frame) => self.frames.push(frame),
                Output::Status(status) => self.status = Some(status),
            }
        }
    }

    pub(super) fn data(&mut self, chunk: &[u8]) {
        let frame = self.engine.handle_data(&self.settings, Bytes::copy_from_slice(chunk));
        self.take(frame);
        // A farewell that waited for the end of a long event is due now.
        self.pass(Duration::ZERO);
    }

    pub(super) fn inject(&mut self, event: &Event) {
        self.command(Command::Inject(&Injection::new(event.clone())));
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.engine.poll_timeout(&self.settings).filter(|at| *at <= until) {
            self.now = at;
            let frame = self.engine.handle_timeout(&self.settings, at, BodyState::Pending);
            self.take(frame);
        }
        self.now = until;
    }

    /// Handles a timeout so much later, when the engine has not been asked for a long time.
    pub(super) fn timeout(&mut self, later: Duration) -> Option<Bytes> {
        self.now += later;
        self.engine.handle_timeout(&self.settings, self.now, BodyState::Pending)
    }

    pub(super) fn close(&mut self, farewell: Farewell) {
        let (at, reason) = (self.now, CloseReason::Shutdown);
        let delay = Duration::from_millis(700);
        let retry = Some(Retry::after(delay));
        let (farewell, cut_at) = (Cow::Owned(farewell), Some(at + INTERVAL));
        let close = Close { reason, farewell, retry, at, cut_at };
        self.command(Command::Close { order: close, now: at });
    }

    pub(super) fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Data(bytes) => self.data(bytes),
            Halves(n) => self.pass(INTERVAL / 2 * *n),
            Inject(name) => {
                self.inject(&Event::new().event(EventName::from_static(name)).data("x"));
            }
            Shut => self.close(Farewell::close()),
            Fail => {
                let frame = self.engine.handle_end(&self.settings, BodyEnd::Failed).0;
                self.take(frame);
            }
            End => {
                let frame = self.engine.handle_end(&self.settings, BodyEnd::Clean).0;
                self.take(frame);
            }
        }
        self.take(None);
    }

    pub(super) fn sent(&self) -> Vec<u8> {
        self.frames.concat()
    }

    /// What was sent, with a bar in front of each frame.
    pub(super) fn shown(&self) -> String {
        let frames = self.frames.iter().map(|frame| format!("|{}", String::from_utf8_lossy(frame)));
        frames.collect::<String>().replace('\r', "^")
    }
}

fn script(settings: &Settings, steps: &[Step]) -> String {
    let mut run = Run::new(settings.clone(), Position::None);
    run.steps(steps);
    run.shown()
}

fn check(settings: &Settings, table: &[(&[Step], &str)]) {
    for (steps, expected) in table {
        assert_eq!(script(settings, steps), *expected, "{steps:?}");
    }
}

fn keep_alive() -> Settings {
    let mut keep_alive = KeepAlive::new(INTERVAL, &Signal::COMMENT, Instant::now());
    keep_alive.jitter = 0.0;
    Settings { keep_alive: Some(keep_alive), ..Settings::default() }
}

fn ids() -> Settings {
    Settings { ids: Some(EventIds::Sequential), restate: true, ..Settings::default() }
}

#[test]
#[rustfmt::skip]
fn keep_alive_is_written_in_silence_and_never_into_an_event() {
    check(&keep_alive(), &[
        (&[Halves(1)],                                         "|:\n"),
        (&[Halves(2)],                                         "|:\n|:\n"),
        (&[Halves(6)],                                         "|:\n|:\n|:\n|:\n"),
        (&[Halves(1), Data(b"data: a\n\n"), Halves(1)],        "|:\n|data: a\n\n"),
        (&[Halves(1), Data(b"data: a\n\n"), Halves(2)],        "|:\n|data: a\n\n|:\n"),
        // An unfinished event is held, and the comment goes before it.
        (&[Data(b"data: a\n"), Halves(2), Data(b"\n")],        "|:\n|:\n|data: a\n\n"),
        (&[Data(b"data: a"), Halves(2), Data(b"b\n\n")],       "|:\n|:\n|data: ab\n\n"),
        (&[Data(b"data: \xe2\x82"), Halves(2), Data(b"\xac\n\n")], "|:\n|:\n|data: \u{20ac}\n\n"),
        // In the stream's own line end.
        (&[Data(b"data: a\r\n\r\n"), Halves(3)],               "|:\n|data: a^\n^\n|:^\n"),
        (&[Data(b"data: a\r\r"), Halves(3)],                   "|:\n|data: a^^|:^"),
        // Behind a blank line's CR: the LF that follows is swallowed.
        (&[Data(b"data: a\r\n\r"), Halves(3), Data(b"\ndata: b\r\n\r\n")],
                                                               "|:\n|data: a^\n^\n|:^\n|data: b^\n^\n"),
        (&[Data(b"data: a\r\r"), Halves(3), Data(b"\ndata: b\r\r")],
                                                               "|:\n|data: a^^|:^|data: b^^"),
        // Nothing follows the end.
        (&[Data(b"data: a\n\n"), End, Halves(9)],              "|:\n|data: a\n\n"),
        (&[Data(b"data: a\n\n"), Shut, Halves(9)],
            "|:\n|data: a\n\n|event: close\nretry: 700\ndata: {\"reason\":\"shutdown\"}\n\n"),
    ]);
}

#[test]
#[rustfmt::skip]
fn whole_events_pass_and_the_tail_is_held() {
    check(&Settings::default(), &[
        (&[Data(b"data: a\n\ndata: b\n\nda"), Data(b"ta: c\n\n")], "|data: a\n\ndata: b\n\n|data: c\n\n"),
        (&[Data(b"data: a\r"), Data(b"\n\r"), Data(b"\n")],    "|data: a^\n^\n"),
        (&[Data(b"data: a\r"), Data(b"\r"), Data(b"\n")],      "|data: a^^"),
        (&[Data(b"data: a\n\r"), Data(b"\ndata: b\n\n")],      "|data: a\n^|data: b\n\n"),
        // One LF belongs to the CR, a second one is a blank line of its own.
        (&[Data(b"data: a\r\r"), Data(b"\n"), Data(b"\ndata: b\n\n")], "|data: a^^|\ndata: b\n\n"),
        // Comments and blank lines between events pass at once.
        (&[Data(b": one\n"), Data(b"\n"), Data(b": two")],     "|: one\n|\n"),
        // An unfinished event is dropped at the end.
        (&[Data(b"data: a\n\ndata: b\n"), End],                "|data: a\n\n"),
        (&[Data(b"data: a\n\ndata: b\n"), Fail],               "|data: a\n\n"),
        // A byte order mark is taken away; of two, the second stays.
        (&[Data(b"\xef\xbb\xbfdata: a\n\n")],                  "|:\n|data: a\n\n"),
        (&[Data(b"\xef"), Data(b"\xbb\xbfdata: a\n\n")],       "|:\n|data: a\n\n"),
        (&[Data(b"\xef"), Data(b"\xbbdata: a\n\n")],           "|\u{fffd}data: a\n\n"),
        (&[Data(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n")],      "|:\n|\u{feff}data: a\n\n"),
        (&[Inject("i"), Data(b"\xef\xbb\xbfdata: a\n\n")],     "|event: i\ndata: x\n\n|data: a\n\n"),
    ]);
    check(&keep_alive(), &[
        (&[Data(b"\xef\xbb\xbfdata: a\n\n")],                  "|:\n|data: a\n\n"),
    ]);
}

#[test]
#[rustfmt::skip]
fn ids_are_the_last_line_of_events_with_data_and_no_id() {
    check(&ids(), &[
        (&[Data(b"data: a\n\ndata: b\n\n")],                   "|data: a\nid: 1\n\ndata: b\nid: 2\n\n"),
        (&[Data(b"id: x\ndata: a\n\ndata: b\n\n")],            "|id: x\ndata: a\n\ndata: b\nid: 1\n\n"),
        (&[Data(b"id: \0\ndata: a\n\n")],                      "|id: \0\ndata: a\nid: 1\n\n"),
        (&[Data(b": c\n\nretry: 5\n\nevent: e\n\ndata\n\n")],  "|: c\n\nretry: 5\n\nevent: e\n\ndata\nid: 1\n\n"),
        (&[Data(b"data: a\r"), Data(b"\n\r"), Data(b"\n")],    "|data: a^\nid: 1^\n^\n"),
        (&[Data(b"data: a\r\r"), Inject("i"), Data(b"\n")],    "|data: a^id: 1^^|event: i^data: x^id: 2^^"),
        (&[Data(b"data: a\n"), Inject("i"), Data(b"\n")],      "|event: i\ndata: x\nid: 1\n\n|data: a\nid: 2\n\n"),
        (&[Data(b"i"), Data(b"d: x\nda"), Data(b"ta\n\n"), Shut],
            "|id: x\ndata\n\n|event: close\nretry: 700\ndata: {\"reason\":\"shutdown\"}\nid: x\n\n"),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_long_event_flows_unheld_and_nothing_is_written_into_it() {
    let settings = Settings { hold_limit: 8, ..keep_alive() };
    let close = "|event: close\nretry: 700\ndata: {\"reason\":\"shutdown\"}\n\n";
    let waited = format!("|:\n|data: 789|\n\n{close}");
    check(&settings, &[
        (&[Data(b"data: 78"), Data(b"9"), Halves(4), Data(b"x\n\n"), Halves(3)],
                                                               "|:\n|data: 789|x\n\n|:\n"),
        (&[Data(b"data: 789"), Inject("i"), Data(b"\n\n")],    "|:\n|data: 789|\n\n"),
        // A close waits for the end of the event, and drops what comes after it.
        (&[Data(b"data: 789"), Shut, Data(b"\n\ndata: b\n\n")], &waited),
        // But not for ever.
        (&[Data(b"data: 789"), Shut, Halves(2), Data(b"\n\n")], "|:\n|data: 789"),
        (&[Data(b"data: 789"), End],                           "|:\n|data: 789"),
    ]);
}

#[test]
#[rustfmt::skip]
fn an_event_that_flowed_unheld_is_never_read_from_the_middle_of_a_line() {
    let settings = Settings { hold_limit: 16, restate: true, ..Settings::default() };
    let close = |id: &str| format!("event: close\nretry: 700\ndata: {{\"reason\":\"shutdown\"}}\n{id}\n");
    for (chunks, id) in [
        (&["id: real\ndata: a long line of more than sixteen bytes ", "id: evil\n\n"][..], ""),
        (&["id: real\ndata: a long line of more than sixteen bytes", "\nid: other\n\n"], "id: other\n"),
        (&["id: real\ndata: a long line of more than sixteen bytes ", "data\rid: evil\n\n"], "id: evil\n"),
        (&["data: a long line of more than sixteen bytes\ni", "d: split\n\n"], ""),
        (&["id: real\ndata: short\n\ndata: a long line of more than sixteen bytes ", "id: evil\n\n"], "id: real\n"),
    ] {
        let mut run = Run::new(settings.clone(), Position::None);
        for chunk in chunks {
            run.data(chunk.as_bytes());
        }
        run.close(Farewell::close());
        assert_eq!(run.frames.last().unwrap(), &close(id), "{chunks:?}");
    }
}

#[test]
#[rustfmt::skip]
fn a_line_end_is_room_enough_for_a_farewell_after_a_comment_too_long_to_hold() {
    let second = Duration::from_secs(1);
    let settings = Settings { hold_limit: 8, on_error: Some(Farewell::close()), error_retry: second..=second, ..Settings::default() };
    let close = |retry: u32, reason: &str| {
        format!("event: close\nretry: {retry}\ndata: {{\"reason\":\"{reason}\"}}\n\n")
    };
    let shutdown = close(700, "shutdown");
    check(&settings, &[
        (&[Data(b": a comment"), Shut],                        &format!("|: a comment|\n{shutdown}")),
        (&[Data(b"data: a\r\n\r\n: a comment"), Shut],
            &format!("|data: a^\n^\n|: a comment|^\n{}", shutdown.replace('\n', "^\n"))),
        (&[Data(b": a comment"), Fail],                        &format!("|: a comment|\n{}", close(1000, "error"))),
        (&[Data(b": a comment"), End],                         "|: a comment"),
        // In an event there is no room.
        (&[Data(b"data: a\n: a comment"), Shut],               "|data: a\n: a comment"),
    ]);
    assert_eq!(reason(&settings, &[Data(b": a comment"), End]), Some(EndReason::Finished));
    assert_eq!(reason(&settings, &[Data(b": a comment"), Shut]), Some(EndReason::Closed));
}

#[test]
#[rustfmt::skip]
fn a_stream_that_comes_to_its_own_end_says_so_if_that_is_asked_for() {
    let close_at_end = Some(Farewell::close());
    let settings = Settings { close_at_end, hold_limit: 8, restate: true, ..Settings::default() };
    let close = "|event: close\nretry: 86400000\ndata: {\"reason\":\"finished\"}\n";
    check(&settings, &[
        (&[End],                                               &format!("{close}\n")),
        (&[Data(b"data: a\n\n"), End],                         &format!("|data: a\n\n{close}\n")),
        (&[Data(b"id: 7\ndata: a\n\n"), End],                  &format!("|id: 7\ndata: a\n\n{close}id: 7\n\n")),
        (&[Data(b": a comment"), End],                         &format!("|: a comment|\n{}\n", &close[1..])),
        // Not after a part of an event, nor after another end.
        (&[Data(b"data: a\n\ndata:"), End],                    "|data: a\n\n"),
        (&[Data(b"data: 789"), End],                           "|data: 789"),
        (&[Fail],                                              ""),
        (&[Shut, End], "|event: close\nretry: 700\ndata: {\"reason\":\"shutdown\"}\n\n"),
    ]);
    assert_eq!(reason(&settings, &[End]), Some(EndReason::Finished));
}

fn reason(settings: &Settings, steps: &[Step]) -> Option<EndReason> {
    let mut run = Run::new(settings.clone(), Position::None);
    run.steps(steps);
    run.engine.ended()
}

#[test]
#[rustfmt::skip]
fn each_end_has_its_reason() {
    let short = Settings { hold_limit: 8, ..Settings::default() };
    for (steps, expected) in [
        (&[][..],                                              None),
        (&[End],                                               Some(EndReason::Finished)),
        (&[Data(b": com"), End],                               Some(EndReason::Finished)),
        (&[Data(b"data: 1"), End],                             Some(EndReason::Error)),
        (&[Data(b"data: 789"), End],                           Some(EndReason::Cut)),
        (&[Fail],                                              Some(EndReason::Error)),
        (&[Shut],                                              Some(EndReason::Closed)),
        (&[End, Shut],                                         Some(EndReason::Finished)),
        (&[Data(b"data: 789"), Shut],                          None),
        (&[Data(b"data: 789"), Shut, Halves(2)],               Some(EndReason::Cut)),
        (&[Data(b"data: 789"), Shut, Data(b"\n\n")],           Some(EndReason::Closed)),
    ] {
        assert_eq!(reason(&short, steps), expected, "{steps:?}");
    }
}

#[test]
fn of_two_byte_order_marks_the_second_does_not_become_the_first_where_no_comment_opens_streams() {
    let Settings { keep_alive, .. } = keep_alive();
    let settings =
        Settings { keep_alive: keep_alive.map(KeepAlive::without_opening), ..Settings::default() };
    let marked = Data(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n");
    check(
        &settings,
        &[(&[marked], "|:\n|\u{feff}data: a\n\n"), (&[Data(b"data: a\n\n")], "|data: a\n\n")],
    );
}

#[test]
#[rustfmt::skip]
fn an_error_becomes_a_farewell_where_that_is_asked_for() {
    let second = Duration::from_secs(1);
    let settings = Settings { on_error: Some(Farewell::close()), error_retry: second..=second, hold_limit: 8, ..Settings::default() };
    let close = "|event: close\nretry: 1000\ndata: {\"reason\":\"error\"}\n\n";
    check(&settings, &[
        (&[Data(b"data: a\n\n"), Fail],                        &format!("|data: a\n\n{close}")),
        (&[Data(b"data: a\n\ndata:"), Fail],                   &format!("|data: a\n\n{close}")),
        (&[Data(b"data: a\n\ndata:"), End],                    &format!("|data: a\n\n{close}")),
        (&[Data(b"data: a\n\n"), End],                         "|data: a\n\n"),
        // Behind half an event only the error itself tells.
        (&[Data(b"data: 789"), Fail],                          "|data: 789"),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_farewell_restates_the_place_and_never_moves_it() {
    let none = Settings { restate: true, ..Settings::default() };
    let unnumbered: Vec<Step> = (0..20).map(|_| Data(b"data: a\n\n")).chain([Shut]).collect();
    let late: Vec<Step> = (0..20).map(|_| Data(b"data: a\n\n")).chain([Data(b"id: 9\ndata: b\n\n"), Shut]).collect();
    let brought = || Position::brought(b"41");
    for (settings, place, steps, id) in [
        (&ids(), Position::None, &[Shut][..],                              None),
        (&ids(), brought(), &[Shut],                                       Some("41")),
        (&ids(), brought(), &[Data(b"data: a\n\n"), Shut],                 Some("1")),
        (&none, brought(), &[Data(b"id: 7\ndata: a\n\n"), Shut],           Some("7")),
        (&none, brought(), &[Data(b"data: a\nid: 7\n\ndata: b\n\n"), Shut], Some("7")),
        (&none, brought(), &[Data(b"id: 8\n\n"), Shut],                    Some("8")),
        (&none, brought(), &[Data(b"id: 8"), Shut],                        Some("41")),
        (&none, brought(), &[Data(b"id\ndata: a\n\n"), Shut],              None),
        (&none, brought(), &[Data(b"id: \0\ndata: a\n\n"), Shut],          Some("41")),
        (&none, Position::brought(b""), &[Shut],                           None),
        (&none, Position::brought(b"a\0b"), &[Shut],                       None),
        (&none, Position::brought(b"\xff"), &[Shut],                       None),
        (&none, brought(), &[Data(b"data: a\n\n"), Shut],                  Some("41")),
        // The position is not known, so it is not restated.
        (&none, brought(), &unnumbered,                                    None),
        (&none, brought(), &late,                                          None),
    ] {
        let mut run = Run::new(settings.clone(), place);
        run.steps(steps);
        let farewell = String::from_utf8(run.frames.last().unwrap().to_vec()).unwrap();
        let expected = id.map_or(String::new(), |id| format!("id: {id}\n"));
        let close = "event: close\nretry: 700\ndata: {\"reason\":\"shutdown\"}\n";
        assert_eq!(farewell, format!("{close}{expected}\n"), "{steps:?}");
    }
}

#[test]
fn custom_ids_and_heartbeats_are_written() {
    let mut keep_alive = KeepAlive::new(INTERVAL, &Signal::COMMENT, Instant::now());
    let event = Event::new().event(EventName::from_static("beat")).data("{}");
    keep_alive.heartbeat =
        Some(Heartbeat { every: INTERVAL * 3, event: Arc::new(Injection::new(event)) });
    let ids = EventIds::With(Arc::new(|n| EventId::with_epoch(5, n)));
    let settings = Settings { keep_alive: Some(keep_alive), ids: Some(ids), ..Settings::default() };
    let text = script(&settings, &[Data(b"data: a\n\n"), Halves(7)]);
    assert!(text.contains("data: a\nid: 5-1\n\n"), "{text}");
    assert_eq!(text.matches("|event: beat\ndata: {}\n\n").count(), 1, "{text}");
}

#[test]
fn events_that_come_one_by_one_are_numbered_as_any_others() {
    check(
        &ids(),
        &[
            (
                &[Data(b"data: a\n\n"), Data(b"data: b\n\n"), Data(b"data:\r\n\r\n")],
                "|data: a\nid: 1\n\n|data: b\nid: 2\n\n|data:^\nid: 3^\n^\n",
            ),
            // What looks much like one event with one line, and is not.
            (
                &[Data(b"data: a\n\n"), Data(b"data: b\rid: x\n\n"), Data(b"data: c\n\n")],
                "|data: a\nid: 1\n\n|data: b^id: x\n\n|data: c\nid: 2\n\n",
            ),
            (
                &[Data(b"data: a\n\n"), Data(b"data: b\n\ndata: c\n\n"), Data(b"event: e\n\n")],
                "|data: a\nid: 1\n\n|data: b\nid: 2\n\ndata: c\nid: 3\n\n|event: e\n\n",
            ),
            (
                &[Data(b"data: a\n\n"), Data(b"data: b\r\n\r"), Data(b"\ndata: c\n\n")],
                "|data: a\nid: 1\n\n|data: b^\nid: 2^\n^\n|data: c\nid: 3\n\n",
            ),
            (
                &[Data(b"data: a\n\n"), Data(b"data"), Data(b"data: b\n\n"), Data(b"data: c\n\n")],
                "|data: a\nid: 1\n\n|datadata: b\n\n|data: c\nid: 2\n\n",
            ),
        ],
    );
}

#[test]
fn each_small_event_leaves_in_one_frame_and_no_large_one_is_copied() {
    let added = "data: \nid: 0\n".len();
    let [small, large] = [0, 1].map(|more| "x".repeat(frames::COPY_LIMIT - added + more));
    let settings = ids();
    let mut engine = Engine::new(Scanner::new(Framing::Sse), &settings, 0, Position::None);
    // The first event goes another way than those that follow.
    for id in [1, 3, 5] {
        let chunk = Bytes::from(format!("data: {large}\n\n"));
        let first = engine.handle_data(&settings, chunk.clone()).unwrap();
        assert_eq!(first, chunk[..chunk.len() - 1]);
        assert_eq!(first.as_ptr(), chunk.as_ptr());
        let rest = engine.poll_output(&settings);
        assert!(matches!(rest, Some(Output::Frame(rest)) if rest == format!("id: {id}\n\n")));
        assert!(engine.poll_output(&settings).is_none());

        let frame =
            engine.handle_data(&settings, Bytes::from(format!("data: {small}\n\n"))).unwrap();
        assert_eq!(frame, format!("data: {small}\nid: {}\n\n", id + 1));
        assert!(engine.poll_output(&settings).is_none());
    }

    let mut run = Run::new(ids(), Position::None);
    for byte in b"data: one\n\n" {
        run.data(&[*byte]);
    }
    assert_eq!(run.frames, ["data: one\nid: 1\n\n"]);

    // Also where much more comes with its end.
    let mut run = Run::new(Settings::default(), Position::None);
    run.data(b"data: o");
    let more = "data: more\n\n".repeat(frames::COPY_LIMIT);
    run.data(format!("ne\n\n{more}").as_bytes());
    assert_eq!(run.frames, ["data: one\n\n", &more]);
}
