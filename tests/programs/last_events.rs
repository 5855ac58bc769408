//! The last events of topics in brokers, which are asked for from the end.

use futures_util::{StreamExt, stream};
use tower_sse::Hub;
use tower_sse::event_log::{EventLog, NatsLog, PostgresLog, RedisLog};

use crate::harness::broker::{Way, append, data_of, topic, topics};
use crate::harness::nats::{Nats, settings};
use crate::harness::{postgres, redis};

async fn last<L: EventLog>(log: &L, names: &[&str], count: usize) -> Vec<String> {
    let last = log.last(&topics(names), count).await.expect("the broker is there");
    last.iter().map(|event| data_of(event.bytes())).collect()
}

const NAMES: [&str; 6] = ["a", "b.1", "b.2.x", "c+d.e%f", "p(x)[y].-1", "b.3_4"];

const SETS: [&[&str]; 8] = [
    &["a"],
    &["a", "none", "c+d.e%f"],
    &["b.*"],
    &["b.1", "b.*", "a"],
    &["b.>", "c+d.*"],
    &["p(x)[y].*", "b.3_4"],
    &["none.*", "none"],
    &[">"],
];

/// Also of patterns, and of events that are too long for a feed.
async fn the_last_events_are_those_that_were_appended_last<L: EventLog>(log: &L) {
    let mut all = Vec::new();
    for n in 0..400 {
        let rest = if n % 7 == 0 { " long".repeat(200) } else { String::new() };
        let (name, text) = (NAMES[n * n % 11 % 6], format!("{n}{rest}"));
        append(log, name, &text).await;
        all.push((topic(name), text));
    }
    // Its end is none of its events, wherever it is.
    Hub::new(log.clone()).finish(&topic("b.1")).await.unwrap();
    append(log, "a", "the last").await;
    all.push((topic("a"), "the last".to_owned()));
    for set in SETS {
        let of_set = all.iter().filter(|(name, _)| topics(set).matches(name));
        let of_set: Vec<_> = of_set.map(|(_, text)| text.clone()).collect();
        for count in [1, 3, 30, 300, usize::MAX] {
            let expected = &of_set[of_set.len().saturating_sub(count)..];
            assert_eq!(last(log, set, count).await, expected, "the last {count} of {set:?}");
        }
    }
}

#[tokio::test]
async fn the_last_events_in_redis_are_those_that_were_appended_last() {
    let server = redis::Server::start().await;
    the_last_events_are_those_that_were_appended_last(&redis::log(&server.url()).await).await;
}

#[tokio::test]
async fn the_last_events_in_postgres_are_those_that_were_appended_last() {
    let server = postgres::Server::start().await;
    let log = postgres::log(&server.address()).await;
    the_last_events_are_those_that_were_appended_last(&log).await;
}

/// One node has them in its window, and the other has none of them.
#[tokio::test]
async fn the_last_events_in_nats_are_those_that_were_appended_last() {
    for nats in Nats::start_each_version().await {
        let wide = nats.log().await;
        the_last_events_are_those_that_were_appended_last(&wide).await;
        let narrow = nats.log_with(settings().window_events(2)).await;
        for set in SETS {
            for count in [1, 3, 30, usize::MAX] {
                let [wide, narrow] = [&wide, &narrow].map(|log| last(log, set, count));
                assert_eq!(narrow.await, wide.await, "the last {count} of {set:?}");
            }
        }
    }
}

/// Many events of one topic, with some of another between them, and one of a third before them all.
async fn fill<L: EventLog>(log: &L) {
    append(log, "old", "of old").await;
    let text = "x".repeat(500);
    let appends = stream::iter(0..MANY).map(async |n| {
        let name = if n % 10 == 0 { "others" } else { "t" };
        append(log, name, &text).await;
    });
    appends.buffer_unordered(64).for_each(|()| std::future::ready(())).await;
    for n in 0..3 {
        append(log, "t", &n.to_string()).await;
        append(log, "u", &n.to_string()).await;
    }
}

/// That a broker answers few bytes for the last events.
async fn costs_little<L: EventLog>(log: &L, way: &Way, names: &[&str], expected: &[&str]) {
    let before = way.bytes();
    assert_eq!(last(log, names, expected.len().max(1)).await, expected, "{names:?}");
    let cost = way.bytes() - before;
    println!("the last {} of {names:?}: {cost} bytes", expected.len());
    assert!(cost < 64 * 1024, "of {MANY} events: {cost} bytes for {names:?}");
}

async fn all_cost_little<L: EventLog>(log: &L, way: &Way) {
    costs_little(log, way, &["t"], &["0", "1", "2"]).await;
    costs_little(log, way, &["t", "u", "none"], &["1", "2", "2"]).await;
    costs_little(log, way, &["old", "none"], &["of old"]).await;
    costs_little(log, way, &["none"], &[]).await;
    costs_little(log, way, &["*"], &["2", "2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_events_in_redis_are_one_request_that_reads_no_others() {
    let server = redis::Server::start().await;
    let way = Way::to(&server).await;
    let log = redis::connect(RedisLog::builder().events(2 * MANY as usize), &way.url()).await;
    fill(&log).await;
    all_cost_little(&log, &way).await;
    let counts = || {
        let stats = server.cli(&["INFO", "commandstats"]);
        ["evalsha", "xrevrange"].map(|command| {
            let name = format!("cmdstat_{command}:calls=");
            let calls = stats.lines().find_map(|line| line.strip_prefix(&*name)).expect("some");
            calls.split(',').next().unwrap().parse::<u32>().unwrap()
        })
    };
    for (names, count, most) in [(&["t"][..], 3, 3), (&["t", "u", "old", "none"], 3, 6)] {
        let before = counts();
        assert_eq!(last(&log, names, count).await.len(), count);
        let [requests, reads] = [0, 1].map(|at| counts()[at] - before[at]);
        assert_eq!(requests, 1, "{names:?}");
        assert!(reads <= most, "{reads} reads for the last {count} of {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_events_in_postgres_are_one_request_that_reads_no_others() {
    let server = postgres::Server::start().await;
    let way = Way::to(&server).await;
    let settings = || PostgresLog::builder().events(2 * MANY as usize);
    let address = postgres::address(&way.url());
    let log = postgres::connect(settings(), &address).await;
    fill(&log).await;
    all_cost_little(&log, &way).await;
    drop(log);
    server.sql("VACUUM ANALYZE tower_sse_events");
    for (names, most) in [(&["t"][..], 3), (&["t", "u", "old", "none"], 12)] {
        let mut counts = Vec::new();
        for looks in [0, 1] {
            let before = server.rows_read().await;
            let log = postgres::connect(settings(), &server.address()).await;
            for _ in 0..looks {
                assert_eq!(last(&log, names, 3).await.len(), 3);
            }
            drop(log);
            counts.push(server.rows_read().await - before);
        }
        let read = counts[1] - counts[0];
        println!("{read} rows for the last 3 of {names:?}, beside {} to connect", counts[0]);
        assert!(read <= most + HEAD, "{read} rows for the last 3 of {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_events_in_nats_are_few_requests_that_read_few_others() {
    for nats in Nats::start_each_version().await {
        let way = Way::to(&nats).await;
        let nothing = NatsLog::builder().window_events(2).bytes(64 * 1024 * 1024);
        fill(&nothing.clone().connect(&nats.url()).await.unwrap()).await;
        let log = nothing.connect(&way.url()).await.unwrap();
        all_cost_little(&log, &way).await;
    }
}

/// Each broker drops it by itself, and has events of other topics.
async fn a_topic_that_expired_has_no_last_events<L: EventLog>(
    log: &L,
    expire: impl Future<Output = ()>,
) {
    append(log, "t", "1").await;
    expire.await;
    append(log, "u", "2").await;
    assert!(last(log, &["t"], 3).await.is_empty());
    assert_eq!(last(log, &["t", "u"], 3).await, ["2"]);
    append(log, "t", "3").await;
    assert_eq!(last(log, &["t", "u"], 3).await, ["2", "3"]);
}

#[tokio::test]
async fn topics_that_expired_have_no_last_events() {
    let server = redis::Server::start().await;
    let expire = async {
        let keys = ["topic", "last"].map(|kind| format!("{{tower-sse}}:{kind}:t"));
        assert_eq!(server.cli(&["DEL", &keys[0], &keys[1]]).trim(), "2");
    };
    let log = redis::log(&server.url()).await;
    a_topic_that_expired_has_no_last_events(&log, expire).await;

    let server = postgres::Server::start().await;
    let log = postgres::log(&server.address()).await;
    let expire = async {
        server.sql("UPDATE tower_sse_topics SET look_at = 0; SELECT tower_sse_sweep(1)");
        assert_eq!(server.sql("SELECT count(*) FROM tower_sse_events"), "0");
    };
    a_topic_that_expired_has_no_last_events(&log, expire).await;

    let nats = Nats::start().await;
    let log = nats.log_with(settings().window_events(1)).await;
    let expire = async {
        nats.stream().await.purge().await.unwrap();
    };
    Box::pin(a_topic_that_expired_has_no_last_events(&log, expire)).await;
}

/// What a server reads of the log itself, to know its head.
const HEAD: u32 = 4;

const MANY: u32 = 10_000;
