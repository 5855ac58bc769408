//! The dialects of MCP over streamable HTTP.

use super::{Dialect, DialectBuilder};
use crate::engine::Farewell;
use crate::wire::{CloseReason, Event};

impl Dialect {
    /// The dialect of [MCP's revision 2025-11-25][spec], over streamable HTTP.
    ///
    /// Silence is broken by a comment after 15 seconds, half of the shortest limit that common
    /// proxies have.
    ///
    /// In this revision the end of a connection is not the end of a stream: a client that has got
    /// an event with an id comes back with a GET and its `Last-Event-ID`, and goes on waiting for
    /// the response to its POST. So a stream that the server ends before the response, in a drain
    /// for instance, ends with the `retry` that the revision asks for. The event has no data, which
    /// clients skip, and its id is the client's position:
    ///
    /// ```text
    /// retry: 700
    /// data:
    /// id: 41
    /// ```
    ///
    /// A response that can be had nowhere else should not be ended so: see
    /// [`ShutdownLayer::finish_within`](crate::ShutdownLayer::finish_within). A stream whose body
    /// fails ends with an error of JSON-RPC, with `retry` and position, too:
    ///
    /// ```text
    /// data: {"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"the stream failed"}}
    /// ```
    ///
    /// Its id is that of the request if the dialect is [told it](Self::json_rpc_id), and the call
    /// fails with its message. Else it is null. The SDK for Python (2.3) takes that for the
    /// response, too. That for TypeScript (1.32) reports it, and comes back if it has got an id. A
    /// refused request, a GET as well, gets such an error as JSON, with its status and with
    /// `Retry-After`.
    ///
    /// [spec]: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
    #[must_use]
    pub fn mcp_2025_11() -> Self {
        mcp("mcp_2025_11")
            .farewell(|notice| match notice.reason {
                CloseReason::Finished => Farewell::none(),
                CloseReason::Error | CloseReason::Timeout | CloseReason::Stopped => {
                    Farewell::event(Event::new().data(notice.json_rpc_error()))
                }
                _ => Farewell::event(Event::new().static_data("")),
            })
            .build()
    }

    /// The dialect of [MCP's revision 2026-07-28][spec], over streamable HTTP.
    ///
    /// Silence is broken by a comment after 15 seconds, half of the shortest limit that common
    /// proxies have. The revision asks for comments.
    ///
    /// In this revision the end of a connection is the end of its request: there are no ids, and
    /// nothing can be resumed. So a stream that the server ends, and one whose body fails, ends
    /// with an error of JSON-RPC, without `retry`:
    ///
    /// ```text
    /// data: {"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"the server shuts down"}}
    /// ```
    ///
    /// Its id is that of the request if the dialect is [told it](Self::json_rpc_id), and the call
    /// fails with its message. Else it is null. The SDK for Python (2.3) takes that for the
    /// response, too. That for TypeScript (client 2.4) reports it, and fails the request when the
    /// stream has ended. The application can do better, with the result of the request as its last
    /// event: see [`ShutdownLayer::finish_within`](crate::ShutdownLayer::finish_within). A refused
    /// request gets such an error as JSON, with its status and with `Retry-After`.
    ///
    /// [spec]: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http
    #[must_use]
    pub fn mcp_2026_07() -> Self {
        mcp("mcp_2026_07")
            .error(|notice| Farewell::event(Event::new().data(notice.json_rpc_error())))
            .build()
    }
}

fn mcp(name: &'static str) -> DialectBuilder {
    DialectBuilder::named(name).refusal(|notice| notice.json_response(notice.json_rpc_error()))
}
