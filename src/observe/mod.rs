//! Metrics and traces of streams: features `metrics` and `tracing`, both off by default.
//!
//! Nothing has to be set up in a layer. With the feature `metrics` all streams are counted by the
//! recorder of the [`metrics`] facade, and with the feature `tracing` each has a span of [`tracing`].
//! A stream that opens while there is no recorder and no subscriber costs what it costs without the
//! features. Streams count with or without a registry, as long as a layer looks after their bytes;
//! of a body that only [`NoBufferLayer`](crate::NoBufferLayer) sees nothing is known.
//!
//! # Metrics
//!
//! | name | type | unit | labels | what |
//! | --- | --- | --- | --- | --- |
//! | `tower_sse_open_streams` | gauge | streams | | open now |
//! | `tower_sse_opened_total` | counter | streams | | opened so far |
//! | `tower_sse_ended_total` | counter | streams | `reason` | ended so far; the reason is [`EndReason::as_str`](crate::EndReason::as_str) |
//! | `tower_sse_duration_seconds` | histogram | seconds | | from the response's head to the stream's end |
//! | `tower_sse_first_event_seconds` | histogram | seconds | | from the response's head to the first event; streams that had none are not in it |
//! | `tower_sse_events_total` | counter | events | | events handed to the server, of streams whose events are looked at |
//! | `tower_sse_bytes_total` | counter | bytes | | bytes handed to the server, comments and farewells included |
//! | `tower_sse_keepalives_total` | counter | comments | | written because a stream was silent |
//! | `tower_sse_mailbox_dropped_total` | counter | events | | found a stream's mailbox full ([`Delivery::dropped`](crate::Delivery::dropped), [`SendError::Full`](crate::SendError::Full)) |
//! | `tower_sse_refused_total` | counter | requests | `reason` | not given a stream; `draining` while a [`Shutdown`](crate::Shutdown) drains, `limit` at the cap of a [`LimitLayer`](crate::LimitLayer) |
//! | `tower_sse_drain_pending` | gauge | streams | | that a drain still waits for; zero while there is none |
//!
//! `reason` is the only label, and its values are words of this crate. Nothing that comes from a
//! request or a [`Label`](crate::Label) becomes one, so the number of time series is fixed.
//!
//! Every stream that is opened is ended once, on whatever path: also if it fails, panics, or is
//! dropped before it was polled.
//!
//! Events are counted where they are looked at anyway: with
//! [`EventIdLayer`](crate::EventIdLayer), or with
//! [`RegistryBuilder::count_events`](crate::RegistryBuilder::count_events). Other streams add none,
//! since a scan of all their bytes would cost more than all else that is done for them. Those that
//! are sent by a registry are counted, heartbeats and farewells are not.
//!
//! A stream keeps its own counts and adds them to the recorder's when it has nothing to send, every
//! 64 KiB, and at its end. So the totals are exact as soon as a stream is quiet or over.
//!
//! The recorder is asked for its metrics when a layer's first stream opens, so it may be installed
//! after the layers were built, and is kept from then on. Events that are dropped and requests that
//! are refused are rare: for them it is asked each time. A panic in a recorder harms no stream.
//!
//! # Traces
//!
//! All have the target `tower_sse`.
//!
//! | level | what | fields |
//! | --- | --- | --- |
//! | info | span `sse.stream` from the response's head to the stream's end, a child of the span that is current when the response is ready: mostly the request's | `label`, `method`, `path` (without the query); at the end `reason`, `duration_secs`, `bytes`, `keepalives`, and `events` if they are counted |
//! | debug | event `stream starts`, in that span, when the stream is polled first | `plan`: what the layers ask for, all together |
//! | debug | event `stream ended`, in that span | those of the span's end |
//! | warn | event `an event stream with a Content-Encoding passes untouched`, once a layer | `path` |
//!
//! The plan names each setting as it holds for this stream: its value or `on`, `off` where a layer
//! silenced it, and `-` where no layer spoke of it:
//! `keep_alive=15s event_ids=on no_buffer=on registry=- shutdown=off`.
//!
//! The span is not entered while the body is polled: it would cost every frame of every stream.
//! What a handler logs in its stream is put into a span by the handler, with `tracing`'s
//! `Instrument` or `in_scope`. The request's span closes when that of its stream does, if the
//! subscriber keeps parents open for their children, as `tracing-subscriber` does.
//!
//! [`metrics`]: https://docs.rs/metrics
//! [`tracing`]: https://docs.rs/tracing

#[cfg(feature = "metrics")]
mod named;
#[cfg_attr(not(feature = "metrics"), path = "no_totals.rs")]
mod totals;
#[cfg_attr(not(any(feature = "metrics", feature = "tracing")), path = "no_watch.rs")]
mod watch;

use http::Method;

pub(crate) use totals::{Pending, mailbox_dropped, refused};
pub(crate) use watch::{Observer, Watch};

/// Whose stream it is.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "only spans tell of it"))]
pub(crate) struct Subject<'a> {
    pub(crate) label: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
}
