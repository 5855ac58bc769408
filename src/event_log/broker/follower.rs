//! Following topics of a broker's log.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::cursor::BrokerCursor;
use super::topic::LoadedState;
use super::{BrokerEvent, BrokerFuture, BrokerTopic, BrokerTopics};
use crate::event_log::ids::id_before;
use crate::event_log::start::Unreplayable;
use crate::event_log::window::{Placement, Remaining, position_after_gap};
use crate::event_log::{Follow, Gap, Page, Start, Step, Topic, Topics};
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
}

enum FollowStage {
    Starting(Box<Starting>),
    Following,
    /// Finds a position for a gap that no event follows.
    FetchingGap(BrokerFuture<LastPosition>),
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
    /// Follows topics.
    ///
    /// Patterns are followed in the window of all topics, from which other topics are left out.
    pub(in crate::event_log) fn new(
        topics: Arc<BrokerTopics>,
        followed: &Topics,
        from: Start,
    ) -> Self {
        let all = followed.has_patterns().then_some(&Topic::ALL);
        let mut cursors = Vec::new();
        for name in followed.names().chain(all) {
            let filter = name.is_all().then(|| followed.clone());
            cursors.push(BrokerCursor::new(topics.add_follower(name), filter));
        }
        Self::with(topics, cursors, from)
    }

    /// Follows a topic that nobody else follows.
    pub(super) fn of_one(topics: Arc<BrokerTopics>, topic: &Arc<BrokerTopic>, from: Start) -> Self {
        topic.add_follower();
        let cursor = BrokerCursor::new(Arc::clone(topic), None);
        Self::with(topics, vec![cursor], from)
    }

    fn with(topics: Arc<BrokerTopics>, cursors: Vec<BrokerCursor>, from: Start) -> Self {
        let (began, watermark) = (Instant::now(), topics.watermark());
        let (live, known) = (topics.source.live(began), topics.source.known().max(watermark));
        let starting = Starting { from, began, live, known, watermark, head: None };
        let stage = FollowStage::Starting(Box::new(starting));
        Self { topics, cursors, delivered: None, unreplayable: None, stage }
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
        let epoch = loaded.first().map_or(0, |state| state.epoch);
        let head = loaded.iter().map(|state| state.head.max(watermark)).max().unwrap_or_default();
        let mut placement = Placement::of(&starting.from, epoch, head);
        // Another node may have returned an event that is not read here yet.
        if let Placement::Ahead(position) = placement {
            let request = starting.head.get_or_insert_with(|| self.topics.source.head());
            let (of, head) = ready!(request.as_mut().poll(cx));
            let is_known = of == epoch && position <= head;
            placement = if is_known { Placement::After(position) } else { placement.alone() };
        }
        match (&starting.from, placement) {
            (Start::Live | Start::Now, _) => {
                // The clock may be known better by now.
                let live = starting.live.max(self.topics.source.live(starting.began));
                for (cursor, state) in self.cursors.iter_mut().zip(loaded) {
                    // Without what was read since the follower was made: that came afterwards.
                    let read = if cursor.was_loaded() { starting.watermark } else { watermark };
                    // If the broker's clock was set back, `live` is too late; what was read is not.
                    cursor.start_live(starting.known.max(live.min(state.head.max(read))));
                }
            }
            (from, placement) => {
                match placement {
                    Placement::After(position) => self.delivered = Some((epoch, position)),
                    Placement::Gap(reason) => {
                        self.unreplayable = Some(Unreplayable { requested: from.clone(), reason });
                    }
                    _ => {}
                }
                self.cursors.iter_mut().for_each(|cursor| cursor.start(placement));
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
        let epoch = self.cursors[next].next.as_ref()?.epoch;
        let remaining = |cursor: &BrokerCursor| {
            let next = cursor.next.as_ref()?;
            // The last event of all topics may be one of a topic that is not followed.
            let last = cursor.topic.last_event().filter(|_| !cursor.is_filtered());
            let latest = last.map_or(next.sequence, |it| it.max(next.sequence));
            Some(Remaining { before: next.before, events: Some((next.sequence, latest)) })
        };
        let remaining: Vec<_> = self.cursors.iter().filter_map(remaining).collect();
        let delivered = self.delivered.filter(|it| it.0 == epoch).map_or(0, |it| it.1);
        let after = position_after_gap(&remaining, delivered)?;
        let id = |sequence| EventId::with_epoch(epoch, sequence);
        let position = match self.cursors.iter().any(BrokerCursor::is_filtered) {
            true => id_before(epoch, after.position.saturating_add(1)),
            false => id(after.position),
        };
        Some(Gap::new(position).between(id(after.earliest), id(after.latest)))
    }

    /// Whether all is returned that there is.
    fn is_at_end(&self) -> bool {
        let is_following = matches!(self.stage, FollowStage::Following);
        is_following
            && self.unreplayable.is_none()
            && self.cursors.iter().all(BrokerCursor::is_at_end)
    }

    /// Reads what there is, up to so many events.
    pub(super) async fn read(mut self, limit: usize) -> Page {
        let mut page = Page::default();
        while page.events.len() < limit {
            let step = poll_fn(|cx| match Pin::new(&mut self).poll_next(cx) {
                Poll::Pending if self.is_at_end() => Poll::Ready(None),
                step => step,
            });
            match step.await {
                Some(Step::Event(event)) => page.events.push(event),
                Some(Step::Gap(gap)) if page.events.is_empty() && page.gap.is_none() => {
                    page.gap = Some(gap);
                }
                // The next page begins with this gap.
                Some(Step::Gap(_)) => {
                    page.has_more = true;
                    return page;
                }
                None => return page,
            }
        }
        page.has_more = !self.is_at_end();
        page
    }
}

impl Follow for BrokerFollower {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let this = &mut *self;
        loop {
            if this.topics.has_ended() {
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
                    // The end of a topic may be before the position, and the gap is after that.
                    (Some(at), true) if !this.cursors[at].has_earlier_end() => {
                        gap = this.gap_before(at);
                    }
                    (Some(at), _) => {
                        let Some(event) = this.cursors[at].take() else { continue };
                        // An event that finishes a topic may be before the position.
                        let before = this.delivered.filter(|before| before.0 == event.epoch);
                        this.delivered = before.max(Some((event.epoch, event.sequence)));
                        return Poll::Ready(Some(Step::Event(event.logged)));
                    }
                }
            }
            let why = this.unreplayable.take();
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
