//! What an answer is stored under: a MAC over everything that decides what the answer is, and who may have it.
//!
//! Two calls have one key only if they have the same downstream under the same config, the same tool by the same definition, arguments of the
//! same meaning, callers whom the partition does not tell apart, and the same mask. In-flight coalescing goes by the same key.

mod canonical;
mod partition;

use std::fmt;

use aws_lc_rs::{
    digest,
    hkdf::{HKDF_SHA256, Prk},
    hmac,
};

pub use self::{
    canonical::{Canonical, Uncacheable, exact_number},
    partition::{Identity, Partition, Personal},
};

/// Raise it with every change of what goes into a key, or how: entries under keys of another format are never found.
const FORMAT: u8 = 1;
/// How many bytes of a key are shown.
const SHOWN_BYTES: usize = 4;

/// The name of one entry. Without the secret it says nothing about the call, nor can it be guessed from one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of something that has a secret of its own in it.
    pub(crate) fn hashed(parts: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, parts);
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The whole key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A short prefix, enough to find a key again in logs.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(SHOWN_BYTES).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// All that a key stands for.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub downstream: &'a str,
    /// Changes with everything in the downstream's config that can change an answer.
    pub config_revision: &'a [u8],
    /// The tool's local name.
    pub tool: &'a str,
    /// A hash of the tool's definition.
    pub definition: &'a [u8],
    pub arguments: &'a Canonical,
    pub partition: &'a Partition<'a>,
    /// What is taken out of the answer before it is stored, if anything is.
    pub mask: Option<Mask<'a>>,
}

/// A masking profile as it stands at one time.
#[derive(Debug, Clone, Copy)]
pub struct Mask<'a> {
    pub profile: &'a str,
    pub revision: &'a [u8],
}

/// Makes the keys of all replicas that have the same secret.
pub struct KeyMaker {
    mac_key: hmac::Key,
}

impl KeyMaker {
    /// A maker under a secret of full entropy. With another secret nothing that is stored is found again.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let secret = Prk::new_less_safe(HKDF_SHA256, secret);
        let derived = secret.expand(&[b"weir/cache/key"], hmac::HMAC_SHA256);
        Self { mac_key: derived.expect("the length of SHA-256 is within what HKDF can derive").into() }
    }

    /// The key of one call.
    #[must_use]
    pub fn key(&self, parts: &Parts<'_>) -> Key {
        let mut frame = Frame(hmac::Context::with_key(&self.mac_key));
        frame.part(&[FORMAT]);
        frame.part(parts.downstream.as_bytes());
        frame.part(parts.config_revision);
        frame.part(parts.tool.as_bytes());
        frame.part(parts.definition);
        frame.part(parts.arguments.as_str().as_bytes());
        parts.partition.write(&mut frame);
        frame.count(usize::from(parts.mask.is_some()));
        if let Some(mask) = parts.mask {
            frame.part(mask.profile.as_bytes());
            frame.part(mask.revision);
        }
        let tag = frame.0.sign();
        Key(tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes"))
    }
}

/// The secret is not shown.
impl fmt::Debug for KeyMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaker(…)")
    }
}

/// Takes in parts so that where each of them begins and ends is part of the message: a decoder could read them back, hence two lists of
/// parts never are the same message.
struct Frame(hmac::Context);

impl Frame {
    fn part(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }

    /// How many parts follow, where that varies.
    fn count(&mut self, count: usize) {
        self.0.update(&(count as u64).to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
