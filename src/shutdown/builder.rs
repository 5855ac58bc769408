//! Settings of a shutdown.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Shutdown;
use crate::InvalidSetting;
use crate::engine::{Farewell, LONGEST, SHORTEST};
use crate::state::{Drain, DrainSettings};

/// Settings of a [`Shutdown`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_sse::Shutdown;
///
/// let shutdown = Shutdown::builder()
///     .window(Duration::from_secs(20))
///     .deadline(Duration::from_secs(25))
///     .build()?;
///
/// let hopeless = Shutdown::builder().window(Duration::from_secs(60)).build().unwrap_err();
/// assert_eq!(hopeless.setting(), "window");
/// # Ok::<(), tower_sse::InvalidSetting>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ShutdownBuilder {
    notice: Duration,
    window: Option<Duration>,
    deadline: Option<Duration>,
    retry: Option<RangeInclusive<Duration>>,
    farewell: Farewell,
    stall_limit: Option<Duration>,
}

impl ShutdownBuilder {
    /// Sets for how long after the trigger streams are served as before; by default zero.
    ///
    /// From the trigger on [`is_draining`](Shutdown::is_draining) is true and
    /// [`readiness`](Shutdown::readiness) answers 503, so a load balancer has this time to send new
    /// requests elsewhere. Streams that open meanwhile are served, and closed with the others.
    /// Everything else begins when the notice is over: the window, the deadline and what
    /// [`ShutdownLayer::finish_within`](crate::ShutdownLayer::finish_within) grants are counted from
    /// there, and only then [`triggered`](Shutdown::triggered) and its kin are ready, which servers
    /// wait for before they stop to accept.
    ///
    /// # Kubernetes
    ///
    /// A pod is killed `terminationGracePeriodSeconds`, by default 30 s, after its end was decided.
    /// In these have to fit a `preStop` hook, the notice, the deadline, and some seconds for the
    /// process to end: 10 s of notice, 15 s of deadline and 5 s to spare, for example.
    ///
    /// The pod is taken out of its services at the same moment as it gets SIGTERM, but it takes
    /// seconds until every node knows. A notice of 5 to 10 s bridges that, and spares the `preStop`
    /// hook that sleeps. What goes by the `readinessProbe` alone, as some load balancers do, needs
    /// `periodSeconds` × `failureThreshold` to notice: by default 30 s, which is too long. With a
    /// period of 2 s and a threshold of 2, a notice of 5 s is enough.
    pub fn notice(mut self, notice: Duration) -> Self {
        self.notice = notice;
        self
    }

    /// Sets the time over which the streams' ends are spread evenly; by default 5 seconds, or the
    /// deadline if that is shorter. Zero ends all at once.
    ///
    /// Clients come back when their stream ends. A good window is the number of streams divided
    /// by the number of reconnects a second that the other instances can take.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    /// Sets the time after which [`Shutdown::drain`] waits no longer, and
    /// [guarded](Shutdown::guard) connections fail; by default 10 seconds, which leaves room in the
    /// 30 that Kubernetes grants.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets how long clients are told to wait before they come back, spread over 1,024 steps of this
    /// range; by default from half a second to the window, or to one second if that is longer.
    pub fn retry(mut self, retry: RangeInclusive<Duration>) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Sets the last event of a stream; by default [`Farewell::close`].
    pub fn farewell(mut self, farewell: Farewell) -> Self {
        self.farewell = farewell;
        self
    }

    /// Sets for how long a client may take nothing of what is written to its
    /// [guarded](Shutdown::guard) connection; by default 30 seconds. Zero is for ever.
    ///
    /// A client that stopped to read holds up to megabytes of buffers, and its streams are not
    /// polled and cannot be ended. Thirty seconds are more than a network that is out for a moment
    /// takes, and a page that was put to sleep comes back with its `Last-Event-ID`.
    ///
    /// A client that reads slowly is not one that reads nothing. But of what it reads the server
    /// hears in portions only, so a limit that is very short, or a socket that buffers a lot, ends
    /// clients that are merely slow. [`Shutdown::listen`] keeps the portions small.
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = Some(limit);
        self
    }

    /// The shutdown.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the window is longer than the deadline, the notice, the deadline or
    /// the stall limit is longer than a year, the stall limit is shorter than a millisecond and
    /// not zero, or the range of `retry` is empty or begins with zero, with which clients would
    /// come back without a pause.
    pub fn build(self) -> Result<Shutdown, InvalidSetting> {
        if self.notice > LONGEST {
            return Err(InvalidSetting::new("notice", "it is longer than a year"));
        }
        match self.stall_limit.filter(|limit| !limit.is_zero()) {
            Some(limit) if limit > LONGEST => {
                return Err(InvalidSetting::new("stall_limit", "it is longer than a year"));
            }
            Some(limit) if limit < SHORTEST => {
                return Err(InvalidSetting::new("stall_limit", "it is shorter than a millisecond"));
            }
            _ => {}
        }
        if self.deadline.is_some_and(|deadline| deadline > LONGEST) {
            return Err(InvalidSetting::new("deadline", "it is longer than a year"));
        }
        if self.window.is_some_and(|window| window > self.longest()) {
            return Err(InvalidSetting::new("window", "it is longer than the deadline"));
        }
        match &self.retry {
            Some(retry) if retry.is_empty() => {
                Err(InvalidSetting::new("retry", "the range is empty"))
            }
            Some(retry) if retry.start().is_zero() => {
                Err(InvalidSetting::new("retry", "zero brings clients back without a pause"))
            }
            _ => Ok(self.into_shutdown()),
        }
    }

    fn longest(&self) -> Duration {
        self.deadline.unwrap_or(Duration::from_secs(10))
    }

    pub(super) fn into_shutdown(self) -> Shutdown {
        let deadline = self.longest();
        let window = self.window.unwrap_or(Duration::from_secs(5)).min(deadline);
        let retry = self
            .retry
            .unwrap_or_else(|| Duration::from_millis(500)..=window.max(Duration::from_secs(1)));
        let stall_limit = self.stall_limit.unwrap_or(Duration::from_secs(30));
        let settings = DrainSettings {
            notice: self.notice,
            window,
            deadline,
            retry,
            farewell: self.farewell,
            stall_limit: Some(stall_limit).filter(|limit| !limit.is_zero()),
        };
        Shutdown { drain: Arc::new(Drain::new(settings)) }
    }
}
