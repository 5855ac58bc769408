//! Settings of a shutdown.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Shutdown;
use crate::InvalidSetting;
use crate::engine::{Farewell, LONGEST};
use crate::live::{Drain, DrainSettings};

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
    window: Option<Duration>,
    deadline: Option<Duration>,
    retry: Option<RangeInclusive<Duration>>,
    farewell: Farewell,
}

impl ShutdownBuilder {
    /// Sets the time over which the streams' ends are spread evenly; by default 5 seconds, or the
    /// deadline if that is shorter. Zero ends all at once.
    ///
    /// Clients come back when their stream ends. A good window is the number of streams divided
    /// by the number of reconnects a second that the other instances can take.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    /// Sets the time after which [`Shutdown::drain`] waits no longer; by default 10 seconds, which
    /// leaves room in the 30 that Kubernetes grants.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets how long clients are told to wait before they come back, each its own time from this
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

    /// The shutdown.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the window is longer than the deadline, the deadline is longer than a
    /// year, or the range of `retry` is empty or begins with zero, with which clients would come
    /// back without a pause.
    pub fn build(self) -> Result<Shutdown, InvalidSetting> {
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
        let settings = DrainSettings { window, deadline, retry, farewell: self.farewell };
        Shutdown { drain: Arc::new(Drain::new(settings)) }
    }
}
