//! How long a drain may take, from the environment.

use std::env;
use std::num::ParseIntError;
use std::time::Duration;

use tower_sse::{Shutdown, ShutdownBuilder};

/// How long a drain, and a client that does not read, may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    window: Duration,
    deadline: Duration,
    stall_limit: Duration,
}

impl Times {
    pub(super) fn from_env() -> Result<Self, ParseIntError> {
        Ok(Self {
            window: millis("DRAIN_WINDOW_MS", 500)?,
            deadline: millis("DRAIN_DEADLINE_MS", 2000)?,
            stall_limit: millis("STALL_MS", 5000)?,
        })
    }

    /// A shutdown that takes so long.
    pub(super) fn shutdown(self) -> ShutdownBuilder {
        Shutdown::builder()
            .window(self.window)
            .deadline(self.deadline)
            .stall_limit(self.stall_limit)
    }
}

fn millis(name: &str, default: u64) -> Result<Duration, ParseIntError> {
    env::var(name).map_or(Ok(default), |millis| millis.parse()).map(Duration::from_millis)
}
