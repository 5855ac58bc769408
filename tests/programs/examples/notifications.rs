//! The notifications, as two users meet them.

use crate::harness::process::{Example, Transcript, curl, text};

async fn notify(example: &Example, to: &str, what: &str) -> String {
    text(&curl(&["-d", what, &example.url(&format!("/notify{to}"))]).await).trim_end().to_owned()
}

#[tokio::test]
async fn each_user_gets_what_is_for_all_and_for_them_and_what_was_missed() {
    let mut example = Example::start("notifications", &[]).await;
    let stream = |user: &str, id: &str| {
        let url = example.url(&format!("/events?user={user}"));
        let header = format!("Last-Event-ID: {id}");
        Transcript::of(&["-H", &header, &url])
    };
    let (mut ada, mut bob) = (stream("ada", ""), stream("bob", ""));
    for client in [&mut ada, &mut bob] {
        client.until(|text| text.starts_with(":\n")).await;
    }
    let first = notify(&example, "/ada", "one").await;
    notify(&example, "", "two").await;
    ada.until(|text| text.contains("\"two\"")).await;
    bob.until(|text| text.contains("\"two\"")).await;
    let own = format!("event: notification\ndata: {{\"text\":\"one\"}}\nid: {first}\n\n");
    assert!(ada.text().contains(&own), "{}", ada.text());
    assert!(!bob.text().contains("\"one\""));

    // It is gone for a while, and comes back with the id that it had.
    drop(ada);
    notify(&example, "/ada", "three").await;
    let mut ada = stream("ada", &first);
    ada.until(|text| text.contains("\"three\"")).await;
    let said = ada.text();
    assert!(said.find("\"two\"") < said.find("\"three\"") && !said.contains("\"one\""), "{said}");

    let page = example.get("/?user=ada").await;
    assert!(page.contains("lastEventId: \"") && !page.contains("{place}"));
    assert!(example.get("/reference").await.contains("| `users.*` | `notification` |"));
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    for user in ["a%20b", "a.b", "%3E", "*"] {
        let url = example.url(&format!("/events?user={user}"));
        let wrong = curl(&[&status[..], &[&url]].concat()).await;
        assert_eq!(text(&wrong), "400", "{user}");
    }

    example.signal("TERM").await;
    for client in [ada, bob] {
        let (text, status) = client.end().await;
        assert!(text.contains("event: reconnect\nretry: "), "{text}");
        assert_eq!(status.code(), Some(0));
    }
    assert_eq!(example.exit().await.0.code(), Some(0));
}
