//! Logs: ordered, bounded memories of events, from which any number of clients read.
//!
//! An [`EventLog`] takes events, gives each an id, and lets followers read from any place: first what
//! they missed, then what comes. [`MemoryLog`] is the one that lives in the process;
//! `RedisLog` (feature `redis`) is one that several nodes share.
//!
//! Most applications use a log by a [`Hub`](crate::Hub), which makes responses of it.
//!
//! # Examples
//!
//! ```
//! use std::future::poll_fn;
//! use std::pin::Pin;
//!
//! use tower_sse::event_log::{EventLog, Follow, MemoryLog, Start, Step, Topic};
//! use tower_sse::wire::Event;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = MemoryLog::new();
//! let topic = Topic::new("orders")?;
//! let first = log.append(&topic, Event::new().data("one")).await?;
//! let second = log.append(&topic, Event::new().data("two")).await?;
//!
//! // A client that has seen the first, and comes back.
//! let mut follower = log.follow((&topic).into(), Start::After(first));
//! let Some(Step::Event(event)) = poll_fn(|cx| Pin::new(&mut follower).poll_next(cx)).await else {
//!     panic!("nothing was lost");
//! };
//! assert_eq!(event.id(), second.as_str());
//! assert_eq!(event.bytes(), &format!("data: two\nid: {second}\n\n"));
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "redis")]
mod broker;
mod contract;
mod gap;
mod logged;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod number;
#[cfg(feature = "redis")]
mod redis;
mod start;
mod topic;
mod topics;

pub use contract::{EventLog, Follow, Run, Step};
pub use gap::{Gap, GapPolicy};
pub use logged::{InvalidEvent, Logged};
pub use memory::{MemoryFollower, MemoryLog, MemoryLogBuilder, MemoryLogError};
#[cfg(feature = "nats")]
#[cfg_attr(docsrs, doc(cfg(feature = "nats")))]
pub use nats::{
    NatsConnectError, NatsFollower, NatsLog, NatsLogBuilder, NatsLogError, NatsStorage,
};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use redis::{RedisFollower, RedisLog, RedisLogBuilder, RedisLogError};
pub use start::Start;
pub use topic::{InvalidTopic, Topic};
pub use topics::Topics;
