//! The task that drives a handler's body into the log.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::time::{Sleep, sleep_until};

use super::kept::{End, Kept, Look};
use super::mark::{Kind, Mark, Place};
use super::streams::Streams;
use super::taken::Taken;
use super::writer::Writer;
use crate::event_log::EventLog;
use crate::wire::{CloseReason, Event, EventId};

/// Drives a body into the log until it ends, fails, or has nobody to come back to it.
pub(super) async fn drive<L, B>(
    kept: Arc<Kept<L>>,
    streams: Weak<Streams<L>>,
    inner: B,
    linger: Duration,
    close_event: Option<Duration>,
) where
    L: EventLog,
    B: Body<Data = Bytes>,
{
    let mut guard = Guard { kept: Arc::clone(&kept), streams, said: false };
    let writer = Writer::new(kept.log.clone(), kept.topic.clone(), linger);
    let mut task = Task { kept, writer, linger, place: Place::default(), sleep: None };
    let end = match task.feed(inner).await {
        Err(end) => end,
        Ok(()) => End::Finished,
    };
    let last = match (end, close_event) {
        (End::Finished, Some(retry)) => Some(CloseReason::Finished.event("close").retry(retry)),
        (End::Failed, _) => Some(CloseReason::Error.event("close")),
        _ => None,
    };
    let said = match last {
        Some(event) => task.append(event).await,
        None => Ok(()),
    };
    let kind = match end {
        End::Finished => Kind::Finished,
        End::Failed => Kind::Failed,
        End::Left | End::Lost => Kind::Left,
    };
    let end = if said.is_ok() { end } else { End::Lost };
    guard.over(end);
    guard.said = end != End::Lost && task.write(kind, Event::new().said("")).await.is_some();
}

/// A stream whose task is dropped or panics has ended, too. That may be when its end is known and not
/// in the log.
struct Guard<L: EventLog> {
    kept: Arc<Kept<L>>,
    streams: Weak<Streams<L>>,
    /// Whether the log says how it ended.
    said: bool,
}

impl<L: EventLog> Guard<L> {
    fn over(&self, end: End) {
        if !self.kept.end(end) {
            return;
        }
        let Some(streams) = self.streams.upgrade() else {
            return;
        };
        match end {
            End::Finished | End::Failed => streams.ended(self.kept.token),
            End::Left | End::Lost => streams.forget(self.kept.token),
        }
    }
}

impl<L: EventLog> Drop for Guard<L> {
    fn drop(&mut self) {
        if !self.kept.has_ended() {
            self.over(End::Lost);
        }
        if !self.said {
            self.kept.silence();
        }
    }
}

struct Task<L> {
    kept: Arc<Kept<L>>,
    writer: Writer<L>,
    linger: Duration,
    place: Place,
    /// Until the stream is given up, while it has no reader.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<L: EventLog> Task<L> {
    /// Reads the body to its end. It is dropped at the end of this.
    async fn feed<B: Body<Data = Bytes>>(&mut self, inner: B) -> Result<(), End> {
        let mut taken = Taken::new(usize::try_from(self.kept.ahead.bytes).unwrap_or(usize::MAX));
        let mut inner = pin!(inner);
        loop {
            // A body that is always ready, and readers that keep up, must not keep the thread.
            tokio::task::consume_budget().await;
            poll_fn(|cx| self.poll_room(cx)).await?;
            let Some(chunk) = poll_fn(|cx| self.poll_chunk(inner.as_mut(), cx)).await? else {
                return Ok(());
            };
            let mut rest = &chunk[..];
            while let Some(event) = taken.next(&mut rest).map_err(|_| End::Failed)? {
                tokio::task::consume_budget().await;
                poll_fn(|cx| self.poll_room(cx)).await?;
                self.append(event).await?;
            }
        }
    }

    fn poll_chunk<B: Body<Data = Bytes>>(
        &mut self,
        inner: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, End>> {
        // A handler's panic would otherwise leave its clients without a word.
        match catch_unwind(AssertUnwindSafe(|| inner.poll_frame(cx))) {
            Err(_) | Ok(Poll::Ready(Some(Err(_)))) => Poll::Ready(Err(End::Failed)),
            Ok(Poll::Ready(None)) => Poll::Ready(Ok(None)),
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                // Trailers are of no use to one who reads a log.
                Poll::Ready(Ok(Some(frame.into_data().unwrap_or_default())))
            }
            Ok(Poll::Pending) => {
                let look = self.kept.look(cx.waker());
                self.poll_linger(&look, cx).map(Err)
            }
        }
    }

    /// Waits until the readers are near enough.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let look = self.kept.look(cx.waker());
        match self.poll_linger(&look, cx) {
            Poll::Ready(end) => Poll::Ready(Err(end)),
            Poll::Pending if look.room => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Gives up a stream that had no reader for so long.
    fn poll_linger(&mut self, look: &Look, cx: &mut Context<'_>) -> Poll<End> {
        let Some(since) = look.alone_since else {
            self.sleep = None;
            return Poll::Pending;
        };
        let Some(until) = since.checked_add(self.linger) else {
            return Poll::Pending;
        };
        match &mut self.sleep {
            Some(sleep) if sleep.deadline() == until => {}
            Some(sleep) => sleep.as_mut().reset(until),
            sleep @ None => *sleep = Some(Box::pin(sleep_until(until))),
        }
        let over = self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        if over && self.kept.leave_alone(since) { Poll::Ready(End::Left) } else { Poll::Pending }
    }

    /// Appends an event for the client.
    async fn append(&mut self, event: Event) -> Result<(), End> {
        let len = u64::try_from(event.len_without_id()).unwrap_or(u64::MAX);
        self.place.events += 1;
        self.place.bytes = self.place.bytes.saturating_add(len);
        let id = self.write(Kind::Event, event).await.ok_or(End::Lost)?;
        self.kept.appended(self.place, id);
        Ok(())
    }

    async fn write(&mut self, kind: Kind, event: Event) -> Option<EventId> {
        self.writer.write(Mark { kind, place: self.place }, event).await
    }
}
