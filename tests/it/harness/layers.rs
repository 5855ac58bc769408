//! Layers in a row, and what a client sees through them.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tower::util::{BoxCloneSyncService, MapRequest, MapRequestLayer, MapResponseLayer};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_sse::wire::Decoder;
use tower_sse::{
    Event, EventIdLayer, EventName, KeepAliveLayer, NoBufferLayer, Registry, RegistryLayer,
    Shutdown, ShutdownLayer, SseLayer, SseService,
};

use crate::harness::bodies::Step::{Data, Hang, Wait};
use crate::harness::bodies::{Broken, Read, Script, Step, read};

/// Any of the layers, as one type: all of them make the same service.
#[derive(Clone, Debug)]
pub enum AnyLayer {
    KeepAlive(KeepAliveLayer),
    EventId(EventIdLayer),
    NoBuffer(NoBufferLayer),
    Registry(RegistryLayer),
    Shutdown(ShutdownLayer),
    Sse(Box<SseLayer>),
}

impl<S> Layer<S> for AnyLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> SseService<S> {
        match self {
            Self::KeepAlive(layer) => layer.layer(inner),
            Self::EventId(layer) => layer.layer(inner),
            Self::NoBuffer(layer) => layer.layer(inner),
            Self::Registry(layer) => layer.layer(inner),
            Self::Shutdown(layer) => layer.layer(inner),
            Self::Sse(layer) => layer.layer(inner),
        }
    }
}

/// A service with everything boxed, so that any layers fit on it.
pub type Boxed =
    BoxCloneSyncService<Request<()>, Response<UnsyncBoxBody<Bytes, Broken>>, Infallible>;

pub fn boxed<S, B>(service: S) -> Boxed
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error = Broken> + Send + 'static,
{
    let body = MapResponseBodyLayer::new(|body: B| body.boxed_unsync());
    Boxed::new(body.layer(service))
}

/// A service within something that drops extensions.
pub fn dropping_extensions(inner: Boxed, request: bool, response: bool) -> Boxed {
    let requests = MapRequestLayer::new(move |mut asked: Request<()>| {
        if request {
            asked.extensions_mut().clear();
        }
        asked
    });
    let responses = MapResponseLayer::new(move |mut answer: Response<_>| {
        if response {
            answer.extensions_mut().clear();
        }
        answer
    });
    boxed(requests.layer(responses.layer(inner)))
}

/// A router as a service like the others.
pub fn routed(router: axum::Router) -> Boxed {
    let router =
        MapRequest::new(router, |request: Request<()>| request.map(|()| axum::body::Body::empty()));
    boxed(router.map_response(|response: axum::response::Response| {
        response.map(|body| body.map_err(|_| Broken("axum's")).boxed_unsync())
    }))
}

/// A registry and a shutdown that are new, and the five layers that use them.
#[derive(Debug)]
pub struct Rig {
    pub registry: Registry,
    pub shutdown: Shutdown,
}

impl Rig {
    pub fn new() -> Self {
        let shutdown = Shutdown::builder().window(Duration::ZERO);
        Self { registry: Registry::new(), shutdown: shutdown.build().unwrap() }
    }

    pub fn keep_alive() -> KeepAliveLayer {
        let layer = KeepAliveLayer::every(Duration::from_secs(10)).jitter(0.0);
        layer.heartbeat(EventName::from_static("beat"), Duration::from_secs(33))
    }

    pub fn layers(&self) -> [AnyLayer; 5] {
        [
            AnyLayer::KeepAlive(Self::keep_alive()),
            AnyLayer::EventId(EventIdLayer::sequential()),
            AnyLayer::NoBuffer(NoBufferLayer::new()),
            AnyLayer::Registry(RegistryLayer::new(self.registry.clone())),
            AnyLayer::Shutdown(ShutdownLayer::new(self.shutdown.clone())),
        ]
    }

    pub fn all_in_one(&self) -> SseLayer {
        SseLayer::new()
            .keep_alive(Self::keep_alive())
            .event_ids(EventIdLayer::sequential())
            .registry(self.registry.clone())
            .shutdown(self.shutdown.clone())
    }

    /// Asks once. After 21 seconds an event is written into all streams, after 42 they are ended.
    pub async fn watch<S, B>(&self, service: S, request: Request<()>) -> Seen
    where
        S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
        B: Body<Data = Bytes, Error = Broken> + Unpin,
    {
        let Ok(response) = service.oneshot(request).await;
        let entries = self.registry.len();
        let (registry, shutdown) = (self.registry.clone(), self.shutdown.clone());
        let script = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(21)).await;
            let news = Event::new().event(EventName::from_static("news")).data("x");
            let sent = registry.broadcast(news).sent;
            tokio::time::sleep(Duration::from_secs(21)).await;
            shutdown.trigger();
            sent
        });
        let headers = response.headers().iter();
        let mut headers: Vec<_> =
            headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
        headers.sort();
        let mut body = response.into_body();
        let read = read(&mut body, Duration::from_secs(60)).await;
        script.abort();
        Seen { headers, entries, sent: script.await.unwrap_or_default(), read }
    }
}

/// What a client and the registry saw of one stream.
#[derive(Debug)]
pub struct Seen {
    pub headers: Vec<String>,
    /// In the registry, when the response had begun.
    pub entries: usize,
    /// Into how many streams the event was written.
    pub sent: usize,
    pub read: Read<Broken>,
}

impl Seen {
    /// Type, data and last event id of each event.
    pub fn events(&self) -> Vec<(String, String, String)> {
        events(&self.read.text())
    }
}

/// Type, data and last event id of each event.
pub fn events(text: &str) -> Vec<(String, String, String)> {
    let events = Decoder::new().decode(text.as_bytes()).into_iter();
    events.map(|event| (event.event, event.data, event.last_event_id)).collect()
}

/// Two events, one of them in pieces, then silence.
pub fn handler<B: 'static>() -> impl Service<
    Request<B>,
    Response = Response<Script>,
    Error = Infallible,
    Future = std::future::Ready<Result<Response<Script>, Infallible>>,
> + Clone
+ Send
+ Sync
+ 'static {
    handler_of(|| {
        vec![
            Wait(Duration::from_secs(3)),
            Data("data: a\n\n"),
            Wait(Duration::from_secs(1)),
            Data("event: b\ndat"),
            Wait(Duration::from_secs(2)),
            Data("a: b\n\n: by the handler\n\ndata: unfin"),
            Hang,
        ]
    })
}

/// A handler whose streams do these steps.
pub fn handler_of<B: 'static>(
    steps: impl Fn() -> Vec<Step> + Clone + Send + Sync + 'static,
) -> impl Service<
    Request<B>,
    Response = Response<Script>,
    Error = Infallible,
    Future = std::future::Ready<Result<Response<Script>, Infallible>>,
> + Clone
+ Send
+ Sync
+ 'static {
    service_fn(move |_: Request<B>| {
        let response = Response::builder()
            .header(CONTENT_TYPE, "text/event-stream")
            .header("cache-control", "private");
        std::future::ready(Ok(response.body(Script::new(steps())).unwrap()))
    })
}

/// The five layers, in the order of [`Rig::layers`].
pub const NAMES: [&str; 5] = ["keep alive", "event id", "no buffer", "registry", "shutdown"];

/// The layer of this name.
pub fn on(rig: &Rig, name: &str) -> AnyLayer {
    let at = NAMES.iter().position(|other| *other == name).unwrap();
    rig.layers()[at].clone()
}

/// The layer that silences it.
pub fn off(name: &str) -> AnyLayer {
    match name {
        "keep alive" => AnyLayer::KeepAlive(KeepAliveLayer::off()),
        "event id" => AnyLayer::EventId(EventIdLayer::off()),
        "no buffer" => AnyLayer::NoBuffer(NoBufferLayer::off()),
        "registry" => AnyLayer::Registry(RegistryLayer::off()),
        _ => AnyLayer::Shutdown(ShutdownLayer::off()),
    }
}

/// Asserts that no layer did anything.
#[track_caller]
pub fn assert_is_untouched(seen: &Seen, what: &str) {
    assert_eq!(
        seen.headers,
        ["cache-control: \"private\"", "content-type: \"text/event-stream\""],
        "{what}"
    );
    assert_eq!((seen.entries, seen.sent), (0, 0), "{what}");
    assert!(!seen.read.ended, "{what}");
    assert_eq!(
        seen.read.text(),
        "data: a\n\nevent: b\ndata: b\n\n: by the handler\n\ndata: unfin",
        "{what}"
    );
}
