//! The heads of responses: which of them are streams, and what is said to proxies.

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue,
};
use http::response::Parts;
use http::{Method, StatusCode};

use crate::plan::NoBuffer;
use crate::wire::Framing;

/// The framing of a response's body, if it is a stream whose bytes can be looked at.
pub(crate) fn framing(method: &Method, head: &Parts) -> Option<Framing> {
    stream(method, head).filter(|_| !is_encoded(&head.headers))
}

/// Whether a response's body is a stream whose bytes say nothing to us.
pub(super) fn is_encoded_stream(method: &Method, head: &Parts) -> bool {
    is_encoded(&head.headers) && stream(method, head).is_some()
}

/// The framing of a response's body, if it is a stream.
fn stream(method: &Method, head: &Parts) -> Option<Framing> {
    // On HTTP/2 hyper sends a body for these if it is given one.
    let bodiless = matches!(*method, Method::HEAD | Method::CONNECT);
    let partial = matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
    );
    if bodiless || partial || !head.status.is_success() {
        return None;
    }
    Framing::of(head.headers.get(CONTENT_TYPE)?.as_bytes())
}

/// Whether a body is encoded, so that its bytes cannot be looked at.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(CONTENT_ENCODING).iter().flat_map(list);
    encodings.into_iter().any(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
}

/// Asks proxies to pass each event on at once.
pub(super) fn refuse_buffering(headers: &mut HeaderMap, settings: NoBuffer) {
    headers.remove(CONTENT_LENGTH);
    headers.entry(ACCEL_BUFFERING).or_insert(HeaderValue::from_static("no"));
    refuse_caching(headers);
    if settings.identity {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// Adds what is missing to what the handler said, as one line: not everybody reads a second.
pub(super) fn refuse_caching(headers: &mut HeaderMap) {
    let said = headers.get_all(CACHE_CONTROL);
    let is_missing = |wanted: &&[u8]| {
        !said.iter().flat_map(list).any(|directive| directive.eq_ignore_ascii_case(wanted))
    };
    let missing: Vec<&[u8]> = WANTED.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        return;
    }
    let lines = said.iter().map(|line| line.as_bytes().trim_ascii());
    let all: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).chain(missing).collect();
    // Header values and our own words: always a header value.
    if let Ok(value) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(CACHE_CONTROL, value);
    }
}

/// The members of a header's comma-separated list. A comma in a quoted string separates nothing.
fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let members = value.as_bytes().split(move |&byte| {
        (quoted, escaped) = match byte {
            b'"' if !escaped => (!quoted, false),
            b'\\' if quoted => (quoted, !escaped),
            _ => (quoted, false),
        };
        byte == b',' && !quoted
    });
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Whether a request asks for an event stream by name.
pub(super) fn asks_for_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(http::header::ACCEPT).iter().flat_map(list);
    accepted.into_iter().any(|range| Framing::of(range).is_some())
}

/// What [nginx](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering) reads.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `no-cache`, or caches put two clients on one stream; `no-transform`, or proxies compress.
const WANTED: [&[u8]; 2] = [b"no-cache", b"no-transform"];
