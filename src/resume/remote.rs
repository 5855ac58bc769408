//! [`RemoteReader`]: reads a session of another node. It tells that node that it is there, and
//! learns when the node has died.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::caught::answer;
use super::nodes::{LeaseState, Nodes};
use super::orders::Order;
use super::record::LogProgress;
use super::token::SessionToken;
use crate::event_log::{EventLog, Start, Topic};
use crate::sync::lock;

/// A client that reads a session of another node.
///
/// Both of its futures are made when the log has no event for the client for the first time, so
/// that a client that only fetches the rest of a session costs nobody a thing.
pub(super) struct RemoteReader<L> {
    pub(super) session: RemoteSession<L>,
    /// How far the client is.
    position: Start,
    progress: Arc<RemoteProgress>,
    watching: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
    telling: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Which session it is, and the settings of this node.
#[derive(Clone)]
pub(super) struct RemoteSession<L> {
    pub(super) nodes: Arc<Nodes>,
    pub(super) node: SessionToken,
    pub(super) token: SessionToken,
    pub(super) log: L,
    pub(super) topic: Topic,
    pub(super) lease: Duration,
    pub(super) linger: Duration,
    /// How far the node reads ahead.
    pub(super) buffer: LogProgress,
}

#[derive(Debug, Default)]
struct RemoteProgress {
    reading: Mutex<Reading>,
    /// Woken when the node may soon have no room.
    is_far: Notify,
}

#[derive(Debug, Default)]
struct Reading {
    taken: LogProgress,
    /// What the node is told of.
    told: LogProgress,
}

impl<L: EventLog> RemoteReader<L> {
    pub(super) fn new(session: RemoteSession<L>, position: Start) -> Self {
        let progress = Arc::default();
        Self { session, position, progress, watching: None, telling: None }
    }

    /// Notes how far the client has come.
    pub(super) fn took(&mut self, progress: LogProgress, id: &str) {
        self.position = Start::requested(id);
        let buffer = self.session.buffer;
        let mut reading = lock(&self.progress.reading);
        let told = reading.told;
        reading.taken = progress;
        let is_far = progress.events.saturating_sub(told.events) > buffer.events / 4
            || progress.bytes.saturating_sub(told.bytes) > buffer.bytes / 4;
        if is_far {
            reading.told = progress;
        }
        drop(reading);
        if is_far {
            self.progress.is_far.notify_one();
        }
    }

    /// Ready when the node has died and the log has nothing more for the client.
    pub(super) fn poll_died(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (session, progress) = (&self.session, &self.progress);
        let telling = self
            .telling
            .get_or_insert_with(|| Box::pin(session.clone().tell(Arc::clone(progress))));
        let _ = telling.as_mut().poll(cx);
        loop {
            let position = &self.position;
            let watching = self
                .watching
                .get_or_insert_with(|| Box::pin(session.clone().died(position.clone())));
            let has_died = ready!(watching.as_mut().poll(cx));
            self.watching = None;
            if has_died {
                return Poll::Ready(());
            }
        }
    }
}

impl<L: EventLog> RemoteSession<L> {
    /// Tells the node that a client is there, and how far it is: three times a linger, within
    /// [`MIN_PAUSE`], and whenever the client has taken a part of what the node reads ahead. It
    /// never ends.
    async fn tell(self, progress: Arc<RemoteProgress>) {
        let pause = (self.lease.min(self.linger) / 3).max(MIN_PAUSE);
        loop {
            let taken = {
                let mut reading = lock(&progress.reading);
                reading.told = reading.taken;
                reading.taken
            };
            // A log that is away is told later.
            let of = (self.node, self.token);
            let _ = answer(|| Order::Reads(taken).send(&self.log, of, self.lease)).await;
            let _ = timeout(pause, progress.is_far.notified()).await;
        }
    }

    /// Waits until the lease has expired, and returns whether the log has nothing after the
    /// position. The client may have got further, or its follower may not have loaded what is
    /// there.
    async fn died(self, position: Start) -> bool {
        let Self { nodes, node, log, topic, lease, .. } = self;
        // The follower has its turn first.
        sleep(lease / 10).await;
        while nodes.lease_of(&log, node, lease).await == LeaseState::Held {
            sleep(lease / 3).await;
        }
        let page = answer(|| log.read(&topic, position, 1)).await;
        let is_last = page.is_ok_and(|page| page.events.is_empty());
        if !is_last {
            sleep(lease / 10).await;
        }
        is_last
    }
}

/// A node whose linger is a few milliseconds is told less often, since the log keeps what each
/// client tells it.
const MIN_PAUSE: Duration = Duration::from_millis(100);
