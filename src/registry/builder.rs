//! Settings of a registry.

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
    /// Sets how many events may wait for a stream whose client does not read; by default 64.
    ///
    /// Those that find the mailbox full are dropped, and the sender is told.
    pub fn mailbox(mut self, events: usize) -> Self {
        self.mailbox = events;
        self
    }

    /// Sets whether events are counted; by default they are not, since it takes a scan of all bytes.
    pub fn count_events(mut self, count: bool) -> Self {
        self.count_events = count;
        self
    }

    /// Sets after how long a stream is shown as [stalled](crate::StreamState::Stalled) that has
    /// something to give and is not asked for it; by default 5 seconds. Zero is never.
    ///
    /// A server asks for more at once while it has room for it, so a stream that is not asked has
    /// filled all buffers up to a client that does not read. Five seconds is longer than a network
    /// that lost some packets takes, and well below the time after which connections are given up.
    ///
    /// There is no timer for it: it is found out when somebody looks. In a burst the clock is read
    /// every 16 frames only, and the frames in between are taken to be spread evenly. So a client that
    /// stops reading in the middle of a burst is shown as stalled after up to 16 times as long.
    pub fn stalled_after(mut self, time: Duration) -> Self {
        self.stalled_after = time;
        self
    }

    /// Calls `hook` when a stream has been put on the list.
    ///
    /// A hook runs where the stream does and should not block. A panic in it harms nobody.
    pub fn on_open(mut self, hook: impl Fn(&StreamInfo) + Send + Sync + 'static) -> Self {
        self.hooks.on_open = Some(Box::new(hook));
        self
    }

    /// Calls `hook` when a stream has been taken off the list, once for each, on whatever path it
    /// ended.
    ///
    /// A hook runs where the stream does and should not block. A panic in it harms nobody.
    pub fn on_close(
        mut self,
        hook: impl Fn(&StreamInfo, EndReason) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.on_close = Some(Box::new(hook));
        self
    }

    /// The registry.
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
