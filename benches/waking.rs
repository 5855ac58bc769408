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
const TURNS: usize = 15;

fn main() {
    let mut best = [[Duration::MAX; 2]; 4];
    for _ in 0..TURNS {
        // A runtime each, so that nothing is left of the others.
        let turns = [
            support::runtime().block_on(bare()),
            support::runtime().block_on(same()),
            support::runtime().block_on(broadcast()),
            support::runtime().block_on(drain()),
        ];
        for (best, turn) in best.iter_mut().flatten().zip(turns.iter().flatten()) {
            *best = (*best).min(*turn);
        }
    }
    let rows = [
        "bare wakers of tasks that do nothing",
        "bare wakers of the same streams",
        "broadcast",
        "drain",
    ];
    println!("{STREAMS} waiting streams, best of {TURNS}");
    println!("{:<40}{:>16}{:>22}", "", "the call alone", "until all have run");
    let [[bare, _], [_, same], ..] = best;
    for (row, [told, reached]) in rows.iter().zip(best) {
        let ratio = |time: Duration, base: Duration| time.as_secs_f64() / base.as_secs_f64();
        let [told_ms, reached_ms] = [told, reached].map(|time| time.as_secs_f64() * 1e3);
        println!(
            "{row:<40}{told_ms:>7.1} ms, {:>4.2}x{reached_ms:>13.1} ms, {:>4.2}x",
            ratio(told, bare),
            ratio(reached, same)
        );
    }
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

    /// The time that `act` takes, and the time until all tasks have been reached.
    async fn time(&self, act: impl FnOnce()) -> [Duration; 2] {
        let start = Instant::now();
        act();
        let told = start.elapsed();
        while self.reached.load(Ordering::Relaxed) < STREAMS {
            tokio::task::yield_now().await;
        }
        [told, start.elapsed()]
    }
}

async fn bare() -> [Duration; 2] {
    by_their_wakers(|| None).await
}

async fn same() -> [Duration; 2] {
    let stack = Stack::named("at once");
    by_their_wakers(|| Some(boxed(stack.body(Source::of(64, 1, Pace::Idle))))).await
}

/// Tasks that are woken by nothing but their wakers, and find nothing in their streams if they have
/// one.
async fn by_their_wakers(stream: impl Fn() -> Option<Boxed>) -> [Duration; 2] {
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

async fn broadcast() -> [Duration; 2] {
    let stack = Stack::named("all but ids");
    let count = streams(&stack);
    count.all_wait().await;
    let event = Event::new().data("news");
    count.time(|| assert_eq!(stack.registry.broadcast(event).sent, STREAMS)).await
}

async fn drain() -> [Duration; 2] {
    let stack = Stack::named("at once");
    let count = streams(&stack);
    count.all_wait().await;
    count.time(|| stack.shutdown.trigger()).await
}
