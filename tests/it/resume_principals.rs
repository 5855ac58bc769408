//! Ids that are guessed or stolen reveal neither events nor whether a stream exists.

use http::Request;

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Hang};
use crate::harness::resume::{Handled, layer, request_of, seen, service};

const STREAMS: usize = 10_000;

#[tokio::test(start_paused = true)]
async fn stolen_and_guessed_ids_are_as_good_as_none() {
    let handled = Handled::default();
    let layer = layer().streams(4 * STREAMS).linger(1_000_000 * SECOND);
    let service = service(layer, &handled, || vec![Data("data: secret\n\n"), Hang]);
    let mut ids = Vec::new();
    for n in 0..STREAMS {
        let user = format!("user-{n}");
        ids.push(seen(&service, request_of(&user, None), SECOND / 100).await.id(0));
    }
    assert_eq!((service.streams(), handled.calls()), (STREAMS, STREAMS));

    let none = seen(&service, request_of("thief", None), SECOND / 100).await.anonymous();
    let mut calls = handled.calls();
    for (n, id) in ids.iter().enumerate() {
        let guessed = match n % 4 {
            // As it was sent, to another.
            0 => id.clone(),
            // Of a stream that may be, one digit off.
            1 => format!("{}{}", (id.as_bytes()[0] - b'0' + 1) % 10, &id[1..]),
            // The stream's name with another's sequence.
            2 => format!("{}{}", &id[..23], &ids[(n + 1) % STREAMS][23..]),
            _ => format!("{}7-1", &id[..23]),
        };
        let seen = seen(&service, request_of("thief", Some(&guessed)), SECOND / 100).await;
        assert!(!seen.text.contains(id.as_str()));
        assert_eq!(seen.anonymous(), none, "{guessed}");
        calls += 1;
        assert_eq!(handled.calls(), calls, "{guessed}");
    }

    // And whose it is has it still, but not under another path.
    for n in (0..STREAMS).step_by(997) {
        let user = format!("user-{n}");
        let own = seen(&service, request_of(&user, Some(&ids[n])), SECOND / 100).await;
        assert_eq!((own.text.as_str(), own.ended, handled.calls()), ("", false, calls));
    }
    let elsewhere = Request::post("/other").header("x-user", "user-0");
    let elsewhere = elsewhere.header("last-event-id", &ids[0]).body(()).unwrap();
    assert_eq!(seen(&service, elsewhere, SECOND / 100).await.anonymous(), none);
}

#[tokio::test(start_paused = true)]
async fn ids_that_cannot_be_are_as_good_as_none() {
    let handled = Handled::default();
    let service = service(layer(), &handled, || vec![Data("data: 1\n\n"), Hang]);
    let own = seen(&service, request_of("ann", None), SECOND).await;
    let id = own.id(0);
    let (token, rest) = id.split_at(23);
    let (epoch, sequence) = rest.split_once('-').unwrap();
    let wrong = [
        String::new(),
        "1".into(),
        "earliest".into(),
        "x".repeat(100),
        token.into(),
        format!("{token}x"),
        format!("{token}1-{sequence}"),
        format!("{token}{epoch}-99"),
        format!("{token}{epoch}-x"),
        format!("{id}0"),
        format!("x{id}"),
        format!("{id} "),
    ];
    for (n, wrong) in wrong.iter().enumerate() {
        let anew = seen(&service, request_of("ann", Some(wrong)), SECOND).await;
        assert_eq!(anew.anonymous(), own.anonymous(), "{wrong}");
        assert_eq!(handled.calls(), n + 2, "{wrong}");
    }
}

/// The end of a stream is no secret less.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_is_told_to_its_own_only() {
    let handled = Handled::default();
    let service = service(layer(), &handled, || vec![Data("data: 1\n\n")]);
    let id = seen(&service, request_of("ann", None), SECOND).await.id(0);
    assert_eq!(seen(&service, request_of("bob", Some(&id)), SECOND).await.status, 200);
    assert_eq!(seen(&service, request_of("ann", Some(&id)), SECOND).await.status, 204);
    assert_eq!(handled.calls(), 2);
}
