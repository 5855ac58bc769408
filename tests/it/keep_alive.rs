//! A stream is never silent for longer than its interval, and never broken by what fills it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, advance, sleep};
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{Comment, EventIdLayer, EventName, KeepAliveLayer, Registry, SseLayer};

use crate::harness::LONG;
use crate::harness::SECOND;
use crate::harness::rig::{Client, Fate, Handler, LIKELY, open, unevenness};
use crate::harness::support::interpret;

const ALIVE: EventName = EventName::from_static("alive");

fn every(interval: Duration) -> KeepAliveLayer {
    KeepAliveLayer::every(interval).jitter(0.0)
}

#[tokio::test(start_paused = true)]
async fn off_and_zero_send_nothing_in_an_hour() {
    for layer in [KeepAliveLayer::off(), KeepAliveLayer::every(Duration::ZERO)] {
        let (_feed, mut client) = open(&mut SseLayer::new().keep_alive(layer).layer(Handler));
        assert_eq!(client.during(3600 * SECOND).await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn three_idle_intervals_are_three_comments() {
    let (_feed, mut client) = open(&mut every(10 * SECOND).layer(Handler));
    let comment = |secs: u32| (secs * SECOND, ":\n".to_owned());
    // The first opens the stream, for proxies that wait for it.
    let expected = [0, 10, 20, 30].map(comment);
    assert_eq!(client.during(35 * SECOND).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_comment_says_what_it_is_told_to() {
    let layer = every(SECOND).comment(Comment::from_static("still here"));
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: a\r\n\r\n");
    assert_eq!(client.now().await.0, ": still here\ndata: a\r\n\r\n");
    let frames = client.during(2 * SECOND).await;
    assert_eq!(frames.last().unwrap().1, ": still here\r\n");
}

#[test]
fn a_comment_of_more_than_a_line_is_refused() {
    for comment in ["a\nb", "a\r", "\0", "\n\n"] {
        let error = Comment::new(comment).unwrap_err();
        assert!(error.to_string().contains("at byte"), "{error}");
    }
    assert!(Comment::new("").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_an_event_that_moves_nobody() {
    let heartbeat = every(60 * SECOND).heartbeat(ALIVE, 10 * SECOND);
    let layer = SseLayer::new().keep_alive(heartbeat).event_ids(EventIdLayer::sequential());
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: a\n\n");
    client.now().await;
    for n in 2..5 {
        let frames = client.during(10 * SECOND).await;
        assert_eq!(frames, [(10 * SECOND, "event: alive\ndata: {}\n\n".to_owned())]);
        feed.data("data: b\n\n");
        assert_eq!(client.now().await.0, format!("data: b\nid: {n}\n\n"));
    }
}

/// A replay to a slow client is never pending, so no timer wakes its task.
#[tokio::test(start_paused = true)]
async fn heartbeats_come_however_busy_the_body_is() {
    for chunk in ["data: a\n\n", ": comment\n", "id: 1\ndata: a\n\n"] {
        let heartbeat = every(60 * SECOND).heartbeat(ALIVE, 10 * SECOND);
        let (feed, mut client) = open(&mut heartbeat.layer(Handler));
        (0..200).for_each(|_| feed.data(chunk));
        let mut beats = 0;
        for _ in 0..100 {
            let frame = client.next().await.unwrap().unwrap();
            beats += usize::from(frame.starts_with(b"event: alive\n"));
            advance(SECOND).await;
        }
        assert!((9..=10).contains(&beats), "{beats} heartbeats in 100 seconds beside {chunk:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_the_end() {
    let (feed, mut client) = open(&mut every(SECOND).layer(Handler));
    feed.data("data: a\n\n");
    drop(feed);
    assert_eq!(client.now().await, (":\ndata: a\n\n".into(), Fate::Ended));
    assert_eq!(client.during(60 * SECOND).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_comment_goes_between_events_wherever_a_chunk_ends() {
    #[rustfmt::skip]
    let table: &[(&[&str], &str)] = &[
        // chunks                                        line end
        (&["data: a\n", "data: b\n\n"],                  "\n"),
        (&["data: a\n\n", "data: b\n\n"],                "\n"),
        (&["data: a\r\n\r", "\ndata: b\r\n\r\n"],        "\r\n"),
        (&["data: a\r\n\r", "\n", "data: b\r\n\r\n"],    "\r\n"),
        (&["data: a\r\r", "data: b\r\r"],                "\r"),
        (&["data: a\r\r", "\n", "data: b\r\r"],          "\r"),
        (&["data: a\r", "\ndata: b\r\n\r\n"],            "\r\n"),
        (&["data: a\r\n\r\n", "data: b\r\n\r\n"],        "\r\n"),
        (&["data: \u{20ac}\n\nda", "ta: b\n\n"],         "\n"),
        (&["id: 7\nda", "ta: a", "\n", "\n"],            "\n"),
        (&["\u{feff}data: a\n", "\n"],                   "\n"),
        (&[": note\n", "\ndata: a\n\n"],                 "\n"),
    ];
    for (chunks, line_end) in table {
        let (feed, mut client) = open(&mut every(SECOND).layer(Handler));
        let mut seen = client.now().await.0;
        for chunk in *chunks {
            feed.data(*chunk);
            let frames = client.during(3 * SECOND).await;
            let (comments, own): (Vec<_>, Vec<_>) = frames
                .iter()
                .map(|(_, frame)| frame.as_str())
                .partition(|it| it.starts_with(":\n") || it.starts_with(":\r"));
            assert!(comments.len() >= 2, "{chunks:?}: {frames:?}");
            assert!(own.len() <= 1, "{chunks:?}: {frames:?}");
            if !own.is_empty() {
                assert_eq!(*comments.last().unwrap(), format!(":{line_end}"), "{chunks:?}");
            }
            seen.extend(frames.into_iter().map(|(_, frame)| frame));
            // Clients see whole events at any moment.
            assert!(seen.ends_with(['\n', '\r']), "{seen:?}");
        }
        assert_eq!(interpret(seen.as_bytes()), interpret(chunks.concat().as_bytes()), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_comment_never_cuts_a_character() {
    let bytes = "data: \u{20ac}\u{1f600}\n\n".as_bytes();
    for at in 1..bytes.len() {
        let (feed, mut client) = open(&mut every(SECOND).layer(Handler));
        let mut seen = client.now().await.0;
        for part in [&bytes[..at], &bytes[at..]] {
            feed.data(part.to_vec());
            let frames = client.during(3 * SECOND).await;
            seen.extend(frames.into_iter().map(|(_, frame)| frame));
        }
        let events = Decoder::new().decode(seen.as_bytes());
        assert_eq!(events.len(), 1, "{seen:?}");
        assert_eq!(events[0].data, "\u{20ac}\u{1f600}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_comment_after_an_id_is_no_event() {
    let (feed, mut client) = open(&mut every(SECOND).layer(Handler));
    feed.data("id: 7\ndata: a\n\n");
    let mut frames = client.during(5 * SECOND).await;
    feed.data("data: b\n\n");
    frames.extend(client.during(5 * SECOND).await);
    let seen: String = frames.into_iter().map(|(_, frame)| frame).collect();
    assert!(!seen.contains(":\n\n"), "{seen:?}");
    let events = Decoder::new().decode(seen.as_bytes());
    let ids: Vec<_> = events.iter().map(|event| (&*event.data, &*event.last_event_id)).collect();
    assert_eq!(ids, [("a", "7"), ("b", "7")]);
}

#[tokio::test(start_paused = true)]
async fn streams_that_opened_together_are_not_written_to_together() {
    let mut service = KeepAliveLayer::every(10 * SECOND).jitter(0.2).layer(Handler);
    let began = Instant::now();
    let (_feeds, clients): (Vec<_>, Vec<_>) = (0..1_000).map(|_| open(&mut service)).unzip();
    let reads: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.during(11 * SECOND).await }))
        .collect();
    let mut firsts = Vec::new();
    for read in reads {
        let frames = read.await.unwrap();
        firsts.push((frames[1].0.as_secs_f64() - 8.0) / 2.0);
    }
    assert!(firsts.iter().all(|first| (0.0..=1.001).contains(first)), "{firsts:?}");
    assert!(unevenness(&mut firsts) < LIKELY);
    assert_eq!(began.elapsed(), 11 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_delays_nobody() {
    let registry = Registry::new();
    let layer = SseLayer::new().keep_alive(every(SECOND)).registry(registry.clone());
    let mut service = layer.layer(Handler);
    let (stalled_feed, mut stalled) = open(&mut service);
    stalled.now().await;
    let (_feeds, clients): (Vec<_>, Vec<Client>) = (0..999).map(|_| open(&mut service)).unzip();
    let reads: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.during(10 * SECOND).await }))
        .collect();
    stalled_feed.data("data: a\n\n");
    for read in reads {
        let frames = read.await.unwrap();
        assert!(frames.len() >= 10);
        for pair in frames.windows(2) {
            let gap = pair[1].0.abs_diff(pair[0].0).as_secs_f64();
            assert!((0.9..=1.1).contains(&gap), "{gap}");
        }
    }
    // It gets one comment for all that it missed, not ten.
    let (seen, _) = stalled.now().await;
    assert!(seen.matches(":\n").count() <= 1, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_began_with_a_burst_is_kept_alive() {
    // As many events as a task may take at once, and more: then tokio makes it wait, and its
    // timers with it.
    for burst in [1, 100, 126, 127, 128, 129, 1_000] {
        let (feed, mut client) = open(&mut every(SECOND).layer(Handler));
        (0..burst).for_each(|_| feed.data("data: a\n\n"));
        // Without a timer of its own, which would wake the task too.
        let read = tokio::spawn(async move {
            let (mut comments, began) = (0, Instant::now());
            while comments <= 10 {
                comments += usize::from(client.next().await.unwrap().unwrap() == ":\n");
            }
            began.elapsed()
        });
        let took = tokio::time::timeout(60 * SECOND, read).await;
        let took = took.unwrap_or_else(|_| panic!("no comment behind {burst} events"));
        assert_eq!(took.unwrap().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_at_a_comments_time_stops_no_comment() {
    let (feed, mut client) = open(&mut every(SECOND).layer(Handler));
    let read = tokio::spawn(async move { client.during(20 * SECOND).await });
    for _ in 0..20 {
        sleep(SECOND / 2).await;
        (0..300).for_each(|_| feed.data("data: a\n\n"));
    }
    let frames = read.await.unwrap();
    for pair in frames.windows(2) {
        let gap = pair[1].0.abs_diff(pair[0].0);
        assert!(gap <= SECOND + Duration::from_millis(1), "{gap:?} at {:?}", pair[0].0);
    }
    assert!(frames.last().unwrap().0 >= 19 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn intervals_as_long_as_can_be_are_never() {
    for jitter in [0.0, 0.1, 1.0, f32::NAN, f32::INFINITY, -1.0] {
        let layer = KeepAliveLayer::every(Duration::MAX).jitter(jitter);
        let layer = layer.heartbeat(ALIVE, Duration::MAX);
        let (_feed, mut client) = open(&mut layer.layer(Handler));
        assert_eq!(client.during(3600 * SECOND).await.len(), 1, "{jitter}");
    }
}

#[test]
fn intervals_as_short_as_can_be_let_the_clock_go_on() {
    let shortest = Duration::from_nanos(1);
    let table = [
        ("interval", KeepAliveLayer::every(shortest)),
        ("jitter", KeepAliveLayer::every(SECOND).jitter(1.0)),
        ("heartbeat", KeepAliveLayer::every(SECOND).heartbeat(ALIVE, shortest)),
    ];
    for (name, layer) in table {
        let (done, is_done) = mpsc::channel();
        // On a thread of its own: if a stream is all comments, the clock does not go on.
        thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().unwrap();
            let mut service = layer.layer(Handler);
            for _ in 0..100 {
                let (_feed, mut client) = open(&mut service);
                let frames = runtime.block_on(client.during(SECOND));
                done.send(frames.len()).unwrap();
            }
        });
        for _ in 0..100 {
            let count = is_done.recv_timeout(LONG);
            let count = count.unwrap_or_else(|_| panic!("{name}: time stands still"));
            assert!(count <= 1_010, "{name}: {count} frames in a second");
        }
    }
}

proptest! {
    #[test]
    fn no_silence_is_longer_than_the_interval(
        waits in prop::collection::vec((0_u64..2_500, any::<bool>()), 0..20),
        jitter in 0.0_f32..0.9,
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let frames = runtime.block_on(async {
            let layer = KeepAliveLayer::every(SECOND).jitter(jitter);
            let (feed, mut client) = open(&mut layer.layer(Handler));
            let span = waits.iter().map(|wait| Duration::from_millis(wait.0)).sum::<Duration>();
            let read = tokio::spawn(async move { client.during(span + 3 * SECOND).await });
            for (wait, whole) in waits {
                sleep(Duration::from_millis(wait)).await;
                feed.data(if whole { "data: a\n\n" } else { "data: a\n" });
            }
            let frames = read.await.unwrap();
            (frames, span + 3 * SECOND)
        });
        let (frames, span) = frames;
        let mut last = Duration::ZERO;
        for at in frames.into_iter().map(|frame| frame.0).chain([span]) {
            prop_assert!(at.abs_diff(last) <= SECOND + Duration::from_millis(1), "{:?} to {:?}", last, at);
            last = at;
        }
    }
}
