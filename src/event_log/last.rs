//! The last events of topics, for logs that cannot look from the end.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::page::SILENCE;
use super::{EventLog, Follow, Logged, Start, Step, Topic, Topics};
use crate::wire::EventId;

/// The last events of those that were added.
struct LastEvents {
    count: usize,
    events: VecDeque<Logged>,
}

impl LastEvents {
    fn new(count: usize) -> Self {
        Self { count, events: VecDeque::new() }
    }

    fn push(&mut self, event: Logged) {
        if !event.finishes_topic() {
            self.events.push_back(event);
        }
        if self.events.len() > self.count {
            self.events.pop_front();
        }
    }

    /// Events after those that were seen are lost, so those are not the last ones.
    fn note_gap(&mut self) {
        self.events.clear();
    }
}

/// Reads all of a topic.
pub(super) async fn by_reading<L: EventLog>(
    log: &L,
    topic: &Topic,
    count: usize,
) -> Result<Vec<Logged>, L::Error> {
    let (mut last, mut from) = (LastEvents::new(count), Start::Earliest);
    let until = Instant::now() + PATIENCE;
    loop {
        let page = log.read(topic, from, PAGE).await?;
        if page.gap.is_some() {
            last.note_gap();
        }
        let newest = page.events.last().and_then(|newest| EventId::new(newest.id()).ok());
        page.events.into_iter().for_each(|event| last.push(event));
        from = match newest {
            Some(newest) if page.has_more && Instant::now() < until => Start::After(newest),
            _ => return Ok(last.events.into()),
        };
    }
}

/// Follows topics from the beginning, until no topic has more, or up to an event that a second
/// follower has, which began with those that are appended meanwhile.
pub(super) async fn by_following<L: EventLog>(
    log: &L,
    topics: &Topics,
    count: usize,
) -> Vec<Logged> {
    let mut live = pin!(log.follow(topics.clone(), Start::Live));
    let mut past = pin!(log.follow(topics.clone(), Start::Earliest));
    let (mut last, mut appended) = (LastEvents::new(count), HashSet::new());
    let mut returned = HashMap::new();
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let step = {
            let mut end = pin!(at_end(log, topics, &returned));
            let next = poll_fn(|cx| {
                while appended.len() < PAGE {
                    let Poll::Ready(Some(Step::Event(event))) = live.as_mut().poll_next(cx) else {
                        break;
                    };
                    appended.insert(event.id().to_owned());
                }
                if let Poll::Ready(step) = past.as_mut().poll_next(cx) {
                    return Poll::Ready(step);
                }
                // Not before the follower waits, since it may return what is there at once.
                end.as_mut().poll(cx).map(|()| None)
            });
            timeout(SILENCE, next).await
        };
        match step {
            Ok(Some(Step::Event(event))) => {
                let is_new = appended.contains(event.id());
                returned.insert(event.topic().clone(), event.id().to_owned());
                last.push(event);
                if is_new {
                    break;
                }
            }
            Ok(Some(Step::Gap(_))) => last.note_gap(),
            Ok(None) | Err(_) => break,
        }
    }
    last.events.into()
}

/// Waits until it is known that no topic has an event after the one of it that was returned last;
/// for ever, if a topic has one. Of patterns nobody knows which topics there are.
async fn at_end<L: EventLog>(log: &L, topics: &Topics, returned: &HashMap<Topic, String>) {
    let mut is_at_end = !topics.has_patterns();
    for name in topics.names() {
        if !is_at_end {
            break;
        }
        let last = returned.get(name).map(String::as_str);
        let page = log.read(name, last.map_or(Start::Earliest, Start::requested), 1).await;
        // The event that finishes a topic is returned again.
        is_at_end = page.is_ok_and(|page| page.events.iter().all(|it| Some(it.id()) == last));
    }
    if !is_at_end {
        pending::<()>().await;
    }
}

const PAGE: usize = 1024;

/// So long a log is read that never comes to an end.
const PATIENCE: Duration = Duration::from_secs(10);
