//! The reference of contracts, as text. `tests/programs/json_schema.rs` holds what is sent against
//! it.

use tower_sse::hub::Reference;

use crate::harness::contracts::reference;
use crate::harness::contracts::{Cents, Line, Mixed, Move, Page, Paid, State};

#[test]
fn the_reference_is_the_same_in_whatever_order_it_is_made() {
    let other = Reference::new()
        .with::<Cents>()
        .with::<State>()
        .with::<Page<Cents>>()
        .with::<Page<Line>>()
        .with::<Mixed>()
        .with::<Move>()
        .with::<Paid>()
        .with::<Paid>();
    let one = reference();
    assert_eq!(one.to_markdown(), other.to_markdown());
    assert_eq!(one.to_typescript(), other.to_typescript());
    assert_eq!(one.to_json_schema(), other.to_json_schema());
    assert_eq!(one.to_openapi(), other.to_openapi());
}

#[test]
fn the_types_of_typescript_have_each_shape_that_serde_writes() {
    let types = reference().to_typescript();
    let expected = include_str!("harness/contracts.ts");
    assert_eq!(types, expected, "is now:\n{types}");
}

#[test]
fn the_table_has_the_data_on_a_line_and_the_types_that_it_names_below() {
    let table = Reference::new().with::<Move>().with::<Cents>().to_markdown();
    let expected = "\
| channel | event | data | description |
| --- | --- | --- | --- |
| `games.>` | `game move` | `{ kind: \"pass\" } \\| { kind: \"stone\"; x: number; y: number } \\| { kind: \"chat\" } & Line` | What happened in a game. |
| `orders.*` | `cents` | `number` |  |

```ts
export interface Line {
  /** Lines of this line. */
  parts: Line[];
  text: string;
}
```
";
    assert_eq!(table, expected, "is now:\n{table}");
}
