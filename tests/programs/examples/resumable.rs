//! Streams of the examples that a client can come back to.

use std::time::{Duration, Instant};

use tower_sse::wire::{Decoder, MessageEvent};

use crate::harness::process::{Example, Transcript, curl, text};

#[tokio::test]
async fn finite_streams_close_and_the_close_events_id_gets_204() {
    let server = Example::start("acceptance", &[]).await;
    for (method, path) in [("GET", "/finite?n=3"), ("POST", "/post-stream?n=3"), ("GET", "/finite")]
    {
        let ask = async |id: &str| {
            let id = format!("Last-Event-ID: {id}");
            let args = ["-X", method, "-H", &id, &server.url(path)];
            text(&curl(&args).await)
        };
        let all = ask("").await;
        let events = decode(&all);
        let data: Vec<&str> = events.iter().map(|event| &*event.data).collect();
        let close = "{\"reason\":\"finished\"}";
        assert_eq!(data, ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}", close], "{path}");
        assert!(all.starts_with(":\nretry: 200\ndata: {\"n\":1}\nid: "), "{all}");
        assert!(all.contains("event: close\nretry: 20000\n"), "{all}");
        rises(&events);

        for at in 0..3 {
            let rest = decode(&ask(&events[at].last_event_id).await);
            assert_eq!(rest, events[at + 1..], "{path} behind {at}");
        }
        assert_eq!(status(&server, method, path, &events[3].last_event_id).await, "204");
        for unknown in
            ["", "1", "7-1", "earliest", "\u{e9}", &format!("{}0", events[1].last_event_id)]
        {
            assert_eq!(decode(&ask(unknown).await).len(), 4, "{path} {unknown:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_one_event_ends_without_a_close_event_and_is_over() {
    let server = Example::start("acceptance", &[]).await;
    let once = server.get("/once").await;
    let events = decode(&once);
    assert_eq!(
        once,
        format!(":\nretry: 200\ndata: {{\"n\":1}}\nid: {}\n\n", events[0].last_event_id)
    );
    assert_eq!(status(&server, "GET", "/once", &events[0].last_event_id).await, "204");
}

#[tokio::test]
async fn a_log_is_gone_on_with_wherever_it_was_cut() {
    let server = Example::start("acceptance", &[]).await;
    let url = server.url("/log?n=12");
    let mut first = Transcript::of(&["--raw", &url]);
    first.until(|text| text.contains("{\"n\":12,")).await;
    // It stays open, and alive.
    first.until(|text| text.ends_with(":\n\r\n")).await;

    let mut whole = Transcript::of(&[&url]);
    whole.until(|text| text.contains("{\"n\":12,") && decode(text).len() == 12).await;
    let events = decode(&whole.text());
    assert!(whole.text().starts_with(":\nretry: 200\ndata: {\"n\":1,\ndata: \"pad\":\"\u{e9}"));
    rises(&events);
    drop(whole);
    for at in [0, 5, 10] {
        let id = format!("Last-Event-ID: {}", events[at].last_event_id);
        let mut again = Transcript::of(&["-H", &id, &url]);
        again.until(|text| decode(text).len() == 11 - at).await;
        assert_eq!(decode(&again.text()), events[at + 1..]);
    }
}

#[tokio::test]
async fn after_a_resume_old_ids_count_as_none() {
    let server = Example::start("acceptance", &[]).await;
    let events = decode(&server.get("/finite").await);
    let mut log = Transcript::of(&[&server.url("/log")]);
    log.until(|text| text.contains("{\"n\":12,")).await;
    server.post("/admin/shutdown").await;
    let (log, _) = log.end().await;
    let log = decode(&log);
    let (close, last) = (&log[12], &log[11]);
    assert_eq!((&*close.event, &*close.data), ("close", "{\"reason\":\"shutdown\"}"));
    assert_eq!(close.last_event_id, last.last_event_id);
    server.post("/admin/resume").await;
    for old in [&events[0], &events[3]] {
        let id = format!("Last-Event-ID: {}", old.last_event_id);
        let anew = decode(&text(&curl(&["-H", &id, &server.url("/finite")]).await));
        assert_eq!(anew.len(), 4);
        assert_ne!(anew[0].last_event_id, events[0].last_event_id);
    }
}

#[tokio::test]
async fn an_answer_goes_on_without_its_reader() {
    let mut server = Example::start("llm_resume", &[]).await;
    let url = server.url("/answers/1");
    let mut first = Transcript::of(&["-X", "POST", "-b", "session=me", &url]);
    first.until(|text| decode(text).len() >= 3).await;
    let seen = decode(&first.text());
    drop(first);
    tokio::time::sleep(Duration::from_secs(3)).await;

    let id = format!("Last-Event-ID: {}", seen.last().expect("some").last_event_id);
    let mut again = Transcript::of(&["-X", "POST", "-b", "session=me", "-H", &id, &url]);
    // What was said meanwhile is there at once, and not at the pace of the words: four in a second.
    let asked = Instant::now();
    again.until(|text| decode(text).len() >= 10).await;
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    let missed = decode(&again.text());
    let (begin, words) = seen.split_first().expect("some");
    assert_eq!(begin.event, "begin");
    let words: Vec<&str> = words.iter().chain(&missed).map(|event| &*event.data).collect();
    assert!(words.concat().starts_with("An answer is a stream of words, and a"), "{words:?}");

    let other = ["-X", "POST", "-b", "session=you", "-H", &id, &url];
    let mut other = Transcript::of(&other);
    other.until(|text| text.contains("data: An\n")).await;
    drop(other);

    server.signal("TERM").await;
    let ((text, _), (status, _)) = tokio::join!(again.end(), server.exit());
    assert!(text.contains("{\"reason\":\"shutdown\"}"));
    assert_eq!(status.code(), Some(0));
}

fn decode(text: &str) -> Vec<MessageEvent> {
    Decoder::new().decode(text.as_bytes())
}

/// Of the form `<epoch>-<sequence>`, short enough, and rising.
fn rises(events: &[MessageEvent]) {
    let parts = |event: &MessageEvent| {
        assert!(event.last_event_id.len() <= 64);
        let (epoch, sequence) = event.last_event_id.split_once('-').expect("two parts");
        (epoch.to_owned(), sequence.parse::<u64>().expect("a number"))
    };
    for pair in events.windows(2) {
        let ((epoch, before), (same, after)) = (parts(&pair[0]), parts(&pair[1]));
        assert!(epoch == same && before < after, "{pair:?}");
    }
}

async fn status(server: &Example, method: &str, path: &str, id: &str) -> String {
    let id = format!("Last-Event-ID: {id}");
    let status = ["-o", "/dev/null", "-w", "%{http_code}", "-X", method, "-H", &id];
    text(&curl(&[&status[..], &[&server.url(path)]].concat()).await)
}
