//! The stream of a log: how it is created and checked, and what is requested of it.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, LastRawMessageErrorKind, RawMessageError, RetentionPolicy,
    StorageType, Stream,
};

use super::error::{no_stream, unusable};
use super::ids::Slot;
use super::link::{RetryLater, fingerprint_of};
use super::{NatsLogBuilder, NatsStorage};
use crate::event_log::BrokerError;

/// Gets the stream, with its current state, or creates it.
pub(super) async fn get_or_create_stream(
    jetstream: &Context,
    settings: &NatsLogBuilder,
) -> Result<Stream, BrokerError> {
    let wanted = config(settings);
    let subjects = wanted.subjects.clone();
    let stream = jetstream.get_or_create_stream(wanted).await;
    let stream = stream.map_err(|error| no_stream(&error))?;
    let config = &stream.cached_info().config;
    if config.subjects != subjects {
        return Err(unusable("its subjects are not those of the prefix"));
    }
    if config.retention != RetentionPolicy::Limits {
        return Err(unusable("it does not keep events that were read"));
    }
    // With such a limit, a loss between two events of a topic could not be detected.
    if config.max_messages_per_subject > 0 {
        return Err(unusable("it has a limit of messages per subject"));
    }
    // Without an answer nobody knows whether an event was taken, and no event has an id.
    if config.no_ack {
        return Err(unusable("its acknowledgements are off (`no_ack`)"));
    }
    // An event that is sent again after that would be there twice.
    let window = config.duplicate_window;
    if !window.is_zero() && window < settings.append_timeout {
        let why = "its `duplicate_window` is shorter than the setting `append_timeout`";
        return Err(unusable(why));
    }
    if settings.duplicate_window.is_some_and(|wanted| !window.is_zero() && window < wanted) {
        let why = "its `duplicate_window` is shorter than the setting of this name";
        return Err(unusable(why));
    }
    Ok(stream)
}

fn config(settings: &NatsLogBuilder) -> Config {
    Config {
        name: settings.stream.clone(),
        subjects: vec![format!("{}.>", settings.prefix)],
        max_messages: i64::try_from(settings.events).unwrap_or(i64::MAX),
        max_bytes: i64::try_from(settings.bytes).unwrap_or(i64::MAX),
        max_age: settings.age,
        duplicate_window: settings.wanted_duplicate_window(),
        // For topics that are forgotten.
        allow_rollup: true,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: match settings.storage {
            NatsStorage::File => StorageType::File,
            NatsStorage::Memory => StorageType::Memory,
        },
        num_replicas: settings.replicas,
        ..Config::default()
    }
}

/// When the stream was created, in nanoseconds: the epoch of its ids.
pub(super) fn created(info: &Info) -> u64 {
    u64::try_from(info.created.unix_timestamp_nanos()).unwrap_or_default()
}

/// Requests what a sequence has.
pub(super) async fn slot_at(stream: &Stream, sequence: u64) -> Result<Slot, RetryLater> {
    let message = match sequence {
        0 => None,
        _ => message_at(stream, sequence).await?,
    };
    Ok(Slot { sequence, message: message.as_ref().map(fingerprint_of) })
}

/// Requests the message that has a sequence, if it is there.
pub(super) async fn message_at(
    stream: &Stream,
    sequence: u64,
) -> Result<Option<StreamMessage>, RetryLater> {
    found(stream.get_raw_message(sequence).await)
}

/// Requests the last message of a subject, or of the subjects that match a pattern.
pub(super) async fn last_message(
    stream: &Stream,
    subject: &str,
) -> Result<Option<StreamMessage>, RetryLater> {
    found(stream.get_last_raw_message_by_subject(subject).await)
}

fn found(
    message: Result<StreamMessage, RawMessageError>,
) -> Result<Option<StreamMessage>, RetryLater> {
    match message {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(RetryLater::because(error)),
    }
}

/// Creates a consumer that starts at a sequence, of these subjects or, if there are none, of all.
pub(super) async fn create_consumer(
    stream: &Stream,
    first: u64,
    mut subjects: Vec<String>,
) -> Result<PullConsumer, RetryLater> {
    // The one form that servers before 2.10 know.
    let subject = if subjects.len() == 1 { subjects.pop() } else { None };
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: first.max(1) },
        // Positions are kept in this process. The numbers of the messages show which were lost.
        ack_policy: AckPolicy::None,
        filter_subject: subject.unwrap_or_default(),
        filter_subjects: subjects,
        inactive_threshold: INACTIVE,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.map_err(RetryLater::because)
}

/// Deletes a consumer, so that the server need not wait until it is inactive.
pub(super) async fn delete_consumer(stream: &Stream, consumer: &PullConsumer) {
    let _ = stream.delete_consumer(&consumer.cached_info().name).await;
}

/// How long after the last request a server deletes a consumer.
const INACTIVE: Duration = Duration::from_secs(30);
