//! What runs at one node is listed, joined and stopped at another, and its readers learn when the
//! node died.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use tokio::time::Instant;
use tower::{Layer, Service, service_fn};
use tower_sse::event_log::{EventLog, MemoryFollower, MemoryLog, Page, Start, Topic, Topics};
use tower_sse::resume::{Join, ResumeKey, ResumeService};
use tower_sse::{Dialect, Event, EventId, KeepAliveLayer, ResumeLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Hang, Wait};
use crate::harness::bodies::{Script, read};
use crate::harness::resume::{
    Handled, Handler, ask, events, handler, layer, request, request_of, seen,
};

const STOPPED: &str = "{\"reason\":\"stopped\"}";
const ERROR: &str = "{\"reason\":\"error\"}";

/// The connection of a node to a log that nodes share.
#[derive(Clone)]
struct Link {
    log: MemoryLog,
    /// Nothing is answered any more.
    is_cut: Arc<AtomicBool>,
    /// Errors are.
    is_away: Arc<AtomicBool>,
    /// Events of ann's streams are refused, and no others.
    is_full: Arc<AtomicBool>,
    follows: Arc<AtomicUsize>,
    /// How long an answer takes.
    delay_ms: Arc<AtomicUsize>,
}

impl Link {
    fn to(log: &MemoryLog) -> Self {
        let log = log.clone();
        let (is_cut, is_away, is_full) = (Arc::default(), Arc::default(), Arc::default());
        let (follows, delay_ms) = (Arc::default(), Arc::default());
        Self { log, is_cut, is_away, is_full, follows, delay_ms }
    }

    async fn ask(&self) -> io::Result<()> {
        let delay = self.delay_ms.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay as u64)).await;
        }
        if self.is_cut.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(io::Error::other("the broker is away")),
            false => Ok(()),
        }
    }
}

impl EventLog for Link {
    type Error = io::Error;
    type Follower = MemoryFollower;

    async fn append(&self, topic: &Topic, event: Event) -> io::Result<EventId> {
        self.ask().await?;
        // "3:ann/answer" in base64.
        let is_of_stream = topic.as_str().ends_with(".Mzphbm4vYW5zd2Vy");
        if self.is_full.load(Ordering::SeqCst) && is_of_stream {
            return Err(io::Error::other("there is no room"));
        }
        self.log.append_now(topic, event).map_err(io::Error::other)
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        self.follows.fetch_add(1, Ordering::SeqCst);
        self.log.follow(topics, from)
    }

    async fn read(&self, topic: &Topic, from: Start, limit: usize) -> io::Result<Page> {
        self.ask().await?;
        self.log.read(topic, from, limit).await.map_err(io::Error::other)
    }

    async fn forget(&self, topic: &Topic, after: Duration) -> io::Result<()> {
        self.ask().await?;
        self.log.forget(topic, after).await.map_err(io::Error::other)
    }

    async fn latest(&self, topics: &Topics) -> io::Result<EventId> {
        self.ask().await?;
        self.log.latest(topics).await.map_err(io::Error::other)
    }
}

struct Node {
    link: Link,
    layer: ResumeLayer<Link>,
    service: ResumeService<Handler, Link>,
    handled: Handled,
}

impl Node {
    fn new(log: &MemoryLog, steps: fn() -> Vec<Step>) -> Self {
        let (link, handled) = (Link::to(log), Handled::default());
        let layer = layer().join(Join::FromBeginning).close_event(20 * SECOND);
        let layer = layer.log(link.clone()).other_nodes(SECOND);
        let service = layer.layer(Handler::new(handler(&handled, steps)));
        Self { link, layer, service, handled }
    }

    fn two(steps: fn() -> Vec<Step>) -> (Self, Self, MemoryLog) {
        let log = MemoryLog::new();
        (Self::new(&log, steps), Self::new(&log, steps), log)
    }
}

fn ticks() -> Vec<Step> {
    let texts = ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n", "data: 4\n\n", "data: 5\n\n"];
    texts.into_iter().flat_map(|text| [Data(text), Wait(SECOND)]).collect()
}

fn one_and_silence() -> Vec<Step> {
    vec![Data("data: 1\n\n"), Data("data: 2\n\n"), Hang]
}

fn get() -> Request<()> {
    Request::get("/answer").header("x-user", "ann").body(()).unwrap()
}

fn key() -> ResumeKey {
    ResumeKey::new("/answer", "ann")
}

#[tokio::test(start_paused = true)]
async fn a_stop_at_one_node_stops_what_runs_at_another_for_all_its_readers() {
    let (one, other, _) = Node::two(ticks);
    let first = seen(&one.service, request(None), SECOND / 2).await;
    let mut readers = Vec::new();
    for node in [&one, &other] {
        let mut body = ask(&node.service, request(Some(&first.id(0)))).await.into_body();
        readers.push(tokio::spawn(async move { read(&mut body, 99 * SECOND).await }));
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(other.layer.handle().stop(&ResumeKey::new("/answer", "eve")).await.unwrap(), 0);
    let mut stop = other.layer.stop_service();
    let delete = Request::delete("/answer").header("x-user", "ann").body(()).unwrap();
    assert_eq!(stop.call(delete).await.unwrap().status(), 204);
    tokio::time::sleep(SECOND / 100).await;
    assert!(one.handled.dropped());
    for reader in readers {
        let read = reader.await.unwrap();
        let data: Vec<String> = events(&read.text()).into_iter().map(|(data, _)| data).collect();
        assert!(read.ended && data == ["2", STOPPED], "{data:?}");
    }
    tokio::time::sleep(SECOND).await;
    for node in [&one, &other] {
        let rest = seen(&node.service, request(Some(&first.id(0))), SECOND).await;
        assert_eq!(rest.data(), ["2", STOPPED]);
        let over = seen(&node.service, request(Some(&rest.last_id())), SECOND).await;
        assert_eq!(over.status, 204);
        assert_eq!(node.layer.handle().stop(&key()).await.unwrap(), 0);
    }
    assert_eq!((one.handled.calls(), other.handled.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_without_an_id_joins_at_one_node_what_runs_at_another() {
    for (join, data) in [(Join::FromBeginning, &["1", "2", "3"][..]), (Join::FromNow, &["3"])] {
        let (one, other, _) = Node::two(ticks);
        let handler = Handler::new(handler(&other.handled, ticks));
        let joins = other.layer.clone().join(join).layer(handler);
        let first = seen(&one.service, request(None), SECOND + SECOND / 2).await;
        let joined = seen(&joins, get(), SECOND).await;
        assert_eq!((joined.data(), joined.status), (strings(data), 200));
        assert_eq!(joined.headers, first.headers);
        let rest = seen(&other.service, request(Some(&joined.last_id())), 9 * SECOND).await;
        assert_eq!(rest.data(), ["4", "5", "{\"reason\":\"finished\"}"]);
        assert_eq!((one.handled.calls(), other.handled.calls()), (1, 0));
        // It is over.
        seen(&joins, get(), SECOND / 2).await;
        assert_eq!(other.handled.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_principal_sees_at_each_node_what_runs_at_all_of_them() {
    let (one, other, _) = Node::two(ticks);
    let began = SystemTime::now();
    let path = |path: &str| Request::post(path).header("x-user", "ann").body(()).unwrap();
    let _reading = [
        ask(&one.service, path("/a")).await,
        ask(&other.service, path(&format!("/{}", "x".repeat(300)))).await,
        ask(&one.service, request_of("bob", None)).await,
    ];
    tokio::time::sleep(SECOND).await;
    for (here, there) in [(&one, &other), (&other, &one)] {
        let (handle, there) = (here.layer.handle(), there.layer.handle());
        let list = handle.list("ann").await.unwrap();
        assert_eq!(list.len(), 2);
        assert!(handle.list("eve").await.unwrap().is_empty());
        for stream in list {
            let is_here = stream.node() == handle.node();
            assert!(is_here || stream.node() == there.node());
            assert_eq!(stream.readers(), is_here.then_some(1));
            assert!(stream.since() + SECOND / 100 > began && stream.since() <= SystemTime::now());
            assert_eq!(stream.key().principal(), "ann");
        }
    }
    assert_eq!(one.layer.handle().stop(&ResumeKey::new("/a", "ann")).await.unwrap(), 1);
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(other.layer.handle().list("ann").await.unwrap().len(), 1);
    // Those that run for long stay in the list, and those that end do not.
    tokio::time::sleep(10 * SECOND).await;
    for node in [&one, &other] {
        assert!(node.layer.handle().list("ann").await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_runs_for_long_is_still_listed_and_its_silence_ends_no_reader() {
    let (one, other, log) = Node::two(one_and_silence);
    let reading = ask(&one.service, request(None)).await;
    tokio::time::sleep(SECOND).await;
    let joined = seen(&other.service, get(), 3600 * SECOND).await;
    assert_eq!((joined.data(), joined.ended), (strings(&["1", "2"]), false));
    assert_eq!(other.layer.handle().list("ann").await.unwrap().len(), 1);
    assert_eq!(other.layer.handle().stop(&key()).await.unwrap(), 1);
    drop(reading);
    tokio::time::sleep(400 * SECOND).await;
    assert_eq!(log.topics(), 0, "of what is over nothing is left");
}

#[tokio::test(start_paused = true)]
async fn a_client_at_another_node_keeps_a_stream_going_and_its_buffer_free_until_it_leaves() {
    let log = MemoryLog::new();
    let handled = Handled::default();
    let steps = || (0..200).flat_map(|_| [Data("data: x\n\n"), Wait(SECOND / 4)]).collect();
    let resume = || layer().linger(6 * SECOND).buffer(8).log(log.clone()).other_nodes(SECOND);
    let one = resume().layer(handler(&handled, steps));
    let other = resume().layer(handler(&Handled::default(), steps));
    let first = seen(&one, request(None), SECOND).await;
    let rest = seen(&other, request(Some(&first.last_id())), 30 * SECOND).await;
    // Without the client's word the body is not read further than the buffer, and ends.
    assert!(rest.data().len() > 100 && !rest.ended, "{}", rest.data().len());
    assert!(rest.data().iter().all(|data| data == "x"));
    tokio::time::sleep(4 * SECOND).await;
    assert!(!handled.dropped(), "it lingers for clients of other nodes, too");
    tokio::time::sleep(5 * SECOND).await;
    assert!(handled.dropped());
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_node_that_died_get_what_there_is_and_an_end_within_one_and_a_half_leases() {
    let (one, other, _) = Node::two(one_and_silence);
    let first = seen(&one.service, request(None), SECOND).await;
    let _local = ask(&one.service, request(Some(&first.id(0)))).await;
    let mut there = ask(&other.service, request(Some(&first.id(0)))).await.into_body();
    assert_eq!(read(&mut there, 60 * SECOND).await.text().matches("data: ").count(), 1);
    // It renews no lease, and writes no end.
    one.link.is_cut.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let end = read(&mut there, 999 * SECOND).await;
    let took = began.elapsed();
    assert!(end.ended && end.text().contains(ERROR), "{}", end.text());
    assert!(took > 10 * SECOND && took <= 45 * SECOND, "{took:?}");

    // Who comes back has the rest first, and then a new stream.
    let began = Instant::now();
    let rest = seen(&other.service, request(Some(&first.id(0))), 99 * SECOND).await;
    assert_eq!((rest.data(), rest.ended), (strings(&["2", ERROR]), true));
    assert!(began.elapsed() < 20 * SECOND, "{:?}", began.elapsed());
    assert_eq!(other.handled.calls(), 0);
    let anew = seen(&other.service, request(Some(&rest.id(0))), SECOND).await;
    assert_eq!((anew.data(), other.handled.calls()), (strings(&["1", "2"]), 1));

    // What the dead node ran is neither listed nor joined.
    let third = Node::new(&other.link.log, ticks);
    tokio::time::sleep(100 * SECOND).await;
    let list = third.layer.handle().list("ann").await.unwrap();
    assert!(list.iter().all(|stream| stream.node() == other.layer.handle().node()), "{list:?}");
}

/// The log has no words of the dead node.
#[tokio::test(start_paused = true)]
async fn readers_of_a_node_that_died_are_told_so_in_the_words_of_their_own_route() {
    for (dialect, error) in [
        (
            Dialect::openai_chat(),
            "event: error\ndata: {\"error\":{\"message\":\"the stream failed\"",
        ),
        (Dialect::ag_ui(), "data: {\"type\":\"RUN_ERROR\""),
        (Dialect::graphql_sse(), "event: next\ndata: {\"errors\":"),
    ] {
        let (one, other, _) = Node::two(one_and_silence);
        let first = seen(&one.service, request(None), SECOND).await;
        let _local = ask(&one.service, request(Some(&first.id(0)))).await;
        let layers = SseLayer::new().keep_alive(KeepAliveLayer::off()).dialect(dialect);
        let route = layers.layer(other.service.clone());
        let mut there = ask(&route, request(Some(&first.id(1)))).await.into_body();
        read(&mut there, 60 * SECOND).await;
        one.link.is_cut.store(true, Ordering::SeqCst);
        let end = read(&mut there, 999 * SECOND).await;
        assert!(end.ended && end.text().starts_with(error), "{}", end.text());
        assert!(!end.text().contains("id: "), "{}", end.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_to_a_new_node_after_the_death_is_told_so_too() {
    let (one, other, log) = Node::two(one_and_silence);
    let first = seen(&one.service, request(None), SECOND).await;
    let _local = ask(&one.service, request(Some(&first.id(0)))).await;
    one.link.is_cut.store(true, Ordering::SeqCst);
    // The second one comes when the log has let go of the lease.
    for wait in [SECOND, 100 * SECOND] {
        tokio::time::sleep(wait).await;
        let new = Node::new(&log, one_and_silence);
        let rest = seen(&new.service, request(Some(&first.id(0))), 45 * SECOND).await;
        assert_eq!((rest.data(), rest.ended), (strings(&["2", ERROR]), true));
    }
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_begins_many_streams_at_once_is_not_taken_to_be_dead() {
    let (one, other, _) = Node::two(one_and_silence);
    one.link.delay_ms.store(100, Ordering::SeqCst);
    let path = |user: &str| Request::post("/answer").header("x-user", user);
    let mut first = ask(&one.service, path("ann").body(()).unwrap()).await.into_body();
    let id = events(&read(&mut first, 5 * SECOND).await.text())[0].1.clone();
    let mut open = Vec::new();
    for n in 0..400 {
        let request = path(&format!("user-{n}")).body(()).unwrap();
        open.push(ask(&one.service, request).await);
    }
    // It takes the node more than two leases to write that they began.
    let again = path("ann").header("last-event-id", id).body(()).unwrap();
    let rest = seen(&other.service, again, 90 * SECOND).await;
    assert_eq!((rest.data(), rest.ended), (strings(&["2"]), false));
    // And it does meanwhile what others ask for.
    assert_eq!(other.layer.handle().stop(&key()).await.unwrap(), 1);
    tokio::time::sleep(8 * SECOND).await;
    assert_eq!(events(&read(&mut first, SECOND).await.text()).last().unwrap().0, STOPPED);
}

#[tokio::test(start_paused = true)]
async fn while_the_log_is_away_no_node_is_taken_to_be_dead() {
    let (one, other, _) = Node::two(ticks_of_minutes);
    let first = seen(&one.service, request(None), SECOND).await;
    let _local = ask(&one.service, request(Some(&first.id(0)))).await;
    let mut there = ask(&other.service, request(Some(&first.id(0)))).await.into_body();
    let rest = tokio::spawn(async move { read(&mut there, 999 * SECOND).await });
    tokio::time::sleep(SECOND).await;
    for link in [&one.link, &other.link] {
        link.is_away.store(true, Ordering::SeqCst);
    }
    tokio::time::sleep(100 * SECOND).await;
    for link in [&one.link, &other.link] {
        link.is_away.store(false, Ordering::SeqCst);
    }
    let rest = rest.await.unwrap();
    assert!(rest.ended && !rest.text().contains(ERROR), "{}", rest.text());
}

fn ticks_of_minutes() -> Vec<Step> {
    vec![Data("data: 1\n\n"), Wait(150 * SECOND), Data("data: 2\n\n"), Wait(SECOND)]
}

/// The node is alive, so its readers elsewhere would wait for ever.
#[tokio::test(start_paused = true)]
async fn an_end_that_the_log_did_not_take_is_written_when_it_takes_events_again() {
    // Longer than the linger, for which the node tries; and longer than what is remembered.
    for away in [100, 1_000] {
        let (one, other, _) =
            Node::two(|| vec![Data("data: 1\n\n"), Wait(SECOND), Data("data: 2\n\n"), Hang]);
        let first = seen(&one.service, request(None), SECOND / 2).await;
        // Another stream keeps the lease.
        let _alive = ask(&one.service, request_of("bob", None)).await;
        let mut there = ask(&other.service, request(Some(&first.id(0)))).await.into_body();
        let set_away = |is_away| {
            one.link.is_full.store(is_away, Ordering::SeqCst);
            for node in [&one, &other] {
                node.link.is_away.store(is_away && away > 100, Ordering::SeqCst);
            }
        };
        set_away(true);
        tokio::time::sleep(away * SECOND).await;
        if away == 100 {
            assert_eq!(one.layer.handle().list("ann").await.unwrap().len(), 0);
        }
        assert_eq!(read(&mut there, SECOND).await.text(), "");
        set_away(false);
        let rest = read(&mut there, 2 * SECOND).await;
        assert!(rest.ended && rest.text().contains(ERROR), "{away} {}", rest.text());
    }
}

/// All events are in the log, and their end is not.
#[tokio::test(start_paused = true)]
async fn a_stream_that_came_to_its_end_while_the_log_was_away_ends_for_readers_elsewhere() {
    let (log, handled) = (MemoryLog::new(), Handled::default());
    let link = Link::to(&log);
    let steps = || vec![Data("data: 1\n\n"), Wait(5 * SECOND)];
    let resume = || layer().log(link.clone()).other_nodes(SECOND);
    let (node, other) = (resume(), resume().layer(handler(&handled, steps)));
    let one = node.layer(handler(&handled, steps));
    // Another stream keeps the lease.
    let hangs = node.layer(handler(&handled, one_and_silence));
    let _alive = ask(&hangs, request_of("bob", None)).await;
    let first = seen(&one, request(None), SECOND).await;
    let mut there = ask(&other, request(Some(&first.id(0)))).await.into_body();
    assert_eq!(read(&mut there, SECOND).await.text(), "");
    link.is_full.store(true, Ordering::SeqCst);
    tokio::time::sleep(100 * SECOND).await;
    assert!(!read(&mut there, SECOND).await.ended);
    link.is_full.store(false, Ordering::SeqCst);
    let rest = read(&mut there, 2 * SECOND).await;
    assert!(rest.ended && rest.text().is_empty(), "{}", rest.text());
    let over = seen(&other, request(Some(&first.id(0))), SECOND).await;
    assert_eq!((over.status, handled.calls()), (204, 2));
}

/// An event is not kept, so clients of the node alone go on, and those elsewhere do not wait.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_kept_while_the_log_is_away_ends_for_readers_elsewhere() {
    let (log, handled) = (MemoryLog::new(), Handled::default());
    let link = Link::to(&log);
    let resume = || layer().buffer_bytes(20).log(link.clone()).other_nodes(SECOND);
    let unkept = "data: far more than twenty bytes\n\n";
    let steps = move || vec![Data("data: 1\n\n"), Wait(5 * SECOND), Data(unkept), Wait(SECOND)];
    let (node, other) = (resume(), resume().layer(handler(&handled, steps)));
    let one = node.layer(handler(&handled, steps));
    // Another stream keeps the lease.
    let hangs = node.layer(handler(&handled, one_and_silence));
    let _alive = ask(&hangs, request_of("bob", None)).await;
    let mut here = ask(&one, request(None)).await.into_body();
    let first = read(&mut here, SECOND).await.text();
    let id = &events(&first)[0].1;
    let mut there = ask(&other, request(Some(id))).await.into_body();
    assert_eq!(read(&mut there, SECOND).await.text(), "");
    link.is_full.store(true, Ordering::SeqCst);
    let rest = read(&mut here, 100 * SECOND).await;
    assert!(rest.ended && rest.text().contains("far more"), "{}", rest.text());
    assert!(!read(&mut there, SECOND).await.ended);
    link.is_full.store(false, Ordering::SeqCst);
    let rest = read(&mut there, 2 * SECOND).await;
    assert!(rest.ended && rest.text().contains(ERROR), "{}", rest.text());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_made_up_ids_follow_nothing_and_leave_nothing() {
    let log = MemoryLog::new();
    let link = Link::to(&log);
    let calls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&calls);
    let handler = service_fn(move |_: Request<()>| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(Script::new([]))))
    });
    let resume = layer().join(Join::FromBeginning).log(link.clone()).other_nodes(SECOND);
    let service = resume.layer(handler);
    let began = Instant::now();
    for n in 0..10_000 {
        let id = format!("{:023}7-{n}", n * 7);
        seen(&service, request_of(&format!("user-{n}"), Some(&id)), SECOND).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 10_000);
    assert_eq!((link.follows.load(Ordering::SeqCst), log.topics()), (0, 0));
    assert!(began.elapsed() < SECOND, "no id is waited for: {:?}", began.elapsed());
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Its own linger says how often, and that may be no time at all.
#[tokio::test(start_paused = true)]
async fn a_node_is_told_of_clients_elsewhere_at_a_bounded_rate_whatever_the_linger() {
    for linger in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(3)] {
        let (log, handled) = (MemoryLog::new(), Handled::default());
        let resume = || layer().log(log.clone()).other_nodes(SECOND);
        let (one, other) = (resume(), resume().linger(linger));
        let node = Topic::new(format!("resume.orders.{}", one.handle().node())).unwrap();
        let one = one.layer(handler(&handled, one_and_silence));
        let other = other.layer(handler(&handled, one_and_silence));
        let first = seen(&one, request(None), SECOND).await;
        let rest = seen(&other, request(Some(&first.id(0))), 10 * SECOND).await;
        assert_eq!((rest.data(), rest.ended, handled.calls()), (vec!["2".to_owned()], false, 1));
        let told = log.window(&node).0;
        assert!((1..=110).contains(&told), "{told} in ten seconds, for {linger:?}");
    }
}
