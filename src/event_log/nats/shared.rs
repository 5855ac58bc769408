//! What all handles and followers of a log share.

use std::sync::{Mutex, MutexGuard};

use crate::sync::lock;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::link::Link;
use super::window::{Limits, Window};

/// What all handles and followers of a log share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Link,
    window: Mutex<Window>,
    pub(super) runtime: Handle,
    /// So that a thousand clients that come back do not ask for all at once.
    pub(super) fetches: Semaphore,
}

impl Shared {
    pub(super) fn new(link: Link, runtime: Handle) -> Self {
        let limits =
            Limits { events: link.settings.window_events, bytes: link.settings.window_bytes };
        let window = Mutex::new(Window::new(limits));
        Self { link, window, runtime, fetches: Semaphore::new(FETCHES) }
    }

    /// Nothing of a user is called under this lock, wakers neither.
    pub(super) fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }
}

/// So many followers are sent what they missed at the same time.
const FETCHES: usize = 16;
