//! A message is taken once in its topic, within a window.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use tower_sse::event_log::{
    Appended, EventLog, MemoryFollower, MemoryLog, MemoryLogError, MessageId, Start, Topic, Topics,
};
use tower_sse::hub::PublishError;
use tower_sse::{Event, EventId, Hub};

use crate::harness::SECOND;
use crate::harness::hub::{all, data, follow, next_for, topic};

fn message(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

fn once(log: &MemoryLog, name: &str, text: &str, id: &str) -> Appended {
    log.append_once_now(&topic(name), data(text), &message(id)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_message_id_is_taken_for_the_window_and_no_longer_however_often_it_is_repeated() {
    let log = MemoryLog::builder().duplicate_window(10 * SECOND).build().unwrap();
    let first = once(&log, "t", "1", "m");
    for _ in 0..3 {
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(once(&log, "t", "2", "m"), Appended::repeat(first.id.clone()));
    }
    tokio::time::sleep(SECOND).await;
    assert!(!once(&log, "t", "3", "m").is_repeat);
    assert_eq!(all(&mut follow(&log, &["t"], Start::Earliest)), ["1", "3"]);
}

/// What is remembered is that it was taken, and not its event.
#[tokio::test(start_paused = true)]
async fn a_message_id_is_taken_although_its_event_and_its_topic_are_gone() {
    let log = MemoryLog::builder().age(SECOND).idle(SECOND).build().unwrap();
    let first = once(&log, "t", "1", "m");
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(log.topics(), 0);
    assert_eq!(once(&log, "t", "1", "m"), Appended::repeat(first.id));
    assert_eq!(log.topics(), 0, "a repeat makes no topic");
}

#[test]
fn of_more_messages_than_are_remembered_the_oldest_is_forgotten() {
    let log = MemoryLog::builder().message_ids(2).build().unwrap();
    for id in ["a", "b", "c"] {
        once(&log, "t", id, id);
    }
    assert!(once(&log, "t", "again", "b").is_repeat && once(&log, "t", "again", "c").is_repeat);
    assert!(!once(&log, "t", "again", "a").is_repeat);
    assert!(MemoryLog::builder().message_ids(0).build().is_err());
    assert!(MemoryLog::builder().duplicate_window(Duration::ZERO).build().is_err());
}

#[test]
fn of_threads_that_append_the_same_messages_one_appends_each() {
    let (log, appended) = (MemoryLog::new(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..500 {
                    let text = n.to_string();
                    if !once(&log, ["t", "u"][n % 2], &text, &text).is_repeat {
                        appended.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(appended.into_inner(), 500);
    assert_eq!(all(&mut follow(&log, &["t", "u"], Start::Earliest)).len(), 500);
}

/// Wakes by appending the message again, and the next one.
struct Appends {
    log: MemoryLog,
    answers: Mutex<Vec<Appended>>,
}

impl Wake for Appends {
    fn wake(self: Arc<Self>) {
        let answers = ["m", "next"].map(|id| once(&self.log, "t", id, id));
        self.answers.lock().unwrap().extend(answers);
    }
}

#[test]
fn a_follower_that_is_woken_by_a_message_may_append_messages() {
    let log = MemoryLog::new();
    let appends = Arc::new(Appends { log: log.clone(), answers: Mutex::default() });
    let waker = Waker::from(Arc::clone(&appends));
    for names in [&["t"][..], &["*"]] {
        let mut follower = follow(&log, names, Start::Live);
        assert!(next_for(&mut follower, &waker).is_none());
        once(&log, "t", "1", &format!("m{}", names[0]));
    }
    let answers = appends.answers.lock().unwrap();
    let repeats: Vec<_> = answers.iter().map(|answer| answer.is_repeat).collect();
    assert_eq!(repeats, [false, false, true, true]);
}

#[tokio::test]
async fn a_hub_publishes_a_message_once() {
    let hub = Hub::default();
    let t = topic("t");
    let publish = |id| hub.publish_once(&t, data("paid"), id);
    let (payment, other) = (message("payment-7"), message("payment-8"));
    let first = publish(&payment).await.unwrap();
    assert_eq!(publish(&payment).await.unwrap(), Appended::repeat(first.id));
    assert!(!publish(&other).await.unwrap().is_repeat);
    assert_eq!(all(&mut follow(hub.log(), &["t"], Start::Earliest)), ["paid", "paid"]);
    let refused = hub.publish_once(&topic("t"), Event::new(), &message("x")).await;
    assert_eq!(refused, Err(PublishError::Log(MemoryLogError::NoData)));
}

/// A log that has not heard of messages.
#[derive(Clone, Debug, Default)]
struct Plain(MemoryLog);

impl EventLog for Plain {
    type Error = MemoryLogError;
    type Follower = MemoryFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, MemoryLogError> {
        self.0.append_now(topic, event)
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        self.0.follow(topics, from)
    }

    async fn latest(&self, topics: &Topics) -> Result<EventId, MemoryLogError> {
        self.0.latest(topics).await
    }
}

#[tokio::test]
async fn a_log_that_cannot_recognise_a_repeat_says_so_and_appends_nothing() {
    let log = Plain::default();
    assert_eq!(log.append_once(&topic("t"), data("1"), &message("m")).await, None);
    let hub = Hub::new(log.clone());
    let published = hub.publish_once(&topic("t"), data("1"), &message("m")).await;
    assert_eq!(published, Err(PublishError::CannotRepeat));
    assert_eq!(log.0.topics(), 0);
}
