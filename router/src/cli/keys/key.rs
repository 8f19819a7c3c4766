//! A key with what the key file keeps of it.

use config::identity::KeyRecord;
use secrecy::SecretString;

/// A key that was just made. Only its owner keeps the key itself.
#[derive(Debug)]
pub(crate) struct NewKey {
    /// What the caller sends as `Authorization: Bearer …`.
    pub(crate) key: SecretString,
    /// What the key file keeps.
    pub(crate) record: KeyRecord,
}

impl NewKey {
    pub(super) fn make(subject: &str, tenant: Option<&str>, roles: &[String], expires: Option<&str>) -> Self {
        let router::auth::NewKey { id, key, hash } = router::auth::new_key();
        let (subject, tenant, roles) = (subject.to_owned(), tenant.map(str::to_owned), roles.to_vec());
        let expires = expires.map(str::to_owned);
        Self { key, record: KeyRecord { id, hash, subject, tenant, roles, expires } }
    }
}
