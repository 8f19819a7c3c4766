//! Where a search goes on, as callers hold it: bound to the search that it came from.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

/// Bytes of the digest that are kept: it tells searches apart and protects nothing, since each page is asked for within the
/// bounds of the config whatever the cursor says.
const BOUND_BYTES: usize = 16;

/// The cursor for what `token` means to the provider when it is asked for `query`.
pub(super) fn seal(query: &str, token: &str) -> String {
    let mut bytes = bound_to(query).to_vec();
    bytes.extend_from_slice(token.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The provider's token; `None` when the cursor came from another search, or from nowhere.
pub(super) fn open(query: &str, cursor: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (bound, token) = bytes.split_at_checked(BOUND_BYTES)?;
    (bound == bound_to(query)).then(|| String::from_utf8(token.to_vec()).ok()).flatten()
}

fn bound_to(query: &str) -> [u8; BOUND_BYTES] {
    let whole = digest(&SHA256, query.as_bytes());
    whole.as_ref()[..BOUND_BYTES].try_into().expect("SHA-256 has more bytes than this")
}

#[cfg(test)]
mod tests {
    use super::{open, seal};

    #[test]
    fn a_cursor_opens_for_the_search_that_it_came_from_alone() {
        let cursor = seal("project = \"SUP\"", "token ü");
        assert_eq!(open("project = \"SUP\"", &cursor).as_deref(), Some("token ü"));
        assert_eq!(open("project = \"OPS\"", &cursor), None);
        for bad in ["", "x", "AAAA", "not base64!"] {
            assert_eq!(open("project = \"SUP\"", bad), None, "{bad}");
        }
    }
}
