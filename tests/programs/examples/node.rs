//! Two nodes on one broker, each a process of its own.

use crate::harness::process::{Example, Transcript, curl, text};

async fn publish(node: &Example, data: &str) -> String {
    text(&curl(&["-d", data, &node.url("/publish/news")]).await).trim_end().to_owned()
}

fn last_id(text: &str) -> &str {
    text.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an id")
}

#[tokio::test]
async fn a_client_of_a_drained_node_goes_on_at_the_other_by_redis() {
    let server = crate::harness::redis::Server::start().await;
    drained_from_one_to_the_other(&server.url()).await;
}

#[tokio::test]
async fn a_client_of_a_drained_node_goes_on_at_the_other_by_nats() {
    let server = crate::harness::nats::Nats::start().await;
    drained_from_one_to_the_other(&server.url()).await;
}

#[tokio::test]
async fn a_client_of_a_drained_node_goes_on_at_the_other_by_postgres() {
    let server = crate::harness::postgres::Server::start().await;
    drained_from_one_to_the_other(&server.address()).await;
}

async fn drained_from_one_to_the_other(log: &str) {
    let env = [("LOG", log)];
    let (mut a, b) = tokio::join!(Example::start("node", &env), Example::start("node", &env));
    let mut client = Transcript::of(&[&a.url("/events/news")]);
    let mut other = Transcript::of(&[&b.url("/events/news")]);
    client.until(|text| text.contains(":\n")).await;
    other.until(|text| text.contains(":\n")).await;

    let mut ids = vec![publish(&a, "0").await, publish(&b, "1").await];
    client.until(|text| text.contains("data: 1\n")).await;
    // While it is drained the other one publishes.
    a.signal("TERM").await;
    for n in 2..20 {
        ids.push(publish(&b, &n.to_string()).await);
    }
    let (first, status) = client.end().await;
    for n in 20..50 {
        ids.push(publish(&b, &n.to_string()).await);
    }
    assert_eq!(status.code(), Some(0));
    assert!(first.contains("event: reconnect\n"), "{first}");
    assert_eq!(a.exit().await.0.code(), Some(0));

    let header = format!("Last-Event-ID: {}", last_id(&first));
    let mut client = Transcript::of(&["-H", &header, &b.url("/events/news")]);
    client.until(|text| text.contains("data: 49\n")).await;
    let events = |text: &str| -> Vec<(String, String)> {
        let field = |event: &str, name: &str| {
            event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
        };
        let events = text.split_terminator("\n\n").filter(|it| it.contains("data: "));
        let events = events.filter(|it| !it.contains("event: reconnect"));
        events.map(|it| (field(it, "data: "), field(it, "id: "))).collect()
    };
    let expected: Vec<_> = ids.into_iter().enumerate().map(|(n, id)| (n.to_string(), id)).collect();
    let seen = [events(&first), events(&client.text())].concat();
    assert_eq!(seen, expected, "each once, with the id that its publisher was told");
    other.until(|text| text.contains("data: 49\n")).await;
    assert_eq!(events(&other.text()), expected);
}

#[tokio::test]
async fn a_node_by_itself_remembers_too() {
    let node = Example::start("node", &[("LOG", "memory")]).await;
    let first = publish(&node, "0").await;
    publish(&node, "1").await;
    let query = format!("/events/news?last_event_id={first}");
    let mut client = Transcript::of(&[&node.url(&query)]);
    client.until(|text| text.contains("data: 1\n")).await;
    assert!(!client.text().contains("data: 0\n"));
    assert_eq!(node.post("/publish/a..b").await, "404");
}
