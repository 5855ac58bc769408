//! Resumable streams, and clients that come back to them.

use std::convert::Infallible;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, request};
use http_body::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::ResumeLayer;
use tower_sse::resume::{ResumeKey, ResumeService};
use tower_sse::wire::Decoder;

use crate::harness::LONG;
use crate::harness::bodies::{Read, Script, Step, read};
use crate::harness::chunked::Chunked;

/// What the handler did.
#[derive(Clone, Debug, Default)]
pub struct Handled {
    calls: Arc<AtomicUsize>,
    dropped: Arc<std::sync::Mutex<Option<Arc<AtomicBool>>>>,
}

impl Handled {
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Whether the last body is dropped.
    pub fn dropped(&self) -> bool {
        self.dropped.lock().unwrap().as_ref().unwrap().load(Ordering::SeqCst)
    }
}

/// A handler whose streams do these steps.
pub fn handler(
    handled: &Handled,
    steps: impl Fn() -> Vec<Step> + Clone + Send + Sync + 'static,
) -> impl Service<
    Request<()>,
    Response = Response<Script>,
    Error = Infallible,
    Future = std::future::Ready<Result<Response<Script>, Infallible>>,
> + Clone
+ Send
+ Sync
+ 'static {
    let handled = handled.clone();
    service_fn(move |_: Request<()>| {
        handled.calls.fetch_add(1, Ordering::SeqCst);
        let body = Script::new(steps());
        *handled.dropped.lock().unwrap() = Some(body.drop_flag());
        let response = Response::builder()
            .header(CONTENT_TYPE, "text/event-stream; charset=utf-8")
            .header("x-handler", "its own");
        std::future::ready(Ok(response.body(body).unwrap()))
    })
}

/// Streams by path, principals by the header `x-user`.
pub fn layer() -> ResumeLayer {
    ResumeLayer::new(key)
}

pub fn key(request: &request::Parts) -> Option<ResumeKey> {
    let user = request.headers.get("x-user").map_or("", |user| user.to_str().unwrap());
    (user != "nobody").then(|| ResumeKey::new(request.uri.path(), user))
}

pub fn request(id: Option<&str>) -> Request<()> {
    request_of("ann", id)
}

pub fn request_of(user: &str, id: Option<&str>) -> Request<()> {
    let request = Request::post("/answer").header("x-user", user);
    let request = match id {
        Some(id) => request.header("last-event-id", id),
        None => request,
    };
    request.body(()).unwrap()
}

pub async fn ask<S, B>(service: &S, request: Request<()>) -> Response<B>
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone,
{
    let Ok(response) = service.clone().oneshot(request).await;
    response
}

/// What comes of a request within so long.
pub async fn seen<S, B>(service: &S, request: Request<()>, limit: Duration) -> Seen
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Debug,
{
    let response = ask(service, request).await;
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let mut headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    let Read { chunks, ended, error, .. } = read(&mut response.into_body(), limit).await;
    assert!(error.is_none(), "{error:?}");
    let text: String = chunks.iter().map(|(_, text)| text.as_str()).collect();
    Seen { status, headers, text, ended }
}

/// What a client was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub status: u16,
    pub headers: Vec<String>,
    pub text: String,
    pub ended: bool,
}

impl Seen {
    pub fn data(&self) -> Vec<String> {
        events(&self.text).into_iter().map(|(data, _)| data).collect()
    }

    /// The id of the n-th event.
    pub fn id(&self, n: usize) -> String {
        events(&self.text)[n].1.clone()
    }

    pub fn last_id(&self) -> String {
        events(&self.text).pop().expect("some event").1
    }

    /// The same with another name for the stream in its ids.
    pub fn anonymous(&self) -> Self {
        let mut text = self.text.clone();
        for (n, (_, id)) in events(&self.text).iter().enumerate() {
            text = text.replace(id.as_str(), &n.to_string());
        }
        Self { text, ..self.clone() }
    }
}

/// Data and id of each event.
pub fn events(text: &str) -> Vec<(String, String)> {
    let events = Decoder::new().decode(text.as_bytes()).into_iter();
    events.map(|event| (event.data, event.last_event_id)).collect()
}

/// What came over a socket of a POST with the body `prompt`, until that is so many bytes or the
/// answer is whole. Then the connection is cut.
pub async fn post(to: SocketAddr, path: &str, user: &str, last: &str, enough: usize) -> Got {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-user: {user}\r\nlast-event-id: {last}\r\n\
         content-length: 6\r\n\r\nprompt"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let over =
        |bytes: &[u8]| bytes.ends_with(b"\r\n0\r\n\r\n") || bytes.starts_with(b"HTTP/1.1 204");
    while bytes.len() < enough && !over(&bytes) {
        let mut chunk = [0; 97];
        let len = timeout(LONG, stream.read(&mut chunk)).await.expect("more comes").unwrap();
        assert_ne!(len, 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&chunk[..len]);
    }
    let status = std::str::from_utf8(&bytes[9..12]).unwrap().parse().unwrap();
    Got { status, text: unchunked(&bytes) }
}

/// What was read over a socket.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub text: String,
}

/// What came of a chunked body, the last chunk and the last character perhaps in part.
pub fn unchunked(response: &[u8]) -> String {
    let head = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    String::from_utf8_lossy(&Chunked::of(&response[head + 4..]).bytes()).into_owned()
}

pub fn service(
    layer: ResumeLayer,
    handled: &Handled,
    steps: impl Fn() -> Vec<Step> + Clone + Send + Sync + 'static,
) -> ResumeService<Handler> {
    layer.layer(Handler::new(handler(handled, steps)))
}

pub type Handler = BoxCloneSyncService<Request<()>, Response<Script>, Infallible>;
