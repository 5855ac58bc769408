//! During the notice the server says that it drains, and serves streams as before.

use std::time::Duration;

use futures_util::FutureExt;
use http::{Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_sse::{Shutdown, ShutdownLayer};

use crate::harness::SECOND;
use crate::harness::rig::{Client, Fate, Handler, call, get, open};

/// Five seconds of notice, all streams at once then, and three until the deadline.
fn shutdown() -> Shutdown {
    let shutdown = Shutdown::builder().notice(5 * SECOND).window(Duration::ZERO);
    shutdown.deadline(3 * SECOND).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn streams_are_served_during_the_notice_and_closed_after_it() {
    let shutdown = shutdown();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let (feed, mut early) = open(&mut service);
    early.now().await;
    shutdown.trigger();
    assert!(shutdown.is_draining());
    let (late_feed, mut late) = open(&mut service);
    sleep(3 * SECOND).await;
    for (feed, client) in [(&feed, &mut early), (&late_feed, &mut late)] {
        feed.data("data: a\n\n");
        assert_eq!(client.now().await, ("data: a\n\n".into(), Fate::Open));
    }
    let (_never_fed, last) = open(&mut service);
    let began = Instant::now();
    let reads = [early, late, last].map(|client| tokio::spawn(client.rest()));
    for read in reads {
        assert!(read.await.unwrap().starts_with("event: close\n"));
        assert_eq!(began.elapsed(), 2 * SECOND);
    }
    // And those who come behind it are asked to wait.
    let (seen, fate) = Client::of(call(&mut service, get())).now().await;
    assert!(seen.contains("event: draining\n") && fate == Fate::Ended, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn the_report_counts_streams_that_opened_during_the_notice() {
    let shutdown = shutdown();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let before = open(&mut service);
    let began = Instant::now();
    let drain = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shutdown.drain().await }
    });
    sleep(SECOND).await;
    let during: Vec<_> = (0..3).map(|_| open(&mut service)).collect();
    sleep(SECOND).await;
    // It has come and gone before anybody was closed.
    drop(open(&mut service));
    let (_feeds, clients): (Vec<_>, Vec<_>) = during.into_iter().unzip();
    let reads: Vec<_> = clients.into_iter().map(|it| tokio::spawn(it.rest())).collect();
    for read in reads {
        read.await.unwrap();
    }
    assert_eq!(began.elapsed(), 5 * SECOND);
    let report = drain.await.unwrap();
    assert_eq!((report.closed, report.finished, report.forced), (3, 1, 1), "{report:?}");
    assert_eq!((report.streams(), report.elapsed), (5, 8 * SECOND), "the deadline counts from it");
    drop(before);
}

#[tokio::test(start_paused = true)]
async fn servers_stop_to_accept_when_the_notice_is_over() {
    let began = Instant::now();
    let shutdown = shutdown();
    let told = tokio::spawn(shutdown.trigger_on(sleep(SECOND)));
    let waits = {
        let shutdown = shutdown.clone();
        tokio::spawn(async move { shutdown.triggered().await })
    };
    sleep(2 * SECOND).await;
    assert!(shutdown.is_draining() && shutdown.triggered().now_or_never().is_none());
    told.await.unwrap();
    assert_eq!(began.elapsed(), 6 * SECOND);
    waits.await.unwrap();
    assert_eq!(began.elapsed(), 6 * SECOND);
    assert!(shutdown.triggered().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_nothing_lasts_as_long_as_the_notice() {
    let shutdown = shutdown();
    let report = shutdown.drain().await;
    assert_eq!((report.streams(), report.elapsed), (0, 5 * SECOND));
    assert_eq!(shutdown.drain().now_or_never(), Some(report));
}

#[tokio::test(start_paused = true)]
async fn a_drain_whose_streams_leave_during_the_notice_is_over_with_it() {
    let shutdown = shutdown();
    let stream = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    shutdown.trigger();
    sleep(SECOND).await;
    drop(stream);
    let report = shutdown.drain().await;
    assert_eq!((report.finished, report.elapsed), (1, 5 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn readiness_turns_at_the_trigger_and_stays_so() {
    let shutdown = shutdown();
    let readiness = shutdown.readiness();
    let ask = async |method: Method| {
        let request = Request::builder().method(method).uri("/ready").body(()).unwrap();
        let Ok(response) = readiness.clone().oneshot(request).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        let (status, body) = (response.status(), response.into_body());
        let exact = body.size_hint().exact().unwrap();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(exact, body.len() as u64);
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(ask(Method::GET).await, (StatusCode::OK, "ready".into()));
    assert_eq!(ask(Method::HEAD).await, (StatusCode::OK, String::new()));
    shutdown.trigger();
    for _ in 0..3 {
        let draining = (StatusCode::SERVICE_UNAVAILABLE, "draining".into());
        assert_eq!(ask(Method::GET).await, draining);
        assert_eq!(ask(Method::HEAD).await.0, StatusCode::SERVICE_UNAVAILABLE);
        sleep(4 * SECOND).await;
    }
}
