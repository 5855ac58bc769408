//! [`LeaseWatch`]: tells a reader when the node that its stream is of has died.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::sleep;

use super::nodes::{LeaseState, Nodes};
use super::token::SessionToken;
use crate::event_log::{EventLog, Start, Topic};

/// Watches the lease of the node that a stream is of, while the log has no event for the reader.
pub(super) struct LeaseWatch<L> {
    pub(super) nodes: Arc<Nodes>,
    pub(super) node: SessionToken,
    pub(super) lease: Duration,
    pub(super) log: L,
    pub(super) topic: Topic,
    /// How far the reader is.
    pub(super) position: Start,
    pub(super) watching: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
}

impl<L: EventLog> LeaseWatch<L> {
    /// Ready when the node has died and the log has nothing more for the reader.
    pub(super) fn poll_died(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.watching.is_none() {
                self.watching = Some(Box::pin(self.died()));
            }
            let Some(watching) = &mut self.watching else {
                return Poll::Pending;
            };
            let has_died = ready!(watching.as_mut().poll(cx));
            self.watching = None;
            if has_died {
                return Poll::Ready(());
            }
        }
    }

    /// Waits until the lease has expired, and returns whether the log has nothing after the
    /// position. The reader may have got further, or its follower may not have loaded what is there.
    fn died(&self) -> impl Future<Output = bool> + Send + use<L> {
        let (nodes, node, lease) = (Arc::clone(&self.nodes), self.node, self.lease);
        let (log, topic, position) = (self.log.clone(), self.topic.clone(), self.position.clone());
        async move {
            // The follower has its turn first.
            sleep(lease / 10).await;
            while nodes.lease_of(&log, node, lease).await == LeaseState::Held {
                sleep(lease / 3).await;
            }
            let page = log.read(&topic, position, 1).await;
            let is_last = page.is_ok_and(|page| page.events.is_empty());
            if !is_last {
                sleep(lease / 10).await;
            }
            is_last
        }
    }
}
