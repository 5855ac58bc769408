//! A page about events, for those who listen to them.

use super::Contract;

/// A list of contracts, to be read by those who write the page.
///
/// Put the text into the repository, and have a test compare it: then page and server agree on names,
/// and a change of one is seen.
///
/// # Examples
///
/// ```
/// use serde::Serialize;
/// use tower_sse::hub::{Contract, Reference};
///
/// #[derive(Serialize)]
/// struct Paid(u64);
///
/// impl Contract for Paid {
///     const EVENT: &'static str = "paid";
///     const CHANNEL: &'static str = "orders.*";
///     const PAYLOAD: &'static str = "number | null";
///     const DESCRIPTION: &'static str = "An order was paid; in cents.";
/// }
///
/// let text = Reference::new().with::<Paid>().to_markdown();
/// assert_eq!(
///     text,
///     "| channel | event | payload | description |\n\
///      | --- | --- | --- | --- |\n\
///      | `orders.*` | `paid` | `number \\| null` | An order was paid; in cents. |\n"
/// );
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Reference {
    rows: Vec<[&'static str; 4]>,
}

impl Reference {
    /// A list with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a contract. One that is there already is not added again.
    pub fn with<T: Contract>(mut self) -> Self {
        self.rows.push([T::CHANNEL, T::EVENT, T::PAYLOAD, T::DESCRIPTION]);
        // The text does not change when code is moved.
        self.rows.sort_unstable();
        self.rows.dedup();
        self
    }

    /// The list as a table in Markdown, in the order of channels and names.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = "| channel | event | payload | description |\n\
                        | --- | --- | --- | --- |\n"
            .to_owned();
        for [channel, event, payload, description] in &self.rows {
            let cells = [code(channel), code(event), code(payload), cell(description)];
            text.extend(["| ", &cells.join(" | "), " |\n"]);
        }
        text
    }
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", cell(text)),
    }
}

/// A table's cell is one line, and ends at a bar.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
