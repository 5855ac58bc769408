//! A drain of, and a broadcast to, 100,000 waiting streams, against waking as many bare wakers.
//!
//! ```text
//! cargo bench --bench waking
//! ```
//!
//! Each stream is a task; what is measured is from the call until every task has run. They
//! are measured in turns, and the best of each is compared: the rest is the machine's noise.

mod support;

use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use support::{Boxed, Pace, Source, Stack, boxed};
use tower_sse::wire::Event;

const STREAMS: usize = 100_000;
const TURNS: usize = 7;

fn main() {
    let mut best = [Duration::MAX; 4];
    for _ in 0..TURNS {
        // A runtime each, so that nothing is left of the others.
        let turns = [
            support::runtime().block_on(bare()),
            support::runtime().block_on(same()),
            support::runtime().block_on(broadcast()),
            support::runtime().block_on(drain()),
        ];
        for (best, turn) in best.iter_mut().zip(turns) {
            *best = turn.min(*best);
        }
    }
    let [bare, same, broadcast, drain] = best.map(|time| time.as_secs_f64() * 1e3);
    println!("{STREAMS} waiting streams, best of {TURNS}");
    println!("{:<44}{bare:>7.1} ms", "bare wakers of tasks that do nothing");
    println!("{:<44}{same:>7.1} ms", "bare wakers of the same streams");
    println!("{:<44}{broadcast:>7.1} ms, {:.2}x", "broadcast", broadcast / same);
    println!("{:<44}{drain:>7.1} ms, {:.2}x", "drain", drain / same);
}

/// Counts tasks that wait and tasks that have been reached.
#[derive(Default)]
struct Count {
    waiting: AtomicUsize,
    reached: AtomicUsize,
}

impl Count {
    /// Lets the tasks run until all wait.
    async fn all_wait(&self) {
        while self.waiting.load(Ordering::Relaxed) < STREAMS {
            tokio::task::yield_now().await;
        }
    }

    /// The time from `act` until all tasks have been reached.
    async fn time(&self, act: impl FnOnce()) -> Duration {
        let start = Instant::now();
        act();
        while self.reached.load(Ordering::Relaxed) < STREAMS {
            tokio::task::yield_now().await;
        }
        start.elapsed()
    }
}

async fn bare() -> Duration {
    by_their_wakers(|| None).await
}

async fn same() -> Duration {
    let stack = Stack::named("at once");
    by_their_wakers(|| Some(boxed(stack.body(Source::of(64, 1, Pace::Idle))))).await
}

/// Tasks that are woken by nothing but their wakers, and find nothing in their streams if they have
/// one.
async fn by_their_wakers(stream: impl Fn() -> Option<Boxed>) -> Duration {
    let count = Arc::new(Count::default());
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::with_capacity(STREAMS)));
    for _ in 0..STREAMS {
        let mut stream = stream();
        let (count, wakers) = (Arc::clone(&count), Arc::clone(&wakers));
        tokio::spawn(async move {
            let mut opening = None;
            if let Some(stream) = &mut stream {
                opening = stream.frame().await;
            }
            let mut waits = false;
            poll_fn(|cx| {
                if let Some(stream) = &mut stream {
                    assert!(stream.as_mut().poll_frame(cx).is_pending());
                }
                if std::mem::replace(&mut waits, true) {
                    return Poll::Ready(());
                }
                wakers.lock().expect("not poisoned").push(cx.waker().clone());
                count.waiting.fetch_add(1, Ordering::Relaxed);
                Poll::Pending
            })
            .await;
            count.reached.fetch_add(1, Ordering::Relaxed);
            // What a task costs that ends is not the question.
            pending::<()>().await;
            drop((opening, stream));
        });
    }
    count.all_wait().await;
    let wakers = std::mem::take(&mut *wakers.lock().expect("not poisoned"));
    count.time(|| wakers.into_iter().for_each(Waker::wake)).await
}

/// Tasks that read streams: what they read first, they read when they are reached.
fn streams(stack: &Stack) -> Arc<Count> {
    let count = Arc::new(Count::default());
    for _ in 0..STREAMS {
        let mut body = boxed(stack.body(Source::of(64, 1, Pace::Idle)));
        let count = Arc::clone(&count);
        tokio::spawn(async move {
            let opening = body.frame().await;
            count.waiting.fetch_add(1, Ordering::Relaxed);
            let woken = body.frame().await;
            count.reached.fetch_add(1, Ordering::Relaxed);
            // What a task costs that ends is not the question.
            pending::<()>().await;
            drop((opening, woken));
        });
    }
    count
}

async fn broadcast() -> Duration {
    let stack = Stack::named("all but ids");
    let count = streams(&stack);
    count.all_wait().await;
    let event = Event::new().data("news");
    count.time(|| assert_eq!(stack.registry.broadcast(event).sent, STREAMS)).await
}

async fn drain() -> Duration {
    let stack = Stack::named("at once");
    let count = streams(&stack);
    count.all_wait().await;
    count.time(|| stack.shutdown.trigger()).await
}
