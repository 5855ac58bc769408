//! What the crate exports: everything has one path.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The public names that a file exports, re-exports too.
fn exported(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let mut names = Vec::new();
    for item in text.split("\npub ").skip(1) {
        let (kind, rest) = item.split_once([' ', '\n']).unwrap();
        match kind {
            "use" => {
                let (path, _) = rest.split_once(';').unwrap();
                let list = path.rsplit("::").next().unwrap();
                let list = path.split_once('{').map_or(list, |(_, list)| list);
                let words = list.split(|it: char| !it.is_alphanumeric() && it != '_');
                names.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
            }
            "struct" | "enum" | "trait" | "fn" | "const" | "type" => {
                let name = rest.split(|it: char| !it.is_alphanumeric() && it != '_').next();
                names.extend(name.map(str::to_owned));
            }
            _ => {}
        }
    }
    names
}

#[test]
fn no_name_is_exported_twice() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(root.join("lib.rs")).unwrap();
    let modules = lib.split("\npub mod ").skip(1).map(|rest| rest.split_once(';').unwrap().0);
    let files = modules.map(|module| (module, root.join(module).join("mod.rs")));
    let mut paths = HashMap::new();
    for (module, file) in files.chain([("the root", root.join("lib.rs"))]) {
        for name in exported(&file) {
            if let Some(other) = paths.insert(name.clone(), module) {
                panic!("`{name}` is exported by {module} and by {other}");
            }
        }
    }
    for (name, module) in [("Event", "the root"), ("Decoder", "wire"), ("Hub", "the root")] {
        assert_eq!(paths.get(name), Some(&module), "{name}");
    }
}
