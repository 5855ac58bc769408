//! The reason that a close event gives.

use super::Event;

/// Why a stream ends, as its client reads it in the data of the close event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    Shutdown,
    Kicked,
    /// A newer stream of the same key has its slot.
    Replaced,
    Rotated,
    Expired,
    Idle,
    Error,
    /// The stream's body came to its own end.
    Finished,
}

/// The JSON of a reason: clients read the same shape in each event that gives one.
macro_rules! reason {
    ($word:literal) => {
        concat!(r#"{"reason":""#, $word, r#""}"#)
    };
}

impl CloseReason {
    /// The event that tells the client this reason, under the name that the farewell has.
    pub(crate) fn event(self, name: &'static str) -> Event {
        Event::new().named(name).static_data(match self {
            Self::Shutdown => reason!("shutdown"),
            Self::Kicked => reason!("kicked"),
            Self::Replaced => reason!("replaced"),
            Self::Rotated => reason!("rotated"),
            Self::Expired => reason!("expired"),
            Self::Idle => reason!("idle"),
            Self::Error => reason!("error"),
            Self::Finished => reason!("finished"),
        })
    }
}

/// The data of the event that refuses a stream above a limit.
pub(crate) const REFUSED_ABOVE_LIMIT: &str = reason!("limit");
