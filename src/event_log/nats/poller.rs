//! The poller: the one task of a process that reads the stream into the window.

use std::pin::pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use slab::Slab;
use tokio::sync::watch;
use tokio::time::timeout;

use super::NatsLogInner;
use super::ids::Slot;
use super::link::{Consumed, RetryLater};
use super::stream::{
    create_consumer, created, delete_consumer, get_or_create_stream, last_message, slot_at,
};
use crate::sync::wake_all;

/// Reads the stream for ever.
///
/// Whenever messages may have been lost, it goes on after the last message that it read, with a new
/// consumer: so the window has no holes and no event twice.
pub(super) async fn run(log: Arc<NatsLogInner>, first: Stream) {
    let (mut stream, link) = (Some(first), &log.link);
    let _end = EndOfReading(&log);
    loop {
        // Before any request, so that all changes from here on are seen.
        let mut changes = link.reads.changes();
        let opened = match stream.take() {
            Some(stream) => Ok(stream),
            None => get_or_create_stream(&link.reads.jetstream, &link.settings).await,
        };
        match opened {
            Ok(stream) => {
                if let Err(RetryLater(Some(why))) = read(&log, &stream, &mut changes).await {
                    link.health.note_problem(&why);
                }
            }
            Err(error) => link.health.note_problem(&error),
        }
        if !link.reads.is_up() {
            link.health.note_problem(&"there is no connection to a NATS server");
        }
        link.reads.pause().await;
    }
}

/// Ends the followers with the poller, which ends with the runtime that it is in.
struct EndOfReading<'a>(&'a NatsLogInner);

impl Drop for EndOfReading<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Reads with one consumer, until messages may have been lost.
async fn read(
    log: &NatsLogInner,
    stream: &Stream,
    changes: &mut watch::Receiver<u64>,
) -> Result<(), RetryLater> {
    let next = sync_window(log, stream).await?;
    let consumer = create_consumer(stream, next, Vec::new()).await?;
    let messages = consumer.stream();
    let messages = messages.max_messages_per_batch(BATCH).expires(EXPIRES).heartbeat(HEARTBEAT);
    let mut messages = messages.messages().await.map_err(RetryLater::because)?;
    log.link.health.note_reading();
    let mut change = pin!(changes.changed());
    let (mut count, mut stalled_at) = (0, None);
    loop {
        // With a timeout, since the client library looks for missing heartbeats only when it is
        // polled: a consumer may be gone with a server that is not that of the connection.
        let next = pin!(timeout(HEARTBEAT, messages.next()));
        let message = match select(next, change.as_mut()).await {
            Either::Left((Ok(Some(Ok(message))), _)) => message,
            Either::Left((Err(_), _)) => {
                // Twice at the same message, since the next one may be on its way.
                let stalls_at = find_stall(log, stream).await;
                if stalls_at.is_some() && stalls_at == stalled_at {
                    delete_consumer(stream, &consumer).await;
                    let why = "the consumer does not send what the stream has";
                    return Err(RetryLater::because(why));
                }
                stalled_at = stalls_at;
                continue;
            }
            // Without a connection the consumer cannot be deleted; the server forgets it.
            Either::Right(_) if !log.link.reads.is_up() => return Err(RetryLater::default()),
            Either::Left(_) | Either::Right(_) => break,
        };
        count += 1;
        if push(log, stream, &message, count).await.is_err() {
            break;
        }
    }
    drop(messages);
    delete_consumer(stream, &consumer).await;
    Err(RetryLater::default())
}

/// The last message that was read, if the stream has others after it: the consumer may be at a
/// server of a cluster that does not get what the other servers have.
async fn find_stall(log: &NatsLogInner, stream: &Stream) -> Option<Slot> {
    let head = log.window().head();
    let last = last_message(stream, &log.link.subject(">")).await.ok()??;
    (last.sequence > head.sequence).then_some(head)
}

/// Compares the stream with what was read of it, and returns the sequence to read next.
pub(super) async fn sync_window(log: &NatsLogInner, stream: &Stream) -> Result<u64, RetryLater> {
    // Before the request, since events are appended all the time.
    let (of, slots) = {
        let window = log.window();
        (window.epoch(), [window.head(), window.known])
    };
    let info = stream.get_info().await.map_err(RetryLater::because)?;
    let (epoch, first) = (created(&info), info.state.first_sequence.max(1));
    let last = slot_at(stream, info.state.last_sequence).await?;
    let goes_on = of == epoch && has_kept(stream, &slots, last).await?;
    let before = if goes_on {
        None
    } else {
        // So the window is filled, and clients that come back soon find in it what they missed.
        let all = u64::try_from(log.link.settings.window_events).unwrap_or(u64::MAX);
        let before = (first - 1).max(last.sequence.saturating_sub(all)).min(last.sequence);
        Some(slot_at(stream, before).await?)
    };
    let mut window = log.window();
    let wakers = match before {
        Some(before) => window.reset(epoch, before, last),
        None if first - 1 > window.head().sequence => window.skip_to(Slot::empty(first - 1)),
        None => Vec::new(),
    };
    window.note_given_out(last);
    let next = window.head().sequence + 1;
    drop(window);
    log.note_read(next - 1);
    wake_lists(wakers);
    Ok(next)
}

/// Whether the stream still has these messages. If it has others with the same sequences, or has
/// not given these sequences out, it was created anew, or it lost its last messages.
async fn has_kept(stream: &Stream, slots: &[Slot], last: Slot) -> Result<bool, RetryLater> {
    for slot in slots {
        if slot.sequence > last.sequence {
            return Ok(false);
        }
        let now = match slot.sequence == last.sequence {
            true => last,
            false => slot_at(stream, slot.sequence).await?,
        };
        // Messages that were trimmed in the meantime show nothing.
        if now.message.is_some() && now.message != slot.message {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Pushes the message that is the `count`-th of its consumer.
async fn push(
    log: &NatsLogInner,
    stream: &Stream,
    message: &Message,
    count: u64,
) -> Result<(), RetryLater> {
    let (head, epoch) = {
        let window = log.window();
        (window.head().sequence, window.epoch())
    };
    let Consumed { count: counted, message } = log.link.consumed(epoch, message)?;
    if counted != count {
        return Err(RetryLater::default());
    }
    let sequence = message.position.slot.sequence;
    if sequence <= head {
        return Ok(());
    }
    if sequence > head + 1 {
        // Messages are missing: they were deleted by hand, or trimmed before they were read.
        let info = stream.get_info().await.map_err(RetryLater::because)?;
        if created(&info) != epoch {
            return Err(RetryLater::default());
        }
        if info.state.first_sequence > head + 1 {
            let wakers = log.window().skip_to(Slot::empty(sequence - 1));
            wake_lists(wakers);
        }
    }
    let wakers = log.window().push(message);
    log.note_read(sequence);
    wake_lists(wakers);
    Ok(())
}

/// Wakes the wakers that a window returned.
pub(super) fn wake_lists(lists: Vec<Slab<Waker>>) {
    wake_all(lists.into_iter().flatten().map(|(_, waker)| waker));
}

/// The most messages that are on their way at a time.
const BATCH: usize = 512;

/// How long a server waits with an answer when there are no messages.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often a server sends a sign of life. After twice that time of silence the read ends.
const HEARTBEAT: Duration = Duration::from_secs(5);
