//! What the feed tells topics: each event that was appended, as it is read from the table of all
//! events.

use super::rows::StoredEvent;
use crate::event_log::Topic;
use crate::event_log::broker::Announcement;

/// What a process tells a topic that it follows of an event.
///
/// The process has read all events before it, but for those that were deleted before it came to
/// them. `None` if the event is of another writer and cannot be sent.
pub(super) fn announce(stored: &StoredEvent, epoch: u64, topic: &Topic) -> Option<Announcement> {
    announcement(stored, epoch, topic.clone(), stored.predecessor, stored.is_unsure)
}

/// What it tells the window of all topics. `previous` is the sequence that was read before; there
/// may have been others between them, up to `trimmed`.
pub(super) fn announce_to_all(
    stored: &StoredEvent,
    epoch: u64,
    previous: u64,
    trimmed: u64,
) -> Option<Announcement> {
    let topic = Topic::new(&stored.topic).ok()?;
    let before = previous.max(trimmed.min(stored.sequence - 1));
    announcement(stored, epoch, topic, before, false)
}

fn announcement(
    stored: &StoredEvent,
    epoch: u64,
    topic: Topic,
    before: u64,
    continues: bool,
) -> Option<Announcement> {
    let event = match stored.event {
        None => None,
        Some(_) => Some(stored.read(epoch, topic, before)?),
    };
    Some(Announcement { epoch, sequence: stored.sequence, before, continues, event })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::postgres::rows::tests::stored;

    #[test]
    fn the_window_of_all_topics_is_told_of_holes_where_events_were_deleted() {
        let short = stored(10, 3, "t", Some("data: x\n\n"));
        #[rustfmt::skip]
        let table = [
            // previous, trimmed, before
            (8,          0,       8),
            (8,          8,       8),
            (8,          9,       9),
            (8,          10,      9),
            (8,          50,      9),
        ];
        for (previous, trimmed, before) in table {
            let told = announce_to_all(&short, 7, previous, trimmed).unwrap();
            assert_eq!(told.before, before, "after {previous}, up to {trimmed}");
        }
    }

    #[test]
    fn an_event_that_cannot_be_sent_is_not_announced() {
        let topic = Topic::new("t").unwrap();
        let foreign = stored(10, 3, "t", Some("data: x"));
        assert!(announce(&foreign, 7, &topic).is_none());
        let long = stored(10, 3, "t", None);
        assert!(announce(&long, 7, &topic).unwrap().event.is_none());
        assert!(announce_to_all(&stored(10, 3, "t t", None), 7, 8, 0).is_none());
    }
}
