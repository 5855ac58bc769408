//! What the example `observe` shows of its streams is what their clients got.

use futures_util::future::join_all;
use serde_json::Value;

use crate::harness::process::{Example, Transcript, eventually};

#[tokio::test]
async fn a_scrape_under_load_adds_up_with_what_clients_counted() {
    let mut observe = Example::start("observe", &[]).await;
    let idle = observe.url("/feed?ms=3600000&user=idle");
    let mut idle = Transcript::of(&[&idle]);
    idle.until(|text| text.contains("id: 1\n\n")).await;
    let mut clients: Vec<Transcript> = (0..50)
        .map(|n| Transcript::of(&[&observe.url(&format!("/feed?ms=5&n={}", 200 + n))]))
        .collect();

    // Under load the recorder is never behind the clients.
    join_all(clients.iter_mut().map(|it| it.until(|text| text.contains("id: 50\n\n")))).await;
    let got: usize = clients.iter().map(|client| events(&client.text())).sum();
    let bytes: usize = clients.iter().map(|client| client.bytes.len()).sum();
    let scrape = Scrape::of(&observe).await;
    assert!(scrape.get("events_total") >= got && scrape.get("bytes_total") >= bytes, "{scrape:?}");
    assert_eq!(scrape.get("opened_total"), 51, "{scrape:?}");
    assert_eq!(scrape.get("open_streams") + scrape.sum("ended_total"), 51, "{scrape:?}");

    let ends = join_all(clients.into_iter().map(Transcript::end)).await;
    let texts = || ends.iter().map(|(text, _)| text.as_str());
    let all_events: usize = texts().map(events).sum();
    assert_eq!(all_events, (200..250).sum::<usize>(), "the clients got all");
    let bytes = texts().map(str::len).sum::<usize>() + idle.bytes.len();
    let scrape = eventually("all have ended", async || {
        let scrape = Scrape::of(&observe).await;
        (scrape.get("open_streams") == 1).then_some(scrape)
    })
    .await;
    assert_eq!(scrape.get("events_total"), all_events + 1, "{scrape:?}");
    assert_eq!(scrape.get("bytes_total"), bytes, "{scrape:?}");
    assert_eq!(scrape.get(r#"ended_total{reason="finished"}"#), 50, "{scrape:?}");
    assert_eq!(scrape.sum("ended_total"), 50, "{scrape:?}");
    assert_eq!(scrape.get("duration_seconds_count"), 50, "{scrape:?}");
    assert_eq!(scrape.get("first_event_seconds_count"), 51, "{scrape:?}");

    let listed: Value = serde_json::from_str(&observe.get("/streams").await).unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["label"], "idle");
    assert_eq!(listed[0]["bytes"], idle.bytes.len());

    observe.signal("TERM").await;
    let (text, status) = idle.end().await;
    assert!(text.contains("event: close\n") && status.success(), "{text}");
    assert_eq!(observe.exit().await.0.code(), Some(0));
}

/// The events in what a client got.
fn events(text: &str) -> usize {
    text.matches("data: tick ").count()
}

/// What Prometheus is given.
#[derive(Debug)]
struct Scrape(String);

impl Scrape {
    async fn of(example: &Example) -> Self {
        Self(example.get("/metrics").await)
    }

    /// A number of the crate's, by its name and labels; zero if it is not there.
    fn get(&self, name: &str) -> usize {
        let line = |line: &'_ str| {
            line.strip_prefix("tower_sse_")?.strip_prefix(name)?.trim().parse().ok()
        };
        self.0.lines().find_map(line).unwrap_or_default()
    }

    /// The sum over all labels.
    fn sum(&self, name: &str) -> usize {
        let name = format!("tower_sse_{name}{{");
        let lines = self.0.lines().filter(|line| line.starts_with(&name));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()).sum()
    }
}
