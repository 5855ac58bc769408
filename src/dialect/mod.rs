//! What the server's own words look like on a route.

mod agents;
mod anthropic;
mod builder;
mod graphql;
mod htmx;
mod json;
mod mcp;
mod notice;
mod openai;
mod vercel;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;

pub use builder::DialectBuilder;
pub use notice::Notice;

use crate::engine::{Farewell, Signal, Words};
use crate::wire::{CloseReason, Event};

/// What the server's own words look like on a route: the keepalive, the last event of a stream
/// that ends, and the response to a request that is refused.
///
/// The clients of an API read its events and no others. So on the route of a chat completion a
/// drain has to end with the error of that API, which its SDK raises, and not with a close event.
///
/// It is for event streams. Streams of JSON and of gRPC have [forms of their
/// own](crate::SseLayer#streams).
///
/// Settings that are made explicitly win over the dialect's: the interval, the comment or the event
/// of a [`KeepAliveLayer`](crate::KeepAliveLayer), and a [`Farewell`] wherever one is set. Of
/// several dialects that of the layer nearest to the handler holds.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::{get, post}};
/// use tower_sse::{Dialect, DialectLayer, Shutdown, SseLayer};
///
/// let shutdown = Shutdown::new();
/// let app: Router = Router::new()
///     .route("/feed", get(events))
///     .route(
///         "/v1/chat/completions",
///         post(events).layer(DialectLayer::new(Dialect::openai_chat())),
///     )
///     .layer(SseLayer::new().shutdown(shutdown));
/// # async fn events() {}
/// ```
#[derive(Clone)]
pub struct Dialect(Option<Arc<Spec>>);

/// What a dialect is made of.
struct Spec {
    name: &'static str,
    interval: Duration,
    signal: Signal,
    opening: Opening,
    give_up_after: Option<Duration>,
    farewell: Option<Box<FarewellOf>>,
    refusal: Option<Box<RefusalOf>>,
}

type FarewellOf = dyn Fn(&Notice) -> Farewell + Send + Sync;
type RefusalOf = dyn Fn(&Notice) -> Response<Bytes> + Send + Sync;

/// What a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Comment,
    Nothing,
}

impl Spec {
    const EVENT_SOURCE: Self = Self {
        name: "event_source",
        interval: INTERVAL,
        signal: Signal::COMMENT,
        opening: Opening::Comment,
        give_up_after: None,
        farewell: None,
        refusal: None,
    };
}

static EVENT_SOURCE: Spec = Spec::EVENT_SOURCE;

impl Dialect {
    /// The dialect of an `EventSource` and of clients that are like it. The default.
    #[must_use]
    pub const fn event_source() -> Self {
        Self(None)
    }

    /// A dialect of the application's own.
    pub fn builder() -> DialectBuilder {
        DialectBuilder::named("custom")
    }

    fn of(spec: Spec) -> Self {
        Self(Some(Arc::new(spec)))
    }

    fn spec(&self) -> &Spec {
        self.0.as_deref().unwrap_or(&EVENT_SOURCE)
    }

    /// The last words of a stream, or of a refusal that is a stream.
    #[must_use]
    pub fn farewell(&self, notice: &Notice) -> Farewell {
        match (&self.spec().farewell, notice.reason) {
            (Some(farewell), _) => farewell(notice),
            (None, CloseReason::Draining) => {
                Farewell::event(Event::new().named("draining").static_data("{}"))
            }
            (None, CloseReason::Limit) => Farewell::event(notice.reason.event("limit")),
            (None, reason) => Farewell::close().for_reason(reason),
        }
    }

    /// The response to a request whose stream is refused. `None` if a request that an `EventSource`
    /// may have made gets the [`farewell`](Self::farewell) as a stream, and others a status
    /// without a body.
    #[must_use]
    pub fn refusal(&self, notice: &Notice) -> Option<Response<Bytes>> {
        self.spec().refusal.as_ref().map(|refusal| refusal(notice))
    }

    /// What the last words of streams are, for their engines. None if they are close events.
    pub(crate) fn words(&self) -> Option<Words> {
        let spec = Arc::clone(self.0.as_ref().filter(|spec| spec.farewell.is_some())?);
        Some(Words::new(move |reason, retry| match &spec.farewell {
            Some(farewell) => farewell(&Notice { retry, ..Notice::new(reason) }),
            None => Farewell::close(),
        }))
    }

    pub(crate) fn name(&self) -> &'static str {
        self.spec().name
    }

    pub(crate) fn interval(&self) -> Duration {
        self.spec().interval
    }

    pub(crate) fn signal(&self) -> &Signal {
        &self.spec().signal
    }

    pub(crate) fn opening(&self) -> Opening {
        self.spec().opening
    }

    pub(crate) fn give_up_after(&self) -> Option<Duration> {
        self.spec().give_up_after
    }
}

impl Default for Dialect {
    fn default() -> Self {
        Self::event_source()
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialect").field(self.spec()).finish()
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Half of the shortest idle limit that common proxies have.
const INTERVAL: Duration = Duration::from_secs(15);
