//! The listener for axum: what it gives is what axum's own would give, with an end.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use axum::serve::{Listener, ListenerExt};
use http_body_util::BodyExt;
use tokio::net::TcpStream;
use tower_sse::Shutdown;

use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{Client, listen};

#[tokio::test]
async fn a_handler_learns_the_address_of_its_client() {
    let shutdown = Shutdown::new();
    let (listener, address) = listen().await;
    let from = async |ConnectInfo(from): ConnectInfo<SocketAddr>| from.to_string();
    let app = Router::new().route("/", get(from));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(shutdown.listen(listener), app);
    assert_eq!(server.local_addr().unwrap(), address);
    let server = tokio::spawn(server.into_future());
    for version in [H1, H2] {
        let stream = TcpStream::connect(address).await.unwrap();
        let own = stream.local_addr().unwrap().to_string();
        let body = Client::over(stream, version, 65_535).await.get("/").await.into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), own);
    }
    server.abort();
}

#[tokio::test]
async fn probes_are_answered_through_axum() {
    let shutdown = Shutdown::builder().notice(Duration::from_secs(60)).build().unwrap();
    let (listener, address) = listen().await;
    let app = Router::new().route_service("/ready", shutdown.readiness());
    let server = axum::serve(shutdown.listen(listener), app);
    let server = tokio::spawn(server.into_future());
    for version in [H1, H2] {
        let mut client = Client::connect(address, version).await;
        let before = client.get("/ready").await;
        let word = if version == H1 { "ready" } else { "draining" };
        assert_eq!(before.status().is_success(), version == H1);
        assert_eq!(before.into_body().collect().await.unwrap().to_bytes(), word);
        shutdown.trigger();
        assert_eq!(client.get("/ready").await.status(), 503);
    }
    server.abort();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_of_tcp_are_told_from_others_and_get_their_options() {
    use socket2::SockRef;

    let options_of = async |shutdown: Shutdown, taps: bool| {
        let (listener, address) = listen().await;
        let _client = TcpStream::connect(address).await.unwrap();
        let io = match taps {
            true => shutdown.listen(listener.tap_io(|_| {})).accept().await.0,
            false => shutdown.listen(listener).accept().await.0,
        };
        let socket = SockRef::from(io.get_ref());
        (socket.tcp_user_timeout().unwrap(), socket.tcp_notsent_lowat().unwrap())
    };
    let (timeout, unsent) = options_of(Shutdown::new(), false).await;
    assert_eq!((timeout, unsent), (Some(Duration::from_secs(30)), 16 * 1024));
    let shutdown = Shutdown::builder().stall_limit(Duration::from_secs(7)).build().unwrap();
    let (timeout, _) = options_of(shutdown, true).await;
    assert_eq!(timeout, Some(Duration::from_secs(7)));

    // Zero leaves a socket as it was.
    let plain = {
        let (listener, address) = listen().await;
        let _client = TcpStream::connect(address).await.unwrap();
        let (io, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&io);
        (socket.tcp_user_timeout().unwrap(), socket.tcp_notsent_lowat().unwrap())
    };
    let shutdown = Shutdown::builder().stall_limit(Duration::ZERO).build().unwrap();
    let (listener, address) = listen().await;
    let _client = TcpStream::connect(address).await.unwrap();
    let options = shutdown.tcp_options().notsent_lowat(0);
    let (io, _) = shutdown.listen_with(listener, options).accept().await;
    let socket = SockRef::from(io.get_ref());
    let zero = (socket.tcp_user_timeout().unwrap(), socket.tcp_notsent_lowat().unwrap());
    assert_eq!(zero, plain);
}

/// The system counts milliseconds in 31 bits, and refuses more.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stall_limit_that_the_system_cannot_count_is_set_to_the_nearest() {
    use socket2::SockRef;

    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    let most = Duration::from_millis(i32::MAX as u64);
    for (asked, set) in [
        (days(24), days(24)),
        (days(25), most),
        (days(365), most),
        (Duration::from_micros(1_500), Duration::from_millis(1)),
    ] {
        let shutdown = Shutdown::builder().stall_limit(asked).build().unwrap();
        let (listener, address) = listen().await;
        let _client = TcpStream::connect(address).await.unwrap();
        let (io, _) = listener.accept().await.unwrap();
        shutdown.tcp_options().apply(&io).unwrap();
        let socket = SockRef::from(&io);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(set), "{asked:?}");
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 16 * 1024, "{asked:?}");
        // Shorter than it can count is not without a limit.
        shutdown.tcp_options().user_timeout(Duration::from_nanos(1)).apply(&io).unwrap();
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(1)));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn connections_of_a_listener_of_unix_sockets_are_guarded() {
    use tokio::io::AsyncReadExt;
    use tokio::net::{UnixListener, UnixStream};

    let directory = std::env::temp_dir();
    let path = directory.join(format!("tower-sse-{}.sock", std::process::id()));
    let shutdown = Shutdown::builder().window(Duration::ZERO).deadline(Duration::ZERO);
    let shutdown = shutdown.build().unwrap();
    let mut listener = shutdown.listen(UnixListener::bind(&path).unwrap());
    let _client = UnixStream::connect(&path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let (mut io, _) = listener.accept().await;
    shutdown.trigger();
    let error = io.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}
