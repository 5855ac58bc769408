//! The last events of topics of a log in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::yield_now;

use super::feed::Feed;
use super::inner::MemoryLogInner;
use super::topic::TopicCell;
use crate::event_log::{Logged, Topics};
use crate::sync::now;

impl MemoryLogInner {
    /// The last `count` events of these topics.
    pub(super) async fn last(&self, topics: &Topics, count: usize) -> Vec<Logged> {
        let (now, state) = (now(), &self.state);
        // Read before topics are looked at, so that of the events up to it none is missing.
        let head = state.head();
        let mut last = BTreeMap::new();
        for (at, cell) in self.cells(topics).into_iter().enumerate() {
            if at % MAX_LOOKS == MAX_LOOKS - 1 {
                yield_now().await;
            }
            let topic = cell.trimmed(now, state);
            let events = topic.window.after(0).rev();
            for event in events.filter(|event| event.sequence <= head && !event.finishes) {
                last.insert(event.sequence, (Arc::clone(&cell), event.clone()));
                if last.len() > count {
                    let first = last.pop_first();
                    // Those before it are older still.
                    if first.is_some_and(|first| first.0 == event.sequence) {
                        break;
                    }
                }
            }
        }
        last.into_values().map(|(cell, event)| cell.logged(event)).collect()
    }

    /// The topics that are there, each once.
    fn cells(&self, topics: &Topics) -> Vec<Arc<TopicCell>> {
        let mut cells: Vec<_> = topics.names().filter_map(|name| self.get(name)).collect();
        if topics.has_patterns() {
            let feed = Feed::new(Arc::clone(topics.shared_patterns()), 0);
            let matching = self.matching(&feed).cells.into_iter();
            cells.extend(matching.filter(|cell| topics.names().all(|name| *name != cell.topic)));
        }
        cells
    }
}

/// So many topics are looked at before other tasks have their turn.
const MAX_LOOKS: usize = 1024;
