//! Names of downstreams, and how tool names are formed from them.

use std::{borrow::Borrow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// The name under which Weir's own tools live; no downstream may take it.
pub const RESERVED: &str = "weir";
/// The longest name a downstream may have, so that room is left for the tool.
pub const DOWNSTREAM_NAME_LENGTH_MAX: usize = 32;

/// The name of a downstream: `[a-z][a-z0-9-]*`, at most 32 characters, not `weir`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct DownstreamName(String);

impl DownstreamName {
    /// Checks `name` against the rule for downstream names.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the name and what a right one looks like.
    pub fn new(name: &str) -> Result<Self, String> {
        let mut characters = name.chars();
        let starts_well = characters.next().is_some_and(|c| c.is_ascii_lowercase());
        if !starts_well || !characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            return Err(format!(
                "`{name}` cannot name a downstream: use a lower-case letter followed by lower-case letters, digits or `-`, for example `crm`"
            ));
        }
        if name.len() > DOWNSTREAM_NAME_LENGTH_MAX {
            return Err(format!(
                "`{name}` is too long for a downstream: at most {DOWNSTREAM_NAME_LENGTH_MAX} characters"
            ));
        }
        if name == RESERVED {
            return Err(format!("`{RESERVED}` is reserved for Weir's own tools: choose another name"));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name under which Weir's own tools live. No config gives it.
    #[must_use]
    pub fn own() -> Self {
        Self(RESERVED.to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DownstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for DownstreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for DownstreamName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for DownstreamName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DownstreamName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z][a-z0-9-]*$", "maxLength": DOWNSTREAM_NAME_LENGTH_MAX })
    }
}

/// How tool names are formed: `<downstream>__<tool>`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    /// Whether a tool's name starts with its downstream's. `false` is allowed with exactly one downstream.
    pub prefix: bool,
    /// The longest name shown to callers, in characters; longer ones get a stable alias. From 24 to 128.
    pub name_length_max: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self { prefix: true, name_length_max: 64 }
    }
}
