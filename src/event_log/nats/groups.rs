//! The followers that wait, in groups that follow the same topics, and which groups an event is
//! for.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use slab::Slab;

use crate::event_log::tree::TokenTree;
use crate::event_log::wake_list::{Ticket, WakeList};
use crate::event_log::{Topic, Topics};

/// The groups of followers. An event costs what its own groups cost, however many others there are.
#[derive(Debug, Default)]
pub(super) struct Groups {
    slab: Slab<Group>,
    keys: HashMap<Topics, usize>,
    /// The keys of the groups by what they follow.
    tree: TokenTree<Vec<usize>>,
}

/// The followers of the same topics.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) topics: Topics,
    pub(super) wakers: WakeList,
    /// Events up to this may have been in the window and are not any more.
    pub(super) lost: u64,
    followers: usize,
    /// The last sequences of events of these topics, if some topics are patterns.
    recent: VecDeque<u64>,
    /// All such events after this are in `recent`.
    recent_after: u64,
}

impl Groups {
    /// Adds a follower to the group of its topics, and returns the key of the group. If the group
    /// is new, all that the window has is after `floor`, and its last sequence is `head`.
    pub(super) fn join(&mut self, topics: &Topics, floor: u64, head: u64) -> usize {
        if let Some(&key) = self.keys.get(topics) {
            self.slab[key].followers += 1;
            return key;
        }
        let key = self.slab.insert(Group {
            topics: topics.clone(),
            wakers: WakeList::new(),
            lost: floor,
            followers: 1,
            recent: VecDeque::new(),
            recent_after: head,
        });
        self.keys.insert(topics.clone(), key);
        for path in paths(topics) {
            self.tree.place(path).get_or_insert_default().push(key);
        }
        key
    }

    /// Removes a follower, and returns its waker, for the caller to drop outside of locks.
    pub(super) fn leave(&mut self, key: usize, ticket: &mut Ticket) -> Option<Waker> {
        let group = self.slab.get_mut(key)?;
        let waker = group.wakers.deregister(ticket);
        group.followers -= 1;
        if group.followers == 0 {
            let Group { topics, .. } = self.slab.remove(key);
            self.keys.remove(&topics);
            for path in paths(&topics) {
                let keys = self.tree.place(path).get_or_insert_default();
                keys.retain(|it| *it != key);
                if keys.is_empty() {
                    self.tree.remove(path);
                }
            }
        }
        waker
    }

    pub(super) fn followers(&self) -> usize {
        self.slab.iter().map(|(_, group)| group.followers).sum()
    }

    /// The group with this key, as long as it has followers.
    pub(super) fn get(&self, key: usize) -> &Group {
        &self.slab[key]
    }

    pub(super) fn get_mut(&mut self, key: usize) -> &mut Group {
        &mut self.slab[key]
    }

    /// Notes that the window has an event. Returns the wakers of the followers that wait for it.
    pub(super) fn push(&mut self, topic: &Topic, sequence: u64) -> Vec<Slab<Waker>> {
        let (mut wakers, groups) = (Vec::new(), &mut self.slab);
        self.tree.visit_patterns_of(topic.as_str(), &mut |keys| {
            for key in keys {
                let group = &mut groups[*key];
                group.note_recent(sequence);
                wakers.extend(group.wakers.take_all());
            }
        });
        wakers
    }

    /// Notes that the window does not have an event any more.
    pub(super) fn pop(&mut self, topic: &Topic, sequence: u64) {
        let groups = &mut self.slab;
        self.tree.visit_patterns_of(topic.as_str(), &mut |keys| {
            for key in keys {
                groups[*key].lost = sequence;
            }
        });
    }

    /// Notes that the window has no event up to a sequence any more. Returns all wakers.
    pub(super) fn clear(&mut self, sequence: u64) -> Vec<Slab<Waker>> {
        for (_, group) in &mut self.slab {
            (group.lost, group.recent_after) = (sequence, sequence);
            group.recent.clear();
        }
        self.take_all()
    }

    /// Returns all wakers.
    pub(super) fn take_all(&mut self) -> Vec<Slab<Waker>> {
        self.slab.iter_mut().filter_map(|(_, group)| group.wakers.take_all()).collect()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.slab.is_empty() && self.keys.is_empty()
    }
}

impl Group {
    fn note_recent(&mut self, sequence: u64) {
        // A topic may match twice.
        if self.topics.has_patterns() && self.recent.back() != Some(&sequence) {
            if self.recent.len() == MAX_RECENT {
                self.recent_after = self.recent.pop_front().unwrap_or_default();
            }
            self.recent.push_back(sequence);
        }
    }

    /// Whether the group remembers all events of its topics after a position.
    pub(super) fn remembers(&self, position: u64) -> bool {
        position >= self.recent_after
    }

    /// The first event that it remembers after a position.
    pub(super) fn first_recent(&self, position: u64) -> Option<u64> {
        first_after(&self.recent, position)
    }
}

/// The first of ascending sequences after a position.
pub(super) fn first_after(sequences: &VecDeque<u64>, position: u64) -> Option<u64> {
    sequences.get(sequences.partition_point(|it| *it <= position)).copied()
}

fn paths(topics: &Topics) -> impl Iterator<Item = &str> {
    topics.names().map(Topic::as_str).chain(topics.patterns())
}

/// How many events a group with patterns remembers: more than come until a follower is polled.
const MAX_RECENT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_for_the_groups_whose_topics_match_and_for_no_others() {
        let sets: &[&[&'static str]] = &[
            &["a"],
            &["a", "b"],
            &["a.*"],
            &["a.*", "a.b", "c"],
            &["*.b"],
            &["a.>", "b.>"],
            &[">"],
            &["*"],
            &["*.*.>"],
            &[],
        ];
        let mut groups = Groups::default();
        let sets: Vec<Topics> = sets.iter().map(|set| Topics::from_static(set)).collect();
        let keys: Vec<usize> = sets.iter().map(|set| groups.join(set, 0, 0)).collect();
        let again: Vec<usize> = sets.iter().map(|set| groups.join(set, 0, 0)).collect();
        assert_eq!(keys, again);
        for topic in ["a", "b", "c", "d", "a.b", "a.c", "c.b", "a.b.c", "b.b.b.b"] {
            let topic = Topic::from_static(topic);
            let mut found = Vec::new();
            groups.tree.visit_patterns_of(topic.as_str(), &mut |keys| found.extend(keys));
            for (set, key) in sets.iter().zip(&keys) {
                assert_eq!(found.contains(key), set.matches(&topic), "{set:?} {topic:?}");
            }
        }
        for key in keys.iter().chain(&again) {
            assert!(!groups.is_empty());
            groups.leave(*key, &mut Ticket::default());
        }
        assert!(groups.is_empty());
    }

    #[test]
    fn a_group_with_patterns_knows_its_recent_events_and_that_it_forgot_others() {
        let mut groups = Groups::default();
        let key = groups.join(&Topics::from_static(&["a.*", "a.b"]), 0, 10);
        let many = MAX_RECENT as u64 + 2;
        for n in 0..many {
            groups.push(&Topic::from_static("a.b"), 20 + n);
            groups.push(&Topic::from_static("b"), 1_000);
        }
        let group = groups.get(key);
        assert!(!group.remembers(10) && group.remembers(21));
        assert_eq!(group.first_recent(21), Some(22));
        assert_eq!(group.first_recent(19 + many), None);
    }
}
