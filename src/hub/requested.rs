//! [`RequestedTopics`]: the topics that a client asks for, until the application has allowed them.

use std::error::Error;
use std::fmt;
use std::future::Future;

use http::{StatusCode, Uri};

use super::RequestedTopic;
use crate::error::InvalidText;
use crate::event_log::Topics;
use crate::wire::percent_decode;

/// The topics that a client asks for with `topic` in the query of its request, once for each topic
/// or pattern, as in Mercure: `/events?topic=news&topic=orders.*`.
///
/// Nothing is followed before the application has allowed it: only [`within`](Self::within),
/// [`authorize`](Self::authorize) and [`retain_authorized`](Self::retain_authorized) make
/// [`Topics`] of them. A pattern is asked about as well as a name, since it may stand for topics
/// that the client must not follow.
///
/// A client may ask for `MOST` topics, by default 32: so many names of the greatest length are 8
/// KiB, which is the longest request line that nginx and others take. More are refused. The cost of
/// an event grows with the topics of a follower, and no client can follow more than 256.
///
/// With the feature `axum` a handler can take it, and return the [`TopicsRefusal`].
///
/// # Examples
///
/// ```
/// use axum::extract::{Path, State};
/// use tower_sse::Hub;
/// use tower_sse::event_log::{Start, Topics};
/// use tower_sse::hub::{RequestedTopics, Subscription, TopicsRefusal};
///
/// async fn events(
///     State(hub): State<Hub>,
///     Path(user): Path<u64>,
///     requested: RequestedTopics,
///     start: Start,
/// ) -> Result<Subscription, TopicsRefusal> {
///     let allowed = Topics::new(["news".to_owned(), format!("users.{user}.>")])?;
///     Ok(hub.subscribe(requested.within(&allowed)?).start(start))
/// }
/// # let _ = events;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RequestedTopics<const MOST: usize = 32> {
    topics: Vec<RequestedTopic>,
}

impl<const MOST: usize> RequestedTopics<MOST> {
    /// The topics in the query of a request.
    ///
    /// # Errors
    ///
    /// [`TopicsRefusal`] if there is none, if there are more than `MOST`, or if one of them is
    /// neither a name nor a pattern.
    pub fn of_request(uri: &Uri) -> Result<Self, TopicsRefusal> {
        let pairs = uri.query().unwrap_or_default().split('&');
        let values = pairs.filter_map(|pair| pair.strip_prefix("topic="));
        let mut topics = Vec::new();
        for value in values {
            if topics.len() == MOST {
                return Err(TopicsRefusal::TooMany);
            }
            let value = percent_decode(value);
            let text = std::str::from_utf8(&value).map_err(|error| {
                let at = Some(error.valid_up_to());
                TopicsRefusal::Invalid(InvalidText::new("topic", "topic is not UTF-8", at))
            })?;
            topics.push(RequestedTopic::new(text).map_err(TopicsRefusal::Invalid)?);
        }
        match topics.is_empty() {
            true => Err(TopicsRefusal::Missing),
            false => Ok(Self { topics }),
        }
    }

    /// The topics and patterns, in the order of the request.
    pub fn iter(&self) -> impl Iterator<Item = &RequestedTopic> {
        self.topics.iter()
    }

    /// Allows the topics if each of them [is within](RequestedTopic::is_within) `allowed`.
    ///
    /// # Errors
    ///
    /// [`TopicsRefusal::Forbidden`] if one is not.
    pub fn within(self, allowed: &Topics) -> Result<Topics, TopicsRefusal> {
        match self.topics.iter().all(|topic| topic.is_within(allowed)) {
            true => self.into_topics(),
            false => Err(TopicsRefusal::Forbidden),
        }
    }

    /// Allows the topics if `allow` returns true for each of them.
    ///
    /// The function is asked for one topic after another, and not any more after it has refused
    /// one.
    ///
    /// # Errors
    ///
    /// [`TopicsRefusal::Forbidden`] if it returns false.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::event_log::Topics;
    /// use tower_sse::hub::{RequestedTopics, TopicsRefusal};
    ///
    /// async fn topics(requested: RequestedTopics) -> Result<Topics, TopicsRefusal> {
    ///     requested.authorize(|topic| async move { is_member(topic.as_str()).await }).await
    /// }
    ///
    /// async fn is_member(room: &str) -> bool {
    ///     // Asks a database.
    /// #   room.is_empty()
    /// }
    /// # let _ = topics;
    /// ```
    pub async fn authorize<F, R>(self, mut allow: F) -> Result<Topics, TopicsRefusal>
    where
        F: FnMut(RequestedTopic) -> R,
        R: Future<Output = bool>,
    {
        for topic in &self.topics {
            if !allow(topic.clone()).await {
                return Err(TopicsRefusal::Forbidden);
            }
        }
        self.into_topics()
    }

    /// Leaves out the topics for which `allow` returns false. It is asked for one topic after
    /// another.
    ///
    /// # Errors
    ///
    /// [`TopicsRefusal::Forbidden`] if none is left.
    pub async fn retain_authorized<F, R>(self, mut allow: F) -> Result<Topics, TopicsRefusal>
    where
        F: FnMut(RequestedTopic) -> R,
        R: Future<Output = bool>,
    {
        let mut allowed = Self { topics: Vec::new() };
        for topic in self.topics {
            if allow(topic.clone()).await {
                allowed.topics.push(topic);
            }
        }
        match allowed.topics.is_empty() {
            true => Err(TopicsRefusal::Forbidden),
            false => allowed.into_topics(),
        }
    }

    fn into_topics(self) -> Result<Topics, TopicsRefusal> {
        // Each is a topic or a pattern.
        Topics::new(&self.topics).map_err(|_| TopicsRefusal::TooMany)
    }
}

/// Why a client may not follow the topics that it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicsRefusal {
    /// The request names no topic.
    Missing,
    /// The request names more topics than a client may follow.
    TooMany,
    /// The request names what is neither a topic nor a pattern.
    Invalid(InvalidText),
    /// The client may not follow one of the topics.
    Forbidden,
}

impl TopicsRefusal {
    /// The status of the response: 403 if the topics are forbidden, and else 400. After both an
    /// `EventSource` does not come back.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Missing | Self::TooMany | Self::Invalid(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for TopicsRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the request names no topic, as in `?topic=news`"),
            Self::TooMany => f.write_str("the request names too many topics"),
            Self::Invalid(invalid) => {
                write!(f, "the request names a topic that is none: {invalid}")
            }
            Self::Forbidden => f.write_str("the request names a topic that it may not follow"),
        }
    }
}

impl Error for TopicsRefusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Invalid(invalid) => Some(invalid),
            _ => None,
        }
    }
}

/// What an application makes of a part of a request, such as the id of a user, may be no topic.
impl From<InvalidText> for TopicsRefusal {
    fn from(invalid: InvalidText) -> Self {
        Self::Invalid(invalid)
    }
}
