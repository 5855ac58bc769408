//! Settings and hooks of a registry.

use std::sync::Arc;
use std::time::Duration;

use super::Registry;
use crate::InvalidSetting;
use crate::engine::EndReason;
use crate::roster::Roster;
use crate::state::{Hooks, RegistryInner, StreamInfo};

/// Settings and hooks of a [`Registry`].
///
/// # Examples
///
/// ```
/// use tower_sse::Registry;
///
/// let registry = Registry::builder()
///     .count_events(true)
///     .on_close(|stream, reason| println!("{} {}: {reason}", stream.method, stream.path))
///     .build()?;
/// # Ok::<(), tower_sse::InvalidSetting>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct RegistryBuilder {
    mailbox: usize,
    count_events: bool,
    stalled_after: Duration,
    hooks: Hooks,
}

impl RegistryBuilder {
    /// Sets how many events may wait for a stream whose client does not read. The default is 64.
    ///
    /// Events that find the mailbox full are dropped, and the sender learns it from
    /// [`Delivery`](crate::Delivery) or [`SendError`](crate::SendError).
    pub fn mailbox(mut self, events: usize) -> Self {
        self.mailbox = events;
        self
    }

    /// Sets whether events are counted. By default they are not, because it takes a scan of all
    /// bytes.
    pub fn count_events(mut self, count: bool) -> Self {
        self.count_events = count;
        self
    }

    /// Sets after which time a stream is shown as [stalled](crate::StreamState::Stalled) that has
    /// something to send and is not polled. The default is 5 seconds. Zero is never.
    ///
    /// A server polls for more at once while it has room for it. So a stream that is not polled has
    /// filled all buffers up to a client that does not read. Five seconds are longer than a network
    /// takes that lost some packets, and much shorter than the time after which connections are
    /// given up.
    ///
    /// There is no timer for it: it is found out when somebody looks. In a burst the clock is read
    /// every 16 frames only, and the frames in between are taken to be spread evenly. So a client
    /// that stops reading in the middle of a burst is shown as stalled after up to 16 times as
    /// long.
    pub fn stalled_after(mut self, time: Duration) -> Self {
        self.stalled_after = time;
        self
    }

    /// Calls `hook` when a stream has been put on the list.
    ///
    /// A hook runs in the task of the stream and should not block. A panic in it harms no stream.
    pub fn on_open(mut self, hook: impl Fn(&StreamInfo) + Send + Sync + 'static) -> Self {
        self.hooks.on_open = Some(Box::new(hook));
        self
    }

    /// Calls `hook` when a stream was taken off the list, once for each stream, whatever ended it.
    ///
    /// A hook runs in the task of the stream and should not block. A panic in it harms no stream.
    pub fn on_close(
        mut self,
        hook: impl Fn(&StreamInfo, EndReason) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.on_close = Some(Box::new(hook));
        self
    }

    /// Makes the registry.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if the mailbox holds no event.
    pub fn build(self) -> Result<Registry, InvalidSetting> {
        if self.mailbox == 0 {
            return Err(InvalidSetting::new("mailbox", "it must hold an event at least"));
        }
        Ok(self.build_registry())
    }

    pub(super) fn build_registry(self) -> Registry {
        let Self { mailbox, count_events, stalled_after, hooks } = self;
        let roster = Arc::new(Roster::new());
        Registry {
            registry: Arc::new(RegistryInner {
                roster,
                mailbox,
                count_events,
                stalled_after,
                hooks,
            }),
        }
    }
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        Self {
            mailbox: 64,
            count_events: false,
            stalled_after: Duration::from_secs(5),
            hooks: Hooks::default(),
        }
    }
}
