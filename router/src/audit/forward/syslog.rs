//! A record as a syslog message (RFC 5424). Pure: text in, bytes out.
//!
//! The record is the message's text. It is ASCII alone (what is not stands escaped, as JSON allows), so that it needs no byte order mark, which
//! RFC 5424, section 6.4 asks for in front of UTF-8 and many a JSON parser behind a collector does not expect. No byte of it can end a line.

use std::io::Write as _;

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde::Deserialize;
use serde_json::json;

/// `log audit` (RFC 5424, section 6.2.1).
const FACILITY: u8 = 13;
const WARNING: u8 = 4;
const NOTICE: u8 = 5;
const INFORMATIONAL: u8 = 6;
/// The largest sequence number (RFC 5424, section 7.3.1); the next one is 1.
const SEQUENCE_MAX: u32 = i32::MAX.unsigned_abs();
/// The longest name of a host in a header (RFC 5424, section 6).
const HOST_BYTES_MAX: usize = 255;
/// A datagram of this size is one that every receiver should take (RFC 5426, section 3.2). A longer record goes out without its details.
pub(super) const DATAGRAM_BYTES_MAX: usize = 2048;
/// How much of each member stands in the short form of a record.
const SHORT_BYTES_MAX: usize = 48;
/// `2026-11-23T02:15:00.123456Z`: a syslog time has no more than six digits behind the point (RFC 5424, section 6.2.3).
const TIME: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// What makes messages of records, for one place.
#[derive(Debug)]
pub(super) struct Messages {
    host: String,
    process: u32,
    sequence: u32,
}

/// What the header of a message needs to know.
#[derive(Deserialize)]
struct Head {
    time: Option<Timestamp>,
    kind: Option<String>,
    outcome: Option<String>,
}

impl Messages {
    pub(super) fn new(host: &str, process: u32) -> Self {
        let host: String = host.chars().filter(char::is_ascii_graphic).take(HOST_BYTES_MAX).collect();
        Self { host: if host.is_empty() { "-".to_owned() } else { host }, process, sequence: 0 }
    }

    /// One message for `record`, for a stream.
    pub(super) fn of(&mut self, record: &str) -> Vec<u8> {
        let mut message = self.header(record);
        ascii(record, &mut message);
        message
    }

    /// The same for a datagram: a record that does not fit goes without its details, and says so.
    pub(super) fn fitting(&mut self, record: &str) -> Vec<u8> {
        let mut message = self.header(record);
        let header_bytes = message.len();
        ascii(record, &mut message);
        if message.len() > DATAGRAM_BYTES_MAX {
            message.truncate(header_bytes);
            ascii(&shortened(record), &mut message);
        }
        message
    }

    fn header(&mut self, record: &str) -> Vec<u8> {
        self.sequence = if self.sequence == SEQUENCE_MAX { 1 } else { self.sequence + 1 };
        let head = serde_json::from_str(record).unwrap_or(Head { time: None, kind: None, outcome: None });
        let priority = FACILITY * 8 + severity(&head);
        let time = head.time.map_or_else(|| "-".to_owned(), |time| TIME.timestamp_to_string(&time));
        let kind = head.kind.as_deref().filter(|kind| is_message_id(kind)).unwrap_or("-");
        let (host, process, sequence) = (&self.host, self.process, self.sequence);
        let mut message = Vec::with_capacity(record.len() + 128);
        write!(message, "<{priority}>1 {time} {host} weir {process} {kind} [meta sequenceId=\"{sequence}\"] ")
            .expect("a vector takes what is written to it");
        message
    }
}

/// `length SP message`: how messages are told apart on a stream (RFC 6587, section 3.4.1).
pub(super) fn frame(message: &[u8], stream: &mut Vec<u8>) {
    write!(stream, "{} ", message.len()).expect("a vector takes what is written to it");
    stream.extend_from_slice(message);
}

fn severity(head: &Head) -> u8 {
    match (head.kind.as_deref(), head.outcome.as_deref()) {
        (Some("call"), Some("ok")) | (Some("intent"), _) => INFORMATIONAL,
        (Some("event" | "counted"), _) => NOTICE,
        _ => WARNING,
    }
}

/// MSGID: printable, at most 32 characters (RFC 5424, section 6).
fn is_message_id(kind: &str) -> bool {
    (1..=32).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_graphic())
}

/// JSON text as ASCII. Whitespace that could end a line becomes a space: in JSON it can stand between values alone.
fn ascii(json: &str, into: &mut Vec<u8>) {
    for c in json.chars() {
        match c {
            ' '..='~' => into.push(c as u8),
            '\0'..'\x20' => into.push(b' '),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(into, "\\u{unit:04x}").expect("a vector takes what is written to it");
                }
            }
        }
    }
}

/// Who, what, when and what became of it: enough to find the record itself.
fn shortened(record: &str) -> String {
    let whole: serde_json::Map<String, serde_json::Value> = serde_json::from_str(record).unwrap_or_default();
    let mut short = serde_json::Map::new();
    for name in
        ["seq", "time", "kind", "event", "instance", "request_id", "subject", "tenant", "address", "asked", "outcome"]
    {
        match whole.get(name) {
            Some(serde_json::Value::String(text)) => {
                let end = text.floor_char_boundary(SHORT_BYTES_MAX);
                short.insert(name.to_owned(), json!(text[..end]));
            }
            Some(number @ serde_json::Value::Number(_)) => {
                short.insert(name.to_owned(), number.clone());
            }
            _ => {}
        }
    }
    short.insert("shortened_from_bytes".to_owned(), json!(record.len()));
    serde_json::Value::Object(short).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{DATAGRAM_BYTES_MAX, Messages, SEQUENCE_MAX, frame};

    fn text_of(message: &[u8]) -> &str {
        let text = std::str::from_utf8(message).expect("a message is ASCII");
        text.split_once("] ").expect("structured data stands before the text").1
    }

    #[test]
    fn a_record_has_the_header_that_collectors_sort_by() {
        let mut messages = Messages::new("weir one.example", 77);
        let of = |messages: &mut Messages, record: Value| {
            String::from_utf8(messages.of(&record.to_string())).expect("a message is ASCII")
        };
        let time = "2026-11-23T02:15:00.123456789Z";
        assert_eq!(
            of(&mut messages, json!({ "seq": 4, "time": time, "kind": "call", "outcome": "ok" })),
            "<110>1 2026-11-23T02:15:00.123456Z weirone.example weir 77 call [meta sequenceId=\"1\"] \
             {\"seq\":4,\"time\":\"2026-11-23T02:15:00.123456789Z\",\"kind\":\"call\",\"outcome\":\"ok\"}"
        );
        let denied = of(&mut messages, json!({ "time": time, "kind": "call", "outcome": "denied" }));
        assert!(denied.starts_with("<108>1 ") && denied.contains("sequenceId=\"2\""), "{denied}");
        let event = of(&mut messages, json!({ "time": time, "kind": "event" }));
        assert!(event.starts_with("<109>1 "), "{event}");
        let odd = of(&mut messages, json!({ "kind": "two words", "time": "noon" }));
        assert!(odd.starts_with("<108>1 - weirone.example weir 77 - [meta "), "{odd}");
    }

    #[test]
    fn the_number_after_the_largest_is_one() {
        let mut messages = Messages { sequence: SEQUENCE_MAX - 1, ..Messages::new("h", 1) };
        assert!(String::from_utf8_lossy(&messages.of("{}")).contains("sequenceId=\"2147483647\""));
        assert!(String::from_utf8_lossy(&messages.of("{}")).contains("sequenceId=\"1\""));
    }

    #[test]
    fn a_stream_has_the_length_in_front_of_each_message() {
        let mut stream = Vec::new();
        frame(b"<110>1 - - - - - - {}", &mut stream);
        assert_eq!(stream, b"21 <110>1 - - - - - - {}");
    }

    proptest! {
        #[test]
        fn whatever_a_record_says_it_stays_on_its_line_and_means_the_same(said in any::<String>(), name in any::<String>()) {
            let record = json!({ "kind": "call", "asked": said, "nested": { "name": name } });
            let pretty = serde_json::to_string_pretty(&record).expect("a record has a JSON form");
            for text in [record.to_string(), pretty] {
                let message = Messages::new("h", 1).of(&text);
                prop_assert!(message.iter().all(|byte| (b' '..=b'~').contains(byte)));
                prop_assert_eq!(&serde_json::from_str::<Value>(text_of(&message)).expect("the text is JSON"), &record);
            }
        }

        #[test]
        fn a_datagram_is_never_longer_than_receivers_must_take(said in "\\PC{0,4000}", seq in any::<u64>()) {
            let record = json!({ "seq": seq, "kind": "call", "asked": said, "outcome": "ok", "subject": said, "tenant": said, "request_id": said });
            let message = Messages::new(&"h".repeat(300), u32::MAX).fitting(&record.to_string());
            let text: Value = serde_json::from_str(text_of(&message)).expect("the text is JSON");
            prop_assert_eq!(&text["seq"], &json!(seq));
            let is_whole = text == record;
            prop_assert!(is_whole || text["shortened_from_bytes"].is_number());
            prop_assert!(message.len() <= DATAGRAM_BYTES_MAX, "{}", message.len());
        }
    }
}
