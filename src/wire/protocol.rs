//! The protocols of calls whose messages have their length before them.

/// How the answer of a call is written: the flags of its messages, and where its status is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// [gRPC](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): the status is in the
    /// trailers.
    Grpc,
    /// [gRPC-Web](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md): "Response status
    /// encoded as part of the response body". "Trailers must be the last message of the response".
    GrpcWeb,
    /// The same in base64, with padding wherever the server flushed.
    GrpcWebText,
    /// Streams of [Connect](https://connectrpc.com/docs/protocol/#streaming-rpcs), whose last
    /// message is an `EndStreamResponse`.
    Connect,
}

impl Protocol {
    /// The protocol of a body with this media type, without its parameters.
    pub(super) fn of(essence: &[u8]) -> Option<Self> {
        // Each answer is asked, and few are of calls.
        if !matches!(essence.get("application/".len())?, b'g' | b'G' | b'c' | b'C') {
            return None;
        }
        let (name, format) = match essence.iter().position(|&byte| byte == b'+') {
            Some(at) => (&essence[..at], &essence[at + 1..]),
            None => (essence, &b""[..]),
        };
        let (_, protocol) = NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
        // Unary calls of Connect have the content type of their message.
        (*protocol != Self::Connect || !format.is_empty()).then_some(*protocol)
    }

    /// Whether the answers of unary calls have the same content type as streams.
    pub(crate) fn has_unary_calls(self) -> bool {
        self != Self::Connect
    }

    /// The flag of the message that is the last one and holds the status. Zero if there is none.
    ///
    /// gRPC-Web: "10000000b: an uncompressed trailer (as part of the body)". Connect: "If the next
    /// least significant bit is 1, the Message is an `EndStreamResponse`".
    pub(super) fn flag_of_last(self) -> u8 {
        match self {
            Self::Grpc => 0,
            Self::GrpcWeb | Self::GrpcWebText => 0x80,
            Self::Connect => 0x02,
        }
    }
}

#[rustfmt::skip]
const NAMES: &[(&[u8], Protocol)] = &[
    (b"application/grpc",                 Protocol::Grpc),
    (b"application/grpc-web",             Protocol::GrpcWeb),
    (b"application/grpc-web-text",        Protocol::GrpcWebText),
    (b"application/grpc-web-text-base64", Protocol::GrpcWebText),
    (b"application/connect",              Protocol::Connect),
];

/// The flag of a compressed message, in all protocols.
pub(super) const COMPRESSED: u8 = 1;
