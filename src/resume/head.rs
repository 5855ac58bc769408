//! The head of a response, kept for clients that come back.

use std::fmt::Write as _;

use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
};
use http::response::Parts;
use http::{Response, StatusCode};

use crate::state::Expiry;

/// The head of a response, kept for clients that come back.
#[derive(Clone, Debug)]
pub(super) struct Head {
    status: StatusCode,
    headers: HeaderMap,
    /// The stream ends with the credential that it was opened on, whoever reads it.
    pub(super) expiry: Option<Expiry>,
}

impl Head {
    pub(super) fn of(parts: &Parts) -> Self {
        let mut headers = parts.headers.clone();
        for of_that_answer in [CONTENT_LENGTH, CONNECTION, DATE, SET_COOKIE] {
            headers.remove(of_that_answer);
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

    /// As text, for other nodes; none if it does not all go into it.
    pub(super) fn to_text(&self) -> Option<String> {
        if self.expiry.is_some() {
            return None;
        }
        let mut text = self.status.as_str().to_owned();
        for (name, value) in &self.headers {
            let _ = write!(text, "\n{name}: {}", value.to_str().ok()?);
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
            headers.append(name, HeaderValue::from_str(value).ok()?);
        }
        Some(Self { status, headers, expiry: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belonged_to_the_first_answer_is_not_kept() {
        let response = Response::builder()
            .status(201)
            .header("content-type", "text/event-stream")
            .header("set-cookie", "a=b")
            .header("content-length", "7")
            .header("x-a", "1, 2")
            .header("x-a", "3");
        let (parts, ()) = response.body(()).unwrap().into_parts();
        let head = Head::of(&parts);
        let text = head.to_text().unwrap();
        assert_eq!(text, "201\ncontent-type: text/event-stream\nx-a: 1, 2\nx-a: 3");
        let read = Head::from_text(&text).unwrap();
        assert_eq!(read.response(()).headers(), head.response(()).headers());
        assert_eq!(read.response(()).status(), 201);
        for text in ["", "x", "200\nno value", "200\n a: b", "200\na: \u{7f}"] {
            assert!(Head::from_text(text).is_none(), "{text:?}");
        }
    }
}
