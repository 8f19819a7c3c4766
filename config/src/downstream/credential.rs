//! What Weir shows a downstream to be let in.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Period, SecretRef};

/// What Weir shows a downstream to be let in. Never the caller's own credential.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Credential {
    /// Sent as `Authorization: Bearer …`.
    Bearer(SecretRef),
    /// Sent as `Authorization: Basic …` (RFC 7617).
    Basic(Basic),
    /// Sent as a header of its own, such as `X-Api-Key`.
    Header(HeaderCredential),
    /// An access token for Weir itself (OAuth 2.0 client credentials, RFC 6749, section 4.4).
    ClientCredentials(ClientCredentials),
    /// An access token that a refresh token gives (RFC 6749, section 6).
    RefreshToken(RefreshToken),
    /// An access token for each caller, for which its own is exchanged (RFC 8693). A caller that has none is refused.
    TokenExchange(TokenExchange),
    /// A JWT that Weir signs and that says who calls.
    Assertion(Assertion),
}

/// How Weir shows the token endpoint who it is.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenClient {
    /// The token endpoint of the authorization server.
    pub token_url: String,
    /// The id that Weir has there.
    pub client_id: String,
    /// Its secret, sent as HTTP Basic. Exactly one of this and `client_key` is given.
    #[serde(default)]
    pub client_secret: Option<SecretRef>,
    /// A private key (PKCS #8, PEM; RSA, P-256 or Ed25519) that signs an assertion (RFC 7523, `private_key_jwt`).
    #[serde(default)]
    pub client_key: Option<SecretRef>,
}

/// OAuth 2.0 client credentials.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCredentials {
    /// Where tokens come from.
    pub client: TokenClient,
    /// The scopes that are asked for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// For which resource (RFC 8707).
    #[serde(default)]
    pub resource: Option<String>,
    /// For which audience, where the authorization server wants it so.
    #[serde(default)]
    pub audience: Option<String>,
}

/// An OAuth 2.0 refresh token.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshToken {
    /// Where tokens come from.
    pub client: TokenClient,
    /// The refresh token. One that the authorization server gives in its place is used from then on, by this process.
    pub token: SecretRef,
    /// The scopes that are asked for; not stated: those it was given for.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// OAuth 2.0 token exchange.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenExchange {
    /// Where tokens come from.
    pub client: TokenClient,
    /// The scopes that are asked for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// For which resource (RFC 8707).
    #[serde(default)]
    pub resource: Option<String>,
    /// For which audience.
    #[serde(default)]
    pub audience: Option<String>,
    /// What lists are asked with, since no caller asks for them. Not stated: the tools are those of the lock file.
    #[serde(default)]
    pub catalog: Option<CatalogCredential>,
}

/// What lists are asked with where calls have a credential of their caller.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CatalogCredential {
    /// Sent as `Authorization: Bearer …`.
    Bearer(SecretRef),
    /// An access token for Weir itself.
    ClientCredentials(ClientCredentials),
}

/// A signed identity assertion: a JWT with `iss`, `sub`, `aud`, `iat`, `exp`, `jti`, the caller's tenant and roles.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// The private key (PKCS #8, PEM; RSA, P-256 or Ed25519).
    pub key: SecretRef,
    /// Names the key (`kid`).
    #[serde(default)]
    pub key_id: Option<String>,
    /// `iss`. Not stated: `weir`.
    #[serde(default)]
    pub issuer: Option<String>,
    /// `aud`.
    pub audience: String,
    /// The header it is sent in. Not stated: `Authorization: Bearer …`.
    #[serde(default)]
    pub header: Option<String>,
    /// How long it is valid.
    #[serde(default = "Assertion::lifetime")]
    pub lifetime: Period,
}

impl Assertion {
    fn lifetime() -> Period {
        Period::s(60)
    }
}

/// A user and a password.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user's name.
    pub user: String,
    /// Where the password is.
    pub password: SecretRef,
}

/// A header with a secret in it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderCredential {
    /// The header's name.
    pub name: String,
    /// Where its value is.
    pub value: SecretRef,
}

/// A certificate by which Weir shows who it is while a connection is made.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// The file of the certificate and of those between it and the authority, PEM, its own first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: SecretRef,
}

impl Credential {
    /// The word in audit records, metrics and explanations.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bearer(_) => "bearer",
            Self::Basic(_) => "basic",
            Self::Header(_) => "header",
            Self::ClientCredentials(_) => "client_credentials",
            Self::RefreshToken(_) => "refresh_token",
            Self::TokenExchange(_) => "token_exchange",
            Self::Assertion(_) => "assertion",
        }
    }

    /// Where its secrets are.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Bearer(secret) => vec![secret],
            Self::Basic(basic) => vec![&basic.password],
            Self::Header(header) => vec![&header.value],
            Self::ClientCredentials(asked) => asked.client.secrets(),
            Self::RefreshToken(asked) => asked.client.secrets().into_iter().chain([&asked.token]).collect(),
            Self::TokenExchange(asked) => {
                let catalog = asked.catalog.iter().flat_map(|credential| match credential {
                    CatalogCredential::Bearer(secret) => vec![secret],
                    CatalogCredential::ClientCredentials(asked) => asked.client.secrets(),
                });
                asked.client.secrets().into_iter().chain(catalog).collect()
            }
            Self::Assertion(signed) => vec![&signed.key],
        }
    }

    /// Whether it is another one for each caller.
    #[must_use]
    pub fn is_per_caller(&self) -> bool {
        matches!(self, Self::TokenExchange(_) | Self::Assertion(_))
    }
}

impl TokenClient {
    fn secrets(&self) -> Vec<&SecretRef> {
        self.client_secret.iter().chain(&self.client_key).collect()
    }
}
