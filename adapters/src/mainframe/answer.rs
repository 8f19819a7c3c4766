//! From an answer to the bytes of a `result` object, or to why there is none.

use bytes::Bytes;
use config::downstream::mainframe::{Encoding, ErrorScreen};
use http::header;
use serde_json::{json, value::RawValue};

use super::{
    codec::{Codec, DecodeError},
    rules::{self, Means, Refusal},
    screen::{self, Screen},
};
use crate::{AdapterError, ErrorClass, Rejection, Reply, Sent, credential::Shown, http::Head, json};

/// How the answers of a tool are read.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) format: Format,
    /// The code page of its texts.
    pub(super) encoding: Encoding,
    /// Whether the path of its request has an argument, so that "not found" is about what was asked for.
    pub(super) names_one: bool,
}

#[derive(Debug)]
pub(super) enum Format {
    Json,
    Records(Codec),
}

/// What holds for all answers of a downstream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) screens: &'a [ErrorScreen],
    /// What must not be repeated.
    pub(super) credential: Option<&'a Shown>,
    pub(super) bytes_max: usize,
}

/// How many times as large as the largest answer its JSON may be. The usual record becomes four times as large.
const JSON_FACTOR: usize = 8;

/// Whose answer it is, for the texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) downstream: &'a str,
    pub(super) tool: &'a str,
    pub(super) writes: bool,
}

impl Reader {
    /// What a whole answer comes to.
    ///
    /// # Errors
    /// It is no result, by its status or by the rules for screens, or it cannot be read.
    pub(super) fn read(
        &self,
        head: &Head,
        body: &[u8],
        terms: Terms<'_>,
        subject: Subject<'_>,
    ) -> Result<Reply, AdapterError> {
        let screen = Screen::new(&head.headers, body, self.encoding, terms.credential);
        if let Some(refusal) = rules::refusal(head.status, &head.headers, &screen, terms.screens) {
            // A path that names nothing in particular is a mistake of the config, whatever the status says.
            let means_nothing = head.status.is_client_error() && !self.names_one;
            return subject.refused(refusal, means_nothing);
        }
        if let Some(coding) = head.headers.get(header::CONTENT_ENCODING).filter(|coding| *coding != "identity") {
            let why = format!("it is compressed ({}), which nobody asked for", coding.to_str().unwrap_or("somehow"));
            return Err(subject.unreadable(&why));
        }
        let structured = match &self.format {
            Format::Json => {
                let kind = screen.media_type().unwrap_or("not stated");
                object(body).map_err(|wrong| subject.unreadable(&format!("{wrong}; its type is {kind}")))?
            }
            Format::Records(codec) => {
                let json_bytes_max = terms.bytes_max.saturating_mul(JSON_FACTOR);
                codec.decode(body, json_bytes_max).map_err(|error| subject.undecodable(&error))?
            }
        };
        Ok(Reply::Complete(result(&structured)))
    }
}

impl Subject<'_> {
    fn refused(self, refusal: Refusal, means_nothing: bool) -> Result<Reply, AdapterError> {
        let Self { downstream, tool, writes } = self;
        let Refusal { means, text, is_certain, retry_after } = refusal;
        let said = if text.is_empty() { String::new() } else { format!(": {}", text.trim_end_matches('.')) };
        // Nobody knows whether a write was carried out that was answered so: it must not be repeated.
        let sent = if writes && !is_certain { Sent::Unknown } else { Sent::Yes };
        let failure = |class, message: String| AdapterError::new(class, sent, message);
        let mut error = match means {
            Means::NotFound if !writes && !means_nothing => {
                let text =
                    format!("{downstream} found nothing for these arguments{said}. Check them before you ask again.");
                let result = json!({ "content": [{ "type": "text", "text": text }], "isError": true });
                return Ok(Reply::NotFound(result.to_string().into()));
            }
            Means::NotFound | Means::Rejected => {
                let text = if text.is_empty() { format!("{downstream} said no without a reason.") } else { text };
                let message = format!("{downstream} refused `{tool}`{said}.");
                let mut error = AdapterError::rejected(message, Rejection::Text(text));
                error.sent = sent;
                error
            }
            Means::Busy => {
                let when = match retry_after {
                    Some(wait) => format!("in {} s", wait.as_secs().max(1)),
                    None => "in a moment".to_owned(),
                };
                failure(ErrorClass::Busy, format!("{downstream} is busy{said}. Try again {when}."))
            }
            Means::Unavailable => {
                let message = format!("{downstream} answered, but is not available{said}. Try again later.");
                failure(ErrorClass::Unreachable, message)
            }
            Means::Unauthorized => failure(
                ErrorClass::Unauthorized,
                format!(
                    "{downstream} does not let Weir in{said}. Repeating does not help; its operator must look at the credential."
                ),
            ),
            Means::Redirected => failure(
                ErrorClass::Protocol,
                format!(
                    "{downstream} answered `{tool}` with a redirect, which is not followed{said}. Its operator must correct the path of this tool."
                ),
            ),
        };
        error.retry_after = retry_after;
        Err(error)
    }

    fn undecodable(self, error: &DecodeError) -> AdapterError {
        if !error.too_large {
            return self.unreadable(&error.to_string());
        }
        let Self { downstream, tool, writes } = self;
        let sent = if writes { Sent::Unknown } else { Sent::Yes };
        let message = format!("The answer of {downstream} to `{tool}` is too large: {}. Ask for less.", error.what);
        AdapterError::new(ErrorClass::TooLarge, sent, message)
    }

    /// The answer came and says nothing. A write was most likely carried out, so it must not be repeated.
    fn unreadable(self, why: &str) -> AdapterError {
        let Self { downstream, tool, writes } = self;
        let sent = if writes { Sent::Unknown } else { Sent::Yes };
        let message = format!(
            "The answer of {downstream} to `{tool}` cannot be read: {why}. Repeating does not help; its operator must look at how the answer is described."
        );
        AdapterError::new(ErrorClass::Protocol, sent, message)
    }
}

/// How deep an answer may be nested. Many readers of JSON take 128 levels, those of the message around it among them; so does the
/// one that looks for what the rules for screens name.
const DEPTH_MAX: usize = 100;

/// An object from a body of JSON, its bytes kept; what is none is put into one. Nothing at all is `null`.
fn object(body: &[u8]) -> Result<String, String> {
    let body = screen::without_mark(body);
    let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8, as JSON must be")?;
    let text = if text.trim_ascii().is_empty() { "null" } else { text };
    let value: &RawValue = serde_json::from_str(text).map_err(|_| "it is not JSON")?;
    if depth(text) > DEPTH_MAX {
        return Err(format!("it is nested more than {DEPTH_MAX} deep"));
    }
    // Line breaks stand between tokens alone, and would end an event or a message on their way to the caller.
    let value = value.get().replace(['\r', '\n'], " ");
    Ok(if value.starts_with('{') { value } else { format!("{{\"result\":{value}}}") })
}

/// How deep valid JSON is nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted) = (0_usize, 0, false);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// MCP 2026-07-28, server/tools, "Structured Content": the same JSON stands in a text block too, for clients that read only that.
fn result(structured: &str) -> Bytes {
    let text = json::string(structured);
    format!("{{\"content\":[{{\"type\":\"text\",\"text\":{text}}}],\"structuredContent\":{structured}}}").into()
}

#[cfg(test)]
mod tests {
    use super::{depth, object};

    #[test]
    fn the_bytes_of_an_object_stay_and_all_else_is_put_into_one() {
        for (body, expected) in [
            (&br#"{ "a" : 9007199254740993, "b":1.50 }"#[..], Some(r#"{ "a" : 9007199254740993, "b":1.50 }"#)),
            (b"\n[1e400]\r\n", Some(r#"{"result":[1e400]}"#)),
            (b"{\r\n\"a\":\"\\n\"}", Some(r#"{  "a":"\n"}"#)),
            (b"", Some(r#"{"result":null}"#)),
            (b"  \n", Some(r#"{"result":null}"#)),
            (b"{\"a\":1} x", None),
            (b"<html>", None),
            (b"\"\xff\"", None),
            (b"\xef\xbb\xbf{\"a\":1}", Some(r#"{"a":1}"#)),
        ] {
            assert_eq!(object(body).ok().as_deref(), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn brackets_in_texts_are_no_depth() {
        for (json, expected) in [("1", 0), ("{}", 1), (r#"[{"a":[]},[]]"#, 3), (r#"["[\"[\\","{"]"#, 1)] {
            assert_eq!(depth(json), expected, "{json}");
        }
    }
}
