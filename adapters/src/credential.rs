//! What Weir shows a downstream over HTTP, as the header it is sent in.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use config::{SecretRef, downstream::Credential};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};

use crate::BuildError;

/// A credential that was read, as the header it is sent in. Its value is marked as sensitive, so that it is not printed.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    name: HeaderName,
    value: HeaderValue,
}

impl Shown {
    /// Reads the credential of the section `setting`. Relative files are looked for in `base`.
    ///
    /// # Errors
    /// When the secret cannot be read, or cannot stand in a header.
    pub(crate) fn new(credential: &Credential, base: &Path, setting: &str) -> Result<Self, BuildError> {
        match credential {
            Credential::Bearer(reference) => {
                let setting = format!("{setting}.credential.bearer");
                let token = read(reference, base, &setting)?;
                Self::made(header::AUTHORIZATION, &format!("Bearer {}", token.expose_secret()), setting)
            }
            Credential::Basic(basic) => {
                let setting = format!("{setting}.credential.basic.password");
                let password = read(&basic.password, base, &setting)?;
                let pair = BASE64_STANDARD.encode(format!("{}:{}", basic.user, password.expose_secret()));
                Self::made(header::AUTHORIZATION, &format!("Basic {pair}"), setting)
            }
            Credential::Header(shown) => {
                let name = HeaderName::from_bytes(shown.name.as_bytes()).map_err(|_| BuildError::Setting {
                    setting: format!("{setting}.credential.header.name"),
                    message: "this is no name of a header".to_owned(),
                })?;
                let setting = format!("{setting}.credential.header.value");
                let value = read(&shown.value, base, &setting)?;
                Self::made(name, value.expose_secret(), setting)
            }
        }
    }

    /// Puts it among the headers of a request.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }

    fn made(name: HeaderName, value: &str, setting: String) -> Result<Self, BuildError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            let message = "the secret has a character in it that no HTTP header may have: look for a line break";
            BuildError::Setting { setting, message: message.to_owned() }
        })?;
        value.set_sensitive(true);
        Ok(Self { name, value })
    }
}

fn read(reference: &SecretRef, base: &Path, setting: &str) -> Result<SecretString, BuildError> {
    reference.resolve(base).map_err(|source| BuildError::Secret { setting: setting.to_owned(), source })
}
