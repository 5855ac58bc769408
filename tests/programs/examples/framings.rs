//! Streams of lines of JSON, and of gRPC.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::process::{Example, Transcript, binary, text};

#[tokio::test]
async fn a_watch_in_lines_of_json_has_bookmarks_in_silence_and_a_last_line_on_ctrl_c() {
    let mut example = Example::start("ndjson", &[]).await;
    let mut client = Transcript::of(&[&example.url("/watch")]);
    client.until(|text| text.contains("BOOKMARK")).await;
    example.signal("INT").await;
    let (text, status) = client.end().await;
    assert_eq!((status.code(), example.exit().await.0.code()), (Some(0), Some(0)));

    let lines = text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON"));
    let lines: Vec<Value> = lines.collect();
    assert_eq!(lines[0], json!({ "type": "MODIFIED", "object": { "version": 0 } }));
    assert_eq!(lines.last(), Some(&json!({ "type": "close", "reason": "shutdown" })));
}

#[tokio::test]
async fn a_client_of_grpc_goes_on_at_another_server_with_nothing_lost_and_nothing_twice() {
    let output = Command::new(binary("grpc")).output().await.expect("it runs");
    let said = text(&output);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));

    let of_server = |line: &str| {
        let (number, server) = line.split_once(" of ")?;
        Some((number.parse::<u64>().ok()?, server.to_owned()))
    };
    let numbers: Vec<(u64, String)> = said.lines().filter_map(of_server).collect();
    assert!(numbers.iter().map(|(number, _)| *number).eq(1..=20), "{said}");
    assert_ne!(numbers[0].1, numbers[19].1, "{said}");
    assert!(said.contains("the server shuts down"), "{said}");
}
