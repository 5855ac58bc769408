//! Each stream has a span, a child of its request's, that tells at its end what became of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use http::header::CONTENT_ENCODING;
use tower::Layer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_sse::{
    EventIdLayer, KeepAliveLayer, Registry, RegistryLayer, Shutdown, ShutdownLayer, SseLayer,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest, set_default};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, info_span};
use tracing_subscriber::Registry as Spans;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::harness::rig::{Handler, Piece, call, get, open};

#[tokio::test(start_paused = true)]
async fn the_span_of_a_stream_is_a_child_of_its_requests_span() {
    let (log, _guard) = Log::new();
    let request = info_span!("request");
    let layer = SseLayer::new();
    let (feed, mut client) = request.in_scope(|| open(&mut layer.layer(Handler)));
    drop(request);
    // Polled by the server, outside of it.
    client.now().await;
    feed.give(Piece::Fail);
    client.now().await;

    let span = log.one_span();
    assert_eq!(span.level, Level::INFO);
    assert_eq!(span.parent.as_deref(), Some("request"));
    let inside = |event: &Noted| event.parent.as_deref() == Some("sse.stream");
    assert!(log.events().iter().all(inside));
}

#[tokio::test(start_paused = true)]
async fn the_span_tells_whose_the_stream_was_and_how_it_ended() {
    let (log, _guard) = Log::new();
    let listed = RegistryLayer::new(Registry::new()).label(|_| "user 7");
    let keep_alive = KeepAliveLayer::every(Duration::from_secs(10)).jitter(0.0);
    let layer = SseLayer::new()
        .keep_alive(keep_alive)
        .event_ids(EventIdLayer::sequential())
        .registry(listed);
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: a\n\ndata: b\n\n");
    client.during(Duration::from_secs(12)).await;
    drop(feed);
    client.rest().await;

    let expected = [
        ("bytes", ":\ndata: a\nid: 1\n\ndata: b\nid: 2\n\n:\n".len().to_string()),
        ("duration_secs", "12.0".to_owned()),
        ("events", "2".to_owned()),
        ("keepalives", "1".to_owned()),
        ("label", "user 7".to_owned()),
        ("method", "GET".to_owned()),
        // Without the query, which may have secrets.
        ("path", "/events".to_owned()),
        ("reason", "finished".to_owned()),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(log.one_span().fields, BTreeMap::from(expected.clone()));

    let end = log.events().pop().unwrap();
    assert_eq!((end.level, &*end.name), (Level::DEBUG, "stream ended"));
    let of_the_end = |(name, _): &(String, String)| !["label", "method", "path"].contains(&&**name);
    assert_eq!(end.fields, expected.into_iter().filter(of_the_end).collect());
}

/// The first of a stream's events are looked at in any case; their number says nothing.
#[tokio::test(start_paused = true)]
async fn events_that_are_not_counted_are_not_told() {
    let (log, _guard) = Log::new();
    let (feed, mut client) = open(&mut SseLayer::new().layer(Handler));
    feed.data("data: a\n\n");
    client.now().await;
    drop(client);
    let span = log.one_span();
    assert_eq!(span.fields.get("reason").map(String::as_str), Some("client_gone"));
    assert!(!span.fields.contains_key("events") && !span.fields.contains_key("label"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_starts_says_what_is_asked_of_it() {
    let (log, _guard) = Log::new();
    let route = (EventIdLayer::sequential(), ShutdownLayer::off());
    let layers = (SseLayer::new().shutdown(Shutdown::new()).hold_limit(1024), route);
    let (_feed, mut client) = open(&mut layers.layer(Handler));
    assert!(log.events().is_empty(), "before it is polled more may be asked");
    client.now().await;
    let start = log.events().pop().unwrap();
    assert_eq!((start.level, &*start.name), (Level::DEBUG, "stream starts"));
    assert_eq!(
        start.fields["plan"],
        "keep_alive=15s event_ids=on no_buffer=on registry=- shutdown=off rotation=- \
         limit=- hold_limit=1024"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_never_polled_ends_its_span() {
    let (log, _guard) = Log::new();
    drop(open(&mut SseLayer::new().layer(Handler)));
    assert_eq!(log.one_span().fields["reason"], "client_gone");
    assert_eq!(log.events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn encoded_streams_are_warned_of_once_a_layer() {
    let (log, _guard) = Log::new();
    let gzip = http::HeaderValue::from_static("gzip");
    let encoded = SetResponseHeaderLayer::overriding(CONTENT_ENCODING, gzip).layer(Handler);
    let layers = [SseLayer::new(), SseLayer::new()];
    for layer in &layers {
        // A router makes services anew for each connection.
        for _ in 0..3 {
            drop(call(&mut layer.layer(encoded.clone()), get()));
        }
    }
    let events = log.events();
    assert_eq!(events.len(), 2);
    for event in events {
        assert_eq!(event.level, Level::WARN);
        assert!(event.name.contains("Content-Encoding"), "{}", event.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_tells_its_begin_and_its_end_with_the_report() {
    let (log, _guard) = Log::new();
    let shutdown = Shutdown::builder().notice(Duration::from_secs(2)).build().unwrap();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let (first, second) = (open(&mut service), open(&mut service));
    let drains = |log: &Log| {
        let mut events = log.events();
        events.retain(|event| event.name.starts_with("drain "));
        events
    };
    assert!(drains(&log).is_empty());
    shutdown.trigger();
    shutdown.trigger();
    let [begin] = &drains(&log)[..] else { panic!("one event") };
    assert_eq!((begin.level, &*begin.name), (Level::INFO, "drain begins"));
    let expected = [
        ("deadline_secs", "10.0"),
        ("notice_secs", "2.0"),
        ("spread_secs", "0.01"),
        ("streams", "2"),
    ];
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    assert_eq!(begin.fields, expected.map(own).into_iter().collect());

    // Nobody waits for the drain: the server only waits for its connections.
    drop(first);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(drains(&log).len(), 1);
    second.1.rest().await;
    let [_, end] = &drains(&log)[..] else { panic!("two events") };
    assert_eq!((end.level, &*end.name), (Level::INFO, "drain ended"));
    let expected = [
        ("closed", "1"),
        ("cut", "0"),
        ("elapsed_secs", "3.0"),
        ("finished", "1"),
        ("forced", "0"),
        ("stalled", "0"),
    ];
    assert_eq!(end.fields, expected.map(own).into_iter().collect());
    shutdown.drain().await;
    assert_eq!(drains(&log).len(), 2, "once");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_forced_and_leaves_streams_over_tells_both() {
    let (log, _guard) = Log::new();
    let shutdown = Shutdown::new();
    let (_feed, client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    shutdown.trigger();
    shutdown.force();
    shutdown.drain().await;
    let events = log.events();
    let names: Vec<_> = events.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["drain begins", "drain is forced", "drain ended"]);
    assert_eq!(events[2].fields["forced"], "1");
    drop(client);
    assert_eq!(log.events().iter().filter(|event| event.name == "drain ended").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_harms_no_stream() {
    let _guard = set_default(Spans::default().with(Panics));
    let (feed, mut client) = open(&mut SseLayer::new().layer(Handler));
    feed.data("data: a\n\n");
    assert!(client.now().await.0.ends_with("data: a\n\n"));
    drop(feed);
    assert_eq!(client.rest().await, "");
    assert_eq!(Shutdown::new().drain().await.streams(), 0);
}

#[test]
fn what_a_thread_without_a_subscriber_reached_first_is_noted_all_the_same() {
    let (log, _guard) = Log::new();
    std::thread::spawn(|| Shutdown::new().trigger()).join().unwrap();
    assert!(log.events().is_empty());
    Shutdown::new().trigger();
    assert!(log.events().iter().any(|event| event.name == "drain begins"));
}

/// A subscriber that notes what the crate says.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<Noted>>>);

/// A span or an event.
#[derive(Clone, Debug)]
struct Noted {
    span: Option<Id>,
    level: Level,
    name: String,
    parent: Option<String>,
    fields: BTreeMap<String, String>,
}

impl Log {
    fn new() -> (Self, DefaultGuard) {
        /// While there is one subscriber only, `tracing` asks the thread that is the first to reach
        /// a span or an event whether anybody wants it, and keeps the answer for all threads. Tests
        /// run in threads, and most have no subscriber. With this one, `tracing` asks each time.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(Undecided));
        let log = Self::default();
        (log.clone(), set_default(Spans::default().with(log)))
    }

    fn one_span(&self) -> Noted {
        let mut spans = self.0.lock().unwrap().clone();
        spans.retain(|noted| noted.span.is_some());
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0].name, "sse.stream");
        spans.remove(0)
    }

    fn events(&self) -> Vec<Noted> {
        let mut events = self.0.lock().unwrap().clone();
        events.retain(|noted| noted.span.is_none());
        events
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if metadata.target() != "tower_sse" {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent = context.span(id).and_then(|span| Some(span.parent()?.name().to_owned()));
        let (level, name) = (*metadata.level(), metadata.name().to_owned());
        let noted = Noted { span: Some(id.clone()), level, name, parent, fields: fields.0 };
        self.0.lock().unwrap().push(noted);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        for noted in self.0.lock().unwrap().iter_mut().filter(|it| it.span.as_ref() == Some(id)) {
            noted.fields.append(&mut fields.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "tower_sse" {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let parent = context.event_span(event).map(|span| span.name().to_owned());
        let name = fields.0.remove("message").unwrap_or_default();
        let level = *event.metadata().level();
        let noted = Noted { span: None, level, name, parent, fields: fields.0 };
        self.0.lock().unwrap().push(noted);
    }
}

/// A subscriber that is nobody's, and may want each span and event.
#[derive(Debug)]
struct Undecided;

impl Subscriber for Undecided {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Debug, Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

#[derive(Debug)]
struct Panics;

impl<S: Subscriber> tracing_subscriber::Layer<S> for Panics {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        assert!(attributes.metadata().target() != "tower_sse", "the subscriber panics");
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        assert!(event.metadata().target() != "tower_sse", "the subscriber panics");
    }
}
