//! The SDKs that the manual lists, each with the test that runs it.

use crate::clients::list::{of_cargo, of_npm, of_pypi};

/// A client that reads the streams of one API.
struct Sdk {
    /// As the manual calls it.
    name: &'static str,
    runs: Runs,
    /// What its application sees in a drain.
    in_a_drain: &'static str,
    test: &'static Test,
}

/// Where an SDK runs, and its package there.
enum Runs {
    Node(&'static str),
    Python(&'static str),
    Rust(&'static str),
}

/// A test that runs SDKs: its source, its name, and what it expects in a drain.
struct Test {
    source: &'static str,
    name: &'static str,
    expects: &'static [&'static str],
}

const GATEWAY: Test = Test {
    source: include_str!("../examples/llm_gateway.rs"),
    name: "a_drain_is_the_server_error_of_the_sdk",
    expects: &["(\"python\", \"messages\") => \"APIStatusError\"", "_ => \"APIError\""],
};

const MCP: Test = Test {
    source: include_str!("../examples/mcp.rs"),
    name: "ctrl_c_ends_streams_that_listen_at_once_and_lets_calls_answer",
    expects: &["&format!(\"result written in {SECONDS} s\")"],
};

const DIALECTS: Test = Test {
    source: include_str!("../dialect_clients.rs"),
    name: "each_client_understands_what_is_said_in_its_dialect",
    expects: &[
        "\"drained\": raised(\"the server shuts down\")",
        "\"drained\": told(\"shutdown: the server shuts down\")",
        "\"drained\": told(\"SHUTDOWN: the server shuts down\")",
    ],
};

const GRPCIO: Test = Test {
    source: include_str!("../calls.rs"),
    name: "grpcio_sees_whole_messages_and_unavailable_on_ctrl_c",
    expects: &["reader.end(10, \"UNAVAILABLE\")"],
};

const CONNECT: Test = Test {
    source: include_str!("../calls.rs"),
    name: "a_client_of_connect_sees_whole_messages_and_unavailable_and_is_refused_so",
    expects: &["reader.end(1, \"Unavailable\")"],
};

const TONIC: Test = Test {
    source: include_str!("../../it/tonic_server.rs"),
    name: "a_server_of_tonic_ends_in_time_and_every_client_sees_whole_messages_and_unavailable",
    expects: &["Code::Unavailable"],
};

const SDKS: &[Sdk] = &[
    Sdk {
        name: "OpenAI",
        runs: Runs::Node("openai"),
        in_a_drain: "raises `APIError`",
        test: &GATEWAY,
    },
    Sdk {
        name: "OpenAI",
        runs: Runs::Python("openai"),
        in_a_drain: "raises `APIError`",
        test: &GATEWAY,
    },
    Sdk {
        name: "Anthropic",
        runs: Runs::Node("@anthropic-ai/sdk"),
        in_a_drain: "raises `APIError`",
        test: &GATEWAY,
    },
    Sdk {
        name: "Anthropic",
        runs: Runs::Python("anthropic"),
        in_a_drain: "raises `APIStatusError`",
        test: &GATEWAY,
    },
    Sdk {
        name: "MCP",
        runs: Runs::Node("@modelcontextprotocol/sdk"),
        in_a_drain: "gets the result of its call",
        test: &MCP,
    },
    Sdk {
        name: "MCP",
        runs: Runs::Python("mcp"),
        in_a_drain: "gets the result of its call",
        test: &MCP,
    },
    Sdk {
        name: "MCP, rmcp",
        runs: Runs::Rust("rmcp"),
        in_a_drain: "gets the result of its call",
        test: &MCP,
    },
    Sdk { name: "AI SDK", runs: Runs::Node("ai"), in_a_drain: "raises an error", test: &DIALECTS },
    Sdk {
        name: "AG-UI",
        runs: Runs::Node("@ag-ui/client"),
        in_a_drain: "gets an error of the run",
        test: &DIALECTS,
    },
    Sdk {
        name: "A2A",
        runs: Runs::Node("@a2a-js/sdk"),
        in_a_drain: "raises an error",
        test: &DIALECTS,
    },
    Sdk {
        name: "graphql-sse",
        runs: Runs::Node("graphql-sse"),
        in_a_drain: "gets errors as a result",
        test: &DIALECTS,
    },
    Sdk {
        name: "gRPC, grpcio",
        runs: Runs::Python("grpcio"),
        in_a_drain: "raises `UNAVAILABLE`",
        test: &GRPCIO,
    },
    Sdk {
        name: "gRPC, tonic",
        runs: Runs::Rust("tonic"),
        in_a_drain: "returns `Code::Unavailable`",
        test: &TONIC,
    },
    Sdk {
        name: "gRPC-Web and Connect",
        runs: Runs::Node("@connectrpc/connect"),
        in_a_drain: "raises `Code.Unavailable`",
        test: &CONNECT,
    },
];

#[test]
fn each_sdk_of_the_list_has_a_test() {
    for Sdk { name, test, .. } in SDKS {
        let function = format!("async fn {}()", test.name);
        assert!(test.source.contains(&function), "{name}: {}", test.name);
        for expected in test.expects {
            assert!(test.source.contains(expected), "{name}: {expected}");
        }
    }
}

#[test]
fn the_manual_lists_the_sdks_that_are_tried() {
    let row = |Sdk { name, runs, in_a_drain, .. }: &Sdk| {
        let runs = match runs {
            Runs::Node(package) => format!("Node, {}", of_npm(package)),
            Runs::Python(package) => format!("Python, {}", of_pypi(package)),
            Runs::Rust(package) => format!("Rust, {}", of_cargo(package)),
        };
        format!("| {name} | {runs} | {in_a_drain} |\n")
    };
    let table: String = SDKS.iter().map(row).collect();
    let chapter = include_str!("../../../src/manual/clients.md");
    assert!(chapter.contains(&table), "the chapter has to have these rows:\n{table}");
}
