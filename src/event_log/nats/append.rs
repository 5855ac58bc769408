//! Publishing an event and waiting for its sequence.

use std::pin::pin;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::time::timeout;

use super::NatsLogError;
use super::link::made;
use super::shared::Shared;
use crate::event_log::Topic;
use crate::wire::{Event, EventId};

/// Publishes an event, again after a connection was lost, and gives its id.
pub(super) async fn append(
    shared: &Shared,
    topic: &Topic,
    event: &Event,
) -> Result<EventId, NatsLogError> {
    let payload = event.encode_without_id().ok_or(NatsLogError::NoData)?;
    if payload.len() + HEADERS > shared.link.client.server_info().max_payload {
        return Err(NatsLogError::TooLong);
    }
    let mut sent = false;
    let limit = shared.link.settings.append_timeout;
    let attempts = attempts(shared, shared.link.subject(topic.as_str()), payload.into(), &mut sent);
    match timeout(limit, attempts).await {
        Ok(done) => done,
        Err(_) => Err(unknown(sent)),
    }
}

async fn attempts(
    shared: &Shared,
    subject: String,
    payload: Bytes,
    sent: &mut bool,
) -> Result<EventId, NatsLogError> {
    let link = &shared.link;
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, link.message_id());
    loop {
        if timeout(link.settings.away_timeout, link.connected()).await.is_err() {
            return Err(unknown(*sent));
        }
        let mut changes = link.changes();
        let (generation, epoch, known) = {
            let window = shared.window();
            (window.generation, window.epoch, window.known)
        };
        // The client sends what it was given also when the connection is gone by now.
        *sent = true;
        let ack = async {
            let (subject, headers) = (subject.clone(), headers.clone());
            link.jetstream.publish_with_headers(subject, headers, payload.clone()).await?.await
        };
        let error = match select(pin!(ack), pin!(changes.changed())).await {
            Either::Right(_) => continue,
            Either::Left((Ok(ack), _)) => {
                let anew = ack.sequence <= known && !ack.duplicate;
                if anew {
                    // A lower sequence than there was: the stream was made anew, and nobody saw it.
                    let stream = link.known_stream().await.map_err(|_| NatsLogError::Unanswered)?;
                    return Ok(EventId::with_epoch(made(stream.cached_info()), ack.sequence));
                }
                shared.window().know(generation, ack.sequence);
                return Ok(EventId::with_epoch(epoch, ack.sequence));
            }
            Either::Left((Err(error), _)) => error,
        };
        match error.kind() {
            // There is no stream, or not yet, as in a server that starts. Or nobody answers.
            PublishErrorKind::StreamNotFound
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe => {}
            _ => return Err(NatsLogError::Refused(error.to_string().into())),
        }
        link.pause().await;
    }
}

fn unknown(sent: bool) -> NatsLogError {
    match sent {
        true => NatsLogError::Unanswered,
        false => NatsLogError::Away,
    }
}

/// Room for the message id and what is around it.
const HEADERS: usize = 256;
