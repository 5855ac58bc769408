//! A follower's cursor in one topic: its position, the next event, and pages from the broker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::topic::{BrokerTopic, WindowLookup};
use super::{BrokerEvent, BrokerFuture, BrokerSource, BrokerTopics};
use crate::event_log::GapReason;
use crate::event_log::wake_list::Ticket;

/// A follower's position in one topic.
pub(super) struct BrokerCursor {
    pub(super) topic: Arc<BrokerTopic>,
    /// The follower has all events up to this.
    position: u64,
    resets: u32,
    /// The epoch of the position. A page may be of a later epoch than the topic's window.
    epoch: u64,
    /// Up to where the topic was read when the cursor was made, and its resets, if it was loaded.
    read_before: Option<(u64, u32)>,
    /// The follower starts with the first event that there is, so events before it are not lost.
    from_first: bool,
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
    pub(super) fn new(topic: Arc<BrokerTopic>) -> Self {
        let read_before = topic.loaded_state().map(|state| (topic.last(), state.resets));
        Self {
            topic,
            read_before,
            position: 0,
            resets: 0,
            epoch: 0,
            from_first: true,
            lost: None,
            taken: 0,
            end: None,
            next: None,
            page: VecDeque::new(),
            fetch: None,
            ticket: Ticket::default(),
        }
    }

    /// Whether the topic was loaded when the cursor was made.
    pub(super) fn was_loaded(&self) -> bool {
        self.read_before.is_some()
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Starts after a position, or with the first event that there is.
    pub(super) fn start(&mut self, position: Option<u64>, resets: u32, epoch: u64) {
        (self.resets, self.epoch) = (resets, epoch);
        self.from_first = position.is_none();
        self.position = position.unwrap_or_default();
    }

    /// Starts after a position, and after all events that were read before the cursor was made.
    pub(super) fn start_live(&mut self, position: u64, resets: u32, epoch: u64) {
        let read = self.read_before.filter(|before| before.1 == resets).map(|before| before.0);
        self.start(Some(position.max(read.unwrap_or_default())), resets, epoch);
    }

    /// Moves to a position up to which there are no events.
    pub(super) fn skip_to(&mut self, position: u64, epoch: u64) {
        self.start(Some(position), self.resets, epoch);
    }

    /// Takes events that the broker returned, if there are none from an earlier page.
    pub(super) fn refill(&mut self, page: Vec<BrokerEvent>) {
        if self.page.is_empty() {
            self.page = page.into();
        }
    }

    /// Takes the next event.
    pub(super) fn take(&mut self) -> Option<BrokerEvent> {
        let event = self.next.take()?;
        // An event that finishes the topic may be before the position.
        self.position = self.position.max(event.sequence);
        self.taken = event.sequence;
        Some(event)
    }

    /// Why events were lost since the last call, if any were.
    pub(super) fn take_lost(&mut self) -> Option<GapReason> {
        self.lost.take()
    }

    fn lose(&mut self, reason: GapReason) {
        self.lost = self.lost.or(Some(reason));
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
            if let Some(event) = self.page.pop_front() {
                self.set_next(event);
                continue;
            }
            if let Some((floor, fetch)) = &mut self.fetch {
                let floor = *floor;
                let Poll::Ready(page) = fetch.as_mut().poll(cx) else {
                    return Poll::Pending;
                };
                self.fetch = None;
                // If the broker has nothing, all events up to the floor are gone.
                if page.is_empty() && floor > self.position {
                    if !self.from_first {
                        self.lose(GapReason::Expired);
                    }
                    self.position = floor;
                }
                self.page = page.into();
                continue;
            }
            if let Some(end) = &mut self.end {
                let Poll::Ready(after) = end.1.as_mut().poll(cx) else {
                    return Poll::Pending;
                };
                let end = self.end.take().map(|end| end.0);
                match after.is_empty() {
                    true => self.next = end,
                    false => self.taken = end.map_or(self.taken, |end| end.sequence),
                }
                self.page = after.into();
                continue;
            }
            match self.topic.find(self.position, self.resets, self.epoch) {
                WindowLookup::Event(event) => self.set_next(event),
                WindowLookup::Below(floor) => {
                    self.fetch = Some((floor, source.page(&self.topic.name, self.position)));
                }
                // A page was of this epoch before.
                WindowLookup::Reset(resets, epoch) if epoch == self.epoch => self.resets = resets,
                WindowLookup::Reset(resets, epoch) => {
                    self.lose(GapReason::Restarted);
                    self.start(None, resets, epoch);
                }
                WindowLookup::Awaited if registered => return Poll::Pending,
                WindowLookup::Awaited => {
                    self.register(cx);
                    registered = true;
                }
                WindowLookup::Nothing => {
                    if let Some(end) = self.end_before_start() {
                        let after = source.page(&self.topic.name, end.sequence);
                        self.end = Some(Box::new((end, after)));
                    } else if registered {
                        break;
                    } else {
                        self.register(cx);
                        registered = true;
                    }
                }
            }
        }
        Poll::Ready(())
    }

    /// The event that finishes the topic, if the cursor started after it.
    fn end_before_start(&self) -> Option<BrokerEvent> {
        let end = self.topic.end_up_to(self.position)?;
        (end.epoch == self.epoch && end.sequence != self.taken).then_some(end)
    }

    fn set_next(&mut self, mut event: BrokerEvent) {
        // The broker lost everything, and the reader may not have noticed it yet.
        if event.epoch != self.epoch {
            self.lose(GapReason::Restarted);
            self.start(None, self.resets, event.epoch);
        }
        if event.sequence <= self.position {
            return;
        }
        // A page may not know it, and what the topic was told of the event is out of the window.
        event.before = self.topic.before(&event);
        if event.before > self.position && !self.from_first {
            self.lose(GapReason::Expired);
        }
        self.from_first = false;
        self.next = Some(event);
    }
}
