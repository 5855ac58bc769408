//! A reader that is given replies of a Redis, and connects to none; and a link to a stub.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use redis::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::RedisLogBuilder;
use super::address::RedisAddress;
use super::feed::FeedPage;
use super::link::RedisLink;
use super::protocol::tests::{bulk, stored};
use super::protocol::{EventToAppend, HeadRequest, LogLimits, RedisKeys};
use super::reader::{FeedReader, FeedState};
use crate::event_log::Topic;
use crate::event_log::broker::tests::{follow_empty, ready_ids};
use crate::event_log::broker::{BrokerTopics, LogHead, PatientSource, WindowLimits};

fn link(url: &str) -> (RedisLink, RedisAddress) {
    let address = RedisAddress::parse(&RedisLogBuilder::default(), url, "p").unwrap();
    let idle = Duration::from_secs(3600);
    let keys = RedisKeys::new(
        "p",
        LogLimits { events: 10_000, feed_events: 100, idle, duplicate_window: idle },
    );
    (RedisLink::new(&address, keys, Duration::from_secs(1)), address)
}

fn reader() -> (FeedReader, Arc<BrokerTopics>) {
    let (link, address) = link("redis://127.0.0.1:1");
    let limits = WindowLimits { events: 10_000, bytes: 1 << 20 };
    let topics = Arc::new(BrokerTopics::new(Box::new(PatientSource::new(link.clone())), limits));
    let head = LogHead { epoch: 7, last_event: 0, sequence: 0, clock: 0 };
    (FeedReader::new(link, Arc::clone(&topics), address, head), topics)
}

/// An entry for the first event of a topic.
fn entry(epoch: u64, previous: u64, sequence: u64, topic: &str, event: Option<&str>) -> Value {
    let numbers = format!("{epoch} {previous} 0 known");
    let mut fields = vec!["t", topic, "n", &numbers];
    fields.extend(event.iter().flat_map(|event| ["e", event]));
    stored(&format!("{sequence}-0"), &fields)
}

fn page(entries: Vec<Value>) -> FeedPage {
    FeedPage::parse(Value::Map(vec![(bulk("feed"), Value::Array(entries))])).unwrap()
}

#[tokio::test]
async fn no_event_comes_before_older_ones_of_other_topics_that_are_not_fetched_yet() {
    let (mut reader, topics) = reader();
    let mut both = follow_empty(&topics, &["a", "b"]);
    let mut of_a = follow_empty(&topics, &["a"]);
    let short = Some("data: x\n\n");
    let long_and_short = vec![entry(7, 0, 5, "b", None), entry(7, 5, 6, "a", short)];
    assert_eq!(reader.take(page(long_and_short)), FeedState::InOrder);
    assert_eq!(ready_ids(&mut of_a), ["7-6"]);
    assert!(ready_ids(&mut both).is_empty(), "an event of `b` is before it");
    let later = vec![entry(7, 6, 7, "c", short)];
    assert_eq!(reader.take(page(later)), FeedState::InOrder);
    assert!(ready_ids(&mut both).is_empty());
}

#[tokio::test]
async fn entries_that_do_not_follow_on_what_was_read_are_a_break() {
    let short = Some("data: x\n\n");
    for broken in [entry(7, 6, 8, "a", short), entry(9, 5, 8, "a", short)] {
        let (mut reader, topics) = reader();
        let mut follower = follow_empty(&topics, &["a"]);
        let entries = vec![entry(7, 0, 5, "a", short), broken];
        assert_eq!(reader.take(page(entries)), FeedState::Broken);
        assert_eq!(ready_ids(&mut follower), ["7-5"]);
        assert_eq!(topics.watermark(), 5);
    }
}

/// A server that was replaced took 8, and the one that replaced it another event instead.
#[tokio::test]
async fn an_entry_after_one_that_was_not_read_is_a_branch_and_after_what_was_forgotten_is_none() {
    for (previous, state) in [
        (8, FeedState::InOrder),
        (5, FeedState::InOrder),
        (7, FeedState::Branched),
        (4, FeedState::Branched),
        (9, FeedState::Broken),
    ] {
        let (mut reader, topics) = reader();
        let mut follower = follow_empty(&topics, &["a"]);
        let short = Some("data: x\n\n");
        let read = vec![entry(7, 0, 5, "a", short), entry(7, 5, 8, "b", short)];
        assert_eq!(reader.take(page(read)), FeedState::InOrder);
        let next =
            stored("10-0", &["t", "a", "n", &format!("7 {previous} 5 known"), "e", "data: x\n\n"]);
        assert_eq!(reader.take(page(vec![next])), state, "{previous}");
        let expected: &[_] = if state == FeedState::InOrder { &["7-5", "7-10"] } else { &["7-5"] };
        assert_eq!(ready_ids(&mut follower), expected);
    }
}

/// Answers the requests of one connection, until there is no answer.
async fn serve<A: AsRef<[u8]>>(
    listener: Arc<TcpListener>,
    mut answer: impl FnMut(&[String]) -> Option<A>,
) {
    let mut socket = BufReader::new(listener.accept().await.unwrap().0);
    loop {
        let mut request = Vec::new();
        for _ in 0..number(&mut socket).await {
            let mut word = vec![0; number(&mut socket).await + 2];
            socket.read_exact(&mut word).await.unwrap();
            word.truncate(word.len() - 2);
            request.push(String::from_utf8(word).unwrap());
        }
        match answer(&request) {
            Some(answer) => socket.write_all(answer.as_ref()).await.unwrap(),
            None => std::future::pending().await,
        }
    }
}

/// Answers as a server that has the slot, and gives the head when it is asked for it.
fn has_slot(request: &[String]) -> &'static str {
    match &*request[0] {
        "EVALSHA" => "*4\r\n:7\r\n:1\r\n:1\r\n:1\r\n",
        _ => "+OK\r\n",
    }
}

async fn listen() -> (Arc<TcpListener>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    (Arc::new(listener), url)
}

/// The number in a line such as `*3` or `$5`.
async fn number(socket: &mut BufReader<TcpStream>) -> usize {
    let mut line = String::new();
    socket.read_line(&mut line).await.unwrap();
    line.trim_end()[1..].parse().unwrap()
}

#[tokio::test]
async fn an_append_that_was_refused_and_then_not_answered_may_have_been_executed() {
    let (listener, url) = listen().await;
    let (link, _) = link(&url);
    let mut appends = 0;
    let stub = tokio::spawn(serve(listener, move |request| {
        let words: Vec<_> = request.iter().map(String::as_str).collect();
        match words[..] {
            ["EVALSHA", _, "7", ..] => {
                appends += 1;
                (appends == 1).then_some("-TRYAGAIN Multiple keys request during rehashing\r\n")
            }
            _ => Some(has_slot(request)),
        }
    }));
    let topic = Topic::new("t").unwrap();
    let event = EventToAppend { topic: &topic, bytes: b"data: x\n\n", message: None };
    let error = link.append(&event, Duration::from_secs(1)).await.unwrap_err();
    assert!(error.is_timeout(), "it is not known: {error}");
    stub.abort();
}

/// While a replica takes over: nothing was sent, so there is no harm in it.
#[tokio::test]
async fn that_a_server_names_one_that_is_away_is_told_as_a_refusal_which_is_tried_again() {
    let (listener, url) = listen().await;
    let urls = format!("{url},redis://127.0.0.1:1");
    let stub = tokio::spawn(serve(listener, |request| match &*request[0] {
        "MGET" => Some("-MOVED 5614 127.0.0.1:1\r\n"),
        _ => Some("+OK\r\n"),
    }));
    let error = link(&urls).0.request_head(HeadRequest::Read).await.unwrap_err();
    assert_eq!(error.code(), Some("MOVED"), "{error}");
    stub.abort();
}

/// It may be connected to one that hangs, and wait for long.
#[tokio::test]
async fn the_reader_leaves_a_server_when_another_connection_finds_the_slot_elsewhere() {
    let ((old, url), (new, other)) = (listen().await, listen().await);
    let (link, address) = link(&url);
    let is_renewed = || address.renew_reader.notified().now_or_never().is_some();
    let stub = tokio::spawn(serve(Arc::clone(&old), |request| Some(has_slot(request))));
    link.request_head(HeadRequest::Read).await.unwrap();
    assert!(!is_renewed(), "it is where it was");
    stub.abort();
    let moved = format!("-MOVED 5614 {}\r\n", &other["redis://".len()..]);
    let stubs = [
        tokio::spawn(serve(old, move |request| match &*request[0] {
            "MGET" => Some(moved.clone()),
            _ => Some("+OK\r\n".to_owned()),
        })),
        tokio::spawn(serve(new, |request| Some(has_slot(request)))),
    ];
    link.head_within(Duration::from_secs(60), HeadRequest::Read).await.unwrap_err();
    link.head_within(Duration::from_secs(60), HeadRequest::Read).await.unwrap();
    assert!(is_renewed());
    stubs.iter().for_each(JoinHandle::abort);
}
