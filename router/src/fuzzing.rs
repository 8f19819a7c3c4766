//! Bytes of strangers, for the fuzzer. Each function takes what a target was given and asserts what must hold whatever that is.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::{
    audit::entry::{Body, Checkpoint, Entry, Header},
    auth, mcp, scan,
};

/// The body of a request, as on both surfaces.
pub fn envelope(data: &[u8]) {
    let Ok(text) = scan::check(data) else { return };
    serde_json::from_str::<serde::de::IgnoredAny>(text).expect("what passes the scan is JSON");
    let body = Bytes::copy_from_slice(data);
    let text = std::str::from_utf8(&body).expect("it passed the scan");
    mcp::fuzz_message(&body, text);
}

/// `Signature-Input`, `Signature` and `Content-Digest`, a line each, and then the body.
pub fn signature(data: &[u8]) {
    let mut parts = data.splitn(4, |&byte| byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in ["signature-input", "signature", "content-digest"] {
        if let Some(value) = parts.next().filter(|value| !value.is_empty())
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            headers.insert(name, value);
        }
    }
    auth::signature::fuzz(&headers, parts.next().unwrap_or_default());
}

/// A token, a line break, and the key set of its issuer.
pub fn jwt(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let (token, keys) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Ok(token) = std::str::from_utf8(token) {
        auth::fuzz_jwt(token, keys);
    }
}

/// A line of an audit segment: it has one spelling.
pub fn segment(data: &[u8]) {
    for line in data.split(|&byte| byte == b'\n') {
        let Ok(entry) = Entry::parse(line) else { continue };
        let mut written = Vec::new();
        entry.write(&mut written);
        assert_eq!(written.strip_suffix(b"\n"), Some(line), "a line has one spelling");
        match entry.body {
            Body::Segment(text) => drop(serde_json::from_str::<Header>(text)),
            Body::Checkpoint { text, .. } => drop(serde_json::from_str::<Checkpoint>(text)),
            Body::Record(_) | Body::Sealed(_) => {}
        }
    }
}
