//! Events whose name and data belong together.

use std::error::Error;
use std::fmt;
use std::future::Future;

use serde::Serialize;

use super::Hub;
use crate::event_log::{EventLog, Topic, Topics};
use crate::wire::{Event, EventId};

/// A type of data that is always sent under one name.
///
/// [`Hub::publish_as`] takes the name from the type, so there is no text that could be the wrong one.
/// A program that publishes under a name that no event can have, one with a line break for example,
/// does not build. A [`Reference`](super::Reference) lists contracts
/// for those who write the page.
///
/// # Examples
///
/// ```
/// use serde::Serialize;
/// use tower_sse::hub::Contract;
/// use tower_sse::event_log::Topic;
/// use tower_sse::Hub;
///
/// /// An order was paid.
/// #[derive(Serialize)]
/// struct Paid {
///     cents: u64,
/// }
///
/// impl Contract for Paid {
///     const EVENT: &'static str = "paid";
///     const CHANNEL: &'static str = "orders.*";
///     const PAYLOAD: &'static str = "{ cents: number }";
///     const DESCRIPTION: &'static str = "An order was paid.";
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::default();
/// hub.publish_as(&Topic::new("orders.42")?, &Paid { cents: 1250 }).await?;
/// // Not one of its channel.
/// assert!(hub.publish_as(&Topic::new("news")?, &Paid { cents: 1250 }).await.is_err());
/// # Ok(())
/// # }
/// ```
pub trait Contract: Serialize {
    /// The name of the event, by which pages listen.
    const EVENT: &'static str;

    /// The topic of the event, or a pattern of topics.
    const CHANNEL: &'static str;

    /// What the data is, in words for the reference, such as the type that a page would write.
    const PAYLOAD: &'static str;

    /// When the event is sent, in words for the reference.
    const DESCRIPTION: &'static str = "";
}

/// An event that [`Hub::publish_as`] did not publish.
#[derive(Debug)]
#[non_exhaustive]
pub enum ContractError<E> {
    /// The log did not take it.
    Log(E),
    /// The value could not be serialised.
    Json(serde_json::Error),
    /// The topic is not one of the contract's channel.
    OutsideChannel,
}

impl<E> fmt::Display for ContractError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log(_) => "the log did not take the event",
            Self::Json(_) => "the value could not be serialised",
            Self::OutsideChannel => "the topic is not one of the contract's channel",
        })
    }
}

impl<E: Error + 'static> Error for ContractError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Log(error) => Some(error),
            Self::Json(error) => Some(error),
            Self::OutsideChannel => None,
        }
    }
}

impl<L: EventLog> Hub<L> {
    /// Publishes a value under the name of its [`Contract`], as JSON.
    ///
    /// # Errors
    ///
    /// [`ContractError`] if the topic is not of the contract's channel, if the value cannot be
    /// serialised, or if the log does not take it.
    ///
    /// # Cancellation safety
    ///
    /// That of [`publish`](Self::publish).
    pub fn publish_as<T: Contract>(
        &self,
        topic: &Topic,
        value: &T,
    ) -> impl Future<Output = Result<EventId, ContractError<L::Error>>> + Send {
        // Here and not in the future, which would have to keep the value.
        let event = event_of::<T, L::Error>(topic, value);
        async move { self.publish(topic, event?).await.map_err(ContractError::Log) }
    }
}

fn event_of<T: Contract, E>(topic: &Topic, value: &T) -> Result<Event, ContractError<E>> {
    const { assert!(is_name(T::EVENT), "an event's name has no NUL, CR or LF and is not empty") };
    let channel = Topics::new([T::CHANNEL]);
    if !channel.is_ok_and(|channel| channel.matches(topic)) {
        return Err(ContractError::OutsideChannel);
    }
    let event = Event::json(value).map_err(ContractError::Json)?;
    Ok(match T::EVENT {
        // Not written, as by `Event::event`.
        "message" => event,
        name => event.named(name),
    })
}

const fn is_name(name: &str) -> bool {
    let (bytes, mut at) = (name.as_bytes(), 0);
    while at < bytes.len() {
        if matches!(bytes[at], b'\0' | b'\r' | b'\n') {
            return false;
        }
        at += 1;
    }
    !name.is_empty()
}
