//! A JWT that says who calls, signed by Weir. Each request has one of its own.

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::{NoCredential, Shown, Whose, signer::Signer};
use crate::Caller;

/// Signs who calls.
pub(super) struct Assertor {
    pub(super) signer: Signer,
    pub(super) issuer: String,
    pub(super) audience: String,
    /// `None` for `Authorization: Bearer …`.
    pub(super) header: Option<HeaderName>,
    pub(super) lifetime: Duration,
}

impl Assertor {
    /// What is shown on behalf of `whose`.
    pub(super) fn show(&self, whose: Whose<'_>) -> Result<Arc<Shown>, NoCredential> {
        let claims = self.claims(whose, Timestamp::now())?;
        let unsigned = || NoCredential::unanswered("Weir cannot say who calls");
        let jwt = self.signer.sign(claims).map_err(|error| unsigned().because(error.to_string()))?;
        let shown = match &self.header {
            None => Shown::bearer(jwt),
            Some(name) => Shown::new(name.clone(), jwt.clone().expose_secret(), vec![jwt]),
        };
        Ok(Arc::new(shown.ok_or_else(unsigned)?))
    }

    /// It is never good for longer than what the caller showed.
    fn claims(&self, whose: Whose<'_>, now: Timestamp) -> Result<Map<String, Value>, NoCredential> {
        let now_s = now.as_second();
        let expires = now_s.saturating_add(i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX));
        let mut claims = json!({
            "iss": self.issuer, "aud": self.audience, "iat": now_s, "exp": expires,
            "jti": uuid::Uuid::new_v4().to_string(),
        });
        match whose {
            // Lists and the like, which nobody asks for: Weir itself, which has no roles.
            Whose::Weir => claims["sub"] = json!(self.issuer),
            Whose::Caller(caller) => {
                let ends = caller.expires.map_or(expires, Timestamp::as_second);
                if ends <= now_s {
                    return Err(super::expired());
                }
                claims["exp"] = json!(expires.min(ends));
                add(caller, &mut claims);
                claims["act"] = json!({ "sub": self.issuer });
            }
        }
        Ok(claims.as_object().cloned().unwrap_or_default())
    }
}

fn add(caller: &Caller, claims: &mut Value) {
    let principal = &caller.principal;
    claims["sub"] = json!(&*principal.subject);
    // Two issuers may call two people the same (RFC 9493, section 3.2.3).
    claims["sub_id"] = json!({ "format": "iss_sub", "iss": &*principal.issuer, "sub": &*principal.subject });
    if let Some(tenant) = &principal.tenant {
        claims["tenant"] = json!(&**tenant);
    }
    claims["roles"] = caller.roles.iter().map(|role| json!(role)).collect();
}

#[cfg(test)]
mod tests;
