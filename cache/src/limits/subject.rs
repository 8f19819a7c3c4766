//! Names of counts that tell nothing.

use std::fmt;

use aws_lc_rs::{
    hkdf::{HKDF_SHA256, Prk},
    hmac,
};

use crate::octets::hex;

/// Names one count, such as that of one caller at one limit: one that lies on one side, and no two limits share it. Without the secret it says nothing about whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject([u8; 16]);

/// Makes the subjects of all replicas that have the same secret.
pub struct Subjects {
    mac_key: hmac::Key,
}

impl Subjects {
    /// A maker under a secret of full entropy.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let derived = Prk::new_less_safe(HKDF_SHA256, secret);
        let derived = derived.expand(&[b"weir/limits/subject"], hmac::HMAC_SHA256);
        Self { mac_key: derived.expect("the length of SHA-256 is within what HKDF can derive").into() }
    }

    /// The count of `name`, a limit for example, for what `parts` say. Other parts, or the same bytes parted in another way, have another one.
    #[must_use]
    pub fn of(&self, name: &str, parts: &[&[u8]]) -> Subject {
        let mut frame = hmac::Context::with_key(&self.mac_key);
        for part in [name.as_bytes()].iter().chain(parts) {
            frame.update(&(part.len() as u64).to_be_bytes());
            frame.update(part);
        }
        let tag = frame.sign();
        Subject(*tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes"))
    }
}

impl Subject {
    pub(super) fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(…)")
    }
}

/// The secret is not shown.
impl fmt::Debug for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subjects(…)")
    }
}
