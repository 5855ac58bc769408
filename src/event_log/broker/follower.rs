//! Following topics of a broker's log.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::member::Member;
use super::{Cell, Entry, Upstream, Wait};
use crate::event_log::ids::parse_id;
use crate::event_log::{Follow, Gap, Start, Step, Topics};
use crate::wire::EventId;

/// Follows topics of a broker's log: a place in each, and a waker while it waits.
pub(in crate::event_log) struct BrokerFollower {
    upstream: Arc<Upstream>,
    members: Vec<Member>,
    /// The epoch and the sequence of the last event that was given, or that it began behind.
    told: Option<(u64, u64)>,
    /// What it was to begin behind, if that cannot be had: to be told first.
    asked: Option<Box<Start>>,
    stage: Stage,
    /// Whether it ends behind its first gap.
    ends: bool,
}

enum Stage {
    Begins(Box<Beginning>),
    Goes,
    /// There is nothing behind a gap, and a place is needed that is behind all: it, and a look at
    /// what came before it.
    Settles(Wait<Settled>),
    Ended,
}

struct Beginning {
    from: Start,
    /// The place of [`Start::Live`] when it was asked for.
    live: u64,
    /// And what was read by then.
    read: u64,
    /// To know whether an id is newer than the head, and not only than what was read.
    head: Option<Wait<(u64, u64)>>,
}

type Settled = ((u64, u64), Vec<Vec<Entry>>);

impl BrokerFollower {
    /// Begins to follow. `load` has to have each of the new topics loaded.
    ///
    /// There is no index of topics: of patterns it is said at once that their events cannot be had,
    /// by a gap and the end.
    pub(in crate::event_log) fn new(
        upstream: Arc<Upstream>,
        topics: &Topics,
        from: Start,
        load: impl Fn(Arc<Cell>),
    ) -> Self {
        let (live, read) = (upstream.source.live(), upstream.watermark());
        let ends = topics.has_patterns();
        let mut members = Vec::new();
        for topic in topics.names().filter(|_| !ends) {
            let (cell, new) = upstream.join(topic);
            members.push(Member::new(Arc::clone(&cell)));
            if new {
                load(cell);
            }
        }
        let asked = ends.then(|| Box::new(from.clone()));
        let stage = Stage::Begins(Box::new(Beginning { from, live, read, head: None }));
        Self { upstream, members, told: None, asked, stage, ends }
    }

    /// Finds the places to begin at, once all topics are loaded.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Stage::Begins(beginning) = &mut self.stage else {
            return Poll::Ready(());
        };
        let mut births = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            if member.cell.birth().is_none() {
                member.wait(cx);
            }
            births.extend(member.cell.birth());
        }
        if births.len() < self.members.len() {
            return Poll::Pending;
        }
        let watermark = self.upstream.watermark();
        let known = births.iter().map(|birth| birth.head.max(watermark));
        let place = match &beginning.from {
            Start::Live => Some(beginning.live),
            Start::Earliest => None,
            Start::Unknown => {
                self.asked = Some(Box::new(Start::Unknown));
                None
            }
            Start::After(id) => {
                let epoch = births.first().map(|birth| birth.epoch);
                let place =
                    parse_id(id.as_str()).filter(|it| epoch.is_none_or(|epoch| epoch == it.0));
                let head = known.max().unwrap_or_default();
                let place = match place {
                    // What another node was told of may not have been read here as yet.
                    Some(place) if place.1 > head => {
                        let source = &self.upstream.source;
                        let asked = beginning.head.get_or_insert_with(|| source.head());
                        let (epoch, head) = ready!(asked.as_mut().poll(cx));
                        Some(place).filter(|place| place.0 == epoch && place.1 <= head)
                    }
                    place => place,
                };
                match place {
                    Some(place) => self.told = Some(place),
                    None => self.asked = Some(Box::new(beginning.from.clone())),
                }
                place.map(|(_, sequence)| sequence)
            }
        };
        for (member, birth) in self.members.iter_mut().zip(births) {
            match (&beginning.from, place) {
                // A clock that was set back is no reason to miss anything.
                (Start::Live, Some(place)) => {
                    // Not what was read since, which came after it was asked for.
                    let read = if member.was_loaded() { beginning.read } else { watermark };
                    let place = place.min(birth.head.max(read));
                    member.begin_live(place, birth.resets, birth.epoch);
                }
                _ => member.begin(place, birth.resets, birth.epoch),
            }
        }
        self.stage = Stage::Goes;
        Poll::Ready(())
    }

    /// Finds a place behind all where there is nothing, or what came in the meantime.
    fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Gap>> {
        let Stage::Settles(settles) = &mut self.stage else {
            return Poll::Ready(None);
        };
        let ((epoch, here), pages) = ready!(settles.as_mut().poll(cx));
        self.stage = Stage::Goes;
        if pages.iter().any(|page| !page.is_empty()) {
            for (member, page) in self.members.iter_mut().zip(pages) {
                member.refill(page);
            }
            return Poll::Ready(None);
        }
        self.told = Some((epoch, here));
        for member in &mut self.members {
            member.go_on(here, epoch);
        }
        Poll::Ready(Some(Gap::new(EventId::with_epoch(epoch, here))))
    }

    fn settle(&mut self) {
        let upstream = Arc::clone(&self.upstream);
        let places: Vec<_> =
            self.members.iter().map(|it| (it.cell.topic.clone(), it.place())).collect();
        self.stage = Stage::Settles(Box::pin(async move {
            // First, so that the look is at all that is before it.
            let here = upstream.source.reserve().await;
            let mut pages = Vec::new();
            for (topic, place) in places {
                pages.push(upstream.source.page(&topic, place).await);
            }
            (here, pages)
        }));
    }

    /// The member with the next event of all, if there is one that nothing else can come before.
    fn poll_next_member(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        loop {
            // Before the topics are looked at: what is up to here is there.
            let watermark = self.upstream.watermark();
            for member in &mut self.members {
                ready!(member.poll(&*self.upstream.source, cx));
                if member.take_lost() && self.asked.is_none() {
                    let told = self.told.map(|(epoch, place)| EventId::with_epoch(epoch, place));
                    self.asked = Some(Box::new(told.map_or(Start::Live, Start::After)));
                }
            }
            let next = self.members.iter().enumerate();
            let next = next.filter_map(|(at, it)| Some((it.next.as_ref()?.sequence, at))).min();
            let (sequence, at) = match next {
                None => return Poll::Ready(None),
                Some((_, at)) if self.members.len() == 1 => return Poll::Ready(Some(at)),
                Some(next) => next,
            };
            let read = |member: &Member| member.cell.is_read();
            if sequence <= watermark && self.members.iter().all(read) {
                return Poll::Ready(Some(at));
            }
            for member in &mut self.members {
                member.wait(cx);
            }
            // Unless it was read just now, before that could wake.
            if self.upstream.watermark() == watermark
                && (sequence > watermark || !self.members.iter().all(read))
            {
                return Poll::Pending;
            }
        }
    }

    /// What cannot be had, in front of the next event.
    fn gap(&mut self, next: usize) -> Option<Gap> {
        let first = self.members[next].next.as_ref()?;
        let (epoch, earliest) = (first.epoch, first.sequence);
        let nexts = || self.members.iter().filter_map(|it| it.next.as_ref());
        let last = self.members.iter().filter_map(|it| it.cell.last_event());
        let latest = last.chain(nexts().map(|it| it.sequence)).max().unwrap_or(earliest);
        // As little as can be is missing for a client that resumes there.
        let told = self.told.filter(|told| told.0 == epoch && told.1 < earliest);
        let before = nexts().map(|it| it.before).filter(|before| *before < earliest);
        let place = before.chain(told.map(|told| told.1)).max().unwrap_or_default();
        let id = |sequence| EventId::with_epoch(epoch, sequence);
        Some(Gap::new(id(place)).between(id(earliest), id(latest)))
    }
}

impl Follow for BrokerFollower {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let this = &mut *self;
        loop {
            if let Stage::Ended = this.stage {
                return Poll::Ready(None);
            }
            ready!(this.poll_begin(cx));
            let mut gap = ready!(this.poll_settle(cx));
            if gap.is_none() {
                match (ready!(this.poll_next_member(cx)), this.asked.is_some()) {
                    (None, false) => return Poll::Pending,
                    (None, true) => {
                        this.settle();
                        continue;
                    }
                    (Some(at), true) => gap = this.gap(at),
                    (Some(at), false) => {
                        let Some(entry) = this.members[at].take() else { continue };
                        this.told = Some((entry.epoch, entry.sequence));
                        return Poll::Ready(Some(Step::Event(entry.logged)));
                    }
                }
            }
            let asked = this.asked.take();
            if this.ends {
                this.stage = Stage::Ended;
            }
            if let (Some(gap), Some(asked)) = (gap, asked) {
                return Poll::Ready(Some(Step::Gap(gap.requested(&asked))));
            }
        }
    }
}

impl fmt::Debug for BrokerFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerFollower")
            .field("topics", &self.members.len())
            .finish_non_exhaustive()
    }
}
