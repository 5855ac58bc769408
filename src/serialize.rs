//! `Serialize` for what a registry and a drain show: feature `serde`.
//!
//! Written by hand, because `Instant` has no serialised form: times become the seconds since them.

use std::time::Instant;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::engine::EndReason;
use crate::registry::Delivery;
use crate::state::{DrainReport, Label, StreamId, StreamInfo, StreamState};
use crate::sync::now;
use crate::wire::EventId;

impl Serialize for StreamInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let now = now();
        let secs_ago = |time: Instant| now.saturating_duration_since(time).as_secs_f64();
        // All fields by name, so that a new one is not forgotten here.
        let Self {
            id,
            label,
            method,
            path,
            started,
            last_event_id,
            bytes,
            keepalives,
            events,
            last_sent,
            last_polled,
            state,
        } = self;
        let mut fields = serializer.serialize_struct("StreamInfo", 12)?;
        fields.serialize_field("id", id)?;
        fields.serialize_field("label", label)?;
        fields.serialize_field("method", method.as_str())?;
        fields.serialize_field("path", &**path)?;
        fields.serialize_field("age_secs", &secs_ago(*started))?;
        let last_event_id = last_event_id.as_ref().map(EventId::as_str);
        fields.serialize_field("last_event_id", &last_event_id)?;
        fields.serialize_field("bytes", bytes)?;
        fields.serialize_field("keepalives", keepalives)?;
        fields.serialize_field("events", events)?;
        fields.serialize_field("last_sent_secs_ago", &last_sent.map(secs_ago))?;
        fields.serialize_field("last_polled_secs_ago", &last_polled.map(secs_ago))?;
        fields.serialize_field("state", state)?;
        fields.end()
    }
}

impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // As text: it may have more bits than a JavaScript number.
        serializer.collect_str(self)
    }
}

impl Serialize for StreamState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for EndReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for DrainReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { closed, finished, cut, stalled, forced, elapsed } = self;
        let mut fields = serializer.serialize_struct("DrainReport", 6)?;
        fields.serialize_field("closed", closed)?;
        fields.serialize_field("finished", finished)?;
        fields.serialize_field("cut", cut)?;
        fields.serialize_field("stalled", stalled)?;
        fields.serialize_field("forced", forced)?;
        fields.serialize_field("elapsed_secs", &elapsed.as_secs_f64())?;
        fields.end()
    }
}

impl Serialize for Delivery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { sent, dropped } = self;
        let mut fields = serializer.serialize_struct("Delivery", 2)?;
        fields.serialize_field("sent", sent)?;
        fields.serialize_field("dropped", dropped)?;
        fields.end()
    }
}
