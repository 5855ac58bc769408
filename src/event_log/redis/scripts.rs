//! What is done in Redis, at one moment each.

use redis::{RedisResult, Script, Value};

use super::keys::Keys;
use super::reply;
use crate::event_log::Topic;
use crate::event_log::broker::Loaded;

/// A moment of a log: its epoch, a sequence, and Redis's clock in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) now: u64,
}

/// What is done in Redis. Redis keeps scripts by their hash; they are sent again where it forgot.
#[derive(Debug)]
pub(super) struct Scripts {
    append: Script,
    head: Script,
    load: Script,
}

/// What a call for the head does with it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head {
    Look,
    /// Takes a sequence that no event will have.
    Take,
    /// Sees to it that it is not behind what was read in this epoch.
    AtLeast(u64, u64),
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            append: Script::new(include_str!("append.lua")),
            head: Script::new(include_str!("head.lua")),
            load: Script::new(include_str!("load.lua")),
        }
    }

    pub(super) async fn append(
        &self,
        to: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &Keys,
        topic: &Topic,
        event: &[u8],
    ) -> RedisResult<Moment> {
        let mut call = self.append.key(&*keys.head);
        call.key(&*keys.epoch).key(keys.topic(topic)).arg(event);
        call.arg(keys.new_epoch()).arg(keys.events).arg(keys.idle_millis());
        Ok(moment(call.invoke_async(to).await?))
    }

    pub(super) async fn head(
        &self,
        to: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &Keys,
        what: Head,
    ) -> RedisResult<Moment> {
        let (epoch, least) = match what {
            Head::AtLeast(epoch, least) => (epoch.to_string(), least),
            Head::Look | Head::Take => (String::new(), 0),
        };
        let take = u8::from(matches!(what, Head::Take));
        let mut call = self.head.key(&*keys.head);
        call.key(&*keys.epoch).arg(keys.new_epoch()).arg(epoch).arg(least).arg(take);
        Ok(moment(call.invoke_async(to).await?))
    }

    /// The last events of a topic, up to so many, and Redis's clock.
    pub(super) async fn load(
        &self,
        to: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &Keys,
        topic: &Topic,
        events: usize,
    ) -> RedisResult<(Loaded, u64)> {
        let mut call = self.load.key(&*keys.head);
        call.key(&*keys.epoch).key(keys.topic(topic));
        call.arg(keys.new_epoch()).arg(events).arg(keys.idle_millis());
        let (epoch, head, now, floor, entries): (u64, u64, u64, u64, Vec<Value>) =
            call.invoke_async(to).await?;
        let entries = reply::entries(entries.into_iter().rev(), topic).events;
        Ok((Loaded { epoch, head, floor, entries }, now))
    }
}

fn moment((epoch, sequence, now): (u64, u64, u64)) -> Moment {
    Moment { epoch, sequence, now }
}
