//! The examples as their users meet them: real processes, real sockets, the real curl.

mod acceptance;
mod framings;
mod llm_gateway;
mod mcp;
mod node;
mod notifications;
mod pages;
mod proxy;
mod resumable;
mod stalled;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;

use crate::harness::process::{Example, Transcript, eventually};

#[tokio::test]
async fn sigterm_says_goodbye_to_all_and_ends_the_demo() {
    all_are_told_and_it_ends("TERM").await;
}

#[tokio::test]
async fn ctrl_c_says_goodbye_to_all_and_ends_the_demo() {
    all_are_told_and_it_ends("INT").await;
}

async fn all_are_told_and_it_ends(signal: &str) {
    let mut demo = Example::start("demo", &[]).await;
    let url = demo.url("/events");
    let clients: Vec<Transcript> = (0..100).map(|_| Transcript::of(&[&url])).collect();
    eventually("all are listed", async || (streams(&demo).await.len() == 100).then_some(())).await;

    demo.signal(signal).await;
    let ends = join_all(clients.into_iter().map(async |client| {
        let (text, status) = client.end().await;
        (text, status, Instant::now())
    }));
    let (ends, (status, ended)) = tokio::join!(ends, demo.exit());

    for (text, status, _) in &ends {
        let (_, last) = text.trim_end().rsplit_once("\n\n").expect("some events");
        let lines: Vec<&str> = last.lines().collect();
        let [event, retry, data, id] = lines[..] else { panic!("no close event: {text:?}") };
        assert_eq!(event, "event: close");
        assert_eq!(data, r#"data: {"reason":"shutdown"}"#);
        assert!(retry.starts_with("retry: ") && id.starts_with("id: "));
        assert!(text.ends_with("\n\n"), "{text:?}");
        // Not 18, which is curl's word for a body that was cut.
        assert_eq!(status.code(), Some(0));
    }
    let last = ends.iter().map(|(_, _, at)| *at).max().expect("some");
    assert_eq!(status.code(), Some(0));
    let late = ended.saturating_duration_since(last);
    assert!(late < Duration::from_secs(20), "{late:?} after the last");
}

#[tokio::test]
async fn ctrl_c_with_one_open_stream_ends_the_process_at_once() {
    for (name, path) in [("per_route", "/feed"), ("demo", "/events"), ("node", "/events/news")] {
        let mut example = Example::start(name, &[]).await;
        let mut client = Transcript::of(&[&example.url(path)]);
        client.until(|text| text.contains(":\n")).await;
        let signalled = Instant::now();
        example.signal("INT").await;
        let (status, ended) = example.exit().await;
        let (text, _) = client.end().await;
        let took = ended.saturating_duration_since(signalled);
        println!("{name}: ended after {took:?}");
        assert_eq!(status.code(), Some(0), "{name}");
        assert!(text.contains("data: {\"reason\":\"shutdown\"}\n"), "{name}: {text}");
        // And not at some place in a window of five seconds.
        assert!(took < Duration::from_millis(2_500), "{name}: {took:?}");
    }
}

/// The answer may finish, which takes five seconds.
#[tokio::test]
async fn a_second_ctrl_c_ends_what_the_first_one_lets_finish() {
    for second in ["INT", "TERM"] {
        let mut example = Example::start("per_route", &[]).await;
        let mut client = Transcript::of(&[&example.url("/answer")]);
        client.until(|text| text.contains("data: word 0\n")).await;
        example.signal("INT").await;
        client.until(|text| text.contains("data: word 1\n")).await;
        let signalled = Instant::now();
        example.signal(second).await;
        let (status, ended) = example.exit().await;
        let (text, client) = client.end().await;
        let took = ended.saturating_duration_since(signalled);
        println!("ended {took:?} after the second signal");
        assert_eq!((status.code(), client.code()), (Some(0), Some(0)));
        assert!(text.contains("event: close\n") && !text.contains("data: word 9\n"), "{text}");
    }
}

#[tokio::test]
async fn the_demo_lists_writes_and_closes_streams() {
    let mut demo = Example::start("demo", &[]).await;
    let mut client = Transcript::of(&[&demo.url("/events?label=me")]);
    client.until(|text| text.contains("id: 1\n")).await;

    let listed = streams(&demo).await;
    assert_eq!(listed[0]["label"], "me");
    assert_eq!(listed[0]["path"], "/events");
    assert!(listed[0]["last_event_id"].is_string());

    assert_eq!(demo.post("/broadcast").await, "200");
    let announced = |text: &str| text.contains("event: announcement\ndata: \nid: ");
    client.until(announced).await;

    assert_eq!(demo.post("/streams/0/close").await, "404");
    let id = listed[0]["id"].as_str().expect("a text");
    assert_eq!(demo.post(&format!("/streams/{id}/close")).await, "204");
    let (text, status) = client.end().await;
    assert!(text.contains("event: close\ndata: {\"reason\":\"kicked\"}\n"));
    assert_eq!(status.code(), Some(0));

    assert_eq!(demo.post("/shutdown").await, "202");
    let (status, _) = demo.exit().await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_route_says_goodbye_in_its_own_way() {
    let mut example = Example::start("per_route", &[]).await;
    let read = |path| Transcript::of(&[&example.url(path)]);
    let mut all = ["/feed", "/answer", "/raw", "/phone"].map(read);
    for client in &mut all[..3] {
        client.until(|text| text.contains("data: ")).await;
    }
    all[3].until(|text| text.contains(":\n:\n")).await;

    let signalled = Instant::now();
    example.signal("TERM").await;
    let [feed, answer, raw, phone] = all.map(async |client| {
        let (text, status) = client.end().await;
        assert_eq!(status.code(), Some(0));
        (text, signalled.elapsed())
    });
    let (feed, answer, raw, phone) = tokio::join!(feed, answer, raw, phone);

    assert!(feed.1 < answer.1, "at once: {:?}, {:?}", feed.1, answer.1);
    assert!(feed.0.contains("event: reconnect\nretry: "));
    assert!(phone.0.contains("event: reconnect\nretry: "));
    assert!(answer.0.ends_with("data: word 9\n\n"), "it may finish");
    assert!(raw.0.starts_with("data: raw 0\n\n") && raw.0.ends_with("data: raw 4\n\n"));
    assert_eq!(example.exit().await.0.code(), Some(0));
}

async fn streams(demo: &Example) -> Vec<Value> {
    let listed = serde_json::from_str(&demo.get("/streams").await);
    listed.expect("a list")
}
