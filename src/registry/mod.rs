//! The list of streams that are open.

mod builder;
mod delivery;

use std::sync::Arc;
use std::time::Instant;

pub use builder::RegistryBuilder;
pub use delivery::{Delivery, SendError};

use crate::engine::{CloseReason, Farewell, Injection};
use crate::observe;
use crate::roster::Visit;
use crate::state::{RegistryEntry, RegistryInner, StreamId, StreamInfo};
use crate::sync::now;
use crate::wire::Event;

/// The list of streams that are open, and a hand on each of them.
///
/// A stream is on the list from when its response begins until its body ends or is dropped. A
/// client that vanished without a word is noticed when writing to it fails: behind some proxies
/// one to three keepalives later, so the list may be that much too long.
///
/// Handles are cheap to clone and share one list. Entering and leaving take constant time, and
/// looking at the list never makes a stream wait.
///
/// # Examples
///
/// ```
/// use tower_sse::{Event, EventName, Farewell, Registry, RegistryLayer};
///
/// let registry = Registry::new();
/// let layer = RegistryLayer::new(registry.clone());
///
/// let delivery = registry.broadcast(Event::new().event(EventName::from_static("news")).data("{}"));
/// println!("{} of {} streams", delivery.sent, registry.len());
/// registry.close_where(|stream| stream.label.as_str() == "user 7", Farewell::close());
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

    /// Settings and hooks to choose.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// How many streams are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.registry.roster.len()
    }

    /// Whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All streams that are open, in no particular order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<StreamInfo> {
        let mut seen = Vec::with_capacity(self.len());
        self.registry.roster.visit(|_, entry| {
            seen.push(entry.look());
            Visit::Skip
        });
        // Read after the locks: streams do not wait for it.
        seen.iter().map(|(stats, mail)| self.registry.show(stats, *mail)).collect()
    }

    /// One stream, if it is still open.
    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<StreamInfo> {
        let seen = self.registry.roster.visit_one(id.0, |entry| (entry.look(), Visit::Skip));
        seen.map(|(stats, mail)| self.registry.show(&stats, mail))
    }

    /// Writes an event into one stream, behind what it has sent so far.
    ///
    /// # Errors
    ///
    /// [`SendError::Gone`] if the stream is not open any more, [`SendError::Full`] if as many
    /// events wait for it as its mailbox holds, because its client reads too slowly.
    pub fn send(&self, id: StreamId, event: Event) -> Result<(), SendError> {
        let event = Arc::new(Injection::new(event));
        let put = |entry: &mut RegistryEntry| match entry.put(&event, self.registry.mailbox, now())
        {
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

    /// Writes an event into the streams that `choose` chooses.
    ///
    /// `choose` may take its time and use the registry: no stream waits for it.
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

    /// Ends one stream with a farewell. Says whether it was open.
    pub fn close(&self, id: StreamId, farewell: Farewell) -> bool {
        let close = |entry: &mut RegistryEntry| (entry.close(farewell), Visit::Wake);
        self.registry.roster.visit_one(id.0, close).is_some()
    }

    /// Ends the streams that `choose` chooses, each with the farewell, and says how many.
    ///
    /// `choose` may take its time and use the registry: no stream waits for it.
    pub fn close_where(&self, choose: impl Fn(&StreamInfo) -> bool, farewell: Farewell) -> usize {
        let (chosen, farewell) = (self.chosen(choose), farewell.for_reason(CloseReason::Kicked));
        chosen.into_iter().filter(|id| self.close(*id, farewell.clone())).count()
    }

    /// Chosen first, outside of any lock: what chooses is somebody else's code.
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
        if entry.put(event, self.registry.mailbox, now) {
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
