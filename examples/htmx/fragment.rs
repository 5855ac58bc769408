//! Fragments of HTML, from templates.

use std::fmt::Display;

/// Fills a template: `{{name}}` becomes the value of this name, escaped, so that what a user wrote
/// is text wherever it stands. `{{{name}}}` becomes the value as it is, for what is a fragment
/// itself.
///
/// # Panics
///
/// If the template has a name without a value.
pub(super) fn fill(template: &str, values: &[(&str, &dyn Display)]) -> String {
    let value = |name: &str| {
        let found = values.iter().find(|(of, _)| *of == name);
        found
            .unwrap_or_else(|| panic!("the template has {name:?}, which has no value"))
            .1
            .to_string()
    };
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled += before;
        let (raw, end) = if after.starts_with('{') { (1, "}}}") } else { (0, "}}") };
        let (name, after) = after[raw..].split_once(end).expect("a template ends what it begins");
        if raw == 1 {
            filled += &value(name);
        } else {
            escape(&value(name), &mut filled);
        }
        rest = after;
    }
    filled + rest
}

fn escape(text: &str, into: &mut String) {
    for char in text.chars() {
        match char {
            '&' => *into += "&amp;",
            '<' => *into += "&lt;",
            '>' => *into += "&gt;",
            '"' => *into += "&quot;",
            '\'' => *into += "&#39;",
            char => into.push(char),
        }
    }
}
