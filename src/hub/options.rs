//! The settings of a body that most bodies do not have.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use bytes::Bytes;

use super::opening::{Opening, with_last};
use super::passing::{Passing, Sent, Verdict};
use super::{Subscription, finished::FinishedTopics};
use crate::event_log::{EventLog, Follow, GapPolicy, Logged, Start, Step, Topics, TopicsHash};

/// The settings of a body that most bodies do not have, and what they have to remember.
pub(super) struct BodyOptions<L> {
    passing: Passing,
    /// For a new follower, if there may be one.
    pub(super) source: Option<(L, Topics)>,
    /// Until there is a follower.
    pub(super) opening: Option<Opening>,
    /// Events before those of the follower.
    pub(super) replay: vec::IntoIter<Logged>,
    /// The only event of a body without a follower.
    pub(super) last: Option<Bytes>,
}

impl<L: EventLog> BodyOptions<L> {
    /// The options of a subscription, if it has any.
    pub(super) fn of(subscription: &mut Subscription<L>) -> Option<Box<Self>> {
        let Subscription { log, topics, start, policy, filter, names, last } = subscription;
        let passing = Passing {
            filter: filter.take(),
            names: names.take(),
            finished: topics.single().is_none().then(|| FinishedTopics::new(topics.clone())),
        };
        let has_opening = *start == Start::Live && *last > 0;
        let opening = has_opening.then(|| with_last(log.clone(), topics.clone(), *last));
        let has_source = has_opening || *policy == GapPolicy::Live;
        let source = has_source.then(|| (log.clone(), topics.clone()));
        (has_source || passing.looks_at_events()).then(|| {
            Box::new(Self { passing, source, opening, replay: Vec::new().into_iter(), last: None })
        })
    }

    /// The options of a body without a follower.
    pub(super) fn ended(last: Bytes) -> Box<Self> {
        let passing = Passing { filter: None, names: None, finished: None };
        let last = Some(last);
        Box::new(Self {
            passing,
            source: None,
            opening: None,
            replay: Vec::new().into_iter(),
            last,
        })
    }

    /// Whether events have to be looked at one by one.
    pub(super) fn looks_at_events(&self) -> bool {
        self.passing.looks_at_events() || self.replay.len() > 0
    }

    /// Polls for what the client is sent of the next event; `topic` is that of a body with one topic
    /// only. `None` if it is nothing.
    pub(super) fn poll_sent<F: Follow>(
        &mut self,
        follower: Pin<&mut F>,
        topic: TopicsHash,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Sent>> {
        let step = match self.replay.next() {
            Some(event) => Some(Step::Event(event)),
            None => ready!(follower.poll_next(cx)),
        };
        Poll::Ready(match step {
            Some(Step::Event(event)) => match self.passing.judge(&event, topic) {
                Verdict::Send => Some(Sent::Events(self.passing.encode(event))),
                Verdict::LeaveOut => None,
                Verdict::Close(close) => Some(Sent::Close(close)),
            },
            Some(Step::Gap(gap)) => Some(Sent::Gap(gap)),
            None => Some(Sent::End),
        })
    }
}
