//! A server and one of its tenants, each with a registry and a shutdown: both hold for a stream of
//! any framing, and neither for a unary call. What a layer between them turns off is the tenant's
//! alone.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::util::MapRequest;
use tower::{Layer, Service, service_fn};
use tower_sse::{
    Dialect, DialectLayer, KeepAliveLayer, NoBufferLayer, Registry, RegistryLayer, Shutdown,
    ShutdownLayer, SseLayer,
};

use crate::grpc::{Seen, answer, answer_with, now};
use crate::harness::rig::{Client, Failure, Feed, HandlerOf, Piece, at_once, call};

#[derive(Debug)]
struct Owner {
    registry: Registry,
    shutdown: Shutdown,
}

impl Owner {
    fn new() -> Self {
        Self { registry: Registry::new(), shutdown: at_once() }
    }

    fn layer(&self) -> SseLayer {
        SseLayer::off().registry(self.registry.clone()).shutdown(self.shutdown.clone())
    }
}

fn request() -> Request<()> {
    Request::post("/").header("content-type", "application/grpc").body(()).unwrap()
}

/// A stream that has been polled, from both ends.
async fn open<S, B>(mut service: S) -> (Feed, Client)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error = Failure> + Send + 'static,
{
    let (feed, mut client) = answer(call(&mut service, request()));
    assert_eq!(now(&mut client).await, Seen::default());
    (feed, client)
}

/// The service behind a middleware that drops the extensions of requests.
fn without_extensions<S>(service: S) -> MapRequest<S, impl FnMut(Request<()>) -> Request<()>> {
    MapRequest::new(service, |mut request: Request<()>| {
        request.extensions_mut().clear();
        request
    })
}

const KINDS: [&str; 3] = ["text/event-stream", "application/x-ndjson", "application/grpc"];

#[tokio::test(start_paused = true)]
async fn a_stream_of_any_framing_is_that_of_both_owners_and_ends_with_the_first_shutdown() {
    for kind in KINDS {
        for (is_apart, first_is_near) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let (server, tenant) = (Owner::new(), Owner::new());
            let inner = tenant.layer().layer(NoBufferLayer::new().layer(HandlerOf(kind)));
            let (_feed, mut client) = match is_apart {
                true => open(server.layer().layer(KeepAliveLayer::off().layer(inner))).await,
                false => open(server.layer().layer(inner)).await,
            };
            let of_both = || [server.registry.len(), tenant.registry.len()];
            assert_eq!(of_both(), [1, 1], "{kind}");
            let first = if first_is_near { &tenant } else { &server };
            first.shutdown.trigger();
            assert!(now(&mut client).await.ended, "{kind}, {is_apart}, {first_is_near}");
            assert_eq!(of_both(), [0, 0], "{kind}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_unary_call_is_untouched_by_both_owners_whichever_drains() {
    let (server, tenant) = (Owner::new(), Owner::new());
    let message = b"\0\0\0\0\x01a".to_vec();
    let unary = service_fn(|request| {
        let message = std::slice::from_ref(&message);
        answer_with("application/grpc", request, message, Some(Piece::Trailers))
    });
    let mut service =
        server.layer().layer(KeepAliveLayer::off().layer(tenant.layer().layer(unary)));
    for drains in [None, Some(&tenant), Some(&server)] {
        if let Some(owner) = drains {
            owner.shutdown.trigger();
        }
        let mut client = Client::of(call(&mut service, request()));
        let of_both = || [server.registry.len(), tenant.registry.len()];
        assert_eq!(of_both(), [0, 0]);
        assert_eq!(now(&mut client).await, Seen::inner_trailers(message.clone()));
        assert_eq!(of_both(), [0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_around_two_shutdowns_lists_their_stream_unless_one_of_them_turns_lists_off() {
    for kind in KINDS {
        for lists in [true, false] {
            let (around, server, tenant) = (Registry::new(), at_once(), at_once());
            let inner = match lists {
                true => ShutdownLayer::new(tenant).layer(HandlerOf(kind)),
                false => SseLayer::off().shutdown(tenant).layer(HandlerOf(kind)),
            };
            let inner =
                ShutdownLayer::new(server.clone()).layer(KeepAliveLayer::off().layer(inner));
            let (_feed, mut client) = open(RegistryLayer::new(around.clone()).layer(inner)).await;
            assert_eq!(around.len(), usize::from(lists), "{kind}");
            server.trigger();
            assert!(now(&mut client).await.ended, "{kind}");
            assert_eq!(around.len(), 0, "{kind}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_turned_off_between_two_owners_is_that_of_the_inner_one_alone() {
    for kind in KINDS {
        for by_request in [false, true] {
            let (server, tenant) = (Owner::new(), Owner::new());
            let inner = tenant.layer().layer(HandlerOf(kind));
            let (_feed, mut client) = match by_request {
                true => {
                    let words =
                        DialectLayer::new(Dialect::for_request(|_| Dialect::event_source()));
                    let inner = words.layer(inner);
                    open(server.layer().layer(SseLayer::off().layer(inner))).await
                }
                false => open(server.layer().layer(SseLayer::off().layer(inner))).await,
            };
            let of_both = [server.registry.len(), tenant.registry.len()];
            assert_eq!(of_both, [0, 1], "{kind}, {by_request}");
            server.shutdown.trigger();
            assert_eq!(now(&mut client).await, Seen::default(), "{kind}, {by_request}");
            tenant.shutdown.trigger();
            assert!(now(&mut client).await.ended, "{kind}, {by_request}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_turned_off_between_two_owners_is_off_too_if_a_middleware_drops_extensions() {
    for kind in KINDS {
        for (around, within) in [(true, false), (false, true), (true, true)] {
            let (server, tenant) = (Owner::new(), Owner::new());
            let inner = tenant.layer().layer(NoBufferLayer::new().layer(HandlerOf(kind)));
            let off = SseLayer::off();
            let server_layer = server.layer();
            let (_feed, mut client) = match (around, within) {
                (true, false) => {
                    open(server_layer.layer(without_extensions(off.layer(inner)))).await
                }
                (false, _) => open(server_layer.layer(off.layer(without_extensions(inner)))).await,
                (true, true) => {
                    let off = off.layer(without_extensions(inner));
                    open(server_layer.layer(without_extensions(off))).await
                }
            };
            let of_both = [server.registry.len(), tenant.registry.len()];
            assert_eq!(of_both, [0, 1], "{kind}, {around}, {within}");
            server.shutdown.trigger();
            assert_eq!(now(&mut client).await, Seen::default(), "{kind}, {around}, {within}");
            tenant.shutdown.trigger();
            assert!(now(&mut client).await.ended, "{kind}, {around}, {within}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_turned_off_is_off_too_around_an_inner_layer_that_does_not_hear_of_it() {
    for kind in KINDS {
        let (server, listed) = (Owner::new(), Registry::new());
        let inner = RegistryLayer::new(listed.clone()).layer(HandlerOf(kind));
        let off = ShutdownLayer::off().layer(without_extensions(inner));
        let (_feed, mut client) = open(server.layer().layer(without_extensions(off))).await;
        server.shutdown.trigger();
        assert_eq!(now(&mut client).await, Seen::default(), "{kind}");
        assert_eq!([server.registry.len(), listed.len()], [1, 1], "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_turns_drains_off_is_refused_by_none_of_two_owners_that_drain() {
    for kind in KINDS {
        let (server, tenant, own) = (at_once(), at_once(), at_once());
        let layered = |inner| {
            let tenant = ShutdownLayer::new(tenant.clone()).layer(inner);
            ShutdownLayer::new(server.clone()).layer(tenant)
        };
        let inner = ShutdownLayer::new(own).layer(HandlerOf(kind));
        let mut service = layered(ShutdownLayer::off().layer(inner));
        server.trigger();
        tenant.trigger();
        let response = call(&mut service, request());
        assert_eq!(response.status(), 200, "{kind}");
        let (_feed, mut client) = answer(response);
        assert_eq!(now(&mut client).await, Seen::default(), "{kind}");
    }
}
