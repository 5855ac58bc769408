//! A log in NATS gives what was missed in the order of the stream, and says what cannot be had.

use std::time::Duration;

use tower_sse::event_log::{
    BrokerError, EventLog, GapReason, NatsLog, NatsStorage, Start, contract,
};
use tower_sse::{Event, EventId};

use crate::harness::nats::{
    Nats, after, all, append, data, gap, is_quiet, said, settings, topic, topics,
};

fn id(text: impl Into<String>) -> EventId {
    EventId::new(text).unwrap()
}

fn shifted(place: &EventId, by: u64) -> EventId {
    let parts: Vec<&str> = place.as_str().split('-').collect();
    let sequence: u64 = parts[1].parse().unwrap();
    id(format!("{}-{}-{}", parts[0], sequence + by, parts[2]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_nats_keeps_the_contract() {
    for nats in Nats::start_each_version().await {
        contract::check(&nats.log().await, "wide").await;
        contract::check(&nats.log_with(settings().window_events(2)).await, "narrow").await;
        for (name, window) in [("few", 100), ("fewer", 2)] {
            let few = settings().stream(name).prefix(name).events(16).window_events(window);
            contract::check_gaps(&nats.log_with(few).await, "t", 16).await;
        }
        contract::check_idempotent(&nats.log().await, "once").await;
    }
}

#[tokio::test]
async fn what_was_missed_comes_first_and_in_one_order_over_topics() {
    for nats in Nats::start_each_version().await {
        what_was_missed_comes_first(&nats).await;
    }
}

async fn what_was_missed_comes_first(nats: &Nats) {
    let log = nats.log().await;
    let mut live = log.follow(topics(&["a"]), Start::Live);
    let mut ids = Vec::new();
    for (n, name) in ["a", "b.1", "a", "b.2", "a"].into_iter().enumerate() {
        ids.push(append(&log, name, &n.to_string()).await);
    }
    assert!(ids.iter().all(|id| id.as_str().len() <= 64));
    let mut late = log.follow(topics(&["a"]), Start::Live);
    assert_eq!(all(&mut live, 3).await, ["0", "2", "4"]);
    // One that begins with an empty window, and one with a window of one event.
    let small = nats.log_with(settings().window_events(1)).await;
    for log in [&log, &nats.log().await, &small] {
        for (names, from, expected) in [
            (&["a"][..], after(&ids[0]), &["2", "4"][..]),
            (&["a"], Start::Earliest, &["0", "2", "4"]),
            (&["a", "b.1"], after(&ids[0]), &["1", "2", "4"]),
            (&["b.*"], Start::Earliest, &["1", "3"]),
            (&[">"], after(&ids[1]), &["2", "3", "4"]),
            (&["a", "b.>"], Start::Earliest, &["0", "1", "2", "3", "4"]),
            (&["b.*", "*.1", "b.2"], Start::Earliest, &["1", "3"]),
            (&["*", "a", "b.1", "c"], after(&ids[0]), &["1", "2", "4"]),
            (&["a"], after(&ids[4]), &[]),
        ] {
            let mut follower = log.follow(topics(names), from.clone());
            assert_eq!(all(&mut follower, expected.len()).await, expected, "{names:?} {from:?}");
            assert!(is_quiet(&mut follower).await, "{names:?} {from:?}");
        }
    }
    // What was appended before a live follower came is not for it.
    append(&log, "a", "5").await;
    assert_eq!(said(&mut late).await, "5");
}

#[tokio::test]
async fn every_cause_is_told_and_then_comes_what_there_is() {
    let nats = Nats::start().await;
    let log = nats.log_with(settings().events(3).window_events(2)).await;
    let mut slow = log.follow(topics(&["t"]), Start::Live);
    let mut ids = Vec::new();
    for text in ["a", "b", "c", "d", "e"] {
        ids.push(append(&log, "t", text).await);
    }
    for (start, requested, reason) in [
        // Trimmed.
        (after(&ids[0]), true, GapReason::Expired),
        // Of another epoch.
        (Start::After(id("7-1")), true, GapReason::Restarted),
        // Malformed.
        (Start::After(id("7")), true, GapReason::Unknown),
        (Start::After(id("\"\\\u{1}")), true, GapReason::Unknown),
        // Newer than the head.
        (Start::After(shifted(&ids[4], 1_000)), true, GapReason::Unknown),
        (Start::Unknown, false, GapReason::Unknown),
    ] {
        for names in [&["t"][..], &["t", "u"], &["*"]] {
            let mut follower = log.follow(topics(names), start.clone());
            let gap = gap(&mut follower).await;
            assert_eq!(gap.reason, reason, "{start:?}");
            assert_eq!(gap.requested.map(Start::After), requested.then(|| start.clone()));
            assert_eq!(gap.earliest.as_ref(), Some(&ids[2]), "{names:?} {start:?}");
            assert_eq!(gap.latest.as_ref(), Some(&ids[4]));
            assert_eq!(all(&mut follower, 3).await, ["c", "d", "e"]);
            assert!(is_quiet(&mut follower).await);
            // To come back with the place behind the gap is no gap.
            let mut again = log.follow(topics(names), Start::After(gap.position));
            assert_eq!(all(&mut again, 3).await, ["c", "d", "e"]);
        }
    }
    // Nobody knows whether the event that is trimmed was the one that had its sequence.
    for (at, rest) in [(1, &["gap", "c", "d", "e"][..]), (2, &["d", "e"]), (4, &[])] {
        let mut follower = log.follow(topics(&["t"]), after(&ids[at]));
        assert_eq!(all(&mut follower, rest.len()).await, rest);
        assert!(is_quiet(&mut follower).await);
    }
    assert_eq!(all(&mut slow, 4).await, ["gap", "c", "d", "e"]);
    // Nothing to replay at all, and then something.
    let mut empty = log.follow(topics(&["new"]), Start::Unknown);
    let told = gap(&mut empty).await;
    assert_eq!((told.earliest, told.latest), (None, None));
    append(&log, "new", "x").await;
    assert_eq!(said(&mut empty).await, "x");
    assert_eq!(said(&mut log.follow(topics(&["new"]), Start::After(told.position))).await, "x");
}

#[tokio::test]
async fn nothing_is_revealed_of_topics_that_are_not_followed() {
    let nats = Nats::start().await;
    let log = nats.log().await;
    let (mut secret, mut own) = (Vec::new(), Vec::new());
    for n in 0..9 {
        secret.push(append(&log, "secret", &n.to_string()).await);
        if n % 3 == 1 {
            own.push(append(&log, "own", &n.to_string()).await);
        }
    }
    let latest = log.latest(&topics(&["own"])).await.unwrap();
    assert!(!secret.contains(&latest));
    for names in [&["own"][..], &["nothing"], &["own", "nothing"], &["own.*"]] {
        for start in [Start::Unknown, Start::After(id("1-1")), after(&shifted(&own[0], 1_000))] {
            let told = gap(&mut log.follow(topics(names), start)).await;
            let shown = [Some(told.position), told.earliest, told.latest];
            assert!(shown.iter().flatten().all(|shown| !secret.contains(shown)), "{names:?}");
        }
    }
    let mut follower = log.follow(topics(&["own"]), Start::After(secret[0].clone()));
    assert_eq!(all(&mut follower, 3).await, ["1", "4", "7"]);
    let mut follower = log.follow(topics(&["own"]), Start::After(latest));
    assert!(is_quiet(&mut follower).await);
}

/// The last sequence of such a stream is one of no event.
#[tokio::test]
async fn a_stream_of_which_all_is_gone_is_a_gap_at_once() {
    let nats = Nats::start().await;
    let log = nats.log_with(settings().window_events(1)).await;
    let first = append(&log, "t", "a").await;
    for text in ["b", "c"] {
        append(&log, "t", text).await;
    }
    nats.stream().await.purge().await.unwrap();
    let mut followers = Vec::new();
    for names in [&["t"][..], &["t", "u"], &["t", "u.*"], &[">"]] {
        for start in [after(&first), Start::Unknown] {
            let mut follower = log.follow(topics(names), start.clone());
            let told = gap(&mut follower).await;
            assert_eq!((told.earliest, told.latest), (None, None), "{names:?} {start:?}");
            followers.extend([follower, log.follow(topics(names), Start::After(told.position))]);
        }
    }
    append(&log, "t", "d").await;
    for follower in &mut followers {
        assert_eq!(said(follower).await, "d");
    }
}

#[tokio::test]
async fn a_stream_that_is_made_anew_is_a_gap_and_goes_on() {
    let nats = Nats::start().await;
    let log = nats.log_with(settings().storage(NatsStorage::Memory)).await;
    let mut one = log.follow(topics(&["t"]), Start::Live);
    let mut many = log.follow(topics(&["t", "u.*"]), Start::Live);
    let old = append(&log, "t", "old").await;
    assert_eq!((said(&mut one).await, said(&mut many).await), ("old".into(), "old".into()));

    let client = async_nats::connect(nats.url()).await.unwrap();
    async_nats::jetstream::new(client).delete_stream("sse").await.unwrap();
    for follower in [&mut one, &mut many] {
        let told = gap(follower).await;
        assert_eq!(told.requested, Some(old.clone()));
        assert_eq!(told.latest, None);
    }
    let new = append(&log, "t", "new").await;
    assert_ne!(new, old, "the sequences are the same, the epochs are not");
    for follower in [&mut one, &mut many] {
        assert_eq!(said(follower).await, "new");
        assert!(is_quiet(follower).await);
    }
    assert_eq!(all(&mut log.follow(topics(&["t"]), after(&old)), 2).await, ["gap", "new"]);
}

/// Its disk was lost with the server.
#[tokio::test]
async fn a_server_that_lost_its_data_is_a_gap() {
    let mut nats = Nats::start().await;
    let log = nats.log().await;
    let mut follower = log.follow(topics(&["t"]), Start::Live);
    let ids = [append(&log, "t", "0").await, append(&log, "t", "1").await];
    assert_eq!(all(&mut follower, 2).await, ["0", "1"]);
    nats.kill();
    nats.forget();
    nats.restart().await;
    assert_eq!(gap(&mut follower).await.requested.as_ref(), Some(&ids[1]));
    append(&log, "t", "new").await;
    assert_eq!(said(&mut follower).await, "new");
    assert_eq!(all(&mut log.follow(topics(&["t"]), after(&ids[0])), 2).await, ["gap", "new"]);
}

#[tokio::test]
async fn what_others_write_breaks_nothing() {
    let nats = Nats::start().await;
    let log = nats.log().await;
    let mut follower = log.follow(topics(&[">"]), Start::Live);
    let client = async_nats::connect(nats.url()).await.unwrap();
    for payload in ["data: x", "id: 9-9\ndata: x\n\n", "data: x\n\ndata: y\n\n", "", "\n\n"] {
        client.publish("sse.t", payload.into()).await.unwrap();
    }
    client.publish("sse.t", "data: theirs\n\n".into()).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(said(&mut follower).await, "theirs");
    append(&log, "t", "ours").await;
    assert_eq!(said(&mut follower).await, "ours");
    let mut early = log.follow(topics(&["t"]), Start::Earliest);
    assert_eq!(all(&mut early, 2).await, ["theirs", "ours"]);

    let refused = log.append(&topic("t"), Event::new()).await;
    assert_eq!(refused, Err(BrokerError::NoData));
    let refused = log.append(&topic("t"), data("x".repeat(2_000_000))).await;
    assert_eq!(refused, Err(BrokerError::TooLong));
}

#[tokio::test]
async fn a_stream_or_a_setting_that_cannot_be_a_log_is_an_error() {
    let nats = Nats::start().await;
    for settings in [
        settings().stream("a b"),
        settings().stream(""),
        settings().prefix("a.*"),
        settings().prefix("$JS"),
        settings().events(0),
        settings().age(Duration::from_millis(1)),
        settings().append_timeout(Duration::from_secs(3_600)),
    ] {
        assert!(settings.clone().connect(&nats.url()).await.is_err(), "{settings:?}");
    }
    nats.log().await;
    let other = settings().prefix("other").connect(&nats.url()).await;
    assert!(other.unwrap_err().to_string().contains("subjects"));
    assert!(NatsLog::connect("nats://127.0.0.1:1").await.is_err());
}

/// With or without TLS built in: it has no certificate.
#[tokio::test]
async fn a_server_beside_one_with_tls_is_told_nothing_without_tls() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("tls://ann:secret@127.0.0.1:1,nats://ann:secret@{address}");
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let info = b"INFO {\"max_payload\":1}\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, info).await.unwrap();
        let mut told = [0; 7];
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut told).await;
        read.is_ok_and(|_| told == *b"CONNECT")
    };
    let (log, is_told) = tokio::join!(NatsLog::connect(&url), server);
    assert!(log.is_err() && !is_told);
}

/// With or without TLS built in: it has no certificate.
#[tokio::test]
async fn a_server_that_asks_for_tls_is_an_error_and_no_panic() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let info = b"INFO {\"max_payload\":1,\"tls_required\":true}\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, info).await.unwrap();
        // Whatever it says, this is no answer.
        tokio::io::AsyncWriteExt::write_all(&mut stream, &[0; 64]).await.unwrap();
    };
    let (log, ()) = tokio::join!(NatsLog::connect(&url), server);
    assert!(log.is_err());
}
