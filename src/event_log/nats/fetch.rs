//! Fetches events from the server, for followers that are behind the window.

use std::sync::Arc;

use async_nats::jetstream::stream::{Info, Stream};
use tokio::time::timeout;

use super::NatsLogInner;
use super::batch::{BatchReader, NatsEvent};
use super::connection::RESPONSE_TIMEOUT;
use super::ids::{NatsPosition, Slot};
use super::link::RetryLater;
use super::stream::{created, slot_at};
use crate::event_log::start::Unreplayable;
use crate::event_log::{Gap, GapReason, Start, Topics};

/// The events that a follower requests.
#[derive(Clone, Debug)]
pub(super) enum FetchRequest {
    /// The events after a position in this history of the stream, which may be gone. If there is a
    /// slot, the position is that of a client, and is valid if the slot has the same message.
    After { generation: u64, position: u64, slot: Option<Slot>, requested: Start },
    /// All events that there are, because they were requested.
    Earliest,
    /// All events that there are, after a gap.
    All(Unreplayable),
    /// The last events of topics, if these finish them and are not after a position; and the
    /// position from which the follower goes on.
    Ends { generation: u64, up_to: u64, next: u64 },
}

/// Events for a follower, and the gap before them.
#[derive(Debug)]
pub(super) struct FetchedEvents {
    pub(super) generation: u64,
    pub(super) gap: Option<Gap>,
    pub(super) events: Vec<NatsEvent>,
    /// All events up to this are in `events`, or were returned before.
    pub(super) position: u64,
}

/// Fetches events, and retries until it succeeds.
pub(super) async fn fetch(
    log: Arc<NatsLogInner>,
    topics: Topics,
    request: FetchRequest,
) -> FetchedEvents {
    loop {
        log.link.replays.up().await;
        if let Ok(fetched) = fetch_once(&log, &topics, &request).await {
            return fetched;
        }
        log.link.replays.pause().await;
    }
}

/// Fetches events with one of the replays that may run at a time.
pub(super) async fn fetch_once(
    log: &Arc<NatsLogInner>,
    topics: &Topics,
    request: &FetchRequest,
) -> Result<FetchedEvents, RetryLater> {
    if let FetchRequest::After { slot: Some(slot), .. } = request {
        wait_for_slot(log, slot.sequence).await?;
    }
    let permit = Arc::clone(&log.replays).acquire_owned().await;
    let (log, topics, request) = (Arc::clone(log), topics.clone(), request.clone());
    let runtime = log.runtime.clone();
    let attempt = async move {
        let fetched = try_fetch(&log, &topics, request).await;
        drop(permit);
        fetched
    };
    // In a task of its own, which goes on if the follower is dropped: it deletes its consumer, and
    // a server would keep one that nobody deletes for half a minute.
    runtime.spawn(attempt).await.map_err(RetryLater::because)?
}

/// Waits until this process has read a sequence, if the stream has given it out: then another node
/// has read it, and this one will within moments.
async fn wait_for_slot(log: &NatsLogInner, sequence: u64) -> Result<(), RetryLater> {
    if *log.read_up_to.borrow() < sequence {
        let stream = log.link.get_stream(&log.link.replays).await?;
        if stream.cached_info().state.last_sequence >= sequence {
            wait_until_read(log, sequence).await?;
        }
    }
    Ok(())
}

/// Waits until this process has read all that the stream has now.
pub(super) async fn wait_for_all(log: &NatsLogInner) -> Result<(), RetryLater> {
    let stream = log.link.get_stream(&log.link.replays).await?;
    wait_until_read(log, stream.cached_info().state.last_sequence).await
}

async fn wait_until_read(log: &NatsLogInner, sequence: u64) -> Result<(), RetryLater> {
    let mut read = log.read_up_to.subscribe();
    let reaches = timeout(RESPONSE_TIMEOUT, read.wait_for(|read| *read >= sequence)).await;
    reaches.map_err(RetryLater::because)?.map(drop).map_err(RetryLater::because)
}

async fn try_fetch(
    log: &NatsLogInner,
    topics: &Topics,
    request: FetchRequest,
) -> Result<FetchedEvents, RetryLater> {
    // Before any request: all events that the window has by now are in the stream.
    let (generation, epoch, head) = {
        let window = log.window();
        (window.generation, window.epoch, window.head())
    };
    let stream = log.link.get_stream(&log.link.replays).await?;
    let info = stream.cached_info();
    // The stream was created anew, or restored, and the poller has not noticed it yet.
    if created(info) != epoch || info.state.last_sequence < head.sequence {
        return Err(RetryLater::default());
    }
    let reader = BatchReader { log, stream: &stream, topics, epoch };
    let (position, unreplayable, requested) = match request {
        FetchRequest::Ends { generation: of, up_to, next } => {
            let events = match of == generation {
                true => reader.finished_topics(up_to).await?,
                // The follower notices it when it looks at the window.
                false => Vec::new(),
            };
            return Ok(FetchedEvents { generation: of, gap: None, events, position: next });
        }
        FetchRequest::After { generation: of, position, slot, requested } => {
            let reason = match of == generation {
                true => invalidity(log, &stream, info, slot).await?,
                false => Some(GapReason::Restarted),
            };
            match reason {
                None => (position, None, Some(requested)),
                // What is kept is after the position.
                Some(GapReason::Expired) => {
                    (position, Some(Unreplayable::expired(requested)), None)
                }
                Some(reason) => (0, Some(Unreplayable { requested, reason }), None),
            }
        }
        FetchRequest::All(unreplayable) => (0, Some(unreplayable), None),
        FetchRequest::Earliest => (0, None, None),
    };
    let batch = reader.read(position, head.sequence).await?;
    let after = stream.get_info().await.map_err(RetryLater::because)?;
    if created(&after) != epoch || log.window().generation != generation {
        return Err(RetryLater::default());
    }
    // Events were trimmed, perhaps while the batch was read and before they were read.
    let is_trimmed = after.state.first_sequence > position + 1;
    let trimmed = requested.filter(|_| is_trimmed).map(Unreplayable::expired);
    // All events up to here are in the batch.
    let position = batch.last;
    let gap = unreplayable.or(trimmed).map(|why| {
        let gap = if let (Some((earliest, _)), Some(latest)) = (batch.events.first(), batch.latest)
        {
            Gap::new(earliest.before().id()).between(earliest.id(), latest.id())
        } else {
            let slot = if position == head.sequence { head } else { Slot::empty(position) };
            Gap::new(NatsPosition::after(epoch, slot).id())
        };
        why.explain(gap)
    });
    Ok(FetchedEvents { generation, gap, events: batch.events, position })
}

/// Why a client cannot go on after a slot, if it cannot.
async fn invalidity(
    log: &NatsLogInner,
    stream: &Stream,
    info: &Info,
    slot: Option<Slot>,
) -> Result<Option<GapReason>, RetryLater> {
    let Some(slot) = slot else {
        return Ok(None);
    };
    if slot.sequence > info.state.last_sequence {
        return Ok(Some(GapReason::Unknown));
    }
    let known = log.window().verify(slot);
    Ok(match known {
        Some(true) => None,
        Some(false) => Some(GapReason::Restarted),
        None => match slot_at(stream, slot.sequence).await? {
            now if now == slot => None,
            // Nobody knows whether it was the same event that was there.
            Slot { message: None, .. } => Some(GapReason::Expired),
            Slot { .. } => Some(GapReason::Restarted),
        },
    })
}
