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
use super::link::{RetryLater, create_consumer, created, delete_consumer};
use crate::event_log::wake_list::wake;

/// Reads the stream for ever.
///
/// Whenever messages may have been lost, it goes on after the last message that it read, with a new
/// consumer: so the window has no holes and no event twice.
pub(super) async fn run(log: Arc<NatsLogInner>, first: Stream) {
    let mut stream = Some(first);
    loop {
        // Before any request, so that all changes from here on are seen.
        let mut changes = log.link.changes();
        let opened = match stream.take() {
            Some(stream) => Ok(stream),
            None => log.link.get_or_create_stream().await,
        };
        let health = &log.link.health;
        match opened {
            Ok(stream) => {
                if let Err(RetryLater(Some(why))) = read(&log, &stream, &mut changes).await {
                    health.note_problem(&why);
                }
            }
            Err(error) => health.note_problem(&error),
        }
        if !log.link.is_connected() {
            health.note_problem(&"there is no connection to a NATS server");
        }
        log.link.pause().await;
    }
}

/// Reads with one consumer, until messages may have been lost.
async fn read(
    log: &NatsLogInner,
    stream: &Stream,
    changes: &mut watch::Receiver<u64>,
) -> Result<(), RetryLater> {
    let next = sync_window(log, stream);
    let consumer = create_consumer(stream, next, String::new()).await?;
    let messages = consumer.stream();
    let messages = messages.max_messages_per_batch(BATCH).expires(EXPIRES).heartbeat(HEARTBEAT);
    let mut messages = messages.messages().await.map_err(RetryLater::because)?;
    log.link.health.note_reading();
    let mut change = pin!(changes.changed());
    let mut count = 0;
    loop {
        // With a timeout, since the client library looks for missing heartbeats only when it is
        // polled: a consumer may be gone with a server that is not that of the connection.
        let next = pin!(timeout(HEARTBEAT, messages.next()));
        let message = match select(next, change.as_mut()).await {
            Either::Left((Ok(Some(Ok(message))), _)) => message,
            Either::Left((Err(_), _)) => continue,
            // Without a connection the consumer cannot be deleted; the server forgets it.
            Either::Right(_) if !log.link.is_connected() => return Err(RetryLater::default()),
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

/// Compares the stream with what was read of it, and returns the sequence to read next.
pub(super) fn sync_window(log: &NatsLogInner, stream: &Stream) -> u64 {
    let info = stream.cached_info();
    let (epoch, state) = (created(info), &info.state);
    let mut window = log.window();
    // The stream was created anew, or restored to an earlier state: sequences are given out again.
    let (anew, back) = (window.epoch != epoch, state.last_sequence < window.head);
    let first = state.first_sequence.max(1);
    let wakers = if anew || back || window.generation == 0 {
        let all = u64::try_from(log.link.settings.window_events).unwrap_or(u64::MAX);
        // Filled, so that clients that come back soon find what they missed in the window.
        let before = (first - 1).max(state.last_sequence.saturating_sub(all));
        window.reset(epoch, before.min(state.last_sequence), state.last_sequence)
    } else if first - 1 > window.head {
        window.skip_to(first - 1)
    } else {
        let generation = window.generation;
        window.set_known(generation, state.last_sequence);
        Vec::new()
    };
    let next = window.head + 1;
    drop(window);
    wake_all(wakers);
    next
}

/// Pushes the message that is the `count`-th of its consumer.
async fn push(
    log: &NatsLogInner,
    stream: &Stream,
    message: &Message,
    count: u64,
) -> Result<(), RetryLater> {
    let info = message.info().map_err(RetryLater::because)?;
    if info.consumer_sequence != count {
        return Err(RetryLater::default());
    }
    let sequence = info.stream_sequence;
    let (head, epoch) = {
        let window = log.window();
        (window.head, window.epoch)
    };
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
            let wakers = log.window().skip_to(sequence - 1);
            wake_all(wakers);
        }
    }
    let event = log.link.parse_event(epoch, sequence, &message.subject, &message.payload);
    let wakers = log.window().push(sequence, event);
    wake_all(wakers.into_iter().flatten());
    Ok(())
}

fn wake_all(wakers: impl IntoIterator<Item = Slab<Waker>>) {
    for wakers in wakers {
        drop(wake(wakers));
    }
}

/// The most messages that are on their way at a time.
const BATCH: usize = 512;

/// How long a server waits with an answer when there are no messages.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often a server sends a sign of life. After twice that time of silence the read ends.
const HEARTBEAT: Duration = Duration::from_secs(5);
