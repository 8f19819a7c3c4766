//! What callers may not see of what they get.

mod path;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Glob;

pub use path::{JsonPath, NoPath, Selector, Step};

/// The detectors that there are without any config.
pub const DETECTORS: [&str; 6] = ["email", "card", "phone", "iban", "national_id", "secret"];
/// What a pattern of the config takes in memory at most.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What callers may not see of what they get. A role names its profile (`policy.roles.<role>.masking`).
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Masking {
    /// Profiles by name.
    pub profiles: IndexMap<String, Profile>,
    /// Further detectors by name: what matches the pattern is found wherever a rule says `detect: [<name>]`. Log and audit use all of them.
    pub detectors: IndexMap<String, Detector>,
    /// Further names of members whose values log and audit never show, beside `password`, `token` and the like.
    pub sensitive_names: Vec<String>,
}

/// The rules for one kind of reader.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// What is masked. Several rules may fit one value: the first counts.
    pub rules: Vec<MaskRule>,
    /// Whether an answer with parts that cannot be looked into (images, sound, other binary content) is refused as a whole.
    pub strict: bool,
}

/// What is masked, and how. Exactly one of `path` and `detect` is given.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskRule {
    /// The tools whose answers it is for, as patterns over namespaced names. Not stated: all.
    #[serde(default)]
    pub tools: Vec<Glob>,
    /// Values by their place in the structured result, and in any text that is JSON, as a JSONPath (RFC 9535, without filters and places
    /// counted from the end): `$..email`, `$.rows[*].iban`. A value of at least four characters is masked wherever it recurs in the answer.
    #[serde(default)]
    pub path: Option<String>,
    /// Values by what they look like: `email`, `card`, `phone`, `iban`, `national_id`, `secret`, or a name of `masking.detectors`.
    #[serde(default)]
    pub detect: Vec<String>,
    /// What takes the place of a value.
    pub with: Strategy,
    /// For `pseudonym`: the kind of thing the value names, `[a-z][a-z0-9]{0,11}`: `cust` gives `cust_7f3ak2m9qx`. An argument of a tool that says
    /// `accepts: cust` takes it back.
    #[serde(default)]
    pub class: Option<String>,
}

/// What takes the place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Enough to recognise it: `a…@example.com`, `+49 … 89`, the first character of anything else.
    Partial,
    /// Its last four characters: `…1234`. Nothing of what has less than eight.
    Last4,
    /// Nothing of it: `[redacted]`.
    Redact,
    /// A keyed hash: equal values have equal hashes, and nobody can find the value of one.
    Hash,
    /// A name that stands for the value, for this caller alone, who may pass it back.
    Pseudonym,
}

/// A pattern to look for.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// A regular expression that takes linear time: no look-around, no back-references.
    pub pattern: String,
}
