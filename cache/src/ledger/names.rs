//! Where what is kept of a write lies: names that say nothing without the secret.

use std::fmt;

use aws_lc_rs::hmac;

use super::OperationId;

/// Makes the names that all replicas with one secret agree on.
pub struct Names {
    mac_key: hmac::Key,
}

/// One caller. All that is kept of its writes lies in one slot of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(pub(super) [u8; 16]);

/// Where one record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) owner: Owner,
    pub(super) kind: Kind,
    pub(super) name: [u8; 16],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// By an idempotency key of its caller.
    Key,
    /// By the id that Weir gave it.
    Operation,
}

impl Place {
    /// Where an operation of the same caller lies, or where it is said where it lies.
    pub(super) fn of_operation(self, operation: OperationId) -> Self {
        Self { kind: Kind::Operation, name: operation, ..self }
    }
}

impl Names {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        Self { mac_key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// The caller with these attributes.
    #[must_use]
    pub fn owner(&self, parts: &[&[u8]]) -> Owner {
        Owner(self.hash(b"owner", parts))
    }

    /// What is asked for, so that another one is told apart.
    #[must_use]
    pub fn print(&self, parts: &[&[u8]]) -> [u8; 16] {
        self.hash(b"print", parts)
    }

    /// What a downstream may be given in place of a caller's key: no other caller's key gives the same, and nothing can be read from it.
    #[must_use]
    pub fn passed_on(&self, owner: Owner, key: &[u8]) -> [u8; 16] {
        self.hash(b"passed", &[&owner.0, key])
    }

    pub(super) fn of_key(&self, owner: Owner, key: &[u8]) -> Place {
        Place { owner, kind: Kind::Key, name: self.hash(b"key", &[&owner.0, key]) }
    }

    pub(super) fn of_operation(&self, owner: Owner, operation: OperationId) -> Place {
        Place { owner, kind: Kind::Operation, name: operation }
    }

    fn hash(&self, purpose: &[u8], parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = hmac::Context::with_key(&self.mac_key);
        for part in std::iter::once(&purpose).chain(parts) {
            // Where a part begins and ends is a part of it.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.sign().as_ref()[..16].try_into().expect("HMAC-SHA-256 has 32 bytes")
    }
}

/// The secret is not shown.
impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names(…)")
    }
}
