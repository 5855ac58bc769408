//! A log signs in to NATS in every way that servers ask for, and says why it cannot connect.

use std::path::Path;
use std::process::Command;

use async_nats::jetstream;
use futures_util::StreamExt;
use tower_sse::event_log::{EventLog, NatsLog, NatsLogBuilder, Start};

use crate::harness::nats::{LONG, Nats, append, configured, said, settings, topics};

fn password(port: u16, directory: &Path) -> Command {
    let users = "authorization { user: \"ann\", password: \"p@ss+word\" }";
    configured(port, directory, users)
}

fn token(port: u16, directory: &Path) -> Command {
    configured(port, directory, "authorization { token: \"s3cr3t/\" }")
}

fn nkey(port: u16, directory: &Path) -> Command {
    let key = "UD2QCKPWRJGMN5FMNRM446ZIMFWZNWS2QJQEPZBSOLQLGVBKZYU2V4GX";
    configured(port, directory, &format!("authorization {{ users: [ {{ nkey: {key} }} ] }}"))
}

fn accounts(port: u16, directory: &Path) -> Command {
    configured(port, directory, include_str!("harness/nats_login/accounts.conf"))
}

/// That a log with this login takes an event and gives it back, also on a connection of its own.
async fn works(nats: &mut Nats, login: &str, settings: NatsLogBuilder) {
    let log = settings.connect(&nats.url_with(login)).await.unwrap();
    assert!(!format!("{log:?}").contains("s3cr3t") && !format!("{log:?}").contains("p@ss"));
    let mut follower = log.follow(topics(&["t"]), Start::Live);
    append(&log, "t", "before").await;
    assert_eq!(said(&mut follower).await, "before");
    // The client library signs in anew.
    nats.kill();
    nats.restart().await;
    append(&log, "t", "after").await;
    assert_eq!(said(&mut follower).await, "after");
}

#[tokio::test]
async fn a_user_and_a_password_sign_in_by_the_address_and_by_the_builder() {
    let mut nats = Nats::with(password).await;
    works(&mut nats, "ann:p%40ss+word@", settings()).await;
    works(&mut nats, "", settings().user_and_password("ann", "p@ss+word")).await;
}

#[tokio::test]
async fn a_token_signs_in_by_the_address_and_by_the_builder() {
    let mut nats = Nats::with(token).await;
    works(&mut nats, "s3cr3t%2F@", settings()).await;
    // What the builder has wins.
    works(&mut nats, "other@", settings().token("s3cr3t/")).await;
}

#[tokio::test]
async fn an_nkey_signs_in() {
    let mut nats = Nats::with(nkey).await;
    let seed = "SUAHZQGG5JS7FJZTGCAVMJYX7JMGNVGEEEZQHILDTIEBKUMDBZL4TUQULY";
    works(&mut nats, "", settings().nkey(seed)).await;
}

#[tokio::test]
async fn a_credentials_file_signs_in() {
    let mut nats = Nats::with(accounts).await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/harness/nats_login/user.creds");
    works(&mut nats, "", settings().credentials_file(file)).await;
}

#[tokio::test]
async fn an_error_of_connecting_has_a_word_of_its_reason_and_no_password() {
    let guarded = Nats::with(password).await;
    let plain = Nats::with(|port, directory| {
        let mut without = Command::new("nats-server");
        without.args(["-a", "127.0.0.1", "-p", &port.to_string()]).current_dir(directory);
        without
    })
    .await;
    let nowhere = "nats://ann:wrong@127.0.0.1:1".to_owned();
    for (servers, settings, word) in [
        (guarded.url_with("ann:wrong@"), settings(), "login"),
        (guarded.url(), settings(), "login"),
        (guarded.url(), settings().credentials_file("/nowhere/at/all"), "`credentials_file`"),
        (plain.url(), settings(), "JetStream"),
        (nowhere, settings(), "no server can be reached"),
        ("http://ann:wrong@host".to_owned(), settings(), "`servers`"),
        ("nats://ann:wrong@a,nats://bob:wrong@b".to_owned(), settings(), "`servers`"),
    ] {
        let error = settings.connect(&servers).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        let all = format!("{error:?} {error}");
        assert!(!all.contains("wrong"), "{all}");
    }
}

/// It would wait for ever, without a word.
#[tokio::test]
async fn a_log_that_cannot_read_says_since_when_and_why() {
    let nats = Nats::start().await;
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let config = jetstream::stream::Config {
        name: "sse".to_owned(),
        subjects: vec!["sse.>".to_owned()],
        max_consumers: 1,
        ..Default::default()
    };
    context.create_stream(config).await.unwrap();
    let first = nats.log().await;
    append(&first, "t", "1").await;
    let reads = |log: NatsLog, reads: bool| async move {
        while log.health().is_reading != reads || log.health().problem.is_some() == reads {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        log.health()
    };
    let mut follower = first.follow(topics(&["t"]), Start::Live);
    append(&first, "t", "2").await;
    assert_eq!(said(&mut follower).await, "2");
    let second = nats.log().await;
    let ill = tokio::time::timeout(LONG, reads(second.clone(), false)).await.unwrap();
    assert!(ill.problem.as_ref().unwrap().contains("consumers"), "{ill:?}");
    assert!(second.is_connected() && first.health().is_reading);
    // The reader of the first one goes with its last handle, after half a minute by itself.
    drop((first, follower));
    let stream = nats.stream().await;
    let consumers: Vec<String> = stream.consumer_names().map(Result::unwrap).collect().await;
    for name in consumers {
        stream.delete_consumer(&name).await.unwrap();
    }
    let well = tokio::time::timeout(LONG, reads(second.clone(), true)).await.unwrap();
    assert!(well.since >= ill.since, "{well:?}");
}

/// Of such a stream nobody would know whether it has an event, or it would have copies.
#[tokio::test]
async fn a_stream_that_cannot_say_that_an_event_is_there_once_is_refused() {
    let nats = Nats::start().await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = jetstream::new(client);
    for (name, no_ack, window, word) in
        [("silent", true, 120, "no_ack"), ("short", false, 1, "duplicate_window")]
    {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: vec![format!("{name}.>")],
            no_ack,
            duplicate_window: std::time::Duration::from_secs(window),
            ..Default::default()
        };
        context.create_stream(config).await.unwrap();
        let refused = NatsLog::builder().stream(name).prefix(name).connect(&nats.url()).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
}
