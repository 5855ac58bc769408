//! A follower's cursors in several topics, or in all topics that match patterns, merged in the
//! order of the ids.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;
use std::task::{Context, Waker};

use super::feed::{Feed, FeedLookup};
use super::inner::MemoryLogInner;
use super::topic::{NextEvent, TopicCell, TopicState};
use crate::event_log::wake_list::Ticket;
use crate::event_log::window::{Entry, Found, Placement, Remaining};
use crate::event_log::{Logged, Start, Topics};
use crate::sync::now;

/// Cursors in several topics, and in the feed of patterns.
///
/// The head of the log is read first, then the topics and the feed are looked at. Only events up to
/// that head are returned, the smallest first: of those none can be missing.
pub(super) struct MergedCursors {
    named: Vec<NamedCursor>,
    feed: Option<FeedCursor>,
    /// Topics of the patterns that had events before the feed.
    found: Vec<Arc<TopicCell>>,
    /// Those of them that are still to be looked at.
    backlog: Vec<Arc<TopicCell>>,
    /// The next event of each topic of which it is known, and the topic: its place in `named`, or,
    /// after those, in `found`.
    ready: BinaryHeap<Reverse<(u64, usize)>>,
    /// Events that finish topics and are before the position.
    ends: Vec<(u64, Logged)>,
    /// All events up to this were returned.
    position: u64,
    /// All events up to this are in `ready`, after those that are there, or in the feed.
    head: u64,
}

struct NamedCursor {
    cell: Arc<TopicCell>,
    ticket: Ticket,
    /// Whether the topic is in `ready`.
    is_ready: bool,
}

struct FeedCursor {
    feed: Arc<Feed>,
    ticket: Ticket,
    /// Events up to this are not taken from the feed.
    from: u64,
}

impl MergedCursors {
    /// Follows topics. Returns where the client starts, and whether events after that are lost.
    /// `None` if a topic would be one too many.
    pub(super) fn new(
        log: &MemoryLogInner,
        topics: &Topics,
        start: &Start,
    ) -> Option<(Self, Placement, bool)> {
        let now = now();
        let feed = topics.has_patterns().then(|| log.follow_feed(topics));
        // Read before topics are looked at: events that are appended after this are returned.
        let head = feed.as_ref().map_or_else(|| log.state.head(), |feed| feed.1);
        let placement = Placement::of_own(start, log.state.epoch.number(), head);
        let position = if let Placement::After(position) = placement { position } else { 0 };
        let feed = feed.map(|(feed, _)| FeedCursor { feed, ticket: Ticket::default(), from: 0 });
        let mut this = Self {
            named: Vec::new(),
            feed,
            found: Vec::new(),
            backlog: Vec::new(),
            ready: BinaryHeap::new(),
            ends: Vec::new(),
            position,
            head: 0,
        };
        let mut lost = false;
        for topic in topics.names() {
            let Some(cell) = log.follow(topic, now) else {
                this.leave(log);
                return None;
            };
            if let Placement::After(position) = placement {
                let state = cell.trimmed(now, &log.state);
                lost |= state.has_lost(position);
                let end = state.window.last_event().filter(|last| last.finishes);
                let end = end.filter(|end| end.sequence <= position).cloned();
                drop(state);
                this.ends.extend(end.map(|end| (end.sequence, cell.logged(end))));
            }
            this.named.push(NamedCursor { cell, ticket: Ticket::default(), is_ready: false });
        }
        // The last one first, since they are taken from the end.
        this.ends.sort_unstable_by_key(|end| Reverse(end.0));
        if placement == Placement::Earliest {
            this.gather(log, head);
        }
        Some((this, placement, lost))
    }

    pub(super) fn len(&self) -> usize {
        self.named.len()
    }

    /// Removes the follower from its topics.
    pub(super) fn leave(&mut self, log: &MemoryLogInner) {
        for named in &mut self.named {
            log.unfollow(&named.cell, &mut named.ticket);
        }
        if let Some(feed) = &mut self.feed {
            log.unfollow_feed(&feed.feed, &mut feed.ticket);
        }
    }

    /// The next event that finishes a topic and is before the position, with its sequence. A gap is
    /// after it, since it is one of what comes after the position.
    pub(super) fn take_end(&mut self) -> Option<(u64, Logged)> {
        self.ends.pop()
    }

    /// The next event of all topics, with its sequence, after the [ends](Self::take_end).
    pub(super) fn poll(
        &mut self,
        log: &MemoryLogInner,
        cx: &mut Context<'_>,
    ) -> NextEvent<(u64, Logged)> {
        loop {
            match self.look_at_backlog(cx) {
                NextEvent::Ready(()) => {}
                NextEvent::Lost => return NextEvent::Lost,
                NextEvent::Pending => return NextEvent::Pending,
            }
            let ready = self.ready.peek().map(|next| next.0.0);
            let ready = ready.filter(|sequence| *sequence <= self.head);
            // Events of before the feed come first. The feed may have moved on since, and is not
            // looked at meanwhile: the topics would have to be looked at again for each event.
            let feed = self.feed.as_ref().filter(|feed| ready.is_none_or(|it| it > feed.from));
            let feed = match feed.and_then(|feed| feed.look(self.position)) {
                Some(FeedLookup::Event(sequence, cell)) if sequence <= self.head => {
                    Some((sequence, cell))
                }
                Some(FeedLookup::Event(..)) | None => None,
                Some(FeedLookup::Below) => match self.look_further(log, cx) {
                    NextEvent::Lost => return NextEvent::Lost,
                    NextEvent::Ready(()) | NextEvent::Pending => continue,
                },
            };
            match (ready, feed) {
                (Some(ready), feed) if feed.as_ref().is_none_or(|feed| ready <= feed.0) => {
                    match self.take_ready() {
                        NextEvent::Pending => {}
                        taken => return taken,
                    }
                }
                (_, Some((sequence, cell))) => return self.take(&cell, sequence).map(|it| it.0),
                (_, None) => {
                    self.position = self.position.max(self.head);
                    match self.look_further(log, cx) {
                        NextEvent::Ready(()) => {}
                        NextEvent::Lost => return NextEvent::Lost,
                        NextEvent::Pending => return NextEvent::Pending,
                    }
                }
            }
        }
    }

    /// Takes the smallest event that is ready. Pending if it was returned before: a topic may be
    /// followed by its name and by a pattern.
    fn take_ready(&mut self) -> NextEvent<(u64, Logged)> {
        let Some(Reverse((sequence, at))) = self.ready.pop() else {
            return NextEvent::Pending;
        };
        let cell = Arc::clone(self.cell(at));
        let (next, taken) = if sequence > self.position {
            match self.take(&cell, sequence) {
                NextEvent::Ready((taken, next)) => (next, NextEvent::Ready(taken)),
                NextEvent::Lost | NextEvent::Pending => return NextEvent::Lost,
            }
        } else {
            match cell.lock().window.look(self.position) {
                Found::Event(event) => (Some(event.sequence), NextEvent::Pending),
                Found::Below(_) => return NextEvent::Lost,
                Found::Nothing | Found::Moved => (None, NextEvent::Pending),
            }
        };
        let from = self.feed.as_ref().map_or(0, |feed| feed.from);
        match (next, self.named.get_mut(at)) {
            (Some(next), Some(_)) => self.ready.push(Reverse((next, at))),
            (None, Some(named)) => named.is_ready = false,
            // Later events are in the feed.
            (Some(next), None) if next <= from => self.ready.push(Reverse((next, at))),
            (_, None) => {}
        }
        taken
    }

    fn cell(&self, at: usize) -> &Arc<TopicCell> {
        match self.named.get(at) {
            Some(named) => &named.cell,
            None => &self.found[at - self.named.len()],
        }
    }

    /// Takes an event of a topic, and returns the sequence of the one after it.
    fn take(&mut self, cell: &TopicCell, sequence: u64) -> NextEvent<((u64, Logged), Option<u64>)> {
        // If there is none it was trimmed since it was looked at.
        let Some((event, next)) = cell.take(sequence) else {
            return NextEvent::Lost;
        };
        self.position = sequence;
        NextEvent::Ready(((sequence, event), next))
    }

    /// Looks at the topics and at the feed up to a new head. Ready if there is anything. If not,
    /// the next event wakes the task.
    fn look_further(&mut self, log: &MemoryLogInner, cx: &mut Context<'_>) -> NextEvent<()> {
        let mut found = false;
        match &mut self.feed {
            None => self.head = log.state.head(),
            Some(feed) => {
                self.head = log.head_of_feeds();
                let position = self.position.max(feed.from);
                match feed.feed.look_or_wait(position, &mut feed.ticket, cx.waker()) {
                    None => {}
                    Some(FeedLookup::Event(..)) => found = true,
                    Some(FeedLookup::Below) => {
                        // Topics that are created after this have no event up to the head.
                        let matching = log.matching(&feed.feed);
                        if matching.lost > self.position {
                            return NextEvent::Lost;
                        }
                        (feed.from, self.backlog, found) = (self.head, matching.cells, true);
                        // None of those of the last time has anything left.
                        self.found.clear();
                    }
                }
            }
        }
        for (at, named) in self.named.iter_mut().enumerate().filter(|(_, it)| !it.is_ready) {
            match named.look(self.position, cx.waker()) {
                NextEvent::Ready(sequence) => {
                    named.is_ready = true;
                    self.ready.push(Reverse((sequence, at)));
                }
                NextEvent::Lost => return NextEvent::Lost,
                NextEvent::Pending => {}
            }
        }
        if found || !self.ready.is_empty() { NextEvent::Ready(()) } else { NextEvent::Pending }
    }

    /// Looks at topics that had events before the feed, at so many in one poll.
    fn look_at_backlog(&mut self, cx: &mut Context<'_>) -> NextEvent<()> {
        let from = self.feed.as_ref().map_or(0, |feed| feed.from);
        for _ in 0..MAX_LOOKS {
            let Some(cell) = self.backlog.pop() else {
                return NextEvent::Ready(());
            };
            let next = match cell.lock().window.look(self.position) {
                Found::Event(event) => Some(event.sequence),
                Found::Below(_) => return NextEvent::Lost,
                Found::Nothing | Found::Moved => None,
            };
            if let Some(next) = next.filter(|next| *next <= from) {
                self.push_found(next, cell);
            }
        }
        if self.backlog.is_empty() {
            return NextEvent::Ready(());
        }
        cx.waker().wake_by_ref();
        NextEvent::Pending
    }

    fn push_found(&mut self, sequence: u64, cell: Arc<TopicCell>) {
        self.ready.push(Reverse((sequence, self.named.len() + self.found.len())));
        self.found.push(cell);
    }

    /// Moves to a position after a gap.
    pub(super) fn skip_to(&mut self, position: u64) {
        self.position = position;
    }

    /// Looks at all topics for what they have left up to `here`, whatever they have lost.
    pub(super) fn gather(&mut self, log: &MemoryLogInner, here: u64) -> Vec<Remaining> {
        self.ready.clear();
        self.found.clear();
        self.backlog.clear();
        self.head = here;
        let mut all = Vec::new();
        for (at, named) in self.named.iter_mut().enumerate() {
            let remaining = named.cell.remaining(self.position, here);
            named.is_ready = remaining.events.is_some();
            self.ready.extend(remaining.events.map(|(first, _)| Reverse((first, at))));
            all.push(remaining);
        }
        let Some(feed) = &mut self.feed else {
            return all;
        };
        feed.from = here;
        let matching = log.matching(&feed.feed);
        let named: HashSet<u64> = self.named.iter().map(|named| named.cell.created).collect();
        for cell in matching.cells.into_iter().filter(|cell| !named.contains(&cell.created)) {
            let remaining = cell.remaining(self.position, here);
            if let Some((first, _)) = remaining.events {
                self.push_found(first, cell);
            }
            all.push(remaining);
        }
        all
    }
}

impl NamedCursor {
    /// The sequence of the first event after a position. If there is none, `waker` is woken by the
    /// next one.
    fn look(&mut self, position: u64, waker: &Waker) -> NextEvent<u64> {
        let look = |state: &mut TopicState| match state.window.look(position) {
            Found::Event(event) => Some(NextEvent::Ready(event.sequence())),
            Found::Below(_) => Some(NextEvent::Lost),
            Found::Nothing | Found::Moved => None,
        };
        self.cell.look_or_wait(&mut self.ticket, waker, look)
    }
}

impl FeedCursor {
    fn look(&self, position: u64) -> Option<FeedLookup> {
        self.feed.look(position.max(self.from))
    }
}

/// So many topics are looked at in one poll, which takes about 0.1 ms.
const MAX_LOOKS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::{MemoryLog, Topic};
    use crate::wire::Event;

    /// What a client takes is slower than what is appended, so the feed is always ahead of it.
    #[test]
    fn a_slow_follower_of_a_pattern_has_a_cursor_for_each_topic_and_no_more() {
        const TOPICS: usize = 50;
        let log = MemoryLog::builder().events(10_000).build().unwrap();
        let topics: Vec<_> = (0..TOPICS).map(|n| Topic::new(format!("t.{n}")).unwrap()).collect();
        let append = |count: usize| {
            for topic in topics.iter().cycle().take(count) {
                log.append_now(topic, Event::new().data("x")).unwrap();
            }
        };
        append(TOPICS);
        let followed = Topics::from_static(&["t.*"]);
        let (mut cursors, ..) =
            MergedCursors::new(&log.inner, &followed, &Start::Earliest).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut sequences = Vec::new();
        for _ in 0..200 {
            append(1_100);
            match cursors.poll(&log.inner, &mut cx) {
                NextEvent::Ready((sequence, _)) => sequences.push(sequence),
                NextEvent::Lost | NextEvent::Pending => panic!("there are events"),
            }
            assert!(cursors.found.len() <= TOPICS, "{} cursors", cursors.found.len());
            assert!(cursors.ready.len() <= TOPICS, "{} next events", cursors.ready.len());
        }
        assert!(sequences.is_sorted_by(|one, next| one < next));
    }
}
