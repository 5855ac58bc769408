//! A request whose stream is not served gets a response that is valid whatever head the handler's
//! response had.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use tower::{Layer, service_fn};
use tower_sse::{Limit, Shutdown, SseLayer};

use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{Client, listen, serve};
use crate::harness::rig::{Handler, call};

/// What the head of a proxied stream may have, and a refusal must not.
const OF_THE_STREAM: &[(&str, &str)] = &[
    ("accept-ranges", "bytes"),
    ("age", "10"),
    ("alt-svc", "h3=\":443\""),
    ("connection", "keep-alive, x-hop"),
    ("content-digest", "sha-256=:AA==:"),
    ("content-disposition", "attachment"),
    ("content-language", "en"),
    ("content-location", "/events/1"),
    ("content-range", "bytes 0-9/10"),
    ("content-security-policy", "default-src 'none'"),
    ("etag", "\"a\""),
    ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
    ("keep-alive", "timeout=5"),
    ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("trailer", "x-sum"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "h2c"),
    ("x-accel-buffering", "no"),
    ("x-hop", "1"),
];

/// What lets a page read a refusal.
const KEPT: &[(&str, &str)] = &[
    ("access-control-allow-credentials", "true"),
    ("access-control-allow-origin", "https://app.example"),
    ("access-control-expose-headers", "x-request-id"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("set-cookie", "a=1"),
    ("set-cookie", "b=2"),
    ("timing-allow-origin", "*"),
    ("vary", "origin"),
];

/// A head with these and everything else that may be there.
fn full_head(also: &[(&'static str, &'static str)]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"data: of the stream\n\n")));
    *response.version_mut() = Version::HTTP_10;
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("text/event-stream"));
    headers.insert("cache-control", HeaderValue::from_static("public, max-age=3600"));
    for (name, value) in KEPT.iter().chain(also) {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn ask(client: &mut Client, request: Request<Empty<Bytes>>) -> Response<Incoming> {
    match client {
        Client::H1(client) => client.send_request(request).await.unwrap(),
        Client::H2(client) => client.send_request(request).await.unwrap(),
    }
}

#[tokio::test]
async fn a_refusal_is_valid_on_the_wire_whatever_head_the_handler_gave() {
    let draining = Shutdown::new();
    draining.trigger();
    let seconds = Duration::from_secs(3)..=Duration::from_secs(3);
    let full =
        || SseLayer::new().limit(Limit::builder().max(0).retry(seconds.clone()).build().unwrap());
    let layers = [
        ("limit", full(), StatusCode::TOO_MANY_REQUESTS),
        ("draining", SseLayer::new().shutdown(draining), StatusCode::SERVICE_UNAVAILABLE),
    ];
    for (name, layer, refused) in layers {
        // All headers at once, and each by itself with a length that was true.
        let with_length = |header: &_| vec![*header, ("content-length", "21")];
        let mut heads: Vec<_> = OF_THE_STREAM.iter().map(with_length).collect();
        heads.push(OF_THE_STREAM.to_vec());
        if name == "limit" {
            heads.push([OF_THE_STREAM, &[("content-encoding", "gzip")]].concat());
        }
        for head in heads {
            let (listener, address) = listen().await;
            let service = layer.layer(service_fn({
                let head = head.clone();
                move |_: Request<Incoming>| {
                    std::future::ready(Ok::<_, Infallible>(full_head(&head)))
                }
            }));
            let server = tokio::spawn(serve(listener, service, std::future::pending()));
            for version in [H1, H2] {
                let mut client = Client::connect(address, version).await;
                for accept in ["text/event-stream", "application/json"] {
                    let what = format!("{name} {head:?} {version:?} {accept}");
                    let request = Request::get("http://localhost/").header("host", "localhost");
                    let request = request.header("accept", accept).body(Empty::new()).unwrap();
                    let response = ask(&mut client, request).await;
                    let event = accept == "text/event-stream";
                    let expected = if event { StatusCode::OK } else { refused };
                    assert_eq!(response.status(), expected, "{what}");
                    assert_headers(response.headers(), event, &what);
                    let body = response.into_body().collect().await.expect(&what).to_bytes();
                    let text = String::from_utf8(body.to_vec()).unwrap();
                    assert!(!text.contains("of the stream"), "{what}");
                    assert_eq!(text.contains(&format!("event: {name}\n")), event, "{what}: {text}");
                    assert!(event || text.is_empty(), "{what}: {text}");
                }
            }
            server.abort();
        }
    }
}

#[track_caller]
fn assert_headers(headers: &HeaderMap, event: bool, what: &str) {
    for (name, value) in KEPT {
        let mut values = headers.get_all(*name).iter();
        assert!(values.any(|it| it == value), "{what}: {name} is missing in {headers:?}");
    }
    for (name, _) in OF_THE_STREAM {
        // A server frames its own responses.
        let is_servers = *name == "transfer-encoding" || *name == "connection";
        assert!(is_servers || !headers.contains_key(*name), "{what}: {name} in {headers:?}");
    }
    assert!(!headers.contains_key("content-encoding"), "{what}");
    assert_eq!(headers.get_all("cache-control").iter().collect::<Vec<_>>(), ["no-store"], "{what}");
    assert_eq!(headers.contains_key("retry-after"), !event, "{what}");
    let content_type = headers.get("content-type").map(|value| value.to_str().unwrap());
    assert_eq!(content_type, event.then_some("text/event-stream"), "{what}");
}

#[tokio::test(start_paused = true)]
async fn only_a_get_that_wants_events_is_refused_with_an_event() {
    let draining = Shutdown::new();
    draining.trigger();
    #[rustfmt::skip]
    let table: &[(Method, &[&str], bool)] = &[
        (Method::GET,  &["text/event-stream"],                              true),
        (Method::GET,  &["text/html", "text/event-stream"],                 true),
        (Method::GET,  &["application/json, text/event-stream"],            true),
        (Method::GET,  &["TEXT/Event-Stream ; q=0.1"],                      true),
        (Method::GET,  &["text/event-stream;q=0.001"],                      true),
        (Method::GET,  &["text/event-stream;q=nonsense"],                   true),
        (Method::GET,  &["text/event-stream;q=0"],                          false),
        (Method::GET,  &["text/event-stream; Q=0.000, */*"],                false),
        (Method::GET,  &["text/event-stream;charset=utf-8;q=0"],            false),
        (Method::GET,  &["text/event-stream;q=0", "text/event-stream"],     true),
        (Method::GET,  &["text/*"],                                         false),
        (Method::GET,  &["*/*"],                                            false),
        (Method::GET,  &["text/event-streams"],                             false),
        (Method::GET,  &["application/json;x=\"text/event-stream\""],       false),
        (Method::GET,  &["application/json;x=\",text/event-stream,\""],     false),
        (Method::GET,  &[],                                                 false),
        // As clients of MCP ask.
        (Method::POST, &["application/json, text/event-stream"],            false),
        (Method::POST, &["text/event-stream"],                              false),
        (Method::PUT,  &["text/event-stream"],                              false),
        (Method::DELETE, &["text/event-stream"],                            false),
    ];
    for (layer, refused) in [
        (SseLayer::new().limit(Limit::new(0)), StatusCode::TOO_MANY_REQUESTS),
        (SseLayer::new().shutdown(draining), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        for (method, accepts, event) in table {
            let mut request = Request::builder().method(method).uri("/").body(()).unwrap();
            for accept in *accepts {
                request.headers_mut().append("accept", HeaderValue::from_static(accept));
            }
            let response = call(&mut layer.layer(Handler), request);
            let expected = if *event { StatusCode::OK } else { refused };
            assert_eq!(response.status(), expected, "{method} {accepts:?}");
            assert_eq!(response.headers().contains_key("retry-after"), !event);
        }
    }
}
