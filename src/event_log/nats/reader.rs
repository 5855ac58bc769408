//! The one reader of a process: it fills the window.

use std::pin::pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use slab::Slab;
use tokio::time::timeout;

use super::link::{Trouble, consume, give_up, made};
use super::shared::Shared;
use crate::event_log::wake_list::wake;

/// Reads the stream as long as it is let.
///
/// Whenever something may have been lost, it goes on behind what it has read with a new consumer:
/// so the window has no holes and nothing twice.
pub(super) async fn read(shared: Arc<Shared>, first: Stream) {
    let mut stream = Some(first);
    loop {
        // Before anything is asked: whatever changes from here on is seen.
        let mut changes = shared.link.changes();
        let opened = match stream.take() {
            Some(stream) => Ok(stream),
            None => shared.link.stream().await,
        };
        if let Ok(stream) = opened {
            let _ = read_on(&shared, &stream, &mut changes).await;
        }
        shared.link.pause().await;
    }
}

async fn read_on(
    shared: &Shared,
    stream: &Stream,
    changes: &mut tokio::sync::watch::Receiver<u64>,
) -> Result<(), Trouble> {
    let next = begin(shared, stream);
    let consumer = consume(stream, next, String::new()).await?;
    let messages = consumer.stream();
    let messages = messages.max_messages_per_batch(BATCH).expires(EXPIRES).heartbeat(HEARTBEAT);
    let mut messages = messages.messages().await.map_err(|_| Trouble)?;
    let mut change = pin!(changes.changed());
    let mut count = 0;
    loop {
        // Asked again and again, since the client looks for heartbeats that are missing only then: a
        // consumer may be gone with another server than that of the connection.
        let next = pin!(timeout(HEARTBEAT, messages.next()));
        let message = match select(next, change.as_mut()).await {
            Either::Left((Ok(Some(Ok(message))), _)) => message,
            Either::Left((Err(_), _)) => continue,
            // Without a connection the server finds out by itself.
            Either::Right(_) if !shared.link.is_connected() => return Err(Trouble),
            Either::Left(_) | Either::Right(_) => break,
        };
        count += 1;
        if take(shared, stream, &message, count).await.is_err() {
            break;
        }
    }
    drop(messages);
    give_up(stream, &consumer).await;
    Err(Trouble)
}

/// Compares the stream with what was read of it, and gives the sequence that is next.
pub(super) fn begin(shared: &Shared, stream: &Stream) -> u64 {
    let info = stream.cached_info();
    let (epoch, state) = (made(info), &info.state);
    let mut window = shared.window();
    // Made anew, or set back to an earlier state: sequences are given out again.
    let (anew, back) = (window.epoch != epoch, state.last_sequence < window.head);
    let first = state.first_sequence.max(1);
    let woken = if anew || back || window.generation == 0 {
        let all = u64::try_from(shared.link.settings.window_events).unwrap_or(u64::MAX);
        // Those who come back soon find what they missed here.
        let before = (first - 1).max(state.last_sequence.saturating_sub(all));
        window.begin(epoch, before.min(state.last_sequence), state.last_sequence)
    } else if first - 1 > window.head {
        window.lose(first - 1)
    } else {
        let generation = window.generation;
        window.know(generation, state.last_sequence);
        Vec::new()
    };
    let next = window.head + 1;
    drop(window);
    wake_up(woken);
    next
}

async fn take(
    shared: &Shared,
    stream: &Stream,
    message: &Message,
    count: u64,
) -> Result<(), Trouble> {
    let info = message.info().map_err(|_| Trouble)?;
    if info.consumer_sequence != count {
        return Err(Trouble);
    }
    let sequence = info.stream_sequence;
    let (head, epoch) = {
        let window = shared.window();
        (window.head, window.epoch)
    };
    if sequence <= head {
        return Ok(());
    }
    if sequence > head + 1 {
        // Deleted by hand, or trimmed before it was read?
        let info = stream.get_info().await.map_err(|_| Trouble)?;
        if made(&info) != epoch {
            return Err(Trouble);
        }
        if info.state.first_sequence > head + 1 {
            let woken = shared.window().lose(sequence - 1);
            wake_up(woken);
        }
    }
    let event = shared.link.event(epoch, sequence, &message.subject, &message.payload);
    let woken = shared.window().push(sequence, event);
    wake_up(woken.into_iter().flatten());
    Ok(())
}

fn wake_up(wakers: impl IntoIterator<Item = Slab<Waker>>) {
    for wakers in wakers {
        drop(wake(wakers));
    }
}

/// So many messages may be on their way.
const BATCH: usize = 512;

/// How long a server waits with an answer when there is nothing.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often a server says that it is there. Twice as long a silence is the end.
const HEARTBEAT: Duration = Duration::from_secs(5);
