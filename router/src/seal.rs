//! Values that leave Weir and come back: sealed, so that nobody else can read, make or change one.
//!
//! One master secret; one key per purpose by HKDF (RFC 5869); each value under a subkey of its own random 24-byte salt, so that the
//! nonce of AES-256-GCM may be constant.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

const FORMAT: u8 = 1;
const SALT_BYTES: usize = 24;

/// The master secrets: the current one, and those of before, the newest first.
pub(crate) struct Masters {
    current: Vec<u8>,
    previous: Vec<Vec<u8>>,
}

impl Masters {
    /// Those of the config, or one that ends with the process.
    pub(crate) fn new(surroundings: &config::Surroundings) -> Self {
        let bytes = |secret: &SecretString| secret.expose_secret().as_bytes().to_vec();
        let random = || {
            let mut master = vec![0; 32];
            rand::fill(&mut master).expect("the system has random bytes");
            master
        };
        Self {
            current: surroundings.master.as_ref().map_or_else(random, bytes),
            previous: surroundings.previous_masters.iter().map(bytes).collect(),
        }
    }

    /// What seals values that leave Weir and come back: under the current secret, opening those of before too.
    pub(crate) fn sealer(&self, purpose: &str) -> Sealer {
        let previous = self.previous.iter().map(|master| purpose_key(master, purpose)).collect();
        Sealer { previous, ..Sealer::new(&self.current, purpose) }
    }

    /// What seals stored values of one purpose: under the current secret, opening those of before too.
    pub(crate) fn store_sealer(&self, purpose: &str, value_bytes_max: usize) -> cache::Sealer {
        let previous: Vec<[u8; 32]> = self.previous.iter().map(|master| derived(master, purpose)).collect();
        cache::Sealer::new(&derived(&self.current, purpose), &previous, value_bytes_max)
    }

    /// What makes the names of stored values: the oldest secret, so that they are found by the same names while a rotation is under way.
    pub(crate) fn store_keys(&self, purpose: &str) -> cache::KeyMaker {
        cache::KeyMaker::new(&derived(self.previous.last().unwrap_or(&self.current), purpose))
    }

    /// The same as it is, for names of another kind.
    pub(crate) fn store_secret(&self, purpose: &str) -> [u8; 32] {
        derived(self.previous.last().unwrap_or(&self.current), purpose)
    }

    /// What makes the names of what is counted, by the same secret.
    pub(crate) fn limit_subjects(&self) -> cache::limits::Subjects {
        cache::limits::Subjects::new(&derived(self.previous.last().unwrap_or(&self.current), "limits/subject"))
    }
}

/// Seals and opens values of one purpose.
pub(crate) struct Sealer {
    current: Prk,
    previous: Vec<Prk>,
}

impl Sealer {
    /// A sealer for `purpose` under the master secret.
    pub(crate) fn new(master: &[u8], purpose: &str) -> Self {
        Self { current: purpose_key(master, purpose), previous: Vec::new() }
    }

    /// Seals `value` as text for a header or a JSON string.
    pub(crate) fn seal(&self, value: &[u8]) -> String {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).expect("the system has random bytes");
        let mut sealed = value.to_vec();
        subkey(&self.current, &salt)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::from([FORMAT]), &mut sealed)
            .expect("a value in memory is within what AES-GCM can seal");
        let mut out = Vec::with_capacity(1 + SALT_BYTES + sealed.len());
        out.push(FORMAT);
        out.extend_from_slice(&salt);
        out.extend_from_slice(&sealed);
        URL_SAFE_NO_PAD.encode(out)
    }

    /// Opens what [`seal`](Self::seal) made; `None` for anything else.
    pub(crate) fn open(&self, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (&format, rest) = bytes.split_first()?;
        let (salt, sealed) = rest.split_at_checked(SALT_BYTES)?;
        if format != FORMAT {
            return None;
        }
        std::iter::once(&self.current).chain(&self.previous).find_map(|purpose_key| {
            // A key that is not the right one leaves nothing of use in what it was tried on.
            let mut value = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let opened = subkey(purpose_key, salt).open_in_place(nonce, Aad::from([format]), &mut value).ok()?.len();
            value.truncate(opened);
            Some(value)
        })
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

fn purpose_key(master: &[u8], purpose: &str) -> Prk {
    Prk::new_less_safe(HKDF_SHA256, &derived(master, purpose))
}

fn subkey(purpose_key: &Prk, salt: &[u8]) -> LessSafeKey {
    let mut key = [0; 32];
    let derived = purpose_key.expand(&[salt], Aes256).and_then(|key_material| key_material.fill(&mut key));
    derived.expect("32 bytes are within what HKDF can derive");
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("the key has the length of AES-256"))
}

/// The secret of one purpose.
fn derived(master: &[u8], purpose: &str) -> [u8; 32] {
    let extracted = Salt::new(HKDF_SHA256, b"weir/master").extract(master);
    let mut key = [0; 32];
    let info = [purpose.as_bytes()];
    let filled = extracted.expand(&info, HKDF_SHA256).and_then(|key_material| key_material.fill(&mut key));
    filled.expect("32 bytes are within what HKDF can derive");
    key
}

struct Aes256;

impl KeyType for Aes256 {
    fn len(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    use super::{Masters, Sealer};

    const MASTER: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn only_the_same_purpose_and_master_open_a_value() {
        let sealer = Sealer::new(MASTER, "session");
        let sealed = sealer.seal(b"value");
        assert_eq!(sealer.open(&sealed).as_deref(), Some(b"value".as_slice()));
        assert_eq!(Sealer::new(MASTER, "page").open(&sealed), None);
        assert_eq!(Sealer::new(b"another master secret of 32 bytes", "session").open(&sealed), None);
        assert_ne!(sealed, sealer.seal(b"value"));
    }

    #[test]
    fn what_a_previous_master_sealed_is_opened_and_nothing_new_is_sealed_under_it() {
        let masters = |current: &[u8], previous: &[&[u8]]| Masters {
            current: current.to_vec(),
            previous: previous.iter().map(|master| master.to_vec()).collect(),
        };
        let (old, new) = (masters(b"old", &[]).sealer("session"), masters(b"new", &[b"old"]).sealer("session"));
        assert_eq!(new.open(&old.seal(b"value")).as_deref(), Some(b"value".as_slice()));
        assert_eq!(old.open(&new.seal(b"value")), None);
        assert_eq!(masters(b"new", &[b"old"]).sealer("page").open(&old.seal(b"value")), None);
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let sealer = Sealer::new(MASTER, "session");
        let sealed = sealer.seal(b"value");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sealer.open(&String::from_utf8(changed).expect("ASCII")), None, "character {at}");
        }
        assert_eq!(sealer.open(""), None);
        assert_eq!(sealer.open("AAAA"), None);
    }
}
