//! How the results of one tool are cached.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Period, TagTemplate};

/// How long the results of a tool that reads are kept, and for whom. The figures are ages: the largest of them is the oldest answer that
/// anybody can get.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolCache {
    /// Up to this age an answer is given without asking the downstream.
    pub fresh_for: Period,
    /// Up to this age an answer is given at once while it is fetched again in the background.
    #[serde(default)]
    pub stale_while_refreshing: Option<Period>,
    /// How long a caller waits for a fetch before it is given an older answer, up to the age of `stale_on_error`. The fetch goes on.
    #[serde(default)]
    pub stale_after_waiting: Option<Period>,
    /// Up to this age an answer is given when the downstream fails.
    #[serde(default)]
    pub stale_on_error: Option<Period>,
    /// How long "there is no such thing" is an answer; it is never given stale. Not stated: it is not kept.
    #[serde(default)]
    pub not_found_for: Option<Period>,
    /// Who may have one and the same answer.
    #[serde(default)]
    pub partition: Partition,
    /// What the answer is about, over arguments and result: `customer:{customer_id}`, `ticket:{result.key}`. Whatever raises one of these
    /// tags ends the answer.
    #[serde(default)]
    pub tags: Vec<TagTemplate>,
}

/// Who may have one and the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Partition {
    /// One caller, with the roles it has now.
    #[default]
    Private,
    /// One caller, and only with the credential that it shows now.
    Token,
    /// Every caller with the same roles. Only for tools whose results do not depend on who asks.
    Shared,
}
