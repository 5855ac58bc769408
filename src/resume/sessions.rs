//! The sessions of a layer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::key::ResumeKey;
use super::session::Session;
use super::token::SessionToken;
use crate::event_log::EventLog;
use crate::sync::{drop_caught, lock, now};

/// The sessions of a layer, which its services share.
#[derive(Debug)]
pub(super) struct SessionMap<L>(Mutex<SessionLists<L>>);

#[derive(Debug)]
struct SessionLists<L> {
    by_token: HashMap<SessionToken, Arc<Session<L>>>,
    /// The sessions that have ended, the first one first.
    ended: VecDeque<(Instant, SessionToken)>,
    /// Those of each principal, the oldest first.
    of_principal: HashMap<Box<str>, Vec<SessionToken>>,
}

impl<L: EventLog> SessionLists<L> {
    /// The first of these sessions that has ended, or else the one that has had no reader for the
    /// longest time.
    fn to_remove<'a>(
        sessions: impl Iterator<Item = &'a Arc<Session<L>>> + Clone,
    ) -> Option<SessionToken>
    where
        L: 'a,
    {
        let ended = sessions.clone().find(|session| session.has_ended());
        let alone = || {
            let alone = sessions.filter_map(|it| Some((it.alone_for()?, it)));
            alone.max_by_key(|(time, _)| *time).map(|(_, session)| session)
        };
        ended.or_else(alone).map(|session| session.token)
    }

    fn take(&mut self, token: SessionToken) -> Option<Arc<Session<L>>> {
        let session = self.by_token.remove(&token)?;
        let principal = session.key.principal();
        if let Some(own) = self.of_principal.get_mut(principal) {
            own.retain(|other| *other != token);
            if own.is_empty() {
                self.of_principal.remove(principal);
            }
        }
        Some(session)
    }
}

impl<L: EventLog> SessionMap<L> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(SessionLists {
            by_token: HashMap::new(),
            ended: VecDeque::new(),
            of_principal: HashMap::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, SessionLists<L>> {
        lock(&self.0)
    }

    /// Adds a session. If there are too many, of all or of its principal, the one that ended first
    /// makes room, and else the one that has had no reader for the longest time, which is given up.
    /// Returns false if there is none of either.
    pub(super) fn insert(
        &self,
        session: &Arc<Session<L>>,
        max: usize,
        max_of_principal: usize,
    ) -> bool {
        let mut guard = self.lock();
        let lists = &mut *guard;
        let principal = session.key.principal();
        let own = lists.of_principal.get(principal).map_or(&[][..], Vec::as_slice);
        let room = match own.len() >= max_of_principal {
            true => {
                SessionLists::to_remove(own.iter().filter_map(|token| lists.by_token.get(token)))
            }
            false if lists.by_token.len() >= max => {
                let ended = std::iter::from_fn(|| Some(lists.ended.pop_front()?.1));
                match { ended }.find(|token| lists.by_token.contains_key(token)) {
                    None => SessionLists::to_remove(lists.by_token.values()),
                    ended => ended,
                }
            }
            false => Some(session.token),
        };
        let Some(token) = room else {
            return false;
        };
        let removed = lists.take(token);
        lists.of_principal.entry(principal.into()).or_default().push(session.token);
        lists.by_token.insert(session.token, Arc::clone(session));
        // Sessions are dropped after the lock is released: their logs are foreign code.
        drop(guard);
        if let Some(session) = removed {
            session.give_up();
            drop_caught(session);
        }
        true
    }

    /// The session with this token, if it has this key.
    pub(super) fn get(
        &self,
        token: SessionToken,
        key: &ResumeKey,
        remember: Duration,
    ) -> Option<Arc<Session<L>>> {
        self.remove_old(remember);
        let lists = self.lock();
        lists.by_token.get(&token).filter(|session| session.key == *key).map(Arc::clone)
    }

    /// The session with this token, for any principal.
    pub(super) fn of_token(&self, token: SessionToken) -> Option<Arc<Session<L>>> {
        self.lock().by_token.get(&token).map(Arc::clone)
    }

    /// The sessions that run.
    pub(super) fn all_running(&self) -> Vec<Arc<Session<L>>> {
        let mut all: Vec<_> = self.lock().by_token.values().map(Arc::clone).collect();
        all.retain(|session| session.running().is_some());
        all
    }

    /// The sessions of a principal, the oldest first, whether they run or have ended.
    pub(super) fn of_principal(&self, principal: &str) -> Vec<Arc<Session<L>>> {
        let lists = self.lock();
        let own = lists.of_principal.get(principal).into_iter().flatten();
        own.filter_map(|token| lists.by_token.get(token).map(Arc::clone)).collect()
    }

    /// The sessions with this key that run, the oldest first.
    pub(super) fn running(&self, key: &ResumeKey) -> Vec<Arc<Session<L>>> {
        let mut own = self.of_principal(key.principal());
        own.retain(|session| session.key == *key && session.running().is_some());
        own
    }

    /// Notes that a session has ended. It is remembered for a time.
    pub(super) fn note_end(&self, token: SessionToken) {
        let mut guard = self.lock();
        let SessionLists { by_token, ended, .. } = &mut *guard;
        ended.push_back((now(), token));
        // Sessions that made room are here until their time has passed, which may be never.
        if ended.len() > 2 * by_token.len() + MIN_ENDED {
            ended.retain(|(_, token)| by_token.contains_key(token));
        }
    }

    pub(super) fn remove(&self, token: SessionToken) {
        let session = self.lock().take(token);
        // The session may be the last that has its log, which is foreign code.
        drop_caught(session);
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
                _ => removed.extend(lists.take(token)),
            }
        }
        drop(lists);
        removed.into_iter().for_each(drop_caught);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_token.len()
    }
}

/// So many entries for sessions that are gone may always be kept.
const MIN_ENDED: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;
    use crate::dialect::Dialect;
    use crate::event_log::MemoryLog;
    use crate::resume::head::SavedHead;
    use crate::resume::record::{LogProgress, SessionEnd};
    use crate::resume::session::SessionTiming;
    use crate::resume::token::TopicPart;

    #[test]
    fn sessions_that_made_room_for_others_leave_nothing_however_long_ends_are_remembered() {
        let (sessions, log) = (SessionMap::new(), MemoryLog::new());
        let head = SavedHead::of(&http::Response::new(()).into_parts().0, &Dialect::default());
        let buffer = LogProgress { events: 1, bytes: 1 };
        let timing = SessionTiming { buffer, linger: Duration::ZERO };
        for _ in 0..1_000 {
            let (token, key) = (SessionToken::random().unwrap(), ResumeKey::new("a", "ann"));
            let log = (log.clone(), token.topic(&key, TopicPart::Events).unwrap());
            let (head, dialect) = (head.clone(), Dialect::default());
            let session = Session::new((token, key), head, log, dialect, timing, Weak::new());
            assert!(sessions.insert(&Arc::new(session), 100, 10));
            sessions.of_token(token).unwrap().end(SessionEnd::Finished);
            sessions.note_end(token);
            sessions.remove_old(Duration::MAX);
        }
        let lists = sessions.lock();
        assert_eq!((lists.by_token.len(), lists.of_principal.len()), (10, 1));
        assert!(lists.ended.len() <= 2 * 10 + MIN_ENDED + 1, "{}", lists.ended.len());
    }
}
