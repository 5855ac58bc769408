//! Sessions of other nodes, which are looked for in a log that the nodes share.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::{Instant, timeout_at};

use super::body::{ResumeBody, ResumeStream, StreamSource};
use super::head::SavedHead;
use super::record::{LogProgress, Record, RecordKind, RecordWriter};
use super::resumer::{ResumeRequest, Resumer};
use super::session::Session;
use super::token::TopicPart;
use crate::event_log::{EventLog, Follow, Start, Step};
use crate::wire::{Decoder, Event};

impl<L: EventLog> Resumer<L> {
    /// The answer to a client that comes back to a session of another node.
    ///
    /// For a session of another key it takes the same time as for one that never was: neither has a
    /// topic under the request's key.
    pub(super) async fn answer_from_other_nodes<B>(
        self: Arc<Self>,
        request: ResumeRequest,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let resumed = self.resume_elsewhere(&request).await;
        resumed.or_else(|| self.join(&request))
    }

    async fn resume_elsewhere<B>(
        &self,
        request: &ResumeRequest,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let (token, id) = request.last_event.clone()?;
        let deadline = Instant::now().checked_add(self.settings.other_nodes)?;
        let log = self.settings.log()?;

        let topic = token.topic(&request.key, TopicPart::Head)?;
        let mut follower = Box::pin(log.follow(topic.into(), Start::Earliest));
        let step = timeout_at(deadline, next_relevant(follower.as_mut())).await.ok()??;
        let head = read_head(&step)?;

        let topic = token.topic(&request.key, TopicPart::Events)?;
        let source = StreamSource { token, log, topic };
        let mut stream = ResumeStream::new(source, Start::After(id), None);
        // If no event comes in that time, one may come later.
        let _ = timeout_at(deadline, stream.wait_for_first()).await;
        request.resume(&head, stream)
    }
}

/// The next step that is neither another writer's event nor a probe.
async fn next_relevant<F: Follow>(mut follower: Pin<&mut F>) -> Option<Step> {
    loop {
        let step = poll_fn(|cx| follower.as_mut().poll_next(cx)).await?;
        if is_relevant(&step) {
            return Some(step);
        }
    }
}

/// Whether this is neither another writer's event nor a probe.
pub(super) fn is_relevant(step: &Step) -> bool {
    match step {
        Step::Event(event) => {
            Record::split(event).is_some_and(|(record, _)| record.kind != RecordKind::Probe)
        }
        Step::Gap(_) => true,
    }
}

/// Writes the head of the response for other nodes.
pub(super) async fn write_head<L: EventLog>(session: Arc<Session<L>>, patience: Duration) {
    let topic = session.token.topic(&session.key, TopicPart::Head);
    if let (Some(topic), Some(text)) = (topic, session.head.to_text()) {
        let record = Record { kind: RecordKind::Head, progress: LogProgress::default() };
        let mut writer = RecordWriter::new(session.log.clone(), topic, patience);
        // If it fails, other nodes do not know the session, and call their handler.
        let _ = writer.write(record, Event::new().data(text)).await;
    }
}

fn read_head(step: &Step) -> Option<SavedHead> {
    let Step::Event(event) = step else {
        return None;
    };
    let (_, rest) = Record::split(event).filter(|(record, _)| record.kind == RecordKind::Head)?;
    let events = Decoder::new().decode(&rest);
    SavedHead::from_text(&events.first()?.data)
}
