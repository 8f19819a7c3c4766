//! The body of `POST /v1/tools/call`. A member that is not known is refused: a typo in `timeout_ms` must not be no timeout.

use adapters::json::{self, Object};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, request::Parts};

use crate::{call::Patience, front::problem, operations::IdempotencyKey, scan, server::Body};

/// A call as the caller asks for it.
#[derive(Debug)]
pub(super) struct CallRequest {
    /// The tool's shown name.
    pub(super) name: String,
    /// The `params` of a `tools/call` that asks for the same.
    pub(super) params: Bytes,
    /// The `arguments` in them.
    pub(super) arguments: Option<Bytes>,
    pub(super) patience: Option<Patience>,
    /// What makes its repeats one.
    pub(super) key: Option<IdempotencyKey>,
}

/// Why a request is no call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    text: String,
}

/// How much of an unknown member's name is repeated, in characters.
const NAME_CHARACTERS_MAX: usize = 64;

impl CallRequest {
    /// Reads a whole request.
    pub(super) fn read(body: &[u8], parts: &Parts) -> Result<Self, Refusal> {
        if parts.uri.query().is_some() {
            return Err(malformed("/v1/tools/call takes no query: everything stands in the body"));
        }
        Self::parse(scan::check(body).map_err(|fault| malformed(&fault.text()))?, &parts.headers)
    }

    /// Reads a body that has passed the scan.
    fn parse(text: &str, headers: &HeaderMap) -> Result<Self, Refusal> {
        let call = Object::parse(text).ok_or_else(|| malformed("the body is a JSON object"))?;
        let (mut name, mut arguments, mut patience, mut key) = (None, None, None, None);
        for (member, value) in call.iter() {
            match &*member {
                "name" => name = Some(json::unquote(value).ok_or_else(|| malformed("`name` is a string"))?),
                "arguments" if value.starts_with('{') => arguments = Some(value),
                "arguments" => return Err(malformed("`arguments` is an object")),
                "timeout_ms" => {
                    let wrong = || malformed(&format!("`timeout_ms` is {}", Patience::FORM));
                    patience = Some(Patience::parse(value).ok_or_else(wrong)?);
                }
                "idempotency_key" => key = Some(json::unquote(value)),
                other => {
                    let short: String = other.chars().take(NAME_CHARACTERS_MAX).collect();
                    return Err(malformed(&format!(
                        "a call has no member {short:?}, only `name`, `arguments`, `timeout_ms` and `idempotency_key`"
                    )));
                }
            }
        }
        let name = name.ok_or_else(|| malformed("`name` is missing: the name of the tool, as /v1/tools lists it"))?;
        let key = key.as_ref().map(|key| ("`idempotency_key`", key.as_deref()));
        let key = IdempotencyKey::of_request(headers, key).map_err(|wrong| malformed(&wrong))?;
        let members = arguments.map_or_else(String::new, |arguments| format!(",\"arguments\":{arguments}"));
        let params = Bytes::from(format!("{{\"name\":{}{members}}}", json::string(&name)));
        let arguments = arguments.map(|arguments| params.slice(params.len() - 1 - arguments.len()..params.len() - 1));
        Ok(Self { name: name.into_owned(), params, arguments, patience, key })
    }
}

impl Refusal {
    pub(super) fn respond(&self) -> Response<Body> {
        problem(self.status, &self.text)
    }
}

fn malformed(what: &str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, text: format!("Invalid request: {what}.") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::CallRequest;

    #[test]
    fn a_call_is_read_as_it_stands() {
        let text =
            r#" { "timeout_ms" : 1500, "arguments": { "n":9007199254740993 , "a":[1.0] } ,"n\u0061me":"crm__g\"et" } "#;
        let call = CallRequest::parse(text, &HeaderMap::new()).expect("a call");
        assert_eq!(call.name, "crm__g\"et");
        assert_eq!(call.arguments.as_deref(), Some(&br#"{ "n":9007199254740993 , "a":[1.0] }"#[..]));
        assert_eq!(call.params, r#"{"name":"crm__g\"et","arguments":{ "n":9007199254740993 , "a":[1.0] }}"#);
        assert_eq!(call.patience.map(|patience| patience.within(Duration::MAX)), Some(Duration::from_millis(1500)));
        let bare = CallRequest::parse(r#"{"name":"x"}"#, &HeaderMap::new()).expect("a call");
        assert_eq!((bare.params.as_ref(), bare.arguments), (&br#"{"name":"x"}"#[..], None));
    }

    #[test]
    fn everything_else_is_refused_with_what_is_right() {
        for (text, status, told) in [
            ("[]", 400, "object"),
            ("{}", 400, "`name` is missing"),
            (r#"{"name":5}"#, 400, "`name` is a string"),
            (r#"{"name":"x","arguments":null}"#, 400, "`arguments` is an object"),
            (r#"{"name":"x","arguments":"{}"}"#, 400, "`arguments` is an object"),
            (r#"{"name":"x","timeout":5}"#, 400, "\"timeout\""),
            (r#"{"name":"x","timeoutMs":5}"#, 400, "`timeout_ms`"),
            (r#"{"name":"x","_meta":{}}"#, 400, "\"_meta\""),
            (r#"{"name":"x","timeout_ms":0}"#, 400, "whole number of milliseconds"),
            (r#"{"name":"x","timeout_ms":"5"}"#, 400, "whole number of milliseconds"),
            (r#"{"name":"x","timeout_ms":null}"#, 400, "whole number of milliseconds"),
            (r#"{"name":"x","idempotency_key":null}"#, 400, "visible ASCII"),
            (r#"{"name":"x","idempotency_key":"a b"}"#, 400, "visible ASCII"),
        ] {
            let refusal = CallRequest::parse(text, &HeaderMap::new()).expect_err(text);
            assert_eq!(refusal.status, status, "{text}");
            assert!(refusal.text.contains(told), "{text}: {}", refusal.text);
        }
    }
}
