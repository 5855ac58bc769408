//! A follower's place in one topic.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cell::{Cell, Found};
use super::{Entry, Source, Wait};
use crate::event_log::wake_list::Ticket;

/// A follower's place in one topic.
pub(super) struct Member {
    pub(super) cell: Arc<Cell>,
    /// The follower has all up to here.
    place: u64,
    resets: u32,
    /// The epoch of the place. A page of the broker's may be of a later one than the topic's window.
    epoch: u64,
    /// What was read of the topic when it was joined, if it was loaded.
    joined: Option<(u64, u32)>,
    /// It is to begin with the first event that there is, so what is before that is not missed.
    from_first: bool,
    /// Events were there behind the place that cannot be had.
    lost: bool,
    pub(super) next: Option<Entry>,
    /// What the broker still had.
    page: VecDeque<Entry>,
    /// The page that was asked for, and up to where the window could not help.
    fetch: Option<(u64, Wait<Vec<Entry>>)>,
    ticket: Ticket,
}

impl Member {
    pub(super) fn new(cell: Arc<Cell>) -> Self {
        let joined = cell.birth().map(|birth| (cell.last(), birth.resets));
        Self {
            cell,
            joined,
            place: 0,
            resets: 0,
            epoch: 0,
            from_first: true,
            lost: false,
            next: None,
            page: VecDeque::new(),
            fetch: None,
            ticket: Ticket::default(),
        }
    }

    /// Whether its topic was loaded when it was joined.
    pub(super) fn was_loaded(&self) -> bool {
        self.joined.is_some()
    }

    pub(super) fn place(&self) -> u64 {
        self.place
    }

    /// Begins behind a place, or with the first event that there is.
    pub(super) fn begin(&mut self, place: Option<u64>, resets: u32, epoch: u64) {
        (self.resets, self.epoch) = (resets, epoch);
        self.from_first = place.is_none();
        self.place = place.unwrap_or_default();
    }

    /// Begins with what comes, and not with what was read before.
    pub(super) fn begin_live(&mut self, place: u64, resets: u32, epoch: u64) {
        let read = self.joined.filter(|joined| joined.1 == resets).map(|joined| joined.0);
        self.begin(Some(place.max(read.unwrap_or_default())), resets, epoch);
    }

    /// Goes on behind a place where there is nothing.
    pub(super) fn go_on(&mut self, place: u64, epoch: u64) {
        self.begin(Some(place), self.resets, epoch);
    }

    /// Takes what the broker had, if there is nothing else.
    pub(super) fn refill(&mut self, page: Vec<Entry>) {
        if self.page.is_empty() {
            self.page = page.into();
        }
    }

    /// Takes the next event.
    pub(super) fn take(&mut self) -> Option<Entry> {
        let entry = self.next.take()?;
        self.place = entry.sequence;
        Some(entry)
    }

    /// Whether something was lost since this was asked.
    pub(super) fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        self.cell.wait(&mut self.ticket, cx.waker());
    }

    /// Looks for the next event. Ready when it is there or when there is none as yet; in that case
    /// the next one wakes.
    pub(super) fn poll(&mut self, source: &dyn Source, cx: &mut Context<'_>) -> Poll<()> {
        let mut waits = false;
        while self.next.is_none() {
            if let Some(entry) = self.page.pop_front() {
                self.come_to(entry);
                continue;
            }
            if let Some((floor, fetch)) = &mut self.fetch {
                let floor = *floor;
                let Poll::Ready(page) = fetch.as_mut().poll(cx) else {
                    return Poll::Pending;
                };
                self.fetch = None;
                // Then all that was up to there is gone.
                if page.is_empty() && floor > self.place {
                    self.lost |= !self.from_first;
                    self.place = floor;
                }
                self.page = page.into();
                continue;
            }
            match self.cell.find(self.place, self.resets, self.epoch) {
                Found::Entry(entry) => self.come_to(entry),
                Found::Below(floor) => {
                    self.fetch = Some((floor, source.page(&self.cell.topic, self.place)));
                }
                // A page told of it before.
                Found::Reset(resets, epoch) if epoch == self.epoch => self.resets = resets,
                Found::Reset(resets, epoch) => {
                    self.lost = true;
                    self.begin(None, resets, epoch);
                }
                Found::Nothing if waits => break,
                Found::Nothing => {
                    self.wait(cx);
                    waits = true;
                }
            }
        }
        Poll::Ready(())
    }

    fn come_to(&mut self, entry: Entry) {
        // The broker lost all, and the reader may not have noticed as yet.
        if entry.epoch != self.epoch {
            self.lost = true;
            self.begin(None, self.resets, entry.epoch);
        }
        if entry.sequence <= self.place {
            return;
        }
        self.lost |= entry.before > self.place && !self.from_first;
        self.from_first = false;
        self.next = Some(entry);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.cell.leave(&mut self.ticket);
    }
}
