//! The response of a subscription: a stream, or 204 for a client that has seen its end.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use super::{HubBody, Subscription};
use crate::event_log::{EventLog, Start, Told, TopicsHash, close_event, told};
use crate::wire::EventId;

impl<L: EventLog> Subscription<L> {
    /// Whether the client was told that these topics are [finished](crate::Hub::finish), and has
    /// come back all the same.
    ///
    /// [`into_response`](Self::into_response) answers it 204. A response that is made of the
    /// [body](Self::into_body), which is empty then, should be a 204, too.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.told() == Told::Finished
    }

    /// What the client was told of an end, by its id.
    fn told(&self) -> Told<'_> {
        match &self.start {
            Start::After(id) => told(id, &self.topics),
            _ => Told::Nothing,
        }
    }

    /// The body: the events that the client missed, and then the events that are published, until
    /// the client leaves or the topics are [finished](crate::Hub::finish).
    #[must_use]
    pub fn into_body(mut self) -> HubBody<L> {
        let start = match self.told() {
            Told::Nothing => None,
            Told::OfOthers(id) => Some(EventId::new(id).map_or(Start::Unknown, Start::After)),
            Told::Finished => return HubBody::ended(None),
            Told::Again(id) => {
                return HubBody::ended(Some(close_event(id, TopicsHash::of(&self.topics))));
            }
        };
        self.start = start.unwrap_or(self.start);
        HubBody::new(self)
    }

    /// The response with this body and the headers of an event stream; or 204, if the client
    /// [was told of the end](Self::is_finished).
    #[must_use]
    pub fn into_response(self) -> Response<HubBody<L>> {
        let is_finished = self.is_finished();
        let mut response = Response::new(self.into_body());
        if is_finished {
            *response.status_mut() = StatusCode::NO_CONTENT;
            // The answer to this client only, although others request the same URL.
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return response;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}
