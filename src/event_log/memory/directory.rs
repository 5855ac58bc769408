//! The topics of a log in memory by name, what is remembered of topics that have ended, and the
//! feeds of patterns.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::feed::Feed;
use super::log_state::LogState;
use super::topic::TopicCell;
use crate::event_log::tree::TokenTree;
use crate::event_log::{Topic, Topics};

/// All topics by name, and what is remembered of topics that have ended.
///
/// A topic that ended is remembered by name, so that a client that missed some of its events is
/// told of a gap and a client that missed none is not. One watermark for all of them would tell
/// each client of a quiet topic of a gap, because other topics have lost events since.
#[derive(Debug, Default)]
pub(super) struct Directory {
    topics: TokenTree<Entry>,
    /// The number of topics that have not ended.
    live: usize,
    /// The topics that ended last, with the sequences of their last events.
    ended: VecDeque<(Topic, u64)>,
    /// The last event of a topic that ended, also if its name is forgotten.
    last_ended: u64,
    /// The last event of a topic whose name is forgotten.
    forgotten: u64,
    /// The feeds by their patterns, and by each of them.
    feeds: HashMap<Arc<[Box<str>]>, Arc<Feed>>,
    feeds_of: TokenTree<Vec<Arc<Feed>>>,
}

#[derive(Debug)]
enum Entry {
    Live(Arc<TopicCell>),
    /// The sequence of the last event that the topic had.
    Ended(u64),
}

/// The topics that match a pattern.
#[derive(Debug, Default)]
pub(super) struct Matching {
    pub(super) cells: Vec<Arc<TopicCell>>,
    /// The sequence up to which others that have ended may have lost events.
    pub(super) lost: u64,
}

impl Directory {
    pub(super) fn get(&self, topic: &Topic) -> Option<&Arc<TopicCell>> {
        match self.topics.get(topic.as_str()) {
            Some(Entry::Live(cell)) => Some(cell),
            Some(Entry::Ended(_)) | None => None,
        }
    }

    /// The number of topics.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// The sequence up to which a topic that is not there may have had events.
    pub(super) fn floor(&self, topic: &Topic) -> u64 {
        match self.topics.get(topic.as_str()) {
            Some(Entry::Ended(last)) => *last,
            // It either never was or its name is forgotten.
            Some(Entry::Live(_)) | None => self.forgotten,
        }
    }

    /// Creates a topic that is not there.
    pub(super) fn create(&mut self, topic: &Topic, now: Instant, log: &LogState) -> Arc<TopicCell> {
        let (created, floor) = (log.next_sequence(), self.floor(topic));
        let cell = Arc::new(TopicCell::new(topic.clone(), created, floor, now));
        *self.topics.place(topic.as_str()) = Some(Entry::Live(Arc::clone(&cell)));
        self.live += 1;
        cell
    }

    /// Removes a topic that ended, whose last event had this sequence.
    pub(super) fn end(&mut self, topic: &Topic, last: u64) {
        self.live -= 1;
        if last <= self.forgotten {
            // What is known of all topics says as much.
            self.topics.remove(topic.as_str());
            return;
        }
        *self.topics.place(topic.as_str()) = Some(Entry::Ended(last));
        self.last_ended = self.last_ended.max(last);
        self.ended.push_back((topic.clone(), last));
        if self.ended.len() > MAX_REMEMBERED {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((topic, last)) = self.ended.pop_front() else {
            return;
        };
        // Unless it is there again, or ended again since.
        if matches!(self.topics.get(topic.as_str()), Some(Entry::Ended(at)) if *at == last) {
            self.topics.remove(topic.as_str());
            self.forgotten = self.forgotten.max(last);
        }
    }

    /// The topics that the patterns of a feed match.
    pub(super) fn matching(&self, feed: &Feed) -> Matching {
        let mut matching = Matching { cells: Vec::new(), lost: self.forgotten };
        self.topics.visit_matching(&feed.tree, &mut |entry: &Entry| match entry {
            Entry::Live(cell) => matching.cells.push(Arc::clone(cell)),
            Entry::Ended(last) => matching.lost = matching.lost.max(*last),
        });
        matching
    }

    pub(super) fn has_feeds(&self) -> bool {
        !self.feeds.is_empty()
    }

    /// The feeds that have the events of a topic, some of them perhaps twice.
    pub(super) fn feeds_of(&self, topic: &Topic) -> Vec<Arc<Feed>> {
        let mut feeds = Vec::new();
        self.feeds_of.visit_patterns_of(topic.as_str(), &mut |of: &Vec<Arc<Feed>>| {
            feeds.extend(of.iter().cloned());
        });
        feeds
    }

    /// Adds a follower to the feed of these patterns. One that is new begins after `head`.
    pub(super) fn follow_feed(&mut self, topics: &Topics, head: u64) -> Arc<Feed> {
        let patterns = topics.shared_patterns();
        if let Some(feed) = self.feeds.get(patterns) {
            feed.add_follower();
            return Arc::clone(feed);
        }
        let feed = Arc::new(Feed::new(Arc::clone(patterns), head));
        feed.add_follower();
        self.feeds.insert(Arc::clone(patterns), Arc::clone(&feed));
        for pattern in patterns.iter() {
            self.feeds_of.place(pattern).get_or_insert_default().push(Arc::clone(&feed));
        }
        feed
    }

    /// Removes a feed, unless it is followed again.
    pub(super) fn remove_feed(&mut self, feed: &Arc<Feed>) {
        if feed.is_followed()
            || !self.feeds.get(&feed.patterns).is_some_and(|it| Arc::ptr_eq(it, feed))
        {
            return;
        }
        self.feeds.remove(&feed.patterns);
        for pattern in feed.patterns.iter() {
            let Some(of) = self.feeds_of.place(pattern) else { continue };
            of.retain(|it| !Arc::ptr_eq(it, feed));
            if of.is_empty() {
                self.feeds_of.remove(pattern);
            }
        }
    }
}

/// So many topics that ended are remembered by name. A name is at most 256 bytes long.
const MAX_REMEMBERED: usize = 16 * 1024;
