//! What a recorder is told adds up with what streams did, on every path on which they end.

#![expect(clippy::float_cmp, clippy::cast_precision_loss, reason = "all are small whole numbers")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use metrics_util::debugging::DebuggingRecorder;
use tower::{Layer, ServiceExt};
use tower_sse::{
    Event, EventIdLayer, Farewell, KeepAliveLayer, Limit, Registry, RegistryLayer, Shutdown,
    SseLayer,
};

use crate::harness::bodies::Step;
use crate::harness::layers::handler_of;
use crate::harness::recorder::Recorded;
use crate::harness::rig::{Client, Fate, Feed, Handler, Piece, call, get, open};

/// One stream at a time, ended in each way there is.
#[tokio::test(start_paused = true)]
async fn each_stream_that_opens_ends_once_and_by_the_registrys_word() {
    let debugging = DebuggingRecorder::new();
    let (mut recorded, _guard) = Recorded::by(&debugging);
    let drop_it = |feed: Feed, client, _: &Registry, _: &Shutdown| drop((feed, client));
    let ways: [(&str, &str, Way); 7] = [
        ("unpolled", "client_gone", drop_it),
        ("dropped", "client_gone", |_feed, mut client, _, _| {
            assert_eq!(read(&mut client), Fate::Open);
        }),
        ("finished", "finished", |feed, mut client, _, _| {
            drop(feed);
            assert_eq!(read(&mut client), Fate::Ended);
        }),
        ("kicked", "kicked", |_feed, mut client, registry, _| {
            registry.close_where(|_| true, Farewell::close());
            assert_eq!(read(&mut client), Fate::Ended);
        }),
        ("failed", "error", |feed, mut client, _, _| {
            feed.give(Piece::Fail);
            assert_eq!(read(&mut client), Fate::Failed);
        }),
        ("panicked", "error", |feed, mut client, _, _| {
            feed.give(Piece::Panic);
            assert!(catch_unwind(AssertUnwindSafe(|| read(&mut client))).is_err());
        }),
        ("drained", "closed", |_feed, mut client, _, shutdown| {
            shutdown.trigger();
            assert_eq!(read(&mut client), Fate::Ended);
        }),
    ];
    for (what, reason, way) in ways {
        let registry = Registry::builder().on_close(move |_, ended| {
            assert_eq!(ended.as_str(), reason, "{what}");
        });
        let registry = registry.build().unwrap();
        let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
        let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
        let (feed, client) = open(&mut layer.layer(Handler));
        assert_eq!(recorded.read().number("open_streams"), 1.0, "{what}");
        recorded.numbers.clear();

        way(feed, client, &registry, &shutdown);
        recorded.read();
        assert_eq!(recorded.by_reason("ended_total"), [(reason, 1.0)], "{what}");
        assert_eq!(recorded.number("open_streams"), -1.0, "{what}");
        assert_eq!(recorded.number("opened_total"), 0.0, "{what}");
        assert_eq!(recorded.number("drain_pending"), 0.0, "{what}");
        assert_eq!(recorded.seconds("duration").len(), 1, "{what}");
        recorded.numbers.clear();
    }
}

/// With a registry, without, and with no layer that looks at each frame.
#[tokio::test(start_paused = true)]
async fn bytes_are_those_that_the_client_got_and_events_those_that_were_counted() {
    let keep_alive = KeepAliveLayer::every(Duration::from_secs(10)).jitter(0.0);
    let plain = SseLayer::new().keep_alive(keep_alive);
    let numbered = plain.clone().event_ids(EventIdLayer::sequential());
    let listed = plain.clone().registry(Registry::new());
    let counting = Registry::builder().count_events(true).build().unwrap();
    let counted = plain.clone().registry(counting);
    for (layer, counts) in [(plain, 0.0), (numbered, 40.0), (listed, 0.0), (counted, 40.0)] {
        let debugging = DebuggingRecorder::new();
        let (mut recorded, _guard) = Recorded::by(&debugging);
        let (feed, mut client) = open(&mut layer.layer(Handler));
        let mut got = client.now().await.0.len();
        for _ in 0..20 {
            feed.data(": a comment\n\ndata: one\n\ndata: tw");
            feed.data("o\n\n");
            got += client.now().await.0.len();
            // Nothing is left to be told when a stream is quiet.
            assert_eq!(recorded.read().number("bytes_total"), got as f64);
        }
        got +=
            client.during(Duration::from_secs(25)).await.iter().map(|it| it.1.len()).sum::<usize>();
        recorded.read();
        assert_eq!(recorded.number("bytes_total"), got as f64);
        assert_eq!(recorded.number("events_total"), counts);
        assert_eq!(recorded.number("keepalives_total"), 2.0);

        feed.data("data: last\n\n");
        drop(feed);
        got += client.rest().await.len();
        assert_eq!(recorded.read().number("bytes_total"), got as f64);
    }
}

/// A source that never waits would else be told of at its end only.
#[tokio::test(start_paused = true)]
async fn a_stream_that_never_waits_is_told_of_in_batches() {
    let debugging = DebuggingRecorder::new();
    let (mut recorded, _guard) = Recorded::by(&debugging);
    let event: &'static str = format!("data: {}\n\n", "x".repeat(1016)).leak();
    let flood = handler_of::<()>(move || vec![Step::Flood(event)]);
    let response = SseLayer::new().layer(flood).oneshot(Request::new(())).await.unwrap();
    let mut body = response.into_body();
    let mut got = 0;
    for _ in 0..1000 {
        got += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    let behind = got as f64 - recorded.read().number("bytes_total");
    assert!((0.0..=66_000.0).contains(&behind), "{behind}");
}

#[tokio::test(start_paused = true)]
async fn times_are_counted_from_the_head() {
    let debugging = DebuggingRecorder::new();
    let (mut recorded, _guard) = Recorded::by(&debugging);
    // Not one of them asks for a look at the events.
    let (feed, mut client) = open(&mut SseLayer::new().layer(Handler));
    client.during(Duration::from_secs(1)).await;
    feed.data(": still none\n\n");
    client.during(Duration::from_secs(1)).await;
    assert!(recorded.read().seconds("first_event").is_empty());
    feed.data("data: a\n\n");
    client.during(Duration::from_secs(3)).await;
    assert_eq!(recorded.read().seconds("first_event"), [2.0]);
    feed.data("data: b\n\n");
    drop(feed);
    client.rest().await;
    recorded.read();
    assert!(recorded.seconds("first_event").is_empty());
    assert_eq!(recorded.seconds("duration"), [5.0]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_told_of_until_its_last_stream_has_left() {
    let debugging = DebuggingRecorder::new();
    let (mut recorded, _guard) = Recorded::by(&debugging);
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let mut service = SseLayer::new().shutdown(shutdown.clone()).layer(Handler);
    let (mut one, other, third) = (open(&mut service), open(&mut service), open(&mut service));
    drop(third);
    assert_eq!(recorded.read().number("drain_pending"), 0.0);
    shutdown.trigger();
    // Also of those that nobody polls.
    assert_eq!(recorded.read().number("drain_pending"), 2.0);
    one.1.now().await;
    assert_eq!(recorded.read().number("drain_pending"), 1.0);
    drop(other);
    assert_eq!(recorded.read().number("drain_pending"), 0.0);

    drop(call(&mut service, get()));
    recorded.read();
    assert_eq!(recorded.by_reason("refused_total"), [("draining", 1.0)]);
    assert_eq!(recorded.number("opened_total"), 3.0, "who is refused opened nothing");
}

/// Recorders look metrics up under locks, which all ends of a drain would wait for.
#[tokio::test(start_paused = true)]
async fn a_drain_looks_its_gauge_up_once_however_many_streams_end() {
    let recorder = CountsLookUps::default();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let shutdown = Shutdown::builder().notice(Duration::from_secs(1)).build().unwrap();
    let mut service = SseLayer::new().shutdown(shutdown.clone()).layer(Handler);
    let early: Vec<_> = (0..500).map(|_| open(&mut service)).collect();
    shutdown.trigger();
    let late: Vec<_> = (0..500).map(|_| open(&mut service)).collect();
    assert_eq!(recorder.pending.value.load(Relaxed), 1_000);
    drop(early);
    assert_eq!(recorder.pending.value.load(Relaxed), 500);
    drop(late);
    assert_eq!(recorder.pending.value.load(Relaxed), 0);
    assert_eq!(recorder.pending.least.load(Relaxed), 0, "it is never below zero");
    assert_eq!(recorder.look_ups.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_a_cap_is_counted_and_opens_no_stream() {
    let debugging = DebuggingRecorder::new();
    let (mut recorded, _guard) = Recorded::by(&debugging);
    let mut service = SseLayer::new().limit(Limit::new(1)).layer(Handler);
    let _first = open(&mut service);
    for _ in 0..3 {
        drop(call(&mut service, get()));
    }
    recorded.read();
    assert_eq!(recorded.by_reason("refused_total"), [("limit", 3.0)]);
    assert_eq!((recorded.number("opened_total"), recorded.number("open_streams")), (1.0, 1.0));
}

#[tokio::test(start_paused = true)]
async fn events_that_find_a_mailbox_full_are_told_of() {
    let debugging = DebuggingRecorder::new();
    let (mut recorded, _guard) = Recorded::by(&debugging);
    let registry = Registry::builder().mailbox(1).build().unwrap();
    let mut service = SseLayer::new().registry(registry.clone()).layer(Handler);
    let (_first, _second) = (open(&mut service), open(&mut service));
    let event = || Event::new().data("x");
    registry.broadcast(event());
    assert_eq!(recorded.read().number("mailbox_dropped_total"), 0.0);
    registry.broadcast(event());
    registry.broadcast_where(|_| true, event());
    let id = registry.snapshot()[0].id;
    assert!(registry.send(id, event()).is_err());
    assert_eq!(recorded.read().number("mailbox_dropped_total"), 5.0);
}

/// The number of time series does not depend on who asks for what.
#[tokio::test(start_paused = true)]
async fn nothing_of_a_request_becomes_a_label() {
    let debugging = DebuggingRecorder::new();
    let (mut recorded, _guard) = Recorded::by(&debugging);
    let listed = RegistryLayer::new(Registry::new()).label(|_| "user 7");
    let (feed, mut client) = open(&mut SseLayer::new().registry(listed).layer(Handler));
    feed.data("data: a\n\n");
    client.now().await;
    drop(client);
    recorded.read();
    for name in recorded.numbers.keys().chain(recorded.histograms.keys()) {
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        assert!(name.starts_with("tower_sse_"), "{name}");
        assert_eq!(labels.is_empty(), name != "tower_sse_ended_total", "{name}{labels}");
        assert!(labels.is_empty() || labels.starts_with("reason="), "{labels}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_may_come_after_the_first_streams() {
    let mut service = SseLayer::new().layer(Handler);
    let early = open(&mut service);
    let debugging = DebuggingRecorder::new();
    let (mut recorded, _guard) = Recorded::by(&debugging);
    let late = open(&mut service);
    drop((early, late));
    assert_eq!(recorded.read().by_reason("ended_total"), [("client_gone", 1.0)]);
    assert_eq!(recorded.number("opened_total"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_panics_harms_no_stream() {
    let (early, late) = (Panics { late: false }, Panics { late: true });
    for recorder in [early, late] {
        let _guard = metrics::set_default_local_recorder(&recorder);
        let (registry, shutdown) = (Registry::new(), Shutdown::new());
        let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
        let mut service = layer.layer(Handler);
        let (feed, mut client) = open(&mut service);
        feed.data("data: a\n\n");
        assert!(client.now().await.0.ends_with("data: a\n\n"));
        let dropped_while_another_panics = catch_unwind(AssertUnwindSafe(|| {
            let _other = open(&mut service);
            panic!("as the test wants");
        }));
        assert!(dropped_while_another_panics.is_err());
        shutdown.trigger();
        drop(call(&mut service, get()));
        drop(feed);
        client.rest().await;
        assert!(registry.is_empty());
    }
}

/// A recorder that counts how often it is asked for the gauge of a drain, and keeps nothing else.
#[derive(Debug, Default)]
struct CountsLookUps {
    look_ups: AtomicUsize,
    pending: Arc<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    value: AtomicI64,
    least: AtomicI64,
}

impl GaugeFn for Pending {
    #[expect(clippy::cast_possible_truncation, reason = "all are small whole numbers")]
    fn increment(&self, more: f64) {
        let now = self.value.fetch_add(more as i64, Relaxed) + more as i64;
        self.least.fetch_min(now, Relaxed);
    }

    fn decrement(&self, less: f64) {
        self.increment(-less);
    }

    fn set(&self, _: f64) {}
}

impl Recorder for CountsLookUps {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        if key.name() != "tower_sse_drain_pending" {
            return Gauge::noop();
        }
        self.look_ups.fetch_add(1, Relaxed);
        Gauge::from_arc(Arc::clone(&self.pending))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// A recorder that panics at once, or as soon as something is recorded.
#[derive(Debug)]
struct Panics {
    late: bool,
}

impl Recorder for Panics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        assert!(self.late, "the recorder panics");
        Counter::from_arc(Arc::new(Thrower))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

struct Thrower;

impl CounterFn for Thrower {
    fn increment(&self, _: u64) {
        panic!("the recorder panics");
    }

    fn absolute(&self, _: u64) {}
}

/// Ends a stream.
type Way = fn(Feed, Client, &Registry, &Shutdown);

fn read(client: &mut Client) -> Fate {
    client.now().now_or_never().expect("it never waits").1
}
