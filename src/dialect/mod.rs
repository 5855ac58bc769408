//! The form of what the server itself says on a route.

mod agents;
mod anthropic;
mod builder;
mod graphql;
mod htmx;
mod json_rpc;
mod mcp;
mod notice;
mod openai;
mod per_request;
mod spec;
mod vercel;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};

pub use builder::DialectBuilder;
pub use json_rpc::JsonRpcId;
pub use notice::Notice;
pub(crate) use spec::Opening;

use crate::engine::Farewell;
use crate::wire::{CloseReason, Event};
use spec::{EVENT_SOURCE, Spec};

/// The form of what the server itself says on a route: the keepalive, the last event of a stream
/// that ends, and the response to a request that is refused.
///
/// The clients of an API read its events and no others. So on the route of a chat completion a
/// drain has to end with the error of that API, which its SDK raises, and not with a close event.
///
/// | dialect | silence | last words, on an error too | refusal |
/// | --- | --- | --- | --- |
/// | [`event_source`](Self::event_source) | a comment, 15 s | `event: close`; an error passes as it is | `event: limit` or `draining`, or a status |
/// | [`openai_chat`](Self::openai_chat) | a comment, 10 s | `event: error`, `{"error":{..}}` | the same as JSON |
/// | [`openai_chat_unnamed`](Self::openai_chat_unnamed) | a comment, 10 s | `{"error":{..}}` | the same as JSON |
/// | [`openai_responses`](Self::openai_responses) | a comment, 10 s | `event: error`, `{"type":"error","error":{..},..}` | `{"error":{..}}` |
/// | [`anthropic`](Self::anthropic) | `event: ping`, 10 s, given up after 600 s | `event: error`, `{"type":"error","error":{..}}` | the same as JSON |
/// | [`mcp_2025_11`](Self::mcp_2025_11) | a comment, 15 s | a `retry` and an id; an error of JSON-RPC on an error | an error of JSON-RPC |
/// | [`mcp_2026_07`](Self::mcp_2026_07) | a comment, 15 s | an error of JSON-RPC | the same |
/// | [`ag_ui`](Self::ag_ui) | a comment, 15 s | `{"type":"RUN_ERROR",..}` | the same as JSON |
/// | [`a2a`](Self::a2a) | a comment, 15 s | `event: error`, an error of JSON-RPC | the same |
/// | [`vercel_ui_message`](Self::vercel_ui_message) | a comment, 15 s | `{"type":"error","errorText":..}`, `[DONE]` | plain text |
/// | [`graphql_sse`](Self::graphql_sse) | a comment, 12 s | `event: next` with errors, `event: complete` | the errors as JSON |
/// | [`htmx`](Self::htmx) | a comment, 15 s | a fragment that removes the element, `event: close` | as `event_source` |
///
/// Each of them begins a stream with a comment, so that no proxy holds its head back. At the end of
/// a stream's own body nothing is said by default, and the words of these APIs for that are the
/// application's: [`CloseAtEndLayer`](crate::CloseAtEndLayer) has a dialect speak then, too.
///
/// It is for event streams. Streams of JSON and of gRPC have [forms of their
/// own](crate::SseLayer#streams).
///
/// An answer that a `ResumeLayer` keeps ends in the dialect of the request that began it, also when
/// it is stopped.
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

impl Dialect {
    /// The dialect of an [`EventSource`][spec], and of clients that are like it. The default.
    ///
    /// Silence is broken by a comment after 15 seconds, half of the shortest limit that common
    /// proxies have. A stream that the server ends gets [`Farewell::close`], with a `retry` and
    /// with the client's position as its id:
    ///
    /// ```text
    /// event: close
    /// retry: 700
    /// data: {"reason":"shutdown"}
    /// id: 41
    /// ```
    ///
    /// A failure of the body is passed on, which cuts the connection: an `EventSource` comes back
    /// then. A refused request that an `EventSource` may have made gets 200 and one event, `limit`
    /// or `draining`, since it never comes back after another status. Others get a status without a
    /// body, with `Retry-After`.
    ///
    /// [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html
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
            (Some(farewell), _) => farewell(&self.respond(notice)),
            (None, CloseReason::Draining) => {
                Farewell::event(Event::new().named("draining").static_data("{}"))
            }
            (None, CloseReason::Limit) => Farewell::event(notice.reason.event("limit")),
            // Of an answer that came too late to be the response.
            (None, CloseReason::Error) if notice.status != StatusCode::INTERNAL_SERVER_ERROR => {
                let (reason, status) = (notice.reason, notice.status.as_u16());
                let json = format!(r#"{{"reason":"{reason}","status":{status}}}"#);
                Farewell::event(Event::new().named("close").data(json))
            }
            (None, reason) => Farewell::close().for_reason(reason),
        }
    }

    /// The response to a request whose stream is refused. `None` if a request that an `EventSource`
    /// may have made gets the [`farewell`](Self::farewell) as a stream, and others a status
    /// without a body.
    #[must_use]
    pub fn refusal(&self, notice: &Notice) -> Option<Response<Bytes>> {
        self.spec().refusal.as_ref().map(|refusal| refusal(&self.respond(notice)))
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
