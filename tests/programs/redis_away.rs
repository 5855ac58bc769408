//! While Redis is away streams stay open and publishers are told; when it is back nothing is lost
//! that it kept, and nothing comes twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tower_sse::Event;
use tower_sse::event_log::{BrokerError, EventLog, RedisLog, Start, Step};

use crate::harness::redis;
use crate::harness::redis::{
    LONG, Server, Way, all, append, connect, data_of, follow, log, nothing, step, topic,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_under_load_and_nothing_is_lost_or_repeated() {
    let mut server = Server::durable().await;
    let settings = || RedisLog::builder().events(1_000_000);
    let (one, two) =
        (connect(settings(), &server.url()).await, connect(settings(), &server.url()).await);
    let followers = [
        follow(&one, &["t"], Start::Live),
        follow(&two, &["t"], Start::Live),
        follow(&two, &["t", "u"], Start::Live),
    ];
    let (over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let publisher = tokio::spawn({
        let (log, over, count) = (one.clone(), Arc::clone(&over), Arc::clone(&acknowledged));
        async move {
            let (mut known, mut n) = (Vec::new(), 0);
            while !over.load(Ordering::Relaxed) {
                let event = Event::new().data(format!("{n}"));
                match log.append(&topic("t"), event).await {
                    Ok(_) => {
                        known.push(n);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    // It may be there or not; the next number is another event.
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
                n += 1;
            }
            log.append(&topic("t"), Event::new().data("end")).await.unwrap();
            known
        }
    });
    let readers = followers.map(|mut follower| {
        tokio::spawn(async move {
            let mut read = Vec::new();
            loop {
                let Step::Event(event) = step(&mut follower).await else {
                    panic!("a gap behind {:?}", read.last());
                };
                match data_of(event.bytes()).parse::<u32>() {
                    Ok(n) => read.push(n),
                    Err(_) => return read,
                }
            }
        })
    });
    for _ in 0..3 {
        let before = acknowledged.load(Ordering::Relaxed);
        let on = async {
            while acknowledged.load(Ordering::Relaxed) < before + 300 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, on).await.expect("it goes on");
        server.kill();
        sleep(Duration::from_millis(300)).await;
        server.restart().await;
    }
    sleep(Duration::from_millis(500)).await;
    over.store(true, Ordering::Relaxed);
    let known = publisher.await.unwrap();
    for reader in readers {
        let read = reader.await.unwrap();
        assert!(read.windows(2).all(|two| two[0] < two[1]), "in order, and none twice");
        let missing = known.iter().find(|n| read.binary_search(n).is_err());
        assert_eq!(missing, None, "it was acknowledged");
        println!("{} read, {} acknowledged", read.len(), known.len());
    }
}

#[tokio::test]
async fn a_partition_of_a_node_delays_its_followers_and_no_more() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    // Fewer than are appended meanwhile, or the feed has what was trimmed.
    let settings = || RedisLog::builder().feed_events(100);
    let (cut_off, other) =
        (connect(settings(), &way.url()).await, connect(settings(), &server.url()).await);
    let place = append(&other, "t", "0").await;
    let mut live = follow(&cut_off, &["t"], Start::Live);
    append(&other, "t", "1").await;
    while redis::said(&mut live).await != "1" {}
    way.close().await;
    for n in 2..2_002 {
        append(&other, "t", &n.to_string()).await;
    }
    let expected: Vec<String> = (2..2_002).map(|n| n.to_string()).collect();
    // Those that come meanwhile wait as well.
    let mut late = follow(&cut_off, &["t"], Start::After(place.clone()));
    let mut fresh = follow(&cut_off, &["u"], Start::After(place));
    assert_eq!(redis::said(&mut late).await, "1", "it is in the window");
    nothing(&mut late).await;
    sleep(A_SECOND).await;
    nothing(&mut live).await;
    nothing(&mut fresh).await;
    way.open().await;
    // Redis keeps 1,024 to 1,124 of a topic: this one is told what it lost, and only that.
    let Step::Gap(gap) = step(&mut live).await else { panic!("some of it was trimmed") };
    let first = redis::said(&mut live).await;
    let at: usize = first.parse::<usize>().unwrap() - 2;
    assert!(gap.requested.is_some() && (870..=980).contains(&at), "{at}");
    assert_eq!(all(&mut live, 1_999 - at).await, expected[at + 1..]);
    assert_eq!(all(&mut late, 2).await, ["gap", &first]);
    append(&other, "u", "x").await;
    assert_eq!(redis::said(&mut fresh).await, "x");
    append(&cut_off, "t", "y").await;
    assert_eq!(redis::said(&mut live).await, "y");
}

#[tokio::test]
async fn a_partition_loses_nothing_that_redis_kept() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let (cut_off, other) = (log(&way.url()).await, log(&server.url()).await);
    let mut live = follow(&cut_off, &["t", "u"], Start::Live);
    append(&other, "t", "0").await;
    assert_eq!(redis::said(&mut live).await, "0");
    for round in 0..3 {
        way.close().await;
        let mut expected = Vec::new();
        // More of one topic than are read at once, and then of the other.
        for n in 0..900 {
            let name = if n % 9 == 8 { "v" } else { ["t", "t", "u"][n / 300] };
            let text = format!("{round} {n}");
            append(&other, name, &text).await;
            if name != "v" {
                expected.push(text);
            }
        }
        nothing(&mut live).await;
        way.open().await;
        assert_eq!(all(&mut live, expected.len()).await, expected);
        nothing(&mut live).await;
    }
}

#[tokio::test]
async fn publishers_are_told_at_once_or_after_their_timeout() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let timeout = Duration::from_millis(300);
    let settings = RedisLog::builder().append_timeout(timeout);
    let log = settings.connect(&way.url()).await.unwrap();
    let publish = async || {
        let began = Instant::now();
        let appended = log.append(&topic("t"), Event::new().data("x")).await;
        (appended, began.elapsed())
    };
    publish().await.0.unwrap();
    way.close().await;
    for _ in 0..5 {
        let (appended, took) = publish().await;
        let error = appended.expect_err("Redis is away");
        assert!(matches!(error, BrokerError::Away(_) | BrokerError::TimedOut), "{error:?}");
        assert!(took < 10 * timeout, "{took:?}");
    }
    let error = log.latest(&redis::topics(&["t"])).await.expect_err("Redis is away");
    assert!(matches!(error, BrokerError::Away(_) | BrokerError::TimedOut), "{error:?}");
    way.open().await;
    let back = Instant::now();
    while publish().await.0.is_err() {
        assert!(back.elapsed() < LONG, "it comes back");
    }
    println!("back after {:?}", back.elapsed());
}

#[tokio::test]
async fn what_cannot_be_appended_is_refused() {
    let server = Server::start().await;
    let log = connect(RedisLog::builder().max_event_bytes(64), &server.url()).await;
    let append = async |event| log.append(&topic("t"), event).await;
    assert_eq!(append(Event::new()).await, Err(BrokerError::NoData));
    let too_long = Event::new().data("x".repeat(64));
    assert_eq!(append(too_long).await, Err(BrokerError::TooLong));
    // No room, by its own account.
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = append(Event::new().data("x")).await;
    assert!(matches!(&refused, Err(BrokerError::Refused(_))), "{refused:?}");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    append(Event::new().data("x")).await.unwrap();
    assert_eq!(server.cli(&["XLEN", "{tower-sse}:topic:t"]).trim(), "1");
}

#[tokio::test]
async fn a_log_that_cannot_be_is_refused_when_it_is_made() {
    let nowhere = RedisLog::connect("redis://127.0.0.1:1").await;
    assert!(matches!(nowhere, Err(BrokerError::Away(_))), "{nowhere:?}");
    let secret = RedisLog::connect("http://me:secret@localhost").await.unwrap_err();
    assert!(!format!("{secret:?} {secret}").contains("secret"), "{secret:?}");
    let builder = RedisLog::builder;
    for wrong in [
        builder().events(0),
        builder().window_events(0).window_bytes(1),
        builder().window_events(1).window_bytes(0),
        builder().max_event_bytes(0),
        builder().idle(Duration::ZERO),
        builder().idle(Duration::MAX),
        builder().append_timeout(Duration::ZERO),
        builder().prefix(""),
        builder().prefix("a}b"),
    ] {
        let refused = wrong.connect("redis://127.0.0.1:1").await;
        assert!(matches!(refused, Err(BrokerError::Setting(_))), "{refused:?}");
    }
}

/// `redis_nodes` has one of ten.
const A_SECOND: Duration = Duration::from_secs(1);
