//! Events whose names cannot be wrong.

use serde::Serialize;
use tower_sse::Hub;
use tower_sse::event_log::Start;
use tower_sse::hub::{Contract, ContractError};

use crate::harness::hub;
use crate::harness::hub::{text, topic};

#[derive(Serialize)]
struct Paid {
    cents: u64,
}

impl Contract for Paid {
    const EVENT: &'static str = "paid";
    const CHANNEL: &'static str = "orders.*";
}

#[derive(Serialize)]
struct Note(&'static str);

impl Contract for Note {
    const EVENT: &'static str = "message";
    const CHANNEL: &'static str = "news";
}

#[derive(Serialize)]
struct Broken(#[serde(serialize_with = "fail")] String);

fn fail<S: serde::Serializer>(_: &str, _: S) -> Result<S::Ok, S::Error> {
    Err(serde::ser::Error::custom("as asked"))
}

impl Contract for Broken {
    const EVENT: &'static str = "broken";
    const CHANNEL: &'static str = ">";
}

#[tokio::test]
async fn a_value_is_sent_under_the_name_of_its_contract() {
    let hub = Hub::default();
    let paid = hub.publish_as(&topic("orders.1"), &Paid { cents: 5 }).await.unwrap();
    let note = hub.publish_as(&topic("news"), &Note("hi")).await.unwrap();
    let mut body = hub.subscribe(hub::topics(&[">"])).start(Start::Earliest).into_body();
    let expected =
        format!("event: paid\ndata: {{\"cents\":5}}\nid: {paid}\n\ndata: \"hi\"\nid: {note}\n\n");
    assert_eq!(text(&mut body), expected);
}

#[tokio::test]
async fn what_is_not_of_the_contract_is_refused() {
    let hub = Hub::default();
    for wrong in ["orders", "orders.1.lines", "news"] {
        let refused = hub.publish_as(&topic(wrong), &Paid { cents: 5 }).await;
        assert!(matches!(refused, Err(ContractError::OutsideChannel)), "{wrong}");
    }
    let refused = hub.publish_as(&topic("a"), &Broken(String::new())).await;
    assert!(matches!(refused, Err(ContractError::Json(_))));
    assert_eq!(hub.log().topics(), 0);
}
