//! A dialect that depends on the request: which API it is, and the id of a request of JSON-RPC.

use http::{HeaderValue, Request};
use tower::Layer;
use tower_sse::{
    CloseReason, Dialect, DialectLayer, EarlyHeadLayer, Event, Farewell, JsonRpcId, KeepAliveLayer,
    Limit, Notice, RegistryLayer, RotationLayer, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::rig::{Fate, Handler, Piece, at_once, call, open_with};
use crate::harness::thinking::{answer, seen, thinking};

/// By a header, as an application tells its APIs apart.
fn by_header() -> Dialect {
    Dialect::for_request(|request| match request.headers.get("x-api").map(HeaderValue::as_bytes) {
        Some(b"openai") => Dialect::openai_chat(),
        Some(b"anthropic") => Dialect::anthropic(),
        Some(b"nested") => by_header(),
        Some(_) => panic!("as the test wants"),
        None => Dialect::event_source(),
    })
}

fn request_of(api: Option<&'static str>) -> Request<()> {
    let mut request = Request::post("/").header("accept", "text/event-stream").body(()).unwrap();
    if let Some(api) = api {
        request.headers_mut().insert("x-api", HeaderValue::from_static(api));
    }
    request
}

/// A POST of JSON-RPC, whose id a layer further out has read.
fn post(id: JsonRpcId) -> Request<()> {
    let mut request = request_of(None);
    request.extensions_mut().insert(id);
    request
}

const APIS: [(Option<&str>, &str, &str); 5] = [
    (Some("openai"), "event: error\ndata: {\"error\":", "{\"error\":"),
    (Some("anthropic"), "event: error\ndata: {\"type\":\"error\"", "{\"type\":\"error\""),
    (None, "event: close\n", ""),
    (Some("nested"), "event: close\n", ""),
    (Some("panics"), "event: close\n", ""),
];

#[tokio::test(start_paused = true)]
async fn each_request_is_answered_in_the_dialect_that_is_chosen_for_it() {
    for (api, said, refused) in APIS {
        // Wherever the layer stands, and whatever is between the layers.
        for place in ["alone", "outside", "inside"] {
            let shutdown = at_once();
            let layers = || SseLayer::new().keep_alive(KeepAliveLayer::off());
            let (inner, outer) = match place {
                "alone" => (layers().dialect(by_header()).shutdown(shutdown.clone()), layers()),
                "outside" => (layers().shutdown(shutdown.clone()), layers().dialect(by_header())),
                _ => (layers().dialect(by_header()), layers().shutdown(shutdown.clone())),
            };
            let mut service = outer.layer(inner.layer(Handler));
            let (_feed, mut client) = open_with(&mut service, request_of(api));
            client.now().await;
            shutdown.trigger();
            let (text, fate) = client.now().await;
            assert!(text.starts_with(said) && fate == Fate::Ended, "{api:?} {place}: {text}");
        }
        let layers = SseLayer::new().dialect(by_header()).limit(Limit::new(0));
        let response = call(&mut layers.layer(Handler), request_of(api));
        assert_eq!(response.status(), 429);
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert!(body.starts_with(refused.as_bytes()) && body.is_empty() == refused.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_keepalive_is_that_of_the_dialect_that_is_chosen() {
    let keep_alive = KeepAliveLayer::new().jitter(0.0);
    let mut service = SseLayer::new().keep_alive(keep_alive).dialect(by_header()).layer(Handler);
    for (api, seconds, signal) in
        [(Some("anthropic"), 10, "event: ping\ndata: {\"type\":\"ping\"}\n\n"), (None, 15, ":\n")]
    {
        let (_feed, mut client) = open_with(&mut service, request_of(api));
        client.now().await;
        let seen = client.during(16 * SECOND).await;
        assert_eq!(seen, [(seconds * SECOND, signal.to_owned())], "{api:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_of_different_dialects_are_registered_once_each() {
    let registry = tower_sse::Registry::new();
    let layers =
        SseLayer::new().dialect(by_header()).registry(RegistryLayer::new(registry.clone()));
    let mut service = layers.layer(DialectLayer::new(by_header()).layer(Handler));
    let open: Vec<_> = APIS.map(|(api, ..)| open_with(&mut service, request_of(api))).into();
    assert_eq!(registry.len(), APIS.len());
    drop(open);
    assert!(registry.is_empty());
}

/// They are numbered together, or they would end together.
#[tokio::test(start_paused = true)]
async fn the_ends_of_streams_of_different_dialects_are_spread() {
    let rotation = RotationLayer::new().max_age(99 * SECOND);
    let mut service = SseLayer::new()
        .keep_alive(KeepAliveLayer::off())
        .rotation(rotation)
        .dialect(by_header())
        .layer(Handler);
    let mut open: Vec<_> = APIS.map(|(api, ..)| open_with(&mut service, request_of(api))).into();
    let mut ends = Vec::new();
    for (_feed, client) in &mut open {
        client.now().await;
    }
    for second in 0..100 {
        for (_feed, client) in &mut open {
            ends.extend((!client.now().await.0.is_empty()).then_some(second));
        }
        tokio::time::advance(SECOND).await;
    }
    ends.dedup();
    assert_eq!(ends.len(), APIS.len(), "{ends:?}");
}

/// The dialects of JSON-RPC, with the id that the request has.
fn json_rpc() -> [Dialect; 3] {
    [Dialect::a2a, Dialect::mcp_2025_11, Dialect::mcp_2026_07].map(|dialect| {
        Dialect::for_request(move |request| {
            dialect().json_rpc_id(request.extensions.get::<JsonRpcId>().cloned())
        })
    })
}

#[tokio::test(start_paused = true)]
async fn errors_of_json_rpc_have_the_id_of_their_request() {
    for (id, json) in [
        (JsonRpcId::from(7), "7"),
        (JsonRpcId::from(-1), "-1"),
        (JsonRpcId::from("a \"b\"\n"), r#""a \"b\"\u000a""#),
    ] {
        assert_eq!(id.to_string(), json);
        let expected = format!(r#"{{"jsonrpc":"2.0","id":{json},"error":{{"code":-32"#);
        for dialect in json_rpc() {
            // A stream that fails.
            let mut service = SseLayer::new().dialect(dialect.clone()).layer(Handler);
            let (feed, mut client) = open_with(&mut service, post(id.clone()));
            client.now().await;
            feed.give(Piece::Fail);
            let (text, _) = client.now().await;
            assert!(text.contains(&expected), "{text}");
            // And one of a request whose id nobody has read.
            let (feed, mut client) = open_with(&mut service, request_of(None));
            client.now().await;
            feed.give(Piece::Fail);
            assert!(client.now().await.0.contains(r#""id":null"#));

            // A refusal.
            let layers = SseLayer::new().dialect(dialect.clone()).limit(Limit::new(0));
            let refused = call(&mut layers.layer(Handler), post(id.clone()));
            let body = http_body_util::BodyExt::collect(refused.into_body()).await.unwrap();
            assert!(body.to_bytes().starts_with(expected.as_bytes()));

            // A late answer, in the dialect of the layers around and in that of the layer itself.
            let (handler, _) = thinking(5 * SECOND, answer(503, "text/plain", Vec::new));
            let early = EarlyHeadLayer::new();
            let own = early.clone().dialect(dialect.clone()).layer(handler.clone());
            let text = seen(&own, post(id.clone()), 9 * SECOND).await.read.text();
            assert!(text.contains(&expected), "{text}");
            let around = SseLayer::new().dialect(dialect.clone()).layer(early.layer(handler));
            let text = seen(&around, post(id.clone()), 9 * SECOND).await.read.text();
            assert!(text.contains(&expected), "{text}");
        }
    }
}

#[test]
fn a_dialect_of_the_application_finds_the_id_in_the_notice() {
    let text =
        |notice: &Notice| notice.json_rpc_id.as_ref().map_or("-".into(), ToString::to_string);
    let dialect = Dialect::builder()
        .farewell(move |notice| Farewell::event(Event::new().data(text(notice))))
        .refusal(move |notice| {
            notice.response(HeaderValue::from_static("text/plain"), text(notice))
        })
        .build();
    let notice = Notice::new(CloseReason::Limit);
    assert_eq!(dialect.refusal(&notice).unwrap().body(), "-");
    let told = dialect.json_rpc_id(JsonRpcId::from(7));
    assert_eq!(told.refusal(&notice).unwrap().body(), "7");
    assert!(format!("{:?}", told.farewell(&notice)).contains('7'));
    assert_eq!(told.json_rpc_id(None).refusal(&notice).unwrap().body(), "-");
}

/// Wherever it is given.
#[tokio::test(start_paused = true)]
async fn a_dialect_for_requests_keeps_the_id_that_is_set_on_it_and_that_of_the_chosen_one_wins() {
    let id = || JsonRpcId::from(7);
    for (dialect, said) in [
        (Dialect::for_request(|_| Dialect::a2a()).json_rpc_id(id()), "\"id\":7,"),
        (Dialect::for_request(|_| Dialect::a2a()), "\"id\":null,"),
        (Dialect::for_request(|_| Dialect::a2a().json_rpc_id(JsonRpcId::from(8))), "\"id\":8,"),
        (
            Dialect::for_request(|_| Dialect::a2a().json_rpc_id(JsonRpcId::from(8)))
                .json_rpc_id(id()),
            "\"id\":8,",
        ),
        (Dialect::for_request(|_| Dialect::a2a().json_rpc_id(None)).json_rpc_id(id()), "\"id\":7,"),
    ] {
        let layers = SseLayer::new().dialect(dialect.clone()).limit(Limit::new(0));
        let refused = call(&mut layers.layer(Handler), request_of(None));
        let refused = http_body_util::BodyExt::collect(refused.into_body()).await.unwrap();
        let refused = String::from_utf8(refused.to_bytes().into()).unwrap();
        assert!(refused.contains(said), "{refused}");

        let shutdown = at_once();
        let mut service =
            SseLayer::new().dialect(dialect).shutdown(shutdown.clone()).layer(Handler);
        let (_feed, mut client) = open_with(&mut service, request_of(None));
        client.now().await;
        shutdown.trigger();
        let (text, _) = client.now().await;
        assert!(text.contains(said), "{text}");
    }
}
