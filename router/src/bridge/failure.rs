//! The answers that the bridge itself gives, because the router gave none that the client could read.

use std::time::Duration;

use adapters::json;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::message::{Id, Malformed};

/// Why a request got no answer of the router.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection: certainly not sent.
    Unreachable { reason: String, tried_for: Duration },
    /// The router's certificate is not one to trust: nothing was sent.
    Untrusted { reason: String },
    /// The connection was lost, or closed, after the request may have been sent.
    Lost { reason: String },
    /// Not one byte came for this long.
    Silent { waited: Duration },
    /// An HTTP status without an answer for the client in the body.
    Status(Box<Refusal>),
    /// An answer that is none.
    Unusable { reason: String },
    /// An answer, or one event of it, beyond what the bridge holds in memory.
    TooLarge { bytes_max: usize },
    /// Too many requests wait already. Not sent.
    Overloaded,
}

/// What an answer of the bridge may name.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The router's address, for texts.
    pub(super) router: String,
    pub(super) has_key: bool,
}

/// An answer by HTTP status alone.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    retry_after: Option<String>,
    location: Option<String>,
    /// What the router says in a problem document (RFC 9457).
    detail: Option<String>,
    sent_bytes: usize,
}

impl Refusal {
    /// What the head and the body of an answer say. `sent_bytes`: the size of what was sent.
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: &[u8], sent_bytes: usize) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
        let is_problem = text(header::CONTENT_TYPE).is_some_and(|media| media.starts_with("application/problem+json"));
        let detail = is_problem.then(|| serde_json::from_slice::<Problem>(body).ok()).flatten();
        Self {
            status,
            retry_after: text(header::RETRY_AFTER).filter(|wait| wait.bytes().all(|byte| byte.is_ascii_digit())),
            location: text(header::LOCATION),
            detail: detail.map(|Problem { detail }| detail.chars().take(DETAIL_CHARS_MAX).collect()),
            sent_bytes,
        }
    }

    fn text(&self, names: &Names) -> String {
        let (router, status) = (&names.router, self.status);
        let detail = self.detail.as_ref().map(|detail| format!(" It says: {detail}")).unwrap_or_default();
        format!("{router} answered HTTP {status}: {}.{detail}", self.advice(names))
    }

    fn advice(&self, names: &Names) -> String {
        match self.status {
            StatusCode::UNAUTHORIZED if names.has_key => {
                "the key in WEIR_API_KEY is wrong, expired or revoked. Put a valid one there (in Claude Desktop: `env` of this server) and start again".into()
            }
            StatusCode::UNAUTHORIZED => {
                "it wants a key. Set WEIR_API_KEY to one (in Claude Desktop: `env` of this server) and start again".into()
            }
            StatusCode::FORBIDDEN => {
                "the request is forbidden. Ask who runs Weir whether this key, or this host name, may use it".into()
            }
            StatusCode::NOT_FOUND => {
                "there is no MCP endpoint. Correct the --url of `weir stdio`; the path is usually /mcp".into()
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                let bytes = self.sent_bytes;
                format!("the request of {bytes} bytes is larger than it takes. Send less at once, or have its limit for bodies raised")
            }
            StatusCode::TOO_MANY_REQUESTS => match &self.retry_after {
                Some(seconds) => format!("too many requests. Try again in {seconds} s"),
                None => "too many requests. Try again later".into(),
            },
            status if status.is_redirection() => match &self.location {
                // Following it could carry the key to another host.
                Some(location) => {
                    format!("it points to {location}. If you trust that address, make it the --url of `weir stdio`")
                }
                None => "it points elsewhere without saying where. Correct the --url of `weir stdio`".into(),
            },
            status if status.is_server_error() => {
                format!("Weir, or a gateway before it, is in trouble. Try again in a minute. {MAYBE_DONE}")
            }
            _ => "look into the log of Weir for the reason".into(),
        }
    }
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

// Codes of an application's own lie outside -32768..=-32000 (MCP 2026-07-28, basic/index, "Error Codes").
const UNREACHABLE: i32 = -31_001;
const LOST: i32 = -31_002;
const REFUSED: i32 = -31_003;
const UNUSABLE: i32 = -31_004;
const OVERLOADED: i32 = -31_005;
const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;

/// How much of a router's own words is passed on.
const DETAIL_CHARS_MAX: usize = 500;
const MAYBE_DONE: &str =
    "It may have been carried out: before repeating a call that changes something, look whether it did.";

impl Failure {
    /// The answer for the request `id`.
    pub(super) fn answer(&self, id: &Id, names: &Names) -> Bytes {
        let (code, carried_out) = self.class();
        // A client must be able to tell that this is not the router's word (same section, "purely local").
        let status = match self {
            Self::Status(refusal) => format!(r#","httpStatus":{}"#, refusal.status.as_u16()),
            _ => String::new(),
        };
        let data = format!(r#"{{"origin":"weir stdio","carriedOut":"{carried_out}"{status}}}"#);
        error(Some(id), code, &self.text(names), Some(&data))
    }

    /// The code, and whether the request was carried out.
    fn class(&self) -> (i32, &'static str) {
        match self {
            Self::Unreachable { .. } | Self::Untrusted { .. } => (UNREACHABLE, "no"),
            Self::Lost { .. } | Self::Silent { .. } => (LOST, "maybe"),
            // A gateway between bridge and router speaks for a router whose answer it never saw.
            Self::Status(refusal) if refusal.status.is_server_error() => (REFUSED, "maybe"),
            Self::Status(_) => (REFUSED, "no"),
            Self::Unusable { .. } | Self::TooLarge { .. } => (UNUSABLE, "maybe"),
            Self::Overloaded => (OVERLOADED, "no"),
        }
    }

    /// What happened, and what to do.
    pub(super) fn text(&self, names: &Names) -> String {
        let router = &names.router;
        match self {
            Self::Unreachable { reason, tried_for } => {
                let tried = tried_for.as_secs_f32();
                format!("Weir at {router} cannot be reached ({reason}; tried for {tried:.0} s). The request was not sent. Start it with `weir serve`, or correct the --url of `weir stdio`.")
            }
            Self::Untrusted { reason } => {
                format!("The certificate of {router} is not accepted ({reason}). The request was not sent. Add the authority that signed it to those this system trusts, or name a file of authorities in SSL_CERT_FILE.")
            }
            Self::Lost { reason } => {
                format!("The connection to Weir at {router} was lost before the answer came ({reason}). The request may have been sent. {MAYBE_DONE}")
            }
            Self::Silent { waited } => {
                format!("Weir at {router} sent nothing for {} s, so this bridge stopped waiting. {MAYBE_DONE}", waited.as_secs())
            }
            Self::Status(refusal) => refusal.text(names),
            Self::Unusable { reason } => {
                format!("{router} answered with something that is not MCP ({reason}). Look whether the --url of `weir stdio` is the MCP endpoint of Weir; its path is usually /mcp. {MAYBE_DONE}")
            }
            Self::TooLarge { bytes_max } => {
                let mebibytes = bytes_max / (1024 * 1024);
                format!("The answer is larger than the {mebibytes} MiB this bridge holds. Ask for less: fewer rows, a narrower search, one page at a time. {MAYBE_DONE}")
            }
            Self::Overloaded => "Too many requests wait in this bridge already. This one was not sent; send it again when others are answered.".into(),
        }
    }
}

/// The answer to a line that is no message. Its id could not be read.
pub(super) fn malformed(malformed: &Malformed) -> Bytes {
    match malformed {
        Malformed::NotJson(reason) => {
            error(None, PARSE_ERROR, &format!("Parse error: {reason}. Each line must be one JSON-RPC message."), None)
        }
        Malformed::NotAMessage => error(
            None,
            INVALID_REQUEST,
            "Invalid request: neither a request nor a notification nor a response of JSON-RPC 2.0.",
            None,
        ),
    }
}

/// The answer to a line beyond the limit.
pub(super) fn line_too_long(bytes_max: usize) -> Bytes {
    error(
        None,
        INVALID_REQUEST,
        &format!("Invalid request: a line is longer than {bytes_max} bytes. It was not sent; send less at once."),
        None,
    )
}

/// An error of the router that named no request, as the answer to the one it was about: its error object stays as it is.
pub(super) fn attributed(id: &Id, error_object: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error_object}}}"#, id.text()).into()
}

fn error(id: Option<&Id>, code: i32, message: &str, data: Option<&str>) -> Bytes {
    // An id that could not be read is left out (MCP 2026-07-28, schema, `JSONRPCErrorResponse`): there it is never null.
    let id = id.map_or(String::new(), |id| format!(r#","id":{}"#, id.text()));
    let data = data.map_or(String::new(), |data| format!(r#","data":{data}"#));
    let message = json::string(message);
    format!(r#"{{"jsonrpc":"2.0"{id},"error":{{"code":{code},"message":{message}{data}}}}}"#).into()
}
