//! One connection for all tabs of a browser, whichever of them go.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::bidi::{Browser, Page, Program, in_a};
use crate::harness::pages::{Kind, NUMBERS, STATE, numbers};
use crate::harness::process::eventually;
use crate::harness::site::Site;

#[tokio::test]
async fn ten_tabs_have_one_connection_and_every_event_once_through_twenty_take_overs() {
    take_over(Program::Chromium, 20).await;
}

#[tokio::test]
async fn ten_tabs_have_one_connection_and_every_event_once_in_firefox() {
    take_over(Program::Firefox, 5).await;
}

async fn take_over(program: Program, times: usize) {
    in_a(program, async |browser| {
        let site = Site::start().await;
        let steady = site.publish_steadily(Duration::from_millis(50));
        let mut tabs = Vec::new();
        for n in 0..10 {
            tabs.push(Tab::open(browser, &site, n).await);
        }
        site.opens(1).await;
        for n in 0..times {
            let leader = leader(&tabs).await;
            tabs.remove(leader).page.close().await;
            tabs.push(Tab::open(browser, &site, n).await);
            if n % 5 == 4 {
                site.opens(1).await;
            }
        }
        site.opens(1).await;
        // It stays so.
        for _ in 0..20 {
            sleep(Duration::from_millis(100)).await;
            assert_eq!(site.open(), 1);
        }
        drop(steady);
        let last = site.published();
        join_all(tabs.iter().map(async |tab| {
            let end = format!(" {last}");
            tab.page.shows("the last one comes", NUMBERS, |seen| seen.ends_with(&end)).await;
            let seen = tab.page.text(NUMBERS).await;
            let first = seen.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
            assert_eq!(seen, numbers(first..=last));
            match tab.place {
                Some(place) => assert_eq!(first, place + 1),
                None => assert!(first <= tab.live + 1, "{first} of {}", tab.live),
            }
            assert_eq!(tab.page.text(STATE).await, "live");
            let said = tab.page.said();
            assert!(said.is_empty(), "{said:?}");
        }))
        .await;
        let asked = site.asked("/events").len();
        println!("{asked} requests for {} tabs and {times} take-overs", 10 + times);
    })
    .await;
}

struct Tab {
    page: Page,
    /// How far the stream was when the page was rendered, if that knows.
    place: Option<usize>,
    /// How far it was when the page said that it is live.
    live: usize,
}

impl Tab {
    /// Of each client that can share in turn. Every second one knows its place.
    async fn open(browser: &Browser, site: &Site, n: usize) -> Self {
        let kind = [Kind::Bare, Kind::Htmx2, Kind::Alpine][n % 3];
        let knows_its_place = n % 2 == 0;
        let page = browser.window().await;
        let (place, id) = site.place();
        let place = knows_its_place.then_some(place);
        let id = if knows_its_place { id } else { String::new() };
        let options = json!({ "share": true, "lastEventId": id });
        page.goto(&site.url(&kind.path("/events", &options))).await;
        // A lock that it alone asks for tells it from others by the name that the browser gives it.
        let named = "(window.own = String(Math.random()), new Promise((held) => {
            navigator.locks.request(own, () => new Promise(() => held(null)));
        }))";
        page.value(named).await;
        page.shows("the tab is live", STATE, |state| state == "live").await;
        Self { page, place, live: site.published() }
    }

    async fn is_leader(&self) -> bool {
        let is = "navigator.locks.query().then(({ held }) => {
            const me = held.find(({ name }) => name === own).clientId;
            return held.some(({ name, clientId }) =>
                clientId === me && name.startsWith('tower-sse:'));
        })";
        self.page.value(is).await == Value::Bool(true)
    }
}

async fn leader(tabs: &[Tab]) -> usize {
    eventually("a tab leads", async || {
        let leads = join_all(tabs.iter().map(Tab::is_leader)).await;
        leads.iter().position(|leads| *leads)
    })
    .await
}

#[tokio::test]
async fn a_seventh_tab_with_a_stream_loads() {
    in_a(Program::Chromium, async |browser| {
        let (shared, alone) = (Site::start().await, Site::start().await);
        let mut pages = Vec::new();
        for n in 0..7 {
            let path = |share| Kind::Bare.path("/events", &json!({ "share": share }));
            let page = browser.window().await;
            let time = Duration::from_secs(20);
            assert!(page.comes(&shared.url(&path(true)), time).await, "tab {n}");
            page.shows("it is live", STATE, |state| state == "live").await;
            // What would be.
            let other = browser.window().await;
            let time = if n < 6 { time } else { Duration::from_secs(2) };
            assert_eq!(other.comes(&alone.url(&path(false)), time).await, n < 6, "tab {n}");
            if n < 6 {
                other.shows("it is live", STATE, |state| state == "live").await;
            }
            pages.push((page, other));
        }
        shared.opens(1).await;
        assert_eq!(alone.open(), 6);
    })
    .await;
}
