//! [`EventIdLayer`]: ids for events that have none.

use std::sync::Arc;

use super::{LayerSetting, layer_of_setting};
use crate::engine::EventIds;
use crate::wire::EventId;

/// Layer that gives an id to each event that has data and none of its own.
///
/// The id is the last line of the event, since some clients keep the id of an event that is cut off
/// after it. Comments and blocks without data use no number, and ids of the stream's own are kept.
///
/// # Examples
///
/// ```
/// use tower_sse::{EventId, EventIdLayer};
///
/// let numbers = EventIdLayer::sequential();
/// let epoch = 1_767_225_600;
/// let with_epoch = EventIdLayer::with(move |n| EventId::with_epoch(epoch, n));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct EventIdLayer(LayerSetting<EventIds>);

layer_of_setting!(EventIdLayer, event_ids: EventIds);

impl EventIdLayer {
    /// Numbers the events of each stream: 1, 2, 3 …
    pub fn sequential() -> Self {
        Self(LayerSetting::on(EventIds::Sequential))
    }

    /// Calls `id` for the id of a stream's n-th event, counted from 1. A panic in it ends the
    /// stream with an error.
    pub fn with<F>(id: F) -> Self
    where
        F: Fn(u64) -> EventId + Send + Sync + 'static,
    {
        Self(LayerSetting::on(EventIds::With(Arc::new(id))))
    }

    /// Gives no ids, whatever a layer further out asks for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }
}
