//! Entries as they lie in a store that others can read and write: compressed, and sealed so that nobody else can read one, make one, or
//! serve one under another key.
//!
//! ```text
//! format (1) · which secret (4) · salt (24) · AES-256-GCM( entry ) · tag (16)
//! ```
//!
//! Each value has a subkey of its own random salt, so the nonce may be constant. All before the sealed part, the whole cache key, and what it is
//! used for, are its associated data. Whatever comes out of the store is either what was put in under that key, or a [`Damage`]: a miss, never an error.

mod layout;

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    rand,
};

use crate::{entry::Entry, key::Key};

/// Raise it with every change of what is sealed: a value of another format is a miss, on new replicas and on old ones.
const FORMAT: u8 = 1;
const SECRET_ID_BYTES: usize = 4;
const SALT_BYTES: usize = 24;
const HEAD_BYTES: usize = 1 + SECRET_ID_BYTES + SALT_BYTES;
const KEY_BYTES: usize = 32;

/// Seals and opens entries, of one size at most.
pub struct Sealer {
    current: Secret,
    previous: Vec<Secret>,
    value_bytes_max: usize,
}

/// Why an entry is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsealable {
    #[error("the value has {value_bytes} bytes; at most {value_bytes_max} are stored")]
    ValueTooLarge { value_bytes: usize, value_bytes_max: usize },
    #[error("the answer has too many tags; at most {max} are stored", max = layout::TAGS_MAX)]
    Tags,
}

/// Why a stored value is no entry. Each is a miss; the names are for a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it is shorter than any sealed value")]
    Truncated,
    #[error("it is longer, or would unpack to more, than is ever stored")]
    TooLarge,
    #[error("its format is of another version")]
    Format,
    #[error("it was sealed under a secret that is neither the current nor a previous one")]
    Secret,
    #[error("its bytes changed, or were sealed for another key")]
    Seal,
    #[error("it was sealed by a current secret but its content has no meaning")]
    Content,
}

impl Sealer {
    /// Seals under `current`; opens what was sealed under that or a `previous` secret. Secrets are of full entropy.
    #[must_use]
    pub fn new(current: &[u8; 32], previous: &[[u8; 32]], value_bytes_max: usize) -> Self {
        // Sizes are stored in 32 bits.
        let value_bytes_max = value_bytes_max.min(u32::MAX as usize);
        Self { current: Secret::new(current), previous: previous.iter().map(Secret::new).collect(), value_bytes_max }
    }

    /// The largest value that it seals.
    pub(crate) fn value_bytes_max(&self) -> usize {
        self.value_bytes_max
    }

    /// The entry as it is stored under `key`.
    pub(crate) fn seal(&self, key: &Key, entry: &Entry) -> Result<Vec<u8>, Unsealable> {
        self.seal_as(b"", key, entry)
    }

    /// Sealed for one use of `key`: it opens for no other one.
    pub(crate) fn seal_as(&self, usage: &[u8], key: &Key, entry: &Entry) -> Result<Vec<u8>, Unsealable> {
        if entry.value.len() > self.value_bytes_max {
            let (value_bytes, value_bytes_max) = (entry.value.len(), self.value_bytes_max);
            return Err(Unsealable::ValueTooLarge { value_bytes, value_bytes_max });
        }
        let plain = layout::write(entry).ok_or(Unsealable::Tags)?;
        Ok(self.seal_plain(usage, key, plain))
    }

    /// What was sealed for `key`, or what is wrong with it. Costs at most the memory of one entry of the largest size, whatever came.
    pub(crate) fn open(&self, key: &Key, sealed: &[u8]) -> Result<Entry, Damage> {
        self.open_as(b"", key, sealed)
    }

    /// The bytes of the largest sealed entry.
    pub(crate) fn sealed_bytes_max(&self) -> usize {
        HEAD_BYTES + layout::PLAIN_OVERHEAD_BYTES_MAX + self.value_bytes_max + MAX_TAG_LEN
    }

    pub(crate) fn open_as(&self, usage: &[u8], key: &Key, sealed: &[u8]) -> Result<Entry, Damage> {
        let (head, body) = sealed.split_at_checked(HEAD_BYTES).ok_or(Damage::Truncated)?;
        if head[0] != FORMAT {
            return Err(Damage::Format);
        }
        if body.len() < MAX_TAG_LEN {
            return Err(Damage::Truncated);
        }
        if sealed.len() > self.sealed_bytes_max() {
            return Err(Damage::TooLarge);
        }
        let (secret_id, salt) = head[1..].split_at(SECRET_ID_BYTES);
        let secret = self.secrets().find(|secret| secret.id == secret_id).ok_or(Damage::Secret)?;
        let mut plain = body.to_vec();
        let opened = secret.subkey(salt).open_in_place(nonce(), Aad::from(associated(head, key, usage)), &mut plain);
        let opened_bytes = opened.map_err(|_unspecified| Damage::Seal)?.len();
        plain.truncate(opened_bytes);
        layout::read(plain, self.value_bytes_max)
    }

    fn seal_plain(&self, usage: &[u8], key: &Key, mut plain: Vec<u8>) -> Vec<u8> {
        let mut head = [0; HEAD_BYTES];
        head[0] = FORMAT;
        head[1..=SECRET_ID_BYTES].copy_from_slice(&self.current.id);
        let salt = &mut head[1 + SECRET_ID_BYTES..];
        rand::fill(salt).expect("the system has random bytes");
        let subkey = self.current.subkey(salt);
        let tag = subkey.seal_in_place_separate_tag(nonce(), Aad::from(associated(&head, key, usage)), &mut plain);
        let tag = tag.expect("a value in memory is within what AES-GCM can seal");
        let mut sealed = Vec::with_capacity(HEAD_BYTES + plain.len() + MAX_TAG_LEN);
        sealed.extend_from_slice(&head);
        sealed.extend_from_slice(&plain);
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    fn secrets(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl Damage {
    pub(crate) const ALL: [Self; 6] =
        [Self::Truncated, Self::TooLarge, Self::Format, Self::Secret, Self::Seal, Self::Content];

    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::TooLarge => "too_large",
            Self::Format => "format",
            Self::Secret => "secret",
            Self::Seal => "seal",
            Self::Content => "content",
        }
    }
}

/// The secrets are not shown.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

/// What lies within a seal.
#[cfg(fuzzing)]
pub(crate) fn unsealed(plain: Vec<u8>, value_bytes_max: usize) -> Result<Entry, Damage> {
    layout::read(plain, value_bytes_max)
}

struct Secret {
    /// Says which secret sealed a value, without saying anything about the secret.
    id: [u8; SECRET_ID_BYTES],
    sealing_key: Prk,
}

impl Secret {
    fn new(secret: &[u8; 32]) -> Self {
        let extracted = Salt::new(HKDF_SHA256, b"weir/cache/value").extract(secret);
        let mut id = [0; SECRET_ID_BYTES];
        id.copy_from_slice(&derive(&extracted, b"id")[..SECRET_ID_BYTES]);
        Self { id, sealing_key: Prk::new_less_safe(HKDF_SHA256, &derive(&extracted, b"seal")) }
    }

    fn subkey(&self, salt: &[u8]) -> LessSafeKey {
        let key = derive(&self.sealing_key, salt);
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("the key has the length of AES-256"))
    }
}

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

fn derive(from: &Prk, info: &[u8]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let derived = from.expand(&[info], KeyBytes).and_then(|material| material.fill(&mut key));
    derived.expect("32 bytes are within what HKDF can derive");
    key
}

/// Constant: a subkey seals one value.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// All but the last part have one length each, so the borders are where they are.
fn associated(head: &[u8], key: &Key, usage: &[u8]) -> Vec<u8> {
    [head, key.as_bytes(), usage].concat()
}

#[cfg(test)]
mod tests;
