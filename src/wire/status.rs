//! The status with which a call ends, in each protocol.

use std::time::Duration;

use bytes::Bytes;

use super::event::millis;
use super::percent::percent_encode;
use super::{CloseReason, Protocol, base64, json_string};

/// The status of a call that the server ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) message: &'static str,
    /// How long the client is to wait before it calls again.
    pub(crate) pushback: Option<Duration>,
}

/// The [codes](https://grpc.io/docs/guides/status-codes/) that are given here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    ResourceExhausted = 8,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Status {
    /// The status of a stream that ends for this reason.
    pub(crate) fn of(reason: CloseReason) -> Self {
        let code = match reason {
            CloseReason::Shutdown
            | CloseReason::Kicked
            | CloseReason::Rotated
            | CloseReason::Idle
            | CloseReason::Draining
            | CloseReason::Timeout
            | CloseReason::Stopped => Code::Unavailable,
            CloseReason::Replaced | CloseReason::Limit => Code::ResourceExhausted,
            CloseReason::Expired => Code::Unauthenticated,
            CloseReason::Error | CloseReason::Finished => Code::Internal,
        };
        let message = reason.message();
        Self { code, message, pushback: None }
    }

    /// The names and values of the trailers.
    pub(crate) fn trailers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let pushback =
            self.pushback.map(|delay| ("grpc-retry-pushback-ms", millis(delay).to_string()));
        let code = ("grpc-status", (self.code as u8).to_string());
        [code, ("grpc-message", percent_encoded(self.message))].into_iter().chain(pushback)
    }

    /// The message that holds the status and is the last of its body. None where the status is in
    /// the trailers.
    pub(crate) fn last_message(&self, protocol: Protocol) -> Option<Bytes> {
        let flag = protocol.flag_of_last();
        match protocol {
            Protocol::Grpc => None,
            Protocol::GrpcWeb => Some(message(flag, &self.header_block()).into()),
            Protocol::GrpcWebText => {
                Some(base64::encode(&message(flag, &self.header_block())).into())
            }
            Protocol::Connect => Some(message(flag, &self.end_of_stream()).into()),
        }
    }

    /// "Key-value pairs encoded as a HTTP/1 headers block (without the terminating newline)".
    fn header_block(&self) -> String {
        let line = |(name, value): (&str, String)| format!("{name}:{value}\r\n");
        self.trailers().map(line).collect()
    }

    /// The [`EndStreamResponse`](https://connectrpc.com/docs/protocol/#error-end-stream).
    fn end_of_stream(&self) -> String {
        let (code, message) = (self.code.as_str(), json_string(self.message));
        format!(r#"{{"error":{{"code":"{code}","message":{message}}}}}"#)
    }
}

impl Code {
    /// Its [name](https://connectrpc.com/docs/protocol/#error-codes) in Connect.
    fn as_str(self) -> &'static str {
        match self {
            Self::ResourceExhausted => "resource_exhausted",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

/// A message with its prefix.
fn message(flag: u8, text: &str) -> Vec<u8> {
    let mut message = vec![flag];
    // No status is longer.
    message.extend(u32::try_from(text.len()).unwrap_or_default().to_be_bytes());
    message.extend(text.as_bytes());
    message
}

/// `Percent-Encoded → 1*(Percent-Byte-Unencoded / Percent-Byte-Encoded)`, where all but the visible
/// characters of ASCII, the space and `%` itself are encoded.
fn percent_encoded(text: &str) -> String {
    percent_encode(text, |byte| matches!(byte, b' '..=b'~') && byte != b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: Status = Status {
        code: Code::Unavailable,
        message: r#"100% "gone""#,
        pushback: Some(Duration::from_secs(2)),
    };

    #[test]
    fn a_status_is_the_last_message_where_it_is_not_in_the_trailers() {
        let block =
            "grpc-status:14\r\ngrpc-message:100%25 \"gone\"\r\ngrpc-retry-pushback-ms:2000\r\n";
        let web = [b"\x80\0\0\0\x49", block.as_bytes()].concat();
        let json = r#"{"error":{"code":"unavailable","message":"100% \"gone\""}}"#;
        let connect = [b"\x02\0\0\0\x3a", json.as_bytes()].concat();
        let text = {
            use ::base64::prelude::{BASE64_STANDARD, Engine as _};
            BASE64_STANDARD.encode(&web).into_bytes()
        };
        for (protocol, expected) in [
            (Protocol::Grpc, None),
            (Protocol::GrpcWeb, Some(web)),
            (Protocol::GrpcWebText, Some(text)),
            (Protocol::Connect, Some(connect)),
        ] {
            let last = STATUS.last_message(protocol).map(|it| it.to_vec());
            assert_eq!(last, expected, "{protocol:?}");
        }
    }

    #[test]
    fn a_message_is_percent_encoded() {
        for (text, encoded) in
            [("a b~!", "a b~!"), ("100%", "100%25"), ("\u{e9}\r\n", "%C3%A9%0D%0A"), ("", "")]
        {
            assert_eq!(percent_encoded(text), encoded);
        }
    }
}
