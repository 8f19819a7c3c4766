//! A `postgres` downstream: its tools are SQL statements.

mod sql;

use std::collections::BTreeSet;

use crate::{ByteSize, Downstream, Effect, Tool, downstream::Postgres};

use super::{Scope, defined};

/// Statements that certainly change something; a read-only transaction would refuse them.
const WRITES: [&str; 13] = [
    "insert", "update", "delete", "merge", "truncate", "create", "drop", "alter", "grant", "revoke", "copy", "do",
    "refresh",
];

/// Postgres refuses longer names of channels.
const CHANNEL_LENGTH_MAX: usize = 63;

pub(super) fn connection(postgres: &Postgres, scope: &Scope<'_>) {
    scope.key("pool_max").at_least_one(postgres.pool_max);
    scope.key("connect_timeout").some_time(postgres.connect_timeout);
    scope.key("statement_timeout").some_time(postgres.statement_timeout);
    scope.key("rows_max").at_least_one(postgres.rows_max);
    if postgres.bytes_max == ByteSize(0) {
        scope.key("bytes_max").refuse("must be larger than nothing", "the default is `1MiB`");
    }
    if let Some(channel) = &postgres.notify_channel
        && !is_channel(channel)
    {
        scope.key("notify_channel").refuse(
            "is no channel that every way to write it leads to",
            format!("use lower-case letters, digits and `_`, beginning with a letter, at most {CHANNEL_LENGTH_MAX}"),
        );
    }
}

/// `NOTIFY Weir` goes to the channel `weir`, `pg_notify('Weir', …)` to `Weir`: in lower case the two are one.
fn is_channel(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= CHANNEL_LENGTH_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_word)
}

pub(super) fn tools(downstream: &Downstream, scope: &Scope<'_>) {
    defined::tools(downstream, "a database", scope);
    for (name, tool) in &downstream.tools {
        let scope = scope.key("tools").key(name);
        super::belongs_to_others(&["request", "answer"], "a database has statements: write `sql`", &scope);
        let effect = defined::states_effect(downstream, name, &scope).then(|| downstream.effect_of(name));
        statement(tool, effect, &scope);
    }
}

fn statement(tool: &Tool, effect: Option<Effect>, scope: &Scope<'_>) {
    let place = scope.key("sql");
    let Some(text) = &tool.sql else {
        if !place.given() {
            scope.refuse("lacks `sql`", "write one statement, with `$1`, `$2`, … for its arguments");
        }
        return;
    };
    let found = sql::look(text);
    if found.unclosed {
        return place.refuse("has a quote or comment that does not end", "");
    }
    match found.statements {
        0 => return place.refuse("holds no statement", "write one statement, with `$1`, `$2`, … for its arguments"),
        1 => {}
        _ => {
            return place.refuse(
                "holds more than one statement",
                "keep one; several steps belong in a function of the database",
            );
        }
    }
    if effect.is_none() && found.first_word == "select" {
        scope.warn(
            "states no `effect` and so counts as a write",
            "state `effect: read` if the statement changes nothing",
        );
    }
    if effect == Some(Effect::Read) && WRITES.contains(&found.first_word.as_str()) {
        place.refuse(
            format!("begins with `{}`, but the tool's effect is `read`", found.first_word.to_uppercase()),
            "state `effect: write`, or `idempotent_write` where doing it twice is the same as doing it once",
        );
    }
    numbers(&found.numbers, scope);
}

/// Every argument needs its number, and every number its argument.
fn numbers(used: &BTreeSet<usize>, scope: &Scope<'_>) {
    // Counted in the text: an argument with a mistake in it is missing from the model.
    let listed = scope.key("arguments").keys();
    let sql = scope.key("sql");
    if let Some(most) = used.last().filter(|&&most| most > listed.len() || used.contains(&0)) {
        let number = if used.contains(&0) { 0 } else { *most };
        let count = match listed.len() {
            0 => "no arguments are listed".to_owned(),
            1 => "only one argument is listed".to_owned(),
            count => format!("only {count} arguments are listed"),
        };
        return sql.refuse(
            format!("uses `${number}`, but {count}"),
            "`$1` is the first one under `arguments`, `$2` the second, and so on",
        );
    }
    for (position, name) in listed.iter().enumerate() {
        let number = position + 1;
        if !used.contains(&number) {
            scope.key("arguments").key(name).refuse(
                format!("is never used: `sql` has no `${number}`"),
                "arguments are numbered in the order in which they are listed: use it, or remove it",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_channel;

    #[test]
    fn a_channel_has_one_name_in_every_way_to_write_it() {
        for (name, is_one) in [
            ("weir", true),
            ("weir_cache_2", true),
            (&"w".repeat(63), true),
            (&"w".repeat(64), false),
            ("", false),
            ("Weir", false),
            ("2weir", false),
            ("weir\"; DROP TABLE t", false),
            ("weir-cache", false),
            ("größe", false),
        ] {
            assert_eq!(is_channel(name), is_one, "{name}");
        }
    }
}
