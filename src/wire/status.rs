//! The status with which a call of gRPC ends.

use std::fmt::Write;
use std::time::Duration;

use super::CloseReason;
use super::event::millis;

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
            | CloseReason::Timeout => Code::Unavailable,
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
}

/// `Percent-Encoded → 1*(Percent-Byte-Unencoded / Percent-Byte-Encoded)`, where all but the visible
/// characters of ASCII, the space and `%` itself are encoded.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte.into()),
            // Writing into a string does not fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_percent_encoded() {
        for (text, encoded) in
            [("a b~!", "a b~!"), ("100%", "100%25"), ("\u{e9}\r\n", "%C3%A9%0D%0A"), ("", "")]
        {
            assert_eq!(percent_encoded(text), encoded);
        }
    }
}
