//! The answers that the bridge itself gives, because the router gave none that the client could read.

use std::time::Duration;

use adapters::json;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::message::{Id, Malformed};

/// Why a request got no answer of the router.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection: certainly not sent.
    Unreachable { reason: String, tried_for: Duration },
    /// The connection was lost, or closed, after the request may have been sent.
    Lost { reason: String },
    /// Not one byte came for this long.
    Silent { waited: Duration },
    /// An HTTP status without an answer for the client in the body.
    Status { status: StatusCode, headers: Box<HeaderMap>, sent_bytes: usize },
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

/// Whether the request has reached the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    No,
    Yes,
    Maybe,
}

// Codes of an application's own lie outside -32768..=-32000 (MCP 2026-07-28, basic/index, "Error Codes").
const UNREACHABLE: i32 = -31_001;
const LOST: i32 = -31_002;
const REFUSED: i32 = -31_003;
const UNUSABLE: i32 = -31_004;
const OVERLOADED: i32 = -31_005;
const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;

const MAYBE_DONE: &str =
    "It may have been carried out: before repeating a call that changes something, look whether it did.";

impl Failure {
    /// The answer for the request `id`.
    pub(super) fn answer(&self, id: &Id, names: &Names) -> Bytes {
        let (code, sent) = self.class();
        let sent = match sent {
            Sent::No => "no",
            Sent::Yes => "yes",
            Sent::Maybe => "maybe",
        };
        // A client must be able to tell that this is not the router's word (same section, "purely local").
        let mut data = format!(r#"{{"origin":"weir stdio","sent":"{sent}""#);
        if let Self::Status { status, .. } = self {
            data.push_str(&format!(r#","httpStatus":{}"#, status.as_u16()));
        }
        data.push('}');
        error(Some(id), code, &self.text(names), Some(&data))
    }

    fn class(&self) -> (i32, Sent) {
        match self {
            Self::Unreachable { .. } => (UNREACHABLE, Sent::No),
            Self::Lost { .. } | Self::Silent { .. } => (LOST, Sent::Maybe),
            Self::Status { status, .. } if is_gateway_trouble(*status) => (REFUSED, Sent::Maybe),
            Self::Status { .. } => (REFUSED, Sent::Yes),
            Self::Unusable { .. } | Self::TooLarge { .. } => (UNUSABLE, Sent::Maybe),
            Self::Overloaded => (OVERLOADED, Sent::No),
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
            Self::Lost { reason } => {
                format!("The connection to Weir at {router} was lost before the answer came ({reason}). The request may have been sent. {MAYBE_DONE}")
            }
            Self::Silent { waited } => {
                format!("Weir at {router} sent nothing for {} s, so this bridge stopped waiting. {MAYBE_DONE}", waited.as_secs())
            }
            Self::Status { status, headers, sent_bytes } => status_text(*status, headers, *sent_bytes, names),
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

/// A gateway between bridge and router speaks for a router whose answer it never saw.
fn is_gateway_trouble(status: StatusCode) -> bool {
    status.is_server_error()
}

fn status_text(status: StatusCode, headers: &HeaderMap, sent_bytes: usize, names: &Names) -> String {
    let router = &names.router;
    let what_to_do = match status {
        StatusCode::UNAUTHORIZED if names.has_key => {
            "the key in WEIR_API_KEY is wrong, expired or revoked. Put a valid one there (in Claude Desktop: `env` of this server) and start again".into()
        }
        StatusCode::UNAUTHORIZED => "it wants a key. Set WEIR_API_KEY to one (in Claude Desktop: `env` of this server) and start again".into(),
        StatusCode::FORBIDDEN => "the request is forbidden. Ask who runs Weir whether this key, or this host name, may use it".into(),
        StatusCode::NOT_FOUND => "there is no MCP endpoint. Correct the --url of `weir stdio`; the path is usually /mcp".into(),
        StatusCode::PAYLOAD_TOO_LARGE => {
            format!("the request of {sent_bytes} bytes is larger than it takes. Send less at once, or have its limit for bodies raised")
        }
        StatusCode::TOO_MANY_REQUESTS => match headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()) {
            Some(seconds) if seconds.bytes().all(|byte| byte.is_ascii_digit()) => format!("too many requests. Try again in {seconds} s"),
            _ => "too many requests. Try again later".into(),
        },
        status if status.is_redirection() => match headers.get(header::LOCATION).and_then(|value| value.to_str().ok()) {
            // Following it could carry the key to another host.
            Some(location) => format!("it points to {location}. If you trust that address, make it the --url of `weir stdio`"),
            None => "it points elsewhere without saying where. Correct the --url of `weir stdio`".into(),
        },
        status if is_gateway_trouble(status) => format!("Weir, or a gateway before it, is in trouble. Try again in a minute. {MAYBE_DONE}"),
        _ => "look into the log of Weir for the reason".into(),
    };
    format!("{router} answered HTTP {status}: {what_to_do}")
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
    // JSON-RPC 2.0, section 5, "id": null when the id of the request could not be read.
    let id = id.map_or("null", Id::text);
    let data = data.map_or(String::new(), |data| format!(r#","data":{data}"#));
    let message = json::string(message);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}{data}}}}}"#).into()
}
