//! Where a config's relative files and its secrets are read.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use secrecy::SecretString;

use crate::{Network, SecretRef};

/// Where a config's relative files and its secrets are read. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The folder that relative paths start from: the one of the config file.
    pub base: PathBuf,
    /// The private networks that hosts of the config may lead to; `None` for all.
    pub private_networks: Option<Arc<[Network]>>,
    /// Values of references that this crate cannot read by itself.
    pub(crate) fetched: Arc<HashMap<SecretRef, SecretString>>,
}

impl Sources {
    /// Files in `base`, and nothing fetched yet.
    pub fn at(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into(), ..Self::default() }
    }

    /// The same with the values that were fetched for these references.
    #[must_use]
    pub fn with(self, fetched: HashMap<SecretRef, SecretString>) -> Self {
        Self { fetched: Arc::new(fetched), ..self }
    }

    pub(crate) fn fetched(&self, reference: &SecretRef) -> Option<&SecretString> {
        self.fetched.get(reference)
    }
}
