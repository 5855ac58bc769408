//! A stop is not a disconnect: it ends the handler's stream at once, and for good.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, StatusCode};
use tower::Layer;
use tower_sse::event_log::{EventLog, MemoryFollower, MemoryLog, Start, Topic, Topics};
use tower_sse::resume::ResumeKey;
use tower_sse::{Event, EventId};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Flood, Hang, Wait};
use crate::harness::bodies::read;
use crate::harness::resume::{
    Handled, ask, events, handler, layer, request, request_of, seen, service,
};

const STOPPED: &str = "{\"reason\":\"stopped\"}";

fn ticks() -> Vec<Step> {
    (0..100).flat_map(|_| [Data("data: x\n\n"), Wait(SECOND)]).collect()
}

fn delete(user: &str) -> Request<()> {
    Request::delete("/answer").header("x-user", user).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_stop_drops_the_body_at_once_and_all_readers_get_a_last_event() {
    let (resume, handled) = (layer(), Handled::default());
    let handle = resume.handle();
    let service = service(resume, &handled, ticks);
    let first = seen(&service, request(None), SECOND / 2).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut body = ask(&service, request(Some(&first.id(0)))).await.into_body();
        readers.push(tokio::spawn(async move { read(&mut body, 99 * SECOND).await }));
    }
    tokio::time::sleep(2 * SECOND).await;
    assert!(!handled.dropped());
    let key = ResumeKey::new("/answer", "ann");
    assert_eq!(handle.stop(&key).await.unwrap(), 1);
    tokio::task::yield_now().await;
    assert!(handled.dropped(), "no time has passed");
    for reader in readers {
        let read = reader.await.unwrap();
        assert!(read.ended);
        let data: Vec<String> = events(&read.text()).into_iter().map(|(data, _)| data).collect();
        assert_eq!(data, ["x", "x", STOPPED]);
    }
    assert_eq!(handle.stop(&key).await.unwrap(), 0, "nothing runs any more");
    assert_eq!(handled.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_produced_before_a_stop_stays_readable_and_nothing_begins_anew() {
    for close_event in [None, Some(20 * SECOND)] {
        let handled = Handled::default();
        let resume = match close_event {
            Some(retry) => layer().close_event(retry),
            None => layer(),
        };
        let mut stop = resume.stop_service();
        let service = service(resume, &handled, ticks);
        let first = seen(&service, request(None), SECOND / 2).await;
        // Nobody reads while it is stopped.
        tokio::time::sleep(3 * SECOND).await;
        let answer = tower::Service::call(&mut stop, delete("ann")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        tokio::time::sleep(60 * SECOND).await;
        for _ in 0..2 {
            let rest = seen(&service, request(Some(&first.id(0))), SECOND).await;
            assert_eq!((rest.data(), rest.ended), (data(&["x", "x", "x", STOPPED]), true));
            assert_eq!(rest.text.contains("retry: 20000\n"), close_event.is_some());
            let over = seen(&service, request(Some(&rest.last_id())), SECOND).await;
            assert_eq!((over.status, over.text.as_str()), (204, ""));
        }
        assert_eq!((handled.calls(), handled.dropped()), (1, true));
    }
}

/// A model reads a long prompt before it says a word.
#[tokio::test(start_paused = true)]
async fn a_stop_before_the_first_event_stops_too() {
    let (resume, handled) = (layer(), Handled::default());
    let handle = resume.handle();
    let service = service(resume, &handled, || vec![Hang]);
    let mut body = ask(&service, request(None)).await.into_body();
    assert_eq!(handle.stop(&ResumeKey::new("/answer", "ann")).await.unwrap(), 1);
    let read = read(&mut body, SECOND).await;
    assert_eq!(events(&read.text())[0].0, STOPPED);
    assert!(read.ended && handled.dropped());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_waits_for_its_slow_reader_is_stopped_too() {
    let (resume, handled) = (layer().buffer(3), Handled::default());
    let handle = resume.handle();
    let service = service(resume, &handled, || vec![Flood("data: x\n\ndata: y\n\n")]);
    let mut body = ask(&service, request(None)).await.into_body();
    tokio::time::sleep(SECOND).await;
    assert_eq!(handle.stop(&ResumeKey::new("/answer", "ann")).await.unwrap(), 1);
    tokio::task::yield_now().await;
    assert!(handled.dropped());
    let got = read(&mut body, SECOND).await;
    assert_eq!(events(&got.text()).len(), 4, "three, and the last");
    assert!(got.ended && got.text().contains(STOPPED));
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_for_the_streams_of_its_key_only() {
    let (resume, handled) = (layer(), Handled::default());
    let mut stop = resume.stop_service();
    let service = service(resume, &handled, ticks);
    let mut ids = Vec::new();
    for user in ["ann", "ann", "bob"] {
        ids.push(seen(&service, request_of(user, None), SECOND / 2).await.id(0));
    }
    for (request, status) in [
        (delete("eve"), 404),
        (delete("nobody"), 404),
        (Request::delete("/other").header("x-user", "ann").body(()).unwrap(), 404),
        (delete("ann"), 204),
        (delete("ann"), 404),
    ] {
        let answer = tower::Service::call(&mut stop, request).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
    for (user, id, is_stopped) in
        [("ann", &ids[0], true), ("ann", &ids[1], true), ("bob", &ids[2], false)]
    {
        let rest = seen(&service, request_of(user, Some(id)), SECOND / 2).await;
        assert_eq!((rest.ended, rest.text.contains(STOPPED)), (is_stopped, is_stopped), "{user}");
    }
    assert_eq!(handled.calls(), 3);
}

/// Takes no event from some time on, and says nothing.
#[derive(Clone)]
struct Silent(MemoryLog, Arc<AtomicBool>);

impl EventLog for Silent {
    type Error = io::Error;
    type Follower = MemoryFollower;

    async fn append(&self, topic: &Topic, event: Event) -> io::Result<EventId> {
        if self.1.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.0.append_now(topic, event).map_err(io::Error::other)
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        self.0.follow(topics, from)
    }

    async fn latest(&self, topics: &Topics) -> io::Result<EventId> {
        self.0.latest(topics).await.map_err(io::Error::other)
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_log_that_does_not_answer() {
    let (log, handled) = (Silent(MemoryLog::new(), Arc::default()), Handled::default());
    let silent = Arc::clone(&log.1);
    let resume = layer().log(log);
    let handle = resume.handle();
    let service = resume.layer(handler(&handled, ticks));
    let mut body = ask(&service, request(None)).await.into_body();
    tokio::time::sleep(SECOND / 2).await;
    silent.store(true, Ordering::SeqCst);
    tokio::time::sleep(SECOND).await;
    assert_eq!(handle.stop(&ResumeKey::new("/answer", "ann")).await.unwrap(), 1);
    tokio::task::yield_now().await;
    assert!(handled.dropped());
    let got = read(&mut body, 99 * SECOND).await;
    assert!(got.ended, "its reader does not wait for the log for ever");
    assert_eq!(got.text().matches("data: ").count(), 2, "{}", got.text());
}

fn data(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
