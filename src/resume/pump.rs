//! The pump: the task that reads the body of a response into the log of its session.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body;

use super::record::{LogProgress, Record, RecordKind, RecordWriter, stopped_event};
use super::session::{ReaderStatus, Session, SessionEnd};
use super::sessions::SessionMap;
use super::token::TopicPart;
use crate::event_log::EventLog;
use crate::state::{Drain, DrainHold, PermitLender};
use crate::sync::{LazySleep, catch_panic, now};
use crate::wire::{CloseReason, Decoder, Event, EventId, EventName};

/// For how long a pump goes on without a client.
pub(super) struct PumpLimits {
    pub(super) linger: Duration,
    /// Held as long as the pump runs.
    pub(super) permit: Option<Arc<PermitLender>>,
    /// No client comes back to a server that drains.
    pub(super) drain: Option<Arc<Drain>>,
    /// Whether clients may read the stream at other nodes.
    pub(super) is_shared: bool,
    /// How long the log is to keep the stream after its end, if it is told to.
    pub(super) kept_in_log: Option<Duration>,
}

/// Reads a body into the log until the body ends or fails, or until no client comes back for it.
pub(super) async fn run<L, B>(
    session: Arc<Session<L>>,
    sessions: Weak<SessionMap<L>>,
    inner: B,
    limits: PumpLimits,
    close_event: Option<Duration>,
) where
    L: EventLog,
    B: Body<Data = Bytes>,
{
    let PumpLimits { linger, permit, drain, is_shared, kept_in_log } = limits;
    // Until the end is in the log, where other nodes look for it.
    let hold = drain.as_ref().map(Drain::hold);
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
    let mut guard = EndGuard { session: Arc::clone(&session), sessions, is_written: false, hold };
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
        drain,
        ends_at: None,
        ending: LazySleep::default(),
    };
    let end = pump.read_until_ended(inner).await;
    let last = last_event(end, close_event);
    let written = match last {
        Some(event) => pump.append(event).await,
        None => Ok(()),
    };
    let kind = match end {
        SessionEnd::Finished => RecordKind::Finished,
        SessionEnd::Stopped => RecordKind::Stopped,
        SessionEnd::Failed => RecordKind::Failed,
        SessionEnd::Abandoned | SessionEnd::Lost => RecordKind::Abandoned,
    };
    let end = if written.is_ok() { end } else { SessionEnd::Lost };
    guard.end(end);
    guard.is_written =
        end != SessionEnd::Lost && pump.write(kind, Event::new().static_data("")).await.is_some();
    drop(guard);
    let Some(kept) = kept_in_log else {
        return;
    };
    let session = &pump.session;
    let head = session.token.topic(&session.key, TopicPart::Head).filter(|_| is_shared);
    for topic in head.iter().chain([&session.topic]) {
        // If it fails, the log keeps the topic for as long as any other.
        let _ = session.log.forget(topic, kept).await;
    }
}

/// The last event of a session, if its end has one.
fn last_event(end: SessionEnd, close_event: Option<Duration>) -> Option<Event> {
    let (event, retry) = match end {
        SessionEnd::Finished => (CloseReason::Finished.event("close"), Some(close_event?)),
        SessionEnd::Stopped => (stopped_event(), close_event),
        SessionEnd::Failed => (CloseReason::Error.event("close"), None),
        SessionEnd::Abandoned | SessionEnd::Lost => return None,
    };
    Some(match retry {
        Some(retry) => event.retry(retry),
        None => event,
    })
}

/// Ends the session if the pump is dropped or panics, also after the end is known and before it is
/// in the log.
struct EndGuard<L: EventLog> {
    session: Arc<Session<L>>,
    sessions: Weak<SessionMap<L>>,
    /// Whether the log says how the session ended.
    is_written: bool,
    /// Keeps a drain from being over.
    #[expect(dead_code, reason = "it is dropped last")]
    hold: Option<DrainHold>,
}

impl<L: EventLog> EndGuard<L> {
    fn end(&self, end: SessionEnd) {
        if !self.session.end(end) {
            return;
        }
        let Some(sessions) = self.sessions.upgrade() else {
            return;
        };
        match end {
            SessionEnd::Finished | SessionEnd::Stopped | SessionEnd::Failed => {
                sessions.note_end(self.session.token);
            }
            SessionEnd::Abandoned | SessionEnd::Lost => sessions.remove(self.session.token),
        }
    }
}

impl<L: EventLog> Drop for EndGuard<L> {
    fn drop(&mut self) {
        if !self.session.has_ended() {
            self.end(SessionEnd::Lost);
        }
        if !self.is_written {
            self.session.end_is_unwritten();
        }
    }
}

struct Pump<L> {
    session: Arc<Session<L>>,
    writer: RecordWriter<L>,
    linger: Duration,
    progress: LogProgress,
    /// Until the session is given up, while it has no reader.
    sleep: LazySleep,
    /// Until a reader that takes nothing holds up nobody.
    stalled: LazySleep,
    permit: Option<Arc<PermitLender>>,
    /// Ready when a drain begins. None afterwards, too.
    drain: Option<DrainBegun>,
    /// When the session ends at the latest, since the server drains.
    ends_at: Option<Instant>,
    ending: LazySleep,
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
        let mut reading = pin!(self.read(inner));
        poll_fn(|cx| match session.poll_end(cx) {
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => reading.as_mut().poll(cx).map(|read| match read {
                Ok(()) => SessionEnd::Finished,
                Err(end) => end,
            }),
        })
        .await
    }

    /// Reads the body to its end.
    async fn read<B: Body<Data = Bytes>>(&mut self, inner: B) -> Result<(), SessionEnd> {
        let max_len = usize::try_from(self.session.buffer().bytes).unwrap_or(usize::MAX);
        let mut parser = EventParser::new(max_len);
        let mut inner = pin!(inner);
        loop {
            // A body that is always ready, and readers that keep up, must not keep the thread.
            tokio::task::consume_budget().await;
            poll_fn(|cx| self.poll_room(cx)).await?;
            let Some(chunk) = poll_fn(|cx| self.poll_chunk(inner.as_mut(), cx)).await? else {
                return Ok(());
            };
            let mut rest = &chunk[..];
            while let Some(event) = parser.next(&mut rest).map_err(|_| SessionEnd::Failed)? {
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
    ) -> Poll<Result<Option<Bytes>, SessionEnd>> {
        // Without the catch, clients of a body that panics would get no close event.
        match catch_panic(|| inner.poll_frame(cx)) {
            None | Some(Poll::Ready(Some(Err(_)))) => Poll::Ready(Err(SessionEnd::Failed)),
            Some(Poll::Ready(None)) => Poll::Ready(Ok(None)),
            // Trailers are not stored.
            Some(Poll::Ready(Some(Ok(frame)))) => {
                Poll::Ready(Ok(Some(frame.into_data().unwrap_or_default())))
            }
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
                        // It is asked again, and goes by who takes events.
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

    /// Appends an event for clients.
    async fn append(&mut self, event: Event) -> Result<(), SessionEnd> {
        let len = u64::try_from(event.len_without_id()).unwrap_or(u64::MAX);
        self.progress.events += 1;
        self.progress.bytes = self.progress.bytes.saturating_add(len);
        let id = self.write(RecordKind::Event, event).await.ok_or(SessionEnd::Lost)?;
        self.session.wrote(self.progress, id);
        Ok(())
    }

    async fn write(&mut self, kind: RecordKind, event: Event) -> Option<EventId> {
        self.writer.write(Record { kind, progress: self.progress }, event).await
    }
}

/// Reads events from the bytes of a handler's stream, as a client does.
#[derive(Debug)]
struct EventParser {
    decoder: Decoder,
    max_len: usize,
}

/// The error of an event that is longer than the buffer.
#[derive(Debug)]
struct EventTooLong;

impl EventParser {
    fn new(max_len: usize) -> Self {
        Self { decoder: Decoder::new(), max_len }
    }

    /// The next event that ends in `rest`, which then begins after the event.
    ///
    /// It has the name, the data and the `retry` that came with it, or before it in a block without
    /// data. It has no id and no comments.
    fn next(&mut self, rest: &mut &[u8]) -> Result<Option<Event>, EventTooLong> {
        // Piece by piece, so that the decoder never keeps more than an event may have.
        while !rest.is_empty() {
            let room = self.max_len.saturating_sub(self.decoder.held()) + 1;
            let (mut piece, tail) = rest.split_at(room.min(rest.len()));
            let message = self.decoder.next_event(&mut piece);
            *rest = &rest[rest.len() - tail.len() - piece.len()..];
            if let Some(message) = message {
                let mut event = Event::new().data(message.data);
                if let Some(retry) = self.decoder.take_retry() {
                    event = event.retry(retry);
                }
                // Of all names that can be read, only one with a NUL cannot be written.
                if let Ok(name) = EventName::new(message.event.replace('\0', "\u{fffd}")) {
                    event = event.event(name);
                }
                return match event.len_without_id() > self.max_len {
                    true => Err(EventTooLong),
                    false => Ok(Some(event)),
                };
            }
            if self.decoder.held() > self.max_len {
                return Err(EventTooLong);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::support::{cut, cuts, interpret, stream};

    fn parsed(chunks: &[Vec<u8>]) -> Vec<u8> {
        let (mut parser, mut out) = (EventParser::new(1 << 16), Vec::new());
        for chunk in chunks {
            let mut rest = &chunk[..];
            while let Some(event) = parser.next(&mut rest).unwrap() {
                out.extend_from_slice(&event.encode());
            }
            assert!(rest.is_empty());
        }
        out
    }

    proptest! {
        #[test]
        fn clients_see_the_same_events(stream in stream(), cuts in cuts()) {
            let events = |bytes: &[u8]| {
                let events = interpret(bytes).events.into_iter();
                events.map(|(name, data, _)| (name, data)).collect::<Vec<_>>()
            };
            prop_assert_eq!(events(&parsed(&cut(&stream, &cuts))), events(&stream));
        }
    }

    #[test]
    fn a_retry_is_kept_in_an_event_and_comments_and_ids_are_not() {
        let out =
            parsed(&[b"retry: 5\n\n: c\nid: 9\ndata: a\n\nretry: 0\nevent: b\ndata: b\n\n".into()]);
        assert_eq!(out, b"retry: 5\ndata: a\n\nevent: b\nretry: 1\ndata: b\n\n");
    }

    #[test]
    fn no_more_of_an_event_is_held_than_it_may_have() {
        let mut endless = EventParser::new(100);
        assert!(endless.next(&mut &[b"data: ".as_slice(), &[b'x'; 1000]].concat()[..]).is_err());
        assert!(endless.decoder.held() <= 102);
        let lines = b"data:\n".repeat(30);
        assert!(EventParser::new(100).next(&mut &[&lines[..], b"\n"].concat()[..]).is_err());
    }
}
