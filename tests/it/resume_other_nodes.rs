//! With a log that nodes share a client may come back to another one.

use tokio::time::{Duration, Instant};
use tower::Layer;
use tower_sse::event_log::MemoryLog;
use tower_sse::resume::ResumeKey;

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Fail, Hang, Wait};
use crate::harness::resume;
use crate::harness::resume::{Handled, handler, layer, request, request_of, seen};

fn three() -> Vec<Step> {
    vec![Data("data: 1\n\n"), Wait(SECOND), Data("data: 2\n\n"), Wait(SECOND), Data("data: 3\n\n")]
}

/// Two layers that know nothing of each other but the log.
macro_rules! nodes {
    ($steps:expr, $($setting:tt)*) => {{
        let (log, handled) = (MemoryLog::new(), [Handled::default(), Handled::default()]);
        let node = |n: usize| {
            let layer = layer()$($setting)*.log(log.clone()).other_nodes(SECOND);
            layer.layer(handler(&handled[n], $steps))
        };
        (node(0), node(1), handled.clone())
    }};
}

#[tokio::test(start_paused = true)]
async fn a_client_goes_on_at_another_node() {
    let (one, other, handled) = nodes!(three, .close_event(20 * SECOND));
    let first = seen(&one, request(None), SECOND / 2).await;
    let rest = seen(&other, request(Some(&first.id(0))), 10 * SECOND).await;
    assert_eq!(rest.data(), ["2", "3", "{\"reason\":\"finished\"}"]);
    assert_eq!((rest.status, &rest.headers, rest.ended), (200, &first.headers, true));
    let over = seen(&other, request(Some(&rest.last_id())), SECOND).await;
    assert_eq!((over.status, over.text.as_str()), (204, ""));
    assert_eq!((handled[0].calls(), handled[1].calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_id_beyond_the_end_of_a_stream_is_as_good_as_none_there() {
    let (one, other, handled) = nodes!(three, .close_event(20 * SECOND));
    let first = seen(&one, request(None), 10 * SECOND).await;
    let last_id = first.last_id();
    let (before, last) = last_id.rsplit_once('-').unwrap();
    let last: u64 = last.parse().unwrap();
    let mut total = 1;
    for beyond in [1, 2, 1_000] {
        let id = format!("{before}-{}", last + beyond);
        for node in [&one, &other] {
            let anew = seen(node, request(Some(&id)), 10 * SECOND).await;
            assert_eq!((anew.data(), anew.ended), (first.data(), true), "{beyond}");
            total += 1;
            assert_eq!(handled[0].calls() + handled[1].calls(), total);
        }
    }
    for node in [&one, &other] {
        assert_eq!(seen(node, request(Some(&last_id)), SECOND).await.status, 204);
    }
}

#[tokio::test(start_paused = true)]
async fn times_without_end_are_times_like_others() {
    let max = Duration::MAX;
    let (log, handled) = (MemoryLog::new(), Handled::default());
    let node = || layer().linger(max).lease(max).remember(max).log(log.clone()).other_nodes(max);
    let (one, other) = (node(), node());
    let handle = other.handle();
    let steps = || vec![Data("data: 1\n\n"), Data("data: 2\n\n"), Hang];
    let one = one.layer(handler(&handled, steps));
    let other = other.layer(handler(&handled, steps));
    let first = seen(&one, request(None), SECOND).await;
    for _ in 0..3 {
        let rest = seen(&other, request(Some(&first.id(0))), SECOND).await;
        assert_eq!((rest.data(), handled.calls()), (vec!["2".to_owned()], 1));
    }
    assert_eq!(handle.list("ann").await.unwrap().len(), 1);
    assert_eq!(handle.stop(&ResumeKey::new("/answer", "ann")).await.unwrap(), 1);
    let stopped = seen(&other, request(Some(&first.id(1))), SECOND).await;
    assert_eq!(stopped.data(), ["{\"reason\":\"stopped\"}"]);
}

#[tokio::test(start_paused = true)]
async fn ids_of_others_take_as_long_there_as_ids_of_nobody() {
    let (one, other, handled) = nodes!(|| vec![Data("data: 1\n\n"), Hang], .linger(99 * SECOND));
    let id = seen(&one, request(None), SECOND).await.id(0);
    let nobodys = format!("{}7-1", "1".repeat(23));
    let mut answers = Vec::new();
    for id in [&id, &nobodys] {
        let began = Instant::now();
        let anew = seen(&other, request_of("thief", Some(id)), SECOND).await;
        answers.push((anew.anonymous(), began.elapsed().as_millis()));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(handled[1].calls(), 2);
    // Without an id nobody waits.
    let began = Instant::now();
    resume::ask(&other, request(None)).await;
    assert_eq!(began.elapsed().as_millis(), 0);
}

fn failing() -> Vec<Step> {
    vec![Data("data: 1\n\n"), Wait(9 * SECOND), Fail("as scripted")]
}

/// With the second the stream is given up before it fails.
const LINGERS: [Duration; 2] = [Duration::from_secs(99), Duration::from_secs(5)];

#[tokio::test(start_paused = true)]
async fn a_reader_at_another_node_is_told_when_the_stream_fails_or_is_given_up() {
    for linger in LINGERS {
        let (one, other, _) = nodes!(failing, .linger(linger));
        let id = seen(&one, request(None), SECOND).await.id(0);
        let rest = seen(&other, request(Some(&id)), 20 * SECOND).await;
        assert_eq!((rest.data(), rest.ended), (vec!["{\"reason\":\"error\"}".to_owned()], true));
    }
}

/// Else a browser would be answered with an empty stream for ever.
#[tokio::test(start_paused = true)]
async fn a_client_that_has_all_of_a_failed_stream_gets_a_new_one_at_another_node() {
    for linger in LINGERS {
        let (one, other, handled) = nodes!(failing, .linger(linger));
        let id = seen(&one, request(None), SECOND).await.id(0);
        let last = match linger < 9 * SECOND {
            true => id,
            false => seen(&one, request(Some(&id)), 20 * SECOND).await.last_id(),
        };
        tokio::time::sleep(20 * SECOND).await;
        let anew = seen(&other, request(Some(&last)), SECOND).await;
        assert_eq!((anew.data(), anew.status), (vec!["1".to_owned()], 200));
        assert_eq!((handled[0].calls(), handled[1].calls()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_a_topic_and_not_of_this_crate_reaches_no_client() {
    let (log, handled) = (MemoryLog::new(), Handled::default());
    let layer = layer().log(log.clone());
    let service = layer.layer(handler(&handled, three));
    let first = seen(&service, request(None), SECOND / 2).await;
    let id = first.id(0);
    // "3:ann/answer" in base64.
    let topic = format!("resume.{}.Mzphbm4vYW5zd2Vy", &id[..23]).parse().unwrap();
    assert_eq!(log.window(&topic).0, 1, "it is the topic");
    for foreign in ["x", "event 1 1"] {
        log.append_now(&topic, tower_sse::Event::new().data(foreign)).unwrap();
    }
    let rest = seen(&service, request(Some(&id)), 10 * SECOND).await;
    assert_eq!(rest.data(), ["2", "3"]);
}
