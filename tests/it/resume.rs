//! A stream goes on without its client, which comes back to where it was.

use std::time::Duration;

use http::Request;

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Fail, Hang, Panic, Wait};
use crate::harness::bodies::read;
use crate::harness::resume::{Handled, ask, layer, request, seen, service};

fn ticks() -> Vec<Step> {
    let mut steps = vec![Data("retry: 7\nid: own\ndata: 1\n\n")];
    for data in ["data: 2\n\n", ": c\n\nevent: e\ndata: 3\n\ndata", ": 4\n\n", "data: 5\n\n"] {
        steps.extend([Wait(SECOND), Data(data)]);
    }
    steps
}

#[tokio::test(start_paused = true)]
async fn a_stream_survives_its_reader() {
    let handled = Handled::default();
    let service = service(layer(), &handled, ticks);
    let first = seen(&service, request(None), SECOND / 2).await;
    let id = first.id(0);
    assert_eq!(first.text, format!("retry: 7\ndata: 1\nid: {id}\n\n"));
    assert!(!first.ended && !handled.dropped());

    // It comes to its end with nobody there.
    tokio::time::sleep(10 * SECOND).await;
    assert!(handled.dropped());
    let rest = seen(&service, request(Some(&id)), SECOND).await;
    assert_eq!(rest.data(), ["2", "3", "4", "5"]);
    assert!(rest.text.contains("event: e\ndata: 3\nid: ") && !rest.text.contains(": c"));
    assert_eq!((rest.status, &rest.headers), (first.status, &first.headers));
    assert!(rest.headers.contains(&"x-handler: \"its own\"".to_owned()));
    assert!(rest.ended);
    assert_eq!(handled.calls(), 1);
    assert!(rest.last_id().len() <= 64);
}

#[tokio::test(start_paused = true)]
async fn what_comes_follows_what_was_missed_and_the_id_may_be_in_the_query() {
    let handled = Handled::default();
    let service = service(layer(), &handled, ticks);
    let first = seen(&service, request(None), SECOND / 2).await;
    tokio::time::sleep(SECOND).await;
    let uri = format!("/answer?last_event_id={}", first.id(0));
    let request = Request::get(uri).header("x-user", "ann").body(()).unwrap();
    let response = ask(&service, request).await;
    let read = read(&mut response.into_body(), 10 * SECOND).await;
    let at: Vec<u128> = read.chunks.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [0, 500, 1500, 2500]);
    assert_eq!(handled.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_clients_read_one_stream() {
    let handled = Handled::default();
    let service = service(layer(), &handled, ticks);
    let first = seen(&service, request(None), SECOND / 2).await;
    let id = first.id(0);
    let (one, other) = tokio::join!(
        seen(&service, request(Some(&id)), 10 * SECOND),
        seen(&service, request(Some(&id)), 10 * SECOND),
    );
    assert_eq!(one, other);
    assert_eq!(one.data(), ["2", "3", "4", "5"]);
    assert_eq!(handled.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_linger_ends_and_drops_the_body() {
    let handled = Handled::default();
    let (linger, almost) = (Duration::from_secs(20), Duration::from_millis(19_900));
    let service = service(layer().linger(linger), &handled, || vec![Data("data: 1\n\n"), Hang]);
    let first = seen(&service, request(None), SECOND).await;
    tokio::time::sleep(almost).await;
    assert!(!handled.dropped());
    // A client that looks in for a moment has it begin anew.
    let again = seen(&service, request(Some(&first.id(0))), SECOND).await;
    assert_eq!((again.text.as_str(), again.ended), ("", false));
    tokio::time::sleep(almost).await;
    assert!(!handled.dropped());
    tokio::time::sleep(SECOND / 5).await;
    assert!(handled.dropped());
    assert_eq!((service.streams(), handled.calls()), (0, 1));

    let anew = seen(&service, request(Some(&first.id(0))), SECOND).await;
    assert_eq!(anew.data(), ["1"]);
    assert_ne!(anew.id(0), first.id(0));
    assert_eq!(handled.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_or_panics_says_so_and_is_not_taken_for_finished() {
    for broken in [Fail as fn(_) -> _, |_| Panic] {
        let handled = Handled::default();
        let steps =
            move || vec![Data("data: 1\n\ndata: half"), Wait(SECOND), broken("as scripted")];
        let service = service(layer(), &handled, steps);
        let first = seen(&service, request(None), 10 * SECOND).await;
        assert!(first.ended && handled.dropped());
        assert_eq!(first.data(), ["1", "{\"reason\":\"error\"}"]);
        assert!(first.text.contains("event: close\n"));

        let rest = seen(&service, request(Some(&first.id(0))), SECOND).await;
        assert_eq!(rest.data(), ["{\"reason\":\"error\"}"]);
        assert_eq!(handled.calls(), 1);
        let anew = seen(&service, request(Some(&first.last_id())), SECOND / 2).await;
        assert_eq!((anew.status, anew.data()), (200, vec!["1".to_owned()]));
        assert_eq!(handled.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_key_is_long_can_be_resumed_too() {
    let handled = Handled::default();
    let service = service(layer(), &handled, ticks);
    let path = format!("/{}", "x".repeat(2000));
    let request = |end: &str, user: &str| {
        let user = format!("{user}{}", "y".repeat(2000));
        Request::post(format!("{path}{end}")).header("x-user", user)
    };
    let first = seen(&service, request("", "ann").body(()).unwrap(), SECOND / 2).await;
    for (end, user, data) in [("", "ann", "2"), ("z", "ann", "1"), ("", "bob", "1")] {
        let back = request(end, user).header("last-event-id", first.id(0)).body(()).unwrap();
        let seen = seen(&service, back, SECOND).await;
        assert_eq!(seen.data()[0], data, "{end}{user}");
    }
    assert_eq!(handled.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn other_responses_pass_as_they_are() {
    let handled = Handled::default();
    let service = service(layer(), &handled, || vec![Data("data: 1\n"), Data("id: 7\n\n")]);
    for request in [
        Request::head("/answer").body(()).unwrap(),
        Request::get("/answer").header("x-user", "nobody").body(()).unwrap(),
    ] {
        let plain = seen(&service, request, SECOND).await;
        assert_eq!(plain.text, "data: 1\nid: 7\n\n");
    }
    assert_eq!(service.streams(), 0);
}
