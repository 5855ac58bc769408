//! No slot leaks, none is given twice, and no key stays, whatever streams and threads do.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use futures_util::FutureExt;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{
    Farewell, Limit, LimitBuilder, LimitLayer, Registry, Shutdown, ShutdownLayer, SseLayer,
    SseService,
};

use crate::harness::bodies::{Script, Step};
use crate::harness::rig::{Client, Fate, Handler, Piece, call, get, open};

/// More than is ever open here, so that who is refused is refused for a leak.
const ROOM: usize = 64;
const KEYS: u64 = 5;

fn by_turns(max: usize, max_each: usize) -> LimitBuilder {
    let n = AtomicU64::new(0);
    Limit::builder().max(max).per_key(max_each, move |_| n.fetch_add(1, Ordering::Relaxed) % KEYS)
}

/// Opens a stream, and ends it in the `n`-th way of which it may end.
fn open_and_end(n: usize, service: &mut SseService<Handler>, registry: &Registry) {
    let (feed, mut client) = open(service);
    let now = |client: &mut Client| client.now().now_or_never().unwrap();
    match n % 9 {
        0 => drop((feed, client)),
        1 => drop((client, feed)),
        2 => drop((now(&mut client), client)),
        3 => {
            now(&mut client);
            feed.data("data: half an ev");
            now(&mut client);
        }
        4 => {
            feed.data("data: a\n\n");
            drop(feed);
            assert_eq!(now(&mut client).1, Fate::Ended);
        }
        5 => {
            feed.give(Piece::Fail);
            assert_ne!(now(&mut client).1, Fate::Open);
        }
        6 => {
            feed.give(Piece::Panic);
            // Unless another thread has closed or replaced it.
            let _ = catch_unwind(AssertUnwindSafe(|| now(&mut client)));
        }
        7 => {
            now(&mut client);
            registry.close_where(|_| true, Farewell::close());
            now(&mut client);
        }
        _ => {
            // Dropped on another thread, while that one panics.
            let dropped = thread::spawn(move || {
                let _client = client;
                panic!("elsewhere, as the test wants");
            });
            assert!(dropped.join().is_err());
        }
    }
}

fn ten_thousand_ends(limit: &Limit) {
    let registry = Registry::new();
    let layer = SseLayer::new().limit(limit.clone()).registry(registry.clone());
    let service = layer.layer(Handler);
    thread::scope(|scope| {
        for _ in 0..4 {
            let (mut service, registry) = (service.clone(), registry.clone());
            scope.spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().build().unwrap();
                let _context = runtime.enter();
                (0..2_500).for_each(|n| open_and_end(n, &mut service, &registry));
            });
        }
    });
    assert_eq!((limit.open(), limit.keys(), registry.len()), (0, 0, 0));
    assert_eq!(limit.refused(), 0);
}

#[test]
fn ten_thousand_opens_and_aborts_leak_no_slot() {
    quietly(|| ten_thousand_ends(&by_turns(ROOM, ROOM).build().unwrap()));
}

/// Streams that are replaced meanwhile give nothing back twice.
#[test]
fn ten_thousand_opens_and_aborts_leak_no_slot_while_they_replace_each_other() {
    quietly(|| ten_thousand_ends(&by_turns(ROOM, 1).replace_oldest().build().unwrap()));
}

/// At refusal, at errors of the handler and of its future, and where a drain refuses behind the
/// slot.
#[tokio::test(start_paused = true)]
async fn what_never_becomes_a_stream_keeps_no_slot() {
    let limit = Limit::new(1);
    let fails = |_: Request<()>| ready(Err::<Response<Script>, _>("the handler's own"));
    let mut failing = LimitLayer::new(limit.clone()).layer(service_fn(fails));
    let mut held = LimitLayer::new(limit.clone()).layer(Handler);
    let first = open(&mut held);
    for _ in 0..10_000 {
        assert!(failing.ready().await.unwrap().call(get()).await.is_err());
        drop(held.call(get()));
        drop(call(&mut held, get()));
    }
    assert_eq!((limit.open(), limit.refused()), (1, 10_000));
    drop(first);
    assert_eq!(limit.open(), 0);

    let shutdown = Shutdown::new();
    let mut service =
        ShutdownLayer::new(shutdown.clone()).layer(LimitLayer::new(limit.clone()).layer(Handler));
    shutdown.trigger();
    for _ in 0..10_000 {
        drop(call(&mut service, get()));
    }
    assert_eq!((limit.open(), limit.refused()), (0, 10_000));
}

/// A drain that begins while streams are let in: each is ended by it, or was refused.
#[test]
fn a_drain_that_begins_meanwhile_leaks_no_slot() {
    for _ in 0..50 {
        let (limit, shutdown) = (by_turns(ROOM, ROOM).build().unwrap(), Shutdown::new());
        let layer = SseLayer::off().shutdown(shutdown.clone()).limit(limit.clone());
        let service = layer.layer(Handler);
        let begin = Barrier::new(3);
        thread::scope(|scope| {
            for _ in 0..2 {
                let mut service = service.clone();
                let begin = &begin;
                scope.spawn(move || {
                    begin.wait();
                    (0..100).for_each(|_| drop(open(&mut service)));
                });
            }
            begin.wait();
            shutdown.trigger();
        });
        assert_eq!((limit.open(), limit.keys()), (0, 0));
    }
}

/// Of all who want it, one gets it, and nobody misses one that is free.
#[test]
fn clients_that_race_for_the_last_slot_get_one() {
    const ROUNDS: usize = 2_000;
    for limit in [Limit::new(1), Limit::builder().per_key(1, |_| "the key").build().unwrap()] {
        let service = LimitLayer::new(limit.clone()).layer(Handler);
        let (begin, opened, end) = (Barrier::new(2), AtomicUsize::new(0), Barrier::new(2));
        let won = thread::scope(|scope| {
            let racers = [0, 1].map(|_| {
                let mut service = service.clone();
                let (begin, opened, end) = (&begin, &opened, &end);
                scope.spawn(move || {
                    let mut won = 0;
                    for round in 1..=ROUNDS {
                        begin.wait();
                        let (feed, client) = open(&mut service);
                        let got = usize::from(!feed.is_gone());
                        opened.fetch_add(got, Ordering::SeqCst);
                        won += got;
                        end.wait();
                        assert_eq!(opened.load(Ordering::SeqCst), round);
                        end.wait();
                        drop(client);
                    }
                    won
                })
            });
            racers.map(|racer| racer.join().unwrap())
        });
        assert_eq!(won[0] + won[1], ROUNDS);
        assert_eq!((limit.open(), limit.keys(), limit.refused()), (0, 0, ROUNDS as u64));
    }
}

/// A million at a time are in the tests of the map itself.
#[test]
fn a_hundred_thousand_users_leave_no_key() {
    const CLIENTS: u64 = 100_000;
    /// As many as are open at a time.
    const AT_A_TIME: usize = 10_000;
    let n = AtomicU64::new(0);
    let key = move |_: &_| format!("user {}", n.fetch_add(1, Ordering::Relaxed));
    let limit = Limit::builder().per_key(1, key).build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Silent);
    let mut open = Vec::with_capacity(AT_A_TIME);
    for client in 0..CLIENTS {
        if open.len() == AT_A_TIME {
            assert_eq!((limit.open(), limit.keys()), (AT_A_TIME, AT_A_TIME), "{client}");
            open.clear();
        }
        let request = Request::get("/").body(()).unwrap();
        open.push(call(&mut service, request));
    }
    drop(open);
    assert_eq!((limit.open(), limit.keys(), limit.refused()), (0, 0, 0));
}

/// Streams that say nothing, as cheap as can be.
#[derive(Clone, Copy)]
struct Silent;

impl Service<Request<()>> for Silent {
    type Response = Response<Script>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Script>, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let response = Response::builder().header("content-type", "text/event-stream");
        ready(Ok(response.body(Script::new([Step::Hang])).unwrap()))
    }
}

/// Without a word for each of thousands of panics that are wanted.
fn quietly(test: impl FnOnce()) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload().downcast_ref::<&str>().copied().unwrap_or_default();
        if !payload.ends_with("as the test wants") {
            usual(info);
        }
    }));
    test();
}
