//! Handlers that act on their own stream while it polls them: they send mail into it, close it,
//! begin a drain or open a stream in its place. Whatever they do, and wherever their events are
//! cut, the client sees whole events in order, all of the mail, and one end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::time::advance;
use tower::{Layer, service_fn};
use tower_sse::{
    EndReason, Event, EventIdLayer, Farewell, KeepAliveLayer, Limit, Registry, Shutdown,
    ShutdownLayer, SseBody, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::rig::{Failure, Handler, Inner, call, get};
use crate::harness::support::{cut, cuts, interpret};

/// What is done to the stream, by its body or by somebody else.
#[derive(Clone, Copy, Debug)]
enum Act {
    Mail,
    Close,
    Drain,
    Force,
    Replace,
}

/// What a body does when it is polled.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Gives the next piece.
    Give,
    Wait,
    Act(Act),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    None,
    Error,
    Trailers,
}

struct World {
    registry: Registry,
    shutdown: Shutdown,
    limit: Limit,
    /// The streams that took the place of this one.
    others: Mutex<Vec<SseBody<Inner>>>,
    mails: AtomicUsize,
    /// How many streams the registry's hooks were told of, and of which ends.
    opened: Arc<AtomicUsize>,
    ends: Arc<Mutex<Vec<EndReason>>>,
}

impl World {
    fn new() -> Self {
        let limit = Limit::builder().max(9).per_key(1, |_| "key").replace_oldest();
        let opened = Arc::<AtomicUsize>::default();
        let ends = Arc::<Mutex<Vec<EndReason>>>::default();
        let (count, note) = (Arc::clone(&opened), Arc::clone(&ends));
        let registry = Registry::builder()
            .on_open(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            })
            .on_close(move |_, reason| note.lock().unwrap().push(reason));
        Self {
            registry: registry.build().unwrap(),
            shutdown: Shutdown::builder().window(Duration::ZERO).build().unwrap(),
            limit: limit.build().unwrap(),
            others: Mutex::default(),
            mails: AtomicUsize::new(0),
            opened,
            ends,
        }
    }

    fn act(&self, act: Act) {
        match act {
            Act::Mail => {
                let n = self.mails.load(Ordering::Relaxed);
                let sent = self.registry.broadcast(Event::new().data(format!("\"mail {n}\""))).sent;
                self.mails.fetch_add(sent, Ordering::Relaxed);
            }
            Act::Close => drop(self.registry.close_where(|_| true, Farewell::close())),
            Act::Drain => self.shutdown.trigger(),
            Act::Force => self.shutdown.force(),
            Act::Replace => {
                let mut service = SseLayer::new().limit(self.limit.clone()).layer(Handler);
                let other = call(&mut service, get()).into_body();
                self.others.lock().unwrap().push(other);
            }
        }
    }
}

/// The body of the handler.
struct Acting {
    steps: VecDeque<Step>,
    pieces: VecDeque<Vec<u8>>,
    last: Last,
    at_drop: Vec<Act>,
    world: Arc<World>,
}

impl Body for Acting {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            match self.steps.pop_front() {
                Some(Step::Act(act)) => self.world.act(act),
                Some(Step::Wait) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Give) | None => {
                    let piece = self.pieces.pop_front();
                    return Poll::Ready(match piece {
                        Some(piece) => Some(Ok(Frame::data(piece.into()))),
                        None => match self.last {
                            Last::None => None,
                            Last::Error => Some(Err(Failure)),
                            Last::Trailers => Some(Ok(Frame::trailers(HeaderMap::new()))),
                        },
                    });
                }
            }
        }
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        for act in std::mem::take(&mut self.at_drop) {
            self.world.act(act);
        }
    }
}

/// One run of the test.
#[derive(Clone, Debug)]
struct Run {
    steps: Vec<Step>,
    at_drop: Vec<Act>,
    /// Before the n-th poll of the client, while the stream waits.
    outside: Vec<(u8, Act)>,
    own: usize,
    end: &'static str,
    cuts: Vec<Index>,
    last: Last,
    ids: bool,
    closes: bool,
    is_json: bool,
    hold_limit: usize,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => Just(Act::Mail),
        1 => select(vec![Act::Close, Act::Drain, Act::Force, Act::Replace]),
    ]
}

fn run() -> impl Strategy<Value = Run> {
    let step = prop_oneof![
        3 => Just(Step::Give),
        2 => Just(Step::Wait),
        2 => act().prop_map(Step::Act),
    ];
    let last = select(vec![Last::None, Last::Error, Last::Trailers]);
    let acts = (vec(step, 0..16), vec(act(), 0..3), vec((0_u8..24, act()), 0..4));
    let own = (0_usize..6, select(vec!["\n", "\r\n", "\r"]), cuts(), any::<bool>());
    let hold_limit = select(vec![1, 8, 64 * 1024]);
    let more = (last, any::<bool>(), any::<bool>(), hold_limit);
    (acts, own, more).prop_map(|(acts, own, more)| Run {
        steps: acts.0,
        at_drop: acts.1,
        outside: acts.2,
        own: own.0,
        end: own.1,
        cuts: own.2,
        is_json: own.3,
        last: more.0,
        ids: more.1,
        closes: more.2,
        hold_limit: more.3,
    })
}

/// Each event, and whether it is the one that closes.
fn events(run: &Run, bytes: &[u8]) -> Vec<(bool, String)> {
    if run.is_json {
        let text = String::from_utf8_lossy(bytes);
        // A line that was cut is no value.
        let lines = text.lines().filter(|line| line.ends_with(['"', '}']) && line.len() > 1);
        return lines.map(|line| (line.contains("\"close\""), line.to_owned())).collect();
    }
    let events = interpret(bytes).events.into_iter();
    events.map(|(name, data, _)| (name == "close", data)).collect()
}

/// The whole of the handler's own events.
fn own_text(run: &Run) -> String {
    let own = |n| match run.is_json {
        true => format!("\"own {n}\"\n"),
        false => format!("data: \"own {n}\"\n\n").replace('\n', run.end),
    };
    let mut text: String = (0..run.own).map(own).collect();
    if run.is_json && run.hold_limit > 8 {
        // The last line needs no end.
        text.pop();
    }
    text
}

fn layer(run: &Run, world: &World) -> SseLayer {
    let mut layer = SseLayer::new()
        .keep_alive(KeepAliveLayer::every(SECOND))
        .registry(world.registry.clone())
        .shutdown(ShutdownLayer::new(world.shutdown.clone()))
        .hold_limit(run.hold_limit)
        .limit(world.limit.clone());
    if run.ids {
        layer = layer.event_ids(EventIdLayer::sequential());
    }
    if run.closes {
        layer = layer.close_at_end(Farewell::close());
    }
    layer
}

async fn check(run: Run) -> Result<(), TestCaseError> {
    let world = Arc::new(World::new());
    let mut body = Some(Acting {
        steps: run.steps.clone().into(),
        pieces: cut(own_text(&run).as_bytes(), &run.cuts).into(),
        last: run.last,
        at_drop: run.at_drop.clone(),
        world: Arc::clone(&world),
    });
    let content_type = if run.is_json { "application/x-ndjson" } else { "text/event-stream" };
    let handler = service_fn(move |_: Request<()>| {
        let response = Response::builder().header("content-type", content_type);
        ready(Ok::<_, Infallible>(response.body(body.take().unwrap()).unwrap()))
    });
    let mut service = layer(&run, &world).layer(handler);
    let mut client = Box::pin(call(&mut service, get()).into_body());
    let (mut bytes, mut end, mut polls) = (Vec::new(), None, 0_u8);
    let mut cx = Context::from_waker(Waker::noop());
    while end.is_none() {
        polls += 1;
        prop_assert!(polls < 200, "it does not end");
        match client.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => bytes.extend(data),
                Err(_) => end = Some(Last::Trailers),
            },
            Poll::Ready(Some(Err(Failure))) => end = Some(Last::Error),
            Poll::Ready(None) => end = Some(Last::None),
            Poll::Pending => {
                advance(SECOND / 4).await;
                for (_, act) in run.outside.iter().filter(|(at, _)| *at == polls) {
                    world.act(*act);
                }
            }
        }
    }
    drop(client);
    let ends = world.ends.lock().unwrap().clone();
    prop_assert_eq!((world.opened.load(Ordering::Relaxed), ends.len()), (1, 1));
    check_seen(&run, &bytes, end, ends[0], world.mails.load(Ordering::Relaxed))?;
    world.others.lock().unwrap().clear();
    prop_assert_eq!((world.registry.len(), world.limit.open()), (0, 0));
    world.shutdown.trigger();
    let report = world.shutdown.drain().await;
    prop_assert_eq!(report.forced, 0, "{}", report);
    Ok(())
}

/// What a client sees of a stream that was sent so many mails and ended so.
fn check_seen(
    run: &Run,
    bytes: &[u8],
    end: Option<Last>,
    reason: EndReason,
    mails: usize,
) -> Result<(), TestCaseError> {
    let seen = events(run, bytes);
    let what = format!("{reason} {}", String::from_utf8_lossy(bytes));
    let of = |kind: &str| {
        let data = seen.iter().map(|event| &event.1);
        let data: Vec<_> = data.filter(|data| data.starts_with(&format!("\"{kind}"))).collect();
        for (n, data) in data.iter().enumerate() {
            prop_assert_eq!(*data, &format!("\"{kind} {n}\""), "{}", what);
        }
        Ok(data.len())
    };
    let (own, mail) = (of("own")?, of("mail")?);
    let closed = seen.iter().position(|event| event.0);
    prop_assert_eq!(own + mail + usize::from(closed.is_some()), seen.len(), "{}", what);
    prop_assert!(closed.is_none_or(|closed| closed + 1 == seen.len()), "{}", what);
    match reason {
        EndReason::Finished => {
            prop_assert_eq!((own, closed.is_some()), (run.own, run.closes), "{}", what);
            prop_assert_eq!(end, Some(run.last).filter(|it| *it != Last::Error), "{}", what);
        }
        EndReason::Error => prop_assert!(closed.is_some() || end == Some(Last::Error), "{}", what),
        EndReason::Closed | EndReason::Kicked => prop_assert!(closed.is_some(), "{}", what),
        EndReason::Cut => prop_assert!(run.hold_limit < 9, "{}", what),
        _ => prop_assert!(false, "{}", what),
    }
    // What is sent when the body is dropped comes too late if that is because the stream is over.
    let may_miss = match reason {
        EndReason::Closed | EndReason::Kicked => !run.at_drop.is_empty(),
        EndReason::Cut | EndReason::Error => run.hold_limit < 9,
        _ => false,
    };
    prop_assert!(mail == mails || may_miss, "{mails} mails: {}", what);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_handler_that_acts_on_its_own_stream_breaks_nothing_of_it(run in run()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(check(run))?;
    }
}
