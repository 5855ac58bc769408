//! The service that serves a script.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

use crate::static_body::StaticBody;

/// Service that serves a script of the page, to GET and HEAD of any path.
///
/// The functions of [this module](crate::client) make it. A browser asks each time whether the
/// script has changed, and gets 304 without a body if it has not, unless [`max_age`](Self::max_age)
/// is set. Other methods get 405.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientScript {
    text: &'static str,
    etag: HeaderValue,
    cache_control: HeaderValue,
}

impl ClientScript {
    /// The tag of the script is its integrity, which differs from that of any other script.
    pub(super) fn new(text: &'static str, integrity: &'static str) -> Self {
        let etag = format!("\"{integrity}\"");
        Self {
            text,
            // Digits of base 64, so it does not fail.
            etag: etag.try_into().unwrap_or(HeaderValue::from_static("\"\"")),
            cache_control: HeaderValue::from_static("no-cache"),
        }
    }

    /// Lets browsers and caches use the script for so long without asking whether it has changed.
    /// It is written in whole seconds.
    ///
    /// A page that has the integrity of a newer script in it then refuses the older one, so its
    /// path has to change with the script.
    pub fn max_age(mut self, time: Duration) -> Self {
        let seconds = format!("max-age={}", time.as_secs());
        self.cache_control = seconds.try_into().unwrap_or(self.cache_control);
        self
    }

    fn respond(&self, method: &Method, headers: &HeaderMap) -> Response<StaticBody> {
        let is_head = method == Method::HEAD;
        if !is_head && method != Method::GET {
            let mut response = Response::new(StaticBody::of(""));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let is_known = self.is_known(headers);
        // Over HTTP/2 hyper sends the body of a response to HEAD.
        let text = if is_head || is_known { "" } else { self.text };
        let mut response = Response::new(StaticBody::of(text));
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, self.cache_control.clone());
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(CONTENT_LENGTH, self.text.len().into());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    /// Whether the client has the script.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let tags = headers.get_all(IF_NONE_MATCH).iter();
        let mut tags = tags.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        tags.any(|tag| {
            let tag = tag.trim_ascii();
            // A cache that compressed the script calls the tag a weak one.
            tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.etag.as_bytes()
        })
    }
}

impl<B> Service<Request<B>> for ClientScript {
    type Response = Response<StaticBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(request.method(), request.headers())))
    }
}
