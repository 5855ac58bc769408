//! What followers are sent that are behind the window: batches from the server.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::link::{ANSWER, Trouble, consume, give_up, made};
use super::shared::Shared;
use crate::event_log::ids::id_before;
use crate::event_log::{Gap, Logged, Start, Topics};
use crate::wire::EventId;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// Behind an event, which may be gone.
    Behind { generation: u64, place: u64, asked: Start },
    /// All that there is, since it was asked for.
    Earliest,
    /// All that there is, and to be told that what was asked for is not known.
    Unknown(Start),
}

/// A batch of events, and what is missing before them.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) generation: u64,
    pub(super) epoch: u64,
    pub(super) gap: Option<Gap>,
    pub(super) events: VecDeque<(u64, Logged)>,
    /// There is nothing that the follower does not have up to this.
    pub(super) place: u64,
}

/// Asks until there is an answer.
pub(super) async fn fetch(shared: Arc<Shared>, topics: Topics, wanted: Wanted) -> Fetched {
    loop {
        shared.link.connected().await;
        let permit = shared.fetches.acquire().await;
        if let Ok(fetched) = try_fetch(&shared, &topics, wanted.clone()).await {
            return fetched;
        }
        drop(permit);
        shared.link.pause().await;
    }
}

async fn try_fetch(shared: &Shared, topics: &Topics, wanted: Wanted) -> Result<Fetched, Trouble> {
    // Before anything is asked: what the window has by now is in the stream.
    let (generation, epoch, head) = {
        let window = shared.window();
        (window.generation, window.epoch, window.head)
    };
    let stream = shared.link.known_stream().await?;
    let before = stream.cached_info();
    // Not noticed yet: its reader will.
    if made(before) != epoch || before.state.last_sequence < head {
        return Err(Trouble);
    }
    let original = match &wanted {
        Wanted::Behind { asked, .. } | Wanted::Unknown(asked) => asked.clone(),
        Wanted::Earliest => Start::Earliest,
    };
    let (mut place, mut asked) = match wanted {
        Wanted::Behind { generation: of, place, asked } if of == generation => {
            match place <= before.state.last_sequence {
                true => (place, (before.state.first_sequence > place + 1).then_some(asked)),
                // Newer than all that there is.
                false => (0, Some(asked)),
            }
        }
        Wanted::Behind { asked, .. } | Wanted::Unknown(asked) => (0, Some(asked)),
        Wanted::Earliest => (0, None),
    };
    let may_be_trimmed = asked.is_none() && original != Start::Earliest;
    let batch = batch(shared, &stream, topics, epoch, place + 1).await?;
    let mut gap = None;
    let after = stream.get_info().await.map_err(|_| Trouble)?;
    if made(&after) != epoch {
        return Err(Trouble);
    }
    if may_be_trimmed && after.state.first_sequence > place + 1 {
        // Trimmed while it was read, and perhaps before.
        asked = Some(original);
    }
    // Up to here there is nothing that is not in the batch.
    place = match batch.whole {
        true => head.max(batch.last).max(place),
        false => batch.last,
    };
    if let Some(asked) = asked {
        let latest = latest(shared, &stream, topics).await?;
        let earliest = batch.events.front().map(|(sequence, _)| *sequence);
        gap = Some(match (earliest, latest.max(batch.events.back().map(|(last, _)| *last))) {
            (Some(earliest), Some(latest)) => Gap::new(id_before(epoch, earliest))
                .between(EventId::with_epoch(epoch, earliest), EventId::with_epoch(epoch, latest)),
            _ => Gap::new(id_before(epoch, place + 1)),
        });
        gap = gap.map(|gap| gap.requested(&asked));
    }
    Ok(Fetched { generation, epoch, gap, events: batch.events, place })
}

struct Batch {
    events: VecDeque<(u64, Logged)>,
    /// The sequence of the last message that was looked at.
    last: u64,
    /// Whether there was no more.
    whole: bool,
}

/// Reads some of what there is from a sequence on.
///
/// Where it ends is asked of the stream: what a consumer says is still to come was seen to be less
/// than what came (in NATS 2.9.10).
async fn batch(
    shared: &Shared,
    stream: &Stream,
    topics: &Topics,
    epoch: u64,
    first: u64,
) -> Result<Batch, Trouble> {
    let mut batch = Batch { events: VecDeque::new(), last: first - 1, whole: true };
    let filter = shared.link.filter(topics);
    // Of events that there are: the last sequence of the stream may be one of what is gone, for which
    // there would be a wait until it is the turn of the next one.
    let end = match &*filter {
        "" if shared.link.subjects(topics).next().is_none() => return Ok(batch),
        "" => last_of(stream, &shared.link.subject(">")).await?,
        filter => last_of(stream, filter).await?,
    };
    let Some(end) = end.filter(|end| *end >= first) else {
        return Ok(batch);
    };
    let consumer = consume(stream, first, filter).await?;
    let read = read(shared, topics, epoch, &consumer, end, &mut batch).await;
    give_up(stream, &consumer).await;
    read.map(|()| batch)
}

async fn read(
    shared: &Shared,
    topics: &Topics,
    epoch: u64,
    consumer: &PullConsumer,
    end: u64,
    batch: &mut Batch,
) -> Result<(), Trouble> {
    // More than any event, or that would not be sent.
    let bytes = BATCH_BYTES.max(shared.link.client.server_info().max_payload + HEADERS);
    let messages = consumer.batch().max_messages(BATCH).max_bytes(bytes).expires(EXPIRES);
    let mut messages = messages.messages().await.map_err(|_| Trouble)?;
    let mut count = 0;
    batch.whole = false;
    // What came before something went wrong is good.
    while let Ok(Some(Ok(message))) = timeout(ANSWER, messages.next()).await {
        let info = message.info().map_err(|_| Trouble)?;
        count += 1;
        if info.consumer_sequence != count {
            return Err(Trouble);
        }
        batch.last = info.stream_sequence;
        batch.whole = batch.last >= end;
        let event = shared.link.event(epoch, batch.last, &message.subject, &message.payload);
        if let Some(event) = event.filter(|event| topics.matches(event.topic())) {
            batch.events.push_back((batch.last, event));
        }
        if batch.whole {
            break;
        }
    }
    if count == 0 { Err(Trouble) } else { Ok(()) }
}

/// The last event of these topics.
async fn latest(shared: &Shared, stream: &Stream, topics: &Topics) -> Result<Option<u64>, Trouble> {
    let mut latest = None;
    for subject in shared.link.subjects(topics) {
        latest = latest.max(last_of(stream, &subject).await?);
    }
    Ok(latest)
}

/// The last message of a subject, or of all that fit a pattern.
async fn last_of(stream: &Stream, subject: &str) -> Result<Option<u64>, Trouble> {
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message.sequence)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(_) => Err(Trouble),
    }
}

/// So many events a follower holds that is far behind.
const BATCH: usize = 256;

/// And no more bytes than these, unless events may be longer.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// What is around an event in a message.
const HEADERS: usize = 64 * 1024;

/// How long a server waits for more, which it need not: where it ends is known.
const EXPIRES: Duration = Duration::from_secs(2);
