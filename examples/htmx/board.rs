//! The board: what pages show, and how they are told of changes.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tower_sse::event_log::{GapPolicy, MemoryLogError, Start, Topic, Topics};
use tower_sse::hub::Subscription;
use tower_sse::{Event, EventId, EventName, Hub};

use crate::fragment::fill;
use crate::{Htmx, IN_PLACE, OUT_OF_BAND, SECOND};

#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    pub(crate) hub: Hub,
    shown: Arc<Mutex<Shown>>,
}

/// What a page that is loaded now begins with.
#[derive(Debug, Default)]
struct Shown {
    orders: VecDeque<Order>,
    said: VecDeque<String>,
    ordered: usize,
    served: usize,
}

#[derive(Debug)]
struct Order {
    number: usize,
    item: String,
}

impl Board {
    pub(crate) fn follow(&self, start: Start) -> Subscription {
        // After a gap a page fetches the board anew, so it has no use for what is left of the past.
        self.hub.subscribe(topics()).start(start).on_gap(GapPolicy::Live)
    }

    /// The board and its place in the stream.
    pub(crate) async fn render(&self, htmx: &Htmx) -> Result<(String, EventId), StatusCode> {
        let shown = self.shown.lock().await;
        let place = self.hub.latest(topics()).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let orders: String = shown.orders.iter().map(|order| order.item.as_str()).collect();
        let said: String = shown.said.iter().map(String::as_str).collect();
        let board = fill(
            include_str!("board.html"),
            &[
                ("connect", &fill(htmx.connect, &[("place", &place)])),
                ("version", &htmx.version),
                ("place", &place),
                ("gap", &htmx.gap),
                ("waiting", &shown.waiting(IN_PLACE)),
                ("served", &shown.served(IN_PLACE)),
                ("orders", &orders),
                ("said", &said),
                ("field", &field(IN_PLACE)),
            ],
        );
        Ok((board, place))
    }

    /// Makes a change, and shows it.
    ///
    /// Both by one lock: a page has a change either in what it begins with or in its stream, and
    /// never in both.
    async fn change(
        &self,
        topic: &Topic,
        change: impl FnOnce(&mut Shown) -> String,
    ) -> Result<(), MemoryLogError> {
        let mut shown = self.shown.lock().await;
        let fragment = change(&mut shown);
        self.hub.publish(topic, Event::new().data(fragment)).await.map(drop)
    }

    pub(crate) async fn say(&self, who: &str, text: &str) -> Result<(), StatusCode> {
        let item = fill(SAID, &[("who", &who), ("text", &text)]);
        let changed = self.change(&ROOM, |shown| {
            shown.said.push_front(item.clone());
            shown.said.truncate(50);
            fill(INTO_ROOM, &[("item", &item)])
        });
        changed.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
    }

    /// Orders come, and are served a while later; now and then a guest is called.
    pub(crate) async fn open(self) -> Result<(), MemoryLogError> {
        for n in 1.. {
            let (coffee, guest) = (MENU[n % MENU.len()], GUESTS[n % GUESTS.len()]);
            self.change(&ORDERS, |shown| shown.order(n, coffee, guest)).await?;
            sleep(2 * SECOND).await;
            if n > 3 {
                self.change(&ORDERS, Shown::serve).await?;
            }
            if n % 4 == 0 {
                let note = Event::new().event(NOTE).data(format!("{coffee} for {guest} is ready"));
                self.hub.publish(&ORDERS, note).await?;
            }
            sleep(SECOND).await;
        }
        Ok(())
    }
}

impl Shown {
    /// One message for three places: the new item, the one that goes, and the figures.
    fn order(&mut self, number: usize, coffee: &str, guest: &str) -> String {
        let values: [(&str, &dyn Display); 3] =
            [("number", &number), ("coffee", &coffee), ("guest", &guest)];
        let item = fill(ORDER, &values);
        let mut fragment = fill(INTO_ORDERS, &[("item", &item)]);
        self.ordered += 1;
        self.orders.push_front(Order { number, item });
        if self.orders.len() > 6 {
            if let Some(Order { number, .. }) = self.orders.pop_back() {
                fragment += &fill(OUT_OF_ORDERS, &[("number", &number)]);
            }
        }
        fragment + &self.figures()
    }

    fn serve(&mut self) -> String {
        self.served += 1;
        self.figures()
    }

    fn figures(&self) -> String {
        self.waiting(OUT_OF_BAND) + &self.served(OUT_OF_BAND)
    }

    fn waiting(&self, place: &str) -> String {
        let waiting = self.ordered - self.served;
        fill(FIGURE, &[("name", &"waiting"), ("figure", &waiting), ("place", &place)])
    }

    fn served(&self, place: &str) -> String {
        fill(FIGURE, &[("name", &"served"), ("figure", &self.served), ("place", &place)])
    }
}

/// The field in which guests write.
pub(crate) fn field(place: &str) -> String {
    fill(FIELD, &[("place", &place)])
}

fn topics() -> Topics {
    Topics::from_static(&["bar.orders", "bar.room"])
}

static ORDERS: Topic = Topic::from_static("bar.orders");
static ROOM: Topic = Topic::from_static("bar.room");
const NOTE: EventName = EventName::from_static("note");

/// `hx-swap-oob` says where an element belongs: into the list of this id, at its beginning.
const INTO_ORDERS: &str = r#"<div hx-swap-oob="afterbegin:#orders">{{{item}}}</div>"#;
const ORDER: &str = r#"<li id="order-{{number}}"><b>{{coffee}}</b> for {{guest}}</li>"#;
const OUT_OF_ORDERS: &str = r#"<li id="order-{{number}}" hx-swap-oob="delete"></li>"#;
const INTO_ROOM: &str = r#"<div hx-swap-oob="afterbegin:#said">{{{item}}}</div>"#;
const SAID: &str = "<li><b>{{who}}</b> {{text}}</li>";

const FIGURE: &str = r#"<b id="{{name}}" {{{place}}}>{{figure}}</b>"#;

const FIELD: &str = r#"<input id="text" name="text" placeholder="Say something" aria-label="What you say" maxlength="500" autocomplete="off" required {{{place}}}>"#;

const MENU: [&str; 5] = ["Flat white", "Espresso", "Cortado", "Filter coffee", "Ristretto"];
const GUESTS: [&str; 7] = ["Ada", "Bob", "Cleo", "Dmitri", "Emi", "Femi", "Grace"];
