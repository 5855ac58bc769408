//! Appends: publishes an event, again after a lost connection, and waits for its sequence.

use std::pin::pin;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::time::timeout;

use super::link::created;
use super::{NatsLogError, NatsLogInner};
use crate::event_log::Topic;
use crate::wire::{Event, EventId};

/// Appends an event, and returns its id.
pub(super) async fn append(
    log: &NatsLogInner,
    topic: &Topic,
    event: &Event,
) -> Result<EventId, NatsLogError> {
    let payload = event.encode_without_id().ok_or(NatsLogError::NoData)?;
    if payload.len() + MAX_HEADERS > log.link.client.server_info().max_payload {
        return Err(NatsLogError::TooLong);
    }
    let mut sent = false;
    let subject = log.link.subject(topic.as_str());
    let publish = publish(log, subject, payload.into(), &mut sent);
    match timeout(log.link.settings.append_timeout, publish).await {
        Ok(result) => result,
        Err(_) => Err(no_answer(sent)),
    }
}

/// Publishes until the server answers. `sent` becomes true when the event may have left.
async fn publish(
    log: &NatsLogInner,
    subject: String,
    payload: Bytes,
    sent: &mut bool,
) -> Result<EventId, NatsLogError> {
    let link = &log.link;
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, link.new_message_id());
    loop {
        if timeout(link.settings.away_timeout, link.connected()).await.is_err() {
            return Err(no_answer(*sent));
        }
        let mut changes = link.changes();
        let (generation, epoch, known) = {
            let window = log.window();
            (window.generation, window.epoch, window.known)
        };
        // The client library sends what it was given later if the connection is gone by now.
        *sent = true;
        let ack = async {
            let (subject, headers) = (subject.clone(), headers.clone());
            link.jetstream.publish_with_headers(subject, headers, payload.clone()).await?.await
        };
        let error = match select(pin!(ack), pin!(changes.changed())).await {
            Either::Right(_) => continue,
            Either::Left((Ok(ack), _)) => {
                if ack.sequence <= known && !ack.duplicate {
                    // A sequence that was given out before: the stream was created anew, and the
                    // poller has not noticed it yet.
                    let stream = link.get_stream().await.map_err(|_| NatsLogError::Unanswered)?;
                    return Ok(EventId::with_epoch(created(stream.cached_info()), ack.sequence));
                }
                log.window().set_known(generation, ack.sequence);
                return Ok(EventId::with_epoch(epoch, ack.sequence));
            }
            Either::Left((Err(error), _)) => error,
        };
        match error.kind() {
            // The stream is not there, or not yet, as after a start of the server; or the server
            // does not answer.
            PublishErrorKind::StreamNotFound
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe => {}
            _ => return Err(NatsLogError::Refused(error.to_string().into())),
        }
        link.pause().await;
    }
}

fn no_answer(sent: bool) -> NatsLogError {
    match sent {
        true => NatsLogError::Unanswered,
        false => NatsLogError::Away,
    }
}

/// Room for the header with the message id.
const MAX_HEADERS: usize = 256;
