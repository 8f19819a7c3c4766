//! The systems Weir calls. Exactly one of the kinds (`postgres`, `mainframe`, `ticketing`, `mcp`) is given for each.

pub mod caching;
pub mod credential;
pub mod mainframe;
pub mod mcp;
pub mod postgres;
pub mod resilience;
pub mod ticketing;

use std::path::Path;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Effect, Glob, Period, SecretRef, TagTemplate};

pub use caching::{Partition, ToolCache};
pub use credential::{ClientCertificate, Credential};
pub use mainframe::Mainframe;
pub use mcp::{Era, Mcp, McpHttp, Sharing, Stdio, Transport, WebSocket};
pub use postgres::Postgres;
pub use resilience::{Breaker, Closed, Day, FairBy, Line, Retries};
pub use ticketing::Ticketing;

/// How many calls to one downstream run at once, where the config states nothing.
const CALLS_MAX_DEFAULT: usize = 256;

/// One system that Weir calls. Exactly one of `postgres`, `mainframe`, `ticketing` and `mcp` is given.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = [
    { "required": ["postgres"] }, { "required": ["mainframe"] }, { "required": ["ticketing"] }, { "required": ["mcp"] }
]))]
pub struct Downstream {
    /// A Postgres database; its tools are the SQL statements under `tools`.
    pub postgres: Option<Postgres>,
    /// A legacy system over HTTP; its tools are the requests under `tools`.
    pub mainframe: Option<Mainframe>,
    /// A ticketing system; it brings five tools.
    pub ticketing: Option<Ticketing>,
    /// Another MCP server; it brings its own tools.
    pub mcp: Option<Mcp>,
    /// Its tools by local name. For `mcp` and `ticketing` these are settings for tools that are there without them.
    pub tools: IndexMap<String, Tool>,
    /// For `mcp` and `ticketing`: whether the tools not named under `tools` are offered too.
    pub expose: Expose,
    /// Effects of its tools by pattern over local names; the first match counts, `effect` of the tool itself counts more.
    pub effects: Vec<EffectRule>,
    /// How long a call to one of its tools may take, where the tool states nothing.
    pub deadline: Option<Period>,
    /// How many calls to it run at once in one process; more wait in `line`. Not stated: 256. Never more than it has connections for.
    pub calls_max: Option<usize>,
    /// How many calls to it run at once in all replicas together, by permits that Redis gives out. For a mainframe this is its `concurrency`.
    pub calls_max_shared: Option<usize>,
    /// The calls that wait for it.
    pub line: Line,
    /// What its tools bring together, where a tool states nothing of its own: `private`, `untrusted`, `outward`. Not stated: by its kind and
    /// by what a tool does. `weir check` warns of a role that has all three.
    pub labels: Option<Vec<Label>>,
    /// When an attempt is repeated.
    pub retries: Retries,
    /// When it is left alone because it fails.
    pub breaker: Breaker,
    /// The times in which it is not called.
    pub closed: Vec<Closed>,
}

/// Which system a downstream is.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// A Postgres database.
    Postgres(&'a Postgres),
    /// A legacy system over HTTP.
    Mainframe(&'a Mainframe),
    /// A ticketing system.
    Ticketing(&'a Ticketing),
    /// Another MCP server.
    Mcp(&'a Mcp),
}

impl Downstream {
    /// Which system it is; `None` where the config names none or several, which `check` refuses.
    #[must_use]
    pub fn kind(&self) -> Option<Kind<'_>> {
        let kinds = [
            self.postgres.as_ref().map(Kind::Postgres),
            self.mainframe.as_ref().map(Kind::Mainframe),
            self.ticketing.as_ref().map(Kind::Ticketing),
            self.mcp.as_ref().map(Kind::Mcp),
        ];
        let mut given = kinds.into_iter().flatten();
        given.next().filter(|_| given.next().is_none())
    }

    /// How many calls to it run at once in all replicas together.
    #[must_use]
    pub fn calls_max_shared(&self) -> Option<usize> {
        self.calls_max_shared.or_else(|| self.mainframe.as_ref().map(|mainframe| mainframe.concurrency))
    }

    /// How many calls to it run at once in one process. More would wait for a connection or a permit, and by no fair order.
    #[must_use]
    pub fn calls_max(&self) -> usize {
        let connections = match self.kind() {
            Some(Kind::Postgres(postgres)) => Some(postgres.pool_max),
            Some(Kind::Ticketing(ticketing)) => Some(ticketing.connections_max),
            // One of several is for its notices.
            Some(Kind::Mcp(mcp)) => mcp.http.as_ref().map(|http| http.connections_max.saturating_sub(1).max(1)),
            Some(Kind::Mainframe(_)) | None => None,
        };
        let stated = self.calls_max.unwrap_or(CALLS_MAX_DEFAULT);
        [connections, self.calls_max_shared()].into_iter().flatten().fold(stated, usize::min)
    }

    /// What Weir shows it over HTTP, where it shows anything.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        let of_mainframe = self.mainframe.as_ref().and_then(|mainframe| mainframe.credential.as_ref());
        let of_ticketing = || self.ticketing.as_ref().and_then(|ticketing| ticketing.credential.as_ref());
        of_mainframe.or_else(of_ticketing).or_else(|| self.mcp.as_ref().and_then(Mcp::credential))
    }

    /// What one of its tools brings together: what the tool states, what the downstream states, or what its kind is likely to. The local
    /// name may also be a pattern, for tools that are not known yet.
    #[must_use]
    pub fn labels_of(&self, local_name: &str) -> &[Label] {
        if let Some(stated) = self.tools.get(local_name).and_then(|tool| tool.labels.as_ref()).or(self.labels.as_ref())
        {
            return stated;
        }
        match (self.kind(), self.effect_of(local_name).writes()) {
            (Some(Kind::Postgres(_) | Kind::Mainframe(_)), false) => &[Label::Private],
            (Some(Kind::Ticketing(_) | Kind::Mcp(_)), false) => &[Label::Untrusted],
            (Some(Kind::Ticketing(_)), true) => &[Label::Outward],
            (Some(Kind::Mcp(_)), true) => &[Label::Untrusted, Label::Outward],
            (Some(Kind::Postgres(_) | Kind::Mainframe(_)) | None, _) => &[],
        }
    }

    /// Every secret that its settings refer to.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretRef> {
        let url = self.postgres.iter().map(|postgres| &postgres.url);
        let of_process = self.mcp.iter().filter_map(|mcp| mcp.stdio.as_ref()).flat_map(|stdio| stdio.secrets.values());
        let key = self.tls().1.map(|certificate| &certificate.key);
        let credentials = self.credential().into_iter().flat_map(Credential::secrets);
        url.chain(credentials).chain(of_process).chain(key).collect()
    }

    /// The files of certificates that its settings refer to.
    #[must_use]
    pub fn certificate_files(&self) -> Vec<&Path> {
        let (ca, shown) = self.tls();
        ca.into_iter().chain(shown.map(|shown| shown.certificate.as_path())).collect()
    }

    /// The authorities that vouch for it, and the certificate that it is shown.
    #[must_use]
    pub fn tls(&self) -> (Option<&Path>, Option<&ClientCertificate>) {
        match self.kind() {
            Some(Kind::Postgres(it)) => (it.ca.as_deref(), it.client_certificate.as_ref()),
            Some(Kind::Mainframe(it)) => (it.ca.as_deref(), it.client_certificate.as_ref()),
            Some(Kind::Ticketing(it)) => (it.ca.as_deref(), it.client_certificate.as_ref()),
            Some(Kind::Mcp(mcp)) => match mcp.transport() {
                Some(Transport::Http(it)) => (it.ca.as_deref(), it.client_certificate.as_ref()),
                Some(Transport::WebSocket(it)) => (it.ca.as_deref(), it.client_certificate.as_ref()),
                Some(Transport::Stdio(_)) | None => (None, None),
            },
            None => (None, None),
        }
    }

    /// The effect of one of its tools: the tool's own statement, the first matching rule, what is known of the tools of a
    /// ticketing system, or `write`.
    #[must_use]
    pub fn effect_of(&self, local_name: &str) -> Effect {
        self.stated_effect_of(local_name).unwrap_or_default()
    }

    /// Whether any of its tools may count as a write, also one that is not known yet.
    #[must_use]
    pub fn may_write(&self) -> bool {
        let rules = self.effects.iter().map(|rule| (rule.pattern.as_str() == "*", rule.effect.writes()));
        let by_rules = rules.clone().any(|(_, writes)| writes) || !rules.clone().any(|(is_for_all, _)| is_for_all);
        // The tools of these are those of the config.
        let are_known = self.postgres.is_some() || self.mainframe.is_some();
        self.tools.keys().any(|tool| self.effect_of(tool).writes()) || (by_rules && !are_known)
    }

    /// The same where the config states it or the kind of downstream knows it.
    #[must_use]
    pub fn stated_effect_of(&self, local_name: &str) -> Option<Effect> {
        let stated = self.tools.get(local_name).and_then(|tool| tool.effect);
        let by_rule = || self.effects.iter().find(|rule| rule.pattern.matches(local_name)).map(|rule| rule.effect);
        let known = || self.ticketing.as_ref().and_then(|_| Ticketing::effect_of(local_name));
        stated.or_else(by_rule).or_else(known)
    }
}

/// What a tool brings together in a model's context, for the warning about a role that has all three: whoever can write what the model
/// reads could have it send away what it must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// It shows what not everybody may know. The default for reads of `postgres` and `mainframe`.
    Private,
    /// It shows what strangers wrote. The default for reads of `ticketing`, and for `mcp`.
    Untrusted,
    /// It sends something to where others may read it. The default for writes of `ticketing` and `mcp`.
    Outward,
}

impl Label {
    /// The word in the config.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Untrusted => "untrusted",
            Self::Outward => "outward",
        }
    }
}

/// Which tools of an MCP server are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expose {
    /// All that it lists.
    #[default]
    All,
    /// Only those named under `tools`.
    Listed,
}

/// An effect for all tools whose local name matches.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EffectRule {
    /// Over local names: `get_*`.
    #[serde(rename = "match")]
    pub pattern: Glob,
    /// What those tools do.
    pub effect: Effect,
}

/// One tool: defined here for `postgres` and `mainframe`, adjusted here for `mcp` and `ticketing`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tool {
    /// What the model reads to decide whether and how to call it.
    pub description: Option<String>,
    /// What calling it does. Not stated: `write`.
    pub effect: Option<Effect>,
    /// How long a call may take.
    pub deadline: Option<Period>,
    /// For `postgres`: one SQL statement with `$1`, `$2`, … for the arguments in the order in which they are listed.
    pub sql: Option<String>,
    /// For `mainframe`: the request that it makes.
    pub request: Option<mainframe::RequestTemplate>,
    /// For `mainframe`: how the answer is read.
    pub answer: mainframe::AnswerFormat,
    /// For `postgres` and `mainframe`: its arguments by name; for `postgres` in the order of `$1`, `$2`, ….
    pub arguments: IndexMap<String, Argument>,
    /// Arguments that take a pseudonym back, as JSON Pointers: `/customer_id: cust` puts the value in the place of a `cust_…` that this caller was shown.
    pub accepts: IndexMap<String, String>,
    /// What it brings together, in the place of what the downstream states. An empty list: nothing of the kind.
    pub labels: Option<Vec<Label>>,
    /// How much of each limit (`limits`) that fits it one call takes; 0 for nothing. Not stated: 1.
    pub cost: Option<u64>,
    /// For tools that read: how long their results are kept. Not stated: every call goes to the downstream.
    pub cache: Option<ToolCache>,
    /// For tools that write: the tags of what they change, such as `customer:{customer_id}`. Cached answers with one of these tags end.
    pub invalidates: Vec<TagTemplate>,
    /// For tools that write: how long after its deadline a write without an answer may still take effect.
    pub settles_within: Option<Period>,
    /// The longest answer that is given at once, in characters, at least 1000. A longer one comes in parts, cut between rows, items or
    /// lines; the caller gets the next part with `weir__next_page` within five minutes. Not stated: answers are given whole.
    pub answer_characters_max: Option<usize>,
}

/// One argument of a tool.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Argument {
    /// Its JSON type.
    #[serde(rename = "type")]
    pub kind: ArgumentType,
    /// What the model reads about it.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether the caller must give it. One that is left out is `default`, or NULL.
    #[serde(default = "required")]
    pub required: bool,
    /// What is sent when the caller leaves it out; makes it optional.
    #[serde(default)]
    pub default: Option<serde_json::Value>,
    /// The only values it may have.
    #[serde(default, rename = "enum")]
    pub one_of: Option<Vec<serde_json::Value>>,
    /// The smallest number it may be.
    #[serde(default)]
    pub minimum: Option<serde_json::Number>,
    /// The largest number it may be.
    #[serde(default)]
    pub maximum: Option<serde_json::Number>,
    /// For `array`: the type of its items.
    #[serde(default)]
    pub items: Option<ArgumentType>,
}

fn required() -> bool {
    true
}

/// The JSON type of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentType {
    /// Text; also for dates, times, uuids and other values that SQL reads from text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// A list of `items`.
    Array,
    /// Any JSON object, for `json` and `jsonb`.
    Object,
}

impl ArgumentType {
    /// The word that JSON Schema uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}
