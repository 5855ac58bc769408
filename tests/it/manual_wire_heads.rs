//! The manual's chapter about the wire, on ids, streams of JSON and headers.

use std::collections::BTreeSet;
use std::convert::Infallible;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tower::{Layer, service_fn};
use tower_sse::{CloseAtEndLayer, EventIdLayer, Farewell, KeepAliveLayer, NoBufferLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::rig::{HandlerOf, call, get, open};
use crate::manual_wire::{CHAPTER, code, table};

#[tokio::test(start_paused = true)]
async fn an_id_is_the_last_line_of_its_event_as_the_manual_says() {
    let ids = EventIdLayer::with(|_| tower_sse::EventId::new("<id>").unwrap());
    let layers = SseLayer::new().keep_alive(KeepAliveLayer::off()).event_ids(ids);
    let (feed, mut client) = open(&mut layers.layer(HandlerOf("text/event-stream")));
    feed.data("event: tick\ndata: a\n\n");
    let (event, _) = client.now().await;
    let id = event.strip_prefix("event: tick\ndata: a\n").and_then(|id| id.strip_suffix('\n'));
    let shown = format!("writes `{}` as the last line", id.unwrap().replace('\n', "⏎"));
    assert!(CHAPTER.contains(&shown), "the chapter does not say that it {shown}");
}

/// What a stream with this content type is written: in silence, and at its end.
async fn words_of(content_type: &'static str, keep_alive: KeepAliveLayer) -> [String; 2] {
    let layers = SseLayer::new().keep_alive(keep_alive);
    let layers = layers.close_at_end(CloseAtEndLayer::new(Farewell::close()));
    let (feed, mut client) = open(&mut layers.layer(HandlerOf(content_type)));
    client.now().await;
    let silent = client.during(2 * SECOND).await.into_iter().next();
    drop(feed);
    let last = client.rest().await;
    [silent.map(|(_, text)| text).unwrap_or_default(), last]
}

#[tokio::test(start_paused = true)]
async fn lines_and_records_of_json_are_shown_as_they_are_written() {
    let rows = table("when | lines | records");
    let [end, silence] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((end[0], silence[0]), ("the end", "in silence"));
    assert_eq!(end[2], "the same after a record separator, `0x1E`");
    assert!(silence[1].starts_with("nothing, or [the line that is set]"), "{silence:?}");
    assert_eq!(silence[2], "the same after a separator");

    let every = KeepAliveLayer::every(SECOND);
    let line = every.clone().json_line("{}");
    for (content_type, separator) in
        [("application/x-ndjson", ""), ("application/json-seq", "\u{1e}")]
    {
        let [silent, last] = words_of(content_type, every.clone()).await;
        assert_eq!(silent, "", "{content_type}");
        let shown = last.strip_prefix(separator).unwrap().replace('\n', "⏎");
        assert_eq!(shown.replace("finished", "<word>"), code(end[1]), "{content_type}");
        let [silent, _] = words_of(content_type, line.clone()).await;
        assert_eq!(silent, format!("{separator}{{}}\n"), "{content_type}");
    }
}

/// The head of a stream with these headers, under this layer.
fn head(layer: SseLayer, headers: &HeaderMap) -> HeaderMap {
    let headers = headers.clone();
    let mut service = layer.layer(service_fn(move |_: Request<()>| {
        let mut response = Response::new(http_body_util::Empty::<bytes::Bytes>::new());
        *response.headers_mut() = headers.clone();
        std::future::ready(Ok::<_, Infallible>(response))
    }));
    call(&mut service, get()).headers().clone()
}

fn event_stream() -> HeaderMap {
    let content_type = HeaderValue::from_static("text/event-stream");
    HeaderMap::from_iter([(http::header::CONTENT_TYPE, content_type)])
}

#[tokio::test]
async fn headers_that_are_set_are_those_of_the_manual() {
    let head = head(SseLayer::off().no_buffer(NoBufferLayer::new().identity()), &event_stream());
    let set = head.iter().filter(|(name, _)| *name != http::header::CONTENT_TYPE);
    let set: BTreeSet<_> =
        set.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    let rows = table("header | set by");
    let shown: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            let line = row[0].split('`').nth(1).unwrap();
            let (name, value) = line.split_once(": ").unwrap();
            format!("{}: {value}", name.to_lowercase())
        })
        .collect();
    assert_eq!(set, shown);
    let plain = self::head(SseLayer::off().no_buffer(NoBufferLayer::new()), &event_stream());
    assert!(!plain.contains_key("content-encoding"));
    assert!(rows.iter().all(|row| row[1].contains("identity") == row[0].contains("identity")));
}

#[tokio::test]
async fn headers_that_are_removed_are_those_of_the_manual() {
    let (_, list) = CHAPTER.split_once("Removed from streams whose bytes may change:").unwrap();
    let shown: BTreeSet<_> = list.split('`').skip(1).step_by(2).map(str::to_lowercase).collect();
    let mut headers = event_stream();
    // Those that say something of a body, and some that do not.
    for name in [
        "accept-ranges",
        "content-digest",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "digest",
        "etag",
        "expires",
        "last-modified",
        "repr-digest",
        "server",
        "vary",
        "x-own",
    ] {
        let value = if name == "content-length" { "7" } else { "\"7\"" };
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let left = head(SseLayer::new(), &headers);
    let removed: BTreeSet<_> = headers
        .keys()
        .filter(|name| !left.contains_key(*name))
        .map(|name| name.as_str().to_owned())
        .collect();
    assert_eq!(removed, shown);
    headers.insert(http::header::ETAG, HeaderValue::from_static("W/\"7\""));
    assert!(head(SseLayer::new(), &headers).contains_key(http::header::ETAG));
    assert!(list.contains("and a strong `ETag`"));
}
