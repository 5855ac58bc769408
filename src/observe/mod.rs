//! Metrics and traces of streams: features `metrics` and `tracing`, both off by default.
//!
//! Layers need no settings for this. With the feature `metrics` the recorder of the [`metrics`]
//! facade counts all streams, and with the feature `tracing` each stream has a span of [`tracing`].
//! A stream that opens while there is no recorder and no subscriber costs what it costs without the
//! features. Streams are observed with and without a registry, by any layer that works on their
//! bytes. A body that only passes a [`NoBufferLayer`](crate::NoBufferLayer) is not observed.
//!
//! # Metrics
//!
//! | name | type | unit | labels | what |
//! | --- | --- | --- | --- | --- |
//! | `tower_sse_open_streams` | gauge | streams | | open now |
//! | `tower_sse_opened_total` | counter | streams | | opened so far |
//! | `tower_sse_ended_total` | counter | streams | `reason` | ended so far; the reason is [`EndReason::as_str`](crate::EndReason::as_str) |
//! | `tower_sse_duration_seconds` | histogram | seconds | | from the response's head to the stream's end |
//! | `tower_sse_first_event_seconds` | histogram | seconds | | from the response's head to the first event; streams without an event are not in it |
//! | `tower_sse_events_total` | counter | events | | events handed to the server, of streams whose events are read |
//! | `tower_sse_bytes_total` | counter | bytes | | bytes handed to the server, comments and farewells included |
//! | `tower_sse_keepalives_total` | counter | comments | | written because a stream was silent |
//! | `tower_sse_mailbox_dropped_total` | counter | events | | events that found a stream's mailbox full ([`Delivery::dropped`](crate::Delivery::dropped), [`SendError::Full`](crate::SendError::Full)) |
//! | `tower_sse_refused_total` | counter | requests | `reason` | requests not given a stream; `draining` while a [`Shutdown`](crate::Shutdown) drains, `limit` at the cap of a [`LimitLayer`](crate::LimitLayer) |
//! | `tower_sse_not_resumable_total` | counter | streams | `reason` | streams of a `ResumeLayer` (feature `resume`) to which clients cannot come back; `no_room` for one above its bounds, `event_too_long` for one with an event that is not kept, `log_panicked` for one whose log panics when it is followed, `no_runtime` outside of Tokio |
//! | `tower_sse_drain_pending` | gauge | streams | | streams that a drain still waits for; zero without a drain |
//! | `tower_sse_unread_logs` | gauge | logs | | logs of brokers (features `redis`, `nats` and `postgres`) that cannot be read now, as `LogHealth` says; zero if all is well |
//! | `tower_sse_log_failures_total` | counter | failures | | times that such a log stopped being read |
//!
//! `reason` is the only label, and its values are words of this crate. Nothing that comes from a
//! request or a [`Label`](crate::Label) becomes a label, so the number of time series is fixed.
//!
//! Every stream that opens ends once, on every path: also if it fails, panics, or is dropped before
//! its first poll.
//!
//! Events are counted where they are read anyway: with [`EventIdLayer`](crate::EventIdLayer), or
//! with [`RegistryBuilder::count_events`](crate::RegistryBuilder::count_events). Other streams add
//! none, because a scan of all their bytes would cost more than all the rest. Events that a
//! registry sends are counted. Heartbeats and farewells are not.
//!
//! A stream adds its counts to those of the recorder when it has nothing to send, every 64 KiB, and
//! at its end. So the totals are exact as soon as a stream is quiet or over.
//!
//! The recorder is asked for the metrics of streams when the first stream of a layer opens, and for
//! the gauge of a drain when the drain begins. So it may be installed after the layers are built.
//! It is kept from then on. A recorder that keeps neither the gauge of open streams nor their
//! durations counts as none. A panic in a recorder harms no stream.
//!
//! # Traces
//!
//! All of them have the target `tower_sse`.
//!
//! | level | what | fields |
//! | --- | --- | --- |
//! | info | span `sse.stream` from the response's head to the stream's end, a child of the span that is current when the response is ready: mostly the request's | `label`, `method`, `path` (without the query); at the end `reason`, `duration_secs`, `bytes`, `keepalives`, and `events` if they are counted |
//! | debug | event `stream starts`, in that span, at the first poll of the stream | `plan`: the settings of all layers together |
//! | debug | event `stream ended`, in that span | those of the span's end |
//! | info | event `drain begins`, at the trigger of a [`Shutdown`](crate::Shutdown) | `streams` that are open, `notice_secs`, `spread_secs` over which they end, `deadline_secs` |
//! | info | event `drain is forced`, at [`Shutdown::force`](crate::Shutdown::force) | |
//! | info | event `drain ended`, when the last stream has left, or the deadline has passed and [`Shutdown::drain`](crate::Shutdown::drain) is waited for | those of a [`DrainReport`](crate::DrainReport): `closed`, `finished`, `cut`, `stalled`, `forced`, `elapsed_secs` |
//! | warn | event `an event stream with a Content-Encoding passes untouched`, once a layer | `path` |
//! | warn | event `a log cannot be read`, when a log of a broker (features `redis`, `nats` and `postgres`) stops being read | `log`: `redis`, `nats` or `postgres`; `problem` |
//! | info | event `a log is read again`, when it goes on | `log`; `unread_secs` |
//!
//! The plan names each setting as it holds for this stream: its value or `on`, `off` where a layer
//! turned it off, and `-` where no layer set it: `keep_alive=15s event_ids=on no_buffer=on
//! registry=- shutdown=off`. The fields `close_at_end` and `hold_limit` are there only where a
//! layer set them.
//!
//! The span is not entered while the body is polled, which would cost every frame of every stream.
//! To put what a handler logs in its stream into a span, the handler uses `tracing`'s `Instrument`
//! or `in_scope`. The request's span closes when that of its stream does, if the subscriber keeps
//! parents open for their children, as `tracing-subscriber` does.
//!
//! [`metrics`]: https://docs.rs/metrics
//! [`tracing`]: https://docs.rs/tracing

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod stream;
#[cfg(feature = "tracing")]
mod tracing;

use http::Method;

#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
pub(crate) use self::metrics::UnreadLog;
#[cfg(feature = "resume")]
pub(crate) use self::metrics::not_resumable;
pub(crate) use self::metrics::{PendingGauge, mailbox_dropped, refused};
pub(crate) use self::stream::{LayerObserver, StreamObserver};
pub(crate) use self::tracing::{drain_begins, drain_ended, drain_forced};
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
pub(crate) use self::tracing::{log_cannot_be_read, log_is_read_again};

/// What is known of a stream when it opens.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "only spans say it"))]
pub(crate) struct Subject<'a> {
    pub(crate) label: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
}

/// Stub for the features' observers, which does nothing.
#[cfg(not(any(feature = "metrics", feature = "tracing")))]
mod stream {
    #![expect(clippy::unused_self, reason = "with the features there is something in them")]

    use std::time::Instant;

    use crate::engine::{EndReason, Progress};
    use crate::observe::Subject;

    #[derive(Clone, Debug, Default)]
    pub(crate) struct LayerObserver(());

    #[derive(Debug)]
    pub(crate) struct StreamObserver;

    impl LayerObserver {
        pub(crate) fn open(&self, _: Subject<'_>, _: Instant) -> StreamObserver {
            StreamObserver
        }

        pub(crate) fn passed_by(&self, _: impl FnOnce() -> bool, _: &str) {}
    }

    impl StreamObserver {
        pub(crate) fn off() -> Self {
            Self
        }

        pub(crate) fn is_on(&self) -> bool {
            false
        }

        pub(crate) fn starts(&mut self, _: bool, _: impl FnOnce() -> String) {}
        pub(crate) fn flush(&mut self, _: &Progress<'_>) {}

        pub(crate) fn sent<'a>(
            &mut self,
            _: usize,
            _: impl FnOnce() -> Progress<'a>,
            _: fn() -> Instant,
        ) {
        }

        pub(crate) fn ended(&mut self, _: EndReason, _: &Progress<'_>, _: fn() -> Instant) {}
    }
}

/// Stubs for the metrics without the feature `metrics`.
#[cfg(not(feature = "metrics"))]
mod metrics {
    #[derive(Debug, Default)]
    pub(crate) struct PendingGauge(());

    #[expect(clippy::unused_self, reason = "with the feature there is a gauge")]
    impl PendingGauge {
        pub(crate) fn add(&self, _: usize) {}
        pub(crate) fn remove(&self, _: usize) {}
    }

    #[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
    #[derive(Debug)]
    pub(crate) struct UnreadLog(());

    #[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
    impl UnreadLog {
        pub(crate) fn new() -> Self {
            Self(())
        }
    }

    pub(crate) fn mailbox_dropped(_: usize) {}
    #[cfg(feature = "resume")]
    pub(crate) fn not_resumable(_: &'static str) {}
    pub(crate) fn refused(_: &'static str) {}
}

/// Stubs for the events without the feature `tracing`.
#[cfg(not(feature = "tracing"))]
mod tracing {
    use std::time::Duration;

    pub(crate) fn drain_begins(_: usize, _: Duration, _: Duration, _: Duration) {}
    pub(crate) fn drain_forced() {}
    pub(crate) fn drain_ended(_: [usize; 5], _: Duration) {}
    #[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
    pub(crate) fn log_cannot_be_read(_: &'static str, _: &str) {}
    #[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
    pub(crate) fn log_is_read_again(_: &'static str, _: Duration) {}
}
