//! Which proxies make a clean end of a stream whose upstream was killed.

use super::programs::{Http2, PROGRAMS, Program, url};
use super::scripted_upstream::ScriptedUpstream;
use crate::harness::figures::in_one_line;
use crate::harness::process::Transcript;
use crate::harness::proxy::Setting;

/// Whether a client gets a clean end.
async fn hides_death(program: &Program, http2: Option<Http2>) -> bool {
    let upstream = ScriptedUpstream::start().await;
    let proxy = program.proxy.start(Setting::Stock, upstream.port).await;
    let version = if http2.is_some() { "--http2-prior-knowledge" } else { "--http1.1" };
    let mut client = Transcript::of(&[version, &url(&proxy, http2, "/events")]);
    client.until(|text| text.contains("data: a\n\n")).await;
    upstream.kill();
    let (_, status) = client.end().await;
    println!("{}, {version}: {status}", program.name);
    status.success()
}

/// Names as a sentence lists them.
fn list(names: &[&str]) -> String {
    let (last, others) = names.split_last().expect("there is one");
    format!("{} and {last}", others.join(", "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manual_names_the_proxies_that_hide_that_an_upstream_was_killed() {
    let (mut always, mut over_http2) = (Vec::new(), Vec::new());
    for program in PROGRAMS {
        let hides = hides_death(program, None).await;
        let version = Some(program.http2).filter(|it| *it != Http2::No);
        let hides_over_http2 = match version {
            Some(_) => hides_death(program, version).await,
            None => hides,
        };
        match (hides, hides_over_http2) {
            (true, true) => always.push(program.name),
            (false, true) => over_http2.push(program.name),
            (true, false) => panic!("{}: the manual has no word for that", program.name),
            (false, false) => {}
        }
    }
    let sentence = format!(
        "Through {}, and over HTTP/2 through {}, an upstream that was killed looks to the client \
         like a clean end",
        list(&always),
        list(&over_http2)
    );
    let chapter = in_one_line("src/manual/proxies.md");
    assert!(chapter.contains(&sentence), "the chapter has to say: {sentence}");
}
