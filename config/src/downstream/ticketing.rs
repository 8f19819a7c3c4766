//! A ticketing system.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ArgumentType, ClientCertificate, Credential};
use crate::{ByteSize, Effect, Period};

/// A ticketing system. Its tools are the same whatever the provider: `search_tickets`, `get_ticket`, `create_ticket`,
/// `update_ticket_status`, `add_comment`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ticketing {
    /// Which system it is.
    pub provider: Provider,
    /// `https://your-site.atlassian.net`, or `https://api.atlassian.com/ex/jira/CLOUD-ID` for tokens with scopes; `http://` is for
    /// hosts you trust the way to.
    pub base_url: String,
    /// Where people read tickets, if that is not `base_url`: the links in answers start with it.
    #[serde(default)]
    pub site_url: Option<String>,
    /// What Weir shows the system to be let in. Jira Cloud: `basic` with the account's e-mail address and an API token.
    #[serde(default)]
    pub credential: Option<Credential>,
    /// Certificates of the authorities that vouch for it, PEM. Not stated: those that the system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The certificate that Weir shows it (TLS client authentication).
    #[serde(default)]
    pub client_certificate: Option<ClientCertificate>,
    /// The keys of the projects whose tickets can be seen and changed, such as `SUP`. None means all that the credential reaches.
    #[serde(default)]
    pub projects: Vec<String>,
    /// The project of new tickets, where the caller names none. One of `projects`, where there are any.
    #[serde(default)]
    pub default_project: Option<String>,
    /// The type of new tickets, where the caller names none.
    #[serde(default = "Ticketing::ticket_type")]
    pub ticket_type: String,
    /// Whether a new ticket gets the label `weir-` with the id of the operation, and a new comment a property with it that nobody sees, by which
    /// Weir finds it again when no answer came. Jira has no other way to tell what was created from what was not. The project's screens must
    /// have `Labels`.
    #[serde(default = "Ticketing::duplicate_label")]
    pub duplicate_label: bool,
    /// How long connecting may take, with TLS.
    #[serde(default = "Ticketing::connect_timeout")]
    pub connect_timeout: Period,
    /// How long one attempt may take, within the deadline of the call.
    #[serde(default = "Ticketing::attempt_timeout")]
    pub attempt_timeout: Period,
    /// The longest silence within an answer that has begun.
    #[serde(default = "Ticketing::idle_timeout")]
    pub idle_timeout: Period,
    /// The largest answer that is accepted.
    #[serde(default = "Ticketing::answer_bytes_max")]
    pub answer_bytes_max: ByteSize,
    /// The most connections that are open at once.
    #[serde(default = "Ticketing::connections_max")]
    pub connections_max: usize,
}

impl Ticketing {
    /// The tools of every ticketing system, and what they do.
    pub const TOOLS: [(&'static str, Effect); 5] = [
        ("search_tickets", Effect::Read),
        ("get_ticket", Effect::Read),
        ("create_ticket", Effect::Write),
        ("update_ticket_status", Effect::Write),
        ("add_comment", Effect::Write),
    ];

    /// What one of its tools does; `None` where there is no such tool.
    #[must_use]
    pub fn effect_of(local_name: &str) -> Option<Effect> {
        Self::TOOLS.iter().find(|(name, _)| *name == local_name).map(|(_, effect)| *effect)
    }

    /// The arguments of one of its tools, and whether a call always has them; `None` where there is no such tool.
    #[must_use]
    pub fn arguments_of(local_name: &str) -> Option<&'static [(&'static str, ArgumentType, bool)]> {
        use ArgumentType::{Array, Integer, String};
        Some(match local_name {
            "search_tickets" => &[
                ("text", String, false),
                ("status", String, false),
                ("assignee", String, false),
                ("project", String, false),
                ("updated_since", String, false),
                ("limit", Integer, false),
                ("cursor", String, false),
            ],
            "get_ticket" => &[("id", String, true)],
            "create_ticket" => &[
                ("title", String, true),
                ("description", String, false),
                ("project", String, false),
                ("type", String, false),
                ("priority", String, false),
                ("labels", Array, false),
            ],
            "update_ticket_status" => &[("id", String, true), ("status", String, true), ("comment", String, false)],
            "add_comment" => &[("id", String, true), ("text", String, true)],
            _ => return None,
        })
    }

    fn ticket_type() -> String {
        "Task".to_owned()
    }

    fn duplicate_label() -> bool {
        true
    }

    fn connect_timeout() -> Period {
        Period::s(1)
    }

    fn attempt_timeout() -> Period {
        Period::s(10)
    }

    fn idle_timeout() -> Period {
        Period::s(10)
    }

    fn answer_bytes_max() -> ByteSize {
        ByteSize::mib(4)
    }

    fn connections_max() -> usize {
        32
    }
}

/// A ticketing system that Weir can speak with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Jira Cloud, REST API version 3.
    Jira,
}
