//! Fetches batches of events from the server, for followers that are behind the window.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::NatsLogInner;
use super::link::{RESPONSE_TIMEOUT, RetryLater, create_consumer, created, delete_consumer};
use crate::event_log::ids::id_before;
use crate::event_log::start::Unreplayable;
use crate::event_log::{Gap, GapReason, Logged, Start, Topics};
use crate::wire::EventId;

/// The events that a follower requests.
#[derive(Clone, Debug)]
pub(super) enum FetchRequest {
    /// The events after a position, which may be gone.
    After { generation: u64, position: u64, requested: Start },
    /// All events that there are, because they were requested.
    Earliest,
    /// All events that there are, after a gap, because the requested position is not known.
    Unknown(Start),
    /// The last events of topics, if these finish them and are not after a position; and the
    /// position from which the follower goes on.
    Ends { generation: u64, up_to: u64, next: u64 },
}

/// Events for a follower, and the gap before them.
#[derive(Debug)]
pub(super) struct FetchedEvents {
    pub(super) generation: u64,
    pub(super) epoch: u64,
    pub(super) gap: Option<Gap>,
    pub(super) events: VecDeque<(u64, Logged)>,
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
        log.link.connected().await;
        let permit = Arc::clone(&log.fetches).acquire_owned().await;
        let attempt = {
            let (log, topics, request) = (Arc::clone(&log), topics.clone(), request.clone());
            async move {
                let fetched = try_fetch(&log, &topics, request).await;
                drop(permit);
                fetched
            }
        };
        // In a task of its own, which goes on if the follower is dropped: it deletes its consumer,
        // and a server would keep one that nobody deletes for half a minute.
        if let Ok(Ok(fetched)) = log.runtime.spawn(attempt).await {
            return fetched;
        }
        log.link.pause().await;
    }
}

async fn try_fetch(
    log: &NatsLogInner,
    topics: &Topics,
    request: FetchRequest,
) -> Result<FetchedEvents, RetryLater> {
    // Before any request: all events that the window has by now are in the stream.
    let (generation, epoch, head) = {
        let window = log.window();
        (window.generation, window.epoch, window.head)
    };
    let stream = log.link.get_stream().await?;
    let before = stream.cached_info();
    // The stream was created anew, or restored, and the poller has not noticed it yet.
    if created(before) != epoch || before.state.last_sequence < head {
        return Err(RetryLater::default());
    }
    if let FetchRequest::Ends { generation: of, up_to, next } = request {
        let events = match of == generation {
            true => finished_topics(log, &stream, topics, epoch, up_to).await?,
            // The follower notices it when it looks at the window.
            false => VecDeque::new(),
        };
        return Ok(FetchedEvents { generation: of, epoch, gap: None, events, position: next });
    }
    let original = match &request {
        FetchRequest::After { requested, .. } | FetchRequest::Unknown(requested) => {
            requested.clone()
        }
        FetchRequest::Earliest | FetchRequest::Ends { .. } => Start::Earliest,
    };
    // The position to read after, and the requested position if there is a gap after it.
    let (mut position, mut unreplayable) = match request {
        FetchRequest::After { generation: of, position, requested } if of == generation => {
            match position <= before.state.last_sequence {
                true => {
                    let trimmed = before.state.first_sequence > position + 1;
                    (position, trimmed.then(|| Unreplayable::expired(requested)))
                }
                // Newer than all events.
                false => (0, Some(Unreplayable::unknown(requested, epoch))),
            }
        }
        FetchRequest::After { requested, .. } => {
            (0, Some(Unreplayable { requested, reason: GapReason::Restarted }))
        }
        FetchRequest::Unknown(requested) => (0, Some(Unreplayable::unknown(requested, epoch))),
        FetchRequest::Earliest | FetchRequest::Ends { .. } => (0, None),
    };
    let may_be_trimmed = unreplayable.is_none() && original != Start::Earliest;
    let batch = fetch_batch(log, &stream, topics, epoch, position + 1).await?;
    let mut gap = None;
    let after = stream.get_info().await.map_err(RetryLater::because)?;
    if created(&after) != epoch {
        return Err(RetryLater::default());
    }
    if may_be_trimmed && after.state.first_sequence > position + 1 {
        // Events were trimmed while the batch was read, and perhaps before they were read.
        unreplayable = Some(Unreplayable::expired(original));
    }
    // All events up to here are in the batch.
    position = match batch.complete {
        true => head.max(batch.last).max(position),
        false => batch.last,
    };
    if let Some(why) = unreplayable {
        let latest = last_event(log, &stream, topics).await?;
        let earliest = batch.events.front().map(|(sequence, _)| *sequence);
        gap = Some(match (earliest, latest.max(batch.events.back().map(|(last, _)| *last))) {
            (Some(earliest), Some(latest)) => Gap::new(id_before(epoch, earliest))
                .between(EventId::with_epoch(epoch, earliest), EventId::with_epoch(epoch, latest)),
            _ => Gap::new(id_before(epoch, position + 1)),
        });
        gap = gap.map(|gap| why.explain(gap));
    }
    Ok(FetchedEvents { generation, epoch, gap, events: batch.events, position })
}

struct EventBatch {
    events: VecDeque<(u64, Logged)>,
    /// The sequence of the last message that was read.
    last: u64,
    /// Whether there were no more messages.
    complete: bool,
}

/// Reads a batch of events from a sequence on.
///
/// The end is requested from the stream: the number of pending messages that a consumer reports can
/// be too small (seen in NATS 2.9.10).
async fn fetch_batch(
    log: &NatsLogInner,
    stream: &Stream,
    topics: &Topics,
    epoch: u64,
    first: u64,
) -> Result<EventBatch, RetryLater> {
    let mut batch = EventBatch { events: VecDeque::new(), last: first - 1, complete: true };
    let filter = log.link.filter(topics);
    // The last event that is there. The last sequence of the stream may be one that was deleted,
    // and then the read would wait for the next event.
    let end = match &*filter {
        "" if log.link.subjects(topics).next().is_none() => return Ok(batch),
        "" => last_message(stream, &log.link.subject(">")).await?,
        filter => last_message(stream, filter).await?,
    };
    let Some(end) = end.filter(|end| *end >= first) else {
        return Ok(batch);
    };
    let consumer = create_consumer(stream, first, filter).await?;
    let read = read_batch(log, topics, epoch, &consumer, end, &mut batch).await;
    delete_consumer(stream, &consumer).await;
    read.map(|()| batch)
}

async fn read_batch(
    log: &NatsLogInner,
    topics: &Topics,
    epoch: u64,
    consumer: &PullConsumer,
    end: u64,
    batch: &mut EventBatch,
) -> Result<(), RetryLater> {
    // At least the longest event: the server does not send one that exceeds the batch.
    let bytes = BATCH_BYTES.max(log.link.client.server_info().max_payload + MAX_OVERHEAD);
    let messages = consumer.batch().max_messages(BATCH_EVENTS).max_bytes(bytes).expires(EXPIRES);
    let mut messages = messages.messages().await.map_err(RetryLater::because)?;
    let mut count = 0;
    batch.complete = false;
    // After an error, the messages before it are used.
    while let Ok(Some(Ok(message))) = timeout(RESPONSE_TIMEOUT, messages.next()).await {
        let info = message.info().map_err(RetryLater::because)?;
        count += 1;
        if info.consumer_sequence != count {
            return Err(RetryLater::default());
        }
        batch.last = info.stream_sequence;
        batch.complete = batch.last >= end;
        let event = log.link.parse_event(epoch, batch.last, &message.subject, &message.payload);
        if let Some(event) = event.filter(|event| topics.matches(event.topic())) {
            batch.events.push_back((batch.last, event));
        }
        if batch.complete {
            break;
        }
    }
    if count == 0 { Err(RetryLater::default()) } else { Ok(()) }
}

/// The last events of topics, if these finish them and are not after a position.
async fn finished_topics(
    log: &NatsLogInner,
    stream: &Stream,
    topics: &Topics,
    epoch: u64,
    up_to: u64,
) -> Result<VecDeque<(u64, Logged)>, RetryLater> {
    let mut ends = Vec::new();
    for name in topics.names() {
        let subject = log.link.subject(name.as_str());
        let last = match stream.get_last_raw_message_by_subject(&subject).await {
            Ok(last) => last,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => continue,
            Err(_) => return Err(RetryLater::default()),
        };
        let event = log.link.parse_event(epoch, last.sequence, &subject, &last.payload);
        let finishes = |event: &Logged| last.sequence <= up_to && event.finishes_topic();
        ends.extend(event.filter(finishes).map(|event| (last.sequence, event)));
    }
    ends.sort_unstable_by_key(|(sequence, _)| *sequence);
    Ok(ends.into())
}

/// The sequence of the last event of these topics.
async fn last_event(
    log: &NatsLogInner,
    stream: &Stream,
    topics: &Topics,
) -> Result<Option<u64>, RetryLater> {
    let mut last = None;
    for subject in log.link.subjects(topics) {
        last = last.max(last_message(stream, &subject).await?);
    }
    Ok(last)
}

/// The sequence of the last message of a subject, or of the subjects that match a pattern.
async fn last_message(stream: &Stream, subject: &str) -> Result<Option<u64>, RetryLater> {
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message.sequence)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(RetryLater::because(error)),
    }
}

/// The most events of a batch.
const BATCH_EVENTS: usize = 256;

/// The most bytes of a batch, unless one event may be longer.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The most that a message has beside its event.
const MAX_OVERHEAD: usize = 64 * 1024;

/// How long a server waits for more messages; reads end before that, since their end is known.
const EXPIRES: Duration = Duration::from_secs(2);
