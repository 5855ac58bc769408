//! Two servers of tonic under the layers, over TLS, with clients that go on at the other one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use http::uri::PathAndQuery;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
};
use tonic::{Code, Request, Status};
use tower::util::MapRequestLayer;
use tower_sse::{Registry, Shutdown, SseLayer};

use crate::harness::LONG;
use crate::harness::net::listen;
use crate::tonic_server::{Calls, Raw, TICK, echo, end_of, guarded};

/// A certificate for `localhost`, signed by itself.
struct Tls {
    certificate: String,
    key: String,
}

/// How many unary calls a server was given.
type UnaryCalls = Arc<AtomicUsize>;

impl Tls {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    async fn start(
        &self,
        shutdown: &Shutdown,
        registry: &Registry,
        calls: UnaryCalls,
    ) -> (SocketAddr, JoinHandle<()>) {
        let (listener, address) = listen().await;
        let layer = SseLayer::new().shutdown(shutdown.clone()).registry(registry.clone());
        let identity = Identity::from_pem(&self.certificate, &self.key);
        let tls = ServerTlsConfig::new().identity(identity);
        let counted = MapRequestLayer::new(move |request: http::Request<_>| {
            calls.fetch_add(usize::from(request.uri().path() == "/t/Echo"), Ordering::SeqCst);
            request
        });
        let server = Server::builder().tls_config(tls).unwrap().layer(layer).layer(counted);
        let (until, incoming) = (shutdown.clone(), guarded(listener, shutdown.clone()));
        let until = async move { until.triggered().await };
        let running = async move {
            server.serve_with_incoming_shutdown(Calls, incoming, until).await.unwrap();
        };
        (address, tokio::spawn(running))
    }

    async fn connect(&self, address: SocketAddr) -> Result<Grpc<Channel>, Status> {
        let authority = Certificate::from_pem(&self.certificate);
        let tls = ClientTlsConfig::new().ca_certificate(authority).domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await;
        channel.map(Grpc::new).map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// Reads numbers after `after` until there are `most` or the stream ends. Nothing may be lost.
async fn count(client: &mut Grpc<Channel>, after: &mut u64, most: u64) -> Result<(), Status> {
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/t/Count");
    let request = Request::new(Bytes::copy_from_slice(&after.to_be_bytes()));
    let mut numbers = client.server_streaming(request, path, Raw).await?.into_inner();
    while *after < most {
        let mut message = timeout(LONG, numbers.message()).await.expect("it ends or goes on")?;
        let number = message.as_mut().expect("it does not just end").get_u64();
        assert_eq!(number, *after + 1, "nothing is lost and nothing comes twice");
        *after = number;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_clients_of_a_server_that_ends_go_on_at_another_with_nothing_lost() {
    let (tls, registry) = (Tls::new(), Registry::new());
    let (deadline, window) = (Duration::from_secs(30), Duration::from_millis(200));
    let first = Shutdown::builder().window(window).deadline(deadline).build().unwrap();
    let second = Shutdown::new();
    let calls = UnaryCalls::default();
    let (address, server) = tls.start(&first, &registry, Arc::clone(&calls)).await;
    let (other, _other_server) = tls.start(&second, &Registry::new(), UnaryCalls::default()).await;

    // 100 streams on four connections, which are cut once each has its first number.
    let mut streams = Vec::new();
    for _ in 0..4 {
        let (here, there) =
            (tls.connect(address).await.unwrap(), tls.connect(other).await.unwrap());
        for _ in 0..25 {
            let (mut here, mut there) = (here.clone(), there.clone());
            streams.push(tokio::spawn(async move {
                let mut last = 0;
                let status = count(&mut here, &mut last, u64::MAX).await.unwrap_err();
                let told = last;
                count(&mut there, &mut last, told + 5).await.unwrap();
                (status, told)
            }));
        }
    }
    let mut client = tls.connect(address).await.unwrap();
    client.ready().await.unwrap();
    let said = stream::iter([Bytes::from_static(TICK)]).chain(stream::pending());
    let path = PathAndQuery::from_static("/t/Talk");
    let mut talk = client.streaming(Request::new(said), path, Raw).await.unwrap().into_inner();
    assert_eq!(talk.message().await.unwrap().unwrap(), TICK);
    let talk = tokio::spawn(end_of(talk));

    // Unary calls, before the drain and in it. One that finds no server here goes to the other.
    let mut here = tls.connect(address).await.unwrap();
    let mut there = tls.connect(other).await.unwrap();
    let drained = first.clone();
    let unary = tokio::spawn(async move {
        let (mut answered, mut refused) = ([0, 0], 0);
        while answered[1] < 20 {
            match echo(&mut here).await {
                Ok(answer) => {
                    assert_eq!(answer, TICK);
                    answered[0] += 1;
                }
                Err(status) => {
                    assert!(drained.is_draining(), "{status}");
                    // The call that finds its connection closing is refused by that, and so is one
                    // whose connection waits to be accepted when the listener closes.
                    refused += u32::from(status.code() != Code::Unavailable);
                    assert!(refused <= 2, "{status:?}");
                    assert_eq!(echo(&mut there).await.unwrap(), TICK);
                    answered[1] += 1;
                }
            }
        }
        answered
    });

    let open = async {
        // The one that goes both ways may have had its message before it was listed.
        let reads = || registry.snapshot().iter().filter(|it| it.bytes > 0).count() >= 100;
        while registry.len() < 101 || !reads() || calls.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, open).await.expect("all are listed and have their first message");
    let began = Instant::now();
    first.trigger();
    for seen in join_all(streams).await {
        let (status, told) = seen.unwrap();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server shuts down"));
        assert!(told > 0, "it had numbers of the first server");
    }
    let status = talk.await.unwrap();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server shuts down"));
    timeout(LONG, server).await.expect("the server ends").unwrap();
    assert!(began.elapsed() < deadline);
    let report = first.drain().await;
    assert_eq!((report.closed, report.forced), (101, 0));
    let answered = timeout(LONG, unary).await.expect("unary calls are answered").unwrap();
    assert_eq!(answered[0], calls.load(Ordering::SeqCst), "what the server was given, it answered");
}
