//! The answers of calls, as scripts and against their specifications.

use proptest::prelude::*;

use super::course::{Course, course};
use super::framings::{INJECTED, lively, settings};
use super::*;
use crate::support::{Coding, calls, interpret_call};
use Protocol::{Connect, Grpc, GrpcWeb, GrpcWebText};

const ALL: [Protocol; 4] = [Grpc, GrpcWeb, GrpcWebText, Connect];

fn run_of(protocol: Protocol, settings: Settings) -> Run {
    Run::of(Framing::Calls(protocol), settings)
}

/// The code and the message of the status in the trailers that a run ended with.
fn status(run: &mut Run) -> Option<(u8, &'static str)> {
    run.status.take().map(|status| (status.code as u8, status.message))
}

/// The code of the status that a run ended with, in the trailers or in its last frame.
fn code(run: &mut Run) -> Option<u8> {
    let codes = [
        (8, "grpc-status:8\r\n", r#""code":"resource_exhausted""#),
        (13, "grpc-status:13\r\n", r#""code":"internal""#),
        (14, "grpc-status:14\r\n", r#""code":"unavailable""#),
        (16, "grpc-status:16\r\n", r#""code":"unauthenticated""#),
    ];
    let Notation::Status(protocol) = run.engine.splitter.notation() else { panic!("no call") };
    let coding = coding(protocol);
    let last = run.frames.last().and_then(|it| interpret_call(it, coding).last);
    let last =
        last.map(|(_, text)| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let found = codes.into_iter().find(|(_, web, json)| last.contains(web) || last.contains(json));
    let found = found.map(|(code, ..)| code);
    if found.is_some() {
        run.frames.pop();
    }
    found.or_else(|| status(run).map(|(code, _)| code))
}

fn coding(protocol: Protocol) -> Coding {
    let flag_of_last = match protocol {
        Grpc => None,
        GrpcWeb | GrpcWebText => Some(0x80),
        Connect => Some(2),
    };
    Coding { flag_of_last, base64: protocol == GrpcWebText }
}

#[test]
#[rustfmt::skip]
fn messages_leave_whole_and_nothing_is_written_between_them() {
    const A: &[u8] = b"\0\0\0\0\x01a";
    let settings = Settings { close_at_end: Some(Farewell::close()), ..lively("") };
    for (steps, sent, ended, expected) in [
        (&[Data(A), Halves(6), Inject("x")][..],               vec![A], None, None),
        (&[Data(&A[..3]), Data(&A[3..])],                      vec![A], None, None),
        (&[Data(b"\0\0\0\0\0\x01\0\0\0\x02\n\n\0")],         vec![&b"\0\0\0\0\0\x01\0\0\0\x02\n\n"[..]], None, None),
        (&[Data(A), Data(&A[..5]), Shut, Data(b"a")],          vec![A], Some(EndReason::Closed), Some(14)),
        (&[Shut],                                              vec![], Some(EndReason::Closed), Some(14)),
        // At its own end it has a status of its own.
        (&[Data(A), End],                                      vec![A], Some(EndReason::Finished), None),
        // In the middle of a message, what there was is passed on, so that clients see it.
        (&[Data(A), Data(&A[..5]), End],                       vec![A, &A[..5]], Some(EndReason::Error), None),
        (&[Data(A), Fail],                                     vec![A], Some(EndReason::Error), None),
    ] {
        for protocol in [Grpc, GrpcWeb, Connect] {
            let mut run = run_of(protocol, settings.clone());
            run.steps(steps);
            assert_eq!(code(&mut run), expected, "{protocol:?} {steps:?}");
            assert_eq!(run.frames, sent, "{protocol:?} {steps:?}");
            assert_eq!(run.engine.ended(), ended, "{protocol:?} {steps:?}");
        }
    }
}

#[test]
#[rustfmt::skip]
fn a_group_of_base64_leaves_whole_and_padding_may_be_anywhere() {
    // Two messages of one byte, `\0\0\0\0\x01a`, each by itself or in pieces.
    let settings = lively("");
    for (steps, sent, ended, expected) in [
        (&[Data(b"AAAAAAFh")][..],                             vec![&b"AAAAAAFh"[..]], None, None),
        (&[Data(b"AAAA"), Data(b"AA"), Data(b"Fh"), Halves(6)], vec![b"AAAAAAFh"], None, None),
        // Padding in the prefix, of one character and of two.
        (&[Data(b"AAA=AA==AAFh")],                             vec![b"AAA=AA==AAFh"], None, None),
        (&[Data(b"AAA"), Data(b"=A"), Data(b"A="), Data(b"=AAFh")], vec![b"AAA=AA==AAFh"], None, None),
        // A message of two bytes, which ends in padding that comes late.
        (&[Data(b"AAAAAAJhYg="), Inject("x"), Halves(2), Data(b"=")], vec![b"AAAAAAJhYg=="], None, None),
        (&[Data(b"AAAAAAJhYg="), Shut, Data(b"=")],            vec![], Some(EndReason::Closed), Some(14)),
        // Of two that share a group, none can be taken apart from the other.
        (&[Data(b"AAAAAAJhYgAA"), Data(b"AAAB"), Data(b"YQ==")], vec![b"AAAAAAJhYgAAAAABYQ=="], None, None),
        (&[Data(b"AAAAAAFh"), Data(b"AAAA"), Shut],            vec![b"AAAAAAFh"], Some(EndReason::Closed), Some(14)),
        (&[Data(b"AAAAAAFhAAAA"), End],                        vec![b"AAAAAAFh", b"AAAA"], Some(EndReason::Error), None),
    ] {
        let mut run = run_of(GrpcWebText, settings.clone());
        run.steps(steps);
        assert_eq!(code(&mut run), expected, "{steps:?}");
        assert_eq!(run.frames, sent, "{steps:?}");
        assert_eq!(run.engine.ended(), ended, "{steps:?}");
    }
}

#[test]
fn nothing_follows_the_last_message_of_the_stream_itself() {
    const WEB: &[u8] = b"\0\0\0\0\x01a\x80\0\0\0\x0fgrpc-status:0\r\n";
    const CONNECT: &[u8] = b"\0\0\0\0\x01a\x02\0\0\0\x02{}";
    const TEXT: &[u8] = b"AAAAAAFhgAAAAA9ncnBjLXN0YXR1czowDQo=";
    const TOGETHER: &[u8] = b"AAAAAAJhYoAAAAABeA==";
    for (protocol, body) in
        [(GrpcWeb, WEB), (Connect, CONNECT), (GrpcWebText, TEXT), (GrpcWebText, TOGETHER)]
    {
        for cut in 0..body.len() {
            for late in [b"AAAAAAFh".as_slice(), b"\0\0\0\0\x01a", b"\xff"] {
                let settings = Settings { close_at_end: Some(Farewell::close()), ..lively("") };
                let mut run = run_of(protocol, settings);
                run.data(&body[..cut]);
                run.data(&[&body[cut..], late].concat());
                assert_eq!(run.engine.ended(), Some(EndReason::Finished), "{protocol:?} {cut}");
                run.close(Farewell::close());
                run.inject(&Event::new().data("x"));
                run.data(late);
                run.pass(INTERVAL * 2);
                run.step(&Fail);
                assert_eq!(run.sent(), body, "{protocol:?} {cut}");
                assert_eq!((code(&mut run), status(&mut run)), (None, None));
            }
        }
        // A drain that comes in the middle of it is too early for it.
        let mut run = run_of(protocol, Settings::default());
        run.data(&body[..body.len() - 1]);
        run.close(Farewell::close());
        assert_eq!(code(&mut run), Some(14));
    }
    // One that is too long to hold ends the stream as well, with what comes after a drain.
    let mut run = run_of(GrpcWeb, Settings { hold_limit: 4, ..Settings::default() });
    run.data(b"\x80\0\0\0\x09abc");
    run.close(Farewell::close());
    run.data(b"defghixyz");
    assert_eq!(run.engine.ended(), Some(EndReason::Finished));
    assert_eq!((run.sent(), status(&mut run)), (b"\x80\0\0\0\x09abcdefghi".to_vec(), None));
}

#[test]
fn what_cannot_be_a_message_or_is_too_long_flows_unheld_and_at_once() {
    let [unknown, endless] = [b"\x04".as_slice(), b"\0\xff\xff\xff\xff"];
    for (protocol, prefixes) in [
        (Grpc, [unknown, b"\xff\0\0\0\0", b"\x02", b"\x80", endless, b"\x01\0\x01\0\0"]),
        (GrpcWeb, [unknown, b"\xff\0\0\0\0", b"\x02", b"\x82", endless, b"\x81\xff\xff\xff\xff"]),
        (Connect, [unknown, b"\xff\0\0\0\0", b"\x08", b"\x80", endless, b"\x03\xff\xff\xff\xff"]),
        (GrpcWebText, [b"BAAA", b"!", b"=", b"AP8=////", b"AP////8=", b"gf////8="]),
    ] {
        for prefix in prefixes {
            let mut run = run_of(protocol, lively(""));
            run.data(prefix);
            run.data(b"abcd");
            run.inject(&Event::new().data("x"));
            run.pass(INTERVAL * 10);
            let sent = [prefix, b"abcd"];
            assert_eq!(
                run.frames, sent,
                "{protocol:?} nothing is held and nothing is written into it"
            );
            run.close(Farewell::close());
            run.data(b"efgh");
            run.pass(INTERVAL * 2);
            assert_eq!(run.sent(), [prefix, b"abcdefgh"].concat());
            // Only trailers can be sent after half a message.
            let told = status(&mut run).map(|(code, _)| code);
            assert_eq!(told, (protocol == Grpc).then_some(14), "{protocol:?}");
            assert_eq!(run.engine.ended(), Some(EndReason::Cut));
        }
    }
}

#[test]
fn each_end_of_a_call_has_its_status() {
    for (reason, expected) in [
        (CloseReason::Shutdown, 14),
        (CloseReason::Kicked, 14),
        (CloseReason::Replaced, 8),
        (CloseReason::Rotated, 14),
        (CloseReason::Idle, 14),
        (CloseReason::Expired, 16),
    ] {
        for protocol in ALL {
            for farewell in [Farewell::close(), Farewell::none(), Farewell::bytes("x")] {
                let mut run = run_of(protocol, Settings::default());
                let (at, farewell) = (run.now, Cow::Owned(farewell.for_reason(reason)));
                let order = Close { reason, farewell, retry: None, at, cut_at: None };
                run.command(Command::Close { order, now: at });
                assert_eq!(code(&mut run), Some(expected), "{protocol:?} {reason:?}");
                assert_eq!(run.sent().len(), 0, "{protocol:?} {reason:?}");
            }
        }
        // In the middle of a message that is too long to be held.
        let mut run = run_of(Grpc, Settings { hold_limit: 4, ..Settings::default() });
        run.data(b"\0\0\0\0\x09abc");
        let (at, farewell) = (run.now, Cow::Owned(Farewell::close()));
        let order = Close { reason, farewell, retry: None, at, cut_at: Some(at) };
        run.command(Command::Close { order, now: at });
        assert_eq!((run.sent().len(), status(&mut run).unwrap().0), (8, expected), "{reason:?}");
        assert_eq!(run.engine.ended(), Some(EndReason::Cut));
    }
    let second = Duration::from_secs(1);
    for (protocol, half) in [
        (Grpc, b"\0\0\0\0\x02a".as_slice()),
        (GrpcWeb, b"\0"),
        (GrpcWebText, b"A"),
        (Connect, b"\0"),
    ] {
        for end in [Fail, End] {
            let settings = Settings {
                on_error: Some(Farewell::close()),
                error_retry: second..=second,
                ..Settings::default()
            };
            let mut run = run_of(protocol, settings);
            run.data(half);
            run.steps(&[end]);
            assert_eq!(code(&mut run), Some(13));
            assert_eq!(run.sent().len(), 0);
        }
    }
}

#[test]
fn the_time_to_call_again_is_told_where_that_is_asked_for() {
    for (farewell, expected) in [
        (Farewell::close(), None),
        (Farewell::close().grpc_pushback(), Some(Duration::from_millis(700))),
        (
            Farewell::close().grpc_pushback().for_reason(CloseReason::Shutdown),
            Some(Duration::from_millis(700)),
        ),
    ] {
        let mut run = run_of(Grpc, Settings::default());
        run.close(farewell.clone());
        assert_eq!(run.status.unwrap().pushback, expected);
        let mut run = run_of(GrpcWeb, Settings::default());
        run.close(farewell);
        let told = String::from_utf8_lossy(&run.sent()).contains("grpc-retry-pushback-ms:700\r\n");
        assert_eq!(told, expected.is_some());
    }
}

#[test]
fn a_message_that_ends_where_nothing_can_be_written_is_counted() {
    let settings = Settings { count_events: true, ..Settings::default() };
    let mut run = run_of(GrpcWebText, settings);
    // Three of two bytes in one piece, and another one by itself.
    run.data(b"AAAAAAJhYgAAAAACYWIAAAAAAmFi");
    run.data(b"AAAAAAFh");
    assert_eq!(run.engine.progress().events, 4);
    // The last one is none.
    run.data(b"AAAAAAJhYoAAAAAA");
    assert_eq!(run.engine.progress().events, 5);
    assert_eq!(run.engine.ended(), Some(EndReason::Finished));
}

/// Whatever the cuts and the timings: the bytes are those of the body up to its last message, or up
/// to the end of a message where the server ends the call; and then there is a status.
fn run_call(
    protocol: Protocol,
    body: &[u8],
    course: &Course,
    settings: &Settings,
) -> Result<(), TestCaseError> {
    let chunks = course.chunks(body);
    let mut run = run_of(protocol, settings.clone());
    run.take_course(course, &chunks, &Event::new().data(INJECTED));
    let came = chunks.concat();
    let expected = interpret_call(&came, coding(protocol));
    let (room, is_over) = (run.engine.splitter.room(), run.engine.ended().is_some());
    prop_assert_eq!(
        is_over,
        expected.last.is_some() && interpret_call(&run.sent(), coding(protocol)).last.is_some()
    );
    if settings.count_events {
        let seen = interpret_call(&came[..expected.len], coding(protocol)).messages.len();
        prop_assert_eq!(run.engine.progress().events, seen as u64);
    }
    run.end(course);
    let in_trailers = status(&mut run).is_some();
    let sent = run.sent();
    if is_over {
        // Its own status is there, and nothing else.
        prop_assert_eq!((&sent[..], in_trailers), (&came[..expected.len], false));
    } else if !course.is_closed() {
        prop_assert_eq!((sent, in_trailers), (came, false));
    } else if room == Room::None {
        prop_assert_eq!((sent, in_trailers), (came, protocol == Grpc));
    } else if protocol == Grpc {
        prop_assert_eq!((&sent[..], in_trailers), (&came[..expected.len], true));
    } else {
        prop_assert!(!in_trailers);
        let last = sent.strip_prefix(&came[..expected.len]).unwrap_or_default();
        let last = interpret_call(last, coding(protocol)).last.map(|(_, text)| text);
        let text = String::from_utf8(last.unwrap_or_default()).unwrap_or_default();
        let said = ["grpc-status:14\r\n", r#""code":"unavailable""#];
        prop_assert!(said.iter().any(|said| text.contains(said)), "{:?}", text);
    }
    Ok(())
}

fn body(protocol: Protocol) -> impl Strategy<Value = Vec<u8>> {
    calls(coding(protocol))
}

proptest! {
    #[test]
    fn clients_see_the_same_messages_whatever_the_cuts_and_timings(
        body in body(Grpc), course in course(), settings in settings(),
    ) {
        run_call(Grpc, &body, &course, &settings)?;
    }

    #[test]
    fn clients_see_the_same_messages_of_grpc_web_whatever_the_cuts_and_timings(
        body in body(GrpcWeb), course in course(), settings in settings(),
    ) {
        run_call(GrpcWeb, &body, &course, &settings)?;
    }

    #[test]
    fn clients_see_the_same_messages_in_base64_whatever_the_cuts_and_timings(
        body in body(GrpcWebText), course in course(), settings in settings(),
    ) {
        run_call(GrpcWebText, &body, &course, &settings)?;
    }

    #[test]
    fn clients_see_the_same_messages_of_connect_whatever_the_cuts_and_timings(
        body in body(Connect), course in course(), settings in settings(),
    ) {
        run_call(Connect, &body, &course, &settings)?;
    }
}
