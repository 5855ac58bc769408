//! A cluster of three servers: when the leader of the stream is killed, another takes its place,
//! and nothing is lost or comes twice.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower_sse::event_log::{EventLog, NatsFollower, NatsLog, NatsLogBuilder, Start};

use crate::harness::nats::{LONG, append, data, rounds, said, settings, topic, topics};

/// Three servers in one cluster. They are killed when this is dropped.
struct Cluster {
    directory: PathBuf,
    /// The ports for clients, and for the other servers.
    ports: Vec<(u16, u16)>,
    servers: Vec<Option<Child>>,
}

impl Cluster {
    fn start() -> Self {
        let name = format!("tower-sse-nats-cluster-{}", std::process::id());
        let memory = Some(PathBuf::from("/dev/shm")).filter(|it| it.is_dir());
        let directory = memory.unwrap_or_else(std::env::temp_dir).join(name);
        let bound = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // All at once, so that no two are the same.
        let bound: Vec<_> = (0..3).map(|_| (bound(), bound())).collect();
        let port = |bound: &TcpListener| bound.local_addr().unwrap().port();
        let ports = bound.iter().map(|(one, other)| (port(one), port(other))).collect();
        drop(bound);
        let mut cluster = Self { directory, ports, servers: vec![None, None, None] };
        (0..3).for_each(|server| cluster.start_server(server));
        cluster
    }

    fn start_server(&mut self, server: usize) {
        let directory = self.directory.join(server.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        let (port, own) = self.ports[server];
        let routes: Vec<_> =
            self.ports.iter().map(|(_, port)| format!("nats://127.0.0.1:{port}")).collect();
        let mut command = Command::new("nats-server");
        command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(directory);
        command.args(["-n", &format!("server-{server}"), "-cluster_name", "sse"]);
        command.args(["-cluster", &format!("nats://127.0.0.1:{own}")]);
        command.args(["-routes", &routes.join(",")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.servers[server] = Some(command.spawn().expect("nats-server is installed"));
    }

    fn kill(&mut self, server: usize) {
        let mut child = self.servers[server].take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn urls(&self) -> String {
        let urls = self.ports.iter().map(|(port, _)| format!("nats://127.0.0.1:{port}"));
        urls.collect::<Vec<_>>().join(",")
    }

    /// A log, as soon as the servers have found each other.
    async fn log(&self, settings: NatsLogBuilder) -> NatsLog {
        let log = async {
            loop {
                if let Ok(log) = settings.clone().connect(&self.urls()).await {
                    return log;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(LONG, log).await.expect("the cluster starts")
    }

    /// The server that leads the stream, once all others have what it has.
    async fn leader(&self) -> usize {
        let leader = async {
            loop {
                if let Some(leader) = self.find_leader().await {
                    return leader;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(LONG, leader).await.expect("the stream has a leader")
    }

    async fn find_leader(&self) -> Option<usize> {
        let urls: Vec<_> = self.urls().split(',').map(str::to_owned).collect();
        let client = async_nats::connect(urls).await.ok()?;
        let stream = async_nats::jetstream::new(client).get_stream("sse").await.ok()?;
        let cluster = stream.cached_info().cluster.clone()?;
        let whole = cluster.replicas.len() == 2
            && cluster.replicas.iter().all(|replica| replica.current && !replica.offline);
        cluster.leader.filter(|_| whole)?.strip_prefix("server-")?.parse().ok()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for mut server in self.servers.iter_mut().filter_map(Option::take) {
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_loses_and_repeats_nothing() {
    let mut cluster = Cluster::start();
    let patient = settings().replicas(3).append_timeout(LONG).away_timeout(LONG);
    let (a, b) = (cluster.log(patient.clone()).await, cluster.log(patient).await);
    let followers = [
        a.follow(topics(&["t"]), Start::Live),
        b.follow(topics(&["t"]), Start::Live),
        b.follow(topics(&["*", "u.v"]), Start::Live),
    ];
    let reading = followers.map(|follower| tokio::spawn(read_to_end(follower)));
    let mut count = 0;
    for _ in 0..rounds() {
        publish(&a, &mut count, 100).await;
        let leader = cluster.leader().await;
        let publishing: JoinHandle<()> = tokio::spawn({
            let (log, mut from) = (a.clone(), count);
            async move { publish(&log, &mut from, 200).await }
        });
        sleep(Duration::from_millis(20)).await;
        cluster.kill(leader);
        publishing.await.unwrap();
        count += 200;
        cluster.start_server(leader);
        cluster.leader().await;
    }
    append(&b, "t", "end").await;
    for reading in reading {
        let read = timeout(LONG, reading).await.expect("it reaches the end");
        let read = read.unwrap_or_else(|_| panic!("{:?}, {:?}", a.health(), b.health()));
        assert!(read.is_sorted_by(|a, b| a < b), "nothing comes twice: {read:?}");
        let lost: Vec<_> = (0..count).filter(|n| read.binary_search(n).is_err()).collect();
        assert!(lost.is_empty(), "{} of {count}: {lost:?}", lost.len());
    }
}

async fn publish(log: &NatsLog, count: &mut usize, number: usize) {
    for _ in 0..number {
        log.append(&topic("t"), data(count.to_string())).await.expect("another server leads");
        *count += 1;
    }
}

async fn read_to_end(mut follower: NatsFollower) -> Vec<usize> {
    let mut read = Vec::new();
    loop {
        match &*said(&mut follower).await {
            "end" => return read,
            n => read.push(n.parse().expect("there is no gap")),
        }
    }
}
