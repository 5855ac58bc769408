//! Who takes up room gives it back: places of a limit, streams without a client, and clients that
//! take nothing.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use tower::Layer;
use tower_sse::event_log::MemoryLog;
use tower_sse::{Limit, LimitLayer, Shutdown, SseLayer};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Hang, Wait};
use crate::harness::bodies::{Broken, read};
use crate::harness::layers::boxed;
use crate::harness::resume::{Handled, ask, events, handler, layer, request, request_of, seen};

fn one_and_silence() -> Vec<Step> {
    vec![Data("data: 1\n\n"), Hang]
}

fn limit(replaces: bool) -> Limit {
    let user =
        |request: &http::request::Parts| request.headers["x-user"].to_str().unwrap().to_owned();
    let limit = Limit::builder().per_key(1, user);
    let limit = if replaces { limit.replace_oldest() } else { limit };
    limit.build().unwrap()
}

/// The next event of a body.
async fn event<B: Body<Data = Bytes, Error = Broken> + Unpin>(body: &mut B) -> String {
    let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
    String::from_utf8(data.to_vec()).unwrap()
}

/// How many events come within a time.
async fn within<B>(body: &mut B, time: Duration) -> usize
where
    B: Body<Data = Bytes, Error = Broken> + Unpin,
{
    let (until, mut count) = (Instant::now() + time, 0);
    while timeout_at(until, event(body)).await.is_ok() {
        count += 1;
    }
    count
}

#[tokio::test(start_paused = true)]
async fn a_place_of_a_limit_is_held_by_what_runs_and_given_back_when_that_ends() {
    let (limit, handled) = (limit(false), Handled::default());
    let resumable = layer().linger(20 * SECOND).layer(handler(&handled, one_and_silence));
    let service = boxed(LimitLayer::new(limit.clone()).layer(resumable));
    let metrics = tokio::runtime::Handle::current().metrics();
    let first = seen(&service, request(None), SECOND).await;
    assert_eq!((first.status, limit.open()), (200, 1));
    for _ in 0..200 {
        assert_eq!(seen(&service, request(None), SECOND / 100).await.status, 429);
        assert!(metrics.num_alive_tasks() <= 1, "{} bodies run", metrics.num_alive_tasks());
    }
    // The client that comes back takes no second place, however often, and others have theirs.
    for _ in 0..3 {
        let again = ask(&service, request(Some(&first.id(0)))).await;
        assert_eq!((again.status().as_u16(), limit.open()), (200, 1));
        let beside = seen(&service, request(Some(&first.id(0))), SECOND).await;
        assert_eq!(beside.status, 429, "two clients at a time are two");
        drop(again);
        assert_eq!(limit.open(), 1);
    }
    let other = seen(&service, request_of("bob", None), SECOND).await;
    assert_eq!((other.status, limit.open()), (200, 2));
    tokio::time::sleep(21 * SECOND).await;
    assert_eq!((limit.open(), metrics.num_alive_tasks()), (0, 0));
    assert_eq!(seen(&service, request(None), SECOND).await.status, 200);
}

/// A made-up id may name a stream of the client's own that runs.
#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_to_nothing_is_counted_though_a_stream_of_its_own_waits() {
    let (limit, handled) = (limit(false), Handled::default());
    let resume = layer().linger(20 * SECOND).streams(1);
    let resumable = resume.layer(handler(&handled, one_and_silence));
    let service = boxed(LimitLayer::new(limit.clone()).layer(resumable));
    let first = seen(&service, request(None), SECOND).await;
    let made_up = format!("{}99", first.id(0));
    for _ in 0..3 {
        let answer = ask(&service, request(Some(&made_up))).await;
        assert_eq!((answer.status().as_u16(), limit.open()), (429, 1));
    }
    // The stream is there for a client with the id of an event.
    assert_eq!(ask(&service, request(Some(&first.id(0)))).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_place_a_newer_one_took_does_not_go_on() {
    let (limit, handled) = (limit(true), Handled::default());
    let steps = || (0..1_000).flat_map(|_| [Data("data: 1\n\n"), Wait(SECOND / 10)]).collect();
    let resumable = layer().buffer(10_000).linger(1_000 * SECOND).layer(handler(&handled, steps));
    let service = boxed(LimitLayer::new(limit.clone()).layer(resumable));
    let metrics = tokio::runtime::Handle::current().metrics();
    for _ in 0..50 {
        assert_eq!(seen(&service, request(None), SECOND).await.status, 200);
        assert!(metrics.num_alive_tasks() <= 2, "{} bodies run", metrics.num_alive_tasks());
        assert_eq!(limit.open(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_given_back_with_the_end_of_a_stream_also_while_its_client_reads() {
    let (limit, handled) = (limit(false), Handled::default());
    let resumable = layer().layer(handler(&handled, || vec![Data("data: 1\n\n"), Wait(SECOND)]));
    let service = boxed(LimitLayer::new(limit.clone()).layer(resumable));
    let body = ask(&service, request(None)).await.into_body();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(limit.open(), 1, "the client is there");
    drop(body);
    assert_eq!(limit.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_abandons_streams_takes_the_room_of_nobody() {
    let handled = Handled::default();
    let resume = layer().streams(100).streams_of_principal(60).linger(1_000 * SECOND);
    let service = boxed(resume.layer(handler(&handled, one_and_silence)));
    let other = seen(&service, request_of("bob", None), SECOND).await;
    for n in 0..150 {
        let path = Request::post(format!("/{n}")).header("x-user", "eve").body(()).unwrap();
        assert_eq!(seen(&service, path, SECOND / 100).await.data(), ["1"]);
    }
    let calls = handled.calls();
    let again = seen(&service, request_of("bob", Some(&other.id(0))), SECOND).await;
    assert_eq!((again.text.as_str(), handled.calls()), ("", calls), "it is there still");
    // Of all, those go first that have had no client for the longest time.
    for n in 0..200 {
        let user = format!("user-{n}");
        seen(&service, request_of(&user, None), SECOND / 100).await;
    }
    let last = seen(&service, request_of("ann", None), SECOND).await;
    let calls = handled.calls();
    seen(&service, request_of("ann", Some(&last.id(0))), SECOND).await;
    assert_eq!(handled.calls(), calls);
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_keeps_no_stream_passes_each_as_it_is() {
    for layer in [layer().streams(0), layer().streams_of_principal(0)] {
        let service = layer.layer(handler(&Handled::default(), one_and_silence));
        let plain = seen(&service, request_of("ann", None), SECOND).await;
        assert_eq!((plain.text.as_str(), service.streams()), ("data: 1\n\n", 0));
    }
}

/// Its client is back on another connection, and the system notices after minutes only.
#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_nothing_holds_up_nobody_after_the_linger() {
    let handled = Handled::default();
    let steps = || (0..1_000).flat_map(|_| [Data("data: x\n\n"), Wait(SECOND / 10)]).collect();
    let resume = layer().buffer(10).linger(20 * SECOND);
    let service = boxed(resume.layer(handler(&handled, steps)));
    let mut half_open = ask(&service, request(None)).await.into_body();
    let id = events(&event(&mut half_open).await)[0].1.clone();
    let mut back = ask(&service, request(Some(&id))).await.into_body();
    let before = within(&mut back, 19 * SECOND).await;
    assert!((9..=11).contains(&before), "{before}: it may be slow only");
    let after = within(&mut back, 10 * SECOND).await;
    assert!(after > 80, "{after}");
    // If it reads after all, it is told that it lost events.
    let mut told = false;
    for _ in 0..20 {
        told |= event(&mut half_open).await.starts_with("event: gap\n");
    }
    assert!(told);
}

#[tokio::test(start_paused = true)]
async fn two_clients_in_a_row_that_are_told_of_a_gap_of_nothing_stop_nobody() {
    let handled = Handled::default();
    let steps = || {
        let mut steps = vec![Data("data: 1\n\ndata: 2\n\n"), Wait(SECOND), Data("data: 3\n\n")];
        steps.extend([Wait(90 * SECOND), Data("data: 4\n\n"), Data("data: 5\n\n")]);
        steps
    };
    let log = MemoryLog::builder().age(10 * SECOND).build().unwrap();
    let resume = layer().buffer(2).linger(99 * SECOND).log(log);
    let service = boxed(resume.layer(handler(&handled, steps)));
    let first = seen(&service, request(None), 5 * SECOND).await;
    tokio::time::sleep(30 * SECOND).await;
    let one = seen(&service, request(Some(&first.id(0))), SECOND).await;
    let other = seen(&service, request(Some(&first.id(1))), SECOND).await;
    assert!(one.text.starts_with("event: gap\n") && other.text.starts_with("event: gap\n"));
    let (one, other) = tokio::join!(
        seen(&service, request(Some(&one.last_id())), 300 * SECOND),
        seen(&service, request(Some(&other.last_id())), 300 * SECOND),
    );
    for rest in [one, other] {
        assert_eq!((rest.data(), rest.ended), (vec!["4".to_owned(), "5".to_owned()], true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_log_keeps_nothing_of_a_stream_that_is_not_remembered() {
    let log = MemoryLog::new();
    let handled = Handled::default();
    let resume = layer().remember(5 * SECOND).other_nodes(SECOND).log(log.clone());
    let service = boxed(resume.layer(handler(&handled, || vec![Data("data: 1\n\n")])));
    for _ in 0..10 {
        let whole = seen(&service, request(None), SECOND / 10).await;
        assert_eq!((whole.data(), whole.ended), (vec!["1".to_owned()], true));
    }
    assert!(log.topics() >= 20);
    tokio::time::sleep(6 * SECOND).await;
    assert!(log.topics() <= 2, "the lease of the node, and the directory");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(log.topics(), 0);
}

/// Nobody else can read it.
#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_a_stream_without_a_client_that_no_other_node_has() {
    let (shutdown, handled) = (Shutdown::new(), Handled::default());
    let around = SseLayer::new().shutdown(shutdown.clone());
    let resume = layer().linger(1_000 * SECOND);
    let service = boxed(around.layer(resume.layer(handler(&handled, one_and_silence))));
    seen(&service, request(None), SECOND).await;
    let began = Instant::now();
    shutdown.trigger();
    shutdown.drain().await;
    assert!(began.elapsed() < SECOND && handled.dropped(), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_what_runs_without_a_client_and_says_so_in_the_log() {
    let (shutdown, handled) = (Shutdown::new(), Handled::default());
    // A log that other nodes read.
    let log = MemoryLog::new();
    let resume = || layer().linger(1_000 * SECOND).other_nodes(SECOND).log(log.clone());
    let around = SseLayer::new().shutdown(shutdown.clone());
    let service = boxed(around.layer(resume().layer(handler(&handled, one_and_silence))));
    let abandoned = seen(&service, request(None), SECOND).await;
    let reading = ask(&service, request_of("bob", None)).await.into_body();
    let reading = tokio::spawn(async move { read(&mut { reading }, 100 * SECOND).await.text() });
    tokio::time::sleep(SECOND).await;
    let metrics = tokio::runtime::Handle::current().metrics();
    let began = Instant::now();
    shutdown.trigger();
    shutdown.drain().await;
    // The task that read is over as well: when the drain is, all is written.
    let read = reading.await.unwrap();
    // The task of the node has nothing more to say.
    tokio::time::sleep(SECOND / 1000).await;
    assert_eq!(metrics.num_alive_tasks(), 0);
    assert!(handled.dropped());
    // Until then it went on for clients of other nodes, which have a moment less than the deadline.
    let took = began.elapsed();
    assert!((8 * SECOND..10 * SECOND).contains(&took), "{took:?}");
    let elsewhere = boxed(resume().layer(handler(&Handled::default(), one_and_silence)));
    for (user, id) in [("ann", abandoned.id(0)), ("bob", events(&read)[0].1.clone())] {
        // It does not wait for ever, and is not taken for finished.
        let rest = seen(&elsewhere, request_of(user, Some(&id)), 10 * SECOND).await;
        assert_eq!((rest.status, rest.data()), (200, vec!["1".to_owned()]), "{user} begins anew");
    }
}
