//! Writes a stream into its topic, each event once.

use std::future::poll_fn;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::mark::{Kind, Mark, Place};
use crate::event_log::{EventLog, Follow, Start, Step, Topic};
use crate::wire::{Event, EventId};

/// The only one that writes into a stream's topic.
///
/// A log that does not take an event is asked again for a time. But it may have taken it and not said
/// so: a broker whose answer was lost, for one. To append the event again would then put it there
/// twice, and a client that comes back with the id of the first would get the second. So it is looked
/// for before: an event of no meaning is appended, and if what was to be written stands before that,
/// it is done.
///
/// What is still on its way to a broker then, and comes there later, is not seen. It is there twice;
/// those who read on skip it, by its number.
pub(super) struct Writer<L> {
    log: L,
    topic: Topic,
    /// How long the log is asked again.
    patience: Duration,
    /// Behind this nothing is known of the topic: the last id that the log gave.
    known: Option<EventId>,
}

impl<L: EventLog> Writer<L> {
    pub(super) fn new(log: L, topic: Topic, patience: Duration) -> Self {
        Self { log, topic, patience, known: None }
    }

    /// Writes an event, and gives its id; none if the log does not take it.
    pub(super) async fn write(&mut self, mark: Mark, event: Event) -> Option<EventId> {
        let event = mark.on(event);
        let until = Instant::now().checked_add(self.patience);
        loop {
            if let Ok(id) = self.log.append(&self.topic, event.clone()).await {
                self.known = Some(id.clone());
                return Some(id);
            }
            // What there is to be seen: all that came before this.
            let look = loop {
                if until.is_some_and(|until| Instant::now() >= until) {
                    return None;
                }
                sleep(AGAIN).await;
                let look = Mark { kind: Kind::Look, place: Place::default() };
                let look = look.on(Event::new().said(""));
                if let Ok(look) = self.log.append(&self.topic, look).await {
                    break look;
                }
            };
            let found = self.find(mark, &look);
            let found = match until {
                // The log may be away once more.
                Some(until) => timeout_at(until, found).await.ok()?,
                None => found.await,
            };
            self.known = Some(look);
            if found.is_some() {
                return found;
            }
        }
    }

    /// Looks for the first event with this mark, up to where it looks.
    async fn find(&self, mark: Mark, look: &EventId) -> Option<EventId> {
        let from = self.known.clone().map_or(Start::Earliest, Start::After);
        let mut follower = Box::pin(self.log.follow((&self.topic).into(), from));
        let mut found = None;
        loop {
            match poll_fn(|cx| follower.as_mut().poll_next(cx)).await? {
                Step::Event(event) if event.id() == look.as_str() => return found,
                Step::Event(event) if found.is_none() => {
                    let is_it = Mark::of(&event).is_some_and(|(it, _)| it == mark);
                    found = is_it.then(|| EventId::new(event.id()).ok()).flatten();
                }
                // What cannot be had any more is not had by clients either.
                Step::Event(_) | Step::Gap(_) => {}
            }
        }
    }
}

/// A log that is away is asked again after so long.
const AGAIN: Duration = Duration::from_millis(500);
