//! The request decides for how long its stream may go on after the trigger.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, service_fn};
use tower_sse::{Registry, Shutdown, ShutdownLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::rig::{Fate, Handler, at_once, open, open_with};

/// What a client of MCP asks at one path: a stream that can be resumed, and one of a call.
fn mcp(method: &Method) -> Request<()> {
    let request = Request::builder().method(method).uri("/mcp");
    request.header("accept", "application/json, text/event-stream").body(()).unwrap()
}

fn posts_finish(shutdown: &Shutdown) -> ShutdownLayer {
    ShutdownLayer::new(shutdown.clone())
        .finish_within_for(|request| (request.method == Method::POST).then_some(8 * SECOND))
}

#[tokio::test(start_paused = true)]
async fn of_one_path_a_post_may_finish_and_a_get_goes_at_once() {
    let shutdown = at_once();
    let registry = Registry::new();
    let layer = posts_finish(&shutdown);
    let mut bare = layer.clone().layer(Handler);
    let mut all = SseLayer::new().shutdown(layer).registry(registry).layer(Handler);
    let [get, post] = [Method::GET, Method::POST].map(|method| mcp(&method));
    let (_get_feed, get_stream) = open_with(&mut bare, get.clone());
    let (post_feed, mut call) = open_with(&mut bare, post.clone());
    let (_listed_feed, listed) = open_with(&mut all, get);
    let (_endless_feed, endless) = open_with(&mut all, post);
    shutdown.trigger();
    let began = Instant::now();
    assert!(get_stream.rest().await.starts_with("event: close\n"));
    assert!(listed.rest().await.contains("event: close\n"));
    assert_eq!(began.elapsed(), Duration::ZERO);
    sleep(5 * SECOND).await;
    post_feed.data("data: {\"result\":{}}\n\n");
    drop(post_feed);
    assert_eq!(call.now().await, ("data: {\"result\":{}}\n\n".into(), Fate::Ended));
    assert!(endless.rest().await.contains("event: close\n"));
    assert_eq!(began.elapsed(), 8 * SECOND);
    let report = shutdown.drain().await;
    assert_eq!((report.closed, report.finished), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_set_for_all_holds_where_a_request_decides_nothing() {
    for panics in [false, true] {
        let shutdown = at_once();
        let layer = ShutdownLayer::new(shutdown.clone()).finish_within(3 * SECOND);
        let layer = layer.finish_within_for(move |_| {
            assert!(!panics, "the function panics, as the test wants");
            None
        });
        let (_feed, client) = open(&mut layer.layer(Handler));
        shutdown.trigger();
        let began = Instant::now();
        assert!(client.rest().await.starts_with("event: close\n"));
        assert_eq!(began.elapsed(), 3 * SECOND);
    }
}

/// A whole setting wins, and not the half of one.
#[tokio::test(start_paused = true)]
async fn the_request_decides_by_the_layer_nearest_to_the_handler() {
    let shutdown = at_once();
    let (far, near) = (posts_finish(&shutdown), ShutdownLayer::new(shutdown.clone()));
    let post = || mcp(&Method::POST);
    let (_first, first) = open_with(&mut far.layer(near.layer(Handler)), post());
    let (_second, later) = open_with(&mut near.layer(far.layer(Handler)), post());
    // Two shutdowns hold both, each with its own answer.
    let tenant = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let patient = ShutdownLayer::new(tenant.clone()).finish_within_for(|_| Some(6 * SECOND));
    let (_third, of_both) = open_with(&mut patient.layer(near.layer(Handler)), post());
    let (_fourth, of_tenant) = open_with(&mut near.layer(patient.layer(Handler)), post());
    shutdown.trigger();
    let began = Instant::now();
    first.rest().await;
    of_both.rest().await;
    of_tenant.rest().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    later.rest().await;
    assert_eq!(began.elapsed(), 8 * SECOND);

    let (shutdown, mut ends) = (at_once(), Vec::new());
    let near = ShutdownLayer::new(shutdown.clone());
    for (far, near) in [(&patient, &near), (&near, &patient)] {
        ends.push(open_with(&mut far.layer(near.layer(Handler)), post()));
    }
    tenant.trigger();
    let began = Instant::now();
    for (_feed, client) in ends {
        client.rest().await;
    }
    assert_eq!(began.elapsed(), 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_taken_back_ends_as_its_own_request_decides() {
    let shutdown = at_once();
    let layer = posts_finish(&shutdown);
    let inner = ShutdownLayer::new(shutdown.clone()).finish_within_for(|_| Some(2 * SECOND));
    // It answers with another stream than that of the service it asks.
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let handler = service_fn(move |request: Request<()>| {
        let (mut asked, keep) = (inner.layer(Handler), Arc::clone(&keep));
        async move {
            let answer = asked.call(request).await;
            keep.lock().unwrap().push(answer);
            Handler.call(Request::new(())).await
        }
    });
    let (_feed, client) = open_with(&mut layer.layer(handler), mcp(&Method::POST));
    shutdown.trigger();
    let began = Instant::now();
    client.rest().await;
    assert_eq!(began.elapsed(), 8 * SECOND);
}
