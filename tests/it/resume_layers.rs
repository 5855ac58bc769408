//! With the other layers around it, in any order, and with some of them inside.

use std::time::{Duration, SystemTime};

use tower::{Layer, ServiceExt};
use tower_sse::{Expiry, KeepAliveLayer, Limit, LimitLayer, RotationLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Wait};
use crate::harness::bodies::read;
use crate::harness::layers::{AnyLayer, Boxed, Rig, boxed};
use crate::harness::resume;
use crate::harness::resume::{Handled, ask, handler, layer, request, seen};

fn steps() -> Vec<Step> {
    vec![
        Data(": of the handler\n\ndata: 1\n\nda"),
        Wait(25 * SECOND),
        Data("ta: 2\n\n"),
        Wait(25 * SECOND),
        Data("data: 3\n\n"),
    ]
}

#[tokio::test(start_paused = true)]
async fn clients_get_the_same_in_every_order_of_the_layers_around() {
    for order in orders() {
        let (rig, handled) = (Rig::new(), Handled::default());
        let layers = rig.layers();
        let resumable = boxed(layer().close_event(20 * SECOND).layer(handler(&handled, steps)));
        let service = order
            .iter()
            .rev()
            .fold(resumable, |inner, &n| -> Boxed { boxed(layers[n].layer(inner)) });

        let first = seen(&service, request(None), 2 * SECOND).await;
        let id = first.id(0);
        assert_eq!(first.text, format!(":\ndata: 1\nid: {id}\n\n"), "{order:?}");
        assert!(first.headers.contains(&"x-accel-buffering: \"no\"".to_owned()));
        assert!(rig.registry.is_empty(), "the client is gone");

        let rest = ask(&service, request(Some(&id))).await;
        assert_eq!(rig.registry.len(), 1);
        let rest = read(&mut rest.into_body(), 100 * SECOND).await;
        let text = rest.text();
        let at: Vec<u128> = rest.chunks.iter().map(|(at, _)| *at / 1000).collect();
        assert_eq!(at, [0, 10, 20, 23, 30, 33, 40, 48, 48], "{order:?} {text}");
        assert_eq!(resume::events(&text.replace("event: beat\ndata: {}\n\n", "")).len(), 3);
        assert!(rest.ended && rig.registry.is_empty());
        let last = resume::events(&text).pop().unwrap().1;
        assert_eq!(seen(&service, request(Some(&last)), SECOND).await.status, 204);
        assert_eq!(handled.calls(), 1, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_reader_where_it_was_and_the_stream_lives_on() {
    let (rig, handled) = (Rig::new(), Handled::default());
    let resumable = layer().layer(handler(&handled, steps));
    let service = rig.all_in_one().layer(resumable.clone());
    let body = ask(&service, request(None)).await.into_body();
    let shutdown = rig.shutdown.clone();
    tokio::spawn(async move {
        tokio::time::sleep(5 * SECOND).await;
        shutdown.trigger();
    });
    let text = read(&mut { body }, 100 * SECOND).await.text();
    let events = resume::events(&text);
    assert_eq!(events[1], ("{\"reason\":\"shutdown\"}".to_owned(), events[0].1.clone()));
    // As another process would, if the log were not this one's.
    let rest = seen(&resumable, request(Some(&events[0].1)), 100 * SECOND).await;
    assert_eq!((rest.data(), handled.calls()), (vec!["2".to_owned(), "3".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn layers_further_in_look_after_the_handlers_stream() {
    let handled = Handled::default();
    let inner = SseLayer::new()
        .keep_alive(KeepAliveLayer::every(SECOND))
        .rotation(RotationLayer::new().max_age(40 * SECOND));
    let outer = KeepAliveLayer::every(10 * SECOND).jitter(0.0);
    let service = outer.layer(layer().layer(inner.layer(handler(&handled, steps))));
    let all = seen(&service, request(None), 100 * SECOND).await;
    assert_eq!(all.data(), ["1", "2", "{\"reason\":\"rotated\"}"]);
    // The outer's keepalives, and not one a second.
    assert!((3..=5).contains(&all.text.matches(":\n").count()), "{}", all.text);
}

/// It is not the handler's stream: a client that comes back is served, and not told that it is
/// over.
#[tokio::test(start_paused = true)]
async fn a_refusal_inside_is_passed_on_as_it_is() {
    for wants_events in [true, false] {
        let handled = Handled::default();
        let limit = Limit::new(1);
        let limited = LimitLayer::new(limit.clone()).layer(handler(&handled, steps));
        let elsewhere = ask(&boxed(limited.clone()), request(None)).await;
        let service = boxed(SseLayer::new().layer(layer().close_event(SECOND).layer(limited)));
        let asked = |id| {
            let mut asked = request(id);
            if wants_events {
                *asked.method_mut() = http::Method::GET;
                asked.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
            }
            asked
        };
        let refused = seen(&service, asked(None), SECOND).await;
        assert_eq!(refused.status, if wants_events { 200 } else { 429 });
        assert_eq!(refused.text.contains("event: limit\n"), wants_events, "{}", refused.text);
        assert!(!refused.text.contains("id:") && !refused.text.contains("finished"));
        drop(elsewhere);
        let served = seen(&service, asked(None), SECOND).await;
        assert_eq!((served.status, served.data()), (200, vec!["1".to_owned()]));
        assert_eq!(handled.calls(), 3);
    }
}

/// The bytes are others: they have the layer's ids, and no comments.
#[tokio::test(start_paused = true)]
async fn what_a_head_says_of_the_exact_bytes_is_not_passed_on() {
    let handled = Handled::default();
    let digested = handler(&handled, steps).map_response(|mut response: http::Response<_>| {
        for (name, value) in [
            ("accept-ranges", "bytes"),
            ("content-digest", "sha-256=:x:"),
            ("content-length", "7"),
            ("etag", "\"strong\""),
        ] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    });
    let service = layer().layer(digested);
    let first = seen(&service, request(None), SECOND).await;
    let again = seen(&service, request(Some(&first.id(0))), SECOND).await;
    let headers = ["content-type: \"text/event-stream; charset=utf-8\"", "x-handler: \"its own\""];
    assert_eq!(
        (first.headers, again.headers),
        (headers.map(Into::into).into(), headers.map(Into::into).into())
    );
}

/// What ends with a credential ends with it also for a client that comes back.
#[tokio::test(start_paused = true)]
async fn an_expiry_that_the_handler_gave_holds_for_a_client_that_comes_back() {
    let handled = Handled::default();
    let until = Expiry::at(SystemTime::now() + Duration::from_secs(40));
    let expiring = handler(&handled, steps).map_response(move |mut response: http::Response<_>| {
        response.extensions_mut().insert(until);
        response
    });
    let around = AnyLayer::Sse(Box::new(SseLayer::new()));
    let service = around.layer(layer().layer(expiring));
    let first = seen(&service, request(None), 2 * SECOND).await;
    let rest = seen(&service, request(Some(&first.id(0))), 100 * SECOND).await;
    assert_eq!(rest.data(), ["2", "{\"reason\":\"expired\"}"]);
    assert_eq!(handled.calls(), 1);
}

/// All 120.
fn orders() -> Vec<[usize; 5]> {
    let digits = |n: usize| [n / 625 % 5, n / 125 % 5, n / 25 % 5, n / 5 % 5, n % 5];
    let all = (0..5_usize.pow(5)).map(digits);
    all.filter(|order| (0..5).all(|n| order.contains(&n))).collect()
}
