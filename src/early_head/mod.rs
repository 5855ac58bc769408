//! A head that does not wait for the handler.
//!
//! [`EarlyHeadLayer`] is a layer around the future of a response, and not around its body: while a
//! handler thinks there is no body. It has a service, a future and a body of its own. The other
//! layers see its response as that of any handler.
//!
//! ```text
//!  call ──▶ waiting for the answer ── in time ─────────────────▶ the answer as it is
//!                  │
//!                  ├── after the delay: 200 goes out ──┐
//!                  │                                   ▼
//!                  │                        waiting in the body ── a stream ──▶ its body
//!                  │                                   │
//!                  │                                   ├── JSON ──▶ read ──▶ told in an event
//!                  │                                   ├── another answer, an error ──▶ told
//!                  └── give up: 504                    └── give up ──▶ told
//! ```

mod body;
mod late;
mod service;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tower_layer::Layer;

pub use body::EarlyHeadBody;
pub use service::{EarlyHead, EarlyHeadFuture};

use crate::dialect::Dialect;
use crate::engine::MAX_TIMER;
use crate::plan::RequestFn;
use service::EarlyHeadSettings;
use wait::WaitLimits;

/// Layer that sends the head of an event stream while the handler still thinks.
///
/// Nothing can be written to a client before its handler has answered. A handler that asks a
/// language model may take minutes for that, and clients, proxies and load balancers give up after
/// 30 or 60 seconds without a byte. With this layer a request that is still waited for after a
/// [delay](Self::after) gets 200 and the head of an event stream. From then on its stream is open
/// for the layers around this one: keepalives flow, it is listed, it counts, and a drain ends it.
/// When the handler answers with an event stream, its body follows.
///
/// # What it costs
///
/// The head is sent, so what the handler answers later cannot change it:
///
/// - Its **status** and its **headers** are lost, and its extensions: an [`Expiry`](crate::Expiry)
///   has to be in the request.
/// - An error of the service, a status of 400 or more, and what is no event stream that can be
///   read (another content type, a content encoding) are told in the stream, in the words of the
///   [`Dialect`](crate::Dialect), with the status and a `Retry-After` in whole seconds. They are
///   502, Bad Gateway, where the status says that all is well. The stream ends with
///   [`EndReason::Error`](crate::EndReason::Error).
/// - JSON of up to 64 KiB that comes with such a status is given to the dialect, which passes on an
///   error of its own API as it is. JSON that comes with a status below 300 is sent as the data of
///   one event, and the stream ends. That is how a server of MCP may answer.
/// - 204 ends the stream as one that has nothing more to say.
///
/// **Do not use it where something in front of the server acts on the status**: a gateway or a load
/// balancer that tries the next upstream after a 503 or 429 sees 200, and what fails late is not
/// tried again. The delay keeps this rare: what fails at once, such as a wrong key or a limit,
/// fails within it and keeps its status.
///
/// # Where it stands
///
/// Nearest to the handler: the layers of this crate, and middleware that adds headers such as CORS,
/// have to be further out, or they see the response too late or not at all. Layers of this crate
/// further in do, after an early head, what no layer further out does: nothing is registered,
/// counted or numbered twice. A setting that layers on both sides have is that of the outer one
/// then, since it was carried out already.
///
/// A client that leaves cancels the handler, whether or not the head is sent. If a `ResumeLayer`
/// around keeps the answer, it cancels the handler before the head only. A panic of the handler
/// after the head is that of a body.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::post};
/// use http::Method;
/// use tower_sse::{Dialect, EarlyHeadLayer, SseLayer};
///
/// let early = EarlyHeadLayer::after(Duration::from_secs(5))
///     .for_requests(|request| request.method == Method::POST);
/// let app: Router = Router::new()
///     .route("/v1/chat/completions", post(complete))
///     .layer(early)
///     .layer(SseLayer::new().dialect(Dialect::openai_chat()));
/// # async fn complete() {}
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct EarlyHeadLayer {
    settings: Arc<EarlyHeadSettings>,
}

impl EarlyHeadLayer {
    /// Sends the head after two seconds.
    ///
    /// What fails with a status mostly does so within them, and no client or proxy that is known
    /// gives up so early: the shortest limit for a first byte that was reported is five seconds.
    pub fn new() -> Self {
        Self::after(DELAY)
    }

    /// Sends the head when the handler has not answered for `delay`. Zero sends it at once if the
    /// handler has no answer at its first poll.
    ///
    /// An answer that comes at the same moment as the end of the delay is in time.
    pub fn after(delay: Duration) -> Self {
        let limits = WaitLimits { delay: delay.min(MAX_TIMER), give_up_after: GIVE_UP_AFTER };
        let settings = EarlyHeadSettings { limits, dialect: None, requests: None };
        Self { settings: Arc::new(settings) }
    }

    /// Sets for which requests the head may be sent early; by default for those with
    /// `text/event-stream` in `Accept`, whatever their method.
    ///
    /// Clients of language models mostly ask for `application/json` and say in the body of a `POST`
    /// that they want a stream. There the route tells, or a layer further out that has read the
    /// body and put what it says into the request's extensions. A client that wants no stream
    /// cannot read one.
    ///
    /// For `HEAD`, `CONNECT` and calls of gRPC the head is never sent early, whatever the function
    /// says. Routes with streams of JSON should not be named either: their clients cannot read
    /// events.
    ///
    /// The function is called for every other request. If it panics, the request is not named.
    pub fn for_requests<F>(self, predicate: F) -> Self
    where
        F: Fn(&Parts) -> bool + Send + Sync + 'static,
    {
        self.change(|settings| settings.requests = Some(RequestFn::new(predicate)))
    }

    /// Sets how long the handler may take for the head of its answer in all; by default ten
    /// minutes, after which the SDKs of OpenAI and Anthropic have given up themselves. Zero is for
    /// ever.
    ///
    /// Then the future of the handler is dropped. The client is told 504, Gateway Timeout: in the
    /// stream if the head was sent, else as the status of the response. With a delay that is longer
    /// no head is sent early, and only the wait is bounded.
    ///
    /// The bound is also for the JSON of a late answer. A body that is a stream is not bounded:
    /// that is for [`KeepAliveLayer::give_up_after`](crate::KeepAliveLayer::give_up_after).
    pub fn give_up_after(self, limit: Duration) -> Self {
        let limit = if limit.is_zero() { MAX_TIMER } else { limit.min(MAX_TIMER) };
        self.change(|settings| settings.limits.give_up_after = limit)
    }

    /// Sets the dialect in which late answers are told; by default that of the layers around this
    /// one.
    pub fn dialect(self, dialect: Dialect) -> Self {
        self.change(|settings| settings.dialect = Some(dialect))
    }

    fn change(mut self, change: impl FnOnce(&mut EarlyHeadSettings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl Default for EarlyHeadLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for EarlyHeadLayer {
    type Service = EarlyHead<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EarlyHead::new(inner, Arc::clone(&self.settings))
    }
}

const DELAY: Duration = Duration::from_secs(2);
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);
