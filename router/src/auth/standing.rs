//! Whether a caller who was let in before is still to be let in: for what goes on after the request that began it.

use std::sync::Arc;

use adapters::{AuthMethod, Caller};
use jiff::Timestamp;

use super::Authenticator;

/// What a caller's credential was when it was let in: the hash of its key, or nothing where none is needed.
#[derive(Debug, Clone)]
pub(crate) struct Standing(Option<Arc<[u8]>>);

impl Authenticator {
    /// What is to be kept of a caller to ask later whether it is still let in.
    pub(crate) fn standing(&self, caller: &Caller) -> Standing {
        let id = caller.credential_id.as_deref();
        Standing(match caller.method {
            AuthMethod::ApiKey => id.and_then(|id| self.keys.of_id(id)).map(|key| key.hash.as_slice().into()),
            AuthMethod::Signature => {
                self.signatures.as_ref().zip(id).and_then(|(signatures, id)| signatures.print(id)).map(Into::into)
            }
            AuthMethod::Jwt => self.tokens.key_of(caller).map(|key| key.as_slice().into()),
            AuthMethod::Local | AuthMethod::Certificate => None,
        })
    }

    /// The caller as it would be let in now with the credential of then; `None` when it would not.
    pub(crate) fn still(&self, caller: &Caller, standing: &Standing) -> Option<Caller> {
        match caller.method {
            AuthMethod::Signature => {
                let (signatures, print) = (self.signatures.as_ref()?, standing.0.as_deref()?);
                let now = signatures.still(caller.credential_id.as_deref()?, print, caller.address)?;
                return (now.principal == caller.principal).then_some(now);
            }
            // Whether the certificate itself is still good is looked at where its connection is.
            AuthMethod::Certificate => {
                let now = self.certificates.as_ref()?.still(caller)?;
                return (now.principal == caller.principal).then_some(now);
            }
            AuthMethod::Jwt => {
                let key = standing.0.as_deref()?.try_into().ok()?;
                return self.tokens.still(caller, key, Timestamp::now());
            }
            AuthMethod::Local | AuthMethod::ApiKey => {}
        }
        let Some(id) = caller.credential_id.as_deref() else {
            let needs_none = matches!(caller.method, AuthMethod::Local) && caller.address.is_none();
            let is_let_in = needs_none || !self.requires_credentials;
            return is_let_in.then(|| Caller { address: caller.address, ..self.local.clone() });
        };
        let key = self.keys.of_id(id).filter(|key| standing.0.as_deref() == Some(key.hash.as_slice()))?;
        let now = key.caller(caller.address);
        let is_same = now.principal == caller.principal && !key.has_expired(Timestamp::now());
        is_same.then_some(now)
    }
}
