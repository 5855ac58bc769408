//! Which responses are streams, what is said in their heads, and what passes untouched.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use tower::{Layer, ServiceExt, service_fn};
use tower_sse::{
    EventIdLayer, KeepAliveLayer, NoBufferLayer, Registry, Shutdown, SseBody, SseLayer, SseService,
};

use crate::harness::bodies::Step::{Data, Hang, Trailers, Wait};
use crate::harness::bodies::{Script, read};

/// The request's method; the status, the content type and the other headers of the response.
type Case = (Method, u16, &'static str, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const UNTOUCHED: &[Case] = &[
    // asked with      status  content type           other headers
    (Method::HEAD,     200, "text/event-stream",      &[]),
    (Method::CONNECT,  200, "text/event-stream",      &[]),
    (Method::GET,      100, "text/event-stream",      &[]),
    (Method::GET,      101, "text/event-stream",      &[("upgrade", "websocket")]),
    (Method::GET,      103, "text/event-stream",      &[]),
    (Method::GET,      204, "text/event-stream",      &[]),
    (Method::GET,      205, "text/event-stream",      &[]),
    (Method::GET,      206, "text/event-stream",      &[("content-range", "bytes 0-9/10")]),
    (Method::GET,      301, "text/event-stream",      &[("location", "/")]),
    (Method::GET,      304, "text/event-stream",      &[("etag", "\"x\"")]),
    (Method::GET,      401, "text/event-stream",      &[]),
    (Method::GET,      404, "text/event-stream",      &[]),
    (Method::GET,      500, "text/event-stream",      &[]),
    (Method::GET,      200, "application/json",       &[]),
    (Method::GET,      200, "",                       &[]),
    (Method::GET,      200, "text/event-streams",     &[]),
    (Method::GET,      200, "text/event-stream-2; x", &[]),
    (Method::GET,      200, "x; text/event-stream",   &[]),
    (Method::POST,     200, "text/plain",             &[]),
];

#[rustfmt::skip]
const STREAMS: &[Case] = &[
    (Method::GET,      200, "text/event-stream",                 &[]),
    (Method::POST,     200, "text/event-stream",                 &[]),
    (Method::GET,      201, "text/event-stream",                 &[]),
    (Method::GET,      200, "text/event-stream; charset=utf-8",  &[]),
    (Method::GET,      200, "text/event-stream;charset=utf-8",   &[]),
    (Method::GET,      200, " text/event-stream ;",              &[]),
    (Method::GET,      200, "Text/Event-Stream",                 &[]),
    (Method::GET,      200, "text/event-stream",                 &[("content-encoding", "identity")]),
    (Method::GET,      200, "text/event-stream",                 &[("content-encoding", "Identity")]),
];

#[tokio::test(start_paused = true)]
async fn what_is_no_stream_passes_untouched() {
    for (method, status, content_type, headers) in UNTOUCHED {
        let what = format!("{method} {status} {content_type} {headers:?}");
        let mut trailers = HeaderMap::new();
        trailers.insert("sum", HeaderValue::from_static("1"));
        let body = Script::new([
            Wait(Duration::from_secs(60)),
            Data("data: a"),
            Trailers(trailers.clone()),
        ])
        .exact(7);
        let mut inner = Response::new(body);
        *inner.status_mut() = StatusCode::from_u16(*status).unwrap();
        fill(inner.headers_mut(), content_type, headers);
        inner.headers_mut().append("x-odd", obs_text());
        inner.headers_mut().append(CONTENT_LENGTH, HeaderValue::from_static("7"));
        inner.headers_mut().append(CACHE_CONTROL, HeaderValue::from_static("No-Store,a"));
        let (status, before) = (inner.status(), inner.headers().clone());

        let registry = Registry::new();
        let layer = everything(&registry);
        let response = respond(&layer, method.clone(), inner);
        assert_eq!(response.status(), status, "{what}");
        assert_eq!(listed(response.headers()), listed(&before), "{what}");
        assert!(registry.is_empty(), "{what}");
        let mut body = response.into_body();
        assert_eq!(body.size_hint().exact(), Some(7), "{what}");
        assert!(!body.is_end_stream(), "{what}");
        let read = read(&mut body, FOREVER).await;
        assert_eq!(read.chunks, [(60_000, "data: a".to_owned())], "{what}");
        assert_eq!(read.trailers, Some(trailers), "{what}");
        assert!(read.ended, "{what}");
    }
}

#[test]
fn an_empty_body_that_is_no_stream_stays_empty() {
    for (method, status, content_type, headers) in UNTOUCHED {
        let mut inner = Response::new(Script::new([]).exact(0));
        *inner.status_mut() = StatusCode::from_u16(*status).unwrap();
        fill(inner.headers_mut(), content_type, headers);
        let response = respond(&everything(&Registry::new()), method.clone(), inner);
        assert!(response.body().is_end_stream());
        assert_eq!(response.body().size_hint().exact(), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn streams_are_told_by_status_type_and_encoding() {
    for (method, status, content_type, headers) in STREAMS {
        let what = format!("{method} {status} {content_type} {headers:?}");
        let mut inner = Response::new(Script::new([Data("data: a\n\n")]).exact(9));
        *inner.status_mut() = StatusCode::from_u16(*status).unwrap();
        fill(inner.headers_mut(), content_type, headers);
        inner.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("9"));
        let registry = Registry::new();
        let response = respond(&everything(&registry), method.clone(), inner);
        assert_eq!(registry.len(), 1, "{what}");
        assert_eq!(response.headers().get(CONTENT_LENGTH), None, "{what}");
        let mut body = response.into_body();
        assert_eq!(body.size_hint().exact(), None, "{what}");
        let text = read(&mut body, FOREVER).await.text();
        assert_eq!(text, ":\ndata: a\nid: 1\n\n", "{what}");
        assert!(registry.is_empty(), "{what}");
    }
}

/// The head needs no look at the bytes.
#[tokio::test(start_paused = true)]
async fn the_head_of_an_encoded_stream_is_set_and_its_bytes_are_left_alone() {
    let encodings: [&[(&str, &str)]; 4] = [
        &[("content-encoding", "gzip")],
        &[("content-encoding", "GZIP")],
        &[("content-encoding", "identity, br")],
        &[("content-encoding", "identity"), ("content-encoding", "br")],
    ];
    for encoding in encodings {
        let registry = Registry::new();
        let identity = SseLayer::new().no_buffer(NoBufferLayer::new().identity());
        for layer in [everything(&registry), identity] {
            let mut inner = Response::new(Script::new([Data("not to be read")]).exact(14));
            fill(inner.headers_mut(), "text/event-stream", encoding);
            fill(inner.headers_mut(), "", &[("content-length", "14"), ("etag", "\"a\"")]);
            let mut expected = inner.headers().clone();
            expected.insert("x-accel-buffering", HeaderValue::from_static("no"));
            expected.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
            let response = respond(&layer, Method::GET, inner);
            assert_eq!(listed(response.headers()), listed(&expected));
            assert!(registry.is_empty());
            let mut body = response.into_body();
            assert_eq!(body.size_hint().exact(), Some(14));
            assert_eq!(read(&mut body, FOREVER).await.text(), "not to be read");
        }
    }
}

#[test]
fn what_a_head_says_of_the_exact_bytes_is_removed_when_bytes_may_be_added() {
    let exact = [
        ("accept-ranges", "bytes"),
        ("content-digest", "sha-256=:AA==:"),
        ("content-length", "9"),
        ("content-md5", "AA=="),
        ("digest", "sha-256=AA=="),
        ("etag", "\"strong\""),
        ("repr-digest", "sha-256=:AA==:"),
    ];
    let kept = [("etag", "W/\"weak\""), ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")];
    for (headers, stay) in [(&exact[..], false), (&kept[..], true)] {
        for (name, value) in headers {
            for layer in [
                SseLayer::off().keep_alive(KeepAliveLayer::every(Duration::from_secs(1))),
                SseLayer::off().event_ids(EventIdLayer::sequential()),
                SseLayer::off().registry(Registry::new()),
                SseLayer::off().shutdown(Shutdown::new()),
                everything(&Registry::new()),
            ] {
                let mut inner = Response::new(Script::new([Hang]));
                fill(inner.headers_mut(), "text/event-stream", &[(name, value)]);
                let response = respond(&layer, Method::GET, inner);
                assert_eq!(response.headers().contains_key(*name), stay, "{name}");
            }
        }
    }
}

/// As browsers [do](https://fetch.spec.whatwg.org/#concept-header-extract-mime-type).
#[test]
fn the_last_valid_content_type_counts() {
    #[rustfmt::skip]
    let table: &[(&[&str], bool)] = &[
        (&["text/plain", "text/event-stream"],                          true),
        (&["text/event-stream", "text/plain"],                          false),
        (&["text/plain, text/event-stream;charset=utf-8"],              true),
        (&["text/event-stream, text/plain"],                            false),
        (&["text/event-stream", "*/*"],                                 true),
        (&["text/event-stream", ""],                                    true),
        (&["text/event-stream", "nonsense"],                            true),
        (&["text/event-stream", "a b/c"],                               true),
        (&["text/event-stream, text/"],                                 true),
        (&["text/plain;a=\"x,text/event-stream\""],                   false),
        (&["text/plain;a=\"x\", text/event-stream"],                  true),
    ];
    for (content_types, is_stream) in table {
        let registry = Registry::new();
        let mut inner = Response::new(Script::new([Hang]));
        for content_type in *content_types {
            inner.headers_mut().append(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let _open = respond(&everything(&registry), Method::GET, inner);
        assert_eq!(registry.len(), usize::from(*is_stream), "{content_types:?}");
    }
}

#[test]
fn cache_control_is_added_to() {
    #[rustfmt::skip]
    let table: &[(Lines, Lines)] = &[
        // the handler's                                 what leaves
        (&[],                                            &[b"no-cache, no-transform"]),
        (&[b""],                                         &[b"no-cache, no-transform"]),
        (&[b"no-cache"],                                 &[b"no-cache, no-transform"]),
        (&[b"no-transform"],                             &[b"no-transform, no-cache"]),
        (&[b"no-store, private"],                        &[b"no-store, private, no-cache, no-transform"]),
        (&[b"no-store", b"private"],                     &[b"no-store, private, no-cache, no-transform"]),
        (&[b"No-Cache, NO-TRANSFORM"],                   &[b"No-Cache, NO-TRANSFORM"]),
        (&[b"no-transform ,no-cache"],                   &[b"no-transform ,no-cache"]),
        (&[b"no-cache", b"no-transform"],                &[b"no-cache", b"no-transform"]),
        (&[b"max-age=0"],                                &[b"max-age=0, no-cache, no-transform"]),
        (&[b"no-cachet"],                                &[b"no-cachet, no-cache, no-transform"]),
        (&[b"no-cache=\"set-cookie\""],                  &[b"no-cache=\"set-cookie\", no-cache, no-transform"]),
        (&[b"x=\xff\xfe"],                               &[b"x=\xff\xfe, no-cache, no-transform"]),
    ];
    for (said, expected) in table {
        for layer in [SseLayer::off().no_buffer(NoBufferLayer::new()), SseLayer::new()] {
            let headers = head(&layer, &CACHE_CONTROL, said);
            let all: Vec<_> =
                headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes).collect();
            assert_eq!(all, *expected, "{said:?}");
        }
    }
}

/// The values of a header's lines.
type Lines = &'static [&'static [u8]];

/// [RFC 9111](https://www.rfc-editor.org/rfc/rfc9111#section-5.2): a directive's argument may be a
/// quoted string, and what is in it is no directive.
#[test]
fn a_quoted_string_in_cache_control_is_one_word() {
    #[rustfmt::skip]
    let table: &[(&[u8], &[u8])] = &[
        (b"private=\"a,b\"",                 b"private=\"a,b\", no-cache, no-transform"),
        (b"private=\"a,,b\"",                b"private=\"a,,b\", no-cache, no-transform"),
        (b"private=\"a, no-cache, b\"",      b"private=\"a, no-cache, b\", no-cache, no-transform"),
    ];
    for (said, expected) in table {
        let headers = head(&SseLayer::new(), &CACHE_CONTROL, &[said]);
        let value = &headers[CACHE_CONTROL];
        assert_eq!(value.as_bytes(), *expected, "{value:?}");
    }
}

#[test]
fn the_head_of_a_stream_has_this_and_no_more() {
    let plain = [
        ("cache-control", "no-cache, no-transform"),
        ("content-type", "text/event-stream"),
        ("x-accel-buffering", "no"),
        ("x-own", "yes"),
    ];
    let own = HeaderName::from_static("x-own");
    for layer in [
        SseLayer::new(),
        SseLayer::off().no_buffer(NoBufferLayer::new()),
        everything(&Registry::new()),
    ] {
        assert_eq!(listed(&head(&layer, &own, &[b"yes"])), as_listed(&plain));
    }
    let identity = SseLayer::new().no_buffer(NoBufferLayer::new().identity());
    let mut with_identity = plain.to_vec();
    with_identity.push(("content-encoding", "identity"));
    assert_eq!(listed(&head(&identity, &own, &[b"yes"])), as_listed(&with_identity));

    let silent = SseLayer::new().no_buffer(NoBufferLayer::off());
    let own_only = [("content-type", "text/event-stream"), ("x-own", "yes")];
    assert_eq!(listed(&head(&silent, &own, &[b"yes"])), as_listed(&own_only));
}

#[test]
fn what_the_handler_says_to_nginx_stays() {
    let name = HeaderName::from_static("x-accel-buffering");
    let headers = head(&SseLayer::new(), &name, &[b"yes"]);
    assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), ["yes"]);
}

#[test]
fn without_a_length_a_body_whose_head_alone_changes_tells_no_size() {
    let mut inner = Response::new(Script::new([Data("data: a\n\n")]).exact(9));
    fill(inner.headers_mut(), "text/event-stream", &[("content-length", "9")]);
    let response = respond(&NoBufferLayer::new(), Method::GET, inner);
    assert_eq!(response.headers().get(CONTENT_LENGTH), None);
    assert_eq!(response.body().size_hint().exact(), None);
}

#[tokio::test(start_paused = true)]
async fn the_head_and_a_first_byte_are_there_though_the_handler_stalls() {
    for layer in [
        SseLayer::new(),
        SseLayer::off().keep_alive(KeepAliveLayer::every(Duration::from_secs(15))),
    ] {
        let mut inner = Response::new(Script::new([Hang]));
        fill(inner.headers_mut(), "text/event-stream", &[]);
        let mut body = respond(&layer, Method::GET, inner).into_body();
        let read = read(&mut body, Duration::from_millis(1)).await;
        assert_eq!(read.chunks, [(0, ":\n".to_owned())]);
    }
}

/// axum answers HEAD with a GET handler, and 405 by itself.
#[tokio::test]
async fn routers_answers_to_other_methods_are_no_streams() {
    let registry = Registry::new();
    let events = || async { ([(CONTENT_TYPE, "text/event-stream")], "data: a\n\n") };
    let app = Router::new().route("/", get(events)).layer(everything(&registry));
    for (method, status, length) in [(Method::HEAD, 200, Some("9")), (Method::PUT, 405, Some("0"))]
    {
        let request = Request::builder().method(method).uri("/");
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().get(CONTENT_LENGTH).map(|len| len.to_str().unwrap()), length);
        assert_eq!(response.headers().get(CACHE_CONTROL), None);
        assert!(response.body().is_end_stream());
        assert!(registry.is_empty());
    }
}

fn everything(registry: &Registry) -> SseLayer {
    SseLayer::new()
        .event_ids(EventIdLayer::sequential())
        .registry(registry.clone())
        .shutdown(Shutdown::new())
}

type Handler = tower::util::BoxService<Request<()>, Response<Script>, Infallible>;

/// What `layer` makes of a response.
fn respond<L>(layer: &L, method: Method, response: Response<Script>) -> Response<SseBody<Script>>
where
    L: Layer<Handler, Service = SseService<Handler>>,
{
    let mut response = Some(response);
    let handler = service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(response.take().unwrap()))
    });
    let request = Request::builder().method(method).body(()).unwrap();
    let service = layer.layer(Handler::new(handler));
    service.oneshot(request).now_or_never().unwrap().unwrap()
}

/// The head of a stream to which the handler gave these values of one header.
fn head(layer: &SseLayer, name: &HeaderName, values: &[&[u8]]) -> HeaderMap {
    let mut inner = Response::new(Script::new([]));
    fill(inner.headers_mut(), "text/event-stream", &[]);
    for value in values {
        let value = HeaderValue::from_bytes(value).unwrap();
        inner.headers_mut().append(name.clone(), value);
    }
    respond(layer, Method::GET, inner).headers().clone()
}

fn fill(headers: &mut HeaderMap, content_type: &str, others: &[(&str, &str)]) {
    if !content_type.is_empty() {
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
    }
    for (name, value) in others {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
}

/// Names and values, sorted by name; values of one name in their order.
fn listed(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn as_listed(headers: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    all.sort();
    all
}

fn obs_text() -> HeaderValue {
    HeaderValue::from_bytes(b"\xff \xe9").unwrap()
}

const FOREVER: Duration = Duration::from_secs(3600);
