//! When topics are looked at: their events are too old, they may end, or all topics together have
//! too many bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::MemoryLogBuilder;
use super::topic::{FiledAs, TopicCell, TopicState};

/// Topics in the order in which they are looked at. So a sweep looks at those that are due, and not
/// at all that there are.
///
/// A topic is here once or not at all; its state says where. The time may be too early, if events
/// were removed since, and then the topic is filed anew when it is looked at.
#[derive(Debug, Default)]
pub(super) struct DueTopics {
    /// By the time when the first event is too old.
    with_events: BTreeMap<(Instant, u64), Arc<TopicCell>>,
    /// By the time when the topic may end.
    empty: BTreeMap<(Instant, u64), Arc<TopicCell>>,
}

impl DueTopics {
    /// Files a topic anew, as its state is now.
    pub(super) fn file(
        &mut self,
        cell: &Arc<TopicCell>,
        state: &mut TopicState,
        limits: &MemoryLogBuilder,
    ) {
        self.remove(cell, state);
        state.filed = state.due(limits);
        match state.filed {
            Some(FiledAs::WithEvents(at)) => {
                self.with_events.insert((at, cell.created), Arc::clone(cell));
            }
            Some(FiledAs::Empty(at)) => {
                self.empty.insert((at, cell.created), Arc::clone(cell));
            }
            None => {}
        }
    }

    pub(super) fn remove(&mut self, cell: &TopicCell, state: &mut TopicState) {
        match state.filed.take() {
            Some(FiledAs::WithEvents(at)) => drop(self.with_events.remove(&(at, cell.created))),
            Some(FiledAs::Empty(at)) => drop(self.empty.remove(&(at, cell.created))),
            None => {}
        }
    }

    /// Takes topics that are due, but not more than so many.
    pub(super) fn take(&mut self, now: Instant, most: usize) -> Vec<Arc<TopicCell>> {
        let mut taken = Vec::new();
        for topics in [&mut self.with_events, &mut self.empty] {
            while taken.len() < most {
                let Some(first) = topics.first_entry().filter(|it| it.key().0 <= now) else {
                    break;
                };
                let cell = first.remove();
                cell.lock().filed = None;
                taken.push(cell);
            }
        }
        taken
    }

    /// The topic whose first event will be too old first.
    pub(super) fn oldest(&self) -> Option<Arc<TopicCell>> {
        self.with_events.first_key_value().map(|(_, cell)| Arc::clone(cell))
    }
}
