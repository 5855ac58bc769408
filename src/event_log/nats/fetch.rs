//! Fetches events from the server, for followers that are behind the window.

use std::future::Future;
use std::sync::Arc;

use async_nats::jetstream::stream::{Info, Stream};
use tokio::time::timeout;

use super::NatsLogInner;
use super::batch::{BatchReader, NatsEvent};
use super::connection::RESPONSE_TIMEOUT;
use super::ids::{NatsPosition, Slot};
use super::link::RetryLater;
use super::stream::{created, last_message, slot_at};
use crate::event_log::window::{Cursor, Placement};
use crate::event_log::{Gap, GapReason, Start, Topics};

/// The events that a follower requests.
#[derive(Clone, Debug)]
pub(super) enum FetchRequest {
    /// The events after a cursor.
    Events {
        cursor: Cursor,
        /// What must be in the stream for the cursor to be one of its history.
        slot: Option<Slot>,
        /// Why there is a gap before the events, if there is one anyway.
        reason: Option<GapReason>,
        requested: Start,
        /// Of events that were lost up to this the client need not be told.
        owed_after: u64,
    },
    /// The last events of topics, if these finish them and are not after a position.
    Ends { cursor: Cursor, up_to: u64 },
}

/// Events for a follower, and the gap before them.
#[derive(Debug)]
pub(super) struct FetchedEvents {
    pub(super) cursor: Cursor,
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

/// Fetches events.
async fn fetch_once(
    log: &Arc<NatsLogInner>,
    topics: &Topics,
    request: &FetchRequest,
) -> Result<FetchedEvents, RetryLater> {
    if let FetchRequest::Events { slot: Some(slot), .. } = request {
        wait_for_slot(log, slot.sequence).await?;
    }
    let (inner, topics, request) = (Arc::clone(log), topics.clone(), request.clone());
    as_replay(log, async move { try_fetch(&inner, &topics, request).await }).await
}

/// Reads with one of the replays that may run at a time.
pub(super) async fn as_replay<T: Send + 'static>(
    log: &NatsLogInner,
    read: impl Future<Output = Result<T, RetryLater>> + Send + 'static,
) -> Result<T, RetryLater> {
    let permit = Arc::clone(&log.replays).acquire_owned().await;
    let read = async move {
        let read = read.await;
        drop(permit);
        read
    };
    // In a task of its own, which goes on if the caller is dropped: it deletes its consumer, and a
    // server would keep one that nobody deletes for half a minute.
    log.runtime.spawn(read).await.map_err(RetryLater::because)?
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
    // The last sequence of the stream may be that of a message that was deleted by hand.
    let last = last_message(&stream, &log.link.subject(">")).await?;
    wait_until_read(log, last.map_or(0, |last| last.sequence)).await
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
    let (epoch, head) = {
        let window = log.window();
        (window.epoch(), window.head())
    };
    let stream = log.link.get_stream(&log.link.replays).await?;
    let info = stream.cached_info();
    // The stream was created anew, or set back, and the poller has not noticed it yet.
    if created(info) != epoch || info.state.last_sequence < head.sequence {
        return Err(RetryLater::default());
    }
    let reader = BatchReader { log, stream: &stream, topics, epoch };
    let (mut cursor, slot, mut reason, requested, owed_after) = match request {
        FetchRequest::Events { cursor, slot, reason, requested, owed_after } => {
            (cursor, slot, reason, requested, owed_after)
        }
        FetchRequest::Ends { cursor, up_to } => {
            // A follower notices that its cursor is of the past when it looks at the window.
            let is_past = log.window().is_past(&cursor);
            let events = if is_past { Vec::new() } else { reader.finished_topics(up_to).await? };
            let position = cursor.position();
            return Ok(FetchedEvents { cursor, gap: None, events, position });
        }
    };
    if log.window().is_past(&cursor) {
        reason = Some(log.window().renew(&mut cursor));
    } else if let Some(invalid) = invalidity(log, &stream, info, slot).await? {
        reason = Some(invalid);
        // After what is trimmed comes all that is kept.
        if invalid != GapReason::Expired {
            cursor = log.window().start(Placement::Gap(invalid));
        }
    }
    let batch = reader.read(cursor.position(), head.sequence).await?;
    let after = stream.get_info().await.map_err(RetryLater::because)?;
    if created(&after) != epoch || log.window().is_past(&cursor) {
        return Err(RetryLater::default());
    }
    // Events were trimmed, perhaps while the batch was read and before they were read.
    let trimmed = cursor.skip_to(after.state.first_sequence.saturating_sub(1));
    let forgotten = batch.lacks_events_after(owed_after).then_some(GapReason::Expired);
    let reason = reason.or(trimmed).or(forgotten);
    // A gap names the first event after it, which this process has not read yet.
    let latest = batch.latest.map_or(0, |latest| latest.slot.sequence);
    if reason.is_some() && batch.events.is_empty() && latest > head.sequence {
        wait_until_read(log, latest).await?;
        return Err(RetryLater::default());
    }
    // All events up to here are in the batch.
    let position = batch.last;
    let gap = reason.map(|reason| {
        let gap = if let (Some((earliest, _)), Some(latest)) = (batch.events.first(), batch.latest)
        {
            Gap::new(earliest.before().id()).between(earliest.id(), latest.id())
        } else {
            let slot = if position == head.sequence { head } else { Slot::empty(position) };
            Gap::new(NatsPosition::after(epoch, slot).id())
        };
        gap.requested(&requested).because(reason)
    });
    Ok(FetchedEvents { cursor, gap, events: batch.events, position })
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
