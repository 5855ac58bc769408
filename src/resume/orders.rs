//! Orders: what a node asks another one for, or tells it, in a topic of that node.

use std::time::Duration;

use super::directory::{record_event, record_text};
use super::record::{LogProgress, RecordKind};
use super::sessions::SessionMap;
use super::token::SessionToken;
use crate::event_log::{EventLog, Logged};

/// What a node asks of the one that runs a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Stop,
    /// To go on: a client here has read so far.
    Reads(LogProgress),
}

impl Order {
    /// Sends the order for a session of a node.
    pub(super) async fn send<L: EventLog>(
        self,
        log: &L,
        (node, token): (SessionToken, SessionToken),
        lease: Duration,
    ) -> Result<(), L::Error> {
        let Some(topic) = node.orders_topic() else {
            return Ok(());
        };
        let token = token.as_str();
        let order = match self {
            Self::Stop => record_event(RecordKind::Stop, token.to_owned()),
            Self::Reads(LogProgress { events, bytes }) => {
                record_event(RecordKind::Reads, format!("{token} {events} {bytes}"))
            }
        };
        log.append(&topic, order).await?;
        // If it fails, the log keeps the topic for as long as any other.
        let _ = log.forget(&topic, lease).await;
        Ok(())
    }

    fn read(event: &Logged) -> Option<(Self, SessionToken)> {
        let (kind, text) = record_text(event)?;
        let mut words = text.split(' ');
        let token = words.next()?.parse().ok()?;
        match kind {
            RecordKind::Stop => Some((Self::Stop, token)),
            RecordKind::Reads => {
                let (events, bytes) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                Some((Self::Reads(LogProgress { events, bytes }), token))
            }
            _ => None,
        }
    }
}

/// Carries out an order, if it is one.
pub(super) fn carry_out<L: EventLog>(event: &Logged, sessions: &SessionMap<L>) {
    let Some((order, token)) = Order::read(event) else {
        return;
    };
    let session = sessions.of_token(token);
    match (session, order) {
        (Some(session), Order::Stop) => {
            session.stop();
        }
        (Some(session), Order::Reads(progress)) => session.note_reader_elsewhere(progress),
        (None, _) => {}
    }
}
