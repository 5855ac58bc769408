//! Appending: publishes an event until the server says that it has it.

use std::pin::pin;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::publish::PublishAck;
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::time::timeout;

use super::NatsLogInner;
use super::error::away;
use super::ids::{Fingerprint, NatsPosition, Slot};
use super::link::{NatsLink, fingerprint_of};
use super::send::{Unacknowledged, send};
use super::stream::{created, message_at};
use crate::event_log::window::Placement;
use crate::event_log::{Appended, BrokerError, MessageId, Topic};
use crate::wire::Event;

/// Appends an event, unless its message was taken before.
pub(super) async fn append(
    log: &NatsLogInner,
    topic: &Topic,
    event: &Event,
    message: Option<&MessageId>,
) -> Result<Appended, BrokerError> {
    let payload = event.encode_without_id().ok_or(BrokerError::NoData)?;
    let publication = Publication::new(&log.link, topic, payload.into(), message);
    if publication.payload.len() + MAX_HEADERS > log.link.appends.max_payload() {
        return Err(BrokerError::TooLong);
    }
    let mut sent = false;
    let publish = publication.publish(log, &mut sent);
    match timeout(log.link.settings.append_timeout, publish).await {
        Ok(result) => result,
        Err(_) => Err(no_answer(sent)),
    }
}

/// An event as it is sent, as often as needed.
struct Publication {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    fingerprint: Fingerprint,
    /// What this call is known by, if others may append the same message.
    call: Option<String>,
}

impl Publication {
    fn new(link: &NatsLink, topic: &Topic, payload: Bytes, message: Option<&MessageId>) -> Self {
        let unique = link.new_message_id();
        let (id, call) = match message {
            // Neither has a space, and ids that the log makes have none.
            Some(message) => (format!("{topic} {message}"), Some(unique)),
            None => (unique, None),
        };
        let fingerprint = Fingerprint::new(id.as_bytes(), &payload);
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        if let Some(call) = &call {
            headers.insert(CALL, call.as_str());
        }
        Self { subject: link.subject(topic.as_str()), headers, payload, fingerprint, call }
    }

    /// Publishes until the server answers. `sent` becomes true when the event may have left.
    async fn publish(&self, log: &NatsLogInner, sent: &mut bool) -> Result<Appended, BrokerError> {
        let connection = &log.link.appends;
        loop {
            log.connected(connection).await.map_err(|_| no_answer(*sent))?;
            let mut changes = connection.changes();
            let (now, epoch, known) = {
                let window = log.window();
                let now = window.start(Placement::Earliest);
                (now, window.epoch(), window.known.sequence)
            };
            let ack = {
                let (subject, headers) = (self.subject.clone(), self.headers.clone());
                send(&connection.jetstream, subject, headers, self.payload.clone(), sent)
            };
            let ack = match select(pin!(ack), pin!(changes.changed())).await {
                Either::Right(_) => continue,
                Either::Left((ack, _)) => ack,
            };
            match ack {
                Ok(ack) if ack.duplicate && self.call.is_some() => {
                    return self.find_first(log, &ack).await;
                }
                Ok(ack) => {
                    let slot = Slot { sequence: ack.sequence, message: Some(self.fingerprint) };
                    if slot.sequence > known || ack.duplicate {
                        let mut window = log.window();
                        if !window.is_past(&now) {
                            window.note_given_out(slot);
                        }
                        return Ok(self.appended(epoch, slot.sequence));
                    }
                    // A sequence that was given out before: the stream was created anew or
                    // restored, and the poller has not noticed it yet.
                    let stream = log.link.get_stream(connection).await;
                    let stream = stream.map_err(|_| BrokerError::TimedOut)?;
                    return Ok(self.appended(created(stream.cached_info()), slot.sequence));
                }
                Err(Unacknowledged::Closed) => return Err(no_answer(*sent)),
                Err(Unacknowledged::Refused(error)) => {
                    return Err(BrokerError::Refused(error.to_string().into()));
                }
                // The stream is not there, or not yet, as after a start of the server; or the
                // server does not answer.
                Err(Unacknowledged::Unanswered) => {}
            }
            connection.pause().await;
        }
    }

    fn appended(&self, epoch: u64, sequence: u64) -> Appended {
        Appended::new(NatsPosition::event(epoch, sequence, self.fingerprint).id())
    }

    /// Finds the event by which a message was taken: one of this call, which was sent twice, or of
    /// another.
    async fn find_first(
        &self,
        log: &NatsLogInner,
        ack: &PublishAck,
    ) -> Result<Appended, BrokerError> {
        let stream = log.link.get_stream(&log.link.appends).await;
        let stream = stream.map_err(|_| BrokerError::TimedOut)?;
        let first = message_at(&stream, ack.sequence).await;
        let first = first.map_err(|_| BrokerError::TimedOut)?;
        let epoch = created(stream.cached_info());
        let is_own = first.as_ref().is_some_and(|first| {
            first.headers.get(CALL).map(HeaderValue::as_str) == self.call.as_deref()
        });
        if is_own {
            return Ok(self.appended(epoch, ack.sequence));
        }
        // One that was trimmed had this event, as far as anybody knows.
        let fingerprint = first.as_ref().map_or(self.fingerprint, fingerprint_of);
        Ok(Appended::repeat(NatsPosition::event(epoch, ack.sequence, fingerprint).id()))
    }
}

fn no_answer(sent: bool) -> BrokerError {
    match sent {
        true => BrokerError::TimedOut,
        false => away(),
    }
}

/// Names the call that appended a message, of several that may append the same.
const CALL: &str = "Tower-Sse-Call";

/// Room for the headers: the longest topic and message id, what they are made of, and a call.
const MAX_HEADERS: usize = 1024;
