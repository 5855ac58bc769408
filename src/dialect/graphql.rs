//! The dialect of GraphQL over SSE.

use std::time::Duration;

use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::{CloseReason, Event, json_string};

impl Dialect {
    /// The dialect of [GraphQL over SSE][spec], in its distinct connections mode.
    ///
    /// Silence is broken by a comment after 12 seconds, which is what the reference server does.
    ///
    /// A stream that the server ends, and one whose body fails, ends with a result that has errors,
    /// and is complete then. The events have neither a `retry` nor an id:
    ///
    /// ```text
    /// event: next
    /// data: {"errors":[{"message":"the server shuts down","extensions":{"code":"SHUTDOWN"}}]}
    ///
    /// event: complete
    /// data:
    /// ```
    ///
    /// The client `graphql-sse` (2.6) does not come back after that, so that no mutation runs
    /// twice. It comes back by itself from a stream that just ends: for subscriptions set a
    /// farewell of [`none`](Farewell::none) with
    /// [`ShutdownLayer::farewell`](crate::ShutdownLayer::farewell).
    ///
    /// A refused request gets a result with the same errors as JSON, with its status. The client
    /// takes any status but 2xx for an error of the network, and asks again up to five times.
    ///
    /// [spec]: https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
    #[must_use]
    pub fn graphql_sse() -> Self {
        DialectBuilder::named("graphql_sse")
            .interval(Duration::from_secs(12))
            .farewell(|notice| {
                let complete = Event::new().named("complete").static_data("");
                let errors = Event::new().named("next").data(errors(notice));
                match notice.reason {
                    CloseReason::Finished => Farewell::event(complete).bare(),
                    _ => Farewell::events([errors, complete]).bare(),
                }
            })
            .refusal(|notice| notice.json_response(errors(notice)))
            .build()
    }
}

/// An [execution result](https://spec.graphql.org/October2021/#sec-Errors) without data.
fn errors(notice: &Notice) -> String {
    let message = json_string(&notice.message);
    let code = notice.reason.as_str().to_ascii_uppercase();
    format!(r#"{{"errors":[{{"message":{message},"extensions":{{"code":"{code}"}}}}]}}"#)
}
