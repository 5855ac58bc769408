//! The dialects of agents: AG-UI and A2A.

use super::json::string;
use super::mcp::error;
use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::Event;

impl Dialect {
    /// The dialect of AG-UI.
    #[must_use]
    pub fn ag_ui() -> Self {
        DialectBuilder::named("ag_ui")
            .error(|notice| Farewell::event(Event::new().data(run_error(notice))))
            .refusal(|notice| notice.json_response(run_error(notice)))
            .build()
    }

    /// The dialect of A2A.
    #[must_use]
    pub fn a2a() -> Self {
        DialectBuilder::named("a2a")
            .error(|notice| Farewell::event(Event::new().named("error").data(error(notice))))
            .refusal(|notice| notice.json_response(error(notice)))
            .build()
    }
}

fn run_error(notice: &Notice) -> String {
    let (message, code) = (string(&notice.message), notice.reason);
    format!(r#"{{"type":"RUN_ERROR","message":{message},"code":"{code}"}}"#)
}
