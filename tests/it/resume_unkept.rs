//! An event that cannot be kept ends no stream: the clients that are there get it and the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, service_fn};
use tower_sse::event_log::MemoryLog;
use tower_sse::resume::ResumeKey;

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Fail, Hang, Wait};
use crate::harness::bodies::{Script, read};
use crate::harness::resume::{Handled, ask, events, handler, layer, request, seen, service};

/// One that fits into 1,000 bytes, one that does not, and one more.
fn steps() -> Vec<Step> {
    let half = "data: ".to_owned() + &"x".repeat(700);
    let half = half.leak();
    vec![
        Data("data: 1\n\n"),
        Wait(SECOND),
        Data("event: long\n"),
        Data(half),
        Data("\r"),
        Data("\n"),
        Data(half),
        Data("\n\n"),
        Wait(SECOND),
        Data("id: own\ndata: 3\n\n"),
    ]
}

fn long() -> String {
    format!("{0}\n{0}", "x".repeat(700))
}

#[tokio::test(start_paused = true)]
async fn an_event_above_the_buffer_reaches_the_clients_that_are_there_and_so_does_the_rest() {
    let handled = Handled::default();
    let service = service(layer().buffer_bytes(1000), &handled, steps);
    let mut first = ask(&service, request(None)).await.into_body();
    let first = tokio::spawn(async move { read(&mut first, 10 * SECOND).await });
    tokio::time::sleep(SECOND / 2).await;
    let first = first.await.unwrap();
    let read = events(&first.text());
    let data: Vec<&str> = read.iter().map(|(data, _)| data.as_str()).collect();
    assert_eq!(data, ["1", &long(), "3"]);
    assert!(first.ended && first.text().contains("event: long\ndata: xxx"));
    assert!(!first.text().contains("close"), "it ended as the handler's own");
    assert_eq!((handled.calls(), service.streams()), (1, 0));
    // Resuming is given up: it is as without the layer.
    let anew = seen(&service, request(Some(&read[0].1)), SECOND / 2).await;
    assert_eq!((anew.data(), handled.calls()), (vec!["1".to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn all_clients_that_are_there_get_what_cannot_be_kept() {
    let handled = Handled::default();
    let service = service(layer().buffer_bytes(1000), &handled, steps);
    let id = seen(&service, request(None), SECOND / 2).await.id(0);
    let (one, other) = tokio::join!(
        seen(&service, request(Some(&id)), 10 * SECOND),
        seen(&service, request(Some(&id)), 10 * SECOND),
    );
    assert_eq!(one, other);
    assert_eq!((one.data(), one.ended), (vec![long(), "3".to_owned()], true));
    assert_eq!(handled.calls(), 1);
}

/// It may be half open, as for streams that are kept.
#[tokio::test(start_paused = true)]
async fn of_the_clients_that_are_passed_the_rest_one_that_takes_nothing_holds_up_nobody() {
    let handled = Handled::default();
    let resume = layer().buffer_bytes(1000).linger(20 * SECOND);
    let service = service(resume, &handled, steps);
    let id = seen(&service, request(None), SECOND / 2).await.id(0);
    let mut stalled = ask(&service, request(Some(&id))).await.into_body();
    let rest = seen(&service, request(Some(&id)), 60 * SECOND).await;
    assert_eq!((rest.data(), rest.ended), (vec![long(), "3".to_owned()], true));
    let cut = read(&mut stalled, SECOND).await;
    assert!(cut.ended && cut.text().contains("{\"reason\":\"error\"}"), "{}", cut.text());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_resumed_ends_with_its_last_client() {
    let handled = Handled::default();
    let steps = || steps().into_iter().take(8).chain([Hang]).collect();
    let service = service(layer().buffer_bytes(1000), &handled, steps);
    let first = seen(&service, request(None), 2 * SECOND).await;
    assert_eq!(first.data(), ["1".to_owned(), long()]);
    tokio::task::yield_now().await;
    assert!(handled.dropped(), "no client comes back to it");
    assert_eq!(service.streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_resumed_can_be_stopped_and_says_that_it_failed() {
    for (stops, reason) in [(true, "stopped"), (false, "error")] {
        let handled = Handled::default();
        let steps = || steps().into_iter().take(8).chain([Wait(SECOND), Fail("as scripted")]);
        let resume = layer().buffer_bytes(1000);
        let handle = resume.handle();
        let service = service(resume, &handled, move || steps().collect());
        let mut body = ask(&service, request(None)).await.into_body();
        let read = tokio::spawn(async move { read(&mut body, 10 * SECOND).await });
        tokio::time::sleep(SECOND + SECOND / 2).await;
        if stops {
            assert_eq!(handle.list("ann").await.unwrap().len(), 1);
            assert_eq!(handle.stop(&ResumeKey::new("/answer", "ann")).await.unwrap(), 1);
            tokio::task::yield_now().await;
            assert!(handled.dropped());
        }
        let read = read.await.unwrap();
        let last = format!("event: close\ndata: {{\"reason\":\"{reason}\"}}\n\n");
        assert!(read.ended && read.text().ends_with(&last), "{}", read.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_away_when_an_event_cannot_be_kept_is_told_of_an_error() {
    let handled = Handled::default();
    let service = service(layer().buffer_bytes(1000), &handled, steps);
    let id = seen(&service, request(None), SECOND / 2).await.id(0);
    tokio::time::sleep(5 * SECOND).await;
    assert!(handled.dropped());
    let rest = seen(&service, request(Some(&id)), SECOND).await;
    assert_eq!((rest.data(), rest.ended), (vec!["{\"reason\":\"error\"}".to_owned()], true));
    assert_eq!(handled.calls(), 1);
}

/// So that memory is bounded, however long the event is.
#[tokio::test(start_paused = true)]
async fn no_more_of_what_cannot_be_kept_is_read_than_clients_take() {
    let polled = Arc::<AtomicUsize>::default();
    let handler = {
        let polled = Arc::clone(&polled);
        service_fn(move |_: Request<()>| {
            let polled = Arc::clone(&polled);
            let endless =
                Script::new([Step::Flood("data: 0123456789\n")]).map_frame(move |frame| {
                    polled.fetch_add(1, Ordering::SeqCst);
                    frame
                });
            let response = Response::builder().header("content-type", "text/event-stream");
            std::future::ready(Ok::<_, std::convert::Infallible>(response.body(endless).unwrap()))
        })
    };
    let service = layer().buffer_bytes(1000).layer(handler);
    let mut body = ask(&service, request(None)).await.into_body();
    tokio::time::sleep(SECOND).await;
    let before = polled.load(Ordering::SeqCst);
    assert!(before < 100, "{before}");
    for n in 1..=50 {
        let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(chunk.len() < 4000, "{}", chunk.len());
        tokio::time::sleep(SECOND).await;
        assert!(polled.load(Ordering::SeqCst) <= before + n + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_log_never_takes_reaches_the_client_too_and_other_nodes_are_told() {
    let log = MemoryLog::builder().bytes(500).build().unwrap();
    let handled = [Handled::default(), Handled::default()];
    let node = |n: usize| {
        let resume = layer().log(log.clone()).other_nodes(SECOND);
        resume.layer(handler(&handled[n], steps))
    };
    let (one, other) = (node(0), node(1));
    let mut first = ask(&one, request(None)).await.into_body();
    let first = tokio::spawn(async move { read(&mut first, 10 * SECOND).await.text() });
    tokio::time::sleep(SECOND / 2).await;
    let again = seen(&one, request(None), SECOND / 4).await;
    let elsewhere = seen(&other, request(Some(&again.id(0))), 10 * SECOND).await;
    assert_eq!((elsewhere.data(), elsewhere.ended), (vec!["{\"reason\":\"error\"}".into()], true));
    let read = events(&first.await.unwrap());
    let data: Vec<&str> = read.iter().map(|(data, _)| data.as_str()).collect();
    assert_eq!(data, ["1", &long(), "3"]);
    assert_eq!(handled[1].calls(), 0);
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn streams_that_clients_cannot_come_back_to_are_counted() {
    let debugging = metrics_util::debugging::DebuggingRecorder::new();
    let (mut recorded, _guard) = crate::harness::recorder::Recorded::by(&debugging);
    let handled = Handled::default();
    let service = service(layer().buffer_bytes(1000).streams(1), &handled, steps);
    let reading = ask(&service, request(None)).await;
    drop(ask(&service, request(None)).await);
    tokio::time::sleep(5 * SECOND).await;
    drop(reading);
    recorded.read();
    let counted = recorded.by_reason("not_resumable_total");
    assert_eq!(counted, [("event_too_long", 1.0), ("no_room", 1.0)]);
}
