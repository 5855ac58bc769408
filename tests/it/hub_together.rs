//! Events that are ready together leave together, and each of them whole.

use std::task::Poll;

use bytes::Bytes;
use tower_sse::Hub;
use tower_sse::event_log::{GapPolicy, MemoryLog, Start};
use tower_sse::hub::HubBody;
use tower_sse::wire::Decoder;

use crate::harness::hub::{append, chunk, data, text, topic, topics};

/// What a frame holds at most, if it is of more than one event.
const LONGEST: usize = 16 * 1024;

fn hub_of(events: usize) -> Hub {
    Hub::new(MemoryLog::builder().events(events).build().unwrap())
}

fn frame(body: &mut HubBody<MemoryLog>) -> Option<Bytes> {
    match chunk(body) {
        Poll::Ready(frame) => Some(frame.expect("a log in memory does not end")),
        Poll::Pending => None,
    }
}

fn said(bytes: &[u8]) -> Vec<String> {
    Decoder::new().decode(bytes).iter().map(|event| event.data.clone()).collect()
}

#[test]
fn a_burst_is_one_frame_that_all_followers_share() {
    let hub = hub_of(100);
    let mut bodies: Vec<_> = (0..50).map(|_| hub.subscribe(topic("t")).into_body()).collect();
    for round in 0..3 {
        for n in 0..20 {
            append(hub.log(), "t", &format!("{round} {n}"));
        }
        let frames: Vec<Bytes> = bodies.iter_mut().map(|body| frame(body).unwrap()).collect();
        let expected: Vec<String> = (0..20).map(|n| format!("{round} {n}")).collect();
        assert_eq!(said(&frames[0]), expected);
        // Shared, and not encoded or copied for each.
        assert!(frames.iter().all(|frame| frame.as_ptr() == frames[0].as_ptr()));
        assert!(bodies.iter_mut().all(|body| frame(body).is_none()));
    }
}

#[test]
fn followers_that_began_at_different_positions_before_a_burst_share_its_frame() {
    let hub = hub_of(100);
    append(hub.log(), "t", "before");
    let follow = |_| {
        // An event of another topic, which moves the position of the next follower.
        append(hub.log(), "u", "other");
        let mut body = hub.subscribe(topic("t")).into_body();
        assert!(frame(&mut body).is_none());
        body
    };
    let mut bodies: Vec<_> = (0..10).map(follow).collect();
    (0..20).for_each(|n| drop(append(hub.log(), "t", &n.to_string())));
    let frames: Vec<Bytes> = bodies.iter_mut().rev().map(|body| frame(body).unwrap()).collect();
    assert_eq!(said(&frames[0]).len(), 20);
    assert!(frames.iter().all(|frame| frame.as_ptr() == frames[0].as_ptr()));
}

#[test]
fn few_events_are_a_frame_each_that_all_followers_share() {
    let hub = hub_of(100);
    let mut bodies = [(); 2].map(|()| hub.subscribe(topic("t")).into_body());
    let ids = ["a", "b", "c"].map(|text| append(hub.log(), "t", text));
    for (text, id) in ["a", "b", "c"].into_iter().zip(ids) {
        let [one, other] = bodies.each_mut().map(|body| frame(body).unwrap());
        assert_eq!(one, format!("data: {text}\nid: {id}\n\n"));
        assert_eq!(one.as_ptr(), other.as_ptr());
    }
}

#[test]
fn a_frame_ends_with_an_event_and_holds_16_kib() {
    let hub = hub_of(1_000);
    let lengths = [10, 3_000, 5_000, 20, 40_000, 30, 6_000, 7_000, 10, 10, 10];
    for (n, len) in (0..100).zip(lengths.into_iter().cycle()) {
        append(hub.log(), "t", &format!("{n:0len$}"));
    }
    let mut body = hub.subscribe(topic("t")).start(Start::Earliest).into_body();
    let (mut numbers, mut frames) = (Vec::new(), 0);
    while let Some(frame) = frame(&mut body) {
        let events = said(&frame);
        assert!(frame.ends_with(b"\n\n"));
        assert!(events.len() == 1 || frame.len() <= LONGEST, "{} bytes", frame.len());
        numbers.extend(events.iter().map(|data| data.parse::<usize>().unwrap()));
        frames += 1;
    }
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    assert!(frames < 80, "{frames} frames");
}

#[test]
fn followers_at_any_position_get_what_follows_it() {
    let hub = hub_of(1_000);
    let ids: Vec<_> = (0..200).map(|n| append(hub.log(), "t", &n.to_string())).collect();
    let after = |n: usize| hub.subscribe(topic("t")).after(ids[n].clone()).into_body();
    // Interleaved, so that what was made for one is there when another comes.
    let mut bodies: Vec<_> = (0..200).map(|n| (n, after(n), Vec::new())).collect();
    for extra in 200..230 {
        append(hub.log(), "t", &extra.to_string());
        for (_, body, seen) in bodies.iter_mut().filter(|(n, ..)| (n + extra) % 7 == 0) {
            seen.extend(frame(body).iter().flat_map(|frame| said(frame)));
        }
    }
    for (n, body, seen) in &mut bodies {
        seen.extend(said(text(body).as_bytes()));
        let expected: Vec<String> = (*n + 1..230).map(|n| n.to_string()).collect();
        assert_eq!(*seen, expected, "behind {n}");
    }
}

#[test]
fn a_trimmed_event_is_a_gap_though_other_followers_got_it_in_a_shared_frame() {
    let hub = hub_of(10);
    let follow = || hub.subscribe(topic("t")).on_gap(GapPolicy::Replay).into_body();
    let (mut quick, mut slow, mut third) = (follow(), follow(), follow());
    (0..10).for_each(|n| drop(append(hub.log(), "t", &n.to_string())));
    assert_eq!(said(&frame(&mut quick).unwrap()).len(), 10);
    append(hub.log(), "t", "10");
    for body in [&mut slow, &mut third] {
        assert!(frame(body).unwrap().starts_with(b"event: gap\n"));
        let expected: Vec<String> = (1..=10).map(|n| n.to_string()).collect();
        assert_eq!(said(&frame(body).unwrap()), expected);
    }
}

#[test]
fn several_topics_and_filters_give_event_by_event() {
    let hub = hub_of(100);
    let mut several = hub.subscribe(topics(&["t", "u"])).into_body();
    let mut filtered = hub.subscribe(topic("t")).filter(|_| true).into_body();
    for n in 0..10 {
        hub.publish_blocking(&topic("t"), data(n.to_string())).unwrap();
    }
    for n in 0..10 {
        for body in [&mut several, &mut filtered] {
            assert_eq!(said(&frame(body).unwrap()), [n.to_string()]);
        }
    }
    assert_eq!(hub.log().followers(&topic("t")), 2);
}
