//! What a registry and its streams share.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;

use super::{Label, StreamId, StreamInfo, StreamStats};
use crate::engine::{EndReason, Farewell, Injection};
use crate::roster::{Registration, Roster};
use crate::sync::{catch_panic, now};

/// What a registry and its streams share.
#[derive(Debug)]
pub(crate) struct RegistryInner {
    pub(crate) roster: Arc<Roster<RegistryEntry>>,
    /// How many events may wait for a stream that is not polled.
    pub(crate) mailbox: usize,
    pub(crate) count_events: bool,
    /// After how long a stream that is not polled is shown as stalled; zero is never.
    pub(crate) stalled_after: Duration,
    pub(crate) hooks: Hooks,
}

/// A stream's slot.
#[derive(Debug)]
pub(crate) struct RegistryEntry {
    pub(crate) stats: Arc<StreamStats>,
    pub(crate) mail: Mail,
}

/// What waits for a stream until it is polled: mostly nothing, sometimes one event.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) first: Option<Arc<Injection>>,
    pub(crate) rest: Option<Box<Rest>>,
    /// Since when there is something that the stream has not seen.
    since: Option<Instant>,
}

/// What few streams have in their mailbox: a slot without it is one cache line.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    pub(crate) more: VecDeque<Arc<Injection>>,
    pub(crate) close: Option<Farewell>,
}

impl Mail {
    fn came(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Takes what can be written: all, or in the middle of a long event nothing but the order to
    /// close.
    pub(crate) fn take(&mut self, writable: bool) -> Self {
        // Seen is enough: what waits for the end of a long event does not wait for the client.
        self.since = None;
        if writable {
            return std::mem::take(self);
        }
        let close = self.rest.as_mut().and_then(|rest| rest.close.take());
        let rest = close.map(|close| Rest { close: Some(close), ..Rest::default() });
        Self { rest: rest.map(Box::new), ..Self::default() }
    }
}

impl RegistryEntry {
    /// What is to be known for [`RegistryInner::show`], which is called behind the lock.
    pub(crate) fn look(&self) -> (Arc<StreamStats>, Option<Instant>) {
        (Arc::clone(&self.stats), self.mail.since)
    }

    /// Puts an event into the mailbox at `now`, if there is room.
    pub(crate) fn put(&mut self, event: &Arc<Injection>, room: usize, now: Instant) -> bool {
        let Mail { first, rest, .. } = &mut self.mail;
        let waiting = rest.as_ref().map_or(0, |rest| rest.more.len());
        if first.is_none() {
            *first = Some(Arc::clone(event));
        } else if waiting + 1 < room {
            rest.get_or_insert_default().more.push_back(Arc::clone(event));
        } else {
            return false;
        }
        self.mail.came(now);
        true
    }

    /// Asks the stream to close; of two farewells the first is said, and the second is given back,
    /// to be dropped behind the lock: it may be bytes with an owner, whose drop is somebody else's.
    pub(crate) fn close(&mut self, farewell: Farewell) -> Option<Farewell> {
        let close = &mut self.mail.rest.get_or_insert_default().close;
        let (said, unsaid) = match close.take() {
            Some(first) => (first, Some(farewell)),
            None => (farewell, None),
        };
        *close = Some(said);
        self.mail.came(now());
        self.stats.mark_closing();
        unsaid
    }
}

type OnOpen = dyn Fn(&StreamInfo) + Send + Sync;
type OnClose = dyn Fn(&StreamInfo, EndReason) + Send + Sync;

#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) on_open: Option<Box<OnOpen>>,
    pub(crate) on_close: Option<Box<OnClose>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("on_open", &self.on_open.is_some())
            .field("on_close", &self.on_close.is_some())
            .finish()
    }
}

impl RegistryInner {
    /// Enters a stream.
    pub(crate) fn enter(
        &self,
        label: Label,
        method: Method,
        path: &str,
    ) -> Option<(Registration<RegistryEntry>, Arc<StreamStats>)> {
        let mut stats = None;
        let seat = self.roster.insert(
            || true,
            |id| {
                let new = StreamStats::new(StreamId(id), label, method, path, self.count_events);
                let new = stats.insert(Arc::new(new));
                RegistryEntry { stats: Arc::clone(new), mail: Mail::default() }
            },
        )?;
        let stats = stats?;
        if let Some(hook) = &self.hooks.on_open {
            catch_panic(|| hook(&self.show(&stats, None)));
        }
        Some((seat, stats))
    }

    /// What is shown of a stream that has had mail since then.
    pub(crate) fn show(&self, stats: &StreamStats, mail: Option<Instant>) -> StreamInfo {
        stats.to_info(mail, self.stalled_after)
    }

    /// Takes a stream off that has ended.
    pub(crate) fn leave(
        &self,
        mut seat: Registration<RegistryEntry>,
        stats: &StreamStats,
        reason: EndReason,
    ) {
        let Some(hook) = &self.hooks.on_close else {
            return;
        };
        let mail = seat.update(|entry| entry.mail.since).flatten();
        drop(seat);
        catch_panic(|| hook(&self.show(stats, mail), reason));
    }
}
