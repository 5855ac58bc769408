//! Reads logs and hubs, a poll at a time.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Body;
use tower_sse::EventId;
use tower_sse::event_log::{EventLog, Follow, Gap, MemoryFollower, MemoryLog, Start, Step};

pub use crate::harness::topics::{data, data_of, topic, topics};

pub fn id(text: impl Into<String>) -> EventId {
    EventId::new(text).unwrap()
}

pub fn append(log: &MemoryLog, name: &str, text: &str) -> EventId {
    log.append_now(&topic(name), data(text)).unwrap()
}

pub fn follow(log: &MemoryLog, names: &[&str], from: Start) -> MemoryFollower {
    log.follow(topics(names), from)
}

/// What there is now, if there is anything.
pub fn next(follower: &mut MemoryFollower) -> Option<Step> {
    next_for(follower, Waker::noop())
}

/// Polls once; a follower that was refused ends.
pub fn poll(follower: &mut MemoryFollower) -> Poll<Option<Step>> {
    Pin::new(follower).poll_next(&mut Context::from_waker(Waker::noop()))
}

pub fn next_for(follower: &mut MemoryFollower, waker: &Waker) -> Option<Step> {
    match Pin::new(follower).poll_next(&mut Context::from_waker(waker)) {
        Poll::Ready(step) => Some(step.expect("a log in memory does not end")),
        Poll::Pending => None,
    }
}

/// All that there is now: the data of events, and `gap`.
pub fn all(follower: &mut MemoryFollower) -> Vec<String> {
    std::iter::from_fn(|| next(follower)).map(|step| said(&step)).collect()
}

pub fn said(step: &Step) -> String {
    match step {
        Step::Event(event) => data_of(event.bytes()),
        _ => "gap".to_owned(),
    }
}

pub fn gap(follower: &mut MemoryFollower) -> Gap {
    match next(follower) {
        Some(Step::Gap(gap)) => gap,
        other => panic!("no gap but {other:?}"),
    }
}

/// A chunk of a body, if there is one now; the end is none within.
pub fn chunk<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Poll<Option<Bytes>> {
    let polled = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
    polled.map(|frame| frame.map(|frame| frame.ok().unwrap().into_data().ok().unwrap()))
}

/// All chunks that there are now, as one text.
pub fn text<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> String {
    let mut text = String::new();
    while let Poll::Ready(Some(bytes)) = chunk(body) {
        text += std::str::from_utf8(&bytes).unwrap();
    }
    text
}
