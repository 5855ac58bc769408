//! Each client that the script is for does as the server says, in real browsers.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::harness::bidi::{Program, in_a};
use crate::harness::pages::{KINDS, Visit, are_installed, numbers};
use crate::harness::process::Transcript;

#[tokio::test]
async fn every_client_shows_events_and_that_it_is_live() {
    shows_events(Program::Chromium).await;
}

#[tokio::test]
async fn every_client_shows_events_and_that_it_is_live_in_firefox() {
    shows_events(Program::Firefox).await;
}

async fn shows_events(program: Program) {
    in_a(program, async |browser| {
        let visits = Visit::of_all(browser, "/events", &json!({})).await;
        let all = visits.iter().map(async |visit| {
            visit.is_live().await;
            let shown = "document.querySelector('output').outerHTML";
            visit
                .page
                .shows("a person is told", shown, |shown| {
                    shown.contains(r#"role="status""#) && shown.ends_with(">live</output>")
                })
                .await;
            for _ in 0..20 {
                visit.site.publish();
            }
            visit.has_all().await;
            assert_eq!(visit.site.asked("/events").len(), 1);
            visit.is_silent();
        });
        join_all(all).await;
    })
    .await;
}

#[tokio::test]
async fn a_page_that_is_told_to_stop_stays_away() {
    stays_away(Program::Chromium).await;
}

#[tokio::test]
async fn a_page_that_is_told_to_stop_stays_away_in_firefox() {
    stays_away(Program::Firefox).await;
}

async fn stays_away(program: Program) {
    in_a(program, async |browser| {
        let kicked = async || {
            let visits = Visit::of_all(browser, "/events?kicked", &json!({})).await;
            join_all(visits.iter().map(async |visit| {
                visit.is_live().await;
                visit.site.publish();
                visit.has_all().await;
                visit.site.kick();
                visit.was("closed kicked").await;
            }))
            .await;
            visits
        };
        let finished = async || {
            let visits = Visit::of_all(browser, "/finite", &json!({})).await;
            join_all(visits.iter().map(async |visit| {
                visit.has(&numbers(1..=3)).await;
                visit.was("closed finished").await;
            }))
            .await;
            visits
        };
        // The server comes back at once, for who asks.
        let restarted = async || {
            let visits = Visit::of_all(browser, "/events?restarted", &json!({})).await;
            join_all(visits.iter().map(async |visit| {
                visit.is_live().await;
                visit.site.publish();
                visit.has_all().await;
                visit.site.stop().await;
                visit.site.run().await;
                visit.was("closed shutdown").await;
            }))
            .await;
            visits
        };
        let (kicked, finished, restarted) = tokio::join!(kicked(), finished(), restarted());
        let all: Vec<Visit> = kicked.into_iter().chain(finished).chain(restarted).collect();
        // Far longer than any of them waits otherwise.
        sleep(Duration::from_secs(20)).await;
        for visit in &all {
            let mut asked = visit.site.asked("/events");
            asked.extend(visit.site.asked("/finite"));
            assert_eq!(asked.len(), 1, "{}: {asked:?}", visit.kind.name());
            visit.is("closed").await;
            visit.is_silent();
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_comes_back_after_a_restart_if_it_asks_for_that() {
    in_a(Program::Chromium, async |browser| {
        let options = json!({ "reconnectAfter": ["shutdown"] });
        let visits = Visit::of_all(browser, "/events", &options).await;
        join_all(visits.iter().map(async |visit| {
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            visit.site.stop().await;
            visit.was("reconnecting shutdown").await;
            visit.site.publish();
            visit.site.run().await;
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            visit.site.kick();
            visit.was("closed kicked").await;
            visit.is_silent_but_for_outages();
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_page_that_is_refused_by_a_limit_comes_when_there_is_room() {
    in_a(Program::Chromium, async |browser| {
        are_installed();
        join_all(KINDS.map(async |kind| {
            let visit = Visit::blank(browser, kind).await;
            let mut first = Transcript::of(&[&visit.site.url("/limited")]);
            first.until(|text| text.starts_with(':')).await;
            visit.page.goto(&visit.site.url(&kind.path("/limited", &json!({})))).await;
            visit.was("reconnecting limit").await;
            // It goes on to ask, and not at once.
            sleep(Duration::from_secs(2)).await;
            let asked = visit.site.asked("/limited").len();
            assert!((3..=12).contains(&asked), "{}: {asked}", visit.kind.name());
            drop(first);
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            visit.is_silent();
        }))
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_page_that_is_drained_comes_to_the_next_server() {
    in_a(Program::Chromium, async |browser| {
        let visits = Visit::of_all(browser, "/coming-back", &json!({})).await;
        join_all(visits.iter().map(async |visit| {
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            visit.site.drain();
            visit.was("reconnecting reconnect").await;
            visit.was("reconnecting draining").await;
            visit.site.publish();
            visit.site.kill();
            visit.site.run().await;
            visit.is_live().await;
            visit.site.publish();
            visit.has_all().await;
            visit.is_silent_but_for_outages();
        }))
        .await;
    })
    .await;
}
