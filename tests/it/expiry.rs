//! A stream does not outlive the credential that it was opened on.

use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Body;
use tower::{Layer, Service, ServiceExt};
use tower_sse::{
    EventIdLayer, Expiry, Farewell, KeepAliveLayer, NoBufferLayer, Registry, RegistryLayer,
    RotationLayer, Shutdown, SseLayer,
};

use crate::harness::rig::{Client, Failure, Fate, Feed, Handler, Inner, call, get, open_with};

const MINUTE: Duration = Duration::from_secs(60);

/// The handler, whose responses say when their credential ends.
fn handler(
    expiry: Option<Expiry>,
) -> impl Service<Request<()>, Response = Response<Inner>, Error = Infallible, Future: Send> + Clone
{
    Handler.map_response(move |mut response: Response<Inner>| {
        if let Some(expiry) = expiry {
            response.extensions_mut().insert(expiry);
        }
        response
    })
}

/// The handler's hand, and the client, of a request that says when its credential ends.
fn open<S, B>(service: &mut S, expiry: Option<Expiry>) -> (Feed, Client)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error = Failure> + Send + 'static,
{
    let mut request = get();
    if let Some(expiry) = expiry {
        request.extensions_mut().insert(expiry);
    }
    let mut response = service.call(request).now_or_never().unwrap().unwrap();
    let feed = response.extensions_mut().remove::<Feed>().unwrap();
    (feed, Client::of(response))
}

fn after(minutes: u32) -> Expiry {
    Expiry::after(MINUTE * minutes)
}

/// Says when a credential ends, or nothing; made when it is needed, since time goes on.
type Say = fn() -> Option<Expiry>;

const EXPIRED: &str = "data: {\"reason\":\"expired\"}\n";

/// When the stream ends, and that it was for this.
async fn ends_after(mut client: Client) -> Duration {
    let frames = client.during(100 * MINUTE).await;
    let (at, last) = frames.last().expect("a farewell");
    assert!(last.starts_with("event: close\nretry: ") && last.contains(EXPIRED), "{last}");
    *at
}

#[tokio::test(start_paused = true)]
async fn the_earlier_expiry_of_request_and_response_counts() {
    let long: Say = || Some(Expiry::after(Duration::MAX));
    let never: Say = || Some(Expiry::at_unix(u64::MAX));
    let (three, five): (Say, Say) = (|| Some(after(3)), || Some(after(5)));
    let none: Say = || None;
    let table = [
        (three, none),
        (none, three),
        (three, five),
        (five, three),
        (three, never),
        (never, three),
        (long, three),
    ];
    for (request, response) in table {
        let mut service = RotationLayer::new().layer(handler(response()));
        let (_feed, client) = open(&mut service, request());
        assert_eq!(ends_after(client).await, 3 * MINUTE);
    }
    let (_feed, mut client) = open(&mut RotationLayer::new().layer(handler(never())), long());
    assert_eq!(client.during(100 * MINUTE).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_expiry_can_be_given_by_any_clock() {
    let wall = || SystemTime::now() + 60 * MINUTE;
    let unix = || wall().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let clock = || tokio::time::Instant::now().into_std() + 60 * MINUTE;
    // The system's clock goes on while the test's is paused, and `exp` has whole seconds.
    let table: [(&dyn Fn() -> Expiry, Duration); 4] = [
        (&|| Expiry::after(60 * MINUTE), Duration::ZERO),
        (&|| Expiry::at_instant(clock()), Duration::ZERO),
        (&|| Expiry::at(wall()), MINUTE),
        (&|| Expiry::at_unix(unix()), MINUTE),
    ];
    for (expiry, off) in table {
        let expiry = expiry();
        let (_feed, client) = open(&mut RotationLayer::new().layer(handler(Some(expiry))), None);
        let at = ends_after(client).await;
        assert!(at <= 60 * MINUTE && at + off >= 60 * MINUTE, "{expiry:?}: {at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_an_expired_credential_has_only_its_farewell() {
    let now = tokio::time::Instant::now().into_std();
    for expiry in [
        Expiry::at(SystemTime::now() - MINUTE),
        Expiry::at(UNIX_EPOCH),
        Expiry::at_unix(0),
        Expiry::at_instant(now),
        Expiry::at_instant(now.checked_sub(MINUTE).unwrap_or_else(Instant::now)),
        Expiry::after(Duration::ZERO),
    ] {
        let alone = SseLayer::off().rotation(RotationLayer::new());
        let ids = EventIdLayer::sequential();
        let all =
            SseLayer::new().event_ids(ids).registry(Registry::new()).shutdown(Shutdown::new());
        for (layer, opening) in [(alone, ""), (all, ":\n")] {
            let (feed, client) = open(&mut layer.layer(handler(Some(expiry))), None);
            feed.data("data: secret\n\n");
            let seen = client.rest().await;
            let rest = seen.strip_prefix(opening).unwrap();
            assert!(rest.starts_with("event: close\nretry: ") && rest.contains(EXPIRED), "{seen}");
            assert!(feed.is_gone() && !feed.was_polled());
        }
        let silent = RotationLayer::new().farewell(Farewell::none());
        let (feed, mut client) = open(&mut silent.layer(handler(Some(expiry))), None);
        feed.data("data: secret\n\n");
        assert_eq!(client.now().await, (String::new(), Fate::Ended));
    }
}

/// A credential's end that is passed over without a word would be a trap.
#[tokio::test(start_paused = true)]
async fn any_layer_of_the_crate_ends_a_stream_at_its_expiry() {
    let layers = [
        SseLayer::new().keep_alive(KeepAliveLayer::off()),
        SseLayer::off().no_buffer(NoBufferLayer::new()).rotation(RotationLayer::new()),
        SseLayer::off().registry(Registry::new()).rotation(RotationLayer::new()),
    ];
    for layer in layers {
        let (_feed, client) = open(&mut layer.layer(handler(Some(after(3)))), None);
        assert_eq!(ends_after(client).await, 3 * MINUTE);
    }
    let (_feed, client) = open(&mut NoBufferLayer::new().layer(handler(Some(after(3)))), None);
    assert_eq!(ends_after(client).await, 3 * MINUTE);
    let (_feed, client) = open(&mut KeepAliveLayer::off().layer(handler(None)), Some(after(3)));
    assert_eq!(ends_after(client).await, 3 * MINUTE);
    // But one layer by itself has nothing to do with it.
    let (_feed, mut client) = open(&mut KeepAliveLayer::off().layer(handler(None)), None);
    assert_eq!(client.during(100 * MINUTE).await, []);
}

/// The farewell knows the place, though nothing else asked for it.
#[tokio::test(start_paused = true)]
async fn the_farewell_does_not_move_the_client() {
    let request = Request::get("/").header("last-event-id", "3").extension(Expiry::after(MINUTE));
    let mut service = NoBufferLayer::new().layer(Handler);
    let (feed, client) = open_with(&mut service, request.body(()).unwrap());
    feed.data("id: 9\ndata: a\n\n");
    let seen = client.rest().await;
    assert!(seen.ends_with("\nid: 9\n\n"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn only_off_next_to_the_handler_turns_the_expiry_off() {
    let off = RotationLayer::off().layer(handler(Some(after(3))));
    let mut service = SseLayer::new().keep_alive(KeepAliveLayer::off()).layer(off);
    let (_feed, mut client) = open(&mut service, Some(after(1)));
    assert_eq!(client.during(100 * MINUTE).await, []);

    let on = RotationLayer::new().layer(handler(Some(after(3))));
    let (_feed, client) = open(&mut RotationLayer::off().layer(on), None);
    assert_eq!(ends_after(client).await, 3 * MINUTE);
}

/// Said by a layer that stands between two of the crate's, in either way.
#[tokio::test(start_paused = true)]
async fn an_expiry_that_is_set_between_two_layers_counts() {
    let registry = Registry::new();
    for by_request in [true, false] {
        let inner = EventIdLayer::sequential().layer(Handler);
        let between = tower::service_fn(move |mut request: Request<()>| {
            let mut inner = inner.clone();
            request.extensions_mut().extend(http::Extensions::new());
            if by_request {
                request.extensions_mut().insert(Expiry::after(3 * MINUTE));
            }
            let mut response = call(&mut inner, request);
            if !by_request {
                response.extensions_mut().insert(Expiry::after(3 * MINUTE));
            }
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let mut service = RegistryLayer::new(registry.clone()).layer(between);
        let (feed, client) = open(&mut service, Some(after(5)));
        feed.data("data: a\n\n");
        assert_eq!(ends_after(client).await, 3 * MINUTE);
        assert!(registry.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_no_stream_is_not_ended_at_its_expiry() {
    let answer = || async { (axum::Extension(Expiry::at_unix(0)), "plain") };
    let router = Router::new().route("/", axum::routing::get(answer)).layer(SseLayer::new());
    let response = router.oneshot(Request::new(axum::body::Body::empty())).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    assert_eq!(body, "plain");
}
