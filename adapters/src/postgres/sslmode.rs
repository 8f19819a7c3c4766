//! The modes of TLS in a connection string that the library does not know.

use std::ops::Range;

/// Modes that ask for a verified certificate by name.
const VERIFYING: [&str; 2] = ["verify-full", "verify-ca"];

/// The same connection string with `require` for a mode that asks for verification: certificates are verified in every mode that
/// uses TLS. Nothing else is touched, whatever a password or another value looks like.
pub(super) fn without_verification(text: &str) -> String {
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    let mut text = text.to_owned();
    for range in if is_url { in_url(&text) } else { in_pairs(&text) }.into_iter().rev() {
        text.replace_range(range, "require");
    }
    text
}

/// The values to replace in `scheme://user:password@host/database?sslmode=...&...`.
fn in_url(text: &str) -> Vec<Range<usize>> {
    let after = |from: usize, what: &str| text[from..].find(what).map(|at| from + at + what.len());
    let mut found = Vec::new();
    let Some(rest) = after(0, "://") else { return found };
    // User and password end at the first `@`, and may have `?` and `&` in them.
    let Some(mut at) = after(after(rest, "@").unwrap_or(rest), "?") else { return found };
    for parameter in text[at..].split('&') {
        if let Some((name, value)) = parameter.split_once('=')
            && name == "sslmode"
            && VERIFYING.contains(&value)
        {
            found.push(at + name.len() + 1..at + parameter.len());
        }
        at += parameter.len() + 1;
    }
    found
}

/// The values to replace in `host=... sslmode = 'verify-full' ...`.
fn in_pairs(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let skip_space = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let name = skip_space(at);
        at = name;
        while bytes.get(at).is_some_and(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
            at += 1;
        }
        let name = &text[name..at];
        at = skip_space(at);
        if bytes.get(at) != Some(&b'=') {
            return found;
        }
        let start = skip_space(at + 1);
        at = value_end(bytes, start);
        let value = &text[start..at];
        let bare = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value);
        if name == "sslmode" && VERIFYING.contains(&bare) {
            found.push(start..at);
        }
    }
}

/// Where the value that begins at `at` is over, its quotes included. A backslash takes the next character as it is.
fn value_end(bytes: &[u8], mut at: usize) -> usize {
    let quoted = bytes.get(at) == Some(&b'\'');
    at += usize::from(quoted);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\'' if quoted => return at + 1,
            byte if !quoted && byte.is_ascii_whitespace() => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::without_verification;

    #[test]
    fn only_the_mode_itself_is_replaced() {
        let rows = [
            ("postgres://u:p@h/d?sslmode=verify-full", "postgres://u:p@h/d?sslmode=require"),
            ("postgresql://h/d?a=b&sslmode=verify-ca&c=d", "postgresql://h/d?a=b&sslmode=require&c=d"),
            ("postgres://u:sslmode=verify-full@h/d", "postgres://u:sslmode=verify-full@h/d"),
            (
                "postgres://u:?sslmode=verify-full@h/d?sslmode=verify-ca",
                "postgres://u:?sslmode=verify-full@h/d?sslmode=require",
            ),
            ("postgres://u:p@h/d?sslmode=verify-fully", "postgres://u:p@h/d?sslmode=verify-fully"),
            ("postgres://u:p@h/d?sslmode=prefer", "postgres://u:p@h/d?sslmode=prefer"),
            ("host=h sslmode=verify-full user=u", "host=h sslmode=require user=u"),
            ("sslmode = verify-full host=h", "sslmode = require host=h"),
            ("host=h sslmode='verify-ca'", "host=h sslmode=require"),
            ("password='a sslmode=verify-full' host=h", "password='a sslmode=verify-full' host=h"),
            (r"password='it\'s sslmode=verify-ca' host=h", r"password='it\'s sslmode=verify-ca' host=h"),
            (r"password=a\ sslmode=verify-ca host=h", r"password=a\ sslmode=verify-ca host=h"),
            ("password='ä\\ö sslmode=verify-ca", "password='ä\\ö sslmode=verify-ca"),
            ("sslmode", "sslmode"),
            ("sslmode='verify-full", "sslmode='verify-full"),
            ("x=\\", "x=\\"),
            ("", ""),
        ];
        for (text, wanted) in rows {
            assert_eq!(without_verification(text), wanted, "{text}");
        }
    }
}
