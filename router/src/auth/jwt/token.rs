//! A token as it is written (RFC 7519, compact form), before anything in it is believed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use config::identity::jwt::Algorithm;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{key, wrong::Wrong};
use crate::scan;

/// The longest token that is looked at.
pub(super) const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The longest signature: by an RSA key of 8192 bits.
const SIGNATURE_BYTES_MAX: usize = 1024;

/// A token whose signature nobody has looked at yet.
#[derive(Debug)]
pub(super) struct Token<'t> {
    /// Header and claims as they were signed.
    pub(super) signed: &'t [u8],
    pub(super) signature: Vec<u8>,
    pub(super) algorithm: Algorithm,
    /// The name of its key: looked up among the keys of its issuer, and used for nothing else.
    pub(super) key: Option<String>,
    /// Whether its header says that it is an access token (RFC 9068).
    pub(super) is_access_token: bool,
    pub(super) claims: Map<String, Value>,
}

/// What counts in a header. Where the token says that keys are to be found (`jku`, `jwk`, `x5u`, `x5c`) is not even read.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
    /// A signature over other bytes than those that are judged (RFC 7797) needs `crit`; without it the member is a trap.
    b64: Option<Value>,
}

impl<'t> Token<'t> {
    pub(super) fn read(text: &'t str) -> Result<Self, Wrong> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Wrong::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Wrong::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Wrong::Malformed)?;
        // A third dot is that of an encrypted token.
        let header: Header = json(header)?;
        let claims: Map<String, Value> = json(claims)?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(Wrong::Critical);
        }
        let algorithm = key::algorithm(&header.alg).ok_or(Wrong::Algorithm)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Wrong::Malformed)?;
        if signature.is_empty() || signature.len() > SIGNATURE_BYTES_MAX {
            return Err(Wrong::Malformed);
        }
        let is_access_token = is_access_token(header.typ.as_deref())?;
        Ok(Self { signed: signed.as_bytes(), signature, algorithm, key: header.kid, is_access_token, claims })
    }

    /// Who is said to have issued it: chooses whose keys are asked, and proves nothing.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }
}

/// A part that is JSON with one meaning: parsers differ on what a second member of a name means, and the issuer's may be another one.
fn json<T: DeserializeOwned>(part: &str) -> Result<T, Wrong> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Wrong::Malformed)?;
    let text = scan::check(&bytes).map_err(|_| Wrong::Malformed)?;
    serde_json::from_str(text).map_err(|_| Wrong::Malformed)
}

/// `at+jwt` (RFC 9068, section 2.1), with or without its tree. Many issuers write `JWT` or nothing; any other type is no access token.
fn is_access_token(typ: Option<&str>) -> Result<bool, Wrong> {
    let Some(typ) = typ else { return Ok(false) };
    let name = match typ.split_at_checked("application/".len()) {
        Some((tree, name)) if tree.eq_ignore_ascii_case("application/") => name,
        _ => typ,
    };
    match name {
        name if name.eq_ignore_ascii_case("at+jwt") => Ok(true),
        name if name.eq_ignore_ascii_case("jwt") => Ok(false),
        _ => Err(Wrong::Kind),
    }
}
