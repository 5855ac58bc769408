//! A page goes on while the servers that share a log are replaced one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tower_sse::event_log::RedisLog;

use crate::harness::bidi::{Browser, Page, Program, in_a};
use crate::harness::broker::append;
use crate::harness::nginx::Nginx;
use crate::harness::pages::{KINDS, Kind, NUMBERS, STATE, are_installed, numbers};
use crate::harness::ports::free_port;
use crate::harness::process::Example;
use crate::harness::redis;
use crate::harness::site::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_misses_nothing_while_its_servers_are_replaced_one_after_the_other() {
    are_installed();
    let broker = redis::Server::start().await;
    let ports = [free_port(), free_port()];
    let [a, b] = ports.map(|port| Node { port: port.to_string(), log: broker.url() });
    let (mut first, mut second) = tokio::join!(a.start(), b.start());
    // It has the pages and their scripts only, and is not replaced.
    let site = Site::start().await;
    let nginx = Nginx::before_nodes(&ports, site.port()).await;
    let published = Published::to(redis::log(&broker.url()).await);

    in_a(Program::Chromium, async |browser| {
        let visits = join_all(KINDS.map(async |kind| visit(browser, &nginx, kind).await)).await;
        let go_on = async || {
            let from = published.count();
            join_all(visits.iter().map(|visit| visit.goes_on_after(from))).await;
        };
        go_on().await;
        for (node, place) in [(&a, &mut first), (&b, &mut second)] {
            place.signal("TERM").await;
            let (status, _) = place.exit().await;
            assert_eq!(status.code(), Some(0));
            go_on().await;
            *place = node.start().await;
        }
        go_on().await;

        let all = numbers(1..=published.end().await);
        for Visit { kind, page } in &visits {
            let what = format!("{} shows all, once and in order", kind.name());
            page.shows(&what, NUMBERS, |seen| seen == all).await;
            assert_eq!(page.text("window.born").await, "here", "it was loaded once");
        }
    })
    .await;
}

struct Node {
    port: String,
    log: String,
}

impl Node {
    async fn start(&self) -> Example {
        Example::start("node", &[("PORT", &self.port), ("LOG", &self.log)]).await
    }
}

struct Visit {
    kind: Kind,
    page: Page,
}

async fn visit(browser: &Browser, nginx: &Nginx, kind: Kind) -> Visit {
    let page = browser.window().await;
    // From the first event on, as its place is not yet that of an event.
    let stream = "/events/news?last_event_id=earliest";
    page.goto(&nginx.url(&kind.path(stream, &json!({})))).await;
    page.run("window.born = 'here'").await;
    Visit { kind, page }
}

impl Visit {
    /// Waits until the page has a stream, and shows an event that was published after this many.
    async fn goes_on_after(&self, count: usize) {
        let name = self.kind.name();
        self.page.shows(&format!("{name} is live"), STATE, |state| state == "live").await;
        let last = format!("Number(({NUMBERS}).split(' ').at(-1))");
        let what = format!("{name} goes on after {count}");
        self.page.shows(&what, &last, |last| last.parse().is_ok_and(|it: usize| it > count)).await;
    }
}

/// Numbers from one on, published all the time.
struct Published {
    count: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Published {
    fn to(log: RedisLog) -> Self {
        let (count, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, until) = (Arc::clone(&count), Arc::clone(&over));
        let task = tokio::spawn(async move {
            while !until.load(Ordering::Relaxed) {
                let n = counted.load(Ordering::Relaxed) + 1;
                append(&log, "news", &format!("<li>{n}</li>")).await;
                counted.store(n, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { count, over, task }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Gives how many there were.
    async fn end(&self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        while !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.count()
    }
}
