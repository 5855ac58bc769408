//! The handle to the list of open streams.

mod builder;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use builder::RegistryBuilder;

use crate::engine::{CloseReason, Farewell, Injection};
use crate::observe;
use crate::roster::Visit;
use crate::state::{RegistryEntry, RegistryInner, StreamId, StreamInfo};
use crate::sync::now;
use crate::wire::Event;

/// The list of open streams, which can be shown, written into and closed.
///
/// A stream is on the list from the begin of its response until its body ends or is dropped. The
/// server learns that a client vanished when writing to it fails. Behind some proxies that is one
/// to three keepalives later, so the list may have streams whose client is gone for that long.
///
/// Handles are cheap to clone and share one list. To enter, to leave and to be found takes about
/// the same time for any number of streams. The memory of the list and the time of a walk follow
/// the number of streams that are open now. Streams do not wait for walks.
///
/// Layers around one handler may have different registries, for example of the server and of one of
/// its tenants. A stream is on the lists of all of them then, with an id and a label of its own on
/// each, and each of them can write into it and close it.
///
/// # Examples
///
/// ```
/// use tower_sse::{Event, EventName, Farewell, Registry, RegistryLayer};
///
/// let registry = Registry::new();
/// let layer = RegistryLayer::new(registry.clone());
///
/// let delivery =
/// registry.broadcast(Event::new().event(EventName::from_static("news")).data("{}")); println!("{}
/// of {} streams", delivery.sent, registry.len()); registry.close_where(|stream|
/// stream.label.as_str() == "user 7", Farewell::close());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    registry: Arc<RegistryInner>,
}

impl Registry {
    /// An empty list, with the defaults of [`builder`](Self::builder).
    #[must_use]
    pub fn new() -> Self {
        RegistryBuilder::default().build_registry()
    }

    /// A builder with settings and hooks to choose.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// The number of open streams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.registry.roster.len()
    }

    /// Whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All open streams, in about the order in which they opened.
    #[must_use]
    pub fn snapshot(&self) -> Vec<StreamInfo> {
        let mut seen = Vec::with_capacity(self.len());
        self.registry.roster.visit(|_, entry| {
            seen.push(entry.stats_and_mail());
            Visit::Skip
        });
        // Read after the locks, so that streams do not wait for it.
        seen.iter().map(|(stats, mail)| self.registry.to_info(stats, *mail)).collect()
    }

    /// One stream, if it is still open.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<StreamInfo> {
        let seen =
            self.registry.roster.visit_one(id.0, |entry| (entry.stats_and_mail(), Visit::Skip));
        seen.map(|(stats, mail)| self.registry.to_info(&stats, mail))
    }

    /// Writes an event into one stream, after what it has sent so far.
    ///
    /// Into a stream of JSON its data is written, as a line. What has no data is dropped there, and
    /// any event is in a call. It counts as dropped in metrics, and not in the result.
    ///
    /// # Errors
    ///
    /// [`SendError::Gone`] if the stream is not open any more. [`SendError::Full`] if the mailbox
    /// of the stream is full, because its client reads too slowly.
    pub fn send(&self, id: StreamId, event: Event) -> Result<(), SendError> {
        let event = Arc::new(Injection::new(event));
        let put = |entry: &mut RegistryEntry| match entry.push_event(
            &event,
            self.registry.mailbox,
            now(),
        ) {
            true => (Ok(()), Visit::Wake),
            false => (Err(SendError::Full), Visit::Skip),
        };
        let sent = self.registry.roster.visit_one(id.0, put).unwrap_or(Err(SendError::Gone));
        observe::mailbox_dropped(usize::from(sent == Err(SendError::Full)));
        sent
    }

    /// Writes an event into all streams.
    pub fn broadcast(&self, event: Event) -> Delivery {
        let event = Arc::new(Injection::new(event));
        let (mut delivery, now) = (Delivery::default(), now());
        self.registry.roster.visit(|_, entry| self.put(entry, &event, now, &mut delivery));
        observe::mailbox_dropped(delivery.dropped);
        delivery
    }

    /// Writes an event into the streams for which `choose` returns true.
    ///
    /// `choose` may take its time and use the registry. No stream waits for it.
    pub fn broadcast_where(&self, choose: impl Fn(&StreamInfo) -> bool, event: Event) -> Delivery {
        let event = Arc::new(Injection::new(event));
        let chosen = self.chosen(choose);
        let (mut delivery, now) = (Delivery::default(), now());
        for id in chosen {
            let put = |entry: &mut RegistryEntry| ((), self.put(entry, &event, now, &mut delivery));
            self.registry.roster.visit_one(id.0, put);
        }
        observe::mailbox_dropped(delivery.dropped);
        delivery
    }

    /// Ends one stream with a farewell. Returns whether the stream was open.
    pub fn close(&self, id: StreamId, farewell: Farewell) -> bool {
        let close = |entry: &mut RegistryEntry| (entry.close(farewell), Visit::Wake);
        self.registry.roster.visit_one(id.0, close).is_some()
    }

    /// Ends the streams for which `choose` returns true, each with the farewell, and returns their
    /// number.
    ///
    /// `choose` may take its time and use the registry. No stream waits for it.
    pub fn close_where(&self, choose: impl Fn(&StreamInfo) -> bool, farewell: Farewell) -> usize {
        let (chosen, farewell) = (self.chosen(choose), farewell.for_reason(CloseReason::Kicked));
        chosen.into_iter().filter(|id| self.close(*id, farewell.clone())).count()
    }

    /// Chosen in advance and outside of any lock, because `choose` is foreign code.
    fn chosen(&self, choose: impl Fn(&StreamInfo) -> bool) -> Vec<StreamId> {
        let streams = self.snapshot().into_iter();
        streams.filter(|stream| choose(stream)).map(|stream| stream.id).collect()
    }

    fn put(
        &self,
        entry: &mut RegistryEntry,
        event: &Arc<Injection>,
        now: Instant,
        delivery: &mut Delivery,
    ) -> Visit {
        if entry.push_event(event, self.registry.mailbox, now) {
            delivery.sent += 1;
            return Visit::Wake;
        }
        delivery.dropped += 1;
        Visit::Skip
    }

    pub(crate) fn into_inner(self) -> Arc<RegistryInner> {
        self.registry
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

/// How many streams get an event that was sent into several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// Streams that write the event at their next poll.
    pub sent: usize,
    /// Streams that do not get the event, because their mailbox was full.
    pub dropped: usize,
}

/// Why an event could not be sent into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The stream is not open any more.
    Gone,
    /// The mailbox of the stream is full.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the stream is not open any more",
            Self::Full => "the stream's mailbox is full",
        })
    }
}

impl Error for SendError {}
