//! The application's own response to a request that is refused.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tower::{Layer, Service, service_fn};
use tower_sse::{
    CloseReason, Dialect, DialectLayer, Limit, LimitLayer, Shutdown, ShutdownLayer, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::rig::{Client, Handler, HandlerOf, at_once, call, get};

fn full() -> Limit {
    Limit::builder().max(0).retry(7 * SECOND..=7 * SECOND).build().unwrap()
}

fn page(text: impl Into<Bytes>) -> Response<Bytes> {
    let response = Response::builder().status(StatusCode::CONFLICT);
    response
        .header("content-type", "text/html")
        .header("content-length", "1")
        .header("transfer-encoding", "chunked")
        .body(text.into())
        .unwrap()
}

/// Pages get one, and other requests what they would get without the function.
fn for_pages(limit: Limit) -> LimitLayer {
    LimitLayer::new(limit).refusal(|notice, request| {
        assert_ne!(request.uri.path(), "/panic", "as the test wants");
        let user = request.headers.get("x-user")?.to_str().unwrap();
        let text = format!("{} {} {user}", notice.reason, notice.status.as_u16());
        Some(page(text))
    })
}

fn of_user(path: &str) -> Request<()> {
    Request::get(path).header("x-user", "ann").body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_function_makes_the_response_of_the_notice_and_the_request() {
    let limit = full();
    for layer in [for_pages(limit.clone()), for_pages(limit.clone()).before_handler(|_| true)] {
        let layer = SseLayer::new().dialect(Dialect::openai_chat()).limit(layer);
        let mut service = layer.layer(Handler);
        let response = call(&mut service, of_user("/page"));
        assert_eq!(response.status(), StatusCode::CONFLICT);
        for (name, value) in [
            ("content-type", "text/html"),
            ("content-length", "13"),
            ("retry-after", "7"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        assert!(!response.headers().contains_key("transfer-encoding"));
        assert_eq!(Client::of(response).rest().await, "limit 429 ann");
        // Where it returns none, or panics, the dialect speaks.
        let nobody = Request::post("/v1").body(()).unwrap();
        for request in [nobody, of_user("/panic")] {
            let response = call(&mut service, request);
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert!(Client::of(response).rest().await.starts_with("{\"error\":{"));
        }
    }
    assert_eq!((limit.open(), limit.refused()), (0, 6));
}

#[tokio::test(start_paused = true)]
async fn a_drain_has_a_function_of_its_own() {
    let shutdown = at_once();
    let layer = ShutdownLayer::new(shutdown.clone()).refusal(|notice, request| {
        assert_eq!(notice.reason, CloseReason::Draining);
        let mut response = notice.response(HeaderValue::from_static("text/plain"), "elsewhere");
        response.headers_mut().insert("retry-after", HeaderValue::from_static("3"));
        response.headers_mut().insert("cache-control", HeaderValue::from_static("max-age=1"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        (request.method == Method::GET).then_some(response)
    });
    // The limit's function is not asked for it.
    let mut service = SseLayer::new().limit(for_pages(full())).shutdown(layer).layer(Handler);
    shutdown.trigger();
    let response = call(&mut service, of_user("/"));
    assert_eq!(response.headers()["retry-after"], "3");
    assert_eq!(response.headers()["cache-control"], "max-age=1");
    assert_eq!(response.headers()["content-length"], "9");
    assert_eq!(Client::of(response).rest().await, "elsewhere");
    let response = call(&mut service, Request::post("/").body(()).unwrap());
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(Client::of(response).rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_body_has_no_length_of_the_function() {
    let layer = LimitLayer::new(full()).refusal(|_, _| Some(page("")));
    let response = call(&mut layer.layer(Handler), get());
    assert!(!response.headers().contains_key("content-length"));
    assert_eq!(Client::of(response).rest().await, "");
}

/// What the layer sees, with what layers further out put into the request.
#[tokio::test(start_paused = true)]
async fn the_function_sees_the_request_as_it_came_to_its_layer() {
    let own = LimitLayer::new(full()).refusal(|_, request| {
        let plan: &&str = request.extensions.get()?;
        Some(page(*plan))
    });
    let named = service_fn(move |mut request: Request<()>| {
        request.extensions_mut().insert("gold");
        own.layer(Handler).call(request)
    });
    let far = LimitLayer::new(full()).refusal(|_, _| Some(page("of another limit")));
    let response = call(&mut far.layer(named), get());
    assert_eq!(Client::of(response).rest().await, "gold");
}

/// The handler's headers that let a page read the response stay, and a success has no
/// `Retry-After`.
#[tokio::test(start_paused = true)]
async fn a_stream_of_the_function_is_that_of_a_refusal() {
    let handler = service_fn(|request: Request<()>| {
        let answer = Handler.call(request);
        async {
            let mut answer = answer.await?;
            let headers = answer.headers_mut();
            headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
            headers.insert("vary", HeaderValue::from_static("origin"));
            headers.insert("x-handler", HeaderValue::from_static("its own"));
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let layer = LimitLayer::new(full()).refusal(|_, _| {
        let response = Response::builder().header("content-type", "text/event-stream");
        let response = response.header("vary", "cookie");
        Some(response.body(Bytes::from_static(b"event: full\ndata: {}\n\n")).unwrap())
    });
    // Layers around it do not look after it.
    let around = SseLayer::new().dialect(Dialect::openai_chat()).shutdown(Shutdown::new());
    let response = call(&mut around.layer(layer.layer(handler)), get());
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let vary: Vec<_> = response.headers().get_all("vary").iter().collect();
    assert_eq!(vary, ["cookie"], "what the function says goes before what the handler said");
    for name in ["x-handler", "retry-after"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    assert_eq!(Client::of(response).rest().await, "event: full\ndata: {}\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_grpc_keeps_its_status() {
    let service = for_pages(full()).layer(HandlerOf("application/grpc"));
    let mut service = DialectLayer::new(Dialect::anthropic()).layer(service);
    let request = Request::post("/").header("content-type", "application/grpc");
    let response = call(&mut service, request.header("x-user", "ann").body(()).unwrap());
    assert_eq!(
        (response.status(), &response.headers()["grpc-status"]),
        (StatusCode::OK, &"8".parse::<HeaderValue>().unwrap())
    );
}
