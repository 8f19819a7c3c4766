//! API keys: 256 random bits each, kept as SHA-256. A slow hash would be a gift to who floods the door, and random keys need none.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use adapters::{AuthMethod, Caller, Principal};
use aws_lc_rs::{constant_time, digest, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cache::Revocations;
use config::identity::KeyRecord;
use jiff::Timestamp;
use secrecy::SecretString;

/// The keys of the key file, by their id.
#[derive(Debug)]
pub(super) struct Keys {
    by_id: HashMap<Arc<str>, Key>,
    revocations: Revocations,
}

/// One key, without the key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: Arc<str>,
    pub(super) issuer: Arc<str>,
    pub(super) subject: Arc<str>,
    pub(super) tenant: Option<Arc<str>>,
    pub(super) roles: Arc<[Box<str>]>,
    pub(super) expires: Option<Timestamp>,
    pub(super) hash: Vec<u8>,
}

/// Whether a credential is meant to be a key, be it one or not.
pub(super) fn is_one(credential: &str) -> bool {
    credential.starts_with("weir_")
}

impl Keys {
    /// The keys of checked records; `config` refuses a file with others. Those that the file calls revoked are told to everybody.
    pub(super) fn new(records: &[KeyRecord], revocations: Revocations) -> Self {
        let revoked = records.iter().filter_map(|record| {
            let at = record.revoked.as_deref()?.parse::<Timestamp>().unwrap_or_else(|_| Timestamp::now());
            Some((record.id.as_str(), at.into()))
        });
        revocations.revoked(revoked);
        let issuer: Arc<str> = "weir".into();
        let key = |record: &KeyRecord| {
            let id: Arc<str> = record.id.as_str().into();
            let key = Key {
                id: id.clone(),
                issuer: issuer.clone(),
                subject: record.subject.as_str().into(),
                tenant: record.tenant.as_deref().map(Into::into),
                roles: record.roles.iter().map(|role| role.as_str().into()).collect(),
                expires: record.expires.as_deref().and_then(|text| text.parse().ok()),
                hash: unhex(&record.hash)?,
            };
            // A record whose expiry cannot be read must not become a key that never expires.
            (record.expires.is_some() == key.expires.is_some()).then_some((id, key))
        };
        // One of them that is written as revoked counts as revoked, whatever is kept of revocations.
        let working = records.iter().filter(|record| record.revoked.is_none());
        Self { by_id: working.filter_map(key).collect(), revocations }
    }

    /// The key that `token` is, if it is one and has not expired.
    pub(super) fn find(&self, token: &str, now: Timestamp) -> Option<&Key> {
        let id = token.strip_prefix("weir_")?.split('_').next()?;
        let key = self.by_id.get(id)?;
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        let same = constant_time::verify_slices_are_equal(hash.as_ref(), &key.hash).is_ok();
        let is_in_force = same && !key.has_expired(now) && !self.revocations.is_revoked(id);
        is_in_force.then(|| self.revocations.used(id));
        is_in_force.then_some(key)
    }

    /// The key of this id, whoever asks: for what its owner began with it.
    pub(super) fn of_id(&self, id: &str) -> Option<&Key> {
        self.by_id.get(id).filter(|key| !self.revocations.is_revoked(&key.id))
    }
}

impl Key {
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Who shows the key, from `address`.
    pub(super) fn caller(&self, address: Option<IpAddr>) -> Caller {
        Caller {
            principal: Principal {
                issuer: self.issuer.clone(),
                subject: self.subject.clone(),
                tenant: self.tenant.clone(),
            },
            roles: self.roles.clone(),
            claims: Arc::default(),
            credential_id: Some(self.id.clone()),
            method: AuthMethod::ApiKey,
            address,
            expires: self.expires,
            token: None,
        }
    }
}

/// A key that was just made: what its owner gets, and what is kept of it.
#[derive(Debug)]
pub struct NewKey {
    /// Names the key; part of it.
    pub id: String,
    /// The key itself, to be shown once.
    pub key: SecretString,
    /// What the key file keeps: SHA-256 of the whole key, in hexadecimal digits.
    pub hash: String,
}

/// Makes a key: `weir_<8 of a-z0-9>_<43 characters of base64url>`.
#[must_use]
pub fn new_key() -> NewKey {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let (mut id_bytes, mut secret) = ([0; 8], [0; 32]);
    rand::fill(&mut id_bytes).and_then(|()| rand::fill(&mut secret)).expect("the system has random bytes");
    let id: String = id_bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    let key = format!("weir_{id}_{}", URL_SAFE_NO_PAD.encode(secret));
    let hash = digest::digest(&digest::SHA256, key.as_bytes());
    let hash = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    NewKey { id, key: SecretString::from(key), hash }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.len().is_multiple_of(2).then(|| text.as_bytes().chunks(2).map(digits).collect())?
}

#[cfg(test)]
mod tests {
    use cache::Revocations;
    use config::identity::KeyRecord;
    use jiff::Timestamp;
    use secrecy::ExposeSecret as _;

    use super::{Keys, new_key};

    #[test]
    fn only_the_very_key_is_found_and_only_until_it_expires() {
        let (made, other) = (new_key(), new_key());
        let record = KeyRecord {
            id: made.id.clone(),
            hash: made.hash.clone(),
            subject: "ann".to_owned(),
            tenant: None,
            roles: vec!["support".to_owned()],
            created: None,
            expires: Some("2027-01-31T00:00:00Z".to_owned()),
            revoked: None,
        };
        let revocations = Revocations::in_memory();
        let keys = Keys::new(
            &[
                record.clone(),
                KeyRecord { id: "brokenex".to_owned(), expires: Some("soon".to_owned()), ..record.clone() },
            ],
            revocations.clone(),
        );
        let key = made.key.expose_secret();
        let before: Timestamp = "2027-01-30T23:59:59Z".parse().expect("a time");
        let after: Timestamp = "2027-01-31T00:00:00Z".parse().expect("a time");
        assert_eq!(keys.find(key, before).map(|key| &*key.subject), Some("ann"));
        assert!(keys.find(key, after).is_none());
        let same_id = format!("weir_{}_{}", made.id, "A".repeat(43));
        for wrong in [
            other.key.expose_secret(),
            &same_id,
            &key[..key.len() - 1],
            &format!("{key}A"),
            "",
            "weir_",
            "weir__x",
            &made.id,
        ] {
            assert!(keys.find(wrong, before).is_none(), "{wrong}");
        }
        assert!(!format!("{made:?}").contains(&key[14..]));

        revocations.revoked([(made.id.as_str(), std::time::SystemTime::now())]);
        assert!(keys.find(key, before).is_none() && keys.of_id(&made.id).is_none(), "it was revoked");
        let revoked = KeyRecord { revoked: Some("2026-01-31T00:00:00Z".to_owned()), ..record };
        let elsewhere = Revocations::in_memory();
        assert!(Keys::new(&[revoked], elsewhere.clone()).find(key, before).is_none());
        assert!(elsewhere.is_revoked(&made.id), "what the file says is told to others");
    }
}
