//! What each dialect of the crate says, byte for byte: in silence, at an error, in a drain, and to
//! requests that are refused.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{CloseReason, Dialect, KeepAliveLayer, Limit, Notice, Shutdown, SseLayer};

use crate::harness::SECOND;
use crate::harness::rig::{Failure, Fate, Handler, Piece, at_once, call, get, open, open_with};

/// What one dialect says.
pub(crate) struct Words {
    pub(crate) dialect: Dialect,
    /// After so many seconds of silence.
    pub(crate) silence: (u64, &'static str),
    pub(crate) error: &'static str,
    pub(crate) drain: &'static str,
    pub(crate) limit: Refusal,
    pub(crate) draining: Refusal,
}

pub(crate) struct Refusal {
    /// To a POST.
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static str,
    /// To an `EventSource`, where that gets something else.
    pub(crate) event: Option<&'static str>,
}

const fn json(status: u16, body: &'static str) -> Refusal {
    Refusal { status, content_type: "application/json", body, event: None }
}

const fn event(status: u16, event: &'static str) -> Refusal {
    Refusal { status, content_type: "", body: "", event: Some(event) }
}

const COMMENT: &str = ":\n";
const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";

/// What the dialects of OpenAI say at a limit and in a drain.
#[rustfmt::skip]
fn openai() -> (Refusal, Refusal) {
    (
        json(429, "{\"error\":{\"message\":\"too many streams are open\",\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}"),
        json(503, "{\"error\":{\"message\":\"the server shuts down\",\"type\":\"server_error\",\"param\":null,\"code\":\"service_unavailable\"}}"),
    )
}

/// What those say that speak JSON-RPC.
#[rustfmt::skip]
fn json_rpc() -> (Refusal, Refusal) {
    (
        json(429, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,\"message\":\"too many streams are open\"}}"),
        json(503, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,\"message\":\"the server shuts down\"}}"),
    )
}

/// The client of each stream is at the position `41`, and waits for a second before it comes back.
#[rustfmt::skip]
pub(crate) fn all() -> Vec<Words> {
    let limit = || event(429, ":\nevent: limit\nretry: 1000\ndata: {\"reason\":\"limit\"}\nid: 41\n\n");
    let draining = || event(503, ":\nevent: draining\nretry: 1000\ndata: {}\nid: 41\n\n");
    let text = |status, body| Refusal { status, content_type: "text/plain; charset=utf-8", body, event: None };
    vec![
        Words {
            dialect: Dialect::event_source(),
            silence: (15, COMMENT),
            error: "",
            drain: "event: close\nretry: 1000\ndata: {\"reason\":\"shutdown\"}\nid: 41\n\n",
            limit: limit(),
            draining: draining(),
        },
        Words {
            dialect: Dialect::openai_chat(),
            silence: (10, COMMENT),
            error: "event: error\ndata: {\"error\":{\"message\":\"the stream failed\",\"type\":\"server_error\",\"param\":null,\"code\":\"server_error\"}}\n\n",
            drain: "event: error\ndata: {\"error\":{\"message\":\"the server shuts down\",\"type\":\"server_error\",\"param\":null,\"code\":\"service_unavailable\"}}\n\n",
            limit: openai().0, draining: openai().1,
        },
        Words {
            dialect: Dialect::openai_chat_unnamed(),
            silence: (10, COMMENT),
            error: "data: {\"error\":{\"message\":\"the stream failed\",\"type\":\"server_error\",\"param\":null,\"code\":\"server_error\"}}\n\n",
            drain: "data: {\"error\":{\"message\":\"the server shuts down\",\"type\":\"server_error\",\"param\":null,\"code\":\"service_unavailable\"}}\n\n",
            limit: openai().0, draining: openai().1,
        },
        Words {
            dialect: Dialect::openai_responses(),
            silence: (10, COMMENT),
            error: "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":\"server_error\",\"message\":\"the stream failed\",\"param\":null,\"error\":{\"message\":\"the stream failed\",\"type\":\"server_error\",\"param\":null,\"code\":\"server_error\"}}\n\n",
            drain: "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":\"service_unavailable\",\"message\":\"the server shuts down\",\"param\":null,\"error\":{\"message\":\"the server shuts down\",\"type\":\"server_error\",\"param\":null,\"code\":\"service_unavailable\"}}\n\n",
            limit: openai().0, draining: openai().1,
        },
        Words {
            dialect: Dialect::anthropic(),
            silence: (10, PING),
            error: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"the stream failed\"}}\n\n",
            drain: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"the server shuts down\"}}\n\n",
            limit: json(429, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"too many streams are open\"}}"),
            draining: json(503, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"the server shuts down\"}}"),
        },
        Words {
            dialect: Dialect::mcp_2025_11(),
            silence: (15, COMMENT),
            error: "retry: 1000\ndata: {\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32603,\"message\":\"the stream failed\"}}\nid: 41\n\n",
            drain: "retry: 1000\ndata: \nid: 41\n\n",
            limit: json_rpc().0, draining: json_rpc().1,
        },
        Words {
            dialect: Dialect::mcp_2026_07(),
            silence: (15, COMMENT),
            error: "data: {\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32603,\"message\":\"the stream failed\"}}\n\n",
            drain: "data: {\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,\"message\":\"the server shuts down\"}}\n\n",
            limit: json_rpc().0, draining: json_rpc().1,
        },
        Words {
            dialect: Dialect::ag_ui(),
            silence: (15, COMMENT),
            error: "data: {\"type\":\"RUN_ERROR\",\"message\":\"the stream failed\",\"code\":\"error\"}\n\n",
            drain: "data: {\"type\":\"RUN_ERROR\",\"message\":\"the server shuts down\",\"code\":\"shutdown\"}\n\n",
            limit: json(429, "{\"type\":\"RUN_ERROR\",\"message\":\"too many streams are open\",\"code\":\"limit\"}"),
            draining: json(503, "{\"type\":\"RUN_ERROR\",\"message\":\"the server shuts down\",\"code\":\"draining\"}"),
        },
        Words {
            dialect: Dialect::a2a(),
            silence: (15, COMMENT),
            error: "event: error\ndata: {\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32603,\"message\":\"the stream failed\"}}\n\n",
            drain: "event: error\ndata: {\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,\"message\":\"the server shuts down\"}}\n\n",
            limit: json_rpc().0, draining: json_rpc().1,
        },
        Words {
            dialect: Dialect::vercel_ui_message(),
            silence: (15, COMMENT),
            error: "data: {\"type\":\"error\",\"errorText\":\"the stream failed\"}\n\ndata: [DONE]\n\n",
            drain: "data: {\"type\":\"error\",\"errorText\":\"the server shuts down\"}\n\ndata: [DONE]\n\n",
            limit: text(429, "too many streams are open"),
            draining: text(503, "the server shuts down"),
        },
        Words {
            dialect: Dialect::graphql_sse(),
            silence: (12, COMMENT),
            error: "event: next\ndata: {\"errors\":[{\"message\":\"the stream failed\",\"extensions\":{\"code\":\"ERROR\"}}]}\n\nevent: complete\ndata: \n\n",
            drain: "event: next\ndata: {\"errors\":[{\"message\":\"the server shuts down\",\"extensions\":{\"code\":\"SHUTDOWN\"}}]}\n\nevent: complete\ndata: \n\n",
            limit: json(429, "{\"errors\":[{\"message\":\"too many streams are open\",\"extensions\":{\"code\":\"LIMIT\"}}]}"),
            draining: json(503, "{\"errors\":[{\"message\":\"the server shuts down\",\"extensions\":{\"code\":\"DRAINING\"}}]}"),
        },
        Words {
            dialect: Dialect::htmx("a&\"b"),
            silence: (15, COMMENT),
            error: "data: <div id=\"a&amp;&quot;b\" hx-swap-oob=\"delete\"></div>\n\nevent: close\nretry: 1000\ndata: {\"reason\":\"error\"}\nid: 41\n\n",
            drain: "data: <div id=\"a&amp;&quot;b\" hx-swap-oob=\"delete\"></div>\n\nevent: close\nretry: 1000\ndata: {\"reason\":\"shutdown\"}\nid: 41\n\n",
            limit: limit(),
            draining: draining(),
        },
    ]
}

/// A request as an `EventSource` or an SDK makes it.
fn request(mut request: Request<()>) -> Request<()> {
    request.headers_mut().insert("last-event-id", "41".parse().unwrap());
    request
}

fn get_at_41() -> Request<()> {
    request(get())
}

fn post_at_41() -> Request<()> {
    request(
        Request::post("/")
            .header("accept", "application/json, text/event-stream")
            .body(())
            .unwrap(),
    )
}

async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Data = bytes::Bytes, Error = Failure>,
{
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_dialect_breaks_silence_in_time_and_begins_with_a_comment() {
    for Words { dialect, silence: (seconds, signal), .. } in all() {
        let layer = SseLayer::new().keep_alive(KeepAliveLayer::new().jitter(0.0));
        let (feed, mut client) = open(&mut layer.dialect(dialect.clone()).layer(Handler));
        assert_eq!(client.now().await.0, ":\n", "{dialect:?}");
        let times = client.during(Duration::from_secs(3 * seconds)).await;
        let expected = [1, 2, 3].map(|n| (Duration::from_secs(n * seconds), signal.to_owned()));
        assert_eq!(times, expected, "{dialect:?}");
        feed.data("data: a\n\n");
        assert_eq!(client.now().await.0, "data: a\n\n", "{dialect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_dialect_ends_a_stream_that_fails_with_its_error() {
    for Words { dialect, error, .. } in all() {
        let layer = SseLayer::new().dialect(dialect.clone()).shutdown(at_once());
        let (feed, mut client) = open_with(&mut layer.layer(Handler), get_at_41());
        client.now().await;
        feed.give(Piece::Fail);
        let fate = if error.is_empty() { Fate::Failed } else { Fate::Ended };
        assert_eq!(client.now().await, (error.to_owned(), fate), "{dialect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_dialect_ends_a_stream_in_a_drain_with_its_farewell() {
    for Words { dialect, drain, .. } in all() {
        for line_end in ["\n", "\r\n"] {
            let shutdown = at_once();
            let layer = SseLayer::new().dialect(dialect.clone()).shutdown(shutdown.clone());
            let (feed, mut client) = open_with(&mut layer.layer(Handler), get_at_41());
            feed.data("data: a\n\n".replace('\n', line_end));
            client.now().await;
            shutdown.trigger();
            let expected = (drain.replace('\n', line_end), Fate::Ended);
            assert_eq!(client.now().await, expected, "{dialect:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_dialect_refuses_at_a_limit_and_in_a_drain() {
    let second = SECOND..=SECOND;
    let full = Limit::builder().max(0).retry(second.clone()).build().unwrap();
    let draining = Shutdown::builder().retry(second).build().unwrap();
    draining.trigger();
    for words in all() {
        let layer = || SseLayer::new().dialect(words.dialect.clone());
        for (layer, refusal) in [
            (layer().limit(full.clone()), &words.limit),
            (layer().shutdown(draining.clone()), &words.draining),
        ] {
            let what = format!("{:?} {}", words.dialect, refusal.status);
            for request in [post_at_41(), get_at_41()] {
                let is_get = request.method() == "GET";
                let response = call(&mut layer.layer(Handler), request);
                if let (true, Some(event)) = (is_get, refusal.event) {
                    assert_eq!(response.status(), StatusCode::OK, "{what}");
                    assert_eq!(response.headers()["content-type"], "text/event-stream", "{what}");
                    assert_eq!(text(response).await, event, "{what}");
                    continue;
                }
                assert_eq!(response.status().as_u16(), refusal.status, "{what}");
                assert_eq!(response.headers()["retry-after"], "1", "{what}");
                assert_eq!(response.headers()["cache-control"], "no-store", "{what}");
                let content_type = response.headers().get("content-type");
                let content_type = content_type.map_or("", |value| value.to_str().unwrap());
                assert_eq!(content_type, refusal.content_type, "{what}");
                assert_eq!(text(response).await, refusal.body, "{what}");
            }
        }
    }
}

/// The reasons that a stream ends for, but for its own end.
const ENDS: [CloseReason; 9] = [
    CloseReason::Shutdown,
    CloseReason::Kicked,
    CloseReason::Replaced,
    CloseReason::Rotated,
    CloseReason::Expired,
    CloseReason::Idle,
    CloseReason::Error,
    CloseReason::Timeout,
    CloseReason::Stopped,
];

/// As the table of [`Notice::new`] has them.
#[test]
fn each_reason_has_the_status_that_says_the_same() {
    let source = include_str!("../../src/dialect/notice.rs");
    let (_, rows) = source.split_once("/// | --- | --- |\n").expect("the table is there");
    let rows = rows.lines().map_while(|row| row.trim().strip_prefix("/// | "));
    let mut known = Vec::new();
    for row in rows {
        let (reasons, status) = row.trim_end_matches(" |").split_once(" | ").unwrap();
        for reason in reasons.split(", ") {
            known.push((reason.trim_matches('`').to_owned(), status.parse().unwrap()));
        }
    }
    let all =
        ENDS.iter().chain(&[CloseReason::Finished, CloseReason::Limit, CloseReason::Draining]);
    let mut expected: Vec<_> =
        all.map(|&reason| (format!("{reason:?}"), Notice::new(reason).status.as_u16())).collect();
    known.sort();
    expected.sort();
    assert_eq!(known, expected);
}

/// A ping must not hide for ever that nothing comes any more.
#[tokio::test(start_paused = true)]
async fn a_message_of_anthropic_that_gives_nothing_is_given_up_after_ten_minutes() {
    let layer = SseLayer::new().dialect(Dialect::anthropic());
    let (feed, mut client) = open(&mut layer.layer(Handler));
    let pings = client.during(Duration::from_millis(599_999)).await;
    assert!(pings.len() > 40 && pings[1..].iter().all(|(_, text)| text == PING));
    let last = client.during(70 * SECOND).await;
    assert!(last.last().unwrap().1.contains("\"timeout_error\""), "{last:?}");
    assert!(feed.is_gone());
}

#[test]
fn a_status_that_an_upstream_gave_becomes_the_type_that_the_api_has_for_it() {
    #[rustfmt::skip]
    let table = [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "invalid_request_error", "authentication_error"),
        (403, "invalid_request_error", "permission_error"),
        (404, "invalid_request_error", "not_found_error"),
        (413, "invalid_request_error", "request_too_large"),
        (429, "rate_limit_error",      "rate_limit_error"),
        (500, "server_error",          "api_error"),
        (502, "server_error",          "api_error"),
        (503, "server_error",          "overloaded_error"),
        (504, "server_error",          "timeout_error"),
        (529, "server_error",          "overloaded_error"),
    ];
    for (status, openai, anthropic) in table {
        let mut notice = Notice::new(CloseReason::Error);
        notice.status = StatusCode::from_u16(status).unwrap();
        notice.message = "a \"message\"\n".into();
        for (dialect, kind) in [(Dialect::openai_chat(), openai), (Dialect::anthropic(), anthropic)]
        {
            let refusal = dialect.refusal(&notice).unwrap();
            assert_eq!(refusal.status(), notice.status);
            let json: serde_json::Value = serde_json::from_slice(refusal.body()).unwrap();
            assert_eq!(json["error"]["type"], kind, "{status}");
            assert_eq!(json["error"]["message"], *notice.message, "{status}");
        }
    }
}

/// Whatever the words are, the bytes are whole events, and their JSON is JSON.
#[tokio::test(start_paused = true)]
async fn what_a_dialect_says_is_whole_events_with_json() {
    for words in all() {
        for reason in ENDS {
            let dialect = words.dialect.clone();
            let own = Dialect::builder().farewell(move |_| {
                let mut notice = Notice::new(reason);
                notice.message = "\"quoted\" \\ and\r\nbroken \u{1}".into();
                dialect.farewell(&notice)
            });
            let shutdown = at_once();
            let layer = SseLayer::off().dialect(own.build()).shutdown(shutdown.clone());
            let (_feed, mut client) = open(&mut layer.layer(Handler));
            client.now().await;
            shutdown.trigger();
            let (text, fate) = client.now().await;
            assert_eq!(fate, Fate::Ended);
            assert!(text.ends_with("\n\n"), "{text:?}");
            let events = Decoder::new().decode(text.as_bytes());
            let what = format!("{:?} {reason}", words.dialect);
            assert!(!events.is_empty(), "{what}");
            for event in events {
                let is_json = serde_json::from_str::<serde_json::Value>(&event.data).is_ok();
                let is_known =
                    ["", "[DONE]"].contains(&&*event.data) || event.data.starts_with("<div");
                assert!(is_json || is_known, "{what}: {event:?}");
            }
        }
    }
}
