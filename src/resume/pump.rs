//! The pump: the task that reads the body of a response into the log of its session.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body;
use tokio::time::timeout;

use super::caught::answer;
use super::ending::{EndGuard, last_events};
use super::lookup::write_head;
use super::nodes::Nodes;
use super::parser::EventParser;
use super::record::{LogProgress, Record, RecordKind, SessionEnd};
use super::session::{ReaderStatus, Session};
use super::token::TopicPart;
use super::writer::{RecordWriter, WriteError};
use crate::event_log::EventLog;
use crate::service::ToldFailure;
use crate::state::{Drain, PermitLender};
use crate::sync::{Foreign, LazySleep, catch_panic, now};
use crate::wire::{Event, EventId};

/// For how long a pump goes on without a client.
pub(super) struct PumpLimits {
    pub(super) linger: Duration,
    /// Held as long as the pump runs.
    pub(super) permit: Option<Arc<PermitLender>>,
    /// No client comes back to a server that drains.
    pub(super) drain: Option<Arc<Drain>>,
    /// How long the log is to keep the stream after its end, if it is told to.
    pub(super) kept_in_log: Option<Duration>,
}

/// Reads a body into the log until the body ends or fails, or until no client comes back for it.
pub(super) async fn run<L, B>(
    mut guard: EndGuard<L>,
    (inner, told_failure): (B, ToldFailure),
    limits: PumpLimits,
    close_event: Option<Duration>,
) where
    L: EventLog,
    B: Body<Data = Bytes>,
{
    let PumpLimits { linger, permit, drain, kept_in_log } = limits;
    let (session, nodes) = (Arc::clone(&guard.session), guard.nodes.clone());
    let is_shared = nodes.is_some();
    // Until the end is in the log, where other nodes look for it.
    guard.hold = drain.as_ref().map(Drain::hold);
    let drain = drain.map(|drain| -> DrainBegun {
        Box::pin(async move {
            drain.begun().await;
            let (begun_at, deadline) = (now(), drain.hard_deadline());
            // No client comes back to this node. At another one it has the rest, up to a moment
            // before the drain is over, which is when the end has to be in the log.
            deadline.filter(|_| is_shared).map(|deadline| {
                let time = deadline.saturating_duration_since(begun_at);
                begun_at + time.saturating_sub((time / 10).min(END_MARGIN))
            })
        })
    });
    let writer = RecordWriter::new(session.log.clone(), session.topic.clone(), linger);
    let progress = LogProgress::default();
    let mut pump = Pump {
        session,
        writer,
        linger,
        progress,
        sleep: LazySleep::default(),
        stalled: LazySleep::default(),
        permit,
        nodes,
        drain,
        ends_at: None,
        ending: LazySleep::default(),
        owes_end: false,
    };
    let (end, last) = match pump.read_until_ended(inner).await {
        // The events of the body have said so.
        SessionEnd::Finished if told_failure.is_noted() => (SessionEnd::Failed, Vec::new()),
        end => (end, last_events(end, &pump.session.dialect, close_event)),
    };
    if let SessionEnd::Failed | SessionEnd::Lost = end {
        // The clients are told of it, and the body of this layer comes to a clean end.
        told_failure.note();
    }
    if pump.session.is_passing() {
        pump.end_passing(&last).await;
        guard.is_written = true;
        guard.end(SessionEnd::Abandoned);
        drop(guard);
        if pump.owes_end {
            pump.end_elsewhere(RecordKind::Abandoned, kept_in_log.unwrap_or_default()).await;
        }
        return;
    }
    let written = pump.append_all(last).await;
    let kind = match end {
        SessionEnd::Finished => RecordKind::Finished,
        SessionEnd::Stopped => RecordKind::Stopped,
        SessionEnd::Failed => RecordKind::Failed,
        SessionEnd::Abandoned | SessionEnd::Lost => RecordKind::Abandoned,
    };
    let (end, kind) = match written {
        Ok(()) => (end, kind),
        Err(_) => (SessionEnd::Lost, RecordKind::Abandoned),
    };
    guard.end(end);
    guard.is_written = end != SessionEnd::Lost && pump.write_end(kind).await.is_ok();
    let is_written = guard.is_written;
    drop(guard);
    if !is_written {
        pump.end_elsewhere(kind, kept_in_log.unwrap_or_default()).await;
    }
    let Some(kept) = kept_in_log else {
        return;
    };
    let session = &pump.session;
    let head = session.token.topic(&session.key, TopicPart::Head).filter(|_| is_shared);
    for topic in head.iter().chain([&session.topic]) {
        // If it fails, the log keeps the topic for as long as any other.
        let _ = answer(|| session.log.forget(topic, kept)).await;
    }
}

pub(super) struct Pump<L> {
    pub(super) session: Arc<Session<L>>,
    writer: RecordWriter<L>,
    pub(super) linger: Duration,
    progress: LogProgress,
    /// Until the session is given up, while it has no reader.
    sleep: LazySleep,
    /// Until a reader that takes nothing holds up nobody.
    pub(super) stalled: LazySleep,
    permit: Option<Arc<PermitLender>>,
    pub(super) nodes: Option<Arc<Nodes>>,
    /// Ready when a drain begins. None afterwards, too.
    drain: Option<DrainBegun>,
    /// When the session ends at the latest, since the server drains.
    ends_at: Option<Instant>,
    ending: LazySleep,
    /// The log did not take that the rest is passed beside it.
    pub(super) owes_end: bool,
}

/// Ready when a drain begins: with the time until which a session may go on without a client of
/// this node, if it may.
type DrainBegun = Pin<Box<dyn Future<Output = Option<Instant>> + Send>>;

/// So long before a drain is over the ends of sessions are written, or a tenth of its time before.
const END_MARGIN: Duration = Duration::from_secs(1);

impl<L: EventLog> Pump<L> {
    /// Reads the body until it ends, or until the session is stopped or given up, and drops it.
    ///
    /// If the log is being asked to take an event at that time, the answer is not waited for.
    async fn read_until_ended<B: Body<Data = Bytes>>(&mut self, inner: B) -> SessionEnd {
        let session = Arc::clone(&self.session);
        let mut inner = pin!(Foreign::new(inner));
        let end = {
            let mut reading = pin!(async {
                self.announce().await;
                match inner.as_mut().as_pin_mut() {
                    Some(inner) => self.read(inner).await,
                    None => Ok(()),
                }
            });
            poll_fn(|cx| match session.poll_end(cx) {
                Poll::Ready(end) => Poll::Ready(end),
                Poll::Pending => reading.as_mut().poll(cx).map(|read| match read {
                    Ok(()) => SessionEnd::Finished,
                    Err(end) => end,
                }),
            })
            .await
        };
        // A body that panics now keeps no client from the end.
        catch_panic(|| inner.clear());
        end
    }

    /// Writes what other nodes need to find the session, before there is an id of it.
    async fn announce(&mut self) {
        let Some(nodes) = self.nodes.clone() else {
            return;
        };
        // If it fails, other nodes do not know the session, and call their handler.
        if timeout(self.linger, nodes.leased()).await.is_ok() {
            let _ = write_head(&self.session, nodes.own, self.linger).await;
        }
    }

    /// Reads the body to its end.
    async fn read<B: Body<Data = Bytes>>(
        &mut self,
        mut inner: Pin<&mut B>,
    ) -> Result<(), SessionEnd> {
        let max_len = usize::try_from(self.session.buffer().bytes).unwrap_or(usize::MAX);
        let mut parser = EventParser::new(max_len);
        loop {
            // A body that is always ready, and readers that keep up, must not keep the thread.
            tokio::task::consume_budget().await;
            poll_fn(|cx| self.poll_room(cx)).await?;
            let Some(chunk) = poll_fn(|cx| self.poll_chunk(inner.as_mut(), cx)).await? else {
                return Ok(());
            };
            let mut rest = &chunk[..];
            let unkept = loop {
                match parser.next(&mut rest) {
                    Ok(Some(event)) => {
                        tokio::task::consume_budget().await;
                        poll_fn(|cx| self.poll_room(cx)).await?;
                        match self.append(event).await {
                            Ok(()) => {}
                            Err(WriteError::Away) => return Err(SessionEnd::Lost),
                            Err(WriteError::Refused(event)) => break Some((event, false)),
                        }
                    }
                    Ok(None) => break None,
                    Err(long) => break Some((long.begin.into(), long.skips_lf)),
                }
            };
            if let Some((begin, skips_lf)) = unkept {
                let rest = chunk.slice_ref(rest);
                return self.pass_on([begin, rest], skips_lf, inner.as_mut()).await;
            }
        }
    }

    pub(super) fn poll_chunk<B: Body<Data = Bytes>>(
        &mut self,
        inner: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, SessionEnd>> {
        // Without the catch, clients of a body that panics would get no close event.
        let polled = catch_panic(|| {
            inner.poll_frame(cx).map(|frame| match frame {
                // Trailers are not stored.
                Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
                Some(Err(_)) => Err(SessionEnd::Failed),
                None => Ok(None),
            })
        });
        match polled {
            None => Poll::Ready(Err(SessionEnd::Failed)),
            Some(Poll::Ready(chunk)) => Poll::Ready(chunk),
            Some(Poll::Pending) => {
                let readers = self.session.readers(cx.waker());
                self.poll_linger(&readers, cx).map(Err)
            }
        }
    }

    /// Waits until the readers have room for one more event.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionEnd>> {
        let readers = self.session.readers(cx.waker());
        match self.poll_linger(&readers, cx) {
            Poll::Ready(end) => Poll::Ready(Err(end)),
            Poll::Pending if readers.has_room => Poll::Ready(Ok(())),
            Poll::Pending => {
                if let Some(at) = readers.stalled_at {
                    if self.stalled.poll_until(at, cx).is_ready() {
                        // It is asked again, and goes by the readers that take events.
                        cx.waker().wake_by_ref();
                    }
                }
                Poll::Pending
            }
        }
    }

    /// Gives up a session that had no reader for the linger, or that has none where none may come:
    /// when the server drains, and when a limit gave the permit to a newer stream.
    fn poll_linger(&mut self, readers: &ReaderStatus, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        let begun = self.drain.as_mut().map(|begun| begun.as_mut().poll(cx));
        if let Some(Poll::Ready(ends_at)) = begun {
            (self.drain, self.ends_at) = (None, ends_at);
            if ends_at.is_none() {
                self.linger = Duration::ZERO;
            }
        }
        let is_over = self.ends_at.is_some_and(|at| self.ending.poll_until(at, cx).is_ready());
        if is_over {
            return Poll::Ready(SessionEnd::Abandoned);
        }
        let Some(since) = readers.alone_since else {
            self.sleep.clear();
            return Poll::Pending;
        };
        let Some(until) = since.checked_add(self.linger) else {
            return Poll::Pending;
        };
        let is_replaced = self.permit.as_ref().is_some_and(|permit| permit.was_replaced());
        let is_over = is_replaced || self.sleep.poll_until(until, cx).is_ready();
        match is_over && self.session.end_if_alone(since) {
            true => Poll::Ready(SessionEnd::Abandoned),
            false => Poll::Pending,
        }
    }

    async fn append_all(&mut self, events: Vec<Event>) -> Result<(), WriteError> {
        for event in events {
            self.append(event).await?;
        }
        Ok(())
    }

    /// Appends an event for clients.
    async fn append(&mut self, event: Event) -> Result<(), WriteError> {
        let len = u64::try_from(event.len_without_id()).unwrap_or(u64::MAX);
        self.progress.events += 1;
        self.progress.bytes = self.progress.bytes.saturating_add(len);
        let id = self.write(RecordKind::Event, event).await?;
        self.session.wrote(self.progress, id);
        Ok(())
    }

    /// Writes the end of a session that the log did not take, as soon as it takes events again:
    /// readers at other nodes wait for it, however long that is.
    async fn end_elsewhere(&mut self, kind: RecordKind, patience: Duration) {
        let Some(nodes) = self.nodes.clone() else {
            return;
        };
        self.permit = None;
        self.writer.set_patience(patience);
        if self.write_end(kind).await.is_ok() {
            return;
        }
        if let Ok(_waits) = nodes.unwritten_ends.try_acquire() {
            self.writer.set_patience(Duration::MAX);
            let _ = self.write_end(kind).await;
        }
    }

    pub(super) async fn write_end(&mut self, kind: RecordKind) -> Result<EventId, WriteError> {
        self.write(kind, Event::new().static_data("")).await
    }

    pub(super) async fn write(
        &mut self,
        kind: RecordKind,
        event: Event,
    ) -> Result<EventId, WriteError> {
        self.writer.write(Record { kind, progress: self.progress }, event).await
    }
}
