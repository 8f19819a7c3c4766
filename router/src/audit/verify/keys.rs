//! The public keys whose signatures count.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::audit::signing::PublicKey;

/// Why a public key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "{0} holds no public key of an audit log: the PEM of an Ed25519 key, as in `signing-key.pub` in the folder of the log"
    )]
    NoKey(PathBuf),
}

/// The public keys whose signatures count.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<PublicKey>,
    given: bool,
}

impl Keys {
    /// Those in `files`.
    ///
    /// # Errors
    /// When one cannot be read, or holds no key.
    pub fn given(files: &[PathBuf]) -> Result<Self, KeysError> {
        Ok(Self { keys: files.iter().map(|file| read(file)).collect::<Result<_, _>>()?, given: true })
    }

    /// Those that lie in the folder of the log itself as `*.pub`. Who can write there can put another one there.
    ///
    /// # Errors
    /// When the folder or one of them cannot be read.
    pub fn in_folder(dir: &Path) -> Result<Self, KeysError> {
        let failed = |source| KeysError::Io { path: dir.to_owned(), source };
        let mut keys = Vec::new();
        for file in fs::read_dir(dir).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "pub") {
                keys.push(read(&path)?);
            }
        }
        Ok(Self { keys, given: false })
    }

    pub(super) fn were_given(&self) -> bool {
        self.given
    }

    /// Whether `signature` is that of `public_key` over `text`, and the key one that counts.
    pub(in crate::audit) fn signed(&self, public_key: &str, text: &str, signature: &str) -> bool {
        PublicKey::parse(public_key).is_some_and(|key| self.keys.contains(&key) && key.signed(text, signature))
    }
}

fn read(path: &Path) -> Result<PublicKey, KeysError> {
    let text = fs::read_to_string(path).map_err(|source| KeysError::Io { path: path.to_owned(), source })?;
    PublicKey::parse(&text).ok_or_else(|| KeysError::NoKey(path.to_owned()))
}
