//! Records sealed for a recipient: AES-256-GCM under a key of the segment, which only the recipient's identity gets back.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;

use super::{
    age::{AgeError, Identity, Recipient},
    entry::Header,
};

const KEY_BYTES: usize = 32;
const CONTEXT: &[u8] = b"weir audit record 1\n";

/// The data key of one segment.
pub struct DataKey {
    key: LessSafeKey,
    context: Vec<u8>,
}

impl DataKey {
    /// A new key for a segment, and the same wrapped for the recipient, as the segment's header has it.
    ///
    /// # Errors
    /// When no secret can be agreed on with the recipient.
    pub fn new(recipient: &Recipient, chain: Uuid, segment: u32) -> Result<(Self, String), AgeError> {
        let mut key = [0; KEY_BYTES];
        rand::fill(&mut key).expect("the system has random bytes");
        let wrapped = recipient.encrypt(&key).ok_or(AgeError::Recipient)?;
        Ok((Self::of(&key, chain, segment), STANDARD.encode(wrapped)))
    }

    /// The key of the segment with this header.
    ///
    /// # Errors
    /// When it is for another recipient, or is none.
    pub fn unwrap(identity: &Identity, header: &Header) -> Result<Self, AgeError> {
        let wrapped = header.key.as_ref().and_then(|key| STANDARD.decode(key).ok()).ok_or(AgeError::Format)?;
        let key: [u8; KEY_BYTES] = identity.decrypt(&wrapped)?.try_into().map_err(|_| AgeError::Format)?;
        Ok(Self::of(&key, header.chain, header.segment))
    }

    fn of(key: &[u8; KEY_BYTES], chain: Uuid, segment: u32) -> Self {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has the length of AES-256"));
        Self { key, context: [CONTEXT, chain.as_bytes(), &segment.to_be_bytes()].concat() }
    }

    /// A record as its line has it. One number of a segment seals one record.
    #[must_use]
    pub fn seal(&self, seq: u64, record: &str) -> String {
        let mut sealed = record.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(nonce(seq), Aad::from(&self.context), &mut sealed)
            .expect("a record is within what AES-GCM can seal");
        STANDARD.encode(sealed)
    }

    /// The record of a line; `None` where it was altered, moved, or sealed under another key.
    #[must_use]
    pub fn open(&self, seq: u64, sealed: &str) -> Option<String> {
        let mut record = STANDARD.decode(sealed).ok()?;
        let length = self.key.open_in_place(nonce(seq), Aad::from(&self.context), &mut record).ok()?.len();
        record.truncate(length);
        String::from_utf8(record).ok()
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

fn nonce(seq: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&seq.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::{DataKey, Header, Identity};

    #[test]
    fn a_record_opens_at_its_own_place_alone() {
        let (identity, chain) = (Identity::generate(), Uuid::now_v7());
        let (key, wrapped) = DataKey::new(&identity.recipient(), chain, 3).expect("a recipient");
        let sealed = key.seal(9, r#"{"outcome":"ok"}"#);
        let header = |segment| Header {
            v: 1,
            chain,
            instance: String::new(),
            segment,
            time: Timestamp::now(),
            weir: String::new(),
            after: None,
            recipient: None,
            key: Some(wrapped.clone()),
        };
        let again = DataKey::unwrap(&identity, &header(3)).expect("its own identity");
        assert_eq!(again.open(9, &sealed).as_deref(), Some(r#"{"outcome":"ok"}"#));
        assert_eq!(again.open(8, &sealed), None);
        let elsewhere = DataKey::unwrap(&identity, &header(4)).expect("its own identity");
        assert_eq!(elsewhere.open(9, &sealed), None);
        assert!(DataKey::unwrap(&Identity::generate(), &header(3)).is_err());
    }
}
