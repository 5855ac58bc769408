//! The streams that count against a limit, by key.

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;

use super::LimitKey;
use crate::roster::RosterId;

/// The streams of some keys.
#[derive(Debug)]
pub(super) struct KeyHolders {
    keys: HashMap<LimitKey, Holders>,
    /// Never given twice, so that a stream that was replaced is not mistaken for another.
    next: u64,
}

/// The streams of one key.
#[derive(Debug, Default)]
struct Holders {
    open: usize,
    /// Those that may be replaced, the oldest first.
    by_age: BTreeMap<u64, RosterId>,
}

impl KeyHolders {
    pub(super) fn new(hasher: RandomState) -> Self {
        Self { keys: HashMap::with_hasher(hasher), next: 0 }
    }

    /// How many keys have streams.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.keys.capacity()
    }

    /// How many streams of `key` count.
    pub(super) fn open_of(&self, key: &LimitKey) -> usize {
        self.keys.get(key).map_or(0, |holders| holders.open)
    }

    /// Counts one more stream of a key, and gives its ticket. One with an id may be replaced.
    pub(super) fn enter(&mut self, key: &LimitKey, id: Option<RosterId>) -> u64 {
        let ticket = self.next_ticket();
        let holders = self.keys.entry(key.clone()).or_default();
        holders.open += 1;
        holders.by_age.extend(id.map(|id| (ticket, id)));
        ticket
    }

    /// Takes out the oldest streams of a key, so that with one more there are `max`. None if there
    /// are not as many that may be replaced.
    pub(super) fn replace(&mut self, key: &LimitKey, max: usize) -> Option<Vec<RosterId>> {
        let holders = self.keys.get_mut(key)?;
        let surplus = holders.open - max.checked_sub(1)?;
        if holders.by_age.len() < surplus {
            return None;
        }
        holders.open -= surplus;
        let oldest = std::iter::from_fn(|| holders.by_age.pop_first());
        Some(oldest.take(surplus).map(|(_, id)| id).collect())
    }

    /// Puts another stream in the place of one that may be replaced, and gives its ticket. None if
    /// that one does not count any more.
    pub(super) fn take_over(&mut self, key: &LimitKey, from: u64, id: RosterId) -> Option<u64> {
        let ticket = self.next_ticket();
        let holders = self.keys.get_mut(key)?;
        holders.by_age.remove(&from)?;
        holders.by_age.insert(ticket, id);
        Some(ticket)
    }

    /// Has a stream that may be replaced stay. None if it does not count any more.
    pub(super) fn keep(&mut self, key: &LimitKey, ticket: u64) -> Option<()> {
        self.keys.get_mut(key)?.by_age.remove(&ticket).map(drop)
    }

    /// Whether a stream that may be replaced counts.
    #[cfg(feature = "resume")]
    pub(super) fn has(&self, key: &LimitKey, ticket: u64) -> bool {
        self.keys.get(key).is_some_and(|holders| holders.by_age.contains_key(&ticket))
    }

    /// Removes one stream of a key, with its ticket if it may be replaced. True if it counted.
    pub(super) fn leave(&mut self, key: &LimitKey, ticket: Option<u64>) -> bool {
        let Some(holders) = self.keys.get_mut(key) else {
            return false;
        };
        if ticket.is_some_and(|ticket| holders.by_age.remove(&ticket).is_none()) {
            return false;
        }
        holders.open -= 1;
        if holders.open == 0 {
            self.keys.remove(key);
            // At an eighth, so that streams that come and go do not pay for it.
            if self.keys.len() * 8 <= self.keys.capacity() {
                self.keys.shrink_to(self.keys.len() * 2);
            }
        }
        true
    }

    fn next_ticket(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
