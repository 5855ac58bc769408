//! A farewell is the last that a client hears, behind a whole event, and moves nobody.

use std::time::Duration;

use tower::Layer;
use tower_sse::{Event, EventId, EventName, Farewell, Shutdown, ShutdownLayer};

use crate::harness::SECOND;
use crate::harness::rig::{Fate, Handler, at_once, open, open_with};

const CLOSE: &str = "event: close\nretry: 1000\ndata: {\"reason\":\"shutdown\"}\n\n";

#[tokio::test(start_paused = true)]
async fn each_farewell_is_what_it_says() {
    let alert = Event::new().event(EventName::from_static("alert")).data("bye");
    #[rustfmt::skip]
    let table = [
        (Farewell::default(), "event: close\nretry: 1000\ndata: {\"reason\":\"shutdown\"}\nid: 7\n\n"),
        (Farewell::close(), "event: close\nretry: 1000\ndata: {\"reason\":\"shutdown\"}\nid: 7\n\n"),
        (Farewell::reconnect(), "event: reconnect\nretry: 1000\ndata: {\"reason\":\"shutdown\"}\nid: 7\n\n"),
        (Farewell::event(alert.clone()), "event: alert\nretry: 1000\ndata: bye\nid: 7\n\n"),
        (Farewell::event(alert.clone().retry(9 * SECOND)), "event: alert\nretry: 9000\ndata: bye\nid: 7\n\n"),
        (Farewell::event(alert.id(EventId::from_static("8"))), "event: alert\nid: 8\nretry: 1000\ndata: bye\n\n"),
        (Farewell::event(Event::new().comment("bye")), ": bye\n"),
        (Farewell::bytes("data: [DONE]\n\n"), "data: [DONE]\n\n"),
        (Farewell::bytes(""), ""),
        (Farewell::none(), ""),
    ];
    for (farewell, expected) in table {
        for crlf in [false, true] {
            // Of the shutdown, or nearer: of the layer.
            for near in [false, true] {
                let builder = Shutdown::builder().window(Duration::ZERO).retry(SECOND..=SECOND);
                let builder = if near { builder } else { builder.farewell(farewell.clone()) };
                let shutdown = builder.build().unwrap();
                let layer = ShutdownLayer::new(shutdown.clone());
                let layer = if near { layer.farewell(farewell.clone()) } else { layer };
                let (feed, mut client) = open(&mut layer.layer(Handler));
                let own = "id: 7\ndata: a\n\n";
                feed.data(if crlf { own.replace('\n', "\r\n") } else { own.into() });
                client.now().await;
                shutdown.trigger();
                let raw = expected.contains("[DONE]");
                let expected = match crlf && !raw {
                    true => expected.replace('\n', "\r\n"),
                    false => expected.to_owned(),
                };
                assert_eq!(client.now().await, (expected, Fate::Ended), "{farewell:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_ids_a_farewell_gives_back_the_clients_own() {
    let shutdown = at_once();
    let request = http::Request::get("/").header("last-event-id", "41").body(()).unwrap();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let (feed, mut client) = open_with(&mut service, request);
    feed.data("data: a\n\n");
    client.now().await;
    shutdown.trigger();
    assert_eq!(client.now().await.0, CLOSE.replace("\n\n", "\nid: 41\n\n"));
}

#[tokio::test(start_paused = true)]
async fn half_an_event_is_never_made_whole() {
    #[rustfmt::skip]
    let table = ["data: half", "data: half\n", "data: half\r", "data: half\r\n", "id: 9\ndata: x\n",
        "event: boom\n", "data: \u{20ac}", ": comment", "data"];
    for tail in table {
        let shutdown = at_once();
        let (feed, mut client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
        feed.data("id: 1\ndata: a\n\n");
        feed.data(tail);
        assert_eq!(client.now().await.0, "id: 1\ndata: a\n\n");
        shutdown.trigger();
        let expected = CLOSE.replace("\n\n", "\nid: 1\n\n");
        let line_end_of_tail = if tail.contains('\r') { "\r" } else { "\n" };
        let (seen, fate) = client.now().await;
        assert_eq!(fate, Fate::Ended, "{tail:?}");
        assert_eq!(
            seen.replace("\r\n", "\n").replace('\r', "\n"),
            expected,
            "{line_end_of_tail:?}"
        );
    }
}

/// A failure that the property of the engine found once.
#[tokio::test(start_paused = true)]
async fn a_comment_after_empty_fields_does_not_make_their_event_whole() {
    let shutdown = at_once();
    let (feed, mut client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    feed.data("data:\nevent:\n:\n");
    assert_eq!(client.now().await, (String::new(), Fate::Open));
    shutdown.trigger();
    assert_eq!(client.now().await, (CLOSE.to_owned(), Fate::Ended));
}
