//! [`SseLayer`]: all layers in one.

use tower_layer::Layer;

use super::{
    CloseAtEndLayer, DialectLayer, EventIdLayer, KeepAliveLayer, LayerSetting, LimitLayer,
    NoBufferLayer, RegistryLayer, RotationLayer, ShutdownLayer,
};
use crate::plan::{Plan, Setting};
use crate::service::SseService;

/// All layers in one value.
///
/// [Keepalive](KeepAliveLayer) every 15 seconds and [no buffering](NoBufferLayer) are on by
/// default, and the rest is off. It does what the single layers do, stacked in any order, and costs
/// responses that are not streams less.
///
/// # Streams
///
/// A response is looked after if its `Content-Type` is in this table, whatever its method and its
/// path. Registries, limits, rotation, expiry, drains, reports and metrics are the same for all;
/// what is written is not:
///
/// - *events*: `text/event-stream`
/// - *lines*: `application/x-ndjson`, `ndjson`, `jsonl`, `x-jsonl`, `jsonlines`, `x-jsonlines` and
///   `stream+json`
/// - *records*: `application/json-seq`, which has what lines have, each after a record separator
/// - *calls*: of gRPC (`application/grpc`), gRPC-Web (`application/grpc-web`, `grpc-web-text` and
///   `grpc-web-text-base64`), each also with `+proto` or another format, and streams of Connect
///   (`application/connect+proto`, `connect+json` or another format)
///
/// | | events | lines, records | calls |
/// | --- | --- | --- | --- |
/// | passes whole | an event | a line, or a record of several | a message, compressed or not |
/// | at the beginning | a comment | nothing | nothing |
/// | in silence | a comment | nothing, or [a line](KeepAliveLayer::json_line) | nothing |
/// | [heartbeat](KeepAliveLayer::heartbeat) | an event | nothing | nothing |
/// | [event ids](EventIdLayer) | a line in the event | none | none |
/// | [`Event`](crate::Event) of a registry | the event | its data as a line | dropped |
/// | the same without data | its comments | dropped | dropped |
/// | the last of a drain | [`Farewell`](crate::Farewell) | `{"type":"close","reason":"shutdown"}` | status 14, `UNAVAILABLE` |
/// | [`Farewell::event`](crate::Farewell::event) | the event | its data as a line | the same status |
/// | [`Farewell::bytes`](crate::Farewell::bytes) | as they are | as they are | the same status |
/// | `retry` | in a farewell | none | [on demand](crate::Farewell::grpc_pushback) |
/// | refused | an event, or a status for other clients | a status with `Retry-After` | a status of the protocol |
/// | [at its own end](CloseAtEndLayer) | the farewell | the farewell | its own status |
/// | ends unfinished | a failure | the last line, which passes | passes, and ends with an error |
///
/// What events say here is the default: a [`Dialect`](crate::Dialect) has other words for the
/// clients of a route, and tells them of a failure.
///
/// An event that is dropped counts as dropped in metrics. Data that becomes a line has to be JSON
/// where the stream's lines are: `Event::new().data(r#"{"done":true}"#)`, or `Event::json` with the
/// feature `json`. Line ends in it become spaces.
///
/// # Calls
///
/// In gRPC and gRPC-Web the answer of a unary call has the content type of a stream. So an answer
/// is a stream as soon as it has to be waited for, or when its second message begins. Up to then it
/// passes as it is: unary calls are not registered, count against no limit, and are answered in a
/// drain, too. An answer that comes from another server has to be waited for, also if it is one
/// message. In Connect each answer with these content types is a stream, and a unary call has the
/// content type of its message.
///
/// Where the status is depends on the protocol:
///
/// | | gRPC | gRPC-Web | Connect |
/// | --- | --- | --- | --- |
/// | at the end | in the trailers | in a last message | in a last message, as JSON |
/// | of a refusal | in the head | in the head | in a last message |
/// | after half of a message that is too long to hold | in the trailers | none | none |
///
/// | ended by | status |
/// | --- | --- |
/// | a drain, [`Registry::close`](crate::Registry::close), [`RotationLayer`] | 14, `UNAVAILABLE` |
/// | an [`Expiry`](crate::Expiry) | 16, `UNAUTHENTICATED` |
/// | a limit, refused or replaced | 8, `RESOURCE_EXHAUSTED` |
/// | a failure, with [`farewell_on_error`](ShutdownLayer::farewell_on_error) | 13, `INTERNAL` |
///
/// A failure passes as it is otherwise. The handler's own status always passes, and nothing follows
/// it: after the last message of a stream its body is dropped. A client that comes in a drain or
/// above a limit is refused in the head, where it may try again; at the end of the body if the
/// place was taken while the head was sent. A body with a flag that does not exist, and a message
/// that is longer than the hold limit, pass unheld. In `grpc-web-text`, messages that the server
/// has encoded in one piece leave together. In HTTP/2 the server's own PING keeps connections open;
/// no keepalive is written into a call.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_sse::{EventIdLayer, Registry, Shutdown, SseLayer};
///
/// let (registry, shutdown) = (Registry::new(), Shutdown::new());
/// let app: Router = Router::new().route("/events", get(events)).layer(
///     SseLayer::new().event_ids(EventIdLayer::sequential()).registry(registry).shutdown(shutdown),
/// );
/// # async fn events() {}
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SseLayer(LayerSetting<Plan>);

impl SseLayer {
    /// Turns on a keepalive every 15 seconds, and the headers against buffering.
    pub fn new() -> Self {
        Self(LayerSetting::on(Plan {
            keep_alive: KeepAliveLayer::new().setting(),
            no_buffer: NoBufferLayer::new().setting(),
            ..Plan::default()
        }))
    }

    /// Turns everything off, whatever layers further out ask for.
    pub fn off() -> Self {
        Self(LayerSetting::on(Plan::off()))
    }

    /// Sets the form of what the server itself says: a [`Dialect`](crate::Dialect), or a layer. By
    /// default they are those of an `EventSource`.
    ///
    /// The interval of the keepalive is the dialect's, unless
    /// [`keep_alive`](Self::keep_alive) sets one.
    pub fn dialect(self, layer: impl Into<DialectLayer>) -> Self {
        Self(self.0.change(|plan| plan.dialect = layer.into().setting()))
    }

    /// Sets when a comment is written into silent streams.
    pub fn keep_alive(self, layer: KeepAliveLayer) -> Self {
        Self(self.0.change(|plan| plan.keep_alive = layer.setting()))
    }

    /// Sets the ids of events; by default events get none.
    pub fn event_ids(self, layer: EventIdLayer) -> Self {
        Self(self.0.change(|plan| plan.event_ids = layer.setting()))
    }

    /// Sets the headers for proxies.
    pub fn no_buffer(self, layer: NoBufferLayer) -> Self {
        Self(self.0.change(|plan| plan.no_buffer = layer.setting()))
    }

    /// Sets where streams are listed: a [`Registry`](crate::Registry), or a layer with labels. By
    /// default they are not listed.
    pub fn registry(self, layer: impl Into<RegistryLayer>) -> Self {
        Self(self.0.change(|plan| plan.registry = layer.into().setting()))
    }

    /// Sets what ends streams: a [`Shutdown`](crate::Shutdown), or a layer with a farewell. By
    /// default a server that shuts down waits for them.
    pub fn shutdown(self, layer: impl Into<ShutdownLayer>) -> Self {
        Self(self.0.change(|plan| plan.shutdown = layer.into().setting()))
    }

    /// Sets the age at which streams end; by default none.
    pub fn rotation(self, layer: RotationLayer) -> Self {
        Self(self.0.change(|plan| plan.rotation = layer.setting()))
    }

    /// Sets how many streams may be open: a [`Limit`](crate::Limit), or a layer. By default any
    /// number.
    pub fn limit(self, layer: impl Into<LimitLayer>) -> Self {
        Self(self.0.change(|plan| plan.limit = layer.into().setting()))
    }

    /// Sets the last event of a stream whose own body comes to its end: a
    /// [`Farewell`](crate::Farewell), or a layer. By default there is none, and an `EventSource`
    /// comes back.
    pub fn close_at_end(self, layer: impl Into<CloseAtEndLayer>) -> Self {
        Self(self.0.change(|plan| plan.close_at_end = layer.into().setting()))
    }

    /// Sets how many bytes of an event are held back until it is whole; by default 64 KiB.
    ///
    /// A longer event passes as it comes. While it does, nothing can be written into the stream,
    /// and a drain that cannot wait for its end cuts it. This setting bounds the memory of a
    /// stream.
    pub fn hold_limit(self, bytes: usize) -> Self {
        Self(self.0.change(|plan| plan.hold_limit = Some(bytes)))
    }
}

impl Default for SseLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for SseLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner, |plan| match plan {
            Setting::On(plan) | Setting::Only(plan) => plan,
            Setting::Unset | Setting::Off => Plan::default(),
        })
    }
}
