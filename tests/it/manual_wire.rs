//! The manual's chapter about the wire says what is written, word for word: comments, the ends of
//! streams and calls, refusals.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderValue;
use http_body_util::BodyExt;
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{
    EndReason, EventName, Expiry, Farewell, KeepAliveLayer, Limit, Registry, RotationLayer,
    Shutdown, ShutdownLayer, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::rig::{
    Client, Feed, Handler, HandlerOf, Piece, at_once, call, get, open, open_with,
};
use crate::manual::file;

pub(crate) static CHAPTER: LazyLock<String> = LazyLock::new(|| file("src/manual/wire.md"));

/// The cells of the rows of the table whose first heading is `first`.
pub(crate) fn table(first: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = CHAPTER.split_once(&format!("\n| {first} |")).expect("the table is there");
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// A cell without its backticks.
pub(crate) fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

/// How a stream is opened under layers with a list, and ended.
struct Stage {
    registry: Registry,
    ended: Arc<Mutex<Vec<EndReason>>>,
}

impl Stage {
    fn new() -> Self {
        let ended = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ended);
        let registry =
            Registry::builder().on_close(move |_, reason| seen.lock().unwrap().push(reason));
        Self { registry: registry.build().unwrap(), ended }
    }

    fn layers(&self) -> SseLayer {
        SseLayer::new().keep_alive(KeepAliveLayer::off()).registry(self.registry.clone())
    }

    /// The last of the stream, and the reason under which it was counted.
    async fn end_of(&self, client: Client) -> (String, EndReason) {
        let last = client.rest().await;
        (last, self.ended.lock().unwrap()[0])
    }
}

fn one() -> (Stage, Feed, Client) {
    let stage = Stage::new();
    let (feed, client) = open(&mut stage.layers().layer(Handler));
    (stage, feed, client)
}

/// What a stream ends with for the reason of this word.
async fn end_for(word: &str) -> (String, EndReason) {
    let stage = Stage::new();
    match word {
        "shutdown" => {
            let shutdown = Shutdown::new();
            let layers = stage.layers().shutdown(shutdown.clone());
            let (_feed, client) = open(&mut layers.layer(Handler));
            shutdown.trigger();
            stage.end_of(client).await
        }
        "kicked" => {
            let (stage, _feed, client) = one();
            stage.registry.close(stage.registry.snapshot()[0].id, Farewell::close());
            stage.end_of(client).await
        }
        "replaced" => {
            let limit = Limit::builder().per_key(1, |_| "ann").replace_oldest().build().unwrap();
            let mut service = stage.layers().limit(limit).layer(Handler);
            let (_first, client) = open(&mut service);
            let _second = open(&mut service);
            stage.end_of(client).await
        }
        "rotated" | "idle" => {
            let rotation = RotationLayer::new();
            let rotation = match word {
                "idle" => rotation.idle(SECOND),
                _ => rotation.max_age(SECOND),
            };
            let (_feed, client) = open(&mut stage.layers().rotation(rotation).layer(Handler));
            stage.end_of(client).await
        }
        "expired" => {
            let mut request = get();
            request.extensions_mut().insert(Expiry::after(SECOND));
            let (_feed, client) = open_with(&mut stage.layers().layer(Handler), request);
            stage.end_of(client).await
        }
        "error" => {
            let shutdown = ShutdownLayer::new(Shutdown::new()).farewell_on_error(Farewell::close());
            let (feed, client) = open(&mut stage.layers().shutdown(shutdown).layer(Handler));
            feed.give(Piece::Fail);
            stage.end_of(client).await
        }
        "finished" => {
            let layers = stage.layers().close_at_end(Farewell::close());
            let (feed, client) = open(&mut layers.layer(Handler));
            drop(feed);
            stage.end_of(client).await
        }
        _ => panic!("the chapter names a reason that no stream ends for: {word}"),
    }
}

/// The times that a cell stands for, in milliseconds.
fn retries(cell: &str) -> Option<RangeInclusive<u64>> {
    Some(match cell {
        "none" => return None,
        "half a second up to the window, spread" | "up to the drain's window, spread" => {
            500..=5_000
        }
        "5 to 30 s, spread" => 5_000..=30_000,
        "0.1 to 1 s, spread" => 100..=1_000,
        exact => exact.parse().map(|ms| ms..=ms).unwrap(),
    })
}

#[tokio::test(start_paused = true)]
async fn each_reason_of_an_end_is_told_and_counted_as_the_manual_says() {
    let rows = table("word");
    assert_eq!(rows.len(), 8, "{rows:?}");
    for row in rows {
        let [word, _, retry, counted] = row[..] else { panic!("{row:?}") };
        let (last, reason) = end_for(code(word)).await;
        let mut decoder = Decoder::new();
        let events = decoder.decode(last.as_bytes());
        assert_eq!(events.len(), 1, "{last}");
        let data = format!("{{\"reason\":\"{}\"}}", code(word));
        assert_eq!((&*events[0].event, &*events[0].data), ("close", &*data));
        assert_eq!(reason.as_str(), code(counted), "{word}");
        let told = decoder.retry().map(|retry| u64::try_from(retry.as_millis()).unwrap());
        match retries(retry) {
            None => assert_eq!(told, None, "{word}"),
            Some(range) => assert!(range.contains(&told.unwrap()), "{word}: {told:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_manual_says_beside_the_table_of_ends_is_so() {
    let shutdown = at_once();
    let layer = ShutdownLayer::new(shutdown.clone()).farewell(Farewell::reconnect());
    let (_feed, client) = open(&mut layer.layer(Handler));
    shutdown.trigger();
    let last = client.rest().await;
    assert!(last.contains("event: reconnect\n"), "{last}");
    assert!(CHAPTER.contains("writes `reconnect` in place of `close`"));

    let counted = table("word").into_iter().map(|row| code(row[3]));
    let counted: BTreeSet<_> = counted.collect();
    let all = [
        EndReason::Finished,
        EndReason::ClientGone,
        EndReason::Closed,
        EndReason::Kicked,
        EndReason::Rotated,
        EndReason::Stalled,
        EndReason::Error,
        EndReason::Cut,
    ];
    let others = all.map(EndReason::as_str).into_iter().filter(|word| !counted.contains(word));
    let others: Vec<String> = others.map(|reason| format!("`{reason}`")).collect();
    let (last, first) = others.split_last().unwrap();
    let shown = format!("has the reason {} or {last} in metrics", first.join(", "));
    assert!(CHAPTER.contains(&shown), "the chapter does not say that such a stream {shown}");
}

/// `text` with the numbers of `retry` replaced, as the chapter shows it.
fn as_shown(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| match line.strip_prefix("retry: ") {
        Some(_) => "retry: <milliseconds>\n",
        None => line,
    });
    lines.collect()
}

/// Asserts that the chapter has a block with these bytes.
pub(crate) fn assert_shown(bytes: &str) {
    let block = format!("```text\n{bytes}```\n");
    assert!(CHAPTER.contains(&block), "the chapter does not show:\n{block}");
}

/// A client of a server with one stream always sees the same.
#[tokio::test(start_paused = true)]
async fn the_first_server_of_the_manual_sends_what_is_shown() {
    let shutdown = Shutdown::new();
    let (feed, mut client) = open(&mut SseLayer::new().shutdown(shutdown.clone()).layer(Handler));
    let mut seen = String::new();
    for _ in 0..2 {
        feed.data("data: tick\n\n");
        seen += &client.now().await.0;
    }
    shutdown.trigger();
    seen += &client.rest().await;
    let start = file("src/manual/start.md");
    assert!(start.contains(&format!("```text\n{seen}```")), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn farewells_and_refusals_are_shown_as_they_are_written() {
    let shutdown = Shutdown::new();
    let layers = SseLayer::new().keep_alive(KeepAliveLayer::off()).shutdown(shutdown.clone());
    let mut service = layers.layer(Handler);
    let (feed, mut client) = open(&mut service);
    feed.data("data: a\nid: <position>\n\n");
    client.now().await;
    shutdown.trigger();
    let last = client.rest().await;
    assert_shown(&as_shown(&last).replace("shutdown", "<word>"));

    let full = SseLayer::new().limit(Limit::new(0)).layer(Handler);
    for (mut service, status) in [(service, 503), (full, 429)] {
        let mut request = get();
        let id = HeaderValue::from_static("<Last-Event-ID of the request>");
        request.headers_mut().insert("last-event-id", id);
        let response = call(&mut service, request);
        assert_eq!(
            (response.status(), &response.headers()["cache-control"]),
            (200.try_into().unwrap(), &HeaderValue::from_static("no-store"))
        );
        let head = "To a `GET` that accepts `text/event-stream`, with status 200 and `Cache-Control: \
            no-store`";
        assert!(CHAPTER.contains(head));
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_shown(&as_shown(std::str::from_utf8(&bytes).unwrap()));

        let response = call(&mut service, http::Request::post("/").body(()).unwrap());
        assert_eq!(response.status(), status);
        let seconds = response.headers()["retry-after"].to_str().unwrap();
        assert!(seconds.parse::<u64>().is_ok(), "{seconds}");
        assert!(CHAPTER.contains(&format!("{status} ")));
        assert!(CHAPTER.contains("with `Retry-After` in whole seconds, and no body"));
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert!(bytes.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn comments_and_heartbeats_are_shown_as_they_are_written() {
    let beat =
        KeepAliveLayer::every(100 * SECOND).heartbeat(EventName::from_static("ping"), SECOND);
    let rows = table("when");
    let table = [
        (KeepAliveLayer::every(SECOND), rows[0][1]),
        (
            KeepAliveLayer::every(SECOND).comment(tower_sse::Comment::from_static("text")),
            rows[1][1],
        ),
    ];
    for (layer, shown) in table {
        let (_feed, mut client) = open(&mut layer.layer(Handler));
        let opening = client.now().await.0;
        assert_eq!(opening.replace('\n', "⏎"), code(shown));
        let (_, silent) = client.during(2 * SECOND).await.remove(0);
        assert_eq!(silent, opening);
    }
    let (_feed, mut client) = open(&mut beat.layer(Handler));
    client.now().await;
    let (_, event) = client.during(Duration::from_secs(2)).await.remove(0);
    assert_shown(&event);
}

#[tokio::test(start_paused = true)]
async fn the_statuses_of_calls_of_grpc_are_those_of_the_manual() {
    let shown: HashMap<_, _> =
        table("ended by").into_iter().map(|row| (row[0], (row[1], code(row[2])))).collect();
    assert_eq!(shown.len(), 8);
    let (registry, shutdown) = (Registry::new(), Shutdown::new());
    let shutdown_layer = ShutdownLayer::new(shutdown.clone()).farewell_on_error(Farewell::close());
    let limit = Limit::builder().per_key(1, |_| "ann").replace_oldest().build().unwrap();
    let layers = |rotation: RotationLayer| {
        SseLayer::new()
            .registry(registry.clone())
            .rotation(rotation)
            .shutdown(shutdown_layer.clone())
    };
    let mut seen = HashMap::new();
    for by in shown.keys() {
        let rotation = match *by {
            "the maximum age" => RotationLayer::new().max_age(SECOND),
            "idleness" => RotationLayer::new().idle(SECOND),
            _ => RotationLayer::new(),
        };
        let layers = layers(rotation);
        let layers = match *by {
            "a newer stream" => layers.limit(limit.clone()),
            "a limit" => layers.limit(Limit::new(0)),
            "a drain" => continue, // last, since it ends all
            _ => layers,
        };
        let mut service = layers.layer(HandlerOf("application/grpc"));
        let mut request = get();
        if *by == "an expiry" {
            request.extensions_mut().insert(Expiry::after(SECOND));
        }
        seen.insert(*by, status_of(by, &mut service, request, &registry).await);
    }
    let mut service = layers(RotationLayer::new()).layer(HandlerOf("application/grpc"));
    let mut response = call(&mut service, get());
    let feed = response.extensions_mut().remove::<Feed>();
    let mut body = Box::pin(response.into_body());
    assert!(body.frame().now_or_never().is_none());
    shutdown.trigger();
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    seen.insert("a drain", (text(&trailers["grpc-status"]), text(&trailers["grpc-message"])));
    drop(feed);
    for (by, (status, message)) in shown {
        assert_eq!(seen[by], (status.to_owned(), message.to_owned()), "{by}");
    }
}

fn text(value: &HeaderValue) -> String {
    value.to_str().unwrap().to_owned()
}

/// What a call ends with that is ended by this.
async fn status_of(
    by: &str,
    service: &mut tower_sse::SseService<HandlerOf>,
    request: http::Request<()>,
    registry: &Registry,
) -> (String, String) {
    let mut response = call(service, request);
    let feed = response.extensions_mut().remove::<Feed>();
    let head = response.headers().clone();
    let mut body = Box::pin(response.into_body());
    let _ = body.frame().now_or_never();
    if by == "a limit" {
        return (text(&head["grpc-status"]), text(&head["grpc-message"]));
    }
    let mut second = None;
    if by == "a newer stream" {
        let mut response = call(service, get());
        let feed = response.extensions_mut().remove::<Feed>();
        let mut body = Box::pin(response.into_body());
        assert!(body.frame().now_or_never().is_none());
        second = Some((feed, body));
    } else if by.contains("Registry::close") {
        registry.close(registry.snapshot()[0].id, Farewell::close());
    } else if by == "a failure" {
        feed.as_ref().unwrap().give(Piece::Fail);
    } else {
        let by_time = ["the maximum age", "idleness", "an expiry"];
        assert!(by_time.contains(&by), "the chapter names what ends no call: {by}");
    }
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    drop(second);
    (text(&trailers["grpc-status"]), text(&trailers["grpc-message"]))
}
