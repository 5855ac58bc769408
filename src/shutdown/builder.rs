//! Settings of a shutdown.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Shutdown;
use crate::InvalidSetting;
use crate::engine::{Farewell, MAX_TIMER, MIN_TIMER};
use crate::error::check_retry;
use crate::state::{Drain, DrainSettings};

/// Settings of a [`Shutdown`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_sse::Shutdown;
///
/// // The other instances take 500 reconnects a second.
/// let shutdown = Shutdown::builder()
///     .rate(500)
///     .window(Duration::from_secs(20))
///     .deadline(Duration::from_secs(25))
///     .build()?;
///
/// let error = Shutdown::builder().window(Duration::from_secs(60)).build().unwrap_err();
/// assert_eq!(error.setting(), "window");
/// # Ok::<(), tower_sse::InvalidSetting>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ShutdownBuilder {
    notice: Duration,
    rate: u32,
    window: Option<Duration>,
    deadline: Duration,
    retry: Option<RangeInclusive<Duration>>,
    farewell: Farewell,
    stall_limit: Duration,
}

impl ShutdownBuilder {
    /// Sets for how long after the trigger streams are served as before. The default is zero.
    ///
    /// From the trigger on [`is_draining`](Shutdown::is_draining) is true and
    /// [`readiness`](Shutdown::readiness) answers 503, so that load balancers send new requests
    /// elsewhere. Requests that come meanwhile are served, and their streams are closed with the
    /// others. Everything else begins at the end of the notice: the ends of streams, the deadline
    /// and the time of [`ShutdownLayer::finish_within`](crate::ShutdownLayer::finish_within) count
    /// from there. Only then [`triggered`](Shutdown::triggered),
    /// [`trigger_on`](Shutdown::trigger_on) and `on_signals` are ready, which servers wait for
    /// before they stop to accept connections.
    ///
    /// The notice is also for requests that are in their sockets, or on connections that wait to be
    /// accepted, at the trigger. A server that stops to accept and to read at once, as
    /// axum does, may not answer them. During a notice it does.
    ///
    /// # Kubernetes
    ///
    /// A pod is killed `terminationGracePeriodSeconds` after its end was decided, by default 30 s.
    /// A `preStop` hook, the notice, the deadline and some seconds for the process to end have to
    /// fit into that time: for example 10 s of notice, 15 s of deadline and 5 s to spare.
    ///
    /// The pod is taken out of its services when it gets SIGTERM, but it takes seconds until every
    /// node knows. A notice of 5 to 10 s bridges that, and replaces a `preStop` hook that sleeps.
    /// Load balancers that go by the `readinessProbe` alone need `periodSeconds` ×
    /// `failureThreshold` to notice. The default of 30 s is too long. With a period of 2 s and a
    /// threshold of 2, a notice of 5 s is enough.
    pub fn notice(mut self, notice: Duration) -> Self {
        self.notice = notice;
        self
    }

    /// Sets how many streams end in a second. The default is 200.
    ///
    /// A client comes back when its stream ends. So this is the number of reconnects a second that
    /// the other instances take. The ends of all open streams are spread evenly over their number
    /// divided by the rate, or over the [window](Self::window) if that is shorter. A single stream
    /// ends at once.
    pub fn rate(mut self, streams_per_second: u32) -> Self {
        self.rate = streams_per_second;
        self
    }

    /// Sets the longest time over which the ends of streams are spread. The default is 5 seconds,
    /// or the deadline if that is shorter. Zero ends all streams at once.
    ///
    /// With more streams than fit into the window at the [rate](Self::rate), the rate is higher.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    /// Sets the time after which [`Shutdown::drain`] waits no longer and [guarded](Shutdown::guard)
    /// connections fail. The default is 10 seconds, which leaves room in the 30 that Kubernetes
    /// gives.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the range of times that clients are told to wait before they come back. They are spread
    /// evenly over the range.
    ///
    /// By default it is from half a second to the time over which the ends are spread, but at least
    /// to one second. For errors of a body, which
    /// [`ShutdownLayer::farewell_on_error`](crate::ShutdownLayer::farewell_on_error) tells of at
    /// any time, it is up to the window.
    pub fn retry(mut self, retry: RangeInclusive<Duration>) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Sets the last event of a stream, also of one in a [`Dialect`](crate::Dialect). By default it
    /// is what the dialect says, which is [`Farewell::close`] without one.
    pub fn farewell(mut self, farewell: Farewell) -> Self {
        self.farewell = farewell;
        self
    }

    /// Sets for how long a client may take nothing of what is written to its
    /// [guarded](Shutdown::guard) connection. The default is 30 seconds. Zero is for ever.
    ///
    /// A client that stopped reading holds up to megabytes of buffers, and its streams are not
    /// polled and cannot end. Thirty seconds are longer than a network is mostly out for, and a
    /// page that was put to sleep comes back with its `Last-Event-ID`.
    ///
    /// A client that reads slowly is not a client that reads nothing. But the server learns what
    /// was read in portions only. So a very short limit, or a socket with large buffers, ends
    /// clients that are merely slow. [`Shutdown::listen`] keeps the portions small.
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = limit;
        self
    }

    /// Makes the shutdown.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if
    ///
    /// - the rate is zero,
    /// - the window is longer than the deadline,
    /// - the notice, the deadline or the stall limit is longer than a year,
    /// - the stall limit is shorter than a millisecond, and not zero,
    /// - the range of `retry` is empty, or begins with less than a millisecond, with which clients
    ///   would come back without a pause.
    pub fn build(self) -> Result<Shutdown, InvalidSetting> {
        let error = |setting, reason| Err(InvalidSetting::new(setting, reason));
        let Some(rate) = NonZeroU32::new(self.rate) else {
            return error("rate", "zero ends no stream");
        };
        let long = [
            ("notice", self.notice),
            ("stall_limit", self.stall_limit),
            ("deadline", self.deadline),
        ];
        if let Some((setting, _)) = long.into_iter().find(|(_, time)| *time > MAX_TIMER) {
            return error(setting, "it is longer than a year");
        }
        if !self.stall_limit.is_zero() && self.stall_limit < MIN_TIMER {
            return error("stall_limit", "it is shorter than a millisecond");
        }
        if self.window.is_some_and(|window| window > self.deadline) {
            return error("window", "it is longer than the deadline");
        }
        if let Some(retry) = &self.retry {
            check_retry(retry)?;
        }
        Ok(self.into_shutdown(rate))
    }

    /// The default, which needs no check.
    pub(super) fn default_shutdown() -> Shutdown {
        Self::default().into_shutdown(RATE)
    }

    fn into_shutdown(self, rate: NonZeroU32) -> Shutdown {
        let window = self.window.unwrap_or(Duration::from_secs(5)).min(self.deadline);
        let longest_return = window.max(Duration::from_secs(1));
        let settings = DrainSettings {
            notice: self.notice,
            rate,
            window,
            deadline: self.deadline,
            retry_follows_spread: self.retry.is_none(),
            retry: self.retry.unwrap_or(Duration::from_millis(500)..=longest_return),
            farewell: self.farewell,
            stall_limit: Some(self.stall_limit).filter(|limit| !limit.is_zero()),
        };
        Shutdown { drain: Arc::new(Drain::new(settings)) }
    }
}

impl Default for ShutdownBuilder {
    fn default() -> Self {
        Self {
            notice: Duration::ZERO,
            rate: RATE.get(),
            window: None,
            deadline: Duration::from_secs(10),
            retry: None,
            farewell: Farewell::default(),
            stall_limit: Duration::from_secs(30),
        }
    }
}

/// What a server takes that has the streams of another one come back to it.
const RATE: NonZeroU32 = NonZeroU32::new(200).unwrap();
