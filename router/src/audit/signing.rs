//! The key that signs checkpoints.

use std::{
    fmt,
    fs::{File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};

use super::entry::SIGNED_PREFIX;

/// Where the key lies that is made at the first start.
pub const KEY_FILE: &str = "signing-key.pem";
/// Where its public half lies.
pub const PUBLIC_FILE: &str = "signing-key.pub";
/// What stands before the 32 bytes of an Ed25519 public key in its X.509 form (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Signs checkpoints.
pub struct SigningKey(Ed25519KeyPair);

/// Tells whether a checkpoint was signed with the key of which this is the public half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no such key.
    #[error(
        "it is no Ed25519 key as PKCS #8 in PEM: `openssl genpkey -algorithm ed25519` and `weir audit keygen` make one"
    )]
    NotOne,
    /// The file can be read by others.
    #[error("{0} can be read by others than its owner: `chmod 600` it")]
    Open(std::path::PathBuf),
    /// The file cannot be read or made.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SigningKey {
    /// Reads PKCS #8 in PEM.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(pem: &SecretString) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose_secret().as_bytes()).map_err(|_| KeyError::NotOne)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map_err(|_| KeyError::NotOne)?;
        Ok(Self(pair))
    }

    /// A new key, as PEM.
    #[must_use]
    pub fn generate() -> SecretString {
        let pair = Ed25519KeyPair::generate().expect("the system has random bytes");
        let der = pair.to_pkcs8v1().expect("a generated key has a PKCS #8 form");
        pem("PRIVATE KEY", der.as_ref()).into()
    }

    /// The key in the folder; made there if there is none, with its public half beside it. Of two processes that begin at once, both take the
    /// one that was made first.
    ///
    /// # Errors
    /// When it cannot be read or made, or others can read it.
    pub fn in_folder(dir: &Path) -> Result<Self, KeyError> {
        let path = dir.join(KEY_FILE);
        if !path.exists() {
            // Whole or not there: what is linked in was written before.
            let new = dir.join(format!(".{KEY_FILE}.{}", uuid::Uuid::now_v7()));
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(Self::generate().expose_secret().as_bytes())?;
            file.sync_all()?;
            let linked = std::fs::hard_link(&new, &path);
            std::fs::remove_file(&new)?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
                _ => File::open(dir)?.sync_all()?,
            }
        }
        let mut file = File::open(&path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::Open(path));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let key = Self::parse(&text.into())?;
        let public = dir.join(PUBLIC_FILE);
        if !public.exists() {
            std::fs::write(&public, key.public().to_pem())?;
            std::fs::set_permissions(&public, Permissions::from_mode(0o600))?;
        }
        Ok(key)
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().try_into().expect("Ed25519 has 32 bytes"))
    }

    /// The signature of a checkpoint's text, in base64.
    #[must_use]
    pub fn sign(&self, checkpoint: &str) -> String {
        STANDARD.encode(self.0.sign(&signed(checkpoint)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl PublicKey {
    /// Reads the PEM of a public key, or the base64 of its 32 bytes as checkpoints have it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(der) = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()) {
            return der.as_ref().strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(Self);
        }
        STANDARD.decode(text.trim()).ok()?.try_into().ok().map(Self)
    }

    /// The base64 of its 32 bytes.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Its PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[&SPKI_PREFIX[..], &self.0].concat())
    }

    /// Whether the signature (base64) is that of this text.
    #[must_use]
    pub fn signed(&self, checkpoint: &str, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        UnparsedPublicKey::new(&ED25519, self.0).verify(&signed(checkpoint), &signature).is_ok()
    }
}

fn signed(checkpoint: &str) -> Vec<u8> {
    [SIGNED_PREFIX, checkpoint.as_bytes()].concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{KEY_FILE, KeyError, PUBLIC_FILE, PublicKey, SigningKey};

    #[test]
    fn a_checkpoint_is_known_by_its_signature() {
        let key = SigningKey::parse(&SigningKey::generate()).expect("a key");
        let signature = key.sign("{}");
        assert!(key.public().signed("{}", &signature));
        assert!(!key.public().signed("{ }", &signature));
        let other = SigningKey::parse(&SigningKey::generate()).expect("a key");
        assert!(!other.public().signed("{}", &signature));
        assert_eq!(PublicKey::parse(&key.public().to_pem()), Some(key.public()));
        assert_eq!(PublicKey::parse(&key.public().to_base64()), Some(key.public()));
    }

    #[test]
    fn the_first_start_makes_a_key_and_later_ones_find_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = SigningKey::in_folder(dir.path()).expect("a key is made");
        assert_eq!(SigningKey::in_folder(dir.path()).expect("it is there").public(), first.public());
        for name in [KEY_FILE, PUBLIC_FILE] {
            let mode = dir.path().join(name).metadata().expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 2);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        SigningKey::in_folder(dir.path()).expect("a key is made");
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(dir.path().join(KEY_FILE), open).expect("its mode is set");
        assert!(matches!(SigningKey::in_folder(dir.path()), Err(KeyError::Open(_))));
    }
}
