//! [`ResumeHandle`]: lists the streams that run, and stops them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::caught::caught;
use super::directory::DirectoryEntry;
use super::key::{ResumeKey, bounded};
use super::orders::Order;
use super::resumer::Resumer;
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

    /// The name of this node, as [`RunningStream::node`] has it: random digits.
    #[must_use]
    pub fn node(&self) -> &str {
        self.resumer.nodes.own.as_str()
    }

    /// The streams of a principal that run, the oldest first: those of this process, and with
    /// [`other_nodes`](crate::ResumeLayer::other_nodes) those of other nodes.
    ///
    /// Of each node they are at most
    /// [`streams_of_principal`](crate::ResumeLayer::streams_of_principal). A stream of another node
    /// is in the list a moment after it began. Streams of a node that died are in it for at most a
    /// [`lease`](crate::ResumeLayer::lease).
    ///
    /// # Errors
    ///
    /// [`HandleError`] if the log that nodes share cannot be read. Without such a log there is no
    /// error.
    pub async fn list(
        &self,
        principal: impl AsRef<str>,
    ) -> Result<Vec<RunningStream>, HandleError<L::Error>> {
        let principal = bounded(principal.as_ref());
        HandleError::of(caught(|| self.resumer.list(&principal)).await)
    }

    /// Stops the streams with this key that run, and returns how many there were.
    ///
    /// A stop is not a disconnect: the body of each handler is dropped at once, with readers and
    /// without. Readers get what was produced until then, and an event `close` with
    /// `{"reason":"stopped"}`, or what the route's [`Dialect`](crate::Dialect) says then. Clients
    /// that come back later get the same as long as the layer
    /// [remembers](crate::ResumeLayer::remember) the stream, and then the answer that
    /// [`finished`](crate::ResumeLayer::finished) sets, without a call of the handler.
    ///
    /// # Errors
    ///
    /// [`HandleError`] if the log that nodes share cannot be read or written. Then the streams of
    /// this process are stopped, and those of other nodes may not be. Without such a log there is
    /// no error.
    pub async fn stop(&self, key: &ResumeKey) -> Result<usize, HandleError<L::Error>> {
        HandleError::of(caught(|| self.resumer.stop(key)).await)
    }
}

impl<L: EventLog> Resumer<L> {
    /// The sessions of a principal that run, the oldest first.
    async fn list(&self, principal: &str) -> Result<Vec<RunningStream>, L::Error> {
        let own = self.nodes.own;
        let sessions = self.sessions.of_principal(principal);
        let here = sessions.iter().filter_map(|session| {
            let readers = Some(session.running()?);
            Some(RunningStream { entry: DirectoryEntry::of(session, own), readers })
        });
        let mut list: Vec<_> = here.collect();
        if let Some(log) = self.shared_log() {
            let elsewhere = self.running_elsewhere(&log, principal).await?;
            list.extend(elsewhere.into_iter().map(|entry| RunningStream { entry, readers: None }));
            list.sort_by_key(RunningStream::since);
        }
        Ok(list)
    }

    /// Stops the sessions with this key, and returns how many ran.
    pub(super) async fn stop(&self, key: &ResumeKey) -> Result<usize, L::Error> {
        let sessions = self.sessions.running(key);
        let mut stopped = sessions.iter().filter(|session| session.stop()).count();
        if let Some(log) = self.shared_log() {
            let entries = self.running_elsewhere(&log, key.principal()).await?;
            for entry in entries.iter().filter(|entry| entry.key == *key) {
                let of = (entry.node, entry.token);
                Order::Stop.send(&log, of, self.settings.lease).await?;
                stopped += 1;
            }
        }
        Ok(stopped)
    }

    /// The log that this node shares with others, if it does.
    fn shared_log(&self) -> Option<L> {
        self.settings.log().filter(|_| !self.settings.other_nodes.is_zero())
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

/// Why a [`ResumeHandle`] could not list or stop the streams of other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError<E> {
    /// The log that nodes share returned this error.
    Log(E),
    /// The log that nodes share panicked. The panic hook has reported it.
    LogPanicked,
}

impl<E> HandleError<E> {
    /// What came of a call; `None` if it panicked.
    fn of<T>(answer: Option<Result<T, E>>) -> Result<T, Self> {
        answer.ok_or(Self::LogPanicked)?.map_err(Self::Log)
    }
}

impl<E> fmt::Display for HandleError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log(_) => "the log that nodes share did not answer",
            Self::LogPanicked => "the log that nodes share panicked",
        })
    }
}

impl<E: Error + 'static> Error for HandleError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Log(error) => Some(error),
            Self::LogPanicked => None,
        }
    }
}

/// A stream that runs, as [`ResumeHandle::list`] found it.
#[derive(Clone, Debug)]
pub struct RunningStream {
    entry: DirectoryEntry,
    readers: Option<usize>,
}

impl RunningStream {
    /// Which stream it is, and whose. [`ResumeHandle::stop`] takes it.
    #[must_use]
    pub fn key(&self) -> &ResumeKey {
        &self.entry.key
    }

    /// When it began, by the clock of its node.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.entry.since
    }

    /// How many clients read it at its node. None for a stream of another node.
    #[must_use]
    pub fn readers(&self) -> Option<usize> {
        self.readers
    }

    /// The node that runs it, by the name that its [`ResumeHandle::node`] has.
    #[must_use]
    pub fn node(&self) -> &str {
        self.entry.node.as_str()
    }
}
