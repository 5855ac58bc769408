//! A Redis Cluster of a test's own, on loopback.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::harness::redis::{LONG, Server};

/// Three masters, and as many replicas of each as asked for.
#[derive(Debug)]
pub struct Cluster {
    /// The masters first, and then their replicas in the same order.
    pub servers: Vec<Server>,
}

impl Cluster {
    /// Three masters, of which none is replaced.
    pub async fn of_masters() -> Self {
        Self::start(MASTERS, |_| {}).await
    }

    /// The same, whose servers are set up before they know of each other.
    pub async fn of_masters_that(set_up: impl Fn(&Server)) -> Self {
        Self::start(MASTERS, set_up).await
    }

    /// Three masters with a replica each.
    pub async fn with_replicas() -> Self {
        let cluster = Self::start(2 * MASTERS, |_| {}).await;
        let (masters, replicas) = cluster.servers.split_at(MASTERS);
        for (master, replica) in masters.iter().zip(replicas) {
            ok(replica, &["CLUSTER", "REPLICATE", &id(master)]);
        }
        for replica in replicas {
            let is_up = || replica.cli(&["INFO", "replication"]).contains("master_link_status:up");
            eventually("the replica has what its master has", is_up).await;
        }
        // A server that does not know of a replica elects it, or names it, late.
        let knows_all = |server: &Server| {
            server.cli(&["CLUSTER", "NODES"]).lines().filter(|it| it.contains("slave")).count() == 3
        };
        let all_know = || cluster.servers.iter().all(knows_all);
        eventually("all servers know of the replicas", all_know).await;
        cluster
    }

    async fn start(count: usize, set_up: impl Fn(&Server)) -> Self {
        let servers = join_all((0..count).map(|_| Server::for_cluster())).await;
        servers.iter().for_each(set_up);
        let ranges = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for (epoch, server) in servers.iter().enumerate() {
            ok(server, &["CLUSTER", "SET-CONFIG-EPOCH", &(epoch + 1).to_string()]);
            if let Some((first, last)) = ranges.get(epoch) {
                ok(server, &["CLUSTER", "ADDSLOTSRANGE", first, last]);
            }
        }
        for server in &servers[1..] {
            let bus = server.cli(&["CONFIG", "GET", "cluster-port"]);
            let (port, bus) = (server.port.to_string(), bus.lines().last().unwrap());
            ok(&servers[0], &["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        }
        let is_whole = |server: &Server| {
            let info = server.cli(&["CLUSTER", "INFO"]);
            let has = |line: &str| info.lines().any(|it| it.trim() == line);
            has("cluster_state:ok") && has(&format!("cluster_known_nodes:{count}"))
        };
        eventually("the servers are a cluster", || servers.iter().all(is_whole)).await;
        Self { servers }
    }

    /// Has servers take one that is silent for so long for dead.
    pub fn is_patient_for(&self, time: Duration) {
        let millis = time.as_millis().to_string();
        for server in &self.servers {
            ok(server, &["CONFIG", "SET", "cluster-node-timeout", &millis]);
        }
    }

    pub fn replica_of(&self, master: usize) -> &Server {
        &self.servers[master + MASTERS]
    }

    /// Waits until the replica of a master has what the master has by now.
    pub async fn is_replicated(&self, master: usize) {
        let written = offset(&self.servers[master]);
        let is_there = || offset(self.replica_of(master)) >= written;
        eventually("the replica has it", is_there).await;
    }

    /// Has the replica of a master get nothing of it from now on.
    pub fn cut_off_replica(&self, master: usize) {
        let server = &self.servers[master];
        ok(server, &["ACL", "SETUSER", "default", "-psync", "-sync"]);
        assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "replica"]).trim(), "1");
    }

    /// Has a master know no other server for a minute.
    pub fn forget_all(&self, master: usize) {
        let server = &self.servers[master];
        for other in self.servers.iter().filter(|other| other.port != server.port) {
            ok(server, &["CLUSTER", "FORGET", &id(other)]);
        }
    }

    /// The number of the master that has the slot of the log.
    pub fn owner(&self) -> usize {
        let owns = |server: &Server| !server.cli(&["GET", KEY]).starts_with("MOVED");
        self.servers[..MASTERS].iter().position(owns).expect("a master has the slot")
    }

    /// The number of another master.
    pub fn other(&self) -> usize {
        (self.owner() + 1) % MASTERS
    }

    /// Moves the slot of the log to another master, key by key, as `redis-cli --cluster reshard`
    /// does.
    pub fn move_slot(&self, to: usize) {
        let from = self.begin_to_move(to);
        while self.move_keys(from, to, 10) > 0 {}
        self.end_to_move(from, to);
    }

    /// Begins to move the slot to another master, and gives the one that has it.
    pub fn begin_to_move(&self, to: usize) -> usize {
        let from = self.owner();
        let (source, target, slot) = (&self.servers[from], &self.servers[to], self.slot());
        ok(target, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(source)]);
        ok(source, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(target)]);
        from
    }

    /// Moves so many keys, and gives how many there were.
    pub fn move_keys(&self, from: usize, to: usize, count: usize) -> usize {
        let (source, port) = (&self.servers[from], self.servers[to].port.to_string());
        let count = count.to_string();
        let keys = source.cli(&["CLUSTER", "GETKEYSINSLOT", &self.slot(), &count]);
        let keys: Vec<_> = keys.lines().filter(|key| !key.is_empty()).collect();
        if !keys.is_empty() {
            let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "10000", "KEYS"];
            ok(source, &[&migrate, &keys[..]].concat());
        }
        keys.len()
    }

    pub fn end_to_move(&self, from: usize, to: usize) {
        let (slot, id) = (self.slot(), id(&self.servers[to]));
        for server in [to, from].map(|server| &self.servers[server]) {
            ok(server, &["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        }
    }

    fn slot(&self) -> String {
        self.servers[0].cli(&["CLUSTER", "KEYSLOT", KEY]).trim().to_owned()
    }
}

/// How many bytes of its history a server has.
fn offset(server: &Server) -> u64 {
    let info = server.cli(&["INFO", "replication"]);
    let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
    offset.unwrap().trim().parse().unwrap()
}

/// Has a replica take over as its master agrees, as often as it takes: a master ignores one that it
/// does not know as its replica yet, and then nothing happens for five seconds.
pub async fn fail_over(replica: &Server) {
    let is_master = || replica.cli(&["ROLE"]).starts_with("master");
    let asked = async {
        while !is_master() {
            ok(replica, &["CLUSTER", "FAILOVER"]);
            let _ = timeout(Duration::from_secs(6), until(is_master)).await;
        }
    };
    timeout(LONG, asked).await.expect("it takes over");
}

pub fn id(server: &Server) -> String {
    server.cli(&["CLUSTER", "MYID"]).trim().to_owned()
}

/// Sends a command that must succeed.
pub fn ok(server: &Server, words: &[&str]) {
    let answer = server.cli(words);
    assert!(["OK", "NOKEY"].contains(&answer.trim()), "{words:?}: {answer}");
}

/// Waits until something is so.
pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    timeout(LONG, until(is_so)).await.expect(what);
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(Duration::from_millis(50)).await;
    }
}

const MASTERS: usize = 3;

/// A key of a log with the default prefix.
const KEY: &str = "{tower-sse}:none";
