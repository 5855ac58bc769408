//! Caps that differ by key: the cap of the request that asks counts.

use std::collections::VecDeque;

use http::{HeaderValue, Request, StatusCode};
use proptest::prelude::*;
use tower::Layer;
use tower_sse::{Limit, LimitBuilder, LimitLayer};

use crate::harness::rig::{Client, Fate, Handler, call, get, open_with};

/// The customer and its plan are in headers.
fn by_plan() -> LimitBuilder {
    Limit::builder().per_key_with(|request| {
        let text = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
        let streams = text("x-streams").expect("the function panics without a plan");
        (text("x-user").map(str::to_owned), streams.parse().unwrap())
    })
}

fn ask(user: &str, streams: usize) -> Request<()> {
    let mut request = Request::get("/events").body(()).unwrap();
    let header = |text: &str| HeaderValue::from_str(text).unwrap();
    request.headers_mut().insert("x-user", header(user));
    request.headers_mut().insert("x-streams", header(&streams.to_string()));
    request
}

#[tokio::test(start_paused = true)]
async fn each_key_has_the_cap_of_its_plan() {
    let limit = by_plan().build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let mut open = Vec::new();
    for (user, streams) in [("free", 1), ("team", 3), ("none", 0)] {
        for n in 0..5 {
            let response = call(&mut service, ask(user, streams));
            let is_open = response.status() == StatusCode::OK;
            assert_eq!(is_open, n < streams, "{n} of {user}");
            open.push(response);
        }
    }
    assert_eq!((limit.open(), limit.keys(), limit.refused()), (4, 2, 11));
    // Without a key there is no cap of one.
    let mut keyless = ask("", 0);
    keyless.headers_mut().remove("x-user");
    assert_eq!(call(&mut service, keyless).status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_gets_smaller_keeps_what_is_open_and_lets_in_nothing_until_there_is_room() {
    let limit = by_plan().build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let mut open: Vec<_> = (0..3).map(|_| call(&mut service, ask("team", 3))).collect();
    for left in [3, 2, 1] {
        assert_eq!(open.len(), left);
        assert_eq!(call(&mut service, ask("team", 1)).status(), StatusCode::TOO_MANY_REQUESTS);
        open.pop();
    }
    let first = call(&mut service, ask("team", 1));
    assert_eq!((first.status(), limit.open()), (StatusCode::OK, 1));
    // And one that gets larger holds at once.
    assert_eq!(call(&mut service, ask("team", 2)).status(), StatusCode::OK);
    drop(first);
    assert_eq!((limit.open(), limit.keys()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_smaller_plan_ends_as_many_of_the_oldest_as_are_too_many() {
    let limit = by_plan().replace_oldest().build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let mut open: Vec<_> = (0..5).map(|_| open_with(&mut service, ask("team", 5))).collect();
    for (_, client) in &mut open {
        client.now().await;
    }
    open.push(open_with(&mut service, ask("team", 2)));
    for (n, (_, client)) in open.iter_mut().enumerate() {
        let fate = if n < 4 { Fate::Ended } else { Fate::Open };
        assert_eq!(client.now().await.1, fate, "{n}");
    }
    assert_eq!(limit.open(), 2);
    // A cap of zero refuses, and ends nothing.
    assert_eq!(call(&mut service, ask("team", 0)).status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(open[4].1.now().await.1, Fate::Open);
    drop(open);
    assert_eq!((limit.open(), limit.keys()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_known_plan_have_one_stream_together() {
    let limit = by_plan().build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let first = call(&mut service, get());
    assert_eq!((first.status(), limit.keys()), (StatusCode::OK, 1));
    let told = Client::of(call(&mut service, get())).rest().await;
    assert!(told.contains("event: limit\n"), "{told}");
    drop(first);
    assert_eq!((limit.open(), limit.keys()), (0, 0));
}

/// What a test does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Open {
        user: usize,
        cap: usize,
    },
    /// Drops a stream, the n-th of those that are open.
    Drop(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let open = (0..3_usize, 0..5_usize).prop_map(|(user, cap)| Act::Open { user, cap });
    let act = prop_oneof![3 => open, 1 => (0..8_usize).prop_map(Act::Drop)];
    prop::collection::vec(act, 0..60)
}

proptest! {
    /// As a list of the streams of each key says it, the oldest first.
    #[test]
    fn changing_caps_hold_as_a_plain_list_says(acts in acts(), replaces in any::<bool>()) {
        let max = 7;
        let builder = by_plan().max(max);
        let builder = if replaces { builder.replace_oldest() } else { builder };
        let limit = builder.build().unwrap();
        let mut service = LimitLayer::new(limit.clone()).layer(Handler);
        let mut model: [VecDeque<usize>; 3] = Default::default();
        let mut streams = Vec::new();
        for (n, act) in acts.into_iter().enumerate() {
            match act {
                Act::Open { user, cap } => {
                    let total: usize = model.iter().map(VecDeque::len).sum();
                    let own = &mut model[user];
                    let admitted = match own.len() < cap {
                        true => total < max,
                        false if replaces && cap > 0 => {
                            own.drain(..own.len() + 1 - cap);
                            true
                        }
                        false => false,
                    };
                    if admitted {
                        own.push_back(n);
                    }
                    let response = call(&mut service, ask(&user.to_string(), cap));
                    prop_assert_eq!(response.status() == StatusCode::OK, admitted);
                    if admitted {
                        streams.push((user, n, response));
                    }
                }
                Act::Drop(_) if streams.is_empty() => {}
                Act::Drop(nth) => {
                    let (user, n, response) = streams.remove(nth % streams.len());
                    drop(response);
                    model[user].retain(|other| *other != n);
                }
            }
            let open: usize = model.iter().map(VecDeque::len).sum();
            let keys = model.iter().filter(|own| !own.is_empty()).count();
            prop_assert_eq!((limit.open(), limit.keys()), (open, keys));
        }
        drop(streams);
        prop_assert_eq!((limit.open(), limit.keys()), (0, 0));
    }
}
