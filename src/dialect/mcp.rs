//! The dialects of MCP over streamable HTTP.

use super::json::string;
use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::{CloseReason, Event};

impl Dialect {
    /// The dialect of MCP's revision 2025-11-25.
    #[must_use]
    pub fn mcp_2025_11() -> Self {
        mcp("mcp_2025_11")
            .farewell(|notice| match notice.reason {
                CloseReason::Finished => Farewell::none(),
                _ => Farewell::event(Event::new().data("")),
            })
            .build()
    }

    /// The dialect of MCP's revision 2026-07-28.
    #[must_use]
    pub fn mcp_2026_07() -> Self {
        mcp("mcp_2026_07").error(|notice| Farewell::event(Event::new().data(error(notice)))).build()
    }
}

fn mcp(name: &'static str) -> DialectBuilder {
    DialectBuilder::named(name).refusal(|notice| notice.json_response(error(notice)))
}

/// An error of JSON-RPC for a request whose id is not known.
pub(super) fn error(notice: &Notice) -> String {
    let message = string(&notice.message);
    format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":-32000,"message":{message}}}}}"#)
}
