//! The manual: what the layers are for, task by task.
//!
//! The documentation of a type says what the type does. These chapters say what to do: which layers
//! a streaming endpoint needs, what a page or another client has to write, what to set in
//! Kubernetes and in a proxy, and where to look when something does not work.
//!
//! | chapter | what it answers |
//! | --- | --- |
//! | [`start`] | how to put the layers around a first endpoint |
//! | [`shutdown`] | graceful shutdown, deploys and Kubernetes |
//! | [`browsers`] | `EventSource`, htmx, Alpine, six connections, reconnecting |
//! | [`clients`] | which clients are tried, how each comes back, and what stops it |
//! | [`broadcast`] | one event to many clients |
//! | [`resume`] | clients that come back: `Last-Event-ID`, answers that outlive their tab |
//! | [`nodes`] | several servers: which log to choose |
//! | [`llm`] | gateways in front of language models |
//! | [`mcp`] | MCP servers over streamable HTTP |
//! | [`grpc`] | gRPC with tonic, gRPC-Web, Connect, NDJSON, JSON text sequences |
//! | [`limits`] | connection limits and rate limits, by user or by address; rotation |
//! | [`proxies`] | nginx, Envoy, Cloudflare and others: buffering and timeouts |
//! | [`hyper`] | servers without axum |
//! | [`watching`] | metrics, traces, dashboards and alerts |
//! | [`costs`] | time, memory, and what scales |
//! | [`limitations`] | what the crate does not do |
//! | [`troubleshooting`] | from a symptom to its cause |
//! | [`wire`] | every byte that the crate itself writes |
//! | [`testing`] | tests of your own streams |
//! | [`migrating`] | coming from axum's `Sse`, rmcp, sse-starlette, better-sse, Mercure |

macro_rules! chapters {
    ($($name:ident,)*) => {
        $(
            #[doc = include_str!(concat!(stringify!($name), ".md"))]
            pub mod $name {}
        )*
    };
}

#[doc = include_str!("watching.md")]
#[doc = include_str!("dashboard.json")]
#[doc = "```"]
pub mod watching {}

chapters! {
    start,
    shutdown,
    browsers,
    clients,
    broadcast,
    resume,
    nodes,
    llm,
    mcp,
    grpc,
    limits,
    proxies,
    hyper,
    costs,
    limitations,
    troubleshooting,
    wire,
    testing,
    migrating,
}
