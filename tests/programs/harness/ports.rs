//! Ports for servers that are not told theirs by the system.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// Out of the range from which the system gives ports by itself, so that it stays free while a
/// server is away.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Which ports this process has. Their UDP ports, of which no test makes use, say so to the tests
/// that run beside it: between the choice of a port and a server's own bind it looks free.
static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A port that no other test uses as long as this process runs.
pub fn free_port() -> u16 {
    let mut held = HELD.lock().expect("nothing panics while it is locked");
    // Tests begin in different places, so that they do not all try the same ports.
    let begin = usize::try_from(std::process::id()).expect("it is small") * 10 + held.len();
    let (port, socket) = (0..PORTS.len())
        .map(|n| PORTS.start + u16::try_from((begin + n) % PORTS.len()).expect("it is small"))
        .find_map(|port| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
            Some((port, socket))
        })
        .expect("a free port");
    held.push(socket);
    port
}
