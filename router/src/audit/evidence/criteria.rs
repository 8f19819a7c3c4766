//! Which criteria a log is evidence for, and how far. The wording is for an auditor: what Weir does, and what it does not show.

use serde_json::{Map, Value};

/// One criterion of SOC 2 or one control of ISO 27001.
#[derive(Debug)]
pub struct Criterion {
    /// As auditors name it: `CC6.1`, `A.8.15`.
    pub id: &'static str,
    /// What it asks for, in short.
    pub asks: &'static str,
    /// What Weir does for it.
    pub does: &'static str,
    /// The records that show it.
    pub shown_by: &'static [Selector],
    /// The parts of the config that bear on it, as the record of each start has them.
    pub settings: &'static [&'static str],
    /// What must be shown by other means.
    pub not_shown: &'static str,
}

/// Records of one sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// Calls that were let through.
    Allowed,
    /// Calls that policy refused.
    Denied,
    /// Requests refused before their caller was known, and others that are no call.
    Counted,
    /// Calls that limits refused.
    Limited,
    /// Calls that changed something, as they ended.
    Writes,
    /// Writes before they were sent.
    Intents,
    /// Calls of callers to whom a masking profile applied.
    Masked,
    /// Calls that failed for the system behind, or for Weir.
    Failed,
    /// The config that was in force, at each start and reload.
    Configs,
    /// Keys and other credentials that were made, revoked or refused.
    Credentials,
    /// Definitions of tools that changed, were held back or approved.
    Definitions,
    /// All other events.
    Events,
}

impl Selector {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Allowed,
        Self::Denied,
        Self::Counted,
        Self::Limited,
        Self::Writes,
        Self::Intents,
        Self::Masked,
        Self::Failed,
        Self::Configs,
        Self::Credentials,
        Self::Definitions,
        Self::Events,
    ];

    /// What stands in the files of the bundle.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "calls_allowed",
            Self::Denied => "calls_denied",
            Self::Counted => "requests_counted",
            Self::Limited => "calls_limited",
            Self::Writes => "writes",
            Self::Intents => "write_intents",
            Self::Masked => "calls_masked",
            Self::Failed => "calls_failed",
            Self::Configs => "configs",
            Self::Credentials => "credential_events",
            Self::Definitions => "definition_events",
            Self::Events => "other_events",
        }
    }

    /// Whether it selects this record.
    #[must_use]
    pub fn takes(self, record: &Map<String, Value>) -> bool {
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        let (kind, outcome, event) = (text("kind"), text("outcome"), text("event"));
        let is_denied = matches!(outcome, "denied" | "unknown_tool" | "not_allowed");
        let is_limited = matches!(outcome, "limited" | "uncounted" | "overloaded" | "queue_full");
        let is_call = kind == "call";
        match self {
            Self::Allowed => is_call && !is_denied && !is_limited,
            Self::Denied => is_call && is_denied,
            Self::Limited => is_call && is_limited,
            Self::Writes => {
                is_call && matches!(text("effect"), "write" | "idempotent_write") && !is_denied && !is_limited
            }
            Self::Masked => is_call && (record.contains_key("masked") || record.contains_key("masking")),
            Self::Failed => {
                is_call
                    && !is_denied
                    && !is_limited
                    && !matches!(outcome, "ok" | "tool_error" | "rejected" | "invalid_arguments")
            }
            Self::Counted => kind == "counted",
            Self::Intents => kind == "intent",
            Self::Configs => matches!(event, "started" | "config_reloaded"),
            Self::Credentials => event.starts_with("key_") || event.starts_with("credential_"),
            Self::Definitions => event.starts_with("definition_"),
            Self::Events => {
                kind == "event"
                    && ![Self::Configs, Self::Credentials, Self::Definitions].iter().any(|other| other.takes(record))
            }
        }
    }
}

/// The criteria with this id, or all of them.
#[must_use]
pub fn find(id: &str) -> Vec<&'static Criterion> {
    CRITERIA.iter().filter(|criterion| id == "all" || criterion.id.eq_ignore_ascii_case(id)).collect()
}

use Selector::{
    Allowed, Configs, Counted, Credentials, Definitions, Denied, Events, Failed, Intents, Limited, Masked, Writes,
};

/// SOC 2 (trust services criteria of 2017), then ISO/IEC 27001:2022, Annex A.
pub static CRITERIA: &[Criterion] = &[
    Criterion {
        id: "CC6.1",
        asks: "Logical access to information is restricted.",
        does: "Every caller is authenticated, every call is judged by a policy that denies by default, and each judgement leaves a record with the rule.",
        shown_by: &[Allowed, Denied, Counted],
        settings: &["identity", "policy", "listener"],
        not_shown: "That access to the systems behind Weir is closed to those who do not come through it.",
    },
    Criterion {
        id: "CC6.2",
        asks: "Users are registered and authorised before they get credentials, and lose them when they no longer need them.",
        does: "Making and revoking API keys leaves records; each call names the credential that was used.",
        shown_by: &[Credentials, Allowed],
        settings: &["identity"],
        not_shown: "Who approved a credential, and that people who left were reported. Users of an identity provider are registered there.",
    },
    Criterion {
        id: "CC6.3",
        asks: "Access follows roles, least privilege and separation of duties.",
        does: "Roles grant tools by name, conditions narrow them to callers, arguments and times; the policy in force is in the record of each start and reload.",
        shown_by: &[Denied, Allowed, Configs],
        settings: &["policy", "views"],
        not_shown: "That the roles fit the duties of the people, and that they are reviewed.",
    },
    Criterion {
        id: "CC6.6",
        asks: "The boundary is protected against threats from outside.",
        does: "Requests without a valid credential, from wrong hosts or origins, or in a wrong form are refused and counted by address and reason; floods are limited.",
        shown_by: &[Counted, Limited],
        settings: &["listener", "limits", "identity"],
        not_shown: "Firewalls and networks around Weir.",
    },
    Criterion {
        id: "CC6.7",
        asks: "Information is protected while it is transmitted and moved.",
        does: "The listener wants TLS off loopback, roles with a masking profile see masked values, and credentials of callers are never passed on.",
        shown_by: &[Masked, Configs],
        settings: &["listener", "masking"],
        not_shown: "Encryption between a TLS proxy and Weir, where the config says that there is one.",
    },
    Criterion {
        id: "CC6.8",
        asks: "Unauthorised or malicious software is prevented or detected.",
        does: "Definitions of tools are pinned: one that changed is held back until somebody approves it, and suspicious ones are reported.",
        shown_by: &[Definitions],
        settings: &["definitions"],
        not_shown: "Malware protection of machines. Without a lock file changes are reported and not stopped.",
    },
    Criterion {
        id: "CC7.1",
        asks: "Changes of configuration that bring weaknesses are detected.",
        does: "Each start and each reload leaves a record with the digest of the config and what it says of security; changed definitions leave records.",
        shown_by: &[Configs, Definitions],
        settings: &["config_digest", "weir"],
        not_shown: "Scans for vulnerabilities.",
    },
    Criterion {
        id: "CC7.2",
        asks: "The system is monitored for anomalies.",
        does: "Refusals, denials and failures are recorded and counted as metrics; records can be forwarded to a SIEM as they are made.",
        shown_by: &[Counted, Denied, Limited, Failed],
        settings: &["audit"],
        not_shown: "That somebody looks at alerts.",
    },
    Criterion {
        id: "CC7.3",
        asks: "Security events are evaluated.",
        does: "Records can be searched by caller, tool, address, time and request; the log proves that none was changed or left out.",
        shown_by: &[Denied, Credentials, Events],
        settings: &["audit"],
        not_shown: "The evaluation itself, and who made it.",
    },
    Criterion {
        id: "CC7.4",
        asks: "Incidents are responded to.",
        does: "A revoked key is refused by all replicas within seconds; runbooks say what to do, and the records say what was done.",
        shown_by: &[Credentials, Configs, Definitions],
        settings: &[],
        not_shown: "The incident process, its roles and its tests.",
    },
    Criterion {
        id: "CC8.1",
        asks: "Changes are authorised, tested and recorded.",
        does: "A config is checked as a whole, its policy tests run, and it is taken whole or not at all; each that came into force is recorded.",
        shown_by: &[Configs, Definitions],
        settings: &["config_digest", "weir"],
        not_shown: "Who approved a change of the config file; that is in the version control of the file.",
    },
    Criterion {
        id: "A1.1",
        asks: "Capacity is managed.",
        does: "Limits bound calls per caller and per system behind; what they refused is recorded.",
        shown_by: &[Limited],
        settings: &["limits"],
        not_shown: "Capacity planning; metrics have the load.",
    },
    Criterion {
        id: "A1.2",
        asks: "The system is protected against failures around it.",
        does: "Failures of the systems behind are contained by deadlines, breakers and cached answers, and recorded.",
        shown_by: &[Failed],
        settings: &["redis"],
        not_shown: "Backups, power and rooms.",
    },
    Criterion {
        id: "C1.1",
        asks: "Confidential information is identified and protected.",
        does: "Masking profiles name what roles may not see; the log itself is masked, and sealed where it has a recipient.",
        shown_by: &[Masked],
        settings: &["masking", "audit"],
        not_shown: "That the profiles name all that is confidential.",
    },
    Criterion {
        id: "C1.2",
        asks: "Confidential information is disposed of.",
        does: "Segments beyond the retention are taken away by a command that leaves a signed tombstone.",
        shown_by: &[Events],
        settings: &["audit"],
        not_shown: "Disposal of what lies in the systems behind, in backups and in a SIEM.",
    },
    Criterion {
        id: "PI1.2",
        asks: "Inputs are complete and accurate.",
        does: "Arguments are judged by the schema of their tool before anything is sent, and what was judged is what is sent.",
        shown_by: &[Allowed],
        settings: &[],
        not_shown: "That values are right in substance.",
    },
    Criterion {
        id: "PI1.3",
        asks: "Processing is complete, accurate and authorised.",
        does: "A write has an intent on the disk before its first byte is sent and a record of its end; one with an idempotency key happens once.",
        shown_by: &[Intents, Writes],
        settings: &[],
        not_shown: "Processing inside the systems behind.",
    },
    Criterion {
        id: "P4.1",
        asks: "Personal information is used for its purpose alone.",
        does: "Roles without a need see masked values; each access names who had it.",
        shown_by: &[Masked, Allowed],
        settings: &["masking", "policy"],
        not_shown: "Purposes, notices and consents.",
    },
    Criterion {
        id: "A.5.15",
        asks: "Access control.",
        does: "A policy that denies by default judges each call; denied and unknown look the same from outside, and the record has the truth.",
        shown_by: &[Allowed, Denied, Counted],
        settings: &["policy", "identity"],
        not_shown: "The rules for access that the organisation has set itself.",
    },
    Criterion {
        id: "A.5.16",
        asks: "Identity management.",
        does: "Each call names issuer, subject, tenant, credential and how it was authenticated.",
        shown_by: &[Allowed, Credentials],
        settings: &["identity"],
        not_shown: "The life of identities at the identity provider.",
    },
    Criterion {
        id: "A.5.17",
        asks: "Authentication information.",
        does: "Keys are stored as hashes, secrets are referred to and never written down; making and revoking keys is recorded.",
        shown_by: &[Credentials, Counted],
        settings: &["identity"],
        not_shown: "How people keep their credentials.",
    },
    Criterion {
        id: "A.5.18",
        asks: "Access rights are given, reviewed and taken away.",
        does: "The record of each start and reload has the roles and what they grant; revocations are recorded.",
        shown_by: &[Configs, Credentials],
        settings: &["policy", "views"],
        not_shown: "The reviews. `weir explain` and the policy tests support them.",
    },
    Criterion {
        id: "A.5.28",
        asks: "Collection of evidence.",
        does: "Records are chained, signed and anchored; a bundle names the hash of each of its files and the place of each sample in the log.",
        shown_by: &[Events],
        settings: &["audit"],
        not_shown: "The chain of custody after the bundle has left the machine.",
    },
    Criterion {
        id: "A.5.33",
        asks: "Protection of records.",
        does: "What is changed, left out, put elsewhere or cut off shows; records younger than the retention are not pruned.",
        shown_by: &[Events],
        settings: &["audit"],
        not_shown: "Copies elsewhere. Lines behind the last anchored checkpoint are protected from who cannot sign alone.",
    },
    Criterion {
        id: "A.5.34",
        asks: "Privacy and protection of personal information.",
        does: "Values are masked by role before they are cached, logged or shown.",
        shown_by: &[Masked],
        settings: &["masking"],
        not_shown: "That the profiles name all personal information.",
    },
    Criterion {
        id: "A.8.2",
        asks: "Privileged access rights.",
        does: "Roles that may write are in the policy; each write names its caller and rule, before and after it.",
        shown_by: &[Writes, Intents],
        settings: &["policy"],
        not_shown: "Privileges on the machines that Weir runs on.",
    },
    Criterion {
        id: "A.8.3",
        asks: "Information access restriction.",
        does: "Tools, resources and prompts are granted by role; views narrow them; values are masked.",
        shown_by: &[Denied, Masked],
        settings: &["policy", "views", "masking"],
        not_shown: "Restrictions inside the systems behind.",
    },
    Criterion {
        id: "A.8.5",
        asks: "Secure authentication.",
        does: "Keys, access tokens, certificates or signatures; wrong ones are counted by address, and limited.",
        shown_by: &[Counted, Allowed],
        settings: &["identity", "listener"],
        not_shown: "Second factors; those are the identity provider's.",
    },
    Criterion {
        id: "A.8.6",
        asks: "Capacity management.",
        does: "Limits bound calls per caller and per system; what they refused is recorded.",
        shown_by: &[Limited],
        settings: &["limits"],
        not_shown: "Capacity planning.",
    },
    Criterion {
        id: "A.8.9",
        asks: "Configuration management.",
        does: "Each config that came into force left a record with its digest.",
        shown_by: &[Configs],
        settings: &["config_digest", "weir"],
        not_shown: "Who changed the file.",
    },
    Criterion {
        id: "A.8.11",
        asks: "Data masking.",
        does: "Masking by role, path and detector, before cache, log and audit; pseudonyms that only their owner can use.",
        shown_by: &[Masked, Configs],
        settings: &["masking"],
        not_shown: "That detectors find every form of a value; they are heuristics.",
    },
    Criterion {
        id: "A.8.12",
        asks: "Data leakage prevention.",
        does: "What roles may not see is masked; roles that combine private data, untrusted content and an outward write are warned of.",
        shown_by: &[Masked, Denied],
        settings: &["masking", "policy"],
        not_shown: "Leaks on ways that do not lead through Weir.",
    },
    Criterion {
        id: "A.8.15",
        asks: "Logging.",
        does: "Each call leaves exactly one final record, a write one more before it is sent; the log is chained, signed, anchored, and sealed where it has a recipient.",
        shown_by: &[Allowed, Denied, Counted, Intents, Events],
        settings: &["audit"],
        not_shown: "That the anchor lies where writers of the log cannot reach it.",
    },
    Criterion {
        id: "A.8.16",
        asks: "Monitoring activities.",
        does: "Records can be forwarded to a SIEM as they are made; metrics count refusals, denials and failures.",
        shown_by: &[Counted, Denied, Failed],
        settings: &["audit"],
        not_shown: "That somebody looks at them.",
    },
    Criterion {
        id: "A.8.20",
        asks: "Networks security.",
        does: "The listener wants TLS off loopback; addresses of systems behind are checked when they are connected to.",
        shown_by: &[Counted, Configs],
        settings: &["listener"],
        not_shown: "Networks around Weir.",
    },
    Criterion {
        id: "A.8.24",
        asks: "Use of cryptography.",
        does: "TLS, Ed25519 signatures, SHA-256 chains, AES-256-GCM sealing for an age recipient.",
        shown_by: &[Configs],
        settings: &["listener", "audit"],
        not_shown: "How keys are kept and replaced by the organisation.",
    },
    Criterion {
        id: "A.8.32",
        asks: "Change management.",
        does: "A config is taken whole after it was checked, and recorded; changed definitions wait for an approval.",
        shown_by: &[Configs, Definitions],
        settings: &["config_digest", "definitions"],
        not_shown: "Approvals of changes to the config file.",
    },
];
