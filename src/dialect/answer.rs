//! Errors of an upstream that speaks the API of the route already.

use super::{Dialect, Notice};
use crate::engine::Farewell;
use crate::wire::Event;

/// How errors of the APIs begin in JSON without white space. An answer that begins so is passed on
/// as it is, since it says more than its status does.
const ERRORS: [(&str, &str); 3] = [
    ("anthropic", r#"{"type":"error""#),
    ("openai_chat", r#"{"error":"#),
    ("openai_chat_unnamed", r#"{"error":"#),
];

impl Dialect {
    /// The last words of a stream whose handler has answered with an error of the API.
    pub(super) fn passed_on(&self, notice: &Notice) -> Option<Farewell> {
        let answer = notice.answer.as_deref()?;
        let (name, beginning) = ERRORS.into_iter().find(|(name, _)| *name == self.name())?;
        let bytes = answer.bytes().filter(|byte| !byte.is_ascii_whitespace());
        if !bytes.take(beginning.len()).eq(beginning.bytes()) {
            return None;
        }
        let event = match name {
            "openai_chat_unnamed" => Event::new(),
            _ => Event::new().named("error"),
        };
        Some(Farewell::bytes(event.data(answer.trim()).encode()))
    }
}
