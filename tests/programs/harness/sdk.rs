//! The SDKs of other languages, as `tests/run` installs them.

use std::path::Path;

use tokio::process::Command;

/// A script in `clients`, with the packages of `clients/python.txt`.
pub fn python(script: &str) -> Command {
    let python = of_tools("venv/bin/python");
    let mut command = Command::new(python);
    // A proxy of the machine has no business here.
    command.arg(of_clients(script)).env("NO_PROXY", "127.0.0.1").kill_on_drop(true);
    command
}

/// A script in `clients`, with the packages of `clients/npm.txt`.
pub fn node(script: &str) -> Command {
    let packages = of_tools("npm/node_modules");
    let mut command = Command::new("node");
    command.arg(of_clients(script)).env("NODE_PATH", packages).kill_on_drop(true);
    command
}

fn of_clients(script: &str) -> String {
    format!("{}/clients/{script}", env!("CARGO_MANIFEST_DIR"))
}

fn of_tools(path: &str) -> String {
    let path = format!("{}/.tools/{path}", env!("CARGO_MANIFEST_DIR"));
    assert!(Path::new(&path).exists(), "{path} is missing: tests/run installs it");
    path
}
