//! Mail and the end of a stream: what was sent before goes before the farewell, and no mail puts
//! the end off.

mod support;

use std::time::Duration;

use support::rig::{Client, Handler, get, open, open_with};
use tokio::time::{Instant, advance};
use tower::Layer;
use tower_sse::wire::Event;
use tower_sse::{
    Expiry, KeepAliveLayer, Registry, RotationLayer, Shutdown, ShutdownLayer, SseLayer,
};

const SECOND: Duration = Duration::from_secs(1);

fn event(data: &str) -> Event {
    Event::new().data(data)
}

fn listed(registry: &Registry) -> SseLayer {
    SseLayer::new().keep_alive(KeepAliveLayer::off()).registry(registry.clone()).hold_limit(8)
}

/// A client that takes a frame each 100 milliseconds, of a stream that is sent much more.
async fn assert_ends_within(limit: Duration, registry: &Registry, mut client: Client) {
    let began = Instant::now();
    let mut last = String::new();
    loop {
        while registry.broadcast(event("x")).sent > 0 {}
        match client.next().await {
            Some(frame) => last = String::from_utf8(frame.unwrap().into()).unwrap(),
            None => break,
        }
        assert!(began.elapsed() < limit, "it goes on, with {last:?}");
        advance(SECOND / 10).await;
    }
    assert!(last.starts_with("event: close\n"), "{last:?}");
}

/// What was sent and not taken by then is still written, at the client's pace.
const MAILBOX: Duration = Duration::from_millis(64 * 100);

#[tokio::test(start_paused = true)]
async fn no_mail_puts_off_the_end_by_a_drain() {
    for finishes in [false, true] {
        let registry = Registry::new();
        let shutdown = Shutdown::builder().window(20 * SECOND).deadline(60 * SECOND);
        let shutdown = shutdown.build().unwrap();
        let layer = ShutdownLayer::new(shutdown.clone());
        let layer = if finishes { layer.finish_within(20 * SECOND) } else { layer };
        let layer = listed(&registry).shutdown(layer);
        let (_feed, mut client) = open(&mut layer.layer(Handler));
        client.now().await;
        shutdown.trigger();
        assert_ends_within(20 * SECOND + 2 * MAILBOX, &registry, client).await;
        assert_eq!(shutdown.drain().await.closed, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_mail_puts_off_the_end_for_age() {
    let registry = Registry::new();
    let aged = RotationLayer::new().max_age(20 * SECOND);
    let (_feed, client) = open(&mut listed(&registry).rotation(aged).layer(Handler));
    assert_ends_within(20 * SECOND + 2 * MAILBOX, &registry, client).await;

    let mut request = get();
    request.extensions_mut().insert(Expiry::after(20 * SECOND));
    let (_feed, client) = open_with(&mut listed(&registry).layer(Handler), request);
    assert_ends_within(20 * SECOND + 2 * MAILBOX, &registry, client).await;
}
