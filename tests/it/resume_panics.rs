//! Foreign code that panics ends no other stream than its own, whose readers are told, and leaves
//! nothing behind: a log, the functions of the settings, and bodies.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use tower::{Layer, service_fn};
use tower_sse::event_log::Step as LogStep;
use tower_sse::event_log::{
    EventLog, Follow, MemoryFollower, MemoryLog, MemoryLogError, Page, Start, Topic, Topics,
};
use tower_sse::resume::{HandleError, Join, ResumeKey};
use tower_sse::{Event, EventId, Limit, LimitLayer, ResumeLayer};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Hang, Wait};
use crate::harness::bodies::{Broken, Script, read};
use crate::harness::resume::{
    Handled, ask, events, handler, key, layer, request, request_of, seen, service,
};

const ERROR: &str = "{\"reason\":\"error\"}";
const STOPPED: &str = "{\"reason\":\"stopped\"}";

/// Which call of a log panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Append,
    Follow,
    Poll,
    Drop,
    Read,
    Forget,
}

use Call::{Append, Drop as DropFollower, Follow as Following, Forget, Poll as Polling, Read};

/// Panics in the calls of one kind, after so many that went well, and so often.
#[derive(Clone, Debug)]
struct PanickingLog {
    log: MemoryLog,
    switch: Arc<Mutex<Switch>>,
}

#[derive(Debug)]
struct Switch {
    call: Call,
    well: usize,
    panics: usize,
}

const FOR_EVER: usize = usize::MAX;

impl PanickingLog {
    fn new(call: Call, well: usize, panics: usize) -> Self {
        let switch = Arc::new(Mutex::new(Switch { call, well, panics }));
        Self { log: MemoryLog::new(), switch }
    }

    fn set(&self, call: Call, well: usize, panics: usize) {
        *self.switch.lock().unwrap() = Switch { call, well, panics };
    }

    fn note(&self, call: Call) {
        let mut switch = self.switch.lock().unwrap();
        if switch.call != call {
            return;
        }
        match switch.well.checked_sub(1) {
            Some(well) => switch.well = well,
            None if switch.panics > 0 => {
                switch.panics -= 1;
                drop(switch);
                panic!("{call:?} panics");
            }
            None => {}
        }
    }

    /// Whether it has panicked as often as it should.
    fn is_done(&self) -> bool {
        self.switch.lock().unwrap().panics == 0
    }
}

impl EventLog for PanickingLog {
    type Error = MemoryLogError;
    type Follower = PanickingFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, MemoryLogError> {
        self.note(Append);
        self.log.append_now(topic, event)
    }

    fn follow(&self, topics: Topics, from: Start) -> PanickingFollower {
        self.note(Following);
        PanickingFollower { follower: self.log.follow(topics, from), log: self.clone() }
    }

    async fn read(&self, topic: &Topic, from: Start, limit: usize) -> Result<Page, MemoryLogError> {
        self.note(Read);
        self.log.read(topic, from, limit).await
    }

    async fn latest(&self, topics: &Topics) -> Result<EventId, MemoryLogError> {
        self.log.latest(topics).await
    }

    async fn forget(&self, topic: &Topic, after: Duration) -> Result<(), MemoryLogError> {
        self.note(Forget);
        self.log.forget(topic, after).await
    }
}

struct PanickingFollower {
    follower: MemoryFollower,
    log: PanickingLog,
}

impl Follow for PanickingFollower {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<LogStep>> {
        self.log.note(Polling);
        Pin::new(&mut self.follower).poll_next(cx)
    }
}

impl Drop for PanickingFollower {
    fn drop(&mut self) {
        self.log.note(DropFollower);
    }
}

fn three() -> Vec<Step> {
    vec![Data("data: 1\n\n"), Wait(SECOND), Data("data: 2\n\ndata: 3\n\n"), Wait(SECOND)]
}

fn key_of_ann() -> ResumeKey {
    ResumeKey::new("/answer", "ann")
}

fn delete(user: &str) -> Request<()> {
    Request::delete("/answer").header("x-user", user).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_event_in_whose_append_the_log_panics_is_there_once() {
    for well in 0..6 {
        for panics in 1..4 {
            let (log, handled) = (PanickingLog::new(Append, well, panics), Handled::default());
            let service =
                layer().close_event(SECOND).log(log.clone()).layer(handler(&handled, three));
            let all = seen(&service, request(None), 60 * SECOND).await;
            assert_eq!(all.data(), ["1", "2", "3", "{\"reason\":\"finished\"}"], "{well}");
            assert!(all.ended);
            let over = seen(&service, request(Some(&all.last_id())), SECOND).await;
            assert_eq!((over.status, handled.calls()), (204, 1), "{well}");
        }
    }
}

/// Whatever panics, and when: the other stream comes through, and what is left works.
#[tokio::test(start_paused = true)]
async fn a_log_that_panics_in_one_stream_leaves_another_stream_and_the_layer_as_they_are() {
    for call in [Append, Following, Polling, DropFollower, Read, Forget] {
        for (well, panics) in (0..8).flat_map(|well| [(well, 1), (well, 3)]) {
            let what = format!("{call:?} after {well}, {panics} times");
            let (log, handled) = (PanickingLog::new(call, usize::MAX, 0), Handled::default());
            let limit = Limit::builder().max(100).build().unwrap();
            let resume = layer().linger(20 * SECOND).log(log.clone());
            let (handle, mut stop) = (resume.handle(), resume.stop_service());
            let resumable = resume.layer(handler(&handled, || {
                (0..9).flat_map(|_| [Data("data: x\n\n"), Wait(SECOND)]).chain([Hang]).collect()
            }));
            let service = LimitLayer::new(limit.clone()).layer(resumable.clone());
            let other = tokio::spawn({
                let service = service.clone();
                async move { seen(&service, request_of("bob", None), 60 * SECOND).await }
            });
            tokio::time::sleep(SECOND / 2).await;
            log.set(call, well, panics);
            let first = seen(&service, request(None), 3 * SECOND).await;
            // It ends only if the panic was that of its own follower, and then it says so.
            assert_eq!(first.status, 200, "{what}");
            let is_told = first.text.contains(ERROR);
            assert!(!first.ended || is_told, "{what}: {first:?}");
            assert!(first.data().iter().all(|data| data == "x" || data == ERROR), "{what}");
            let id = events(&first.text).first().map(|(_, id)| id.clone());
            let back = seen(&service, request(id.as_deref()), SECOND).await;
            assert_eq!(back.status, 200, "{what}");
            log.set(call, usize::MAX, 0);
            let running = handle.list("ann").await.unwrap().len();
            let stopped = tower::Service::call(&mut stop, delete("ann")).await.unwrap().status();
            let expected =
                if running == 0 { StatusCode::NOT_FOUND } else { StatusCode::NO_CONTENT };
            assert_eq!(stopped, expected, "{what}");
            tokio::time::sleep(SECOND).await;
            assert!(handle.list("ann").await.unwrap().is_empty(), "{what}");
            assert_eq!(handle.list("bob").await.unwrap().len(), 1, "{what}");
            assert_eq!(limit.open(), 1, "{what}");
            // A new stream begins, and can be had again.
            let new = seen(&service, request(None), 2 * SECOND).await;
            let again = seen(&service, request(Some(&new.id(0))), 2 * SECOND).await;
            assert!(again.data().len() > 1 && again.data().iter().all(|it| it == "x"), "{what}");
            let other = other.await.unwrap();
            let panicked = other.data().contains(&ERROR.to_owned());
            // Its follower may be the one that was polled next.
            assert!(panicked && call == Polling || other.data() == ["x"; 9], "{what}: {other:?}");
            // Until the last end is forgotten.
            tokio::time::sleep(400 * SECOND).await;
            assert_eq!((limit.open(), resumable.streams()), (0, 0), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_the_log_cannot_be_followed_for_passes_as_it_is() {
    let (log, handled) = (PanickingLog::new(Following, 0, 1), Handled::default());
    let resume = layer().log(log.clone());
    let handle = resume.handle();
    let service = resume.layer(handler(&handled, three));
    let plain = ask(&service, request(None)).await;
    assert!(handle.list("ann").await.unwrap().is_empty() && log.is_done());
    assert_eq!(service.streams(), 0);
    let plain = read(&mut plain.into_body(), 60 * SECOND).await;
    assert_eq!((plain.text().as_str(), plain.ended), ("data: 1\n\ndata: 2\n\ndata: 3\n\n", true));
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_follower_panics_is_told_and_comes_back_to_the_rest() {
    for call in [Following, Polling] {
        let (log, handled) = (PanickingLog::new(call, usize::MAX, 0), Handled::default());
        let service = layer().log(log.clone()).layer(handler(&handled, three));
        let first = seen(&service, request(None), SECOND / 2).await;
        log.set(call, 0, 1);
        let told = seen(&service, request(Some(&first.id(0))), 9 * SECOND).await;
        assert_eq!((told.status, told.data(), told.ended), (200, vec![ERROR.to_owned()], true));
        assert!(log.is_done());
        let rest = seen(&service, request(Some(&first.id(0))), 9 * SECOND).await;
        assert_eq!((rest.data(), rest.ended), (vec!["2".to_owned(), "3".to_owned()], true));
        assert_eq!(handled.calls(), 1, "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_panics_at_one_node_keeps_no_other_node_from_its_streams() {
    for call in [Append, Following, Polling, Read, Forget] {
        for (well, panics) in (0..9).flat_map(|well| [(well, 1), (well, 2)]) {
            let what = format!("{call:?} after {well}, {panics} times");
            let (log, handled) = (PanickingLog::new(call, well, panics), Handled::default());
            let node =
                || layer().join(Join::FromBeginning).log(log.clone()).other_nodes(5 * SECOND);
            let (one, other) = (node(), node());
            let stop = other.handle();
            let steps = || vec![Wait(5 * SECOND), Data("data: 1\n\n"), Hang];
            let one = one.layer(handler(&handled, steps));
            let other = other.layer(handler(&Handled::default(), || vec![Data("data: new\n\n")]));
            let first = seen(&one, request(None), 10 * SECOND).await;
            log.set(call, usize::MAX, 0);
            if first.ended || first.id(0).is_empty() {
                // The response was that of its handler, or its follower was the one that panicked.
                let passes = first.id(0).is_empty() && first.data() == ["1"];
                assert!(passes || first.data().contains(&ERROR.to_owned()), "{what}: {first:?}");
                continue;
            }
            assert_eq!(first.data(), ["1"], "{what}");
            let joined = Request::get("/answer").header("x-user", "ann").body(()).unwrap();
            let joined = tokio::spawn(async move { seen(&other, joined, 90 * SECOND).await });
            tokio::time::sleep(60 * SECOND).await;
            assert_eq!(stop.stop(&key_of_ann()).await.unwrap(), 1, "{what}");
            let joined = joined.await.unwrap();
            assert_eq!(
                (joined.data(), joined.ended),
                (vec!["1".into(), STOPPED.into()], true),
                "{what}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_the_log_panics_over_is_to_be_asked_again() {
    let log = PanickingLog::new(Read, 0, FOR_EVER);
    let resume = layer().log(log.clone()).other_nodes(SECOND);
    let mut stop = resume.stop_service();
    let mut status =
        async || tower::Service::call(&mut stop, delete("ann")).await.unwrap().status();
    assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
    log.set(Read, usize::MAX, 0);
    assert_eq!(status().await, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_handle_says_that_the_log_panicked_and_the_task_that_asked_goes_on() {
    let log = PanickingLog::new(Read, 0, FOR_EVER);
    let handle = layer().log(log.clone()).other_nodes(SECOND).handle();
    for _ in 0..2 {
        assert_eq!(handle.list("ann").await.unwrap_err(), HandleError::LogPanicked);
        assert_eq!(handle.stop(&key_of_ann()).await, Err(HandleError::LogPanicked));
    }
    log.set(Read, usize::MAX, 0);
    assert!(handle.list("ann").await.unwrap().is_empty());
    assert_eq!(handle.stop(&key_of_ann()).await, Ok(0));
}

/// It would take along the streams that the same task serves, as those of an HTTP/2 connection.
#[tokio::test(start_paused = true)]
async fn a_function_of_the_settings_that_panics_ends_no_request() {
    let handled = Handled::default();
    let resume = ResumeLayer::new(|request: &http::request::Parts| {
        assert!(!request.headers.contains_key("x-bad-key"), "the key panics");
        key(request)
    });
    let resume = resume.finished_by(|_| panic!("the answer panics")).join_by(|request| {
        assert!(request.method != http::Method::GET, "the join panics");
        None
    });
    let mut stop = resume.stop_service();
    let service = service(resume, &handled, three);
    let bad_key = || {
        let mut request = request(None);
        request.headers_mut().insert("x-bad-key", "1".parse().unwrap());
        request
    };
    let plain = seen(&service, bad_key(), 9 * SECOND).await;
    assert_eq!((plain.text.as_str(), plain.ended), ("data: 1\n\ndata: 2\n\ndata: 3\n\n", true));
    let stopped = tower::Service::call(&mut stop, bad_key()).await.unwrap();
    assert_eq!((stopped.status(), service.streams()), (StatusCode::NOT_FOUND, 0));
    let all = seen(&service, request(None), 9 * SECOND).await;
    assert_eq!(seen(&service, request(Some(&all.last_id())), SECOND).await.status, 204);
    let joins = Request::get("/answer").header("x-user", "ann").body(()).unwrap();
    assert_eq!(seen(&service, joins, 9 * SECOND).await.data(), ["1", "2", "3"]);
    assert_eq!(handled.calls(), 3);
}

/// A body that panics when it is dropped, after its end or after a panic.
struct BodyBomb {
    steps: Script,
}

impl Body for BodyBomb {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Pin::new(&mut self.steps).poll_frame(cx)
    }
}

impl Drop for BodyBomb {
    fn drop(&mut self) {
        panic!("the body panics when it is dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_when_it_is_dropped_keeps_no_client_from_the_end_that_it_had() {
    let finished = "{\"reason\":\"finished\"}";
    for (last, end) in [(None, finished), (Some(Step::Panic), ERROR), (Some(Hang), STOPPED)] {
        let resume = layer().close_event(SECOND);
        let handle = resume.handle();
        let is_stopped = end == STOPPED;
        let steps = Arc::new(Mutex::new(Some(last)));
        let service = resume.layer(service_fn(move |_: Request<()>| {
            let last = steps.lock().unwrap().take().expect("one call");
            let steps = Script::new([Data("data: 1\n\n"), Wait(SECOND)].into_iter().chain(last));
            let response = Response::builder().header("content-type", "text/event-stream");
            std::future::ready(Ok(response.body(BodyBomb { steps }).unwrap()))
        }));
        let first = seen(&service, request(None), SECOND / 2).await;
        tokio::time::sleep(2 * SECOND).await;
        if is_stopped {
            assert_eq!(handle.stop(&key_of_ann()).await.unwrap(), 1);
        }
        let rest = seen(&service, request(Some(&first.id(0))), SECOND).await;
        assert_eq!((rest.data(), rest.ended), (vec![end.to_owned()], true));
        assert!(handle.list("ann").await.unwrap().is_empty());
    }
}
