//! Contracts: types whose values are always sent under one name.

use std::error::Error;
use std::fmt;
use std::future::Future;

use serde::Serialize;

use super::publish::Hub;
use crate::event_log::{EventLog, Topic, Topics};
use crate::wire::{Event, EventId, EventName};

/// A type whose values are sent under one name.
///
/// [`Hub::publish_as`] takes the name from the type, so no call can have the wrong name. A program
/// with a name that no event can have, such as one with a line break, does not build. With the
/// feature `schema` a [`Reference`](super::Reference) says of contracts what pages can know of the
/// events.
///
/// # Examples
///
/// ```
/// use serde::Serialize;
/// use tower_sse::Hub;
/// use tower_sse::event_log::Topic;
/// use tower_sse::hub::Contract;
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
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::default();
/// hub.publish_as(&Topic::new("orders.42")?, &Paid { cents: 1250 }).await?;
/// // This topic is not one of the channel.
/// assert!(hub.publish_as(&Topic::new("news")?, &Paid { cents: 1250 }).await.is_err());
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no contract",
    note = "implement `Contract` for it, with the name of its event and its topics"
)]
pub trait Contract: Serialize {
    /// The name of the event, by which pages listen.
    const EVENT: &'static str;

    /// The topic of the event, or a pattern of topics.
    const CHANNEL: &'static str;
}

impl<L: EventLog> Hub<L> {
    /// Publishes a value under the name of its [`Contract`], as JSON.
    ///
    /// # Errors
    ///
    /// [`ContractError`] if the topic is not one of the contract's channel, if the value cannot be
    /// serialised, or if the log does not take the event.
    ///
    /// # Cancellation safety
    ///
    /// As of [`publish`](Self::publish).
    pub fn publish_as<T: Contract>(
        &self,
        topic: &Topic,
        value: &T,
    ) -> impl Future<Output = Result<EventId, ContractError<L::Error>>> + Send {
        // Not in the future, which would have to keep the value.
        let event = event_of::<T, L::Error>(topic, value);
        async move { self.publish(topic, event?).await.map_err(ContractError::Log) }
    }
}

/// The name of the event. A program with one that no event can have does not build.
pub(super) fn event_name<T: Contract>() -> EventName {
    const {
        assert!(!T::EVENT.is_empty(), "the event of a contract has a name");
        EventName::from_static(T::EVENT)
    }
}

fn event_of<T: Contract, E>(topic: &Topic, value: &T) -> Result<Event, ContractError<E>> {
    let name = event_name::<T>();
    let channel = Topics::new([T::CHANNEL]);
    if !channel.is_ok_and(|channel| channel.matches(topic)) {
        return Err(ContractError::OutsideChannel);
    }
    Event::json(value).map(|event| event.event(name)).map_err(ContractError::Json)
}

/// The error of a value that [`Hub::publish_as`] did not publish.
#[derive(Debug)]
#[non_exhaustive]
pub enum ContractError<E> {
    /// The log did not take the event.
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
