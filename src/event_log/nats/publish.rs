//! Appending: publishes an event until the server says that it has it.

use std::pin::pin;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::time::timeout;

use super::ids::{Fingerprint, NatsPosition, Slot};
use super::stream::created;
use super::{NatsLogError, NatsLogInner};
use crate::event_log::Topic;
use crate::event_log::window::Placement;
use crate::wire::{Event, EventId};

/// Appends an event, and returns its id.
pub(super) async fn append(
    log: &NatsLogInner,
    topic: &Topic,
    event: &Event,
) -> Result<EventId, NatsLogError> {
    let payload = event.encode_without_id().ok_or(NatsLogError::NoData)?;
    if payload.len() + MAX_HEADERS > log.link.appends.max_payload() {
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
    let (link, connection) = (&log.link, &log.link.appends);
    let message_id = link.new_message_id();
    let fingerprint = Fingerprint::new(message_id.as_bytes(), &payload);
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message_id);
    loop {
        log.connected(connection).await.map_err(|_| no_answer(*sent))?;
        let mut changes = connection.changes();
        let (now, epoch, known) = {
            let window = log.window();
            let now = window.start(Placement::Earliest);
            (now, window.epoch(), window.known.sequence)
        };
        // The client library sends what it was given later if the connection is gone by now.
        *sent = true;
        let ack = async {
            let (subject, headers) = (subject.clone(), headers.clone());
            let jetstream = &connection.jetstream;
            jetstream.publish_with_headers(subject, headers, payload.clone()).await?.await
        };
        let error = match select(pin!(ack), pin!(changes.changed())).await {
            Either::Right(_) => continue,
            Either::Left((Ok(ack), _)) => {
                let slot = Slot { sequence: ack.sequence, message: Some(fingerprint) };
                if slot.sequence > known || ack.duplicate {
                    let mut window = log.window();
                    if !window.is_past(&now) {
                        window.note_given_out(slot);
                    }
                    return Ok(NatsPosition::event(epoch, slot.sequence, fingerprint).id());
                }
                // A sequence that was given out before: the stream was created anew or restored,
                // and the poller has not noticed it yet.
                let stream = link.get_stream(connection).await;
                let stream = stream.map_err(|_| NatsLogError::Unanswered)?;
                let epoch = created(stream.cached_info());
                return Ok(NatsPosition::event(epoch, slot.sequence, fingerprint).id());
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
        connection.pause().await;
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
