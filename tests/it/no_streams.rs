//! Responses that are no streams come through all layers together as they are: head, frames, sizes,
//! trailers and end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{
    CloseAtEndLayer, Dialect, DialectLayer, EarlyHeadLayer, EventIdLayer, Farewell, KeepAliveLayer,
    Limit, LimitLayer, NoBufferLayer, Registry, RegistryLayer, ResumeLayer, RotationLayer,
    Shutdown, ShutdownLayer, SseLayer,
};

/// A response that is no stream.
struct Case {
    what: &'static str,
    method: Method,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    frames: &'static [&'static [u8]],
    trailers: &'static [(&'static str, &'static str)],
    /// The body is pending before each frame.
    is_slow: bool,
}

const PLAIN: Case = Case {
    what: "",
    method: Method::GET,
    status: 200,
    headers: &[],
    frames: &[],
    trailers: &[],
    is_slow: true,
};

const EVENT: &[u8] = b"data: a\n\n";
const GRPC: &[u8] = b"\0\0\0\0\x06answer";

const CASES: &[Case] = &[
    Case {
        what: "JSON",
        headers: &[("content-type", "application/json"), ("content-length", "13")],
        frames: &[b"{\"data\":", b"\"", b"\\n\"}\n"],
        ..PLAIN
    },
    Case {
        what: "HTML with a cookie and an entity tag",
        headers: &[
            ("content-type", "text/html"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
            ("etag", "\"x\""),
            ("cache-control", "max-age=60"),
        ],
        frames: &[b"<p>data: a\n\n", b"", b"</p>"],
        ..PLAIN
    },
    Case { what: "204", status: 204, headers: &[("cache-control", "no-store")], ..PLAIN },
    Case { what: "304", status: 304, headers: &[("etag", "\"x\"")], ..PLAIN },
    Case {
        what: "HEAD of a stream",
        method: Method::HEAD,
        headers: &[("content-type", "text/event-stream")],
        ..PLAIN
    },
    Case {
        what: "a part of a file of events",
        status: 206,
        headers: &[
            ("content-type", "text/event-stream"),
            ("content-range", "bytes 0-8/100"),
            ("accept-ranges", "bytes"),
            ("content-length", "9"),
        ],
        frames: &[EVENT],
        ..PLAIN
    },
    Case {
        what: "an upgrade",
        status: 101,
        headers: &[("connection", "upgrade"), ("upgrade", "websocket")],
        ..PLAIN
    },
    Case {
        what: "a compressed answer",
        headers: &[
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("vary", "accept-encoding"),
        ],
        frames: &[b"\x1f\x8b\x08\0", b"\n\n\r\r", b"\0\xff"],
        ..PLAIN
    },
    Case {
        what: "an answer with trailers",
        headers: &[("content-type", "text/plain"), ("trailer", "sum")],
        frames: &[EVENT, b"data: b"],
        trailers: &[("sum", "1"), ("sum", "2")],
        ..PLAIN
    },
    Case {
        what: "trailers alone",
        headers: &[("content-type", "text/plain")],
        trailers: &[("sum", "1")],
        ..PLAIN
    },
    Case {
        what: "an error that says event stream",
        status: 503,
        headers: &[("content-type", "text/event-stream"), ("retry-after", "7")],
        frames: &[EVENT],
        ..PLAIN
    },
    Case {
        what: "a unary call",
        method: Method::POST,
        headers: &[("content-type", "application/grpc")],
        frames: &[GRPC],
        trailers: &[("grpc-status", "0"), ("grpc-message", "fine")],
        is_slow: false,
        ..PLAIN
    },
    Case {
        what: "a unary call in pieces",
        method: Method::POST,
        headers: &[("content-type", "application/grpc+proto"), ("grpc-encoding", "identity")],
        frames: &[b"\0\0", b"\0\0\x06ans", b"wer"],
        trailers: &[("grpc-status", "0")],
        is_slow: false,
        ..PLAIN
    },
    Case {
        what: "a call that fails in its head",
        method: Method::POST,
        headers: &[
            ("content-type", "application/grpc"),
            ("grpc-status", "5"),
            ("grpc-message", "none"),
        ],
        is_slow: false,
        ..PLAIN
    },
];

/// A body that knows its size and its end.
struct Exact {
    frames: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    is_slow: bool,
    was_pending: bool,
}

impl Body for Exact {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_slow && !std::mem::replace(&mut self.was_pending, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.was_pending = false;
        let data = self.frames.pop_front().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.frames.iter().map(|frame| frame.len() as u64).sum())
    }
}

/// What a handler leaves in a response for what is further out, as hyper does for an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left(&'static str);

fn headers(of: &'static [(&'static str, &'static str)]) -> HeaderMap {
    let pairs = of
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let mut headers = HeaderMap::new();
    pairs.for_each(|(name, value)| {
        headers.append(name, value);
    });
    headers
}

fn answer(case: &Case) -> Response<Exact> {
    let frames = case.frames.iter().map(|frame| Bytes::from_static(frame)).collect();
    let trailers = (!case.trailers.is_empty()).then(|| headers(case.trailers));
    let body = Exact { frames, trailers, is_slow: case.is_slow, was_pending: false };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(case.status).unwrap();
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = headers(case.headers);
    response.extensions_mut().insert(Left(case.what));
    response
}

/// All that can be seen of a response, from one frame to the next.
#[derive(Debug, PartialEq)]
struct Trace {
    status: StatusCode,
    version: Version,
    headers: Vec<(HeaderName, HeaderValue)>,
    left: Option<Left>,
    body: Vec<Seen>,
}

#[derive(Debug, PartialEq)]
enum Seen {
    /// Whether the body says that it is over, and its size.
    Asked(bool, u64, Option<u64>),
    /// The bytes, and where they are: they are not copied.
    Data(Bytes, *const u8),
    Trailers(HeaderMap),
}

async fn trace<B>(response: Response<B>) -> Trace
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    let (mut body, mut seen) = (Box::pin(body), Vec::new());
    loop {
        let size = body.size_hint();
        seen.push(Seen::Asked(body.is_end_stream(), size.lower(), size.upper()));
        let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await else {
            break;
        };
        seen.push(match frame.unwrap().into_data() {
            Ok(data) => Seen::Data(data.clone(), data.as_ptr()),
            Err(frame) => Seen::Trailers(frame.into_trailers().unwrap()),
        });
    }
    let headers = head.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    let left = head.extensions.get().copied();
    let (status, version) = (head.status, head.version);
    Trace { status, version, headers: headers.collect(), left, body: seen }
}

/// The handles of all layers, which have to see nothing.
struct Handles {
    registry: Registry,
    opened: Arc<AtomicUsize>,
    limit: Limit,
    shutdown: Shutdown,
    resume: ResumeLayer,
}

impl Handles {
    fn new() -> Self {
        let opened = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&opened);
        let registry = Registry::builder().on_open(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        Self {
            registry: registry.build().unwrap(),
            opened,
            limit: Limit::new(1),
            shutdown: Shutdown::new(),
            resume: ResumeLayer::new(|_| Some(("stream", "ann"))),
        }
    }

    /// All layers in one, and those that are services of their own.
    async fn together(&self, case: &Case, handler: Handler) -> Trace {
        let layer = SseLayer::new()
            .keep_alive(KeepAliveLayer::every(Duration::from_secs(1)))
            .event_ids(EventIdLayer::sequential())
            .no_buffer(NoBufferLayer::new().identity())
            .registry(self.registry.clone())
            .shutdown(self.shutdown.clone())
            .limit(self.limit.clone())
            .rotation(RotationLayer::new().max_age(Duration::from_secs(60)))
            .close_at_end(CloseAtEndLayer::new(Farewell::close()))
            .dialect(Dialect::anthropic());
        ask(layer.layer(self.resume.layer(EarlyHeadLayer::new().layer(handler))), case).await
    }

    /// Each layer for itself, around and within those that are services of their own.
    async fn apart(&self, case: &Case, handler: Handler) -> Trace {
        let service = KeepAliveLayer::every(Duration::from_secs(1)).layer(handler);
        let service = EventIdLayer::sequential().layer(service);
        let service = NoBufferLayer::new().identity().layer(service);
        let service = EarlyHeadLayer::new().layer(service);
        let service = RegistryLayer::new(self.registry.clone()).layer(service);
        let service = CloseAtEndLayer::new(Farewell::close()).layer(service);
        let service = RotationLayer::new().max_age(Duration::from_secs(60)).layer(service);
        let service = self.resume.layer(service);
        let service = DialectLayer::new(Dialect::anthropic()).layer(service);
        let service = LimitLayer::new(self.limit.clone()).layer(service);
        ask(ShutdownLayer::new(self.shutdown.clone()).layer(service), case).await
    }

    fn have_seen_nothing(&self) -> bool {
        let kept = self
            .resume
            .layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(answer(&PLAIN)) }));
        let (open, refused) = (self.limit.open(), self.limit.refused());
        (self.opened.load(Ordering::Relaxed), open, refused, kept.streams()) == (0, 0, 0, 0)
    }
}

type Handler = tower::util::BoxCloneSyncService<Request<()>, Response<Exact>, Infallible>;

fn handler(case: &'static Case) -> Handler {
    Handler::new(service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(answer(case)))
    }))
}

async fn ask<S, B>(service: S, case: &Case) -> Trace
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let request = Request::builder().method(case.method.clone()).header("te", "trailers");
    let request = request.header("accept", "text/event-stream").body(()).unwrap();
    let Ok(response) = service.oneshot(request).await;
    trace(response).await
}

#[tokio::test(start_paused = true)]
async fn what_is_no_stream_comes_through_all_layers_as_it_is() {
    for case in CASES {
        let plain = trace(answer(case)).await;
        let handles = Handles::new();
        for draining in [false, true] {
            if draining {
                handles.shutdown.trigger();
            }
            assert_eq!(handles.together(case, handler(case)).await, plain, "{}", case.what);
            assert_eq!(handles.apart(case, handler(case)).await, plain, "{}", case.what);
            assert!(handles.have_seen_nothing(), "{}", case.what);
        }
    }
}
