//! All streams of a layer that clients can come back to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::kept::Kept;
use super::token::Token;
use crate::event_log::EventLog;
use crate::sync::lock;

/// All streams of a layer that clients can come back to.
#[derive(Debug)]
pub(super) struct Streams<L>(Mutex<Lists<L>>);

#[derive(Debug)]
struct Lists<L> {
    kept: HashMap<Token, Arc<Kept<L>>>,
    /// Those that have ended, in that order.
    ended: VecDeque<(Instant, Token)>,
}

impl<L: EventLog> Streams<L> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Lists { kept: HashMap::new(), ended: VecDeque::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Lists<L>> {
        lock(&self.0)
    }

    /// Keeps one more. Where there is no room, the one that ended first is forgotten; if none has
    /// ended, there is no place for it.
    pub(super) fn keep(&self, kept: &Arc<Kept<L>>, most: usize) -> bool {
        let mut lists = self.lock();
        let mut forgotten = Vec::new();
        while lists.kept.len() >= most {
            let Some((_, token)) = lists.ended.pop_front() else {
                return false;
            };
            forgotten.extend(lists.kept.remove(&token));
        }
        lists.kept.insert(kept.token, Arc::clone(kept));
        drop(lists);
        // Outside of the lock: their logs are somebody else's code.
        drop(forgotten);
        true
    }

    /// The stream of this token, if it is this owner's.
    pub(super) fn find(
        &self,
        token: Token,
        owner: &str,
        remember: Duration,
    ) -> Option<Arc<Kept<L>>> {
        self.forget_old(remember);
        let lists = self.lock();
        lists.kept.get(&token).filter(|kept| *kept.owner == *owner).map(Arc::clone)
    }

    /// Takes note that a stream has ended, and keeps its end for a time.
    pub(super) fn ended(&self, token: Token) {
        self.lock().ended.push_back((Instant::now(), token));
    }

    pub(super) fn forget(&self, token: Token) {
        let kept = self.lock().kept.remove(&token);
        drop(kept);
    }

    /// Forgets what ended before so long, unless somebody has asked for it since.
    pub(super) fn forget_old(&self, remember: Duration) {
        let now = Instant::now();
        let mut forgotten = Vec::new();
        let mut lists = self.lock();
        while let Some((at, token)) = lists.ended.front().copied() {
            if now.saturating_duration_since(at) < remember {
                break;
            }
            lists.ended.pop_front();
            match lists.kept.get(&token) {
                Some(kept) if kept.was_told_within(remember) => {
                    lists.ended.push_back((now, token));
                }
                _ => forgotten.extend(lists.kept.remove(&token)),
            }
        }
        drop(lists);
        drop(forgotten);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().kept.len()
    }
}
