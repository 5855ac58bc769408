//! The settings of a body that most bodies do not have.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use bytes::Bytes;

use super::conflation::Batch;
use super::opening::{Opening, with_last};
use super::passing::{FinishedTopics, Passing, Sent, Verdict};
use super::snapshot::failed;
use super::{Snapshot, Subscription};
use crate::event_log::{EventLog, Follow, Gap, GapPolicy, Logged, Start, Step, Topics, TopicsHash};

/// The settings of a body that most bodies do not have, and what they have to remember.
pub(super) struct BodyOptions<L> {
    passing: Passing,
    /// For a new follower, if there may be one.
    source: Option<(L, Topics)>,
    /// Until there is a follower.
    pub(super) opening: Option<Opening>,
    /// What waits for a client that may lag.
    batch: Option<Box<Batch>>,
    snapshot: Option<Snapshot>,
    /// How many snapshots there were since the last event.
    snapshots_in_a_row: u32,
    /// Events before those of the follower.
    pub(super) replay: vec::IntoIter<Logged>,
    /// The only event of a body without a follower.
    pub(super) last: Option<Bytes>,
}

impl<L: EventLog> BodyOptions<L> {
    /// The options of a subscription, if it has any.
    pub(super) fn of(subscription: &mut Subscription<L>) -> Option<Box<Self>> {
        let Subscription { log, topics, start, policy, filter, names, last, snapshot, conflation } =
            subscription;
        let passing = Passing {
            filter: filter.take(),
            names: names.take(),
            finished: topics.single().is_none().then(|| FinishedTopics::new(topics.clone())),
        };
        let (snapshot, is_new) = (snapshot.take(), *start == Start::Live);
        let opening = match &snapshot {
            Some(snapshot) if is_new => Some(snapshot.open(log, topics, None)),
            None if is_new && *last > 0 => Some(with_last(log.clone(), topics.clone(), *last)),
            _ => None,
        };
        let ends = passing.finished.is_some() && !topics.has_patterns();
        let has_source =
            opening.is_some() || snapshot.is_some() || *policy == GapPolicy::Live || ends;
        let source = has_source.then(|| (log.clone(), topics.clone()));
        let batch = conflation.take().map(|it| Box::new(Batch::new(it)));
        (has_source || batch.is_some() || passing.looks_at_events())
            .then(|| Box::new(Self { source, opening, batch, snapshot, ..Self::new(passing) }))
    }

    fn new(passing: Passing) -> Self {
        Self {
            passing,
            source: None,
            opening: None,
            batch: None,
            snapshot: None,
            snapshots_in_a_row: 0,
            replay: vec::IntoIter::default(),
            last: None,
        }
    }

    /// The options of a body without a follower.
    pub(super) fn ended(last: Bytes) -> Box<Self> {
        let passing = Passing { filter: None, names: None, finished: None };
        Box::new(Self { last: Some(last), ..Self::new(passing) })
    }

    /// Makes a snapshot in place of a gap, if there are snapshots.
    pub(super) fn opens_after(&mut self, gap: &Gap) -> bool {
        let (Some(snapshot), Some((log, topics))) = (&self.snapshot, &self.source) else {
            return false;
        };
        self.opening = Some(match self.snapshots_in_a_row < MAX_SNAPSHOTS_IN_A_ROW {
            true => snapshot.open(log, topics, Some(gap.clone())),
            false => failed(gap.requested.as_ref()),
        });
        true
    }

    /// Notes that a snapshot is sent.
    pub(super) fn note_snapshot(&mut self) {
        self.snapshots_in_a_row += 1;
    }

    /// Notes that an event is sent.
    pub(super) fn note_event(&mut self) {
        self.snapshots_in_a_row = 0;
    }

    /// Notes that events were lost, and that the follower goes on.
    pub(super) fn note_gap(&mut self) {
        if let Some(finished) = &mut self.passing.finished {
            finished.note_gap();
        }
    }

    /// What a new follower is to be made of, if there may be one.
    pub(super) fn follow_anew(&mut self) -> Option<&(L, Topics)> {
        if let Some(finished) = &mut self.passing.finished {
            finished.begin_anew();
        }
        self.source.as_ref()
    }

    /// Whether events have to be looked at one by one.
    pub(super) fn looks_at_events(&self) -> bool {
        self.passing.looks_at_events() || self.batch.is_some() || self.replay.len() > 0
    }

    /// Polls for what the client is sent of the next event; `topic` is that of a body with one
    /// topic only. `None` if it is nothing.
    pub(super) fn poll_sent<F: Follow>(
        &mut self,
        follower: Pin<&mut F>,
        topic: TopicsHash,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Sent>> {
        if let Some(sent) = self.batch.as_mut().and_then(|batch| batch.pop()) {
            return Poll::Ready(Some(sent));
        }
        let step = match self.next_replayed() {
            Some(event) => Some(Step::Event(event)),
            None => match (follower.poll_next(cx), &mut self.batch) {
                (Poll::Ready(step), _) => step,
                (Poll::Pending, Some(batch)) if !batch.is_empty() => {
                    batch.seal(None);
                    return Poll::Ready(None);
                }
                (Poll::Pending, _) => return Poll::Pending,
            },
        };
        let sent = match step {
            Some(Step::Event(event)) => match self.passing.judge(&event, topic) {
                Verdict::Send => return Poll::Ready(self.send(event)),
                Verdict::LeaveOut => return Poll::Ready(None),
                Verdict::Close(close) => Sent::Close(close),
                Verdict::Recheck(position) => Sent::Recheck(position),
            },
            Some(Step::Gap(gap)) => Sent::Gap(gap),
            None => Sent::End,
        };
        match &mut self.batch {
            // After the events before it.
            Some(batch) => {
                batch.seal(Some(sent));
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(sent)),
        }
    }

    /// The next of the events before those of the follower. After the last one nothing of them is
    /// kept: a body may follow its log for days.
    fn next_replayed(&mut self) -> Option<Logged> {
        let event = self.replay.next()?;
        if self.replay.len() == 0 {
            self.replay = vec::IntoIter::default();
        }
        Some(event)
    }

    /// Sends an event, or puts it to those that wait.
    fn send(&mut self, event: Logged) -> Option<Sent> {
        let Some(batch) = &mut self.batch else {
            return Some(Sent::Events(self.passing.encode(event)));
        };
        let key = batch.conflation.key_of(&event);
        batch.push(key, self.passing.encode(event));
        None
    }
}

/// A client that gets one snapshot after another is sent away for a while.
const MAX_SNAPSHOTS_IN_A_ROW: u32 = 3;
