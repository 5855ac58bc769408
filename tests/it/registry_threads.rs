//! The list is right whatever many threads do at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::advance;
use tower::Layer;
use tower_sse::{Event, Farewell, Registry, RegistryLayer, StreamState};

use crate::harness::LONG;
use crate::harness::rig::{Client, Fate, Handler, open};

#[test]
fn ten_thousand_streams_from_eight_threads_leave_an_empty_list() {
    let left = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&left);
    let registry = Registry::builder().on_close(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let registry = registry.build().unwrap();
    let service = RegistryLayer::new(registry.clone()).layer(Handler);
    thread::scope(|scope| {
        for _ in 0..8 {
            let mut service = service.clone();
            scope.spawn(move || {
                let mut open_ones = Vec::new();
                for n in 0..1_250 {
                    open_ones.push(open(&mut service));
                    if n % 3 == 0 {
                        drop(open_ones.swap_remove(n % open_ones.len()));
                    }
                }
            });
        }
    });
    assert_eq!((registry.len(), registry.snapshot().len()), (0, 0));
    assert_eq!(left.load(Ordering::Relaxed), 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_event_is_written_once_while_streams_come_and_go() {
    let registry = Registry::builder().mailbox(10_000).build().unwrap();
    let service = RegistryLayer::new(registry.clone()).layer(Handler);
    let over = Arc::new(AtomicBool::new(false));

    let stay: Vec<_> = (0..50).map(|_| open(&mut service.clone())).collect();
    let (feeds, stay): (Vec<_>, Vec<_>) = stay.into_iter().unzip();
    let readers: Vec<_> = stay.into_iter().map(|it| tokio::spawn(it.rest())).collect();
    let churn: Vec<_> = (0..4)
        .map(|_| {
            let (mut service, over) = (service.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let (feed, mut client) = open(&mut service);
                    feed.data("data: own\n\n");
                    assert_eq!(client.now().await.1, Fate::Open);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let look = {
        let (registry, over) = (registry.clone(), Arc::clone(&over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for stream in registry.snapshot() {
                    assert_eq!(&*stream.path, "/events");
                    drop(registry.get(stream.id));
                }
            }
        })
    };
    let send = {
        let registry = registry.clone();
        thread::spawn(move || {
            for n in 0..500 {
                let delivery = registry.broadcast(Event::new().data(n.to_string()));
                assert!(delivery.sent >= 50);
                assert_eq!(delivery.dropped, 0);
            }
        })
    };
    tokio::task::spawn_blocking(|| send.join().unwrap()).await.unwrap();
    over.store(true, Ordering::Relaxed);
    for task in churn {
        task.await.unwrap();
    }
    look.join().unwrap();
    assert_eq!(registry.len(), 50);
    assert_eq!(registry.close_where(|_| true, Farewell::none()), 50);
    let expected = (0..500).map(|n| format!("data: {n}\n\n")).collect::<Vec<_>>().concat();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), expected);
    }
    drop(feeds);
    assert!(registry.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kick_that_races_with_the_end_does_no_harm() {
    let registry = Registry::new();
    let service = RegistryLayer::new(registry.clone()).layer(Handler);
    for _ in 0..2_000 {
        let (feed, client) = open(&mut service.clone());
        let read = tokio::spawn(client.rest());
        let kick = tokio::spawn({
            let registry = registry.clone();
            async move { registry.close_where(|_| true, Farewell::close()) }
        });
        drop(feed);
        let seen = read.await.unwrap();
        assert!(seen.is_empty() || seen.matches("event: close").count() == 1, "{seen}");
        kick.await.unwrap();
        assert!(registry.is_empty());
    }
}

/// What is given to a stream behind a silence has not waited for its client since the silence
/// began.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_read_at_once_is_never_shown_as_stalled() {
    let registry = Registry::new();
    let (feed, mut client) = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
    let over = Arc::new(AtomicBool::new(false));
    let look = {
        let (over, runtime) = (Arc::clone(&over), Handle::current());
        thread::spawn(move || {
            // With its clock.
            let _entered = runtime.enter();
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                for stream in registry.snapshot() {
                    if stream.state == StreamState::Stalled {
                        return Err(looks);
                    }
                }
                looks += 1;
            }
            Ok(looks)
        })
    };
    for _ in 0..20_000 {
        assert_eq!(client.now().await.1, Fate::Open);
        advance(Duration::from_secs(100)).await;
        feed.data("data: a\n\n");
        client.next().await.unwrap().unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let looks = look.join().unwrap();
    assert!(looks.is_ok_and(|looks| looks > 0), "{looks:?}");
}

/// A waker that is the last to know of a stream, as those of hand-made executors are.
struct Keeper(#[expect(dead_code, reason = "its drop is what counts")] Mutex<Client>);

impl Wake for Keeper {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_waker_may_own_another_stream() {
    let (done, is_done) = mpsc::channel();
    // On a thread of its own, since it might never return.
    thread::spawn(move || {
        let registry = Registry::new();
        let mut service = RegistryLayer::new(registry.clone()).layer(Handler);
        let (_feed, mut client) = open(&mut service);
        let id = registry.snapshot()[0].id;
        // More than the list has parts with a lock of their own.
        let others: Vec<_> = (0..128).map(|_| open(&mut service)).collect();
        for (_feed, other) in others {
            let keeper = Waker::from(Arc::new(Keeper(Mutex::new(other))));
            let _ = client.body().poll_frame(&mut Context::from_waker(&keeper));
            drop(keeper);
            // News for others: then the stream looks for its own, and is known by a new waker.
            registry.broadcast_where(|stream| stream.id != id, Event::new().data("x"));
            let _ = client.body().poll_frame(&mut Context::from_waker(Waker::noop()));
        }
        done.send(registry.len()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(LONG), Ok(1));
}

/// Bytes whose owner looks at the list when they are dropped.
struct Looker(Registry);

impl AsRef<[u8]> for Looker {
    fn as_ref(&self) -> &[u8] {
        b": bye\n"
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        let _ = self.0.snapshot();
    }
}

#[test]
fn a_second_farewell_may_look_at_the_list_when_it_is_dropped() {
    let (done, is_done) = mpsc::channel();
    // On a thread of its own, since it might never return.
    thread::spawn(move || {
        let registry = Registry::new();
        let (_feed, client) = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
        let id = registry.snapshot()[0].id;
        let closed = [(); 2].map(|()| {
            let farewell = Bytes::from_owner(Looker(registry.clone()));
            registry.close(id, Farewell::bytes(farewell))
        });
        drop(client);
        done.send((closed, registry.len())).unwrap();
    });
    assert_eq!(is_done.recv_timeout(LONG), Ok(([true; 2], 0)));
}
