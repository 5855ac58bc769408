//! Wakers that count, and wakers that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// Counts how often it is woken.
#[derive(Debug, Default)]
pub struct Wakes(AtomicUsize);

impl Wakes {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The waker of a foreign executor, which panics when it is woken.
#[derive(Debug)]
pub struct Panicking;

impl Panicking {
    pub fn waker() -> Waker {
        Waker::from(Arc::new(Self))
    }
}

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("the waker panics");
    }
}

/// The waker of a foreign executor, which panics when it is dropped.
#[derive(Debug)]
pub struct PanickingDrop;

impl PanickingDrop {
    pub fn waker() -> Waker {
        Waker::from(Arc::new(Self))
    }
}

impl Wake for PanickingDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for PanickingDrop {
    fn drop(&mut self) {
        panic!("the waker panics when it is dropped");
    }
}
