//! Errors of an upstream that speaks the API of the route already, in an answer that came late.

use super::Notice;

/// The JSON of a late answer that begins as errors of the API do, without white space: it is passed
/// on, since it says more than its status does.
pub(super) fn own_error<'a>(notice: &'a Notice, beginning: &str) -> Option<&'a str> {
    let answer = notice.answer.as_deref()?;
    let bytes = answer.bytes().filter(|byte| !byte.is_ascii_whitespace());
    bytes.take(beginning.len()).eq(beginning.bytes()).then(|| answer.trim())
}
