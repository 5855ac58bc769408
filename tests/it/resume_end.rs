//! A client that has seen the whole of a finished stream is told so, and the handler is not called.

use std::time::Duration;

use http::HeaderValue;
use http::request::Parts;
use tower_sse::Event;
use tower_sse::event_log::{MemoryLog, Topic};
use tower_sse::resume::Finished;

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Wait};
use crate::harness::bodies::read;
use crate::harness::resume::{Handled, ask, events, layer, request, request_of, seen, service};

fn three() -> Vec<Step> {
    vec![Data("data: 1\n\ndata: 2\n\n"), Wait(SECOND), Data("data: 3\n\n")]
}

const RETRY: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn the_last_id_gets_204_and_the_handler_is_not_called() {
    let handled = Handled::default();
    let service = service(layer(), &handled, three);
    let first = seen(&service, request(None), 10 * SECOND).await;
    assert_eq!((first.data(), first.ended), (["1", "2", "3"].map(String::from).to_vec(), true));
    for _ in 0..3 {
        let over = seen(&service, request(Some(&first.last_id())), SECOND).await;
        assert_eq!((over.status, over.text.as_str(), over.ended), (204, "", true));
        // Or a cache would give it to who asks for a new stream.
        assert_eq!(over.headers, ["cache-control: \"no-store\""]);
    }
    assert_eq!(handled.calls(), 1);
    // Without an id it is another stream.
    assert_eq!(seen(&service, request(None), 10 * SECOND).await.data(), ["1", "2", "3"]);
    assert_eq!(handled.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_close_event_has_an_id_of_its_own_and_is_the_last() {
    let handled = Handled::default();
    let service = service(layer().close_event(RETRY), &handled, three);
    let first = seen(&service, request(None), 10 * SECOND).await;
    assert_eq!(first.data().last().unwrap(), "{\"reason\":\"finished\"}");
    let close = "event: close\nretry: 20000\ndata: {\"reason\":\"finished\"}\nid: ";
    assert!(first.text.ends_with(&format!("{close}{}\n\n", first.id(3))), "{}", first.text);
    assert_ne!(first.id(2), first.id(3));
    assert_eq!(seen(&service, request(Some(&first.id(3))), SECOND).await.status, 204);

    // The connection died in the last event: it comes again, and then the answer is that.
    let rest = seen(&service, request(Some(&first.id(2))), SECOND).await;
    assert_eq!((rest.status, rest.data().len(), rest.last_id()), (200, 1, first.id(3)));
    assert_eq!(seen(&service, request(Some(&rest.last_id())), SECOND).await.status, 204);
    assert_eq!(handled.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_final_event_can_be_had_again_and_then_it_is_over() {
    let handled = Handled::default();
    let service = service(layer(), &handled, three);
    let first = seen(&service, request(None), SECOND / 2).await;
    assert_eq!(first.data(), ["1", "2"]);
    tokio::time::sleep(10 * SECOND).await;
    for _ in 0..2 {
        let last = seen(&service, request(Some(&first.id(1))), SECOND).await;
        assert_eq!((last.data(), last.ended), (vec!["3".to_owned()], true));
        assert_eq!(seen(&service, request(Some(&last.id(0))), SECOND).await.status, 204);
    }
    assert_eq!(handled.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn clients_that_loop_on_204_are_told_by_a_close_event() {
    let handled = Handled::default();
    let layer = layer().finished(Finished::Close(10 * RETRY));
    let service = service(layer, &handled, three);
    let id = seen(&service, request(None), 10 * SECOND).await.last_id();
    let over = seen(&service, request(Some(&id)), SECOND).await;
    // The id is the last line, as of all events.
    let close = "event: close\nretry: 200000\ndata: {\"reason\":\"finished\"}\nid: #\n\n";
    assert_eq!((over.status, over.ended), (200, true));
    assert_eq!(over.text, close.replace('#', &id));
    assert!(over.headers.contains(&"content-type: \"text/event-stream\"".to_owned()));
    assert_eq!(seen(&service, request(Some(&over.last_id())), SECOND).await, over);
    assert_eq!(handled.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn htmx_is_told_by_a_close_event_unless_the_layer_says_else() {
    let asks = |id: &str, header: &'static str| {
        let mut request = request(Some(id));
        request.headers_mut().insert(header, HeaderValue::from_static("true"));
        request
    };
    let by_reader = |request: &Parts| match request.headers.contains_key("x-reader") {
        true => Finished::Close(RETRY),
        false => Finished::NoContent,
    };
    #[rustfmt::skip]
    let table = [
        // the layer                               htmx        a reader of fetch   others
        (layer(),                                  "86400000", "",                 ""),
        (layer().finished(Finished::NoContent),    "",         "",                 ""),
        (layer().finished(Finished::Close(RETRY)), "20000",    "20000",            "20000"),
        (layer().finished_by(by_reader),           "",         "20000",            ""),
    ];
    for (layer, htmx, reader, others) in table {
        let service = service(layer, &Handled::default(), three);
        let id = seen(&service, request(None), 10 * SECOND).await.last_id();
        let headers = ["hx-request", "x-reader", "x-other"];
        for (header, retry) in headers.into_iter().zip([htmx, reader, others]) {
            let over = seen(&service, asks(&id, header), SECOND).await;
            assert_eq!(over.status, if retry.is_empty() { 204 } else { 200 }, "{header}");
            let told = format!("event: close\nretry: {retry}\n");
            assert!(retry.is_empty() || over.text.starts_with(&told), "{header}: {}", over.text);
            assert!(retry.is_empty() || over.text.ends_with(&format!("\nid: {id}\n\n")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_ever_never_gets_the_stream_anew() {
    let handled = Handled::default();
    let service = service(layer().remember(300 * SECOND), &handled, three);
    let id = seen(&service, request(None), 10 * SECOND).await.last_id();
    for _ in 0..100 {
        tokio::time::sleep(240 * SECOND).await;
        assert_eq!(seen(&service, request(Some(&id)), SECOND).await.status, 204);
    }
    assert_eq!((handled.calls(), service.streams()), (1, 1));
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(service.streams(), 0, "of what nobody asks for any more");
}

#[tokio::test(start_paused = true)]
async fn the_end_is_remembered_for_a_time_and_for_so_many() {
    let handled = Handled::default();
    let layer = layer().remember(60 * SECOND).streams(3);
    let service = service(layer, &handled, three);
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(seen(&service, request(None), 10 * SECOND).await.last_id());
    }
    assert_eq!((service.streams(), handled.calls()), (3, 4));
    for id in &ids[1..] {
        assert_eq!(seen(&service, request(Some(id)), SECOND).await.status, 204);
    }
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(service.streams(), 0);
    assert_eq!(seen(&service, request(Some(&ids[3])), SECOND / 2).await.status, 200);
    assert_eq!(handled.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn one_stream_too_many_passes_as_it_is() {
    let handled = Handled::default();
    let service = service(layer().streams(1), &handled, || vec![Data("data: 1\n\n"), Step::Hang]);
    let mut known = ask(&service, request(None)).await.into_body();
    let id = events(&read(&mut known, SECOND).await.text())[0].1.clone();
    let plain = seen(&service, request_of("bob", None), SECOND).await;
    assert_eq!(plain.text, "data: 1\n\n");
    assert!(handled.dropped(), "with its client");
    let rest = seen(&service, request(Some(&id)), SECOND).await;
    assert_eq!((rest.text.as_str(), handled.calls()), ("", 2));
}

/// A stream without an event has no id to come back with.
#[tokio::test(start_paused = true)]
async fn an_empty_stream_just_ends() {
    let handled = Handled::default();
    let service = service(layer(), &handled, || vec![Data(": nothing\n\n")]);
    let empty = seen(&service, request(None), SECOND).await;
    assert_eq!((empty.text.as_str(), empty.ended), ("", true));
}

#[tokio::test(start_paused = true)]
async fn an_id_beyond_the_end_of_a_stream_is_as_good_as_none() {
    for is_shared in [false, true] {
        let (handled, log) = (Handled::default(), MemoryLog::new());
        let layer = if is_shared { layer().log(log.clone()) } else { layer() };
        let service = service(layer, &handled, three);
        let first = seen(&service, request(None), 10 * SECOND).await;
        for _ in 0..20 {
            // Ids of other streams, in a log that streams share.
            log.append_now(&Topic::from_static("other"), Event::new().data("x")).unwrap();
        }
        let last_id = first.last_id();
        let (before, last) = last_id.rsplit_once('-').unwrap();
        let last: u64 = last.parse().unwrap();
        for beyond in [1, 2, 3, 9, 1_000, u64::MAX - last] {
            let calls = handled.calls();
            let id = format!("{before}-{}", last + beyond);
            let anew = seen(&service, request(Some(&id)), 10 * SECOND).await;
            assert_eq!((anew.data(), anew.ended), (first.data(), true), "{beyond} {is_shared}");
            assert_eq!(handled.calls(), calls + 1);
        }
        assert_eq!(seen(&service, request(Some(&last_id)), SECOND).await.status, 204);
    }
}
