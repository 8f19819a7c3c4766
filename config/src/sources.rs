//! Where a config's relative files and its secrets are read.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use secrecy::{ExposeSecret as _, SecretString};

use crate::{Network, SecretRef, dotenv::Variables, environment};

/// Where a config's relative files and its secrets are read. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The folder that relative paths start from: the one of the config file.
    pub base: PathBuf,
    /// The private networks that hosts of the config may lead to; `None` for all.
    pub private_networks: Option<Arc<[Network]>>,
    /// Values of references that this crate cannot read by itself, or why there is none.
    pub(crate) fetched: Arc<Fetched>,
    /// Variables of `.env`.
    pub(crate) dotenv: Arc<Variables>,
}

/// What came of fetching secrets, by reference: the value, or what is wrong and what to do.
pub type Fetched = HashMap<SecretRef, Result<SecretString, String>>;

impl Sources {
    /// Files in `base`, and nothing fetched yet.
    pub fn at(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into(), ..Self::default() }
    }

    /// The same with the values that were fetched for these references.
    #[must_use]
    pub fn with(self, fetched: Fetched) -> Self {
        Self { fetched: Arc::new(fetched), ..self }
    }

    /// What was fetched.
    #[must_use]
    pub fn fetched(&self) -> &Fetched {
        &self.fetched
    }

    /// An environment variable, or what `.env` says of one that is not set.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        environment::raw(name).or_else(|| self.dotenv.get(name).map(|value| value.expose_secret().to_owned()))
    }
}
