//! Sends a message once, and tells apart what the server refused, what could not be sent, and what
//! nobody knows of.

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;

use super::error::is_refusal;

/// Why a message that was to be sent has no acknowledgement.
#[derive(Debug)]
pub(super) enum Unacknowledged {
    /// It was not sent, and no other will be: the task of the connection has ended.
    Closed,
    /// The server refused it.
    Refused(PublishError),
    /// It may have been taken, or later it may be: there was no answer, or there is no stream for
    /// it yet.
    Unanswered,
}

/// Sends a message, and waits for its acknowledgement. `sent` becomes true when it may have left.
pub(super) async fn send(
    jetstream: &Context,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    sent: &mut bool,
) -> Result<PublishAck, Unacknowledged> {
    let publish = jetstream.publish_with_headers(subject, headers, payload);
    let ack = publish.await.map_err(|error| match error.kind() {
        // The client library has one channel to its task, and gives no other error here.
        PublishErrorKind::Other => Unacknowledged::Closed,
        _ => Unacknowledged::Unanswered,
    })?;
    // The client library sends what it was given later if the connection is gone by now.
    *sent = true;
    ack.await.map_err(|error| match is_refusal(&error) {
        true => Unacknowledged::Refused(error),
        false => Unacknowledged::Unanswered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the runtime of a log the task of its connection ends, before or after the log knows.
    #[tokio::test]
    async fn a_message_for_a_connection_that_has_ended_was_not_sent_and_no_server_refused_it() {
        let (client, given) = std::sync::mpsc::channel();
        let connect = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
                client.send(options.connect("nats://127.0.0.1:1").await.unwrap()).unwrap();
            });
        };
        std::thread::spawn(connect).join().unwrap();
        let jetstream = async_nats::jetstream::new(given.recv().unwrap());
        let mut sent = false;
        let (subject, headers) = ("t".to_owned(), HeaderMap::new());
        let failure = send(&jetstream, subject, headers, Bytes::new(), &mut sent).await;
        assert!(matches!(failure, Err(Unacknowledged::Closed)) && !sent, "{failure:?}");
    }
}
