//! Every case of the wire under the layers, cut everywhere, with something written in between
//! wherever it may be.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::advance;
use tower::Layer;
use tower_sse::{
    Event, EventIdLayer, EventName, KeepAliveLayer, Registry, RegistryLayer, SseLayer,
};

use crate::harness::cases::{self, WireCase};
use crate::harness::rig::{Client, Fate, Handler, open};
use crate::harness::support::interpret;

const INTERVAL: Duration = Duration::from_secs(10);

/// What is asked of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Keepalives alone: whole frames pass unscanned.
    Alive,
    /// A place in a registry, too: events are counted, and others are written in between.
    Listed,
    /// The same, with no event short enough to be held.
    Flowing,
    /// The same, with a number for each event.
    Numbered,
}

impl Asked {
    fn layer(self, registry: &Registry) -> SseLayer {
        let layer = SseLayer::new().keep_alive(KeepAliveLayer::every(INTERVAL).jitter(0.0));
        let listed = || layer.clone().registry(RegistryLayer::new(registry.clone()));
        match self {
            Self::Alive => layer,
            Self::Listed => listed(),
            Self::Flowing => listed().hold_limit(0),
            Self::Numbered => listed().event_ids(EventIdLayer::sequential()),
        }
    }
}

/// A stream, and what its client was sent.
struct Stream {
    /// Whether it may be in the middle of an event that is too long to be held.
    may_flow: bool,
    registry: Registry,
    client: Client,
    sent: Vec<u8>,
    injected: usize,
}

impl Stream {
    /// Takes what there is now, and says how much that is.
    async fn take(&mut self, fate: Fate) -> usize {
        let (bytes, seen) = self.client.bytes_now().await;
        assert_eq!(seen, fate);
        self.sent.extend(&bytes);
        bytes.len()
    }

    /// Lets keepalives and an event into the stream.
    async fn write_between(&mut self) {
        let mut alive = 0;
        for _ in 0..2 {
            advance(INTERVAL).await;
            alive += self.take(Fate::Open).await;
        }
        assert!(alive > 0 || self.may_flow, "silence is broken wherever a chunk ends");
        let event = Event::new().event(EventName::from_static("injected")).data("whole\nand new");
        self.injected += self.registry.broadcast(event).sent;
        self.take(Fate::Open).await;
    }
}

async fn check_case<'a>(case: &WireCase, asked: Asked, chunks: impl IntoIterator<Item = &'a [u8]>) {
    let registry = Registry::new();
    let mut service = asked.layer(&registry).layer(Handler);
    let (feed, client) = open(&mut service);
    let may_flow = asked == Asked::Flowing || case.stream.len() > 65_536;
    let mut stream = Stream { may_flow, registry, client, sent: Vec::new(), injected: 0 };
    stream.write_between().await;
    for chunk in chunks {
        feed.data(Bytes::copy_from_slice(chunk));
        stream.take(Fate::Open).await;
        stream.write_between().await;
    }
    drop(feed);
    stream.take(Fate::Ended).await;

    let (mut seen, expected) = (interpret(&stream.sent), &case.expected);
    if !is_whole(&case.stream) {
        // What is not the end of an event is dropped, and a `retry` in it with it.
        seen.retry = expected.retry;
    }
    let all = seen.events.len();
    seen.events.retain(|(name, data, _)| name != "injected" || data != "whole\nand new");
    let injected = all - seen.events.len();
    match asked {
        // What was sent into an event that is not held waits for the end of it, which may not come.
        Asked::Flowing => assert!(injected <= stream.injected, "{}", case.name),
        _ => assert_eq!(injected, stream.injected, "{}", case.name),
    }
    if asked == Asked::Numbered {
        let events = |all: &[(String, String, String)]| -> Vec<_> {
            all.iter().map(|(name, data, _)| (name.clone(), data.clone())).collect()
        };
        assert_eq!(events(&seen.events), events(&expected.events), "{}", case.name);
    } else {
        assert_eq!(seen, *expected, "{} {asked:?}", case.name);
    }
}

/// Whether the stream ends behind a blank line.
fn is_whole(stream: &[u8]) -> bool {
    let ends: [&[u8]; 4] = [b"\n\n", b"\r\r", b"\n\r\n", b"\n\r"];
    stream.is_empty() || ends.iter().any(|end| stream.ends_with(end))
}

/// Every case in its own chunks, byte by byte, and cut in two at every place.
async fn check(asked: Asked) {
    for case in cases::wire() {
        check_case(&case, asked, case.chunks.iter().map(|chunk| &**chunk)).await;
        // In the two streams of many kilobytes all places would take minutes.
        let apart = if case.stream.len() < 4096 { 1 } else { case.stream.len() / 97 };
        check_case(&case, asked, case.stream.chunks(apart)).await;
        for at in (0..=case.stream.len()).step_by(apart) {
            let (head, tail) = case.stream.split_at(at);
            check_case(&case, asked, [head, tail]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keepalives_change_no_event_wherever_it_is_cut() {
    check(Asked::Alive).await;
}

#[tokio::test(start_paused = true)]
async fn events_of_a_registry_change_no_other_event_wherever_it_is_cut() {
    check(Asked::Listed).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_held_is_changed_by_nothing_wherever_it_is_cut() {
    check(Asked::Flowing).await;
}

#[tokio::test(start_paused = true)]
async fn ids_change_no_name_and_no_data_wherever_an_event_is_cut() {
    check(Asked::Numbered).await;
}
