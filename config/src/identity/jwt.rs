//! Access tokens of authorization servers.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Period;

/// One authorization server whose access tokens are accepted. Issuer, audience, expiry and algorithm of a token are always checked.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// Its issuer identifier, exactly as tokens have it in `iss`.
    pub issuer: String,
    /// What tokens must have in `aud`. Not stated: the canonical URI of this resource, `server.public_url` with the path `/mcp`.
    #[serde(default)]
    pub audience: Vec<String>,
    /// Where its keys are (a JWK Set). Not stated: what its metadata says (RFC 8414, OpenID Connect Discovery).
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// A PEM file with the certificate authorities that vouch for its server. Not stated: those that this machine trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The algorithms that are accepted.
    #[serde(default = "Jwt::algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// The claim that is the subject.
    #[serde(default = "Jwt::subject_claim")]
    pub subject_claim: String,
    /// The claim that is the tenant, as a name or a path of names with dots between. A token without it is refused.
    #[serde(default)]
    pub tenant_claim: Option<String>,
    /// The claim with the caller's groups or roles, as a name or a path of names with dots between: a list of texts, or one text with
    /// spaces between. Its values become roles by `roles`.
    #[serde(default)]
    pub roles_claim: Option<String>,
    /// Which roles a value of `roles_claim` gives. A value that is not named gives none.
    #[serde(default)]
    pub roles: IndexMap<String, Vec<String>>,
    /// Which roles a scope of the token gives. A scope that is not named gives none. Any client may ask the authorization server for a
    /// scope: what only some people may do belongs to `roles`, unless that server decides who gets which scope.
    #[serde(default)]
    pub scopes: IndexMap<String, Vec<String>>,
    /// Scopes that a token must have to be let in at all.
    #[serde(default)]
    pub required_scopes: Vec<String>,
    /// Scopes that a client may be told to ask for: a call of a tool that the roles of one of them would allow is answered with 403 and
    /// `insufficient_scope`. It tells every caller of this issuer that the tool exists. Not stated: such a tool looks unknown.
    #[serde(default)]
    pub step_up: Vec<String>,
    /// How far the clocks of issuer and router may be apart.
    #[serde(default = "Jwt::leeway")]
    pub leeway: Period,
}

impl Jwt {
    fn algorithms() -> Vec<Algorithm> {
        vec![Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA]
    }

    fn subject_claim() -> String {
        "sub".to_owned()
    }

    fn leeway() -> Period {
        Period::s(60)
    }
}

/// An algorithm of RFC 7518 or RFC 8037. Those with a shared secret, and `none`, do not exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[allow(clippy::upper_case_acronyms, reason = "these are the names of the RFC")]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}
