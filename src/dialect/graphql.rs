//! The dialect of GraphQL over SSE.

use super::json::string;
use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::{CloseReason, Event};

impl Dialect {
    /// The dialect of GraphQL over SSE, in its distinct connections mode.
    #[must_use]
    pub fn graphql_sse() -> Self {
        DialectBuilder::named("graphql_sse")
            .farewell(|notice| {
                let complete = Event::new().named("complete").static_data("{}");
                let next = Event::new().named("next").data(errors(notice));
                match notice.reason {
                    CloseReason::Finished => Farewell::event(complete),
                    _ => Farewell::events([next, complete]),
                }
                .bare()
            })
            .refusal(|notice| notice.json_response(errors(notice)))
            .build()
    }
}

fn errors(notice: &Notice) -> String {
    let (message, code) = (string(&notice.message), notice.reason);
    format!(r#"{{"errors":[{{"message":{message},"extensions":{{"code":"{code}"}}}}]}}"#)
}
