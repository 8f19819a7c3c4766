//! `Content-Digest` (RFC 9530).

use aws_lc_rs::digest::{Algorithm, SHA256, SHA512, digest};
use http::HeaderMap;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// Longer headers are not looked into.
const HEADER_BYTES_MAX: usize = 1 << 10;

/// The digests that a body must have: at least one.
#[derive(Debug)]
pub(super) struct Digests(Vec<(&'static Algorithm, Vec<u8>)>);

impl Digests {
    /// Those of a request. Algorithms that are broken, or not known, say nothing.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, &'static str> {
        const NEEDED: &str =
            "A signed body needs its `Content-Digest: sha-256=:…:` (or sha-512), written as RFC 9530 says.";
        let mut written = Vec::new();
        for value in headers.get_all("content-digest") {
            if !written.is_empty() {
                written.extend_from_slice(b", ");
            }
            written.extend_from_slice(value.as_bytes());
            if written.len() > HEADER_BYTES_MAX {
                return Err(NEEDED);
            }
        }
        let written = Parser::new(&written).parse::<Dictionary>().map_err(|_| NEEDED)?;
        let mut digests = Vec::new();
        for (name, value) in written {
            let algorithm = match name.as_str() {
                "sha-256" => &SHA256,
                "sha-512" => &SHA512,
                _ => continue,
            };
            let ListEntry::Item(value) = value else { return Err(NEEDED) };
            let BareItem::ByteSequence(value) = value.bare_item else { return Err(NEEDED) };
            digests.push((algorithm, value));
        }
        if digests.is_empty() { Err(NEEDED) } else { Ok(Self(digests)) }
    }

    /// Whether `body` has all of them.
    pub(super) fn fit(&self, body: &[u8]) -> bool {
        self.0.iter().all(|(algorithm, expected)| digest(algorithm, body).as_ref() == expected.as_slice())
    }
}
