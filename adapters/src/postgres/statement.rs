//! A prepared statement and how its answer is read.

use std::{collections::HashSet, fmt::Write as _};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, types::Kind};

use super::value::Decoder;

/// A prepared statement whose columns can all be read.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) prepared: tokio_postgres::Statement,
    pub(super) columns: Vec<Column>,
}

/// One column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// The member's name in the row's JSON object.
    pub(super) name: String,
    pub(super) decoder: Decoder,
}

/// Prepares `sql` for execution, once per connection.
pub(super) async fn prepare(client: &ClientWrapper, sql: &str) -> Result<Statement, Error> {
    read_all_columns(client.prepare_cached(sql).await?, sql, async |wrapped| client.prepare_cached(wrapped).await).await
}

/// Prepares `sql` to see its types as they are now, whatever is remembered of it.
pub(super) async fn describe(client: &ClientWrapper, sql: &str) -> Result<Statement, Error> {
    read_all_columns(client.prepare(sql).await?, sql, async |wrapped| client.prepare(wrapped).await).await
}

/// Makes the connection forget what it prepared for `sql`.
pub(super) fn forget(client: &ClientWrapper, sql: &str) {
    if let Some(prepared) = client.statement_cache.remove(sql, &[]) {
        client.statement_cache.remove(&with_text(sql, &prepared), &[]);
    }
}

async fn read_all_columns(
    prepared: tokio_postgres::Statement,
    sql: &str,
    prepare: impl AsyncFnOnce(&str) -> Result<tokio_postgres::Statement, Error>,
) -> Result<Statement, Error> {
    let names = unique_names(prepared.columns().iter().map(tokio_postgres::Column::name));
    let readable = |statement: &tokio_postgres::Statement| {
        statement.columns().iter().map(|column| Decoder::of(column.type_())).collect::<Option<Vec<_>>>()
    };
    let (prepared, decoders) = match readable(&prepared) {
        Some(decoders) => (prepared, decoders),
        None => {
            let wrapped = prepare(&with_text(sql, &prepared)).await?;
            let decoder = |column: &tokio_postgres::Column| Decoder::of(column.type_()).unwrap_or(Decoder::Text);
            let decoders = wrapped.columns().iter().map(decoder).collect();
            (wrapped, decoders)
        }
    };
    let columns = names.into_iter().zip(decoders).map(|(name, decoder)| Column { name, decoder }).collect();
    Ok(Statement { prepared, columns })
}

/// The same statement with each column that cannot be read in its binary form turned into text by Postgres itself.
/// `sql` has been prepared alone before, so it is one whole statement.
fn with_text(sql: &str, prepared: &tokio_postgres::Statement) -> String {
    let mut names = String::new();
    let mut columns = String::new();
    for (index, column) in prepared.columns().iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let cast = match (Decoder::of(column.type_()), column.type_().kind()) {
            (Some(_), _) => "",
            (None, Kind::Array(_)) => "::text[]",
            (None, _) => "::text",
        };
        let _ = write!(names, "{separator}c{index}");
        let _ = write!(columns, "{separator}c{index}{cast}");
    }
    format!("WITH weir ({names}) AS (\n{sql}\n) SELECT {columns} FROM weir")
}

/// JSON objects have each name once: a second `id` becomes `id_2`.
fn unique_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken = HashSet::new();
    let unique = |name: &str| {
        let mut unique = name.to_owned();
        let mut count = 1;
        while !taken.insert(unique.clone()) {
            count += 1;
            unique = format!("{name}_{count}");
        }
        unique
    };
    names.map(unique).collect()
}

#[cfg(test)]
mod tests {
    use super::unique_names;

    #[test]
    fn a_column_name_that_comes_again_is_numbered() {
        assert_eq!(
            unique_names(["id", "name", "id", "id_2", "id"].into_iter()),
            ["id", "name", "id_2", "id_2_2", "id_3"]
        );
    }
}
