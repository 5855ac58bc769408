//! The proxy, in front of upstreams that are silent, die or echo.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::harness::process::{Example, Transcript, curl, text};

#[tokio::test]
async fn a_silent_upstream_is_kept_alive() {
    let (_upstream, proxy) = in_front_of(STREAM, Then::Silence, &[("KEEP_ALIVE_MS", "200")]).await;
    let mut client = Transcript::of(&[&proxy.url("/")]);
    client.until(|text| text.len() >= 6 * ":\n".len()).await;
    let text = client.text();
    assert_eq!(text, ":\n".repeat(text.len() / 2));
    let longest = client.longest_silence;
    assert!(longest < 10 * Duration::from_millis(200), "{longest:?}");
}

#[tokio::test]
async fn an_upstream_that_dies_in_the_middle_of_an_event_is_told_of() {
    let stream = &format!("{STREAM}{}{}", chunk("data: a\n\n"), chunk("data: hal"));
    let (_upstream, proxy) = in_front_of(stream, Then::Cut, &[]).await;
    let (text, status) = Transcript::of(&[&proxy.url("/")]).end().await;
    let told = text.strip_prefix(":\ndata: a\n\nevent: reconnect\nretry: ").expect("it is told");
    assert!(told.ends_with("\ndata: {\"reason\":\"error\"}\n\n"), "{text:?}");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn an_upstream_that_is_killed_is_told_of_and_then_there_is_502() {
    let mut demo = Example::start("demo", &[]).await;
    let proxy = Example::start("proxy", &[("UPSTREAM", &demo.url(""))]).await;
    let mut client = Transcript::of(&[&proxy.url("/events")]);
    client.until(|text| text.contains("id: 1\n")).await;

    demo.signal("KILL").await;
    demo.exit().await;
    let (text, status) = client.end().await;
    // The upstream's own ids are read, so the client's place is told once more.
    let (_, told) = text.split_once("event: reconnect\n").expect("it is told");
    assert!(told.starts_with("retry: "), "{told:?}");
    assert!(told.contains("\ndata: {\"reason\":\"error\"}\nid: "), "{told:?}");
    assert_eq!(status.code(), Some(0));

    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    let answer = curl(&[&status[..], &[&proxy.url("/events")]].concat()).await;
    assert_eq!(crate::harness::process::text(&answer), "502");
}

#[tokio::test]
async fn events_without_an_id_get_one_if_asked_for() {
    let events = "data: a\n\n: b\n\nevent: c\ndata: c\n\nid: own\ndata: d\n\ndata: e\n\n";
    let stream = &format!("{STREAM}{}0\r\n\r\n", chunk(events));
    for (env, expected) in [
        (
            &[("EVENT_IDS", "1")][..],
            "data: a\nid: 1\n\n: b\n\nevent: c\ndata: c\nid: 2\n\nid: own\ndata: d\n\n\
             data: e\nid: 3\n\n",
        ),
        (&[], events),
    ] {
        let (_upstream, proxy) = in_front_of(stream, Then::Cut, env).await;
        let (text, status) = Transcript::of(&[&proxy.url("/")]).end().await;
        assert_eq!(text, format!(":\n{expected}"));
        assert_eq!(status.code(), Some(0));
    }
}

#[tokio::test]
async fn requests_are_passed_on_but_for_what_is_said_to_the_next_hop() {
    let (upstream, proxy) = in_front_of(ECHO, Then::Cut, &[]).await;
    let url = proxy.url("/a%20b/c?d=e&f");
    let mut args = vec!["-d", "some text", "-X", "PUT"];
    for header in ["X-Own: 1", "Connection: x-hop, close", "X-Hop: 2"] {
        args.extend(["-H", header]);
    }
    args.push(&url);
    let echo = text(&curl(&args).await).to_lowercase();

    assert!(echo.starts_with("put /a%20b/c?d=e&f http/1.1\r\n"), "{echo}");
    let host = format!("host: {upstream}");
    assert!(echo.contains(&host) && echo.matches("host:").count() == 1, "{echo}");
    assert!(echo.contains("x-own: 1\r\n") && echo.ends_with("some text"), "{echo}");
    assert!(!echo.contains("hop") && !echo.contains("connection"), "{echo}");
}

/// What an upstream does when it has said all.
#[derive(Clone, Copy)]
enum Then {
    Silence,
    /// Closes the connection, whatever state the answer is in.
    Cut,
}

/// An upstream that answers everything alike, and a proxy in front of it.
async fn in_front_of(answer: &str, then: Then, env: &[(&str, &str)]) -> (String, Example) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one").to_string();
    let answer = answer.to_owned();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, answer.clone(), then));
        }
    });
    let upstream = format!("http://{address}");
    let env = [&[("UPSTREAM", &*upstream)], env].concat();
    let proxy = Example::start("proxy", &env).await;
    (address, proxy)
}

async fn serve(mut socket: TcpStream, answer: String, then: Then) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let mut len = socket.read(&mut request).await?;
    if answer == ECHO {
        // The body may come after the head.
        while request.starts_with(b"PUT") && !request[..len].ends_with(b"some text") {
            len += socket.read(&mut request[len..]).await?;
        }
    }
    socket.write_all(answer.as_bytes()).await?;
    if answer == ECHO {
        socket.write_all(&request[..len]).await?;
    }
    match then {
        Then::Silence => sleep(Duration::from_secs(60)).await,
        // Let what was said arrive first: a cut connection may lose it.
        Then::Cut => {
            socket.shutdown().await?;
            while socket.read(&mut request).await? > 0 {}
        }
    }
    Ok(())
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Its connections serve one request each, so that none is kept for the next.
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    connection: close\r\ntransfer-encoding: chunked\r\n\r\n";

/// The head of an answer that repeats the request, up to the connection's end.
const ECHO: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n";
