//! The task of a node that runs streams: it renews the node's lease in the log, keeps the
//! directory, and carries out what other nodes ask for.

use std::collections::{HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::caught::{CaughtFollower, LogAway, answer};
use super::directory::{DirectoryEntry, record_event};
use super::nodes::Nodes;
use super::orders::carry_out;
use super::record::RecordKind;
use super::sessions::SessionMap;
use super::token::{SessionToken, principal_topic};
use crate::event_log::{EventLog, Start, Step};
use crate::sync::{LazySleep, lock, now};

/// The task runs as long as its node runs sessions. A node that runs none holds no lease.
pub(super) struct NodeTask<L: EventLog> {
    nodes: Arc<Nodes>,
    sessions: Weak<SessionMap<L>>,
    log: L,
    times: NodeTimes,
    /// The sessions that the directory has, and when each is written again.
    listed: HashMap<SessionToken, (DirectoryEntry, Instant)>,
    renewed_at: Option<Instant>,
    /// What other nodes ask for.
    orders: Option<CaughtFollower<L::Follower>>,
    /// Whether no other task has taken its place.
    is_current: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct NodeTimes {
    pub(super) lease: Duration,
    /// For how long the directory is kept after its last event.
    pub(super) remember: Duration,
}

impl Nodes {
    /// Has the task run, after a session was added.
    pub(super) fn note_begin<L: EventLog>(
        self: &Arc<Self>,
        runtime: &Handle,
        sessions: &Arc<SessionMap<L>>,
        log: L,
        times: NodeTimes,
    ) {
        let mut runs = lock(&self.task_runs);
        if !std::mem::replace(&mut *runs, true) {
            let task = NodeTask {
                nodes: Arc::clone(self),
                sessions: Arc::downgrade(sessions),
                log,
                times,
                listed: HashMap::new(),
                renewed_at: None,
                orders: None,
                is_current: true,
            };
            runtime.spawn(task.run());
        }
        drop(runs);
        self.changed.notify_one();
    }

    /// Waits until the lease of this node is in the log, so that it is before all that names it.
    pub(super) async fn leased(&self) {
        let _ = self.is_leased.subscribe().wait_for(|is_leased| *is_leased).await;
    }
}

impl<L: EventLog> NodeTask<L> {
    async fn run(mut self) {
        loop {
            let Some(sessions) = self.sessions.upgrade() else {
                return;
            };
            if self.orders.is_none() {
                // Before the lease is written, so that no order that follows it is missed.
                let topic = self.nodes.own.orders_topic();
                self.orders =
                    topic.map(|topic| CaughtFollower::new(&self.log, &topic, Start::Live));
            }
            let written = match self.renew().await {
                true => self.update_directory(&sessions).await,
                false => Written::Failed,
            };
            if self.listed.is_empty() && self.ends(&sessions) {
                self.leave().await;
                return;
            }
            drop(sessions);
            self.wait(written).await;
        }
    }

    /// Writes that this node is alive, three times a lease. Returns whether the log took it.
    async fn renew(&mut self) -> bool {
        let (Some(topic), lease) = (self.nodes.own.lease_topic(), self.times.lease) else {
            return true;
        };
        let is_due = |at: Instant| now().saturating_duration_since(at) >= lease / 3;
        if !self.renewed_at.is_none_or(is_due) {
            return true;
        }
        let alive = record_event(RecordKind::Alive, String::new());
        if answer(|| self.log.append(&topic, alive)).await.is_err() {
            return false;
        }
        self.renewed_at = Some(now());
        self.nodes.is_leased.send_replace(true);
        // The log lets go of the lease of a node that died.
        let _ = answer(|| self.log.forget(&topic, lease.saturating_mul(3))).await;
        true
    }

    /// Writes which sessions began and ended.
    async fn update_directory(&mut self, sessions: &SessionMap<L>) -> Written {
        let (running, now) = (sessions.all_running(), now());
        let tokens: HashSet<_> = running.iter().map(|session| session.token).collect();
        let is_due = |token| self.listed.get(&token).is_none_or(|(_, again)| now >= *again);
        let began = running
            .iter()
            .filter(|session| is_due(session.token))
            .map(|session| (RecordKind::Began, DirectoryEntry::of(session, self.nodes.own)));
        let ended = self.listed.iter().filter(|(token, _)| !tokens.contains(token));
        let ended = ended.map(|(_, (entry, _))| (RecordKind::Ended, entry.clone()));
        let mut events: Vec<_> = began.chain(ended).take(MAX_WRITTEN + 1).collect();
        let is_more = events.len() > MAX_WRITTEN;
        events.truncate(MAX_WRITTEN);
        for (kind, entry) in events {
            let event = if kind == RecordKind::Began { entry.began() } else { entry.ended() };
            let Some(topic) = principal_topic(entry.key.principal()) else {
                continue;
            };
            // The rest is tried again.
            if answer(|| self.log.append(&topic, event)).await.is_err() {
                return Written::Failed;
            }
            let remember = self.times.remember.max(self.times.lease);
            let _ = answer(|| self.log.forget(&topic, remember)).await;
            match now.checked_add(remember / 3) {
                Some(again) if kind == RecordKind::Began => {
                    self.listed.insert(entry.token, (entry, again));
                }
                _ => {
                    self.listed.remove(&entry.token);
                }
            }
        }
        if is_more { Written::Part } else { Written::All }
    }

    /// Whether no session has begun since. Then the next one starts another task.
    fn ends(&mut self, sessions: &SessionMap<L>) -> bool {
        let mut runs = lock(&self.nodes.task_runs);
        *runs = !sessions.all_running().is_empty();
        if !*runs {
            self.is_current = false;
            self.nodes.is_leased.send_replace(false);
        }
        !*runs
    }

    /// All ends of the node's sessions are in the log, so nobody goes by its lease.
    async fn leave(&mut self) {
        let own = self.nodes.own;
        for topic in [own.lease_topic(), own.orders_topic()].into_iter().flatten() {
            let _ = answer(|| self.log.forget(&topic, self.times.lease)).await;
        }
    }

    /// Waits until a session begins or ends, or the lease is to be renewed. Orders are carried out.
    async fn wait(&mut self, written: Written) {
        let Self { nodes, sessions, orders, times, .. } = self;
        let pause = match written {
            Written::All => times.lease / 3,
            Written::Part => Duration::ZERO,
            Written::Failed => RETRY_PAUSE,
        };
        let until = now().checked_add(pause);
        let (mut sleep, mut changed) = (LazySleep::default(), pin!(nodes.changed.notified()));
        poll_fn(|cx| {
            while let Some(follower) = orders {
                match follower.poll_next(cx) {
                    Poll::Ready(Ok(Some(Step::Event(event)))) => {
                        if let Some(sessions) = sessions.upgrade() {
                            carry_out(&event, &sessions);
                        }
                    }
                    Poll::Ready(Ok(Some(Step::Gap(_)))) => {}
                    // It is made anew before the next renewal.
                    Poll::Ready(Ok(None) | Err(LogAway)) => *orders = None,
                    Poll::Pending => break,
                }
            }
            let is_due = until.is_some_and(|at| sleep.poll_until(at, cx).is_ready());
            match is_due || changed.as_mut().poll(cx).is_ready() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// The next session starts another task, also if this one is dropped with its runtime.
impl<L: EventLog> Drop for NodeTask<L> {
    fn drop(&mut self) {
        if self.is_current {
            *lock(&self.nodes.task_runs) = false;
            self.nodes.is_leased.send_replace(false);
        }
    }
}

/// How much of what is to be written is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    All,
    /// The log took all that was written at once.
    Part,
    Failed,
}

/// So many events are written before the lease and the orders of others are looked at again: a node
/// may begin thousands of sessions at once, and a broker may be far.
const MAX_WRITTEN: usize = 32;

/// How long is waited before a log is asked again that did not take an event.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
