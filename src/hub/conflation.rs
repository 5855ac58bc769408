//! [`Conflation`]: of several events with one key, a client that lags gets the newest.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::passing::Sent;
use crate::event_log::{Logged, Topic};

/// Leaves out events for a client that lags: of several that wait for it with the same key, it gets
/// the newest.
///
/// It is for events that each replace the one before, such as a price, a position on a map, or a
/// row of a table: see [`Subscription::conflate`](super::Subscription::conflate). A client on a
/// slow line then gets each price as it is, and not hundreds of prices as they were.
///
/// # What a client gets
///
/// When a client has taken what was sent, all events that wait for it are taken from the log at
/// once, as a batch. If there are no more than the [lag](Self::lag), it gets all of them. If there
/// are more, an event is left out if a later one in the batch has the same key. Events without a
/// key are never left out. A batch is sent before the next one is taken, so a key that changes all
/// the time delays no other key, and is sent once in each batch.
///
/// - The events that are sent are in the order of their ids.
/// - The newest event of a key is never left out.
/// - The client no longer gets each event once: it gets each at most once.
/// - Its `Last-Event-ID` stays a position: an event that was left out has a later one with its key,
///   which is either sent or comes after the position, and then a client that comes back gets it.
///
/// What passes the [filter](super::Subscription::filter) is conflated. Events that were left out
/// count as read: there is no `gap` for them.
///
/// # Memory
///
/// A batch has at most 1,024 [events](Self::events) and 256 KiB [of bytes](Self::bytes), keys
/// included and one event more. If there is more, the batch is sent as it is, and a key may come
/// again in the next one. Nothing is held for a client that keeps up.
///
/// # Examples
///
/// ```
/// use tower_sse::Hub;
/// use tower_sse::event_log::Topics;
/// use tower_sse::hub::Conflation;
///
/// // A topic for each share, and each event has its price.
/// let prices = Hub::default().subscribe(Topics::from_static(&["prices.*"]));
/// let prices = prices.conflate(Conflation::by_topic());
/// # let _ = prices;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Conflation {
    key: Arc<KeyOf>,
    lag: u64,
    events: usize,
    bytes: usize,
}

type KeyOf = dyn Fn(&Logged) -> Option<ConflationKey> + Send + Sync;

/// What events have in common of which the newest is sent.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum ConflationKey {
    /// The text is the log's.
    Topic(Topic),
    Text(Box<str>),
}

impl ConflationKey {
    fn len(&self) -> usize {
        match self {
            Self::Topic(topic) => topic.as_str().len(),
            Self::Text(text) => text.len(),
        }
    }
}

impl Conflation {
    /// Conflates events with the same key. An event for which `key` returns `None` is never left
    /// out.
    ///
    /// The function is called for each event and client, in the task of the client's stream, and
    /// should be quick.
    pub fn by<K: Into<Box<str>>>(
        key: impl Fn(&Logged) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        let key = move |event: &Logged| key(event).map(Into::into).map(ConflationKey::Text);
        Self::with(Arc::new(key))
    }

    /// Conflates the events of a topic.
    pub fn by_topic() -> Self {
        Self::with(Arc::new(|event| Some(ConflationKey::Topic(event.topic().clone()))))
    }

    fn with(key: Arc<KeyOf>) -> Self {
        Self { key, lag: LAG, events: EVENTS, bytes: BYTES }
    }

    /// Sets how many events may wait for a client of which none is left out.
    ///
    /// The default is 16: so many are sent in one piece, and a client that has no more of them
    /// waiting keeps up.
    pub fn lag(mut self, events: usize) -> Self {
        self.lag = events as u64;
        self
    }

    /// Sets how many events a client's batch may have. Zero is taken as one.
    ///
    /// The default is 1,024, which is as many as a topic keeps by default.
    pub fn events(mut self, count: usize) -> Self {
        self.events = count;
        self
    }

    /// Sets how many bytes the events and the keys of a client's batch may have, and one event
    /// more.
    ///
    /// The default is 256 KiB, which is 256 bytes for each of the 1,024 events. With a
    /// [`MemoryLog`](crate::event_log::MemoryLog) they are shared with the log as long as it keeps
    /// the events.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    pub(super) fn key_of(&self, event: &Logged) -> Option<ConflationKey> {
        (self.key)(event)
    }
}

impl fmt::Debug for Conflation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conflation")
            .field("lag", &self.lag)
            .field("events", &self.events)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// The events that wait for a client: first it is filled, then it is sent.
pub(super) struct Batch {
    pub(super) conflation: Conflation,
    /// The event that was taken first, as long as it is the only one. A client that keeps up has no
    /// others, and nothing is allocated for it.
    sole: Option<(Option<ConflationKey>, Bytes)>,
    /// By their places among all that were taken.
    events: BTreeMap<u64, Bytes>,
    /// The place of the newest event of each key, while the batch is filled.
    newest: HashMap<ConflationKey, u64>,
    /// The places of those that are left out as soon as the client lags.
    replaced: Vec<u64>,
    taken: u64,
    bytes: usize,
    /// What comes after the events, if that is known.
    after: Option<Sent>,
    is_sending: bool,
}

impl Batch {
    pub(super) fn new(conflation: Conflation) -> Self {
        Self {
            conflation,
            sole: None,
            events: BTreeMap::new(),
            newest: HashMap::new(),
            replaced: Vec::new(),
            taken: 0,
            bytes: 0,
            after: None,
            is_sending: false,
        }
    }

    /// Whether nothing was taken that is to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.sole.is_none() && self.events.is_empty()
    }

    /// Adds the next event, and seals the batch if it is full.
    pub(super) fn push(&mut self, key: Option<ConflationKey>, event: Bytes) {
        let place = self.taken;
        self.taken += 1;
        self.bytes += event.len() + key.as_ref().map_or(0, ConflationKey::len);
        if place == 0 {
            self.sole = Some((key, event));
        } else {
            if let Some((key, event)) = self.sole.take() {
                self.insert(0, key, event);
            }
            self.insert(place, key, event);
        }
        let Conflation { lag, events, bytes, .. } = self.conflation;
        if self.taken > lag {
            for place in self.replaced.drain(..) {
                self.bytes -= self.events.remove(&place).map_or(0, |event| event.len());
            }
        }
        let len = usize::from(self.sole.is_some()) + self.events.len();
        if len >= events || self.bytes >= bytes || self.taken >= MAX_TAKEN {
            self.seal(None);
        }
    }

    fn insert(&mut self, place: u64, key: Option<ConflationKey>, event: Bytes) {
        self.events.insert(place, event);
        let Some(key) = key else {
            return;
        };
        let len = key.len();
        if let Some(before) = self.newest.insert(key, place) {
            self.replaced.push(before);
            // It is there once.
            self.bytes -= len;
        }
    }

    /// Sends what was taken, and then this.
    pub(super) fn seal(&mut self, after: Option<Sent>) {
        self.newest = HashMap::new();
        self.replaced = Vec::new();
        (self.after, self.is_sending) = (after, true);
    }

    /// What is sent next. `None` if the batch is to be filled.
    pub(super) fn pop(&mut self) -> Option<Sent> {
        if !self.is_sending {
            return None;
        }
        let sole = self.sole.take().map(|(_, event)| event);
        let event = sole.or_else(|| self.events.pop_first().map(|(_, event)| event));
        let next = event.map(Sent::Events).or_else(|| self.after.take());
        if next.is_none() {
            (self.taken, self.bytes, self.is_sending) = (0, 0, false);
        }
        next
    }
}

const LAG: u64 = 16;
const EVENTS: usize = 1024;
const BYTES: usize = 256 * 1024;

/// So many events are taken for one batch, whatever is left of them: a client must not wait for a
/// topic to pause. It takes some milliseconds, in slices.
const MAX_TAKEN: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(batch: &mut Batch) -> Vec<String> {
        let sent = std::iter::from_fn(|| batch.pop());
        sent.map(|sent| match sent {
            Sent::Events(bytes) => String::from_utf8(bytes.into()).unwrap(),
            Sent::End => "end".to_owned(),
            _ => "other".to_owned(),
        })
        .collect()
    }

    fn batch(lag: usize, events: usize, bytes: usize) -> Batch {
        Batch::new(Conflation::by_topic().lag(lag).events(events).bytes(bytes))
    }

    fn push(batch: &mut Batch, events: &str) {
        for event in events.split(' ') {
            let key = event.trim_end_matches(|it: char| it.is_ascii_digit());
            let key = (!key.is_empty()).then(|| ConflationKey::Text(key.into()));
            batch.push(key, Bytes::copy_from_slice(event.as_bytes()));
        }
    }

    #[test]
    fn of_events_with_one_key_the_newest_is_sent_if_there_are_more_than_the_lag() {
        #[rustfmt::skip]
        let table = [
            ("a1 a2 a3",          "a1 a2 a3 end"),
            ("a1 a2 a3 a4",       "a4 end"),
            ("a1 b2 a3 b4",       "a3 b4 end"),
            ("b1 a2 a3 a4",       "b1 a4 end"),
            ("1 a2 3 a4 5",       "1 3 a4 5 end"),
            ("1 2 3 4 5",         "1 2 3 4 5 end"),
            ("a1 b2 c3 a4 b5 c6", "a4 b5 c6 end"),
        ];
        for (events, expected) in table {
            let mut batch = batch(3, 100, 1_000);
            push(&mut batch, events);
            assert!(batch.pop().is_none(), "it is filled");
            batch.seal(Some(Sent::End));
            assert_eq!(sent(&mut batch).join(" "), expected, "{events}");
            // And the next one begins anew.
            push(&mut batch, "a7");
            batch.seal(None);
            assert_eq!(sent(&mut batch), ["a7"]);
        }
    }

    #[test]
    fn nothing_is_allocated_for_a_client_that_has_one_event_waiting_at_a_time() {
        let mut batch = batch(3, 100, 1_000);
        for event in ["a1", "b2", "3", "a4"] {
            push(&mut batch, event);
            assert!(!batch.is_empty() && batch.pop().is_none());
            assert_eq!(batch.events.len() + batch.newest.capacity(), 0);
            batch.seal(None);
            assert_eq!(sent(&mut batch), [event]);
        }
    }

    #[test]
    fn a_batch_that_is_full_is_sent_and_has_one_event_more_than_its_bytes_at_most() {
        let mut few = batch(0, 2, 1_000);
        push(&mut few, "a1 a2 a3 b4");
        assert_eq!(sent(&mut few), ["a3", "b4"]);

        let mut small = batch(0, 100, 10);
        push(&mut small, "a1 a2 a3 a4 a5 a6 bbbbb7");
        assert!(small.bytes <= 10 + "bbbbb7".len() + "bbbbb".len() && small.is_sending);
        assert_eq!(sent(&mut small), ["a6", "bbbbb7"]);
        assert_eq!((small.bytes, small.taken), (0, 0));
    }

    #[test]
    fn a_key_that_changes_without_pause_is_sent_in_the_end() {
        let mut batch = batch(1, 100, 1_000);
        let mut pushed = 0;
        while !batch.is_sending {
            push(&mut batch, "a1");
            pushed += 1;
        }
        assert_eq!((pushed, sent(&mut batch).len()), (MAX_TAKEN, 1));
        assert_eq!(batch.events.len() + batch.newest.capacity() + batch.replaced.capacity(), 0);
    }
}
