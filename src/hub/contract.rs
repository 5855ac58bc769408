//! Contracts: types whose values are always sent under one name, and a reference of them.

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
/// with a name that no event can have, such as one with a line break, does not build. A
/// [`Reference`] lists contracts for the authors of pages.
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
///     const PAYLOAD: &'static str = "{ cents: number }";
///     const DESCRIPTION: &'static str = "An order was paid.";
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
pub trait Contract: Serialize {
    /// The name of the event, by which pages listen.
    const EVENT: &'static str;

    /// The topic of the event, or a pattern of topics.
    const CHANNEL: &'static str;

    /// A description of the data for the reference, such as the type that a page would write.
    const PAYLOAD: &'static str;

    /// A description of the event for the reference.
    const DESCRIPTION: &'static str = "";
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

fn event_of<T: Contract, E>(topic: &Topic, value: &T) -> Result<Event, ContractError<E>> {
    let name = const {
        assert!(!T::EVENT.is_empty(), "the event of a contract has a name");
        EventName::from_static(T::EVENT)
    };
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

/// A list of contracts as a table, for the authors of pages.
///
/// Keep the table in the repository, and compare it in a test: then a changed name is seen in the
/// review, and page and server agree.
///
/// # Examples
///
/// ```
/// use serde::Serialize;
/// use tower_sse::hub::{Contract, Reference};
///
/// #[derive(Serialize)]
/// struct Paid(u64);
///
/// impl Contract for Paid {
///     const EVENT: &'static str = "paid";
///     const CHANNEL: &'static str = "orders.*";
///     const PAYLOAD: &'static str = "number | null";
///     const DESCRIPTION: &'static str = "An order was paid; in cents.";
/// }
///
/// let text = Reference::new().with::<Paid>().to_markdown();
/// assert_eq!(
///     text,
///     "| channel | event | payload | description |\n\
///      | --- | --- | --- | --- |\n\
///      | `orders.*` | `paid` | `number \\| null` | An order was paid; in cents. |\n"
/// );
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Reference {
    rows: Vec<[&'static str; 4]>,
}

impl Reference {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a contract, unless the list has it.
    pub fn with<T: Contract>(mut self) -> Self {
        self.rows.push([T::CHANNEL, T::EVENT, T::PAYLOAD, T::DESCRIPTION]);
        // The table does not change when code moves.
        self.rows.sort_unstable();
        self.rows.dedup();
        self
    }

    /// The list as a table in Markdown, in the order of channels and names.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = "| channel | event | payload | description |\n\
                        | --- | --- | --- | --- |\n"
            .to_owned();
        for [channel, event, payload, description] in &self.rows {
            let cells = [code(channel), code(event), code(payload), cell(description)];
            text.extend(["| ", &cells.join(" | "), " |\n"]);
        }
        text
    }
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", cell(text)),
    }
}

/// A cell of a table is one line, and a bar would end it.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
