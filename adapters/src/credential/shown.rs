//! One credential as the header that it is sent in.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

/// A credential as the header that it is sent in. Its value is marked as sensitive, so that it is not printed.
#[derive(Debug)]
pub(crate) struct Shown {
    name: HeaderName,
    value: HeaderValue,
    /// What nobody else may read, in each form in which it may come back.
    secrets: Vec<SecretString>,
}

/// A shorter secret is a part of ordinary words: to strike it out of them would tell it.
const CONCEALED_CHARACTERS_MIN: usize = 4;

impl Shown {
    /// `value` in the header `name`; `None` where a header cannot hold it.
    pub(super) fn new(name: HeaderName, value: &str, secrets: Vec<SecretString>) -> Option<Self> {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some(Self { name, value, secrets })
    }

    /// A token as RFC 6750 has it.
    pub(super) fn bearer(token: SecretString) -> Option<Self> {
        let value = format!("Bearer {}", token.expose_secret());
        Self::new(header::AUTHORIZATION, &value, vec![token])
    }

    /// Puts it among the headers of a request.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }

    /// `text` without the secret: there are systems that say no and repeat what they were shown.
    pub(crate) fn conceal<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        self.secrets.iter().map(ExposeSecret::expose_secret).fold(text, |text, secret| {
            let is_there = secret.chars().count() >= CONCEALED_CHARACTERS_MIN && text.contains(secret);
            if is_there { Cow::Owned(text.replace(secret, "…")) } else { text }
        })
    }
}
