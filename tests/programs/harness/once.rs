//! Messages that publishers append until they know that they are there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower_sse::event_log::{Appended, EventLog, MessageId};

use crate::harness::LONG;
use crate::harness::broker::Way;
use crate::harness::topics::{data, topic};

pub fn message(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

/// Appends an event of a message; the broker is there.
pub async fn once<L: EventLog>(log: &L, name: &str, text: &str, id: &str) -> Appended {
    let appended = log.append_once(&topic(name), data(text), &message(id)).await;
    appended.expect("logs of brokers know messages").expect("the broker is there")
}

/// Appends an event of a message until the broker answers.
pub async fn is_done<L: EventLog>(log: &L, name: &str, text: &str, id: &str) -> Appended {
    let began = Instant::now();
    loop {
        let appended = log.append_once(&topic(name), data(text), &message(id)).await;
        match appended.expect("logs of brokers know messages") {
            Ok(appended) => return appended,
            Err(error) => assert!(began.elapsed() < LONG, "{error}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Publishes numbers from zero on, each as a message until it is taken, and returns how many there
/// were.
pub fn publish_messages<L: EventLog>(
    log: L,
    name: &'static str,
    over: Arc<Notify>,
) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let mut n = 0;
        let mut ended = std::pin::pin!(over.notified());
        loop {
            is_done(&log, name, &n.to_string(), &format!("message-{n}")).await;
            n += 1;
            if ended.as_mut().now_or_never().is_some() {
                return n;
            }
        }
    })
}

/// Publishes as [`publish_messages`] does over a way that is closed twenty times, each time after a
/// pause and every other time after answers were lost. Returns how many messages there were.
pub async fn publish_over_a_broken_way<L: EventLog>(
    publisher: L,
    way: &mut Way,
    pause: Duration,
) -> usize {
    let over = Arc::new(Notify::new());
    let publishing = publish_messages(publisher, "t", Arc::clone(&over));
    for round in 0..20 {
        sleep(pause).await;
        if round % 2 == 0 {
            way.lose_answers();
            sleep(Duration::from_millis(7)).await;
        }
        way.close().await;
        way.open().await;
    }
    over.notify_one();
    let count = publishing.await.unwrap();
    println!("{count} messages");
    count
}
