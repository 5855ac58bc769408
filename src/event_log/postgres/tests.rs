//! A reader that is given answers of a PostgreSQL, and connects to none.

use std::sync::Arc;
use std::time::Duration;

use super::address::Connector;
use super::connection::SessionOpener;
use super::link::PostgresLink;
use super::reader::{FeedReader, FeedState};
use super::rows::StoredEvents;
use super::rows::tests::{read, stored};
use super::schema::Statements;
use crate::event_log::broker::tests::{follow_empty, ready_ids};
use crate::event_log::broker::{BrokerTopics, LogHead, PatientSource, WindowLimits};

fn reader() -> (FeedReader, Arc<BrokerTopics>) {
    let hosts = Arc::new(["host=127.0.0.1 port=1".parse().unwrap()]);
    let opener = SessionOpener::new(Connector::default(), hosts, Statements::new("p"));
    let limits = WindowLimits { events: 10_000, bytes: 1 << 20 };
    let link = PostgresLink::new(opener, Duration::from_secs(1));
    let topics = Arc::new(BrokerTopics::new(Box::new(PatientSource::new(link.clone())), limits));
    let head = LogHead { epoch: 7, last_event: 0, sequence: 0, clock: 0 };
    (FeedReader::new(link, Arc::clone(&topics), head), topics)
}

const SHORT: Option<&str> = Some("data: x\n\n");

#[tokio::test]
async fn no_event_comes_before_older_ones_of_other_topics_that_are_not_fetched_yet() {
    let (mut reader, topics) = reader();
    let mut both = follow_empty(&topics, &["a", "b"]);
    let mut of_a = follow_empty(&topics, &["a"]);
    let long_and_short = vec![stored(5, 0, "b", None), stored(6, 0, "a", SHORT)];
    assert_eq!(reader.take(read(long_and_short)), FeedState::AtEnd);
    assert_eq!(ready_ids(&mut of_a), ["7-6"]);
    assert!(ready_ids(&mut both).is_empty(), "an event of `b` is before it");
    assert_eq!(reader.take(read(vec![stored(7, 0, "c", SHORT)])), FeedState::AtEnd);
    assert!(ready_ids(&mut both).is_empty());
    assert_eq!(topics.watermark(), 7);
}

#[tokio::test]
async fn an_answer_of_another_epoch_is_not_taken() {
    let (mut reader, topics) = reader();
    let mut follower = follow_empty(&topics, &["a"]);
    let mut other = read(vec![stored(5, 0, "a", SHORT)]);
    other.head.epoch = 8;
    assert_eq!(reader.take(other), FeedState::Restarted);
    assert!(ready_ids(&mut follower).is_empty());
    assert_eq!(topics.watermark(), 0);
}

/// An event that was appended long after the topic had expired does not know its predecessor.
fn unsure(sequence: u64, expired: u64) -> StoredEvents {
    let mut event = stored(sequence, expired, "a", SHORT);
    event.is_unsure = true;
    StoredEvents { floor: expired, ..read(vec![event]) }
}

#[tokio::test]
async fn a_topic_that_expired_is_no_gap_for_those_that_read_all_of_it() {
    let (mut reader, topics) = reader();
    let mut follower = follow_empty(&topics, &["a"]);
    reader.take(read(vec![stored(5, 0, "a", SHORT), stored(9, 0, "b", SHORT)]));
    reader.take(unsure(20, 8));
    assert_eq!(ready_ids(&mut follower), ["7-5", "7-20"]);
}

#[tokio::test]
async fn a_topic_that_expired_while_it_was_not_read_is_fetched_anew() {
    let (mut reader, topics) = reader();
    let mut follower = follow_empty(&topics, &["a"]);
    reader.take(read(vec![stored(5, 0, "a", SHORT)]));
    assert_eq!(ready_ids(&mut follower), ["7-5"]);
    // Of `a` there may have been an event up to 8, which this process did not read.
    reader.take(unsure(20, 8));
    assert!(ready_ids(&mut follower).is_empty(), "it is not known to be the next one");
}
