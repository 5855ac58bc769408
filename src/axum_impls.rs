//! Lets handlers of axum use the types of this crate: feature `axum`.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[cfg(feature = "hub")]
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, sse};
#[cfg(feature = "hub")]
use axum::response::{IntoResponseParts, ResponseParts};
use futures_util::stream;
#[cfg(feature = "hub")]
use http::{header::LINK, request::Parts};
use http_body::Body as _;

use crate::error::InvalidText;
#[cfg(feature = "hub")]
use crate::event_log::{EventLog, Start};
#[cfg(feature = "hub")]
use crate::hub::{RequestedTopics, StreamLink, Subscription, TopicsRefusal};
use crate::wire::{Event, EventId, EventName, lines};

/// The response that [`into_response`](Self::into_response) makes: a handler can return the
/// subscription itself.
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(all(feature = "axum", feature = "hub"))))]
impl<L: EventLog> IntoResponse for Subscription<L> {
    fn into_response(self) -> axum::response::Response {
        Self::into_response(self).map(axum::body::Body::new)
    }
}

/// The place from which the client that sent the request wants to go on: see
/// [`of_request`](Self::of_request). Each request has one, so the extractor never fails.
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(all(feature = "axum", feature = "hub"))))]
impl<S: Sync> FromRequestParts<S> for Start {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of_request(&parts.headers, &parts.uri))
    }
}

/// The topics that the request names: see [`of_request`](Self::of_request).
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(all(feature = "axum", feature = "hub"))))]
impl<S: Sync, const MOST: usize> FromRequestParts<S> for RequestedTopics<MOST> {
    type Rejection = TopicsRefusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, TopicsRefusal> {
        Self::of_request(&parts.uri)
    }
}

/// A response with the [status](Self::status) and the reason, which has nothing of the request.
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(all(feature = "axum", feature = "hub"))))]
impl IntoResponse for TopicsRefusal {
    fn into_response(self) -> axum::response::Response {
        (self.status(), self.to_string()).into_response()
    }
}

/// Adds the header `Link` to a response: a handler can return the link beside the state.
///
/// # Examples
///
/// ```
/// use axum::extract::State;
/// use axum::http::StatusCode;
/// use axum::response::IntoResponse;
/// use tower_sse::Hub;
/// use tower_sse::event_log::Topic;
/// use tower_sse::hub::StreamLink;
///
/// async fn orders(State(hub): State<Hub>) -> Result<impl IntoResponse, StatusCode> {
///     let position = hub.latest(Topic::from_static("orders")).await;
///     let position = position.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
///     let link = StreamLink::new("/orders/events", &position);
///     let link = link.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
///     Ok((link, "the orders as they are now"))
/// }
/// # let _ = orders;
/// ```
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(all(feature = "axum", feature = "hub"))))]
impl IntoResponseParts for StreamLink {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.headers_mut().append(LINK, self.header_value().clone());
        Ok(parts)
    }
}

/// Takes over the fields of an event of axum, as a client reads them.
///
/// Two things differ from axum. An event without data is not dispatched by clients, so this crate
/// does not write its name and its id. A `retry` of zero becomes one millisecond.
///
/// # Examples
///
/// ```
/// use axum::response::sse;
/// use tower_sse::{Event, InvalidText};
///
/// let event = Event::try_from(sse::Event::default().event("order").data("one\ntwo"))?;
/// assert_eq!(event.encode(), "event: order\ndata: one\ndata: two\n\n");
/// # Ok::<(), InvalidText>(())
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl TryFrom<sse::Event> for Event {
    /// axum lets the name of an event have a NUL.
    type Error = InvalidText;

    fn try_from(event: sse::Event) -> Result<Self, InvalidText> {
        let bytes = encoded(event);
        let text = String::from_utf8_lossy(&bytes);
        let (mut event, mut data) = (Self::new(), None::<String>);
        for line in lines(&text) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => event = event.event(EventName::new(value)?),
                "id" => event = event.id(EventId::new(value)?),
                "retry" => {
                    let millis = value.parse().unwrap_or(u64::MAX);
                    event = event.retry(Duration::from_millis(millis));
                }
                "data" => match &mut data {
                    None => data = Some(value.to_owned()),
                    Some(data) => data.extend(["\n", value]),
                },
                "" if !line.is_empty() => event = event.comment(value),
                _ => {}
            }
        }
        Ok(match data {
            Some(data) => event.data(data),
            None => event,
        })
    }
}

/// The bytes of an event. axum has no other way to get at them than the body of a response.
fn encoded(event: sse::Event) -> Vec<u8> {
    let events = stream::iter([Ok::<_, Infallible>(event)]);
    let mut body = pin!(sse::Sse::new(events).into_response().into_body());
    let mut cx = Context::from_waker(Waker::noop());
    let mut bytes = Vec::new();
    // The stream is ready, so the body has nothing to wait for.
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    bytes
}
