//! What an answer is like, from the name of the model.

use std::time::Duration;

use axum::http::StatusCode;

/// What an answer is like.
///
/// | part | meaning | default |
/// | --- | --- | --- |
/// | `before=5000` | milliseconds before the head of the response | 0 |
/// | `status=429` | the status of the response | 200 |
/// | `after=5000` | milliseconds between the head and the first word | 0 |
/// | `words=20` | how many words there are | 5 |
/// | `every=50` | milliseconds from word to word | 50 |
/// | `end=done`, `cut` or `hang` | comes to its end, is cut, or says nothing more | `done` |
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) before: Duration,
    pub(super) status: StatusCode,
    pub(super) after: Duration,
    pub(super) words: usize,
    pub(super) every: Duration,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Done,
    Cut,
    Hang,
}

impl Script {
    /// `None` if the name is none of these; `words` alone is the default.
    pub(super) fn parse(model: &str) -> Option<Self> {
        let mut script = Self {
            before: Duration::ZERO,
            status: StatusCode::OK,
            after: Duration::ZERO,
            words: 5,
            every: Duration::from_millis(50),
            end: End::Done,
        };
        if model == "words" {
            return Some(script);
        }
        for part in model.split(',') {
            let (name, value) = part.split_once('=')?;
            let millis = || value.parse().ok().map(Duration::from_millis);
            match name {
                "before" => script.before = millis()?,
                "status" => script.status = value.parse().ok()?,
                "after" => script.after = millis()?,
                "words" => script.words = value.parse().ok()?,
                "every" => script.every = millis()?,
                "end" => script.end = End::parse(value)?,
                _ => return None,
            }
        }
        Some(script)
    }
}

impl End {
    fn parse(end: &str) -> Option<Self> {
        match end {
            "done" => Some(Self::Done),
            "cut" => Some(Self::Cut),
            "hang" => Some(Self::Hang),
            _ => None,
        }
    }
}
