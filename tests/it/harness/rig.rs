//! A handler whose streams a test feeds, and the client that reads what comes out of the layers.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout_at};
use tower::Service;
use tower_sse::Shutdown;

use crate::harness::SECOND;

/// Answers each request with an event stream, whose [`Feed`] is in the response's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Handler;

/// The same with a body of this content type.
#[derive(Clone, Copy, Debug)]
pub struct HandlerOf(pub &'static str);

/// The body that the handler makes.
#[derive(Debug)]
pub struct Inner {
    pieces: mpsc::UnboundedReceiver<Piece>,
    polled: Arc<AtomicBool>,
}

/// What the handler's body does next.
#[derive(Debug)]
pub enum Piece {
    Data(Bytes),
    Fail,
    Trailers,
    Panic,
}

/// The hand that feeds a handler's body; the body ends when it is dropped.
#[derive(Clone, Debug)]
pub struct Feed {
    pieces: mpsc::UnboundedSender<Piece>,
    polled: Arc<AtomicBool>,
}

/// How a handler's body fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure;

/// A client that reads one stream.
pub struct Client(Pin<Box<dyn Body<Data = Bytes, Error = Failure> + Send>>);

impl Service<Request<()>> for Handler {
    type Response = Response<Inner>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Inner>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        HandlerOf("text/event-stream").call(request)
    }
}

impl Service<Request<()>> for HandlerOf {
    type Response = Response<Inner>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Inner>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let (pieces, receiver) = mpsc::unbounded_channel();
        let polled = Arc::new(AtomicBool::new(false));
        let inner = Inner { pieces: receiver, polled: Arc::clone(&polled) };
        let response =
            Response::builder().header("content-type", self.0).extension(Feed { pieces, polled });
        ready(Ok(response.body(inner).unwrap()))
    }
}

impl Body for Inner {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.polled.store(true, Ordering::Relaxed);
        self.pieces.poll_recv(cx).map(|piece| {
            Some(match piece? {
                Piece::Data(data) => Ok(Frame::data(data)),
                Piece::Fail => Err(Failure),
                Piece::Trailers => Ok(Frame::trailers(HeaderMap::new())),
                Piece::Panic => panic!("the handler's body panics, as the test wants"),
            })
        })
    }
}

impl Feed {
    pub fn data(&self, data: impl Into<Bytes>) {
        self.give(Piece::Data(data.into()));
    }

    /// It does no harm if nobody takes it any more.
    pub fn give(&self, piece: Piece) {
        let _ = self.pieces.send(piece);
    }

    pub fn was_polled(&self) -> bool {
        self.polled.load(Ordering::Relaxed)
    }

    /// Whether the handler's body was dropped.
    pub fn is_gone(&self) -> bool {
        self.pieces.is_closed()
    }
}

/// A shutdown that ends all streams at once and has clients wait a second.
pub fn at_once() -> Shutdown {
    Shutdown::builder().window(Duration::ZERO).retry(SECOND..=SECOND).build().unwrap()
}

/// A GET of `/events` as an `EventSource` makes it.
pub fn get() -> Request<()> {
    let request = Request::get("/events?token=secret").header("accept", "text/event-stream");
    request.body(()).unwrap()
}

/// The answer to `request`.
pub fn call<S, B>(service: &mut S, request: Request<()>) -> Response<B>
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let answer = service.call(request).now_or_never();
    answer.expect("the handler answers at once").unwrap()
}

/// A stream that answers a [`get`], from both ends.
pub fn open<S, B>(service: &mut S) -> (Feed, Client)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error = Failure> + Send + 'static,
{
    open_with(service, get())
}

/// A stream that answers `request`, from both ends.
pub fn open_with<S, B>(service: &mut S, request: Request<()>) -> (Feed, Client)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error = Failure> + Send + 'static,
{
    let mut response = call(service, request);
    let feed = response.extensions_mut().remove::<Feed>().unwrap();
    (feed, Client::of(response))
}

impl Client {
    pub fn of<B>(response: Response<B>) -> Self
    where
        B: Body<Data = Bytes, Error = Failure> + Send + 'static,
    {
        Self(Box::pin(response.into_body()))
    }

    pub fn body(&mut self) -> Pin<&mut (dyn Body<Data = Bytes, Error = Failure> + Send)> {
        self.0.as_mut()
    }

    /// The next bytes, whenever they come; none at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        poll_fn(|cx| self.0.as_mut().poll_frame(cx))
            .await
            .map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    /// What can be had without waiting, and whether that was all there will ever be.
    pub async fn now(&mut self) -> (String, Fate) {
        let (bytes, fate) = self.bytes_now().await;
        (String::from_utf8_lossy(&bytes).into_owned(), fate)
    }

    /// The same as bytes: they may end within a character.
    pub async fn bytes_now(&mut self) -> (Vec<u8>, Fate) {
        let mut bytes = Vec::new();
        // Constrained, a test that never waits would be told to wait after a while.
        let fate = unconstrained(poll_fn(|cx| {
            Poll::Ready(loop {
                match self.0.as_mut().poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => bytes.extend(frame.into_data().unwrap()),
                    Poll::Ready(Some(Err(Failure))) => break Fate::Failed,
                    Poll::Ready(None) => break Fate::Ended,
                    Poll::Pending => break Fate::Open,
                }
            })
        }))
        .await;
        (bytes, fate)
    }

    /// What comes within `span`, and when, up to the end.
    pub async fn during(&mut self, span: Duration) -> Vec<(Duration, String)> {
        let began = Instant::now();
        let mut frames = Vec::new();
        while let Ok(Some(Ok(frame))) = timeout_at(began + span, self.next()).await {
            let text = String::from_utf8_lossy(&frame).into_owned();
            frames.push((began.elapsed(), text));
        }
        tokio::time::sleep_until(began + span).await;
        frames
    }

    /// All that comes up to the end, whenever it comes.
    pub async fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = self.next().await {
            bytes.extend(frame);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What is to be expected of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Open,
    Ended,
    Failed,
}

/// How far `values` are from being spread evenly from zero to one, times the root of their count:
/// the statistic of Kolmogorov and Smirnov. Above 1.628 chance is to blame in one of 100 cases.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub fn unevenness(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let distances = values.iter().enumerate().map(|(i, value)| {
        let (below, above) = (i as f64 / count, (i + 1) as f64 / count);
        (value - below).abs().max((above - value).abs())
    });
    distances.fold(0.0, f64::max) * count.sqrt()
}

/// See [`unevenness`].
pub const LIKELY: f64 = 1.628;
