//! The names of a log's tables and functions, and the requests that use them.

use crate::InvalidSetting;

/// What a process sends to PostgreSQL, with the name of its log.
#[derive(Debug)]
pub(super) struct Statements {
    /// The name in `NOTIFY`.
    pub(super) channel: Box<str>,
    /// Makes tables and functions.
    pub(super) schema: String,
    pub(super) version: String,
    pub(super) append: String,
    pub(super) head: String,
    pub(super) restart: String,
    pub(super) feed: String,
    pub(super) load: String,
    pub(super) page: String,
    pub(super) page_all: String,
    pub(super) last: String,
    pub(super) last_matching: String,
    pub(super) lasts: String,
    pub(super) forget: String,
    pub(super) sweep: String,
    pub(super) call: String,
}

impl Statements {
    /// Statements for a log of this name, which was checked.
    pub(super) fn new(name: &str) -> Self {
        let named = |sql: &str| sql.replace("tower_sse", name);
        // Whatever is read has the head of the log at the same moment.
        let with_head = |floor: &str, events: &str| {
            named(&format!(
                "SELECT l.epoch, tower_sse_last(), tower_sse_now(), l.trimmed, {floor}, e.*
                FROM tower_sse_log l LEFT JOIN LATERAL ({events}) e ON true ORDER BY e.sequence"
            ))
        };
        // At least one event, and no more than so many and of so many bytes.
        let bounded_rows = |rows: &str, order: &str, bytes: &str| {
            format!(
                "SELECT sequence, topic, predecessor, unsure, event FROM (
                    SELECT *, sum(octet_length(event)) OVER (ORDER BY sequence {order})
                        - octet_length(event) AS bytes_before
                    FROM ({rows}) few
                ) few WHERE bytes_before < {bytes}"
            )
        };
        let bounded = |which: &str, order: &str, bytes: &str| {
            bounded_rows(&format!("SELECT * FROM tower_sse_events WHERE {which}"), order, bytes)
        };
        // The last rows up to a sequence, of which those that match a pattern are picked.
        let looked_at = format!(
            "SELECT * FROM tower_sse_events WHERE sequence <= $2
            ORDER BY sequence DESC LIMIT {MAX_LOOKS}"
        );
        Self {
            channel: name.into(),
            schema: schema(name),
            version: named(
                "SELECT version, pg_is_in_recovery(), tower_sse_last() FROM tower_sse_log",
            ),
            append: named(
                "SELECT epoch, sequence, is_repeat FROM tower_sse_append($1, $2, $3, $4, $5, $6)",
            ),
            head: named(
                "SELECT l.epoch, tower_sse_last(), tower_sse_now(), tower_sse_lacks($1, $2, $3)
                FROM tower_sse_log l",
            ),
            restart: named("SELECT tower_sse_restart($1, $2, $3)"),
            feed: with_head(
                "l.expired",
                "SELECT sequence, topic, predecessor, unsure,
                    CASE WHEN octet_length(event) <= $3 THEN event END
                FROM tower_sse_events WHERE sequence > $1 ORDER BY sequence LIMIT $2",
            ),
            load: with_head(
                "coalesce((SELECT gone FROM tower_sse_topics WHERE topic = $1), l.expired)",
                &bounded("topic = $1 ORDER BY sequence DESC LIMIT $2", "DESC", "$3"),
            ),
            page: with_head(
                "0::bigint",
                &bounded("topic = $1 AND sequence > $2 ORDER BY sequence LIMIT $3", "", "$4"),
            ),
            page_all: with_head(
                "0::bigint",
                &bounded("sequence > greatest($1, l.trimmed) ORDER BY sequence LIMIT $2", "", "$3"),
            ),
            last: with_head("0::bigint", &bounded_rows(LAST_OF_NAMES, "DESC", "$4")),
            last_matching: with_head(
                &format!("coalesce((SELECT min(sequence) FROM ({looked_at}) rows), 0)"),
                &bounded_rows(
                    &format!(
                        "SELECT * FROM ({looked_at}) rows
                        WHERE topic = ANY($1::text[]) OR topic ~ ANY($5::text[])
                        ORDER BY sequence DESC LIMIT $3"
                    ),
                    "DESC",
                    "$4",
                ),
            ),
            lasts: named(
                "SELECT (SELECT max(e.sequence) FROM tower_sse_events e WHERE e.topic = t.topic)
                FROM unnest($1::text[]) WITH ORDINALITY t (topic, n) ORDER BY t.n",
            ),
            forget: named(
                "UPDATE tower_sse_topics t SET
                    forget = coalesce(
                        (SELECT max(e.sequence) FROM tower_sse_events e WHERE e.topic = $1), gone),
                    look_at = least(look_at, tower_sse_now() + $2)
                WHERE t.topic = $1",
            ),
            sweep: named("SELECT tower_sse_sweep($1)"),
            call: named("SELECT pg_notify('tower_sse', $1)"),
        }
    }
}

/// The script that makes the tables and functions of a log.
pub(super) fn schema(name: &str) -> String {
    include_str!("schema.sql").replace("tower_sse", name)
}

/// Checks the name of a log, with or without a schema before it. What it allows means in SQL what
/// it says, without quotes.
pub(super) fn check_name(name: &str) -> Result<(), InvalidSetting> {
    let is_name = |part: &str| {
        let mut bytes = part.bytes();
        let begins = bytes.next().is_some_and(|it| it.is_ascii_lowercase() || it == b'_');
        begins
            && part.len() <= MAX_NAME_LEN
            && bytes.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
    };
    let mut parts = name.split('.');
    match parts.by_ref().take(2).all(is_name) && parts.next().is_none() {
        true => Ok(()),
        false => Err(InvalidSetting::new(
            "name",
            "it must be lower-case letters, digits and `_`, at most 40, or two such with `.` between",
        )),
    }
}

/// The version of the schema that this crate makes and understands.
pub(super) const SCHEMA_VERSION: i32 = 1;

/// The last rows of some topics. Each topic is read back row by row, with both columns of the index
/// in the order: else a planner may prefer to read the log from its end until it finds rows of the
/// topic.
const LAST_OF_NAMES: &str = "WITH RECURSIVE last (topic, sequence, n) AS (
        SELECT t.topic, e.sequence, 1 FROM unnest($1::text[]) t (topic), LATERAL (
            SELECT sequence FROM tower_sse_events
            WHERE topic >= t.topic AND topic <= t.topic AND sequence <= $2
            ORDER BY topic DESC, sequence DESC LIMIT 1
        ) e
        UNION ALL
        SELECT l.topic, e.sequence, l.n + 1 FROM last l, LATERAL (
            SELECT sequence FROM tower_sse_events
            WHERE topic >= l.topic AND topic <= l.topic AND sequence < l.sequence
            ORDER BY topic DESC, sequence DESC LIMIT 1
        ) e WHERE l.n < $3
    )
    SELECT e.* FROM (SELECT * FROM last ORDER BY sequence DESC LIMIT $3) l
    JOIN tower_sse_events e ON e.sequence = l.sequence";

/// How many rows one request looks at for those that match a pattern.
const MAX_LOOKS: usize = 1024;

/// PostgreSQL cuts off names of more than 63 bytes, and tables have something after this.
const MAX_NAME_LEN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_or_two_that_need_no_quotes() {
        #[rustfmt::skip]
        let table = [
            ("tower_sse", true), ("shop", true), ("app.shop_2", true), ("_a", true),
            ("", false), (".", false), ("a.", false), (".a", false), ("a.b.c", false),
            ("Shop", false), ("2a", false), ("a-b", false), ("a b", false), ("a\"b", false),
            ("a;drop table b", false), ("\u{e9}", false),
        ];
        for (name, valid) in table {
            assert_eq!(check_name(name).is_ok(), valid, "{name:?}");
        }
        assert!(check_name(&"a".repeat(40)).is_ok());
        assert!(check_name(&"a".repeat(41)).is_err());
    }

    #[test]
    fn no_statement_has_a_name_of_another_log() {
        let statements = format!("{:?}", Statements::new("app.shop"));
        assert!(statements.contains("app.shop_append") && !statements.contains("tower_sse"));
    }
}
