//! [`ResumeHandle`]: lists the streams that run, and stops them.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::key::{ResumeKey, bounded};
use super::resumer::Resumer;
use super::session::Session;
use crate::event_log::{EventLog, MemoryLog};

/// Lists and stops the streams of a [`ResumeLayer`](crate::ResumeLayer).
///
/// [`ResumeLayer::handle`](crate::ResumeLayer::handle) makes it. Clones are handles to the same
/// streams.
///
/// # Examples
///
/// ```
/// # use axum::http::request::Parts;
/// use tower_sse::ResumeLayer;
/// use tower_sse::resume::ResumeKey;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let key = |request: &Parts| Some(ResumeKey::new(request.uri.path(), "ann"));
/// let resume = ResumeLayer::new(key);
/// let handle = resume.handle();
/// // In a handler of the user ann: what is being answered?
/// for stream in handle.list("ann").await? {
///     println!("{} runs since {:?}", stream.key().stream(), stream.since());
/// }
/// // The user closes the conversation.
/// let stopped = handle.stop(&ResumeKey::new("/answers/42", "ann")).await?;
/// assert_eq!(stopped, 0, "nothing runs in this example");
/// # Ok(())
/// # }
/// ```
pub struct ResumeHandle<L: EventLog = MemoryLog> {
    resumer: Arc<Resumer<L>>,
}

impl<L: EventLog> ResumeHandle<L> {
    pub(super) fn new(resumer: Arc<Resumer<L>>) -> Self {
        Self { resumer }
    }

    /// The streams of a principal that run, the oldest first.
    ///
    /// They are at most [`streams_of_principal`](crate::ResumeLayer::streams_of_principal).
    ///
    /// # Errors
    ///
    /// If the log that nodes share cannot be read. Without such a log there is no error.
    #[expect(clippy::unused_async, reason = "a log of several nodes will be asked")]
    pub async fn list(&self, principal: impl AsRef<str>) -> Result<Vec<RunningStream>, L::Error> {
        let principal = bounded(principal.as_ref());
        Ok(self.resumer.running_here(&principal))
    }

    /// Stops the streams with this key that run, and returns how many there were.
    ///
    /// A stop is not a disconnect: the body of each handler is dropped at once, with readers and
    /// without. Readers get what was produced until then, and an event `close` with
    /// `{"reason":"stopped"}`. Clients that come back later get the same as long as the layer
    /// [remembers](crate::ResumeLayer::remember) it, and then the answer that
    /// [`finished`](crate::ResumeLayer::finished) sets, without a call of the handler.
    ///
    /// # Errors
    ///
    /// If the log that nodes share cannot be read or written. Then the streams of this process are
    /// stopped, and those of other nodes may not be. Without such a log there is no error.
    pub async fn stop(&self, key: &ResumeKey) -> Result<usize, L::Error> {
        self.resumer.stop(key).await
    }
}

impl<L: EventLog> Resumer<L> {
    pub(super) fn running_here(&self, principal: &str) -> Vec<RunningStream> {
        let sessions = self.sessions.of_principal(principal);
        sessions.iter().filter_map(|session| RunningStream::of(session)).collect()
    }

    /// Stops the sessions with this key, and returns how many ran.
    #[expect(clippy::unused_async, reason = "a log of several nodes will be asked")]
    pub(super) async fn stop(&self, key: &ResumeKey) -> Result<usize, L::Error> {
        let sessions = self.sessions.running(key);
        let here = sessions.iter().filter(|session| session.stop()).count();
        Ok(here)
    }
}

impl<L: EventLog> Clone for ResumeHandle<L> {
    fn clone(&self) -> Self {
        Self { resumer: Arc::clone(&self.resumer) }
    }
}

impl<L: EventLog> fmt::Debug for ResumeHandle<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeHandle").finish_non_exhaustive()
    }
}

/// A stream that runs, as [`ResumeHandle::list`] found it.
#[derive(Clone, Debug)]
pub struct RunningStream {
    key: ResumeKey,
    since: SystemTime,
    readers: Option<usize>,
}

impl RunningStream {
    fn of<L: EventLog>(session: &Session<L>) -> Option<Self> {
        let readers = Some(session.running()?);
        Some(Self { key: session.key.clone(), since: session.since, readers })
    }

    /// Which stream it is, and whose. [`ResumeHandle::stop`] takes it.
    #[must_use]
    pub fn key(&self) -> &ResumeKey {
        &self.key
    }

    /// When it began, by the clock of its node.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// How many clients read it at its node. None for a stream of another node.
    #[must_use]
    pub fn readers(&self) -> Option<usize> {
        self.readers
    }
}
