//! What a registry and its streams share: entries, mail and hooks.

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
    /// For how long a stream has to be unpolled to be shown as stalled. Zero is never.
    pub(crate) stalled_after: Duration,
    pub(crate) hooks: Hooks,
}

/// What the list holds of a stream.
#[derive(Debug)]
pub(crate) struct RegistryEntry {
    pub(crate) stats: Arc<StreamStats>,
    pub(crate) mail: Mail,
}

/// What waits for a stream until its next poll: mostly nothing, sometimes one event.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) first: Option<Arc<Injection>>,
    pub(crate) rest: Option<Box<Rest>>,
    /// When the oldest came of what the stream has not seen.
    oldest: Option<Instant>,
}

/// What few streams have in their mailbox. Without it, a slot of the list is one cache line.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    pub(crate) more: VecDeque<Arc<Injection>>,
    pub(crate) close: Option<Farewell>,
}

impl Mail {
    /// Takes what can be written: everything, or in the middle of a long event only the order to
    /// close.
    pub(crate) fn take(&mut self, writable: bool) -> Self {
        // Mail that waits for the end of a long event does not wait for the client.
        self.oldest = None;
        if writable {
            return std::mem::take(self);
        }
        let close = self.rest.as_mut().and_then(|rest| rest.close.take());
        let rest = close.map(|close| Rest { close: Some(close), ..Rest::default() });
        Self { rest: rest.map(Box::new), ..Self::default() }
    }
}

impl RegistryEntry {
    /// What [`RegistryInner::to_info`] needs, which is called after the lock.
    pub(crate) fn stats_and_mail(&self) -> (Arc<StreamStats>, Option<Instant>) {
        (Arc::clone(&self.stats), self.mail.oldest)
    }

    /// Puts an event into the mailbox at `now`. False if there is no room.
    pub(crate) fn push_event(&mut self, event: &Arc<Injection>, room: usize, now: Instant) -> bool {
        let Mail { first, rest, .. } = &mut self.mail;
        let waiting = rest.as_ref().map_or(0, |rest| rest.more.len());
        if first.is_none() {
            *first = Some(Arc::clone(event));
        } else if waiting + 1 < room {
            rest.get_or_insert_default().more.push_back(Arc::clone(event));
        } else {
            return false;
        }
        self.mail.oldest.get_or_insert(now);
        true
    }

    /// Asks the stream to close. The first farewell of several is sent. The other one is returned,
    /// to be dropped after the lock: it may be bytes with an owner, whose drop is foreign code.
    pub(crate) fn close(&mut self, farewell: Farewell) -> Option<Farewell> {
        let close = &mut self.mail.rest.get_or_insert_default().close;
        let (sent, unsent) = match close.take() {
            Some(first) => (first, Some(farewell)),
            None => (farewell, None),
        };
        *close = Some(sent);
        self.mail.oldest.get_or_insert(now());
        self.stats.mark_closing();
        unsent
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
    /// Puts a stream on the list.
    pub(crate) fn register(
        &self,
        label: Label,
        method: Method,
        path: &str,
    ) -> Option<(Registration<RegistryEntry>, Arc<StreamStats>)> {
        let mut stats = None;
        let registration = self.roster.insert(
            || true,
            |id| {
                let new = StreamStats::new(StreamId(id), label, method, path, self.count_events);
                let new = stats.insert(Arc::new(new));
                RegistryEntry { stats: Arc::clone(new), mail: Mail::default() }
            },
        )?;
        let stats = stats?;
        if let Some(hook) = &self.hooks.on_open {
            catch_panic(|| hook(&self.to_info(&stats, None)));
        }
        Some((registration, stats))
    }

    /// What is shown of a stream. `mail` is the time of the oldest mail that it has not seen.
    pub(crate) fn to_info(&self, stats: &StreamStats, mail: Option<Instant>) -> StreamInfo {
        stats.to_info(mail, self.stalled_after)
    }

    /// Takes a stream off that has ended.
    pub(crate) fn unregister(
        &self,
        mut registration: Registration<RegistryEntry>,
        stats: &StreamStats,
        reason: EndReason,
    ) {
        let Some(hook) = &self.hooks.on_close else {
            return;
        };
        let mail = registration.update(|entry| entry.mail.oldest).flatten();
        drop(registration);
        catch_panic(|| hook(&self.to_info(stats, mail), reason));
    }
}
