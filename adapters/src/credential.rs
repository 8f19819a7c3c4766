//! What Weir shows a downstream over HTTP, as the header it is sent in.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use config::{SecretRef, Sources, downstream::Credential};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

use crate::BuildError;

/// A credential that was read, as the header it is sent in. Its value is marked as sensitive, so that it is not printed.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    name: HeaderName,
    value: HeaderValue,
    /// What nobody else may read, in each form in which it may come back.
    secrets: Vec<SecretString>,
}

/// A shorter secret is a part of ordinary words: to strike it out of them would tell it.
const CONCEALED_CHARACTERS_MIN: usize = 4;

impl Shown {
    /// Reads the credential of the section `setting`. Relative files are looked for in `sources`.
    ///
    /// # Errors
    /// When the secret cannot be read, or cannot stand in a header.
    pub(crate) fn new(credential: &Credential, sources: &Sources, setting: &str) -> Result<Self, BuildError> {
        match credential {
            Credential::Bearer(reference) => {
                let setting = format!("{setting}.credential.bearer");
                let token = read(reference, sources, &setting)?;
                let value = format!("Bearer {}", token.expose_secret());
                Self::made(header::AUTHORIZATION, &value, vec![token], setting)
            }
            Credential::Basic(basic) => {
                let setting = format!("{setting}.credential.basic.password");
                let password = read(&basic.password, sources, &setting)?;
                let pair = BASE64_STANDARD.encode(format!("{}:{}", basic.user, password.expose_secret()));
                let value = format!("Basic {pair}");
                Self::made(header::AUTHORIZATION, &value, vec![pair.into(), password], setting)
            }
            Credential::ClientCredentials(_)
            | Credential::RefreshToken(_)
            | Credential::TokenExchange(_)
            | Credential::Assertion(_) => {
                Err(BuildError::Setting { setting: setting.to_owned(), message: "cannot be used yet".to_owned() })
            }
            Credential::Header(shown) => {
                let name = HeaderName::from_bytes(shown.name.as_bytes()).map_err(|_| BuildError::Setting {
                    setting: format!("{setting}.credential.header.name"),
                    message: "this is no name of a header".to_owned(),
                })?;
                let setting = format!("{setting}.credential.header.value");
                let value = read(&shown.value, sources, &setting)?;
                Self::made(name, value.clone().expose_secret(), vec![value], setting)
            }
        }
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

    fn made(name: HeaderName, value: &str, secrets: Vec<SecretString>, setting: String) -> Result<Self, BuildError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            let message = "the secret has a character in it that no HTTP header may have: look for a line break";
            BuildError::Setting { setting, message: message.to_owned() }
        })?;
        value.set_sensitive(true);
        Ok(Self { name, value, secrets })
    }
}

fn read(reference: &SecretRef, sources: &Sources, setting: &str) -> Result<SecretString, BuildError> {
    reference.resolve(sources).map_err(|source| BuildError::Secret { setting: setting.to_owned(), source })
}
