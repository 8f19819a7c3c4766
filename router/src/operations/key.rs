//! The key by which a caller makes its repeats of a write one.

use std::fmt;

use http::HeaderMap;

/// A caller's idempotency key. It is the caller's own text, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Box<str>);

/// What a wrong one is told.
pub(crate) const FORM: &str = "1 to 255 visible ASCII characters";
const CHARACTERS_MAX: usize = 255;

impl IdempotencyKey {
    pub(crate) const HEADER: &str = "idempotency-key";

    /// `None` for what is no key.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The key of a request that may name it in two places, which then agree.
    ///
    /// # Errors
    /// What is wrong, and what is right.
    pub(crate) fn of_request(headers: &HeaderMap, named: Option<(&str, Option<&str>)>) -> Result<Option<Self>, String> {
        let mut values = headers.get_all(Self::HEADER).iter();
        let header = values.next().map(|value| value.to_str().ok().and_then(Self::of_header));
        let header = match header {
            Some(None) => return Err(format!("`Idempotency-Key` holds {FORM}, alone or in double quotes")),
            Some(Some(_)) if values.next().is_some() => return Err("there is one `Idempotency-Key` at most".to_owned()),
            header => header.flatten(),
        };
        let named = match named {
            None => None,
            Some((place, value)) => {
                Some(value.and_then(Self::new).ok_or_else(|| format!("{place} is a string of {FORM}"))?)
            }
        };
        match (header, named) {
            (Some(header), Some(named)) if header != named => {
                Err("the header `Idempotency-Key` and the body name different keys: give one of them".to_owned())
            }
            (header, named) => Ok(header.or(named)),
        }
    }

    /// A string of RFC 9651 (draft-ietf-httpapi-idempotency-key-header), or the bare key, as many clients send it.
    fn of_header(value: &str) -> Option<Self> {
        let value = value.trim();
        let Some(quoted) = value.strip_prefix('"') else { return Self::new(value) };
        let inner = quoted.strip_suffix('"')?;
        let (mut text, mut escaped) = (String::with_capacity(inner.len()), false);
        for character in inner.chars() {
            match character {
                '\\' if !escaped => escaped = true,
                '"' | '\\' if escaped => {
                    text.push(character);
                    escaped = false;
                }
                '"' => return None,
                _ if escaped => return None,
                _ => text.push(character),
            }
        }
        if escaped { None } else { Self::new(&text) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::IdempotencyKey;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", value.parse().expect("a header value"));
        }
        headers
    }

    #[test]
    fn a_key_in_the_header_is_a_structured_string_or_a_bare_one() {
        let long = "x".repeat(255);
        for (value, key) in [
            ("\"8e03978e-40d5\"", "8e03978e-40d5"),
            ("8e03978e-40d5", "8e03978e-40d5"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r#"a"b"#, r#"a"b"#),
            (&long, &long),
        ] {
            let read = IdempotencyKey::of_request(&headers(&[value]), None).expect(value);
            assert_eq!(read, IdempotencyKey::new(key), "{value}");
            assert!(read.is_some());
        }
        let too_long = "x".repeat(256);
        for value in
            ["\"\"", "", "\"a", r#""a\""#, r#""a\x""#, "a b", "\"a\";b=1", "\"a\", \"b\"", "\"a\"b\"", &too_long]
        {
            IdempotencyKey::of_request(&headers(&[value]), None).expect_err(value);
        }
        IdempotencyKey::of_request(&headers(&["a", "a"]), None).expect_err("twice");
    }

    #[test]
    fn two_places_agree_or_are_refused() {
        let named = |text| Some(("`idempotency_key`", text));
        assert_eq!(IdempotencyKey::of_request(&headers(&["\"k\""]), named(Some("k"))), Ok(IdempotencyKey::new("k")));
        assert_eq!(IdempotencyKey::of_request(&headers(&[]), named(Some("k"))), Ok(IdempotencyKey::new("k")));
        assert_eq!(IdempotencyKey::of_request(&headers(&[]), None), Ok(None));
        for (header, text) in
            [(&["k"][..], Some("other")), (&[], None), (&[], Some("")), (&[], Some("ü")), (&[], Some("a b"))]
        {
            IdempotencyKey::of_request(&headers(header), named(text)).expect_err("refused");
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", IdempotencyKey::new("secret-1")), "Some(IdempotencyKey(…))");
    }
}
