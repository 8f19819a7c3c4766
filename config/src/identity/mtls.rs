//! Client certificates.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Glob;

/// Client certificates of the caller listener. A certificate that the authorities do not vouch for ends the handshake.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mtls {
    /// The certificates of the authorities that may vouch for callers, PEM. Read again when the file changes.
    pub ca: PathBuf,
    /// Lists of revoked certificates, PEM. Read again when a file changes. Not stated: nothing counts as revoked.
    #[serde(default)]
    pub crl: Vec<PathBuf>,
    /// Whether a handshake without a certificate fails. Otherwise another credential must be shown.
    #[serde(default)]
    pub required: bool,
    /// Who is meant by which certificate; the first rule that fits counts, and a certificate that fits none is refused.
    pub callers: Vec<CertificateRule>,
}

/// Who is meant by certificates with a fitting name. Exactly one of `uri`, `dns` and `email` is given.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateRule {
    /// A URI among the subject's alternative names: `spiffe://corp.example/agents/*`.
    pub uri: Option<Glob>,
    /// A DNS name among them: `*.agents.corp.example`.
    pub dns: Option<Glob>,
    /// An e-mail address among them.
    pub email: Option<Glob>,
    /// Who it is. Not stated: the name that fitted.
    pub subject: Option<String>,
    /// The organisation the subject belongs to.
    pub tenant: Option<String>,
    /// The roles.
    pub roles: Vec<String>,
}
