//! The saved head of a response: its status and headers.

use std::fmt::Write as _;

use http::header::{CONNECTION, DATE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use http::response::Parts;
use http::{Response, StatusCode};

use crate::dialect::Dialect;
use crate::service::prepare_for_changes;
use crate::state::Expiry;

/// The head of a response, for the responses to clients that come back.
#[derive(Clone, Debug)]
pub(super) struct SavedHead {
    status: StatusCode,
    headers: HeaderMap,
    /// The stream ends with the credential with which it was opened, for each of its clients.
    expiry: Option<Expiry>,
}

impl SavedHead {
    /// The head of this response, with what the dialect adds to it.
    pub(super) fn of(parts: &Parts, dialect: &Dialect) -> Self {
        let mut headers = HeaderMap::new();
        dialect.add_headers(&mut headers);
        // They replace headers of the same name.
        headers.extend(parts.headers.clone());
        prepare_for_changes(&mut headers);
        for first_only in [CONNECTION, DATE, SET_COOKIE] {
            headers.remove(first_only);
        }
        let expiry = parts.extensions.get::<Expiry>().copied();
        Self { status: parts.status, headers, expiry }
    }

    pub(super) fn response<B>(&self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        if let Some(expiry) = self.expiry {
            response.extensions_mut().insert(expiry);
        }
        response
    }

    /// The head as text, for other nodes. None if the stream expires, which other nodes are not
    /// told.
    pub(super) fn to_text(&self) -> Option<String> {
        if self.expiry.is_some() {
            return None;
        }
        let mut text = self.status.as_str().to_owned();
        for (name, value) in &self.headers {
            // A value may have any bytes but control characters.
            let value: String = value.as_bytes().iter().copied().map(char::from).collect();
            let _ = write!(text, "\n{name}: {value}");
        }
        Some(text)
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let status = StatusCode::from_bytes(lines.next()?.as_bytes()).ok()?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ")?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let value: Vec<u8> = value.chars().map(u8::try_from).collect::<Result<_, _>>().ok()?;
            headers.append(name, HeaderValue::from_bytes(&value).ok()?);
        }
        Some(Self { status, headers, expiry: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_first_response_alone_are_not_saved() {
        let response = Response::builder()
            .status(201)
            .header("content-type", "text/event-stream")
            .header("set-cookie", "a=b")
            .header("content-length", "7")
            .header("x-a", "1, 2")
            .header("x-a", "3");
        let (parts, ()) = response.body(()).unwrap().into_parts();
        let head = SavedHead::of(&parts, &Dialect::default());
        let text = head.to_text().unwrap();
        assert_eq!(text, "201\ncontent-type: text/event-stream\nx-a: 1, 2\nx-a: 3");
        let read = SavedHead::from_text(&text).unwrap();
        assert_eq!(read.response(()).headers(), head.response(()).headers());
        assert_eq!(read.response(()).status(), 201);
        for text in ["", "x", "200\nno value", "200\n a: b", "200\na: \u{7f}", "200\na: \u{100}"] {
            assert!(SavedHead::from_text(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_saved_header_has_the_bytes_that_it_had() {
        let bytes: Vec<u8> =
            (0..=255).filter(|it| HeaderValue::from_bytes(&[*it]).is_ok()).collect();
        let value = HeaderValue::from_bytes(&[b"x", &*bytes, b"x"].concat()).unwrap();
        let (parts, ()) = Response::builder().header("x-a", &value).body(()).unwrap().into_parts();
        let text = SavedHead::of(&parts, &Dialect::default()).to_text().unwrap();
        let read = SavedHead::from_text(&text).unwrap();
        assert_eq!(read.response(()).headers()["x-a"], value);
    }
}
