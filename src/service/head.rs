//! The heads of requests and responses: which are about event streams, and what proxies are told.

use http::header::{
    ACCEPT, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue,
};
use http::{Method, StatusCode};

use crate::plan::NoBuffer;
use crate::wire::{Framing, Protocol};

/// How a stream's body can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    /// By its events.
    Framed(Framing),
    /// Not at all, because of its content encoding.
    Encoded,
}

/// How the body of a response can be read, if it is a stream.
pub(super) fn stream_kind(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
) -> Option<StreamKind> {
    let partial = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
    );
    if is_bodiless(method) || partial || !status.is_success() {
        return None;
    }
    let framing = framing(headers)?;
    Some(if is_encoded(headers) { StreamKind::Encoded } else { StreamKind::Framed(framing) })
}

/// Whether a body has a content encoding, so that its bytes cannot be read.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = list(headers, &CONTENT_ENCODING);
    encodings.any(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
}

/// Whether a body is one value of JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = content_type(headers) else {
        return false;
    };
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    essence == b"application/json" || essence.ends_with(b"+json")
}

/// Whether a response to this method has no body. On HTTP/2 hyper sends one if it is given one.
pub(super) fn is_bodiless(method: &Method) -> bool {
    matches!(*method, Method::HEAD | Method::CONNECT)
}

/// The protocol of a request that is a call.
pub(super) fn protocol_of_call(headers: &HeaderMap) -> Option<Protocol> {
    match framing(headers)? {
        Framing::Calls(protocol) => Some(protocol),
        Framing::Sse | Framing::JsonLines | Framing::JsonSequence => None,
    }
}

/// Marks a refusal in its extensions: an event stream that is none of the handler's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused;

/// Whether a response's body is an event stream whose bytes can be read, and not a refusal.
#[cfg(feature = "resume")]
pub(crate) fn is_event_stream(method: &Method, head: &http::response::Parts) -> bool {
    head.extensions.get::<Refused>().is_none()
        && stream_kind(method, head.status, &head.headers) == Some(StreamKind::Framed(Framing::Sse))
}

/// The framing of a body, if its content type is that of a stream.
fn framing(headers: &HeaderMap) -> Option<Framing> {
    let mut values = headers.get_all(CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
    let (first, second) = (values.next()?, values.next());
    // Nearly every head has one type. Most are not that of a stream, and need no closer look.
    if second.is_none() && memchr::memchr(b',', first).is_none() {
        return Framing::of(first).filter(|_| is_mime_type(first));
    }
    Framing::of(content_type(headers)?)
}

/// The content type that clients go by: the last one that is valid.
///
/// As the Fetch standard [extracts a MIME
/// type](https://fetch.spec.whatwg.org/#concept-header-extract-mime-type).
fn content_type(headers: &HeaderMap) -> Option<&[u8]> {
    list(headers, &CONTENT_TYPE).filter(|value| is_mime_type(value)).last()
}

/// Whether `value` begins with a type and a subtype, and is not the wildcard.
fn is_mime_type(value: &[u8]) -> bool {
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let Some(slash) = essence.iter().position(|&byte| byte == b'/') else {
        return false;
    };
    let is_token = |text: &[u8]| {
        let is_tchar =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        !text.is_empty() && text.iter().all(is_tchar)
    };
    is_token(&essence[..slash]) && is_token(&essence[slash + 1..]) && essence != b"*/*"
}

/// Removes what a stream's head says of the exact bytes, which layers are going to add to.
pub(crate) fn prepare_for_changes(headers: &mut HeaderMap) {
    for name in ABOUT_EXACT_BYTES {
        headers.remove(name);
    }
    // A weak one does not promise the bytes.
    if headers.get(ETAG).is_some_and(|tag| !tag.as_bytes().starts_with(b"W/")) {
        headers.remove(ETAG);
    }
}

const ABOUT_EXACT_BYTES: [HeaderName; 6] = [
    ACCEPT_RANGES,
    CONTENT_LENGTH,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// Asks proxies to pass each event on at once.
pub(super) fn refuse_buffering(headers: &mut HeaderMap, settings: NoBuffer) {
    headers.remove(CONTENT_LENGTH);
    refuse_buffering_of_encoded(headers);
    if settings.identity {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// Asks proxies to pass each piece of an encoded stream on at once.
pub(super) fn refuse_buffering_of_encoded(headers: &mut HeaderMap) {
    headers.entry(ACCEL_BUFFERING).or_insert(HeaderValue::from_static("no"));
    refuse_caching(headers);
}

/// Adds what is missing to the handler's `Cache-Control`, as one line: not every proxy reads a
/// second.
fn refuse_caching(headers: &mut HeaderMap) {
    let is_missing = |wanted: &&[u8]| {
        !list(headers, &CACHE_CONTROL).any(|directive| directive.eq_ignore_ascii_case(wanted))
    };
    let missing: Vec<&[u8]> = WANTED.into_iter().filter(is_missing).collect();
    if missing.is_empty() {
        return;
    }
    let lines = headers.get_all(CACHE_CONTROL).iter().map(|line| line.as_bytes().trim_ascii());
    let all: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).chain(missing).collect();
    // Header values and words of this module are always a header value.
    if let Ok(value) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(CACHE_CONTROL, value);
    }
}

/// What [nginx](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering) reads.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `no-cache`, or caches put two clients on one stream; `no-transform`, or proxies compress.
const WANTED: [&[u8]; 2] = [b"no-cache", b"no-transform"];

/// Whether an `EventSource` may have made this request: a GET that names event streams in
/// `Accept`, and not to refuse them.
pub(super) fn wants_events(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::GET && accepts_events(headers)
}

/// Whether `Accept` names event streams, and not to refuse them.
pub(super) fn accepts_events(headers: &HeaderMap) -> bool {
    list(headers, &ACCEPT)
        .any(|range| Framing::of(range) == Some(Framing::Sse) && quality(range) > 0.0)
}

/// The weight of a media range, from 0 to 1. Without a valid one it is 1.
fn quality(range: &[u8]) -> f32 {
    let weight = range.split(|&byte| byte == b';').skip(1).find_map(|parameter| {
        let (name, value) =
            parameter.split_at_checked(parameter.iter().position(|&b| b == b'=')?)?;
        name.trim_ascii().eq_ignore_ascii_case(b"q").then_some(&value[1..])
    });
    let weight = weight.and_then(|weight| std::str::from_utf8(weight.trim_ascii()).ok());
    weight.and_then(|weight| weight.parse().ok()).unwrap_or(1.0)
}

/// The members of a header's comma-separated lists. A comma in a quoted string separates nothing.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().flat_map(|value| members(value.as_bytes()))
}

fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let members = value.split(move |&byte| {
        (quoted, escaped) = match byte {
            b'"' if !escaped => (!quoted, false),
            b'\\' if quoted => (quoted, !escaped),
            _ => (quoted, false),
        };
        byte == b',' && !quoted
    });
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}
