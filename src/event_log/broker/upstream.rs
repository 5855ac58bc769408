//! All topics that this process follows, and what their reader knows.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::{Cell, Entry, Loaded};
use crate::event_log::Topic;
use crate::sync::{lock, now};

/// Waits for a broker, however long it is away.
pub(in crate::event_log) type Wait<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a broker is asked for, beside what its reader reads.
pub(in crate::event_log) trait Source: Send + Sync + 'static {
    /// The last events of a topic, up to so many, and the head of the log at one moment.
    fn load(&self, topic: &Topic) -> Wait<Loaded>;

    /// The next events of a topic behind a place; none if there is none.
    fn page(&self, topic: &Topic, place: u64) -> Wait<Vec<Entry>>;

    /// The epoch and the last sequence of the log.
    fn head(&self) -> Wait<(u64, u64)>;

    /// A sequence that no event has, behind all that there are, and the epoch.
    fn reserve(&self) -> Wait<(u64, u64)>;

    /// A place before all events that are appended from now on, and before few that were.
    fn live(&self) -> u64;
}

/// What a topic keeps in this process.
#[derive(Clone, Copy, Debug)]
pub(in crate::event_log) struct Limits {
    pub(in crate::event_log) events: usize,
    pub(in crate::event_log) bytes: usize,
}

/// All topics that this process follows.
pub(in crate::event_log) struct Upstream {
    pub(super) source: Box<dyn Source>,
    limits: Limits,
    cells: Mutex<HashMap<Topic, Arc<Cell>>>,
    /// Counts what was loaded or left, so that the reader takes up what it reads.
    changes: AtomicU64,
    /// No topic that was read once has an event up to this that is not in its window or was.
    watermark: AtomicU64,
}

impl Upstream {
    pub(in crate::event_log) fn new(source: Box<dyn Source>, limits: Limits) -> Self {
        Self {
            source,
            limits,
            cells: Mutex::default(),
            changes: AtomicU64::new(0),
            watermark: AtomicU64::new(0),
        }
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<Topic, Arc<Cell>>> {
        lock(&self.cells)
    }

    /// The topic of this name, with a follower more, and whether it is new: then it has to be
    /// [loaded](Self::load).
    pub(super) fn join(&self, topic: &Topic) -> (Arc<Cell>, bool) {
        let mut cells = self.cells();
        let mut new = false;
        let cell = cells.entry(topic.clone()).or_insert_with(|| {
            new = true;
            Arc::new(Cell::new(topic.clone(), self.limits))
        });
        // Under the lock, so that it is not given up in between.
        cell.join();
        (Arc::clone(cell), new)
    }

    /// Fills a new topic. The reader has to be told afterwards.
    pub(in crate::event_log) async fn load(&self, cell: &Cell) {
        let loaded = self.source.load(&cell.topic).await;
        cell.load(loaded);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    pub(in crate::event_log) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// The topics to read.
    pub(in crate::event_log) fn loaded(&self) -> Vec<Arc<Cell>> {
        self.cells().values().filter(|cell| cell.is_loaded()).cloned().collect()
    }

    /// Gives up what nobody has followed for a time.
    pub(in crate::event_log) fn sweep(&self) {
        let now = now();
        let mut left = Vec::new();
        let mut cells = self.cells();
        cells.retain(|_, cell| {
            let is_left = cell.is_left(now, LINGER);
            if is_left {
                left.push(Arc::clone(cell));
            }
            !is_left
        });
        drop(cells);
        if !left.is_empty() {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(in crate::event_log) fn watermark(&self) -> u64 {
        self.watermark.load(Ordering::SeqCst)
    }

    /// To be set when all that was read is in the windows, and before anybody is woken.
    pub(in crate::event_log) fn set_watermark(&self, to: u64) {
        self.watermark.store(to, Ordering::SeqCst);
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("topics", &self.cells().len()).finish_non_exhaustive()
    }
}

/// Clients come back within seconds, and find the window as it was.
const LINGER: Duration = Duration::from_secs(30);
