//! The systems Weir calls. Exactly one of the kinds (`postgres`, `mcp`) is given for each.

pub mod mcp;
pub mod postgres;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Effect, Glob, Period};

pub use mcp::{Credential, Era, Mcp, Sharing, WebSocket};
pub use postgres::Postgres;

/// One system that Weir calls. Exactly one of `postgres` and `mcp` is given.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = [{ "required": ["postgres"] }, { "required": ["mcp"] }]))]
pub struct Downstream {
    /// A Postgres database; its tools are the SQL statements under `tools`.
    pub postgres: Option<Postgres>,
    /// Another MCP server; it brings its own tools.
    pub mcp: Option<Mcp>,
    /// Its tools by local name. For `mcp` these are settings for tools that the server brings.
    pub tools: IndexMap<String, Tool>,
    /// For `mcp`: whether the tools not named under `tools` are offered too.
    pub expose: Expose,
    /// Effects of its tools by pattern over local names; the first match counts, `effect` of the tool itself counts more.
    pub effects: Vec<EffectRule>,
    /// How long a call to one of its tools may take, where the tool states nothing.
    pub deadline: Option<Period>,
    /// How many calls to it run at once; more are refused at once with the advice to try again.
    pub calls_max: Option<usize>,
}

/// Which system a downstream is.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// A Postgres database.
    Postgres(&'a Postgres),
    /// Another MCP server.
    Mcp(&'a Mcp),
}

impl Downstream {
    /// Which system it is; `None` where the config names none or several, which `check` refuses.
    #[must_use]
    pub fn kind(&self) -> Option<Kind<'_>> {
        match (&self.postgres, &self.mcp) {
            (Some(postgres), None) => Some(Kind::Postgres(postgres)),
            (None, Some(mcp)) => Some(Kind::Mcp(mcp)),
            (None, None) | (Some(_), Some(_)) => None,
        }
    }

    /// The effect of one of its tools: the tool's own statement, the first matching rule, or `write`.
    #[must_use]
    pub fn effect_of(&self, local_name: &str) -> Effect {
        let stated = self.tools.get(local_name).and_then(|tool| tool.effect);
        let by_rule = || self.effects.iter().find(|rule| rule.pattern.matches(local_name)).map(|rule| rule.effect);
        stated.or_else(by_rule).unwrap_or_default()
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

/// One tool: defined here for `postgres`, adjusted here for `mcp`.
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
    /// For `postgres`: its arguments by name, in the order of `$1`, `$2`, ….
    pub arguments: IndexMap<String, Argument>,
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
