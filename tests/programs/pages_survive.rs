//! A page misses no event and shows none twice after its server was killed, after an error of a
//! load balancer, and after it was hidden or left.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::harness::bidi::{Browser, Program, in_a};
use crate::harness::nginx::Nginx;
use crate::harness::pages::{KINDS, Kind, Visit, are_installed};
use crate::harness::process::eventually;

#[tokio::test]
async fn a_server_that_is_killed_costs_no_event() {
    survives_kills(Program::Chromium).await;
}

#[tokio::test]
async fn a_server_that_is_killed_costs_no_event_in_firefox() {
    survives_kills(Program::Firefox).await;
}

async fn survives_kills(program: Program) {
    in_a(program, async |browser| {
        let visits = Visit::of_all(browser, "/events", &json!({})).await;
        join_all(visits.iter().map(async |visit| {
            visit.is_live().await;
            let steady = visit.site.publish_steadily(Duration::from_millis(40));
            for away in [0, 300, 2500] {
                // In the middle of events that come.
                let before = visit.site.published();
                let so_far = "Number(document.querySelector('#list').lastElementChild?.textContent
                    .match(/\\d+/) ?? 0)";
                visit
                    .page
                    .shows("events come", so_far, |n| {
                        n.parse::<usize>().is_ok_and(|n| n > before + 3)
                    })
                    .await;
                visit.site.kill();
                sleep(Duration::from_millis(away)).await;
                visit.site.run().await;
                visit.is_live().await;
            }
            drop(steady);
            visit.has_all().await;
            visit.is_silent_but_for_outages();
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_502_of_a_balancer_does_not_end_a_page() {
    survives_502(Program::Chromium).await;
}

#[tokio::test]
async fn a_502_of_a_balancer_does_not_end_a_page_in_firefox() {
    survives_502(Program::Firefox).await;
}

async fn survives_502(program: Program) {
    are_installed();
    in_a(program, async |browser| {
        let native = async {
            let (visit, nginx) = behind_nginx(browser, Kind::Native).await;
            visit.page.shows("it opens", "source.readyState", |state| state == "1").await;
            deploy(&visit, &nginx).await;
            // What would be: it has given up for good.
            assert_eq!(visit.page.text("source.readyState").await, "2");
        };
        let ours = join_all(KINDS.map(async |kind| {
            let (visit, nginx) = behind_nginx(browser, kind).await;
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            deploy(&visit, &nginx).await;
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            visit.is_silent_but_for_outages();
        }));
        tokio::join!(native, ours);
    })
    .await;
}

/// The server goes, nginx says so to the page, and the next server comes.
async fn deploy(visit: &Visit, nginx: &Nginx) {
    visit.site.kill();
    eventually("nginx says 502", async || (nginx.answered("/events", 502) > 0).then_some(())).await;
    visit.site.publish();
    sleep(Duration::from_millis(300)).await;
    visit.site.run().await;
}

async fn behind_nginx(browser: &Browser, kind: Kind) -> (Visit, Nginx) {
    let visit = Visit::blank(browser, kind).await;
    let nginx = Nginx::before(visit.site.port()).await;
    visit.page.goto(&nginx.url(&kind.path("/events", &json!({})))).await;
    (visit, nginx)
}

#[tokio::test]
async fn a_hidden_page_has_no_stream_and_misses_nothing() {
    are_installed();
    in_a(Program::Chromium, async |browser| {
        let options = json!({ "pauseHidden": true });
        // One after the other, since a tab opens in the window that was opened last.
        for kind in KINDS {
            let visit = Visit::of(browser, kind, "/events", &options).await;
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            let cover = browser.hide(&visit.page).await;
            visit.is_away().await;
            visit.is("reconnecting").await;
            visit.site.publish();
            sleep(Duration::from_millis(300)).await;
            assert_eq!(visit.site.open(), 0);
            browser.show(&visit.page, cover).await;
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            visit.is_silent();
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_from_the_back_forward_cache_misses_nothing() {
    in_a(Program::Chromium, async |browser| {
        let visits = Visit::of_all(browser, "/events", &json!({})).await;
        join_all(visits.iter().map(async |visit| {
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            visit.page.goto(&visit.site.url("/away")).await;
            visit.is_away().await;
            visit.site.publish();
            visit.page.back().await;
            visit.page.shows("it is back", "document.title", |title| title == "page").await;
            let name = visit.kind.name();
            let why = "performance.getEntriesByType('navigation')[0].notRestoredReasons";
            let restored = visit.page.text("restored").await;
            let why = visit.page.text(why).await;
            assert_eq!(restored, "true", "{name} is not from the cache: {why}");
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            visit.is_silent();
        }))
        .await;
    })
    .await;
}
