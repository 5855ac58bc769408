//! Who comes back to a stream of which the log has forgotten all is told so, and how it goes on.

use tower::Layer;
use tower_sse::event_log::MemoryLog;

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Wait};
use crate::harness::resume;
use crate::harness::resume::{Handled, Seen, handler, layer, request, seen};

/// Keeps an event for ten seconds.
fn forgetful() -> MemoryLog {
    MemoryLog::builder().age(10 * SECOND).build().unwrap()
}

fn three() -> Vec<Step> {
    vec![Data("data: 1\n\ndata: 2\n\n"), Wait(SECOND), Data("data: 3\n\n")]
}

fn is_gap_of_nothing(seen: &Seen) -> bool {
    seen.text.starts_with("event: gap\n") && seen.text.contains("\"earliest\":null")
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_though_the_log_has_forgotten_it() {
    for linger in [SECOND, 99 * SECOND] {
        let handled = Handled::default();
        let layer = layer().buffer(2).linger(linger).log(forgetful());
        let service = layer.layer(handler(&handled, three));
        let first = seen(&service, request(None), 5 * SECOND).await;
        assert_eq!(first.data(), ["1", "2", "3"]);
        tokio::time::sleep(60 * SECOND).await;
        // It missed the last event.
        let rest = seen(&service, request(Some(&first.id(1))), 60 * SECOND).await;
        assert!(is_gap_of_nothing(&rest) && rest.ended, "{rest:?}");
        assert_eq!(rest.data().len(), 1, "{rest:?}");
        let over = seen(&service, request(Some(&rest.last_id())), SECOND).await;
        assert_eq!((over.status, handled.calls()), (204, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_slept_through_the_end_is_told_though_the_log_has_forgotten_it() {
    let handled = Handled::default();
    let service = layer().buffer(2).log(forgetful()).layer(handler(&handled, three));
    let mut body = resume::ask(&service, request(None)).await.into_body();
    let read = crate::harness::bodies::read(&mut body, SECOND / 2).await;
    assert_eq!(read.chunks.len(), 2);
    tokio::time::sleep(60 * SECOND).await;
    // What is old goes when somebody comes to the log.
    assert_eq!(seen(&service, request(None), 5 * SECOND).await.data().len(), 3);
    let rest = crate::harness::bodies::read(&mut body, 60 * SECOND).await;
    assert!(rest.ended && rest.chunks.len() == 1, "{rest:?}");
    let id = resume::events(&rest.chunks[0].1)[0].1.clone();
    let over = seen(&service, request(Some(&id)), SECOND).await;
    assert_eq!((over.status, handled.calls()), (204, 2));
}

/// Also if the handler waits for its readers: who has nothing to read takes up no room.
#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_for_one_who_comes_back_from_a_gap_of_nothing() {
    let handled = Handled::default();
    let steps = || {
        let mut steps = three();
        steps.extend([Wait(90 * SECOND), Data("data: 4\n\n")]);
        steps
    };
    let layer = layer().buffer(2).linger(99 * SECOND).log(forgetful());
    let service = layer.layer(handler(&handled, steps));
    let first = seen(&service, request(None), 5 * SECOND).await;
    assert_eq!(first.data(), ["1", "2", "3"]);
    tokio::time::sleep(30 * SECOND).await;
    let gap = seen(&service, request(Some(&first.id(1))), SECOND).await;
    assert!(is_gap_of_nothing(&gap) && !gap.ended, "{gap:?}");
    let rest = seen(&service, request(Some(&gap.last_id())), 300 * SECOND).await;
    assert_eq!((rest.data(), rest.ended), (vec!["4".to_owned()], true));
    assert_eq!(handled.calls(), 1);
}

/// The stream is shorter than the buffer, so the log might have all of it.
#[tokio::test(start_paused = true)]
async fn what_a_log_lost_by_its_age_is_a_gap_and_no_second_call_of_the_handler() {
    let handled = Handled::default();
    let steps = || {
        let mut steps = three();
        steps.extend([Wait(60 * SECOND), Data("data: 4\n\n"), Wait(90 * SECOND)]);
        steps
    };
    let service = layer().linger(99 * SECOND).log(forgetful()).layer(handler(&handled, steps));
    let first = seen(&service, request(None), SECOND / 2).await;
    assert_eq!(first.data(), ["1", "2"]);
    tokio::time::sleep(61 * SECOND).await;
    let rest = seen(&service, request(Some(&first.id(0))), SECOND).await;
    assert_eq!(handled.calls(), 1, "{rest:?}");
    assert!(rest.text.starts_with("event: gap\n"), "{rest:?}");
    assert!(rest.text.contains("\"reason\":\"expired\"") && rest.data()[1..] == ["4"], "{rest:?}");
    // An id of no event is none of this stream's.
    let made_up = format!("{}99", first.id(0));
    assert_eq!(seen(&service, request(Some(&made_up)), SECOND / 2).await.data(), ["1", "2"]);
    assert_eq!(handled.calls(), 2);
}
