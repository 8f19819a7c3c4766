//! Access tokens of authorization servers.

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
    /// Where its keys are. Not stated: what its metadata says (RFC 8414, OpenID Connect Discovery).
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// The algorithms that are accepted.
    #[serde(default = "Jwt::algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// The claim that is the subject.
    #[serde(default = "Jwt::subject_claim")]
    pub subject_claim: String,
    /// The claim that is the tenant, as a name or a path of names with dots between.
    #[serde(default)]
    pub tenant_claim: Option<String>,
    /// The claim with the caller's groups or roles, as a name or a path of names with dots between: a list of texts, or one text with
    /// spaces between. Its values become roles by `roles`.
    #[serde(default)]
    pub roles_claim: Option<String>,
    /// Which roles a value of `roles_claim`, or a scope, gives. A value that is not named gives none.
    #[serde(default)]
    pub roles: IndexMap<String, Vec<String>>,
    /// Scopes that a token must have to be let in at all.
    #[serde(default)]
    pub required_scopes: Vec<String>,
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
