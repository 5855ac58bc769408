//! The contract of a log, over logs that keep it and over some that do not.

use std::pin::Pin;
use std::task::{Context, Poll};

use tower_sse::event_log::{
    Appended, EventLog, Follow, MemoryFollower, MemoryLog, MessageId, Start, Step, Topic, Topics,
    contract,
};
use tower_sse::{Event, EventId};

fn small() -> MemoryLog {
    MemoryLog::builder().events(16).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_log_in_memory_keeps_the_contract() {
    let log = small();
    contract::check(&log, "t").await;
    contract::check_gaps(&log, "t", 16).await;
    contract::check_idempotent(&log, "t").await;
}

#[tokio::test(start_paused = true)]
async fn a_log_of_an_applications_own_keeps_the_contract() {
    let log = Own { log: small(), fault: Fault::None };
    contract::check(&log, "t").await;
    contract::check_gaps(&log, "t", 16).await;
    contract::check_idempotent(&log, "t").await;
}

/// What a log does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It passes over gaps in silence.
    Silent,
    /// It returns no event whose number ends with 7.
    Drops,
    /// It returns each tenth event twice.
    Repeats,
    /// It takes any position for the newest one.
    Forgets,
    /// It takes a message each time.
    Twice,
    /// It takes the message of one topic for that of another.
    OneScope,
    /// It gives a repeat an id of its own.
    OtherId,
    /// It does not know of messages.
    NoMessages,
}

#[derive(Clone)]
struct Own {
    log: MemoryLog,
    fault: Fault,
}

struct OwnFollower {
    follower: MemoryFollower,
    fault: Fault,
    again: Option<Step>,
}

impl EventLog for Own {
    type Error = <MemoryLog as EventLog>::Error;
    type Follower = OwnFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, Self::Error> {
        self.log.append(topic, event).await
    }

    async fn append_once(
        &self,
        topic: &Topic,
        event: Event,
        message: &MessageId,
    ) -> Option<Result<Appended, Self::Error>> {
        let anywhere = Topic::from_static("anywhere");
        match self.fault {
            Fault::NoMessages => None,
            Fault::Twice => Some(self.log.append(topic, event).await.map(Appended::new)),
            Fault::OneScope => self.log.append_once(&anywhere, event, message).await,
            Fault::OtherId => {
                let appended = self.log.append_once(topic, event, message).await?;
                let latest = self.log.latest(&topic.into()).await.unwrap();
                Some(appended.map(|it| if it.is_repeat { Appended::repeat(latest) } else { it }))
            }
            _ => self.log.append_once(topic, event, message).await,
        }
    }

    fn follow(&self, topics: Topics, from: Start) -> OwnFollower {
        let from = if self.fault == Fault::Forgets { Start::Live } else { from };
        OwnFollower { follower: self.log.follow(topics, from), fault: self.fault, again: None }
    }

    async fn latest(&self, topics: &Topics) -> Result<EventId, Self::Error> {
        self.log.latest(topics).await
    }
}

impl Follow for OwnFollower {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        if let Some(again) = self.again.take() {
            return Poll::Ready(Some(again));
        }
        loop {
            let step = Pin::new(&mut self.follower).poll_next(cx);
            let Poll::Ready(Some(it)) = &step else { return step };
            let ends_with = |text: &str| {
                matches!(it, Step::Event(event) if event.bytes().split(|byte| *byte == b'\n')
                    .any(|line| line.starts_with(b"data: ") && line.ends_with(text.as_bytes())))
            };
            match self.fault {
                Fault::Silent if matches!(it, Step::Gap(_)) => {}
                Fault::Drops if ends_with("7") => {}
                Fault::Repeats if ends_with("9") => {
                    self.again = Some(it.clone());
                    return step;
                }
                _ => return step,
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_breaks_the_contract_is_found_out() {
    for fault in [Fault::Silent, Fault::Drops, Fault::Repeats, Fault::Forgets] {
        let log = Own { log: small(), fault };
        let checked = tokio::spawn(async move { contract::check(&log, "t").await });
        assert!(checked.await.is_err_and(|error| error.is_panic()), "{fault:?}");
    }
    for fault in [Fault::Twice, Fault::OneScope, Fault::OtherId, Fault::NoMessages] {
        let log = Own { log: small(), fault };
        let checked = tokio::spawn(async move { contract::check_idempotent(&log, "t").await });
        assert!(checked.await.is_err_and(|error| error.is_panic()), "{fault:?}");
    }
    // One that has a gap at the right time passes over those that come later.
    let log = Own { log: small(), fault: Fault::Silent };
    let checked = tokio::spawn(async move { contract::check_gaps(&log, "t", 16).await });
    assert!(checked.await.is_err_and(|error| error.is_panic()));
}
