//! The last events of topics in NATS: from the window, and from before it by looks at the stream
//! that go back from its end.

use std::sync::Arc;

use super::NatsLogInner;
use super::batch::{BatchReader, MAX_EVENTS};
use super::fetch::{as_replay, wait_for_all};
use super::link::RetryLater;
use super::stream::created;
use crate::event_log::{Logged, Topics};

/// The last events of topics, oldest first.
pub(super) async fn last(
    log: &Arc<NatsLogInner>,
    topics: &Topics,
    count: usize,
) -> Result<Vec<Logged>, RetryLater> {
    // Another node may have returned the id of an event that is not read here yet.
    wait_for_all(log).await?;
    let (epoch, floor, mut last) = {
        let window = log.window();
        (window.epoch(), window.floor(), window.last(topics, count))
    };
    if last.len() < count {
        let (inner, topics, count) = (Arc::clone(log), topics.clone(), count - last.len());
        let older = Box::pin(async move { before(&inner, &topics, epoch, floor, count).await });
        last.extend(as_replay(log, older).await?);
    }
    last.reverse();
    Ok(last)
}

/// The last events up to a sequence, newest first.
///
/// A stream cannot be read from its end, and does not say where a topic has its last events but
/// one. So ranges are read, each from before the other, which grow as long as they have few events.
async fn before(
    log: &NatsLogInner,
    topics: &Topics,
    epoch: u64,
    mut up_to: u64,
    count: usize,
) -> Result<Vec<Logged>, RetryLater> {
    let stream = log.link.get_stream(&log.link.replays).await?;
    let info = stream.cached_info();
    // The stream was created anew, and the poller has not noticed it yet.
    if created(info) != epoch {
        return Err(RetryLater::default());
    }
    let reader = BatchReader { log, stream: &stream, topics, epoch };
    let ends = reader.ends().await?;
    up_to = up_to.min(ends.iter().map(|(_, end)| end.slot.sequence).max().unwrap_or(0));
    let (before_first, mut events) = (info.state.first_sequence.saturating_sub(1), Vec::new());
    let (mut range, mut growth) = (count.clamp(MIN_RANGE, MAX_EVENTS) as u64, 4);
    while events.len() < count && up_to > before_first {
        let after = up_to.saturating_sub(range).max(before_first);
        let batch = reader.read_of(&ends, after, up_to).await?;
        if batch.last < up_to {
            // It has more than fit into one answer.
            (range, growth) = ((range / 4).max(1), 1);
            continue;
        }
        let found = batch.events.into_iter().rev().map(|(_, event)| event);
        events.extend(found.filter(|event| !event.finishes_topic()));
        (up_to, range) = (after, range.saturating_mul(growth));
    }
    events.truncate(count);
    Ok(events)
}

/// In sequences of the stream, of all topics.
const MIN_RANGE: usize = 16;
