//! The nodes that share a log: this one, and what it knows of the leases of others.
//!
//! A node that runs streams renews a lease in the log, and a node that died does not. So readers at
//! other nodes wait for no event that never comes. Each node goes by its own clock alone: it notes
//! when it last saw a renewal.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, watch};

use super::caught::{LogAway, answer};
use super::token::SessionToken;
use crate::event_log::{EventLog, Start, Topic};
use crate::sync::{lock, now};
use crate::wire::EventId;

/// The nodes, which the services of a layer share.
#[derive(Debug)]
pub(super) struct Nodes {
    /// The random name of this node.
    pub(super) own: SessionToken,
    /// Whether the task of this node runs.
    pub(super) task_runs: Mutex<bool>,
    /// Wakes the task when a session begins or ends.
    pub(super) changed: Notify,
    /// Whether the lease of this node is in the log.
    pub(super) is_leased: watch::Sender<bool>,
    /// Bounds how many ends that the log did not take wait until it does.
    pub(super) unwritten_ends: Semaphore,
    others: Mutex<HashMap<SessionToken, OtherNode>>,
}

/// What is known of another node.
#[derive(Clone, Debug)]
struct OtherNode {
    /// The last renewal of its lease that was seen, and when a new one was seen last.
    last: Option<EventId>,
    renewed_at: Instant,
    /// When the log was asked last. At that time the lease was expired, or not.
    asked_at: Instant,
    lease: LeaseState,
}

/// Whether a node is alive, by its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseState {
    Held,
    Expired,
}

impl Nodes {
    pub(super) fn new() -> Self {
        // Without randomness no session begins, and no other node is told of this one.
        let own = SessionToken::random().unwrap_or(SessionToken::NONE);
        Self {
            own,
            task_runs: Mutex::new(false),
            changed: Notify::new(),
            is_leased: watch::Sender::new(false),
            unwritten_ends: Semaphore::new(MAX_UNWRITTEN),
            others: Mutex::default(),
        }
    }

    /// Whether a node holds its lease. The log is asked at most ten times a lease, however many
    /// readers want to know.
    pub(super) async fn lease_of<L: EventLog>(
        &self,
        log: &L,
        node: SessionToken,
        lease: Duration,
    ) -> LeaseState {
        let known = {
            let (now, mut others) = (now(), self.lock());
            // Nobody has asked for them for long.
            others.retain(|_, it| now.saturating_duration_since(it.asked_at) < 3 * lease);
            match others.get_mut(&node) {
                _ if node == self.own => return LeaseState::Held,
                Some(it) if now.saturating_duration_since(it.asked_at) < lease / 10 => {
                    return it.lease;
                }
                Some(it) => {
                    it.asked_at = now;
                    Some(it.clone())
                }
                None => None,
            }
        };
        let Some(topic) = node.lease_topic() else {
            return LeaseState::Expired;
        };
        let last = known.as_ref().and_then(|it| it.last.clone());
        let newest = newest(log, &topic, last).await;
        let now = now();
        let seen = match (newest, known) {
            // Nobody can renew a lease in a log that is away.
            (Err(LogAway), Some(known)) => OtherNode { renewed_at: now, ..known },
            (Err(LogAway), None) => return LeaseState::Held,
            (Ok(None), None) => return LeaseState::Expired,
            (Ok(None), Some(known)) => known,
            (Ok(last), _) => {
                OtherNode { last, renewed_at: now, asked_at: now, lease: LeaseState::Held }
            }
        };
        let lease = match now.saturating_duration_since(seen.renewed_at) < lease {
            true => LeaseState::Held,
            false => LeaseState::Expired,
        };
        self.lock().insert(node, OtherNode { lease, ..seen });
        lease
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionToken, OtherNode>> {
        lock(&self.others)
    }
}

/// The id of the last event of a topic, if there is one after `last`.
async fn newest<L: EventLog>(
    log: &L,
    topic: &Topic,
    last: Option<EventId>,
) -> Result<Option<EventId>, LogAway> {
    let (mut from, mut newest) = (last.map_or(Start::Earliest, Start::After), None);
    loop {
        let page = answer(|| log.read(topic, from, PAGE)).await?;
        let last = page.events.last().and_then(|event| EventId::new(event.id()).ok());
        let Some(last) = last else {
            return Ok(newest);
        };
        newest = Some(last.clone());
        if !page.has_more {
            return Ok(newest);
        }
        from = Start::After(last);
    }
}

/// So many ends wait for a log that is away for longer than streams are remembered: as many as a
/// layer keeps streams by default. Each is a task of some kilobytes.
const MAX_UNWRITTEN: usize = 1024;

/// How many events of a topic are read at a time.
pub(super) const PAGE: usize = 256;
