//! Records in the forms that other programs read.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::{Map, Value};

use super::records::Found;

/// The columns of the CSV form; the JSON lines have everything.
const COLUMNS: [&str; 22] = [
    "time",
    "kind",
    "event",
    "request_id",
    "issuer",
    "subject",
    "tenant",
    "roles",
    "credential",
    "authenticated_by",
    "address",
    "surface",
    "asked",
    "downstream",
    "effect",
    "rule",
    "cache",
    "outcome",
    "result_bytes",
    "took_ms",
    "reason",
    "count",
];

/// The first line of the CSV form.
#[must_use]
pub fn csv_header() -> String {
    format!("{},chain,seq\r\n", COLUMNS.join(","))
}

/// One line of the CSV form (RFC 4180).
#[must_use]
pub fn csv_row(found: &Found) -> String {
    let record: Map<String, Value> = serde_json::from_str(&found.text).unwrap_or_default();
    let mut row = String::new();
    for column in COLUMNS {
        let cell = record.get(column).map_or(Cow::Borrowed(""), text);
        row.push_str(&quoted(&cell));
        row.push(',');
    }
    write!(row, "{},{}\r\n", found.chain, found.seq).expect("a text takes what is written to it");
    row
}

/// One JSON line: the record, with its chain and the number of its line in front.
#[must_use]
pub fn json_line(found: &Found) -> String {
    let Found { chain, seq, text, .. } = found;
    // A record is an object, and has members.
    format!("{{\"chain\":\"{chain}\",\"seq\":{seq},{}\n", &text[1..])
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(items) => {
            let items: Vec<String> =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            Cow::Owned(items.join(" "))
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Cow::Owned(value.to_string()),
    }
}

/// A cell in quotes. What a caller named himself must be no formula to the spreadsheet that opens the file: an apostrophe in front makes it text there.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    format!("\"{}{}\"", if is_formula { "'" } else { "" }, cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::{Found, csv_header, csv_row, json_line};

    fn found(record: &Value) -> Found {
        Found { chain: Uuid::nil(), seq: 7, time: Timestamp::UNIX_EPOCH, text: record.to_string() }
    }

    #[test]
    fn a_row_has_a_cell_for_each_column_and_no_formula() {
        let record = json!({
            "time": "2026-11-23T02:15:00Z", "kind": "call", "subject": "=cmd|' /C calc'!A0", "roles": ["a", "b"],
            "asked": "say \"hello\",\nplease", "took_ms": -1.5, "tenant": "@x"
        });
        let row = csv_row(&found(&record));
        assert!(row.contains("\"'=cmd|' /C calc'!A0\"") && row.contains("\"a b\"") && row.contains("\"'@x\""), "{row}");
        assert!(row.contains("\"say \"\"hello\"\",\nplease\"") && row.contains("\"-1.5\""), "{row}");
        assert!(row.ends_with(&format!(",{},7\r\n", Uuid::nil())));
        let columns = csv_header().split(',').count();
        assert_eq!(csv_row(&found(&json!({}))).split(',').count(), columns);
    }

    #[test]
    fn a_json_line_is_the_record_with_its_place() {
        let line = json_line(&found(&json!({ "kind": "call", "asked": "x" })));
        let read: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read, json!({ "chain": Uuid::nil(), "seq": 7, "kind": "call", "asked": "x" }));
        assert!(line.ends_with("}\n"));
    }
}
