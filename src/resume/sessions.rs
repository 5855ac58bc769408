//! The sessions of a layer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::key::SessionToken;
use super::session::Session;
use crate::event_log::EventLog;
use crate::sync::{lock, now};

/// The sessions of a layer, which its services share.
#[derive(Debug)]
pub(super) struct SessionMap<L>(Mutex<SessionLists<L>>);

#[derive(Debug)]
struct SessionLists<L> {
    by_token: HashMap<SessionToken, Arc<Session<L>>>,
    /// The sessions that have ended, the first one first.
    ended: VecDeque<(Instant, SessionToken)>,
}

impl<L: EventLog> SessionMap<L> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(SessionLists { by_token: HashMap::new(), ended: VecDeque::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, SessionLists<L>> {
        lock(&self.0)
    }

    /// Adds a session. If there are `max` sessions, the one that ended first makes room. Returns
    /// false if none has ended.
    pub(super) fn insert(&self, session: &Arc<Session<L>>, max: usize) -> bool {
        let mut lists = self.lock();
        let mut removed = Vec::new();
        while lists.by_token.len() >= max {
            let Some((_, token)) = lists.ended.pop_front() else {
                return false;
            };
            removed.extend(lists.by_token.remove(&token));
        }
        lists.by_token.insert(session.token, Arc::clone(session));
        // Sessions are dropped after the lock is released: their logs are foreign code.
        drop(lists);
        drop(removed);
        true
    }

    /// The session with this token, if it has this key.
    pub(super) fn get(
        &self,
        token: SessionToken,
        key: &str,
        remember: Duration,
    ) -> Option<Arc<Session<L>>> {
        self.remove_old(remember);
        let lists = self.lock();
        lists.by_token.get(&token).filter(|session| *session.key == *key).map(Arc::clone)
    }

    /// Notes that a session has ended. It is remembered for a time.
    pub(super) fn note_end(&self, token: SessionToken) {
        self.lock().ended.push_back((now(), token));
    }

    pub(super) fn remove(&self, token: SessionToken) {
        let session = self.lock().by_token.remove(&token);
        drop(session);
    }

    /// Removes the sessions that ended before that time, and that no client asked for since.
    pub(super) fn remove_old(&self, remember: Duration) {
        let now = now();
        let mut removed = Vec::new();
        let mut lists = self.lock();
        while let Some((at, token)) = lists.ended.front().copied() {
            if now.saturating_duration_since(at) < remember {
                break;
            }
            lists.ended.pop_front();
            match lists.by_token.get(&token) {
                Some(session) if session.was_asked_within(remember) => {
                    lists.ended.push_back((now, token));
                }
                _ => removed.extend(lists.by_token.remove(&token)),
            }
        }
        drop(lists);
        drop(removed);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_token.len()
    }
}
