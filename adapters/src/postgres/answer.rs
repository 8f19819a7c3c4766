//! Rows become the bytes of a `result` object, within the caps.

use std::io::Write as _;

use bytes::Bytes;
use tokio_postgres::{
    Row,
    types::{FromSql, Type},
};

use super::{
    statement::Column,
    value::{Malformed, push_string},
};

/// What an answer may not exceed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
}

/// The rows of an answer, already as JSON text.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    columns: &'a [Column],
    caps: Caps,
    /// `[{…},{…}` without the end.
    json: Vec<u8>,
    count: usize,
    /// How large the whole answer is going to be: the rows stand in it twice, once inside a string.
    answer_bytes: usize,
    truncated: bool,
}

/// What is around the rows, at its longest.
const FRAME_BYTES: usize = 256;

/// Whether a row still had its place in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Added,
    Full,
}

/// A column whose value cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the column {column} holds what is {problem}")]
pub(super) struct Unreadable {
    column: String,
    problem: Malformed,
}

impl<'a> Rows<'a> {
    pub(super) fn new(columns: &'a [Column], caps: Caps) -> Self {
        Self { columns, caps, json: b"[".to_vec(), count: 0, answer_bytes: FRAME_BYTES, truncated: false }
    }

    /// Adds a row if it fits; from the first that does not, nothing is added any more.
    pub(super) fn add(&mut self, row: &Row) -> Result<Fit, Unreadable> {
        if self.truncated || self.count == self.caps.rows_max {
            return Ok(self.cut());
        }
        let start = self.json.len();
        if self.count > 0 {
            self.json.push(b',');
        }
        self.push_row(row)?;
        let added = &self.json[start..];
        let answer_bytes = self.answer_bytes + added.len() + escaped_length(added);
        if answer_bytes > self.caps.bytes_max {
            self.json.truncate(start);
            return Ok(self.cut());
        }
        self.answer_bytes = answer_bytes;
        self.count += 1;
        Ok(Fit::Added)
    }

    /// Ends the rows here: there are more, and they do not fit.
    pub(super) fn cut(&mut self) -> Fit {
        self.truncated = true;
        Fit::Full
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// `{"rows":[…],"row_count":n,"truncated":false}`
    pub(super) fn read(self) -> Bytes {
        let (count, truncated) = (self.count, self.truncated);
        let mut json = b"{\"rows\":".to_vec();
        json.extend(self.json);
        write!(json, "],\"row_count\":{count},\"truncated\":{truncated}}}").expect("memory takes all that is written");
        result(&json)
    }

    /// `{"rows":[…],"rows_affected":n,"truncated":false}`; without `rows` when the statement returns none.
    pub(super) fn written(self, affected: u64) -> Bytes {
        let mut json = b"{".to_vec();
        if self.columns.is_empty() {
            write!(json, "\"rows_affected\":{affected}}}").expect("memory takes all that is written");
        } else {
            let truncated = self.truncated;
            json.extend_from_slice(b"\"rows\":");
            json.extend(self.json);
            write!(json, "],\"rows_affected\":{affected},\"truncated\":{truncated}}}")
                .expect("memory takes all that is written");
        }
        result(&json)
    }

    fn push_row(&mut self, row: &Row) -> Result<(), Unreadable> {
        self.json.push(b'{');
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                self.json.push(b',');
            }
            push_string(&mut self.json, &column.name);
            self.json.push(b':');
            let unreadable = |problem| Unreadable { column: column.name.clone(), problem };
            match row.try_get::<_, Option<Raw<'_>>>(index).map_err(|_| unreadable(Malformed))? {
                None => self.json.extend_from_slice(b"null"),
                Some(Raw(bytes)) => column.decoder.write(bytes, &mut self.json).map_err(unreadable)?,
            }
        }
        self.json.push(b'}');
        Ok(())
    }
}

/// MCP 2026-07-28, server/tools, "Structured Content": the same JSON stands in a text block too, for clients that read only that.
fn result(structured: &[u8]) -> Bytes {
    let text = std::str::from_utf8(structured).expect("written from strings alone");
    let mut out = Vec::with_capacity(structured.len() + escaped_length(structured) + FRAME_BYTES);
    out.extend_from_slice(b"{\"content\":[{\"type\":\"text\",\"text\":");
    push_string(&mut out, text);
    out.extend_from_slice(b"}],\"structuredContent\":");
    out.extend_from_slice(structured);
    out.push(b'}');
    out.into()
}

/// How long JSON text becomes inside a JSON string. It holds no control characters, so only these two are escaped.
fn escaped_length(json: &[u8]) -> usize {
    json.len() + json.iter().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

/// The bytes of a value as they came.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(bytes))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
