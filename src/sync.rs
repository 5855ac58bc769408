//! Locks, wakers, sleeps, the clock, and calls of foreign code that may panic.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};

/// Locks `mutex`, also after a panic of another thread that held it.
///
/// A panic in one stream is no reason to give up the others: data under the locks of this crate is
/// consistent between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls foreign code where a panic would do harm, such as in a `Drop` during unwinding, which
/// aborts the process. Returns `None` if it panicked; the panic hook has reported it.
#[expect(clippy::inline_always, reason = "on its own it costs as much as what it calls")]
#[inline(always)]
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(drop_payload).ok()
}

/// Drops what a panic was raised with, which is foreign code, too, and may panic in its turn. What
/// that panic is raised with is left alone: there may be no end of them.
#[cold]
fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(next);
    }
}

/// Drops a value of foreign code, such as a waker, where a panic of its drop would do harm.
pub(crate) fn drop_caught<T>(value: T) {
    catch_panic(|| drop(value));
}

/// Drops values of foreign code. A panic of a drop goes on, unless the thread unwinds already: a
/// second panic would abort the process. Then `drop` is called again, for the values that are left.
#[inline]
pub(crate) fn drop_foreign(mut drop: impl FnMut()) {
    if thread::panicking() {
        while catch_panic(&mut drop).is_none() {}
    } else {
        drop();
    }
}

pin_project! {
    /// A value of foreign code, such as a body or the future of a handler. If it panics while the
    /// thread unwinds already, as a body may that has panicked in a poll, nothing is aborted.
    #[derive(Debug)]
    pub(crate) struct Foreign<T> {
        #[pin]
        value: Option<T>,
    }

    impl<T> PinnedDrop for Foreign<T> {
        fn drop(this: Pin<&mut Self>) {
            if thread::panicking() {
                this.clear();
            }
        }
    }
}

impl<T> Foreign<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { value: Some(value) }
    }

    /// No value.
    #[cfg(feature = "hub")]
    pub(crate) const fn none() -> Self {
        Self { value: None }
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    #[inline]
    pub(crate) fn as_pin_mut(self: Pin<&mut Self>) -> Option<Pin<&mut T>> {
        self.project().value.as_pin_mut()
    }

    /// Puts another value in the place of this one.
    #[cfg(feature = "hub")]
    pub(crate) fn replace(mut self: Pin<&mut Self>, value: T) {
        self.as_mut().clear();
        self.project().value.set(Some(value));
    }

    /// Drops the value.
    #[inline]
    pub(crate) fn clear(self: Pin<&mut Self>) {
        let mut value = self.project().value;
        drop_foreign(|| value.set(None));
    }
}

impl<F: Future> Future for Foreign<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Wakes all of these wakers. One that panics is that of a foreign executor, and keeps no other
/// task asleep.
///
/// No lock may be held: a waker may poll its task at once.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut wakers = wakers.into_iter();
    // One catch for all of them costs less than one for each. A waker that panics was taken out.
    let mut wake_rest = || {
        for waker in &mut wakers {
            waker.wake();
        }
    };
    while catch_panic(&mut wake_rest).is_none() {}
}

/// The time of Tokio's clock, so that tests can pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Puts a clone of `waker` in the place that `place` finds in the locked data, if it finds one, and
/// returns the other value of `place`.
///
/// The waker is cloned before the lock is taken, and the one that it replaces is dropped after the
/// lock is released: both run foreign code, which may use the same lock.
pub(crate) fn replace_waker<T, R>(
    mutex: &Mutex<T>,
    waker: &Waker,
    place: impl FnOnce(&mut T) -> (Option<&mut Option<Waker>>, R),
) -> R {
    let waker = waker.clone();
    let mut data = lock(mutex);
    let (place, result) = place(&mut data);
    let unused = match place {
        Some(place) => place.replace(waker),
        None => Some(waker),
    };
    drop(data);
    drop(unused);
    result
}

/// Polls a sleep that is set for some time until `until`.
///
/// A sleep that is set for an earlier time is left alone until it elapses, and set anew then. So a
/// deadline that moves with each event costs no timer operation an event.
///
/// The task's cooperative budget does not count: it may be used up after a burst, and then a sleep
/// that is due says `Pending`.
pub(crate) fn poll_sleep(
    mut sleep: Pin<&mut Sleep>,
    until: Instant,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let until = tokio::time::Instant::from_std(until);
    if sleep.deadline() > until || sleep.is_elapsed() {
        sleep.as_mut().reset(until);
    }
    while pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready() {
        if sleep.deadline() >= until {
            return Poll::Ready(());
        }
        sleep.as_mut().reset(until);
    }
    Poll::Pending
}

/// A sleep that takes no memory while nothing is waited for.
#[derive(Debug, Default)]
pub(crate) struct LazySleep(Option<Pin<Box<Sleep>>>);

impl LazySleep {
    /// Polls the sleep until `until`, as [`poll_sleep`] does.
    pub(crate) fn poll_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(until.into())));
        poll_sleep(sleep.as_mut(), until, cx)
    }

    /// Waits for nothing any more, and frees the memory.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Panics when it is dropped, with another one if there are to be more.
    struct Bomb(usize);

    impl Drop for Bomb {
        fn drop(&mut self) {
            match self.0 {
                0 => panic!("the last one"),
                left => panic_any(Self(left - 1)),
            }
        }
    }

    #[test]
    fn a_panic_whose_payload_panics_when_it_is_dropped_is_caught() {
        for left in 0..3 {
            assert!(catch_panic(|| panic_any(Bomb(left))).is_none());
            drop_caught(Bomb(left));
        }
        assert_eq!(catch_panic(|| 1), Some(1));
    }

    /// Wakers of foreign executors, and how often they were woken.
    #[derive(Default)]
    struct Foreign {
        panics_when_woken: bool,
        panics_when_dropped: bool,
        woken: Arc<AtomicUsize>,
    }

    impl Wake for Foreign {
        fn wake(self: Arc<Self>) {
            self.woken.fetch_add(1, Ordering::Relaxed);
            assert!(!self.panics_when_woken, "the waker panics");
        }
    }

    impl Drop for Foreign {
        fn drop(&mut self) {
            assert!(!self.panics_when_dropped, "the waker panics when it is dropped");
        }
    }

    #[test]
    fn wakers_that_panic_keep_no_other_from_being_woken() {
        // Each of three wakers is a good one, or panics at either time.
        for way in 0..27_usize {
            let woken = Arc::<AtomicUsize>::default();
            let wakers = [way % 3, way / 3 % 3, way / 9].map(|kind| {
                let foreign = Foreign {
                    panics_when_woken: kind == 1,
                    panics_when_dropped: kind == 2,
                    woken: Arc::clone(&woken),
                };
                Waker::from(Arc::new(foreign))
            });
            wake_all(wakers);
            assert_eq!(woken.load(Ordering::Relaxed), 3, "{way}");
        }
    }
}
