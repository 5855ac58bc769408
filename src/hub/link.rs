//! [`StreamLink`]: the address of a stream from a position on, for pages that show a state.

use std::fmt;

use http::HeaderValue;

use crate::error::InvalidText;
use crate::wire::{EventId, percent_encode};

/// The address of a stream from a position on, for a page or an answer that shows a state.
///
/// A client that fetches a state and then follows its changes must not miss a change between the
/// two. So its server reads the [latest position](crate::Hub::latest) first and then the state, and
/// tells the client both. A link has the position as `last_event_id` in its query, where
/// [`Start::of_request`](crate::event_log::Start::of_request) looks for it. As text, a link is the
/// address, which is what a page needs:
///
/// ```html
/// <div hx-ext="sse" sse-connect="{{ link }}">
/// ```
///
/// The answer of an API tells it in a header, as a [link] with the registered relation
/// [`monitor`][relations]: "a resource that can be used to monitor changes in an HTTP resource".
/// With the feature `axum` a handler can return it beside the state.
///
/// ```text
/// link: </events?last_event_id=7-42>; rel="monitor"; type="text/event-stream"
/// ```
///
/// If the position is not in the log any more when the client connects, the client gets a `gap`.
///
/// # Examples
///
/// ```
/// use tower_sse::Hub;
/// use tower_sse::event_log::{MemoryLogError, Start, Topic};
/// use tower_sse::hub::StreamLink;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// const ORDERS: Topic = Topic::from_static("orders");
///
/// let hub = Hub::default();
/// let position = hub.latest(ORDERS).await?;
/// let link = StreamLink::new("/events", &position)?;
/// // Only now: what changes from here on is in the state or in the stream, or in both.
/// let state = "3 orders";
/// let page = format!("<main data-events=\"{link}\">{state}</main>");
/// # assert!(page.contains("\"/events?last_event_id="));
/// # Ok(())
/// # }
/// ```
///
/// [link]: https://www.rfc-editor.org/rfc/rfc8288
/// [relations]: https://www.iana.org/assignments/link-relations/link-relations.xhtml
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLink {
    url: Box<str>,
    header: HeaderValue,
}

impl StreamLink {
    /// A link to the stream at `url` from a position on. The URL may be relative and may have a
    /// query and a fragment. A `last_event_id` in its query is replaced.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if `url` has a character that no URL has, such as a space or a `"`.
    pub fn new(url: &str, position: &EventId) -> Result<Self, InvalidText> {
        let is_of_url = |byte: u8| byte.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&byte);
        if let Some(at) = url.bytes().position(|byte| !is_of_url(byte)) {
            return Err(InvalidText::new(KIND, "URL has a character that no URL has", Some(at)));
        }
        let url = after_position(url, position);
        let header = format!("<{url}>; rel=\"monitor\"; type=\"text/event-stream\"");
        let header = HeaderValue::try_from(header);
        let header = header.map_err(|_| InvalidText::new(KIND, "URL is no header", None))?;
        Ok(Self { url: url.into(), header })
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of the header `Link`.
    #[must_use]
    pub fn header_value(&self) -> &HeaderValue {
        &self.header
    }
}

impl fmt::Display for StreamLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// The URL with this position in its query.
fn after_position(url: &str, position: &EventId) -> String {
    let (address, fragment) = match url.split_once('#') {
        Some((address, fragment)) => (address, Some(fragment)),
        None => (url, None),
    };
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let mut linked = format!("{path}?");
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with(PARAMETER)) {
        linked.extend([pair, "&"]);
    }
    linked.push_str(PARAMETER);
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    linked += &percent_encode(position.as_str(), is_unreserved);
    linked.extend(fragment.into_iter().flat_map(|fragment| ["#", fragment]));
    linked
}

const PARAMETER: &str = "last_event_id=";

const KIND: &str = "URL";

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Uri};
    use proptest::prelude::*;

    use super::*;
    use crate::event_log::Start;

    #[test]
    fn a_link_replaces_the_position_and_keeps_the_rest_of_the_url() {
        #[rustfmt::skip]
        let table = [
            ("/events",                       "/events?last_event_id=7-42"),
            ("events",                        "events?last_event_id=7-42"),
            ("?",                             "?last_event_id=7-42"),
            ("/events?topic=a&topic=b",       "/events?topic=a&topic=b&last_event_id=7-42"),
            ("/e?last_event_id=1&a",          "/e?a&last_event_id=7-42"),
            ("https://x.org/e?a=%20#top",     "https://x.org/e?a=%20&last_event_id=7-42#top"),
        ];
        let position = EventId::from_static("7-42");
        for (url, expected) in table {
            let link = StreamLink::new(url, &position).unwrap();
            assert_eq!((link.url(), &*link.to_string()), (expected, expected));
            let header = format!("<{expected}>; rel=\"monitor\"; type=\"text/event-stream\"");
            assert_eq!(link.header_value(), &header);
        }
    }

    #[test]
    fn a_url_cannot_break_out_of_the_header_or_of_an_attribute() {
        for url in ["/a>; rel=\"x", "/a\"b", "/a b", "/a\nb", "/a\u{e9}", "/a<b", "/a\\b"] {
            let error = StreamLink::new(url, &EventId::from_static("7")).unwrap_err();
            assert_eq!((error.kind(), error.at()), ("URL", Some(2)), "{url:?}");
        }
    }

    proptest! {
        #[test]
        fn the_position_of_a_link_is_the_start_of_the_request(id in "[^\0\r\n]{1,16}") {
            let id = EventId::new(&*id)?;
            let link = StreamLink::new("/events?a=b", &id)?;
            let uri: Uri = link.url().parse()?;
            let start = Start::of_request(&HeaderMap::new(), &uri);
            prop_assert_eq!(start, Start::requested(id.as_str()));
        }
    }
}
