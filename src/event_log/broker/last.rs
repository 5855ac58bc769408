//! The last events of topics, which a broker is asked for from the end.

use std::collections::VecDeque;
use std::future::Future;

use super::WindowLimits;
use crate::event_log::Logged;

/// Events of topics, back from a sequence.
#[derive(Debug, Default)]
pub(in crate::event_log) struct LastPage {
    /// The events, newest first.
    pub(in crate::event_log) events: Vec<Logged>,
    /// The sequence up to which there may be more; `None` if there are none.
    pub(in crate::event_log) more_up_to: Option<u64>,
}

/// Reads the last `count` events of topics. `page` asks a broker for events up to a sequence, and
/// for no more than these limits.
pub(in crate::event_log) async fn read_last<E, F: Future<Output = Result<LastPage, E>>>(
    count: usize,
    page: impl Fn(u64, WindowLimits) -> F,
) -> Result<Vec<Logged>, E> {
    let (mut events, mut up_to) = (VecDeque::new(), Some(u64::MAX));
    while let Some(sequence) = up_to.filter(|_| events.len() < count) {
        let limits = WindowLimits { events: (count - events.len()).min(MAX_EVENTS), ..PAGE };
        let page = page(sequence, limits).await?;
        for event in page.events.into_iter().filter(|event| !event.finishes_topic()) {
            events.push_front(event);
        }
        up_to = page.more_up_to;
    }
    Ok(events.into())
}

/// The most events that a broker is asked for at a time.
const MAX_EVENTS: usize = 256;

const PAGE: WindowLimits = WindowLimits { events: MAX_EVENTS, bytes: 256 * 1024 };

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;

    use super::*;
    use crate::event_log::{Topic, finish_event};
    use crate::wire::{Event, EventId};

    /// A broker with events from 1 on, of which it returns two at a time. Each tenth is an end.
    async fn last(there: u64, count: usize) -> (Vec<String>, Vec<u64>) {
        let asked = RefCell::new(Vec::new());
        let events = read_last(count, |up_to, limits| {
            asked.borrow_mut().push(up_to);
            let newest = up_to.min(there);
            let oldest = newest.saturating_sub(limits.events.min(2) as u64);
            let event = |n: u64| {
                let id = EventId::with_epoch(7, n);
                let event = if n % 10 == 0 { finish_event() } else { Event::new().data("x") };
                Logged::new(Topic::from_static("t"), &id, event).unwrap()
            };
            let events = (oldest + 1..=newest).rev().map(event).collect();
            let page = LastPage { events, more_up_to: Some(oldest).filter(|it| *it > 0) };
            async move { Ok::<_, Infallible>(page) }
        });
        let events = events.await.unwrap().iter().map(|event| event.id().to_owned()).collect();
        (events, asked.into_inner())
    }

    #[tokio::test]
    async fn a_broker_is_asked_back_from_the_end_for_no_more_than_is_wanted() {
        let ids = |ids: &[&str]| ids.iter().map(|id| format!("7-{id}")).collect::<Vec<_>>();
        assert_eq!(last(25, 0).await, (ids(&[]), vec![]));
        assert_eq!(last(0, 3).await, (ids(&[]), vec![u64::MAX]));
        assert_eq!(last(25, 3).await, (ids(&["23", "24", "25"]), vec![u64::MAX, 23]));
        assert_eq!(last(3, 9).await, (ids(&["1", "2", "3"]), vec![u64::MAX, 1]));
        // The end of a topic is none of them.
        assert_eq!(last(20, 2).await, (ids(&["18", "19"]), vec![u64::MAX, 18]));
    }
}
