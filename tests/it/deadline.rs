//! A server with guarded connections is over by the deadline, whatever its clients do.
//!
//! On real sockets: axum with `with_graceful_shutdown`, and hyper alone.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower_sse::{DrainReport, Shutdown};

use crate::harness::net::Client;
use crate::harness::net::Version::{self, H1, H2};
use crate::harness::net::read_until;
use crate::harness::server::{App, GUARDED, Kind, assert_is_told};
use crate::harness::slow::Pace;

const DEADLINE: Duration = Duration::from_secs(1);

/// What the server may be late, on a machine that has much else to do. One that waits for a client
/// waits for ever.
const SLACK: Duration = Duration::from_secs(10);

fn shutdown() -> Shutdown {
    let shutdown = Shutdown::builder().rate(1).window(Duration::from_millis(200));
    shutdown.deadline(DEADLINE).build().unwrap()
}

const A_BYTE_A_SECOND: Pace = Pace::Slow(1, Duration::from_secs(1));

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_over_by_the_deadline_whatever_clients_do() {
    let all = [H1, H2].map(|version| GUARDED.map(|kind| tokio::spawn(with_all(kind, version))));
    for one in join_all(all.into_iter().flatten()).await {
        one.unwrap();
    }
}

/// Drains, and asserts that the server is over by the deadline.
async fn drain_in_time(app: &mut App, what: &str) -> (DrainReport, Duration) {
    let (report, took) = app.drain().await;
    assert!(took < DEADLINE + SLACK, "{what}: {took:?}");
    (report, took)
}

async fn with_all(kind: Kind, version: Version) {
    let what = format!("{kind:?} {version:?}");
    let mut app = App::start(kind, shutdown()).await;
    let mut readers = Vec::new();
    for _ in 0..6 {
        readers.push(app.reader(version, "/ticks", Pace::Full).await);
    }
    // They read all the time, as clients do.
    let readers = join_all(readers.into_iter().map(|it| tokio::spawn(it.rest())));
    let _stopped = [
        app.reader(version, "/firehose", Pace::Stop).await,
        app.reader(version, "/firehose", Pace::Stop).await,
        app.reader(version, "/firehose", A_BYTE_A_SECOND).await,
    ];
    let _quiet = (say(&app, b"").await, say(&app, b"GET /ticks HT").await);
    let _half = (say(&app, b"PRI * HTTP/2.0\r\n\r\nS").await, say(&app, b"\x16\x03\x01").await);
    app.stuck(3).await;
    let ((report, took), told) = tokio::join!(drain_in_time(&mut app, &what), readers);
    for text in told {
        assert_is_told(&text.unwrap());
    }
    println!("{what}: the server took {took:?}, {report:?}");
    assert!(took >= DEADLINE, "{what}: {took:?}");
    // A connection that is woken may find room for one frame more, and that is the farewell then.
    let stuck = report.forced;
    assert!((1..=3).contains(&stuck), "{what}: {report:?}");
    assert_eq!((report.closed, report.streams()), (9 - stuck, 9), "{what}: {report:?}");
    let mut ended = app.ends(9).await;
    ended.sort_unstable();
    assert_eq!(ended, [vec!["closed"; 9 - stuck], vec!["stalled"; stuck]].concat(), "{what}");
}

/// A client that says this, and then nothing.
async fn say(app: &App, words: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(words).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_hangs_does_not_hold_up_the_server() {
    for kind in GUARDED {
        let mut app = App::start(kind, shutdown()).await;
        let head = "GET /hangs HTTP/1.1\r\nhost: localhost\r\n\r\n";
        // With another request behind it the server does not look at the connection any more.
        let _clients = (
            say(&app, head.as_bytes()).await,
            say(&app, head.repeat(2).as_bytes()).await,
            tokio::spawn({
                let mut client = Client::connect(app.address, H2).await;
                async move { client.try_get("/hangs").await.is_err() }
            }),
        );
        sleep(Duration::from_millis(100)).await;
        let (report, _) = drain_in_time(&mut app, &format!("{kind:?}")).await;
        assert_eq!(report.streams(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stalled_stream_does_not_hold_up_others_of_its_connection() {
    for kind in GUARDED {
        let mut app = App::start(kind, shutdown()).await;
        let mut client = Client::connect(app.address, H2).await;
        let stalled = client.get("/firehose").await.into_body();
        let mut others = Vec::new();
        for _ in 0..10 {
            let (mut body, mut text) = (client.get("/ticks").await.into_body(), String::new());
            read_until(&mut body, &mut text, |text| text.contains("data: ")).await.unwrap();
            others.push((body, text));
        }
        app.stuck(1).await;
        let began = Instant::now();
        let told = join_all(others.into_iter().map(async |(mut body, mut text)| {
            read_until(&mut body, &mut text, |_| false).await.expect("a clean end");
            (text, began.elapsed())
        }));
        let what = format!("{kind:?}");
        let ((report, took), told) = tokio::join!(drain_in_time(&mut app, &what), told);
        let last = told.iter().map(|(_, at)| *at).max().unwrap();
        println!("{kind:?}: the last was told after {last:?}, the server took {took:?}");
        for (text, _) in &told {
            assert_is_told(text);
        }
        assert!(last < took, "{kind:?}: none is held up until the stalled one is cut off");
        assert_eq!((report.closed, report.forced, report.streams()), (10, 1, 11), "{report:?}");
        drop(stalled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_that_reads_has_its_farewell_before_the_deadline() {
    for kind in GUARDED {
        for version in [H1, H2] {
            let deadline = 30 * DEADLINE;
            let shutdown = Shutdown::builder().window(Duration::ZERO).deadline(deadline);
            let mut app = App::start(kind, shutdown.build().unwrap()).await;
            let pace = Pace::Slow(8, Duration::from_millis(10));
            let slow = app.reader(version, "/ticks", pace).await;
            let slow = tokio::spawn(slow.rest());
            let ((report, took), text) = tokio::join!(app.drain(), slow);
            assert_is_told(&text.unwrap());
            assert!(took < deadline, "{kind:?} {version:?}: {took:?}");
            assert_eq!((report.closed, report.streams()), (1, 1), "{report:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_guards_a_client_that_does_not_read_holds_up_the_server() {
    join_all([H1, H2].map(async |version| {
        let mut app = App::start(Kind::Unguarded, shutdown()).await;
        let stopped = app.reader(version, "/firehose", Pace::Stop).await;
        app.stuck(1).await;
        let report = app.shutdown.drain().await;
        assert_eq!((report.forced, report.streams()), (1, 1), "{report:?}");
        // For as long as anybody waits.
        let after = timeout(DEADLINE, &mut app.task).await;
        assert!(after.is_err(), "{version:?}: it ended, so this crate has less to do");
        assert_eq!(app.registry.len(), 1);
        app.task.abort();
        drop(stopped);
    }))
    .await;
}
