//! What a reference writes for TypeScript, as its compiler reads it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::contracts::{reference, values};

/// What a page may not do with the types, each of which the compiler has to refuse.
const WRONG: &[&str] = &[
    r#"const a: Events["paid"]["cents"] = "1";"#,
    r#"const b: Events["unknown"] = null;"#,
    r#"const c: Events["message"] = "lost";"#,
    r#"const d: Events["game move"] = { kind: "stone", x: 1 };"#,
    r#"const e: Events["game move"] = { kind: "chat", text: "a" };"#,
    r#"const f: Events["paid"]["due-date"] = [2026, 11];"#,
    r#"const g: Events["mixed"]["anything"]["a"] = 1;"#,
    r#"function h(data: Events["paid"]) { return data.note.length; }"#,
    r#"function i(move: Events["game move"]) { return move.x; }"#,
];

const RIGHT: &str = r#"
function j(move: Events["game move"]): number {
  return move.kind === "stone" ? move.x + move.y : move.kind === "chat" ? move.parts.length : 0;
}
function k(source: EventTarget, handle: (cents: number) => void) {
  source.addEventListener("paid", (event) => {
    const paid: Events["paid"] = JSON.parse((event as MessageEvent).data);
    handle(paid.cents + (paid.note?.length ?? 0) + (paid.by_number["7"]?.text.length ?? 0));
  });
}
"#;

#[test]
fn the_compiler_takes_what_is_sent_for_the_types_and_refuses_what_is_not() {
    let directory = Directory::new();
    let mut page = "import type { Events } from \"./events.js\";\n".to_owned();
    for (n, (event, data)) in values().into_iter().enumerate() {
        let _ = writeln!(page, "const sent{n}: Events[{event:?}] = {data};");
    }
    page.push_str(RIGHT);
    for wrong in WRONG {
        let _ = write!(page, "// @ts-expect-error\n{wrong}\n");
    }
    directory.write("events.ts", &reference().to_typescript());
    directory.write("page.ts", &page);
    let output = tsc(&directory.0);
    assert!(
        output.is_empty(),
        "{output}\n{}",
        fs::read_to_string(directory.0.join("events.ts")).unwrap()
    );

    // It reads the files: without the comments it refuses each of these lines.
    directory.write("page.ts", &page.replace("// @ts-expect-error\n", ""));
    let output = tsc(&directory.0);
    assert_eq!(output.matches("page.ts(").count(), WRONG.len(), "{output}");
}

/// What the compiler has against the files.
fn tsc(directory: &Path) -> String {
    let tsc = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/npm/node_modules/.bin/tsc");
    let options = ["--strict", "--noUncheckedIndexedAccess", "--noEmit", "--types", ""];
    let options = [&options[..], &["--target", "es2022", "--module", "nodenext"]].concat();
    let mut command = Command::new(tsc);
    let output = command.args(options).arg("page.ts").current_dir(directory).output();
    let output = output.expect("TypeScript is installed: `tests/run` does it");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.is_empty() == output.status.success(), "{text}");
    text
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tower-sse-types-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
