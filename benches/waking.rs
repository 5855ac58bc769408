//! A drain of, and a broadcast to, 100,000 waiting streams, against waking as many bare wakers.
//!
//! ```text
//! cargo bench --bench waking
//! ```
//!
//! Each stream is a task; what is measured is from the call until every task has run. Each time it
//! is measured in a process of its own: in a heap that others have used, streams that follow one
//! another lie far apart, and it would be measured how the heap was used before.
//!
//! A ratio is of one turn, since a machine is slow for seconds and then fast again; told is the
//! median of the turns.

mod support;

use std::future::{pending, poll_fn};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use support::{Boxed, Pace, Source, Stack, boxed};
use tokio::runtime::Runtime;
use tower_sse::Event;

const STREAMS: usize = 100_000;
const TURNS: usize = 21;

type Measure = fn(&Runtime) -> [Duration; 2];

const ROWS: [(&str, Measure); 4] = [
    ("bare wakers of tasks that do nothing", |runtime| runtime.block_on(bare())),
    ("bare wakers of the same streams", |runtime| runtime.block_on(same())),
    ("broadcast", |runtime| runtime.block_on(broadcast())),
    ("drain", |runtime| runtime.block_on(drain())),
];

/// What each row took: the call alone, and the whole.
type Turn = [[f64; 2]; ROWS.len()];

/// The rows that the call alone is compared with, and the whole.
const BASES: [usize; 2] = [0, 1];

fn main() {
    let asked = std::env::args().find_map(|arg| arg.strip_prefix(ROW)?.parse::<usize>().ok());
    if let Some((_, measure)) = asked.and_then(|row| ROWS.get(row)) {
        let [told, reached] = measure(&support::runtime());
        println!("{} {}", told.as_nanos(), reached.as_nanos());
        return;
    }
    let turns: Vec<Turn> = (0..TURNS).map(|_| std::array::from_fn(elsewhere)).collect();
    println!("{STREAMS} waiting streams, median of {TURNS} turns");
    println!("{:<40}{:>16}{:>22}", "", "the call alone", "until all have run");
    for (row, (name, _)) in ROWS.iter().enumerate() {
        let [told, reached] = [0, 1].map(|column| {
            let time = |turn: &Turn| turn[row][column];
            let ratio = |turn: &Turn| turn[row][column] / turn[BASES[column]][column];
            let [ms, ratio] = [median(turns.iter().map(time)), median(turns.iter().map(ratio))];
            format!("{:.1} ms, {ratio:.2}x", ms / 1e6)
        });
        println!("{name:<40}{told:>16}{reached:>22}");
    }
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<_> = of.collect();
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Measures a row in a process of its own; in nanoseconds.
fn elsewhere(row: usize) -> [f64; 2] {
    let exe = std::env::current_exe().expect("it runs");
    let output = Command::new(exe).arg(format!("{ROW}{row}")).output().expect("it runs again");
    let output = String::from_utf8(output.stdout).expect("two numbers");
    let mut times = output.split_whitespace().map(|time| time.parse().expect("a number"));
    [(); 2].map(|()| times.next().expect("two numbers"))
}

/// The argument that asks for a row alone.
const ROW: &str = "--row=";

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
        // What the opening of so many has freed is put in order by the next that asks for much:
        // that is no part of waking them. Not all of it at a time, so this asks often.
        for _ in 0..100 {
            std::hint::black_box(Vec::<u8>::with_capacity(1 << 16));
        }
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
