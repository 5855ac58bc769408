//! The acceptance server, row by row and byte by byte.

use std::time::{Duration, Instant};

use serde_json::Value;
use tower_sse::wire::Decoder;

use crate::harness::chunked::Chunked;
use crate::harness::llm::{Answers, Question, outcomes_of};
use crate::harness::process::{Example, Transcript, curl, text};

#[tokio::test]
async fn streams_begin_with_a_comment_and_ask_proxies_not_to_wait() {
    let server = Example::start("acceptance", &[]).await;
    for path in STREAMS {
        // With the head, and the body's chunks as they are.
        let mut client = Transcript::of(&["-i", "--raw", &server.url(path)]);
        client.until(|text| text.contains("\r\n\r\n2\r\n:\n\r\n")).await;
        let head = client.text().to_lowercase();
        let (head, _) = head.split_once("\r\n\r\n").expect("a head");
        for line in [
            "content-type: text/event-stream",
            "cache-control: no-cache, no-transform",
            "x-accel-buffering: no",
        ] {
            assert!(head.lines().any(|other| other == line), "{path}: {head}");
        }
        assert!(!head.contains("content-length") && !head.contains("connection"));
    }
    assert_eq!(status(&server, "/nothing", &[]).await, "404");
    assert!(server.get("/").await.contains("Demo page"));
}

#[tokio::test]
async fn events_leave_whole_with_an_id_and_comments_in_between() {
    let server = Example::start("acceptance", &[]).await;
    #[rustfmt::skip]
    let table: &[(&str, &[&str])] = &[
        ("/quiet",          &["data: {\"n\":1}\nid: #1\n\n", "data: {\"n\":2}\nid: #2\n\n"]),
        ("/bom",            &["data: {\"n\":1}\nid: #1\n\n", "data: {\"n\":2}\nid: #2\n\n"]),
        ("/slow-mid-event", &["data: part1\ndata: part2\nid: #1\n\n", "data: whole\nid: #2\n\n"]),
        ("/crlf",           &["event: tick\r\ndata: a\r\ndata: b\r\nid: #1\r\n\r\n", "data: z\r\nid: #2\r\n\r\n"]),
        ("/ticks",          &["retry: 200\ndata: {\"n\":1}\nid: #1\n\n", "data: {\"n\":2}\nid: #2\n\n"]),
        ("/closing",        &["data: {\"n\":1}\nid: #1\n\n", "data: {\"n\":2}\nid: #2\n\n"]),
    ];

    let epoch = &stats(&server).await["epoch"].to_string();
    let rows = table.iter().map(|&(path, expected)| {
        let url = server.url(path);
        async move {
            let mut client = Transcript::of(&["--raw", &url]);
            let second = format!("id: {epoch}-2");
            client.until(|text| text.contains(&second)).await;
            client.during(Duration::from_millis(400)).await;

            let chunks = Chunked::of(&client.bytes).texts();
            let (comments, events): (Vec<_>, Vec<_>) =
                chunks.iter().partition(|chunk| chunk.starts_with(':'));
            for (at, expected) in expected.iter().enumerate() {
                assert_eq!(*events[at], expected.replace('#', &format!("{epoch}-")), "{path}");
            }
            // In the stream's own line ends, as soon as one is known.
            let own = if path == "/crlf" { ":\r\n" } else { ":\n" };
            assert!(comments.iter().all(|line| [own, ":\n"].contains(&line.as_str())));
            let later = chunks.iter().skip_while(|chunk| chunk.starts_with(':'));
            let mut later = later.filter(|chunk| chunk.starts_with(':'));
            assert!(later.all(|line| line == own), "{path}: {chunks:?}");
            assert!(path == "/ticks" || comments.len() > 2, "{path}: {chunks:?}");
            let longest = client.longest_silence;
            assert!(longest < 10 * Duration::from_millis(150), "{path}: {longest:?}");
        }
    });
    futures_util::future::join_all(rows).await;
}

#[tokio::test]
async fn streams_that_end_by_themselves_end_cleanly() {
    let server = Example::start("acceptance", &[]).await;
    let (tick, idle, closing) = tokio::join!(
        Transcript::of(&[&server.url("/tick?ms=50&n=3")]).end(),
        Transcript::of(&[&server.url("/idle?s=2")]).end(),
        Transcript::of(&[&server.url("/closing")]).end(),
    );
    for (_, status) in [&tick, &idle, &closing] {
        assert_eq!(status.code(), Some(0));
    }

    let epoch = &stats(&server).await["epoch"];
    let event = |n| format!("data: {{\"n\":{n}}}\nid: {epoch}-{n}\n\n");
    assert_eq!(tick.0, format!(":\n{}{}{}", event(1), event(2), event(3)));
    // Once a second at least, and twice at most.
    assert!((2..=5).contains(&idle.0.lines().count()), "{idle:?}");
    assert_eq!(idle.0.replace(":\n", ""), "");

    let events = Decoder::new().decode(closing.0.as_bytes());
    let (close, others) = events.split_last().expect("some");
    assert!(others.len() >= 2 && others.iter().all(|event| event.event == "message"));
    assert_eq!((&*close.event, &*close.data), ("close", r#"{"reason":"kicked"}"#));
    assert_eq!(stats(&server).await["live"], 0);
}

#[tokio::test]
async fn a_shutdown_closes_all_and_a_resume_serves_anew() {
    let server = Example::start("acceptance", &[]).await;
    let epoch = stats(&server).await["epoch"].as_u64().expect("a number");
    let mut clients = STREAMS.map(|path| Transcript::of(&[&server.url(path)]));
    for client in &mut clients {
        client.until(|text| text.starts_with(':')).await;
    }
    assert_eq!(stats(&server).await["live"], STREAMS.len());

    let asked = Instant::now();
    assert_eq!(server.post("/admin/shutdown").await, "202");
    for client in clients {
        let (text, status) = client.end().await;
        assert_eq!(status.code(), Some(0));
        let (_, close) = text.split_once("event: close").expect("it is told");
        let close = close.replace('\r', "");
        assert!(close.starts_with("\nretry: 500\ndata: {\"reason\":\"shutdown\"}\n"), "{text:?}");
        assert!(close.ends_with("\n\n"), "{text:?}");
        // The last id once more, if there was any.
        let ids = text.lines().filter(|line| line.starts_with("id: "));
        let ids: Vec<&str> = ids.collect();
        if let Some((restated, sent)) = ids.split_last() {
            assert_eq!(sent.last(), Some(restated), "{text:?}");
        }
    }
    assert!(asked.elapsed() < Duration::from_secs(20), "not by the deadline");
    let now = stats(&server).await;
    assert_eq!((&now["live"], &now["draining"]), (&Value::from(0), &Value::from(true)));

    let accept = ["-H", "Accept: text/event-stream"];
    let place = ["-H", "Last-Event-ID: my-7"];
    let url = server.url("/ticks");
    let draining = ":\nevent: draining\nretry: 500\ndata: {}\n";
    let answer = text(&curl(&[&accept[..], &[&url]].concat()).await);
    assert_eq!(answer, format!("{draining}\n"));
    let answer = text(&curl(&[&accept[..], &place, &[&url]].concat()).await);
    assert_eq!(answer, format!("{draining}id: my-7\n\n"));
    assert_eq!(status(&server, "/ticks", &accept).await, "200");
    assert_eq!(status(&server, "/ticks", &[]).await, "503");
    assert_eq!(status(&server, "/", &[]).await, "200");

    assert_eq!(server.post("/admin/resume").await, "204");
    let now = stats(&server).await;
    let anew = now["epoch"].as_u64().expect("a number");
    assert!(anew > epoch && now["draining"] == false);
    let mut client = Transcript::of(&[&url]);
    client.until(|text| text.contains(&format!("id: {anew}-1\n"))).await;
}

#[tokio::test]
async fn sigterm_closes_the_streams_of_the_moment_and_ends_the_process() {
    let mut server = Example::start("acceptance", &[]).await;
    server.post("/admin/shutdown").await;
    server.post("/admin/resume").await;
    let mut client = Transcript::of(&[&server.url("/quiet")]);
    client.until(|text| text.contains("id: ")).await;
    server.signal("TERM").await;
    let ((text, status), (exit, _)) = tokio::join!(client.end(), server.exit());
    assert!(text.contains("event: close\nretry: 500\ndata: {\"reason\":\"shutdown\"}\nid: "));
    assert_eq!((status.code(), exit.code()), (Some(0), Some(0)));
}

#[tokio::test]
async fn completions_have_ids_and_end_with_the_error_of_their_api_in_a_drain() {
    let mut server = Example::start("acceptance", &[]).await;
    let epoch = stats(&server).await["epoch"].clone();
    let post = ["-X", "POST", "--raw"];
    let (finite, endless) = (server.url("/v1/chat/completions"), server.url("/endless"));
    let finite = Transcript::of(&[&post[..], &[&finite]].concat()).end().await.0;
    let chunks = Chunked::of(finite.as_bytes()).texts();
    let (comments, events): (Vec<_>, Vec<_>) =
        chunks.iter().partition(|chunk| chunk.starts_with(':'));
    // One at the beginning, and in the silence at least one, however late a busy machine wakes up.
    assert!(comments.len() > 1 && comments.iter().all(|comment| *comment == ":\n"), "{finite}");
    assert_eq!(events.len(), 3, "{finite}");
    assert!(events[0].contains("\"A\"") && events[1].contains("\"B\""), "{finite}");
    assert_eq!(*events[2], format!("data: [DONE]\nid: {epoch}-3\n\n"));

    let endless_url = format!("{endless}/v1/chat/completions");
    let mut client = Transcript::of(&["-X", "POST", &endless_url]);
    client.until(|text| text.matches("\"x\"").count() > 2).await;
    for (sdk, outcomes) in outcomes_of(&[Question::new("chat", &server.url(""), "")]).await {
        assert_eq!((&outcomes[0].error, &*outcomes[0].text), (&None, "AB"), "{sdk}");
    }
    let [mut javascript, mut python] = Answers::ask(&[Question::new("chat", &endless, "")]).await;
    tokio::join!(javascript.have_begun(), python.have_begun());
    server.signal("TERM").await;

    let (text, _) = client.end().await;
    let (sent, error) = text.split_once("event: error\nretry: 500\n").expect("an error");
    let last = sent.lines().rfind(|line| line.starts_with("id: ")).expect("some ids");
    let expected = "data: {\"error\":{\"message\":\"the server shuts down\"}}";
    assert_eq!(error, format!("{expected}\n{last}\n\n"));
    for answers in [&mut javascript, &mut python] {
        let outcomes = answers.outcomes().await;
        let error = (outcomes[0].error.as_deref(), &*outcomes[0].message);
        assert_eq!(error, (Some("APIError"), "the server shuts down"), "{}", answers.sdk);
        assert!(outcomes[0].text.starts_with("AB"), "{}", answers.sdk);
    }
    assert_eq!(server.exit().await.0.code(), Some(0));
}

#[tokio::test]
async fn signals_of_datastar_come_one_by_one_and_then_the_close_event() {
    let server = Example::start("acceptance", &[]).await;
    let (text, _) = Transcript::of(&[&server.url("/datastar")]).end().await;
    let events = Decoder::new().decode(text.as_bytes());
    let (close, signals) = events.split_last().expect("some");
    let signals: Vec<_> = signals.iter().map(|event| (&*event.event, &*event.data)).collect();
    let signal = |n| ("datastar-merge-signals", n);
    let expected = ["signals {\"n\":1}", "signals {\"n\":2}", "signals {\"n\":3}"].map(signal);
    assert_eq!(signals, expected);
    assert_eq!((&*close.event, &*close.data), ("close", r#"{"reason":"finished"}"#));
}

async fn stats(server: &Example) -> Value {
    let stats = serde_json::from_str(&server.get("/stats").await);
    stats.expect("JSON")
}

async fn status(server: &Example, path: &str, args: &[&str]) -> String {
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    text(&curl(&[&status[..], args, &[&server.url(path)]].concat()).await)
}

const STREAMS: [&str; 8] = [
    "/ticks",
    "/quiet",
    "/slow-mid-event",
    "/crlf",
    "/bom",
    "/tick?ms=100&n=100",
    "/idle",
    "/closing",
];
