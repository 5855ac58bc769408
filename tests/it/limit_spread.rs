//! Those who are refused together do not come back together.

use std::time::Duration;

use http::Request;
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{Limit, LimitLayer, SseService};

use crate::harness::SECOND;
use crate::harness::rig::{Client, Handler, LIKELY, call, get, open, unevenness};

/// One that is full.
fn full(limit: &Limit) -> (SseService<Handler>, Client) {
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let (_feed, client) = open(&mut service);
    (service, client)
}

/// After how long an `EventSource` is told to come back.
async fn told(service: &mut SseService<Handler>) -> Duration {
    let mut decoder = Decoder::new();
    decoder.decode(Client::of(call(service, get())).rest().await.as_bytes());
    decoder.retry().unwrap()
}

/// After how many seconds others are.
fn told_plainly(service: &mut SseService<Handler>) -> usize {
    let response = call(service, Request::get("/").body(()).unwrap());
    response.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_retry_of_an_event_source_is_spread_evenly() {
    // By itself, and when every so manieth asks for something else.
    for every in [1, 2, 5, 8, 13] {
        let limit = Limit::builder().max(1).retry(2 * SECOND..=12 * SECOND).build().unwrap();
        let (mut service, _first) = full(&limit);
        let mut retries = Vec::new();
        for n in 0..10_000 {
            if n % every != 0 {
                told_plainly(&mut service);
                continue;
            }
            let retry = told(&mut service).await;
            assert!((2 * SECOND..=12 * SECOND).contains(&retry), "{retry:?}");
            retries.push((retry.as_secs_f64() - 2.0) / 10.0);
        }
        let uneven = unevenness(&mut retries);
        assert!(uneven < LIKELY, "every {every}th: {uneven}");
        assert_eq!(limit.refused(), 10_000);
    }
}

/// It tells whole seconds, and the range that is the default has enough of them.
#[tokio::test(start_paused = true)]
async fn retry_after_is_spread_over_the_seconds_of_the_default() {
    let (mut service, _first) = full(&Limit::new(1));
    let mut seconds = [0; 31];
    for _ in 0..2_500 {
        seconds[told_plainly(&mut service)] += 1;
    }
    // 5 itself is rounded up from nothing but the first place.
    let (below, within) = seconds.split_at(6);
    assert!(below[..5].iter().all(|&count| count == 0) && below[5] <= 1, "{seconds:?}");
    assert!(within.iter().all(|&count| (90..=110).contains(&count)), "{seconds:?}");
}

/// A hundred who are refused at once, as by a proxy that came back.
#[tokio::test(start_paused = true)]
async fn a_few_refused_clients_come_back_apart_from_each_other() {
    let (mut service, _first) = full(&Limit::new(1));
    let mut retries = Vec::new();
    for _ in 0..100 {
        retries.push(told(&mut service).await);
    }
    retries.sort_unstable();
    let closest = retries.windows(2).map(|pair| pair[1].abs_diff(pair[0])).min().unwrap();
    assert!(retries[0] >= 5 * SECOND && retries[99] <= 30 * SECOND);
    assert!(closest > SECOND / 20, "{closest:?} of 0.25 s at best");
}

#[tokio::test(start_paused = true)]
async fn no_refused_client_is_told_to_come_back_at_once() {
    let millis = Duration::from_millis;
    let limit = Limit::builder().max(1).retry(millis(1)..=millis(900)).build().unwrap();
    let (mut service, _first) = full(&limit);
    for _ in 0..100 {
        assert_eq!(told_plainly(&mut service), 1);
        assert!(told(&mut service).await >= millis(1));
    }
}
