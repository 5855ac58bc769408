//! Following topics of a broker's log.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::cursor::BrokerCursor;
use super::topic::LoadedState;
use super::{BrokerEvent, BrokerFuture, BrokerTopic, BrokerTopics};
use crate::event_log::ids::{id_before, parse_position};
use crate::event_log::start::Unreplayable;
use crate::event_log::{Follow, Gap, GapReason, Start, Step, Topics};
use crate::wire::EventId;

/// Follows topics of a broker's log: a cursor in each topic, and a waker while it waits.
pub(in crate::event_log) struct BrokerFollower {
    topics: Arc<BrokerTopics>,
    cursors: Vec<BrokerCursor>,
    /// The epoch and the sequence of the last event that was returned, or of the position that the
    /// follower started at.
    delivered: Option<(u64, u64)>,
    /// Until the gap is returned that says so.
    unreplayable: Option<Unreplayable>,
    stage: FollowStage,
    /// Whether the follower ends after its first gap.
    ends_after_gap: bool,
}

enum FollowStage {
    Starting(Box<Starting>),
    Following,
    /// Finds a position for a gap that no event follows.
    FetchingGap(BrokerFuture<LastPosition>),
    Ended,
}

struct Starting {
    from: Start,
    /// When the follower was made.
    began: Instant,
    /// The position of [`Start::Live`] at that time, by the clock of the broker.
    live: u64,
    /// The last sequence that was known at that time: what is appended later is after it.
    known: u64,
    /// Up to where the reader had read at that time.
    watermark: u64,
    /// Reads the head, to know whether an id is newer than it and not only newer than what was
    /// read.
    head: Option<BrokerFuture<(u64, u64)>>,
}

/// The epoch and a position after all events, and the events before it: a page for each topic.
type LastPosition = ((u64, u64), Vec<Vec<BrokerEvent>>);

impl BrokerFollower {
    /// Follows topics. `fetch` must have each new topic fetched.
    ///
    /// There is no index of topics, so a set with patterns gets a gap at once, and then the end.
    pub(in crate::event_log) fn new(
        topics: Arc<BrokerTopics>,
        followed: &Topics,
        from: Start,
        fetch: impl Fn(Arc<BrokerTopic>),
    ) -> Self {
        let (began, watermark) = (Instant::now(), topics.watermark());
        let (live, known) = (topics.source.live(began), topics.source.known().max(watermark));
        let ends_after_gap = followed.has_patterns();
        let mut cursors = Vec::new();
        for name in followed.names().filter(|_| !ends_after_gap) {
            let (topic, new) = topics.add_follower(name);
            cursors.push(BrokerCursor::new(Arc::clone(&topic)));
            if new {
                fetch(topic);
            }
        }
        let unknown = |requested| Unreplayable { requested, reason: GapReason::Unknown };
        let unreplayable = ends_after_gap.then(|| unknown(from.clone()));
        let starting = Starting { from, began, live, known, watermark, head: None };
        let stage = FollowStage::Starting(Box::new(starting));
        Self { topics, cursors, delivered: None, unreplayable, stage, ends_after_gap }
    }

    /// Finds the positions to start at, after all topics are loaded.
    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let FollowStage::Starting(starting) = &mut self.stage else {
            return Poll::Ready(());
        };
        let mut loaded: Vec<LoadedState> = Vec::with_capacity(self.cursors.len());
        for cursor in &mut self.cursors {
            if cursor.topic.loaded_state().is_none() {
                cursor.register(cx);
            }
            loaded.extend(cursor.topic.loaded_state());
        }
        if loaded.len() < self.cursors.len() {
            return Poll::Pending;
        }
        let watermark = self.topics.watermark();
        let epoch = loaded.first().map(|state| state.epoch);
        let unknown = |from: &Start| Unreplayable::unknown(from.clone(), epoch.unwrap_or_default());
        let position = match &starting.from {
            // The clock may be known better by now.
            Start::Live => Some(starting.live.max(self.topics.source.live(starting.began))),
            Start::Earliest => None,
            Start::Unknown => {
                self.unreplayable = Some(unknown(&starting.from));
                None
            }
            Start::After(id) => {
                let head = loaded.iter().map(|state| state.head.max(watermark)).max();
                let head = head.unwrap_or_default();
                let position = match parse_position(id) {
                    Some(position) if epoch.is_some_and(|epoch| epoch != position.0) => None,
                    // Another node may have returned an event that is not read here yet.
                    Some(position) if position.1 > head => {
                        let source = &self.topics.source;
                        let request = starting.head.get_or_insert_with(|| source.head());
                        let (epoch, head) = ready!(request.as_mut().poll(cx));
                        Some(position).filter(|it| it.0 == epoch && it.1 <= head)
                    }
                    position => position,
                };
                match position {
                    Some(position) => self.delivered = Some(position),
                    None => self.unreplayable = Some(unknown(&starting.from)),
                }
                position.map(|(_, sequence)| sequence)
            }
        };
        for (cursor, state) in self.cursors.iter_mut().zip(loaded) {
            match (&starting.from, position) {
                (Start::Live, Some(live)) => {
                    // Without what was read since the follower was made: that came afterwards.
                    let read = if cursor.was_loaded() { starting.watermark } else { watermark };
                    // If the broker's clock was set back, `live` is too late; what was read is not.
                    let position = starting.known.max(live.min(state.head.max(read)));
                    cursor.start_live(position, state.resets, state.epoch);
                }
                _ => cursor.start(position, state.resets, state.epoch),
            }
        }
        self.stage = FollowStage::Following;
        Poll::Ready(())
    }

    /// Starts to find a position for a gap that no event follows.
    fn fetch_gap(&mut self) {
        let topics = Arc::clone(&self.topics);
        let positions: Vec<_> =
            self.cursors.iter().map(|it| (it.topic.name.clone(), it.position())).collect();
        self.stage = FollowStage::FetchingGap(Box::pin(async move {
            // First, so that the pages have all events before it.
            let head = topics.source.reserve().await;
            let mut pages = Vec::new();
            for (topic, position) in positions {
                pages.push(topics.source.page(&topic, position).await);
            }
            (head, pages)
        }));
    }

    /// Returns the gap that [`fetch_gap`](Self::fetch_gap) fetched, unless events came in the
    /// meantime.
    fn poll_fetched_gap(&mut self, cx: &mut Context<'_>) -> Poll<Option<Gap>> {
        let FollowStage::FetchingGap(fetch) = &mut self.stage else {
            return Poll::Ready(None);
        };
        let ((epoch, head), pages) = ready!(fetch.as_mut().poll(cx));
        self.stage = FollowStage::Following;
        if pages.iter().any(|page| !page.is_empty()) {
            for (cursor, page) in self.cursors.iter_mut().zip(pages) {
                cursor.refill(page);
            }
            return Poll::Ready(None);
        }
        self.delivered = Some((epoch, head));
        for cursor in &mut self.cursors {
            cursor.skip_to(head, epoch);
        }
        // The id of no event: it reveals none of another topic.
        Poll::Ready(Some(Gap::new(id_before(epoch, head.saturating_add(1)))))
    }

    /// The cursor with the smallest next event, if no smaller event can come; `None` if no topic
    /// has an event.
    fn poll_next_cursor(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        loop {
            // Before the topics are looked at: all events up to here are there.
            let watermark = self.topics.watermark();
            for cursor in &mut self.cursors {
                ready!(cursor.poll(&*self.topics.source, cx));
                if let Some(reason) = cursor.take_lost().filter(|_| self.unreplayable.is_none()) {
                    let last = self.delivered.map(|(epoch, it)| EventId::with_epoch(epoch, it));
                    let requested = last.map_or(Start::Live, Start::After);
                    self.unreplayable = Some(Unreplayable { requested, reason });
                }
            }
            let next = self.cursors.iter().enumerate();
            let next = next.filter_map(|(at, it)| Some((it.next.as_ref()?.sequence, at))).min();
            let (sequence, at) = match next {
                None => return Poll::Ready(None),
                Some((_, at)) if self.cursors.len() == 1 => return Poll::Ready(Some(at)),
                Some(next) => next,
            };
            if sequence <= watermark {
                return Poll::Ready(Some(at));
            }
            for cursor in &mut self.cursors {
                cursor.register(cx);
            }
            // Unless the reader went on just now, before the wakers were registered.
            if self.topics.watermark() == watermark {
                return Poll::Pending;
            }
        }
    }

    /// The gap before the next event.
    fn gap_before(&self, next: usize) -> Option<Gap> {
        let first = self.cursors[next].next.as_ref()?;
        let (epoch, earliest) = (first.epoch, first.sequence);
        let nexts = || self.cursors.iter().filter_map(|it| it.next.as_ref());
        let last = self.cursors.iter().filter_map(|it| it.topic.last_event());
        let latest = last.chain(nexts().map(|it| it.sequence)).max().unwrap_or(earliest);
        // The last position before the earliest event, so that a client that resumes there misses
        // as little as possible.
        let delivered = self.delivered.filter(|it| it.0 == epoch && it.1 < earliest);
        let before = nexts().map(|it| it.before).filter(|before| *before < earliest);
        let position = before.chain(delivered.map(|it| it.1)).max().unwrap_or_default();
        let id = |sequence| EventId::with_epoch(epoch, sequence);
        Some(Gap::new(id(position)).between(id(earliest), id(latest)))
    }
}

impl Follow for BrokerFollower {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let this = &mut *self;
        loop {
            if matches!(this.stage, FollowStage::Ended) || this.topics.has_ended() {
                return Poll::Ready(None);
            }
            ready!(this.poll_start(cx));
            let mut gap = ready!(this.poll_fetched_gap(cx));
            if gap.is_none() {
                match (ready!(this.poll_next_cursor(cx)), this.unreplayable.is_some()) {
                    (None, false) => return Poll::Pending,
                    (None, true) => {
                        this.fetch_gap();
                        continue;
                    }
                    (Some(at), true) => gap = this.gap_before(at),
                    (Some(at), false) => {
                        let Some(event) = this.cursors[at].take() else { continue };
                        // An event that finishes a topic may be before the position.
                        let before = this.delivered.filter(|before| before.0 == event.epoch);
                        this.delivered = before.max(Some((event.epoch, event.sequence)));
                        return Poll::Ready(Some(Step::Event(event.logged)));
                    }
                }
            }
            let why = this.unreplayable.take();
            if this.ends_after_gap {
                this.stage = FollowStage::Ended;
            }
            if let (Some(gap), Some(why)) = (gap, why) {
                return Poll::Ready(Some(Step::Gap(why.explain(gap))));
            }
        }
    }
}

impl Drop for BrokerFollower {
    fn drop(&mut self) {
        for cursor in &mut self.cursors {
            cursor.remove(&self.topics);
        }
    }
}

impl fmt::Debug for BrokerFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerFollower")
            .field("topics", &self.cursors.len())
            .finish_non_exhaustive()
    }
}
