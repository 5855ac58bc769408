//! The hub.

use std::error::Error;
use std::fmt;
use std::future::Future;

use tokio::runtime::Handle;

use super::Subscription;
use crate::event_log::{Appended, EventLog, MemoryLog, MessageId, Topic, Topics, finish_event};
use crate::wire::{Event, EventId};

/// Publishes into a log, and makes responses that follow it.
///
/// Clones are handles to the same log. See the [module docs](crate::hub) for an example.
#[derive(Clone)]
pub struct Hub<L: EventLog = MemoryLog> {
    log: L,
    pub(super) runtime: Option<Handle>,
}

impl<L: EventLog> Hub<L> {
    /// A hub over a log.
    ///
    /// If this is called in a Tokio runtime, the hub keeps a handle to the runtime for
    /// [`publish_blocking`](Self::publish_blocking).
    #[must_use]
    pub fn new(log: L) -> Self {
        Self { log, runtime: Handle::try_current().ok() }
    }

    /// Sets the runtime that [`publish_blocking`](Self::publish_blocking) has publish.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// The log.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// Publishes an event in a topic, and returns the id that the log gave it.
    ///
    /// It waits for the log, and never for a client.
    ///
    /// # Errors
    ///
    /// The error of the log. A [`MemoryLog`] refuses an event without data, an event that is too
    /// long, and a topic above the most topics that it keeps.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped before it is ready, the event may or may not have been published.
    /// It is never published in part, and never twice.
    pub fn publish(
        &self,
        topic: &Topic,
        event: Event,
    ) -> impl Future<Output = Result<EventId, L::Error>> + Send {
        self.log.append(topic, event)
    }

    /// Publishes the event of a message, unless the message was published before: for callers that
    /// try again when they get no answer, and for requests that come twice.
    ///
    /// A message id is taken once in its topic, within the `duplicate_window` of the log: see [the
    /// rules](crate::event_log#messages-that-are-taken-once).
    ///
    /// # Errors
    ///
    /// [`PublishError::Log`] if the log refuses the event, or does not know whether it has it: then
    /// call this again with the same message id. [`PublishError::CannotRepeat`] if the log is one
    /// that cannot recognise a repeat.
    ///
    /// # Cancellation safety
    ///
    /// As of [`publish`](Self::publish). Whether the message was published shows when this is
    /// called again with the same message id.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_sse::event_log::{EventLog, MessageId, Topic};
    /// use tower_sse::hub::PublishError;
    /// use tower_sse::{Event, Hub};
    ///
    /// /// Publishes that an order was paid, also if the connection to the broker is lost meanwhile.
    /// async fn publish_paid<L: EventLog>(
    ///     hub: &Hub<L>,
    ///     order: &Topic,
    ///     payment: &MessageId,
    /// ) -> Result<(), PublishError<L::Error>> {
    ///     let mut tries = 0;
    ///     loop {
    ///         match hub.publish_once(order, Event::new().data("paid"), payment).await {
    ///             Err(PublishError::Log(error)) if !L::is_final(&error) && tries < 10 => tries += 1,
    ///             published => return published.map(drop),
    ///         }
    ///         tokio::time::sleep(Duration::from_secs(1)).await;
    ///     }
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (order, payment) = (Topic::new("orders.42")?, MessageId::new("payment-7")?);
    /// # publish_paid(&Hub::default(), &order, &payment).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn publish_once(
        &self,
        topic: &Topic,
        event: Event,
        message: &MessageId,
    ) -> Result<Appended, PublishError<L::Error>> {
        match self.log.append_once(topic, event, message).await {
            Some(appended) => appended.map_err(PublishError::Log),
            None => Err(PublishError::CannotRepeat),
        }
    }

    /// Finishes a topic: nothing more will come of it.
    ///
    /// The responses that follow the topic send what was published before, then a close event, and
    /// end:
    ///
    /// ```text
    /// event: close
    /// retry: 86400000
    /// data: {"reason":"finished"}
    /// id: 7-42.f693a56ac
    /// ```
    ///
    /// A page that heeds the event closes its stream. A client that comes back all the same is
    /// known by the id, and is answered 204, after which an `EventSource` stops for good: see
    /// [`Subscription::is_finished`]. htmx 4, which takes a 204 for a stream that broke, is sent
    /// the close event again. A client that comes back in the middle gets the rest first, and one
    /// that comes when all is over, with or without an id, gets the close event at once.
    ///
    /// The end is an event in the log: it is in order with what is published, is the same on each
    /// node, and is known for as long as the log keeps it. With a [`MemoryLog`] that is until the
    /// topic [ends](crate::event_log::MemoryLogBuilder::idle), 10 minutes later. A page that is
    /// opened later still has to be told by the application; the client that was told before is
    /// known by its id in any case.
    ///
    /// # Several topics
    ///
    /// A response that follows several topics ends when all of them are finished, and then has one
    /// close event. A response that follows a [pattern](Topics) does not end: there may always be
    /// another topic.
    ///
    /// A [`CloseAtEndLayer`](crate::CloseAtEndLayer) around the route is not needed: it would write
    /// the close event a second time.
    ///
    /// # Publishing in a topic that is finished
    ///
    /// The topic begins anew. Responses that ended do not get the event; responses that are made
    /// after it follow the topic as if it had never been finished. If publishing and finishing
    /// meet, their order in the log decides, which is the same for all clients. A second `finish`
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// The error of the log, as of [`publish`](Self::publish).
    ///
    /// # Cancellation safety
    ///
    /// As of [`publish`](Self::publish).
    ///
    /// # Examples
    ///
    /// ```
    /// use http_body_util::BodyExt;
    /// use tower_sse::event_log::{Start, Topic};
    /// use tower_sse::{Event, Hub};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (hub, order) = (Hub::default(), Topic::new("orders.42")?);
    /// hub.publish(&order, Event::new().data("delivered")).await?;
    /// hub.finish(&order).await?;
    ///
    /// let body = hub.subscribe(&order).start(Start::Earliest).into_body();
    /// let sent = body.collect().await?.to_bytes();
    /// let sent = std::str::from_utf8(&sent)?;
    /// let (event, close) = sent.split_once("\n\n").ok_or("two events")?;
    /// assert!(event.starts_with("data: delivered\n"));
    /// assert!(close.starts_with("event: close\n"));
    ///
    /// // A browser that did not heed the event comes back with its id.
    /// let (_, id) = close.trim_end().rsplit_once("id: ").ok_or("an id")?;
    /// let response = hub.subscribe(&order).start(Start::requested(id)).into_response();
    /// assert_eq!(response.status(), 204);
    /// # Ok(())
    /// # }
    /// ```
    pub fn finish(&self, topic: &Topic) -> impl Future<Output = Result<EventId, L::Error>> + Send {
        self.log.append(topic, finish_event())
    }

    /// Follows topics: the first step to a response.
    ///
    /// Nothing is followed before the [body](Subscription::into_body) or the
    /// [response](Subscription::into_response) is made.
    pub fn subscribe(&self, topics: impl Into<Topics>) -> Subscription<L> {
        Subscription::new(self.log.clone(), topics.into())
    }

    /// The position after the last event of these topics, for a page that is rendered now and
    /// follows the topics later: see [`StreamLink`](super::StreamLink).
    ///
    /// # Errors
    ///
    /// The error of the log, if it does not know its last event. A [`MemoryLog`] always knows it.
    pub async fn latest(&self, topics: impl Into<Topics> + Send) -> Result<EventId, L::Error> {
        self.log.latest(&topics.into()).await
    }
}

impl Default for Hub {
    /// A hub over a [`MemoryLog`] with its defaults.
    fn default() -> Self {
        Self::new(MemoryLog::new())
    }
}

impl<L: EventLog> fmt::Debug for Hub<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

/// The error of an event that [`Hub::publish_blocking`] or [`Hub::publish_once`] did not publish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError<E> {
    /// The log did not take the event.
    Log(E),
    /// Something has to wait for the log, and the hub was made outside of a runtime. Nothing was
    /// done.
    NoRuntime,
    /// Something has to wait for the log, and async code of a Tokio runtime must not. Nothing was
    /// done.
    InRuntime,
    /// The runtime ended before the log answered. The event may or may not have been published.
    RuntimeEnded,
    /// The log cannot recognise a message that it took before: it does not implement
    /// [`append_once`](EventLog::append_once). Nothing was done.
    CannotRepeat,
}

impl<E> fmt::Display for PublishError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log(_) => "the log did not take the event",
            Self::NoRuntime => "the hub has no runtime in which to wait for the log",
            Self::InRuntime => "async code must not block until the log answers: use `publish`",
            Self::RuntimeEnded => "the runtime ended before the log answered",
            Self::CannotRepeat => "the log cannot recognise a message that it took before",
        })
    }
}

impl<E: Error + 'static> Error for PublishError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Log(error) => Some(error),
            _ => None,
        }
    }
}
