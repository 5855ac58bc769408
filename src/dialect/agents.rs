//! The dialects of agents: AG-UI and A2A.

use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::{Event, json_string};

impl Dialect {
    /// The dialect of [AG-UI][spec].
    ///
    /// Silence is broken by a comment after 15 seconds, half of the shortest limit that common
    /// proxies have, and what [other servers][copilot] do.
    ///
    /// A stream that the server ends, and one whose body fails, ends with a `RUN_ERROR`, after
    /// which the client (1.0) takes its run for failed. It has neither a `retry` nor an id:
    ///
    /// ```text
    /// data: {"type":"RUN_ERROR","message":"the server shuts down","code":"shutdown"}
    /// ```
    ///
    /// A refused request gets the same object as JSON, with its status, both of which the client
    /// puts into its error.
    ///
    /// The client splits events at `\n\n` and reads no other line ends.
    ///
    /// [spec]: https://docs.ag-ui.com/concepts/events#runerror
    /// [copilot]: https://github.com/CopilotKit/CopilotKit/pull/6984
    #[must_use]
    pub fn ag_ui() -> Self {
        DialectBuilder::named("ag_ui")
            .error(|notice| Farewell::event(Event::new().data(run_error(notice))))
            .refusal(|notice| notice.json_response(run_error(notice)))
            .build()
    }

    /// The dialect of [A2A][spec], in its bindings to JSON-RPC and to HTTP.
    ///
    /// Silence is broken by a comment after 15 seconds, half of the shortest limit that common
    /// proxies have.
    ///
    /// A stream that the server ends, and one whose body fails, ends with an error of JSON-RPC. It
    /// has neither a `retry` nor an id of an event:
    ///
    /// ```text
    /// event: error
    /// data: {"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"the server shuts down"}}
    /// ```
    ///
    /// The SDK for Python (1.3) and the HTTP binding of that for TypeScript (1.3) raise its
    /// message. The JSON-RPC binding of the latter does so only if the id is that of the request,
    /// of which the dialect has to be [told](Self::json_rpc_id). A refused request gets the same
    /// object as JSON, with its status and with `Retry-After`.
    ///
    /// A client whose stream has ended can [subscribe to its task again][subscribe].
    ///
    /// [spec]: https://a2a-protocol.org/latest/specification/
    /// [subscribe]: https://a2a-protocol.org/latest/specification/#316-subscribe-to-task
    #[must_use]
    pub fn a2a() -> Self {
        let error = |notice: &Notice| Event::new().named("error").data(notice.json_rpc_error());
        DialectBuilder::named("a2a")
            .error(move |notice| Farewell::event(error(notice)))
            .refusal(|notice| notice.json_response(notice.json_rpc_error()))
            .build()
    }
}

fn run_error(notice: &Notice) -> String {
    let (message, code) = (json_string(&notice.message), notice.reason);
    format!(r#"{{"type":"RUN_ERROR","message":{message},"code":"{code}"}}"#)
}
