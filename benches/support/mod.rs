//! Bodies to measure: bare, with the crate's layers, and axum's own.

// Each bench uses its part of this.
#![allow(dead_code, unreachable_pub)]

#[path = "../../tests/it/harness/figures.rs"]
pub mod figures;
pub mod requests;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::{Body, Frame};
use tower::{Layer, Service};
use tower_sse::{
    EventIdLayer, KeepAliveLayer, NoBufferLayer, Registry, RegistryLayer, RotationLayer, Shutdown,
    ShutdownLayer, SseBody, SseLayer, SseService,
};

pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How a source gives its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Always ready.
    Burst,
    /// Nothing after each frame, as a live stream is polled.
    Live,
    /// Never anything.
    Idle,
    /// Nothing after the first frame.
    Once,
}

/// An endless body of the same frames.
#[derive(Clone, Debug)]
pub struct Source {
    frames: Vec<Bytes>,
    next: usize,
    pace: Pace,
    rest: bool,
}

impl Source {
    pub fn new(frames: Vec<Bytes>, pace: Pace) -> Self {
        Self { frames, next: 0, pace, rest: false }
    }

    /// Frames of `events` events, each of `size` bytes.
    pub fn of(size: usize, events: usize, pace: Pace) -> Self {
        Self::framed(Framing::Events, size, events, pace)
    }

    /// The same, in another framing.
    pub fn framed(framing: Framing, size: usize, events: usize, pace: Pace) -> Self {
        let frame = framing.event(size).repeat(events);
        // A static frame costs nothing to give, so that what is measured is the layers' part.
        Self::new(vec![Bytes::from_static(frame.leak())], pace)
    }

    /// One event of `size` bytes in so many frames.
    pub fn split(size: usize, frames: usize, pace: Pace) -> Self {
        let event: &'static [u8] = event(size).leak();
        let pieces = event.chunks(size.div_ceil(frames));
        Self::new(pieces.map(Bytes::from_static).collect(), pace)
    }
}

/// How the events of a source are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Events,
    Lines,
    Messages,
    Web,
    WebText,
    Connect,
}

impl Framing {
    pub const OTHERS: [(Self, &str); 2] = [(Self::Lines, "ndjson"), (Self::Messages, "grpc")];

    fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
            Self::Messages => "application/grpc",
            Self::Web => "application/grpc-web",
            Self::WebText => "application/grpc-web-text",
            Self::Connect => "application/connect+proto",
        }
    }

    /// One event of `size` bytes.
    fn event(self, size: usize) -> Vec<u8> {
        match self {
            Self::Events => event(size),
            Self::Lines => [b"\"", &vec![b'x'; size - 3][..], b"\"\n"].concat(),
            Self::Messages | Self::Web | Self::WebText | Self::Connect => {
                let len = u32::try_from(size - 5).expect("it is short").to_be_bytes();
                [&[0][..], &len[..], &vec![b'x'; size - 5][..]].concat()
            }
        }
    }
}

/// `data: xx..x` and a blank line, of `size` bytes in all.
pub fn event(size: usize) -> Vec<u8> {
    let text = size - "data: \n\n".len();
    ["data: ".as_bytes(), &vec![b'x'; text], b"\n\n"].concat()
}

impl Body for Source {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let rests = match this.pace {
            Pace::Burst => false,
            Pace::Live => {
                this.rest = !this.rest;
                !this.rest
            }
            Pace::Idle => true,
            Pace::Once => std::mem::replace(&mut this.rest, true),
        };
        if rests {
            return Poll::Pending;
        }
        let frame = this.frames[this.next].clone();
        this.next = (this.next + 1) % this.frames.len();
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }
}

/// What every middleware costs that does nothing.
#[derive(Debug)]
pub struct PassThrough<B>(pub B);

impl<B: Body + Unpin> Body for PassThrough<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// The stacks of layers that are measured.
pub const STACKS: [&str; 9] = [
    "no_buffer",
    "keep_alive",
    "shutdown",
    "keep_alive+shutdown",
    "keep_alive+rotation",
    "registry",
    "event_ids",
    "all five, one value",
    "all but ids",
];

/// A layer and the handles that it must not outlive.
pub struct Stack {
    pub registry: Registry,
    pub shutdown: Shutdown,
    service: SseService<Echo>,
}

/// The framing that a name ends with, and the name without it.
pub fn framing_of(name: &str) -> (Framing, &str) {
    let framed = |(framing, word): &(Framing, &str)| {
        Some((*framing, name.strip_suffix(word)?.strip_suffix(", ")?))
    };
    Framing::OTHERS.iter().find_map(framed).unwrap_or((Framing::Events, name))
}

impl Stack {
    pub fn named(name: &str) -> Self {
        let (framing, name) = framing_of(name);
        let registry = Registry::new();
        let shutdown = match name {
            "at once" => Shutdown::builder().window(Duration::ZERO).build().expect("valid"),
            _ => Shutdown::new(),
        };
        let bare = SseLayer::off();
        let keep_alive = KeepAliveLayer::every(KEEP_ALIVE);
        let ids = EventIdLayer::sequential();
        let rotation = RotationLayer::new().max_age(Duration::from_secs(600));
        let (on_list, closing) =
            (RegistryLayer::new(registry.clone()), ShutdownLayer::new(shutdown.clone()));
        let layer = match name {
            "no_buffer" => bare.no_buffer(NoBufferLayer::new()),
            "keep_alive" => bare.keep_alive(keep_alive),
            "shutdown" => bare.shutdown(closing),
            "keep_alive+shutdown" => bare.keep_alive(keep_alive).shutdown(closing),
            "keep_alive+rotation" => bare.keep_alive(keep_alive).rotation(rotation),
            "registry" => bare.registry(on_list),
            "event_ids" => bare.event_ids(ids),
            "all but ids" | "at once" => SseLayer::new().registry(on_list).shutdown(closing),
            _ => SseLayer::new().event_ids(ids).registry(on_list).shutdown(closing),
        };
        Self { registry, shutdown, service: layer.layer(Echo(framing)) }
    }

    /// A stack with this layer, for streams that `shutdown` ends.
    pub fn of(layer: ShutdownLayer, shutdown: Shutdown) -> Self {
        let service = SseLayer::off().shutdown(layer).layer(Echo(Framing::Events));
        Self { registry: Registry::new(), shutdown, service }
    }

    /// A stack with the default layers, for bodies in this framing.
    pub fn framed(framing: Framing) -> Self {
        let (registry, shutdown) = (Registry::new(), Shutdown::new());
        let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
        Self { registry, shutdown, service: layer.layer(Echo(framing)) }
    }

    /// The body of a response that went through the layers.
    pub fn body<B>(&self, inner: B) -> SseBody<B>
    where
        B: Body<Data = Bytes>,
    {
        let response = self.service.clone().call(Request::new(inner));
        response.now_or_never().expect("ready at once").expect("infallible").into_body()
    }
}

/// A handler whose answer is the request's body, as a stream.
#[derive(Clone, Debug)]
struct Echo(Framing);

impl<B> Service<Request<B>> for Echo {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        std::future::ready(Ok(as_stream(self.0, Response::new(request.into_body()))))
    }
}

fn as_stream<B>(framing: Framing, mut response: Response<B>) -> Response<B> {
    let content_type = http::HeaderValue::from_static(framing.content_type());
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    response
}

/// axum's own event stream of the same events.
pub fn axum_sse(size: usize, keep_alive: bool) -> axum::body::Body {
    let text: &'static str = "x".repeat(size - "data: \n\n".len()).leak();
    let event = move || Ok::<_, Infallible>(Event::default().data(text));
    axum_sse_of(futures_util::stream::repeat_with(event), keep_alive)
}

/// axum's own event stream, with its keepalive if asked for.
pub fn axum_sse_of<S>(events: S, keep_alive: bool) -> axum::body::Body
where
    S: futures_util::Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let sse = Sse::new(events);
    let response = match keep_alive {
        true => sse.keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response(),
        false => sse.into_response(),
    };
    response.into_body()
}

/// Any body, behind a call that the compiler does not see through: as servers and routers have
/// them.
pub type Boxed = Pin<Box<dyn Body<Data = Bytes, Error = axum::Error> + Send>>;

/// Boxes a body as routers do.
pub fn boxed<B>(body: B) -> Boxed
where
    B: Body<Data = Bytes, Error = axum::Error> + Send + 'static,
{
    Box::pin(body)
}

/// Polls once, and gives the length of the frame if there was one.
pub fn poll(body: &mut Boxed) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    match body.as_mut().poll_frame(&mut cx) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().map_or(0, |data| data.len()),
        _ => 0,
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
