//! One API key: `weir_<id>_<secret>`, the id 8 of `[a-z0-9]`, the secret 32 random bytes in base64url.

use std::fmt;

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use config::identity::KeyRecord;
use rand::{Rng as _, RngExt as _};

const ID_CHARACTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const ID_LENGTH: usize = 8;
const SECRET_BYTES: usize = 32;

/// A key that was just made. Only its owner keeps the key itself.
pub(crate) struct NewKey {
    /// What the caller sends as `Authorization: Bearer …`.
    pub(crate) key: String,
    /// What the key file keeps.
    pub(crate) record: KeyRecord,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("id", &self.record.id).finish_non_exhaustive()
    }
}

impl NewKey {
    pub(super) fn make(subject: &str, tenant: Option<&str>, roles: &[String], expires: Option<&str>) -> Self {
        let mut random = rand::rng();
        let id: String =
            (0..ID_LENGTH).map(|_| char::from(ID_CHARACTERS[random.random_range(..ID_CHARACTERS.len())])).collect();
        let mut secret = [0; SECRET_BYTES];
        random.fill_bytes(&mut secret);
        let key = format!("weir_{id}_{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
        let hash =
            digest::digest(&digest::SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let (subject, tenant, roles) = (subject.to_owned(), tenant.map(str::to_owned), roles.to_vec());
        let expires = expires.map(str::to_owned);
        Self { key, record: KeyRecord { id, hash, subject, tenant, roles, expires } }
    }
}
