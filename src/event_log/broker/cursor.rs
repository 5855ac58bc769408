//! A follower's cursor in one topic: its position, the next event, and pages from the broker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::topic::{BrokerTopic, TopicLookup};
use super::{BrokerEvent, BrokerFuture, BrokerSource, BrokerTopics};
use crate::event_log::wake_list::Ticket;
use crate::event_log::window::{Cursor, Placement};
use crate::event_log::{GapReason, Topics};

/// A follower's position in one topic.
pub(super) struct BrokerCursor {
    pub(super) topic: Arc<BrokerTopic>,
    /// Which events the follower gets, in the window of all topics: those that match a pattern, and
    /// whose topics are not followed by name.
    filter: Option<Topics>,
    /// It does not count before the cursor is started.
    cursor: Cursor,
    /// Up to where the topic was read when this was made, if it was loaded.
    read_before: Option<u64>,
    /// Events after the position are lost, and why.
    lost: Option<GapReason>,
    /// The sequence of the last event that was taken, or of an end that is none any more.
    taken: u64,
    /// An event that finishes the topic, and the events after it, which are requested: another node
    /// may have appended some that were not read here yet.
    end: Option<Box<(BrokerEvent, BrokerFuture<Vec<BrokerEvent>>)>>,
    pub(super) next: Option<BrokerEvent>,
    /// Events that the broker returned.
    page: VecDeque<BrokerEvent>,
    /// The page that was requested, and the sequence from which on the window has all events.
    fetch: Option<(u64, BrokerFuture<Vec<BrokerEvent>>)>,
    ticket: Ticket,
}

impl BrokerCursor {
    /// A cursor in a topic that counts it as a follower.
    pub(super) fn new(topic: Arc<BrokerTopic>, filter: Option<Topics>) -> Self {
        Self {
            filter,
            cursor: topic.start(Placement::Earliest),
            read_before: topic.loaded_state().map(|_| topic.last()),
            topic,
            lost: None,
            taken: 0,
            end: None,
            next: None,
            page: VecDeque::new(),
            fetch: None,
            ticket: Ticket::default(),
        }
    }

    /// Whether the window has events of topics that are not followed.
    pub(super) fn is_filtered(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether the topic was loaded when the cursor was made.
    pub(super) fn was_loaded(&self) -> bool {
        self.read_before.is_some()
    }

    pub(super) fn position(&self) -> u64 {
        self.cursor.position()
    }

    pub(super) fn start(&mut self, placement: Placement) {
        self.cursor = self.topic.start(placement);
    }

    /// Starts after a position, and after all events that were read before the cursor was made.
    pub(super) fn start_live(&mut self, position: u64) {
        self.start(Placement::After(position.max(self.read_before.unwrap_or_default())));
    }

    /// Moves to a position up to which there are no events.
    pub(super) fn skip_to(&mut self, position: u64, epoch: u64) {
        self.topic.reset(epoch, 0);
        self.start(Placement::After(position));
    }

    /// Takes events that the broker returned, if there are none from an earlier page.
    pub(super) fn refill(&mut self, page: Vec<BrokerEvent>) {
        if self.page.is_empty() {
            self.page = self.check(page).unwrap_or_default();
        }
    }

    /// Whether the next event finishes the topic and is before the position.
    pub(super) fn has_earlier_end(&self) -> bool {
        self.next.as_ref().is_some_and(|next| next.sequence <= self.position())
    }

    /// Takes the next event.
    pub(super) fn take(&mut self) -> Option<BrokerEvent> {
        let event = self.next.take()?;
        self.cursor.advance(event.sequence);
        self.taken = event.sequence;
        Some(event)
    }

    /// Why events were lost since the last call, if any were.
    pub(super) fn take_lost(&mut self) -> Option<GapReason> {
        self.lost.take()
    }

    fn lose(&mut self, reason: Option<GapReason>) {
        self.lost = self.lost.or(reason);
    }

    /// Whether all is returned that there is.
    pub(super) fn is_at_end(&self) -> bool {
        let is_waiting = self.next.is_none() && self.fetch.is_none() && self.end.is_none();
        is_waiting && matches!(self.topic.find(&mut self.cursor.clone()), TopicLookup::Nothing)
    }

    /// Ends, and removes itself from the topic.
    pub(super) fn remove(&mut self, topics: &BrokerTopics) {
        topics.remove_follower(&self.topic, &mut self.ticket);
    }

    /// Has the task woken by the topic's next event.
    pub(super) fn register(&mut self, cx: &Context<'_>) {
        self.topic.register(&mut self.ticket, cx.waker());
    }

    /// Looks for the next event. Ready if there is one in `next`, or if there is none yet; then the
    /// topic's next event wakes the task.
    pub(super) fn poll(&mut self, source: &dyn BrokerSource, cx: &mut Context<'_>) -> Poll<()> {
        let mut registered = false;
        while self.next.is_none() {
            if let Some(mut event) = self.page.pop_front() {
                // What the topic was told of the event may be out of its window.
                event.before = self.topic.before(&event);
                let lost = self.cursor.skip_to(event.before);
                self.lose(lost);
                self.set_next(event);
                continue;
            }
            if let Some((floor, fetch)) = &mut self.fetch {
                let (floor, page) = (*floor, ready!(fetch.as_mut().poll(cx)));
                self.fetch = None;
                if let Some(page) = self.check(page) {
                    // If the broker has nothing, all events up to the floor are gone.
                    if page.is_empty() {
                        let lost = self.cursor.skip_to(floor);
                        self.lose(lost);
                    }
                    self.page = page;
                }
                continue;
            }
            if let Some(end) = &mut self.end {
                let after = ready!(end.1.as_mut().poll(cx));
                let end = self.end.take().map(|end| end.0);
                match after.is_empty() {
                    true => self.next = end,
                    false => self.taken = end.map_or(self.taken, |end| end.sequence),
                }
                self.page = self.check(after).unwrap_or_default();
                continue;
            }
            match self.topic.find(&mut self.cursor) {
                TopicLookup::Event(event) => self.set_next(event),
                TopicLookup::Below(floor) => {
                    self.fetch = Some((floor, source.page(&self.topic.name, self.position())));
                }
                TopicLookup::Gone(lost) => self.lose(lost),
                TopicLookup::Renewed(reason) => self.lose(Some(reason)),
                TopicLookup::Nothing | TopicLookup::Awaited if !registered => {
                    self.register(cx);
                    registered = true;
                }
                TopicLookup::Awaited => return Poll::Pending,
                TopicLookup::Nothing => {
                    let Some(end) = self.end_before_start() else { break };
                    let after = source.page(&self.topic.name, end.sequence);
                    self.end = Some(Box::new((end, after)));
                }
            }
        }
        Poll::Ready(())
    }

    /// The events of a page, if they are of this life of the log. If they are of the next one, the
    /// topic begins it.
    fn check(&self, page: Vec<BrokerEvent>) -> Option<VecDeque<BrokerEvent>> {
        if !self.topic.is_current(&self.cursor) {
            return None;
        }
        if let Some(first) = page.first() {
            self.topic.reset(first.epoch, first.before);
        }
        self.topic.is_current(&self.cursor).then(|| page.into())
    }

    /// The event that finishes the topic, if the cursor started after it.
    fn end_before_start(&self) -> Option<BrokerEvent> {
        let end = self.topic.end_up_to(self.position()).filter(|_| self.filter.is_none())?;
        (end.sequence != self.taken).then_some(end)
    }

    fn set_next(&mut self, event: BrokerEvent) {
        if event.sequence <= self.position() {
            return;
        }
        let topic = event.logged.topic();
        let is_followed = |topics: &Topics| {
            topics.matches_pattern(topic) && !topics.names().any(|name| name == topic)
        };
        match self.filter.as_ref().is_none_or(is_followed) {
            true => self.next = Some(event),
            false => self.cursor.advance(event.sequence),
        }
    }
}
