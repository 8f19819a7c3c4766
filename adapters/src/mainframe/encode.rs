//! How text is written in the parts of a request.

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3): what comes out is one segment of a path or one
/// value of a query, whatever went in.
pub(super) fn percent(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => push_percent(out, byte),
        }
    }
}

/// As `application/x-www-form-urlencoded` has names and values (WHATWG URL, section 5.2): line breaks as they came.
pub(super) fn form(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(byte.into()),
            b' ' => out.push('+'),
            _ => push_percent(out, byte),
        }
    }
}

fn push_percent(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)].into());
    out.push(DIGITS[usize::from(byte & 15)].into());
}
