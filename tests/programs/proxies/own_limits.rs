//! After how long proxies end a silent stream, or any, if nobody has set a limit.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::programs::{PROGRAMS, Program, url};
use super::scripted_upstream::ScriptedUpstream;
use crate::harness::process::Transcript;
use crate::harness::proxy::{Proxy, Setting};

/// The limits that the manual's table has, by names of proxies.
fn limits_of_the_manual() -> Vec<(&'static Program, Duration)> {
    let chapter = include_str!("../../../src/manual/proxies.md");
    let (_, table) = chapter.split_once("| idle limit |").expect("there is a table");
    let (table, _) = table.split_once("\n\n").expect("it has an end");
    let rows = table.lines().filter_map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let seconds = cells.get(3)?.split_once(" s")?.0.parse().ok()?;
        let program = PROGRAMS.iter().find(|program| program.name == cells[1]);
        Some((program.expect("it is tried"), Duration::from_secs(seconds)))
    });
    rows.collect()
}

/// How long a silent stream is open through a proxy, up to twice its limit.
async fn open_for(proxy: Proxy, limit: Duration) -> Duration {
    let upstream = ScriptedUpstream::start().await;
    let proxy = proxy.start(Setting::OwnLimits, upstream.port).await;
    let max = (2 * limit).as_secs().to_string();
    let mut client = Transcript::of(&["--max-time", &max, &url(&proxy, None, "/events")]);
    client.until(|text| text.contains("data: a\n\n")).await;
    let begun = Instant::now();
    client.during(2 * limit).await;
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manual_names_the_idle_limits_that_proxies_have() {
    let limits = limits_of_the_manual();
    assert!(limits.len() >= 7, "{limits:?}");
    let tried = limits.into_iter().map(async |(program, limit)| {
        // It has no limit but those of its configuration.
        if program.name == "haproxy" {
            let shipped = std::fs::read_to_string("/etc/haproxy/haproxy.cfg").expect("Debian's");
            let millis = setting(&shipped, "timeout server");
            assert_eq!(Duration::from_millis(millis), limit);
            return;
        }
        let was_open = open_for(program.proxy, limit).await;
        println!("{}: {was_open:?}", program.name);
        assert_about(program.name, was_open, limit);
    });
    join_all(tried).await;
}

fn assert_about(name: &str, was_open: Duration, limit: Duration) {
    // A busy machine may notice it late, and some proxies look at their clocks now and then.
    let about = limit.mul_f64(0.95)..limit.mul_f64(1.5);
    assert!(about.contains(&was_open), "{name}: {was_open:?} and not {limit:?}");
}

/// The first number after `name` in what a proxy or its configuration says of its settings.
fn setting(text: &str, name: &str) -> u64 {
    let (_, after) = text.split_once(name).unwrap_or_else(|| panic!("{name} is not in {text}"));
    let digits = after.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty());
    digits.expect("a number").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manual_names_the_proxies_that_end_any_stream_and_when() {
    let chapter = include_str!("../../../src/manual/proxies.md");
    let row = |name: &str| {
        let row = chapter.lines().find(|row| row.starts_with(&format!("| {name} |")));
        row.expect("it is in the table")
    };

    let shown = Command::new("/usr/sbin/varnishd").args(["-x", "parameter"]).output();
    let shown = String::from_utf8(shown.expect("Debian's varnish").stdout).expect("it is text");
    let seconds = setting(&shown, "\nsend_timeout\n");
    assert!(row("varnish").contains(&format!("after `send_timeout`, {seconds} s")), "{seconds}");

    let shipped = std::fs::read_to_string("/etc/trafficserver/records.config").expect("Debian's");
    let seconds = setting(&shipped, "proxy.config.http.transaction_active_timeout_in INT");
    let row_of_server = row("Apache Traffic Server");
    assert!(row_of_server.contains(&format!("ends streams after {seconds} s")), "{seconds}");

    // Envoy says it nowhere but in its documentation.
    let envoy = PROGRAMS.iter().find(|program| program.name == "Envoy").expect("it is tried").proxy;
    let (name, text) = envoy.files[0];
    let text = text.replace(", timeout: 0s", "").leak();
    let was_open = open_for(
        Proxy { files: Box::leak(Box::new([(name, &*text)])), ..envoy },
        Duration::from_secs(60),
    );
    let seconds = setting(row("Envoy"), "the route's `timeout`,");
    assert_about("Envoy", was_open.await, Duration::from_secs(seconds));
}
