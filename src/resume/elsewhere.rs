//! Answers out of sessions of other nodes.

use std::sync::Arc;

use http::Response;
use tokio::time::{Instant, timeout_at};

use super::body::{ResumeBody, ResumeStream};
use super::directory::{self, DirectoryEntry};
use super::lookup::{First, first, has_ended, is_over, read_head, until};
use super::nodes::LeaseState;
use super::record::StreamSource;
use super::remote::{RemoteReader, RemoteSession};
use super::resumer::{LastEvent, ResumeRequest, Resumer};
use super::settings::Join;
use super::token::{SessionToken, TopicPart};
use crate::event_log::{EventLog, Start, Topic};

impl<L: EventLog> Resumer<L> {
    /// The answer to a client that comes back to a session of another node, or joins one.
    ///
    /// For a session of another key it takes the same time as for one that never was: neither has a
    /// topic under the request's key.
    pub(super) async fn answer_from_other_nodes<B>(
        self: Arc<Self>,
        request: ResumeRequest,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let deadline = Instant::now().checked_add(self.settings.other_nodes)?;
        let log = self.settings.log()?;
        let resumed = self.resume_elsewhere(&request, &log, deadline).await;
        match resumed.or_else(|| self.join(&request)) {
            None => self.join_elsewhere(&request, &log, deadline).await,
            answer => answer,
        }
    }

    async fn resume_elsewhere<B>(
        &self,
        request: &ResumeRequest,
        log: &L,
        deadline: Instant,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let LastEvent { session: token, id, .. } = request.last_event.as_ref()?;
        let token = *token;
        let (node, head) = read_head(log, token, &request.key, deadline).await?;
        let topic = token.topic(&request.key, TopicPart::Events)?;
        let start = Start::After(id.clone());
        let mut next = first(log, &topic, start.clone(), deadline).await;
        if matches!(next, First::Unknown) {
            return None;
        }
        if matches!(next, First::Nothing) && is_over(log, &topic, deadline).await {
            // The end may have been written since. If not, the id is that of no event.
            next = match first(log, &topic, start.clone(), deadline).await {
                First::Nothing => return None,
                next => next,
            };
        }
        match next {
            // The client has all of the stream.
            First::Record(kind, _) if kind.is_end() => return request.answer_ended(kind.end()?),
            First::Nothing if self.has_died(log, node, deadline).await => return None,
            _ => {}
        }
        Some(head.response(self.stream_of(request, (log, topic), (token, node), start)))
    }

    async fn has_died(&self, log: &L, node: SessionToken, deadline: Instant) -> bool {
        let lease = self.nodes.lease_of(log, node, self.settings.lease);
        matches!(timeout_at(deadline, lease).await, Ok(LeaseState::Expired))
    }

    async fn join_elsewhere<B>(
        &self,
        request: &ResumeRequest,
        log: &L,
        deadline: Instant,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let (join, key) = (request.join?, &request.key);
        let entries = until(deadline, || self.running_elsewhere(log, key.principal())).await?;
        for entry in entries.iter().rev().filter(|entry| entry.key == *key) {
            let DirectoryEntry { token, node, .. } = *entry;
            let Some((_, head)) = read_head(log, token, key, deadline).await else {
                continue;
            };
            let topic = token.topic(key, TopicPart::Events)?;
            if join == Join::FromNow && has_ended(log, &topic, deadline).await {
                continue;
            }
            let stream = self.stream_of(request, (log, topic), (token, node), join.start());
            return Some(head.response(stream));
        }
        None
    }

    fn stream_of<B>(
        &self,
        request: &ResumeRequest,
        (log, topic): (&L, Topic),
        (token, node): (SessionToken, SessionToken),
        from: Start,
    ) -> ResumeBody<B, L> {
        let session = RemoteSession {
            nodes: Arc::clone(&self.nodes),
            node,
            token,
            log: log.clone(),
            topic: topic.clone(),
            lease: self.settings.lease,
            linger: self.settings.linger,
            buffer: self.settings.buffer,
        };
        let reader = RemoteReader::new(session, from.clone());
        let (log, dialect) = (log.clone(), request.dialect());
        let source = StreamSource { token, log, topic, dialect };
        ResumeBody::resumable(ResumeStream::elsewhere(source, from, reader))
    }

    /// The sessions of a principal that run at other nodes that are alive, the oldest first.
    pub(super) async fn running_elsewhere(
        &self,
        log: &L,
        principal: &str,
    ) -> Result<Vec<DirectoryEntry>, L::Error> {
        let mut running = Vec::new();
        for entry in directory::read(log, principal).await? {
            let is_alive = entry.node != self.nodes.own
                && self.nodes.lease_of(log, entry.node, self.settings.lease).await
                    == LeaseState::Held;
            if is_alive {
                running.push(entry);
            }
        }
        Ok(running)
    }
}
