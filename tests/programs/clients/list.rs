//! The clients that are tried, as the manual lists them.

use crate::clients::native;
use crate::clients::pages;

/// A client of event streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// As the manual calls it.
    pub(super) name: &'static str,
    pub(super) runs: Runs,
    pub(super) sees: Sees,
    pub(super) comes_back: ComesBack,
    /// What the application writes, so that a close event stops it.
    pub(super) stops: &'static str,
}

/// Where a client runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Runs {
    /// In Chromium and in Firefox: the elements of its page.
    Page(&'static str),
    /// By `event_streams.mjs`: the name that it has there, and its package.
    Node(&'static str),
    /// By `event_streams.py`: the name that it has there, and its package.
    Python(&'static str),
    /// In this process.
    Rust(native::Read),
    /// As a program that a test starts.
    Program(native::Read),
}

/// What of an event a client gives to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sees {
    /// Name, data and id.
    Events,
    /// The data, of events with any name.
    Data,
    /// The data, of events without a name.
    UnnamedData,
}

/// What a client does when its connection breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ComesBack {
    ByItself,
    /// The application asks again, with the last id.
    ByHand,
}

pub(super) const CLIENTS: &[Client] = &[
    Client {
        name: "`EventSource`",
        runs: Runs::Page(pages::EVENT_SOURCE),
        sees: Sees::Events,
        comes_back: ComesBack::ByItself,
        stops: "`source.close()` in a listener of `close`",
    },
    Client {
        name: "the script of this crate, `connect`",
        runs: Runs::Page(pages::CONNECT),
        sees: Sees::Events,
        comes_back: ComesBack::ByItself,
        stops: "nothing",
    },
    Client {
        name: "htmx 2, htmx-ext-sse",
        runs: Runs::Page(pages::HTMX_2),
        sees: Sees::Data,
        comes_back: ComesBack::ByItself,
        stops: "`sse-close=\"close\"`",
    },
    Client {
        name: "htmx 4, hx-sse",
        runs: Runs::Page(pages::HTMX_4),
        sees: Sees::UnnamedData,
        comes_back: ComesBack::ByItself,
        stops: "`hx-sse:close=\"close\"`",
    },
    Client {
        name: "Alpine, `$sse` of the script",
        runs: Runs::Page(pages::ALPINE),
        sees: Sees::Events,
        comes_back: ComesBack::ByItself,
        stops: "nothing",
    },
    Client {
        name: "eventsource",
        runs: Runs::Node("eventsource"),
        sees: Sees::Events,
        comes_back: ComesBack::ByItself,
        stops: "`source.close()` in a listener of `close`",
    },
    Client {
        name: "fetch-event-source",
        runs: Runs::Node("@microsoft/fetch-event-source"),
        sees: Sees::Events,
        comes_back: ComesBack::ByItself,
        stops: "nothing",
    },
    Client {
        name: "httpx-sse",
        runs: Runs::Python("httpx-sse"),
        sees: Sees::Events,
        comes_back: ComesBack::ByHand,
        stops: "nothing",
    },
    Client {
        name: "sseclient-py",
        runs: Runs::Python("sseclient-py"),
        sees: Sees::Events,
        comes_back: ComesBack::ByHand,
        stops: "nothing",
    },
    Client {
        name: "reqwest-eventsource",
        runs: Runs::Rust(native::reqwest_eventsource),
        sees: Sees::Events,
        comes_back: ComesBack::ByItself,
        stops: "`source.close()` at the event `close`",
    },
    Client {
        name: "eventsource-stream",
        runs: Runs::Rust(native::eventsource_stream),
        sees: Sees::Events,
        comes_back: ComesBack::ByHand,
        stops: "nothing",
    },
    Client {
        name: "curl",
        runs: Runs::Program(native::curl),
        sees: Sees::Events,
        comes_back: ComesBack::ByHand,
        stops: "nothing",
    },
];

impl Client {
    /// Where it runs, as the manual says it, with the version.
    pub(super) fn place(&self) -> String {
        match self.runs {
            Runs::Page(_) => "Chromium, Firefox".to_owned(),
            Runs::Node(package) => format!("Node, {}", of_npm(package)),
            Runs::Python(package) => format!("Python, {}", of_pypi(package)),
            Runs::Rust(_) => format!("Rust, {}", of_cargo(self.name)),
            Runs::Program(_) => "a shell".to_owned(),
        }
    }
}

/// The version of a package of Node that is installed.
pub(super) fn of_npm(package: &str) -> &'static str {
    pinned(include_str!("npm.txt"), package, "@")
}

/// The version of a package of Python that is installed.
pub(super) fn of_pypi(package: &str) -> &'static str {
    pinned(include_str!("python.txt"), package, "==")
}

fn pinned(pins: &'static str, package: &str, separator: &str) -> &'static str {
    let mut pins = pins.lines().filter_map(|line| line.rsplit_once(separator));
    let pin = pins.find(|(name, _)| *name == package);
    pin.unwrap_or_else(|| panic!("{package} is not pinned")).1
}

/// The version of a crate that tests are built with.
pub(super) fn of_cargo(package: &str) -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let (_, entry) =
        lock.split_once(&format!("name = \"{package}\"\nversion = \"")).expect(package);
    entry.split_once('"').expect("a version").0
}
