//! A legacy system over HTTP.

pub mod template;

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ClientCertificate, Credential};
use crate::{ByteSize, Period};

pub use template::{Part, Template, TemplateError};

/// A legacy system over HTTP; its tools are the requests under `tools`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mainframe {
    /// `https://host/path`, which every tool's path is appended to; `http://` is for hosts you trust the way to.
    pub base_url: String,
    /// What Weir shows the system to be let in.
    #[serde(default)]
    pub credential: Option<Credential>,
    /// Certificates of the authorities that vouch for it, PEM. Not stated: those that the system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The certificate that Weir shows it (TLS client authentication).
    #[serde(default)]
    pub client_certificate: Option<ClientCertificate>,
    /// The code page of its texts, where a tool states no other.
    #[serde(default)]
    pub encoding: Encoding,
    /// How many calls it gets at once, from all replicas together; more wait in line.
    #[serde(default = "Mainframe::concurrency")]
    pub concurrency: usize,
    /// How long connecting may take, with TLS.
    #[serde(default = "Mainframe::connect_timeout")]
    pub connect_timeout: Period,
    /// How long one attempt may take from its first byte on, within the deadline of the call.
    #[serde(default = "Mainframe::attempt_timeout")]
    pub attempt_timeout: Period,
    /// The longest silence within an answer that has begun.
    #[serde(default = "Mainframe::idle_timeout")]
    pub idle_timeout: Period,
    /// The largest answer that is accepted.
    #[serde(default = "Mainframe::answer_bytes_max")]
    pub answer_bytes_max: ByteSize,
    /// The header by which it heeds idempotency keys, such as `Idempotency-Key`: then writes carry a key in it, made from the caller and its key,
    /// so that those of two callers never are the same.
    #[serde(default)]
    pub idempotency_header: Option<String>,
    /// How to recognise answers that say with status 200 that something went wrong. The first that fits counts.
    #[serde(default)]
    pub error_screens: Vec<ErrorScreen>,
}

impl Mainframe {
    fn concurrency() -> usize {
        8
    }

    fn connect_timeout() -> Period {
        Period::s(1)
    }

    fn attempt_timeout() -> Period {
        Period::s(15)
    }

    fn idle_timeout() -> Period {
        Period::s(10)
    }

    fn answer_bytes_max() -> ByteSize {
        ByteSize::mib(1)
    }
}

/// A code page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// EBCDIC, code page 037 (USA, Canada).
    #[default]
    Cp037,
    /// ASCII and its extension UTF-8.
    Utf8,
}

/// An answer that says with status 200 that something went wrong. All that it states must fit, and it states at least one of
/// `contains`, `content_type` and `json`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorScreen {
    /// Text that stands in the answer, which is read in the downstream's code page and as ASCII.
    pub contains: Option<String>,
    /// Its media type, such as `text/html`.
    pub content_type: Option<String>,
    /// A value in it, where it is JSON.
    pub json: Option<JsonRule>,
    /// What it means.
    pub means: Meaning,
    /// What the caller is told instead of the text of the screen.
    pub say: Option<String>,
}

/// What stands at one place of a JSON answer. Exactly one of `equals` and `other_than` is given; `null` is a value like any other.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonRule {
    /// The place, as a JSON pointer: `/rc`, `/status/code`. An answer without this place does not fit.
    pub at: String,
    /// The value that stands there.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub equals: Option<serde_json::Value>,
    /// Any value stands there but this one.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub other_than: Option<serde_json::Value>,
}

/// A value that stands in the text, `null` among them.
fn given<'de, D: Deserializer<'de>>(text: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(text).map(Some)
}

/// What an error screen means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// The system understood and said no.
    #[default]
    Rejected,
    /// There is no such thing.
    NotFound,
    /// It is busy: later, the same call may go well.
    Busy,
    /// It is not available at all.
    Unavailable,
    /// It does not accept Weir's own credential.
    Unauthorized,
}

/// The request that a tool of a `mainframe` makes. `{name}` stands for the argument of that name, encoded for its place;
/// `{{` and `}}` stand for braces.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestTemplate {
    /// The method.
    #[serde(default)]
    pub method: HttpMethod,
    /// The path behind `base_url`: `/accounts/{account_id}`. An argument stays within its segment, and must not be left out.
    pub path: String,
    /// Parameters of the query. One whose arguments are all left out is left out.
    #[serde(default)]
    pub query: IndexMap<String, String>,
    /// Headers. One whose arguments are all left out is left out.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// What is sent.
    #[serde(default)]
    pub body: Option<BodyTemplate>,
}

/// A method of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// Reads.
    #[default]
    Get,
    /// Sends.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

/// What a request sends.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BodyTemplate {
    /// JSON. A text that is one placeholder alone becomes the argument with its type; one whose arguments are all left out is
    /// left out.
    Json(serde_json::Value),
    /// `application/x-www-form-urlencoded`. One whose arguments are all left out is left out.
    Form(IndexMap<String, String>),
}

/// How a tool's answer is read.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AnswerFormat {
    /// JSON.
    #[default]
    Json,
    /// Records of fixed width, by a COBOL copybook.
    FixedWidth(FixedWidth),
}

/// Records of fixed width. Exactly one of `copybook` and `copybook_file` is given.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FixedWidth {
    /// The copybook.
    pub copybook: Option<String>,
    /// The file with the copybook, looked for beside the config file.
    pub copybook_file: Option<PathBuf>,
    /// The code page, where it is another than the downstream's.
    pub encoding: Option<Encoding>,
    /// Whether the answer is a list of records, one after the other, rather than one.
    pub many: bool,
}
