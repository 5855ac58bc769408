//! [`Page`]: the events of a topic that a log has now, for callers that look and do not follow.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::{Follow, Gap, Logged, Step};

/// Events of a topic that a log has, as [`EventLog::read`](super::EventLog::read) returns them.
///
/// The next page is read from after the last event of this one.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// Events before those of this page that cannot be replayed.
    pub gap: Option<Gap>,
    /// The events, in the order of their ids.
    pub events: Vec<Logged>,
    /// Whether the log may have more events after these.
    pub has_more: bool,
}

/// Reads a page of what a follower returns, until the follower ends or was silent for `patience`.
pub(super) async fn read_by_following<F: Follow>(
    follower: F,
    limit: usize,
    patience: Duration,
) -> Page {
    let (mut follower, mut page) = (pin!(follower), Page::default());
    loop {
        if page.events.len() >= limit {
            page.has_more = true;
            return page;
        }
        let next = poll_fn(|cx| follower.as_mut().poll_next(cx));
        match timeout(patience, next).await {
            Ok(Some(Step::Event(event))) => page.events.push(event),
            Ok(Some(Step::Gap(gap))) if page.events.is_empty() && page.gap.is_none() => {
                page.gap = Some(gap);
            }
            // The next page begins with this gap.
            Ok(Some(Step::Gap(_))) => {
                page.has_more = true;
                return page;
            }
            Ok(None) | Err(_) => return page,
        }
    }
}

/// A follower that returns nothing for so long has returned what there was. A broker that is near
/// answers within milliseconds.
pub(super) const SILENCE: Duration = Duration::from_secs(1);
