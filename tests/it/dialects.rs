//! On a route with a dialect the server says everything in its words, unless a setting says
//! otherwise.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{
    CloseReason, Comment, Dialect, DialectLayer, EndReason, Event, EventIdLayer, EventName,
    Farewell, KeepAliveLayer, Limit, Notice, Registry, RotationLayer, Shutdown, ShutdownLayer,
    SseLayer, StreamInfo,
};

use crate::harness::SECOND;
use crate::harness::rig::{Failure, Fate, Handler, HandlerOf, Piece, at_once, call, get, open};

const WORD: EventName = EventName::from_static("word");

/// The last event of a stream in [`dialect`].
fn word(reason: CloseReason) -> String {
    let status = Notice::new(reason).status.as_u16();
    format!("event: word\ndata: {reason} {status}\n\n")
}

/// A dialect in which everything is another than by default.
fn dialect() -> Dialect {
    let data = |notice: &Notice| format!("{} {}", notice.reason, notice.status.as_u16());
    Dialect::builder()
        .interval(7 * SECOND)
        .event(Event::new().event(EventName::from_static("tick")).data("{}"))
        .no_opening()
        .give_up_after(60 * SECOND)
        .farewell(move |notice| Farewell::event(Event::new().event(WORD).data(data(notice))).bare())
        .refusal(move |notice| {
            notice.response(HeaderValue::from_static("text/plain"), data(notice))
        })
        .build()
}

fn steady(layer: KeepAliveLayer) -> KeepAliveLayer {
    layer.jitter(0.0)
}

/// A POST as an SDK makes it.
fn post() -> Request<()> {
    Request::post("/").header("accept", "application/json").body(()).unwrap()
}

async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Data = bytes::Bytes, Error = Failure>,
{
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_interval_of_a_dialect_holds_unless_one_is_set() {
    let chosen = SseLayer::new().keep_alive(steady(KeepAliveLayer::new()));
    for (layer, seconds) in [
        (chosen.clone(), 15),
        (chosen.clone().dialect(dialect()), 7),
        (chosen.dialect(dialect()).keep_alive(steady(KeepAliveLayer::every(9 * SECOND))), 9),
    ] {
        let (_feed, mut client) = open(&mut layer.layer(Handler));
        client.now().await;
        let seen = client.during(40 * SECOND).await;
        let times: Vec<_> = seen.iter().map(|(at, _)| at.as_secs()).collect();
        let expected: Vec<u64> = (1..=39 / seconds).map(|n| n * seconds).collect();
        assert_eq!(times, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_dialect_sets_the_interval_of_an_outer_keepalive() {
    let outer = SseLayer::new().keep_alive(steady(KeepAliveLayer::new()));
    for (inner, seconds) in [(DialectLayer::new(dialect()), 7), (DialectLayer::off(), 15)] {
        let outer = outer.clone().dialect(Dialect::anthropic());
        let (_feed, mut client) = open(&mut outer.layer(inner.layer(Handler)));
        client.now().await;
        assert_eq!(client.during(16 * SECOND).await[0].0, seconds * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_without_the_dialect_of_its_router_says_everything_as_by_default() {
    let shutdown = at_once();
    let outer = SseLayer::new().dialect(dialect()).shutdown(shutdown.clone());
    let mut service = outer.layer(DialectLayer::off().layer(Handler));
    let (_feed, mut client) = open(&mut service);
    assert_eq!(client.now().await.0, ":\n");
    shutdown.trigger();
    assert!(client.rest().await.starts_with("event: close\n"));
    let refused = call(&mut service, get());
    assert_eq!(refused.status(), StatusCode::OK);
    assert!(text(refused).await.starts_with(":\nevent: draining\n"));
    let refused = call(&mut service, post());
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text(refused).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_keepalive_is_a_comment_a_block_or_an_event() {
    const TICK: EventName = EventName::from_static("tick");
    let every = || steady(KeepAliveLayer::every(10 * SECOND));
    let event = Event::new().event(TICK).id(tower_sse::EventId::from_static("9")).data("{}");
    #[rustfmt::skip]
    let table = [
        (every(), ":\n", ":\n"),
        (every().comment(Comment::from_static("a")), ": a\n", ": a\n"),
        (every().block(), ":\n\n", ":\n\n"),
        (every().comment(Comment::from_static("a")).block(), ": a\n\n", ": a\n\n"),
        // It opens with a comment, and has no id.
        (every().event(event), ":\n", "event: tick\ndata: {}\n\n"),
    ];
    for (layer, opening, keepalive) in table {
        for crlf in [false, true] {
            let layer = SseLayer::new().keep_alive(layer.clone());
            let layer = layer.event_ids(EventIdLayer::sequential()).dialect(Dialect::openai_chat());
            let (feed, mut client) = open(&mut layer.layer(Handler));
            assert_eq!(client.now().await, (opening.to_owned(), Fate::Open));
            let line_end = if crlf { "\r\n" } else { "\n" };
            feed.data("data: a\n\n".replace('\n', line_end));
            client.now().await;
            let seen = client.during(20 * SECOND).await;
            assert_eq!(seen.last().unwrap().1, keepalive.replace('\n', line_end));
            // It uses up no number.
            feed.data("data: b\n\n".replace('\n', line_end));
            assert_eq!(client.now().await.0, "data: b\nid: 2\n\n".replace('\n', line_end));
        }
    }
}

/// An id would be the client's position.
#[tokio::test(start_paused = true)]
async fn what_breaks_silence_in_a_dialect_has_no_id_and_takes_at_least_a_millisecond() {
    let event = Event::new().id(tower_sse::EventId::from_static("9")).data("{}");
    for (dialect, opening, signal) in [
        (Dialect::builder().comment(Comment::from_static("a")), ": a\n", ": a\n"),
        (Dialect::builder().event(event), ":\n", "data: {}\n\n"),
    ] {
        let layer = SseLayer::new().keep_alive(steady(KeepAliveLayer::new()));
        let never = dialect.interval(Duration::ZERO).give_up_after(Duration::ZERO);
        let (_feed, mut client) = open(&mut layer.dialect(never.build()).layer(Handler));
        assert_eq!(client.now().await.0, opening);
        let seen = client.during(Duration::from_millis(20)).await;
        assert!((9..=20).contains(&seen.len()), "{seen:?}");
        assert!(seen.iter().all(|(_, text)| text == signal), "{seen:?}");
    }
}

/// A dialect may know better than the limit how long its clients are to wait.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_dialect_keeps_its_own_headers_but_not_its_length() {
    let dialect = Dialect::builder().refusal(|notice| {
        let mut response = notice.response(HeaderValue::from_static("text/plain"), "wait");
        for (name, value) in
            [("retry-after", "9"), ("cache-control", "private"), ("content-length", "99")]
        {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    });
    let layer = SseLayer::new().dialect(dialect.build()).limit(Limit::new(0));
    let response = call(&mut layer.layer(Handler), post());
    let headers = response.headers();
    for (name, value) in
        [("retry-after", "9"), ("cache-control", "private"), ("content-length", "4")]
    {
        assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
    }
    assert_eq!(text(response).await, "wait");
}

#[tokio::test(start_paused = true)]
async fn a_dialect_may_begin_with_the_streams_own_first_byte() {
    let (feed, mut client) = open(&mut SseLayer::new().dialect(dialect()).layer(Handler));
    assert_eq!(client.now().await, (String::new(), Fate::Open));
    feed.data("data: a\n\n");
    assert_eq!(client.now().await.0, "data: a\n\n");
}

#[tokio::test(start_paused = true)]
async fn every_end_is_told_in_the_words_of_the_dialect() {
    let end = |reason| (word(reason), Fate::Ended);
    let layer = || SseLayer::new().dialect(dialect());

    let shutdown = at_once();
    let (_feed, mut client) = open(&mut layer().shutdown(shutdown.clone()).layer(Handler));
    client.now().await;
    shutdown.trigger();
    assert_eq!(client.now().await, end(CloseReason::Shutdown));

    let rotation = RotationLayer::new().max_age(30 * SECOND).idle(10 * SECOND);
    for (rotation, reason) in [
        (rotation.clone(), CloseReason::Idle),
        (rotation.idle(Duration::ZERO), CloseReason::Rotated),
    ] {
        let layer = layer().rotation(rotation).keep_alive(KeepAliveLayer::off());
        let (_feed, client) = open(&mut layer.layer(Handler));
        assert_eq!(client.rest().await, word(reason));
    }

    let registry = Registry::new();
    let (_feed, mut client) = open(&mut layer().registry(registry.clone()).layer(Handler));
    client.now().await;
    registry.close_where(|_| true, Farewell::default());
    assert_eq!(client.now().await, end(CloseReason::Kicked));

    let one = Limit::builder().per_key(1, |_: &http::request::Parts| "a").replace_oldest();
    let mut service = layer().limit(one.build().unwrap()).layer(Handler);
    let (_old, mut client) = open(&mut service);
    client.now().await;
    let _new = open(&mut service);
    assert_eq!(client.now().await, end(CloseReason::Replaced));

    let close_at_end = tower_sse::CloseAtEndLayer::default();
    let (feed, mut client) = open(&mut layer().close_at_end(close_at_end).layer(Handler));
    drop(feed);
    assert_eq!(client.now().await, end(CloseReason::Finished));
}

#[tokio::test(start_paused = true)]
async fn a_farewell_that_is_set_wins_over_the_dialect() {
    let said =
        |name: &str| format!("event: {name}\nretry: 1000\ndata: {{\"reason\":\"shutdown\"}}\n\n");
    let (close, reconnect) = (Farewell::close(), Farewell::reconnect());
    // Of the shutdown, and nearer: of the layer. The default brings the dialect back.
    for (far, near, expected) in [
        (None, None, word(CloseReason::Shutdown)),
        (None, Some(reconnect), said("reconnect")),
        (Some(close.clone()), None, said("close")),
        (Some(close), Some(Farewell::default()), word(CloseReason::Shutdown)),
    ] {
        let builder = Shutdown::builder().window(Duration::ZERO).retry(SECOND..=SECOND);
        let shutdown = match far {
            Some(farewell) => builder.farewell(farewell),
            None => builder,
        };
        let shutdown = shutdown.build().unwrap();
        let layer = ShutdownLayer::new(shutdown.clone());
        let layer = match near {
            Some(farewell) => layer.farewell(farewell),
            None => layer,
        };
        let layer = SseLayer::new().shutdown(layer).dialect(dialect());
        let (_feed, mut client) = open(&mut layer.layer(Handler));
        client.now().await;
        shutdown.trigger();
        assert_eq!(client.now().await, (expected, Fate::Ended));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_ends_with_the_error_of_the_dialect_and_is_counted_as_one() {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let ends = Arc::clone(&reasons);
    let on_close = move |_: &StreamInfo, reason| ends.lock().unwrap().push(reason);
    let registry = Registry::builder().on_close(on_close).build().unwrap();
    let mut service = SseLayer::new().registry(registry).dialect(dialect()).layer(Handler);
    for (chunk, fails) in [("data: a\n\n", true), ("data: half", true), ("data: half", false)] {
        let (feed, mut client) = open(&mut service);
        feed.data(chunk);
        client.now().await;
        if fails {
            feed.give(Piece::Fail);
        }
        drop(feed);
        assert_eq!(client.now().await, (word(CloseReason::Error), Fate::Ended), "{chunk:?}");
    }
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Error; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_passed_on_where_the_dialect_has_no_words_for_it() {
    let silent = Dialect::builder().farewell(|_| Farewell::none()).build();
    let panics = Dialect::builder().farewell(|_| panic!("as the test wants")).build();
    for dialect in [Dialect::event_source(), Dialect::builder().build(), silent, panics] {
        let (feed, mut client) = open(&mut SseLayer::new().dialect(dialect).layer(Handler));
        client.now().await;
        feed.give(Piece::Fail);
        assert_eq!(client.now().await, (String::new(), Fate::Failed));
    }
}

#[tokio::test(start_paused = true)]
async fn other_framings_keep_their_own_forms() {
    let shutdown = at_once();
    let layer = SseLayer::new().dialect(dialect()).shutdown(shutdown.clone());
    let mut service = layer.layer(HandlerOf("application/x-ndjson"));
    let (feed, mut failed) = open(&mut service);
    feed.give(Piece::Fail);
    assert_eq!(failed.now().await, (String::new(), Fate::Failed));
    let (_feed, mut client) = open(&mut service);
    client.now().await;
    shutdown.trigger();
    let line = "{\"type\":\"close\",\"reason\":\"shutdown\"}\n";
    assert_eq!(client.now().await, (line.to_owned(), Fate::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_the_response_of_the_dialect() {
    let seconds = Duration::from_millis(2_500);
    let full = Limit::builder().max(0).retry(seconds..=seconds).build().unwrap();
    let draining = Shutdown::builder().retry(seconds..=seconds).build().unwrap();
    draining.trigger();
    let layer = || SseLayer::new().dialect(dialect());
    for (layer, status, body) in [
        (layer().limit(full), StatusCode::TOO_MANY_REQUESTS, "limit 429"),
        (layer().shutdown(draining), StatusCode::SERVICE_UNAVAILABLE, "draining 503"),
    ] {
        // An `EventSource` gets it, too: it has no business on such a route.
        for request in [post(), get()] {
            let response = call(&mut layer.layer(Handler), request);
            assert_eq!(response.status(), status);
            for (name, value) in [
                ("content-type", "text/plain"),
                ("content-length", &body.len().to_string()),
                ("retry-after", "3"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(response.headers()[name], value);
            }
            assert_eq!(text(response).await, body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_function_panics_is_a_status() {
    let dialect = Dialect::builder().refusal(|_| panic!("as the test wants")).build();
    let layer = SseLayer::new().dialect(dialect).limit(Limit::new(0));
    let response = call(&mut layer.layer(Handler), post());
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(text(response).await, "");
}

#[tokio::test(start_paused = true)]
async fn an_event_source_is_refused_with_the_last_words_of_a_dialect_without_refusals() {
    let seconds = 3 * SECOND..=3 * SECOND;
    let full = || Limit::builder().max(0).retry(seconds.clone()).build().unwrap();
    let own = Dialect::builder().farewell(|_| Farewell::event(Event::new().data("bye")));
    for (dialect, event) in [
        (Dialect::default(), "event: limit\nretry: 3000\ndata: {\"reason\":\"limit\"}\n\n"),
        (own.build(), "retry: 3000\ndata: bye\n\n"),
    ] {
        let mut service = SseLayer::new().dialect(dialect).limit(full()).layer(Handler);
        let response = call(&mut service, get());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, format!(":\n{event}"));
        let response = call(&mut service, post());
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(text(response).await, "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_gives_nothing_is_given_up_however_it_is_kept_alive() {
    let layer = || steady(KeepAliveLayer::every(10 * SECOND)).give_up_after(60 * SECOND);
    let close = "event: close\ndata: {\"reason\":\"timeout\"}\n\n";
    for (dialect, last) in
        [(Dialect::default(), close.to_owned()), (dialect(), word(CloseReason::Timeout))]
    {
        let layer = SseLayer::new().keep_alive(layer()).dialect(dialect);
        let (feed, mut client) = open(&mut layer.layer(Handler));
        client.now().await;
        // Comments, parts of events and whole ones are signs of life.
        for chunk in [": here\n", "data: a", "b\n\n"] {
            assert!(client.during(50 * SECOND).await.len() >= 4);
            feed.data(chunk);
            client.now().await;
        }
        let seen = client.during(100 * SECOND).await;
        let (at, text) = seen.last().unwrap();
        let text: String =
            text.split_inclusive('\n').filter(|line| !line.starts_with("retry: ")).collect();
        assert_eq!(text, last);
        assert!((60 * SECOND..=65 * SECOND).contains(at), "{at:?}");
        assert_eq!(client.now().await, (String::new(), Fate::Ended));
        assert!(feed.is_gone());
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_writes_itself_is_no_sign_of_life() {
    const BEAT: EventName = EventName::from_static("beat");
    let registry = Registry::new();
    let keep_alive = KeepAliveLayer::every(10 * SECOND).heartbeat(BEAT, 3 * SECOND);
    let layer = SseLayer::new().keep_alive(keep_alive.give_up_after(60 * SECOND));
    let (_feed, client) = open(&mut layer.registry(registry.clone()).layer(Handler));
    let sender = tokio::spawn(async move {
        loop {
            registry.broadcast(Event::new().data("mail"));
            tokio::time::sleep(SECOND).await;
        }
    });
    let began = tokio::time::Instant::now();
    let rest = client.rest().await;
    sender.abort();
    assert!((60 * SECOND..=65 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
    let events = Decoder::new().decode(rest.as_bytes());
    assert_eq!(events.last().unwrap().data, "{\"reason\":\"timeout\"}");
    assert!(events.len() > 60);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_does_not_count_against_the_body() {
    let layer = KeepAliveLayer::every(10 * SECOND).give_up_after(60 * SECOND);
    let (_feed, mut client) = open(&mut layer.layer(Handler));
    client.now().await;
    tokio::time::sleep(1_000 * SECOND).await;
    assert_eq!(client.now().await.1, Fate::Open);
    assert!(!client.during(50 * SECOND).await.is_empty());
    assert_eq!(client.now().await.1, Fate::Open);
    client.during(20 * SECOND).await;
    assert_eq!(client.now().await.1, Fate::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_not_given_up_where_that_is_off() {
    for layer in [
        KeepAliveLayer::every(10 * SECOND),
        KeepAliveLayer::every(10 * SECOND).give_up_after(Duration::ZERO),
    ] {
        // Explicitly off wins over a dialect in which it is on.
        let off = layer.clone().give_up_after(Duration::ZERO);
        for layer in
            [SseLayer::new().keep_alive(layer), SseLayer::new().keep_alive(off).dialect(dialect())]
        {
            let (_feed, mut client) = open(&mut layer.layer(Handler));
            client.during(10_000 * SECOND).await;
            assert_eq!(client.now().await.1, Fate::Open);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_drain_speaks_the_dialect_of_the_first() {
    let (server, tenant) = (at_once(), at_once());
    let inner = SseLayer::new().shutdown(tenant).dialect(dialect());
    let outer = SseLayer::new().shutdown(server.clone());
    let (_feed, mut client) = open(&mut outer.layer(inner.layer(Handler)));
    client.now().await;
    server.trigger();
    assert_eq!(client.now().await, (word(CloseReason::Shutdown), Fate::Ended));
}
