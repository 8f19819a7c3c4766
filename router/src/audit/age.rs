//! The part of the age file format that the log needs: small files for one X25519 recipient, which every `age` tool opens.
//!
//! age-encryption.org/v1: a header with the file key wrapped for the recipient, then the content under keys derived from it. Only contents
//! of one chunk (64 KiB) are written and read here.

use std::fmt;

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    agreement::{EphemeralPrivateKey, PrivateKey, UnparsedPublicKey, X25519, agree, agree_ephemeral},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac, rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use secrecy::SecretString;

use super::bech32;

const VERSION: &str = "age-encryption.org/v1";
const WRAP_LABEL: &[u8] = b"age-encryption.org/v1/X25519";
const FILE_KEY_BYTES: usize = 16;
const PAYLOAD_NONCE_BYTES: usize = 16;
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// The nonce of the first chunk where it is the last one, too: a counter of 11 bytes, and 1.
const ONLY_CHUNK: [u8; NONCE_LEN] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// For whom something is encrypted: `age1…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// Who can read it: `AGE-SECRET-KEY-1…`.
pub struct Identity {
    key: [u8; 32],
    recipient: [u8; 32],
}

/// Why a text is no key, or a file does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgeError {
    /// The text is no X25519 recipient.
    #[error("this is no age recipient of the X25519 kind: it begins with `age1`, as `weir audit keygen` prints it")]
    Recipient,
    /// The text is no X25519 identity.
    #[error("this is no age identity: it begins with `AGE-SECRET-KEY-1`, as `weir audit keygen` writes it")]
    Identity,
    /// What is to be opened is no age file of the form that is written here.
    #[error("this is no age file of the form that Weir writes")]
    Format,
    /// It was encrypted for somebody else, or was altered.
    #[error("it is encrypted for another recipient than this identity's, or was altered")]
    NotOurs,
}

impl Recipient {
    /// Reads `age1…`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &str) -> Result<Self, AgeError> {
        let key = bech32::decode("age", text).and_then(|bytes| bytes.try_into().ok()).ok_or(AgeError::Recipient)?;
        let recipient = Self(key);
        // A point of small order agrees with nobody: better said now than when the first record is to be written.
        recipient.encrypt(&[]).ok_or(AgeError::Recipient)?;
        Ok(recipient)
    }

    /// An age file with this content, which is of one chunk at most. `None` where no secret can be agreed on with the recipient.
    #[must_use]
    pub fn encrypt(&self, content: &[u8]) -> Option<Vec<u8>> {
        debug_assert!(content.len() <= CHUNK_BYTES_MAX, "contents of several chunks are not written here");
        let file_key: [u8; FILE_KEY_BYTES] = random();
        let ephemeral =
            EphemeralPrivateKey::generate(&X25519, &rand::SystemRandom::new()).expect("the system has random bytes");
        let share: [u8; 32] = ephemeral.compute_public_key().ok()?.as_ref().try_into().expect("X25519 has 32 bytes");
        let theirs = UnparsedPublicKey::new(&X25519, self.0);
        let wrap = agree_ephemeral(ephemeral, theirs, (), |shared| Ok(wrap_key(shared, &share, &self.0))).ok()?;
        let stanza = STANDARD_NO_PAD.encode(seal(&wrap, [0; NONCE_LEN], &file_key));
        let mut file = format!("{VERSION}\n-> X25519 {}\n{stanza}\n---", STANDARD_NO_PAD.encode(share)).into_bytes();
        let mac = hmac::sign(&header_key(&file_key), &file);
        file.extend_from_slice(format!(" {}\n", STANDARD_NO_PAD.encode(mac)).as_bytes());
        let nonce: [u8; PAYLOAD_NONCE_BYTES] = random();
        file.extend_from_slice(&nonce);
        file.extend_from_slice(&seal(&derived(&file_key, &nonce, b"payload"), ONLY_CHUNK, content));
        Some(file)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode("age", &self.0))
    }
}

impl Identity {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self::of(random()).expect("every 32 bytes are a private key of X25519")
    }

    /// Reads `AGE-SECRET-KEY-1…`: the first line of the text that is neither empty nor a comment, as in the files of `age-keygen`.
    ///
    /// # Errors
    /// When there is no such line.
    pub fn parse(text: &str) -> Result<Self, AgeError> {
        let is_key = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let line = text.lines().map(str::trim).find(is_key).ok_or(AgeError::Identity)?;
        // The text is upper case; its check is over the lower case.
        if line.chars().any(|character| character.is_ascii_lowercase()) {
            return Err(AgeError::Identity);
        }
        let key = bech32::decode("age-secret-key-", &line.to_ascii_lowercase()).and_then(|bytes| bytes.try_into().ok());
        key.and_then(Self::of).ok_or(AgeError::Identity)
    }

    fn of(key: [u8; 32]) -> Option<Self> {
        let private = PrivateKey::from_private_key(&X25519, &key).ok()?;
        let recipient = private.compute_public_key().ok()?.as_ref().try_into().ok()?;
        Some(Self { key, recipient })
    }

    /// Its text, which is secret.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        bech32::encode("age-secret-key-", &self.key).to_ascii_uppercase().into()
    }

    /// For whom to encrypt what it opens.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(self.recipient)
    }

    /// The content of an age file of the form that [`Recipient::encrypt`] writes.
    ///
    /// # Errors
    /// When the file has another form, is for somebody else, or was altered.
    pub fn decrypt(&self, file: &[u8]) -> Result<Vec<u8>, AgeError> {
        let header_end = file.windows(4).position(|window| window == b"--- ").ok_or(AgeError::Format)? + 3;
        let header = str::from_utf8(&file[..header_end]).map_err(|_| AgeError::Format)?;
        let mut lines = header.split('\n');
        let mut expect = |prefix: &str| lines.next().and_then(|line| line.strip_prefix(prefix)).ok_or(AgeError::Format);
        if !expect(VERSION)?.is_empty() {
            return Err(AgeError::Format);
        }
        let share: [u8; 32] = bytes(expect("-> X25519 ")?)?;
        let wrapped: [u8; FILE_KEY_BYTES + 16] = bytes(expect("")?)?;
        let (mac, payload) = file[header_end + 1..].split_at_checked(43).ok_or(AgeError::Format)?;
        let mac: [u8; 32] = bytes(str::from_utf8(mac).map_err(|_| AgeError::Format)?)?;
        let (nonce, sealed) = payload
            .strip_prefix(b"\n")
            .and_then(|payload| payload.split_at_checked(PAYLOAD_NONCE_BYTES))
            .ok_or(AgeError::Format)?;

        let private = PrivateKey::from_private_key(&X25519, &self.key).map_err(|_| AgeError::Identity)?;
        let theirs = UnparsedPublicKey::new(&X25519, share);
        let wrap = agree(&private, theirs, AgeError::NotOurs, |shared| Ok(wrap_key(shared, &share, &self.recipient)))?;
        let file_key: [u8; FILE_KEY_BYTES] =
            open(&wrap, [0; NONCE_LEN], &wrapped).and_then(|key| key.try_into().ok()).ok_or(AgeError::NotOurs)?;
        hmac::verify(&header_key(&file_key), &file[..header_end], &mac).map_err(|_| AgeError::NotOurs)?;
        open(&derived(&file_key, nonce, b"payload"), ONLY_CHUNK, sealed).ok_or(AgeError::NotOurs)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], AgeError> {
    STANDARD_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(AgeError::Format)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

fn wrap_key(shared: &[u8], share: &[u8; 32], recipient: &[u8; 32]) -> [u8; 32] {
    derived(shared, &[*share, *recipient].concat(), WRAP_LABEL)
}

fn header_key(file_key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &derived(file_key, &[], b"header"))
}

fn derived(secret: &[u8], salt: &[u8], info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let info = [info];
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret);
    let filled = extracted.expand(&info, Octets32).and_then(|material| material.fill(&mut key));
    filled.expect("32 bytes are within what HKDF can derive");
    key
}

fn key(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has the length of ChaCha20"))
}

fn seal(with: &[u8; 32], nonce: [u8; NONCE_LEN], content: &[u8]) -> Vec<u8> {
    let mut sealed = content.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key(with).seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).expect("what is sealed is small");
    sealed
}

fn open(with: &[u8; 32], nonce: [u8; NONCE_LEN], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut content = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = key(with).open_in_place(nonce, Aad::empty(), &mut content).ok()?.len();
    content.truncate(length);
    Some(content)
}

struct Octets32;

impl KeyType for Octets32 {
    fn len(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::{AgeError, Identity, Recipient};

    #[test]
    fn only_its_recipient_opens_a_file() {
        let (ours, theirs) = (Identity::generate(), Identity::generate());
        let file = ours.recipient().encrypt(b"a data key").expect("a generated key agrees");
        assert_eq!(ours.decrypt(&file).as_deref(), Ok(b"a data key".as_slice()));
        assert_eq!(theirs.decrypt(&file), Err(AgeError::NotOurs));
    }

    #[test]
    fn a_file_of_the_age_tool_opens() {
        let identity = "AGE-SECRET-KEY-1V66Z3TTCDRAP3P7YN4KEZJZSQU8R7KD7GZTYP6Z6286FM0TZV7KSDH3PRK";
        let recipient = "age1ku0ghqgudt26rg7e99pad3m6rhu0dqqf79td0jjuxzttch7nhp3qne7jxj";
        let file = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBTUXFtb25Deng1cVo5NGtwMVk1ZXNhMFF6bllobmZETXBwNXlYU2NjU0FRCnJtKy9v\
                    YUJtdDNvUUY2bXRkb054M3FsUGt0SW5Ca1Fua1lVbHJ2dHpBQ0EKLS0tIHhYR0hSRDdoU0lRVEYyZFpFeEU5ZUZ2OFQxTW95UVBjbDEyaStC\
                    aWlIM2cKZS09M2j07q5lJMyXHeYrlOl3MOailrxb9j3d1VL/sM5rIbLySpCXXBzx5/Bwe5/AOnECrEDY2AghlQ2M4+YSQw==";
        let file = base64::engine::Engine::decode(&base64::engine::general_purpose::STANDARD, file).expect("base64");
        let identity = Identity::parse(identity).expect("an identity");
        assert_eq!(identity.recipient().to_string(), recipient);
        assert_eq!(identity.decrypt(&file).as_deref(), Ok(b"thirty-two bytes of a data key!!".as_slice()));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let identity = Identity::generate();
        let file = identity.recipient().encrypt(b"a data key").expect("a generated key agrees");
        for at in 0..file.len() * 8 {
            let mut changed = file.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(identity.decrypt(&changed).is_err(), "bit {at}");
        }
        for length in 0..file.len() {
            assert!(identity.decrypt(&file[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn keys_read_as_they_were_written() {
        let identity = Identity::generate();
        let text = identity.to_text();
        let again = Identity::parse(&format!("# made by a test\n{}\n", text.expose_secret())).expect("an identity");
        assert_eq!(again.recipient(), identity.recipient());
        assert_eq!(Recipient::parse(&identity.recipient().to_string()), Ok(identity.recipient()));
        assert_eq!(Recipient::parse(text.expose_secret()), Err(AgeError::Recipient));
        assert_eq!(Identity::parse(&identity.recipient().to_string()).err(), Some(AgeError::Identity));
    }
}
