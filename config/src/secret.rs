//! Secrets by reference: the config names where a secret is, never the secret.

use std::{
    collections::HashSet,
    fmt,
    fs::File,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Period, Sources};

/// Where the value of an environment variable comes from; tests bring their own.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where a secret is: `{ env: NAME }`, `{ file: PATH }`, `{ vault: PATH#KEY }` or `{ command: [PROGRAM, ARGUMENT, …] }`. Printing it shows the reference, never the value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretRef {
    /// The environment variable of this name.
    Env(#[serde(deserialize_with = "variable_name")] String),
    /// The content of this file, one newline at its end removed. Readable by its owner alone.
    File(PathBuf),
    /// A value of a KV v2 engine of HashiCorp Vault, as `MOUNT/PATH#KEY`: `secret/weir/crm#url`. `secrets.vault` says where Vault is.
    Vault(#[serde(deserialize_with = "vault_place")] String),
    /// What this program prints on its standard output, one newline at its end removed. Never run by a shell.
    Command(#[serde(deserialize_with = "command")] Vec<String>),
}

/// The master secret, from which every key of Weir's own is derived (HKDF, one key per purpose).
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// At least 32 bytes. Without it each process makes its own at random: session ids then end with the process. Needed with `redis`.
    pub master: Option<SecretRef>,
    /// Master secrets of before, the newest first: what they sealed is still opened, nothing is sealed under them any more.
    pub previous: Vec<SecretRef>,
    /// Where `{ vault: … }` is read.
    pub vault: Option<Vault>,
    /// How long a `{ command: … }` may run.
    #[serde(default = "Secrets::command_timeout")]
    pub command_timeout: Period,
    /// How often secrets of Vault and of commands are read again. One that changed is in force without a restart.
    #[serde(default = "Secrets::refresh")]
    pub refresh: Period,
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            master: None,
            previous: Vec::new(),
            vault: None,
            command_timeout: Self::command_timeout(),
            refresh: Self::refresh(),
        }
    }
}

impl Secrets {
    fn command_timeout() -> Period {
        Period::s(10)
    }

    fn refresh() -> Period {
        Period::s(300)
    }
}

/// A HashiCorp Vault.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// Its address, `https://vault.example:8200`. Plain HTTP only to this machine.
    pub address: String,
    /// The namespace, for Vault Enterprise.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Certificates of the authorities that vouch for it, PEM. Not stated: those that the system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// How Weir logs in.
    pub login: VaultLogin,
}

/// How Weir logs in at Vault.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum VaultLogin {
    /// With a token. It is renewed as long as it can be.
    Token(SecretRef),
    /// By AppRole.
    AppRole(AppRole),
}

impl VaultLogin {
    /// What is shown to Vault.
    #[must_use]
    pub fn secret(&self) -> &SecretRef {
        match self {
            Self::Token(token) => token,
            Self::AppRole(role) => &role.secret_id,
        }
    }
}

/// AppRole, an auth method of Vault.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppRole {
    /// The role's id.
    pub role_id: String,
    /// Its secret id.
    pub secret_id: SecretRef,
    /// Where the method is mounted.
    #[serde(default = "AppRole::mount")]
    pub mount: String,
}

impl AppRole {
    fn mount() -> String {
        "approle".to_owned()
    }
}

/// Why a secret could not be read. Never contains the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment lacks the variable.
    #[error("the environment variable {0} is not set: set it, or refer to a file with {{ file: PATH }}")]
    EnvMissing(String),
    /// The file cannot be read.
    #[error("the file {path} cannot be read ({source}): create it, readable by its owner alone")]
    FileUnreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error("the file {path} can be read by others (mode {mode:o}): run `chmod 600 {path}`")]
    FileOpenToOthers {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It could not be fetched.
    #[error("{reference} cannot be had: {why}")]
    Fetch {
        /// What was to be fetched.
        reference: SecretRef,
        /// What is wrong, and what to do.
        why: String,
    },
    /// It was not fetched.
    #[error("{0} was not asked for")]
    Unfetched(SecretRef),
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Vault(place) => write!(f, "{place} of Vault"),
            // Its arguments may tell more than they should.
            Self::Command(command) => write!(f, "the output of {}", command.first().map_or("a command", |name| name)),
        }
    }
}

impl SecretRef {
    /// Reads the secret from `sources`.
    ///
    /// # Errors
    /// [`SecretError`] names the reference and what to do.
    pub fn resolve(&self, sources: &Sources) -> Result<SecretString, SecretError> {
        self.resolve_in(sources, &|name| sources.variable(name))
    }

    pub(crate) fn resolve_in(&self, sources: &Sources, variables: Lookup<'_>) -> Result<SecretString, SecretError> {
        let (value, named) = match self {
            Self::Env(name) => {
                let value = variables(name).ok_or_else(|| SecretError::EnvMissing(name.clone()))?;
                (value, format!("the environment variable {name}"))
            }
            Self::Vault(_) | Self::Command(_) => {
                return match sources.fetched.get(self) {
                    Some(Ok(secret)) => Ok(secret.clone()),
                    Some(Err(why)) => Err(SecretError::Fetch { reference: self.clone(), why: why.clone() }),
                    None => Err(SecretError::Unfetched(self.clone())),
                };
            }
            Self::File(path) => {
                let path = sources.base.join(path);
                let text = read_private(&path)?;
                (text.strip_suffix('\n').unwrap_or(&text).to_owned(), format!("the file {}", path.display()))
            }
        };
        if value.is_empty() {
            return Err(SecretError::Empty(named));
        }
        Ok(SecretString::from(value))
    }
}

/// Reads the name of a variable, and refuses what is no name: it may be the secret itself.
fn variable_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name || name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        let expected = "the name of an environment variable, such as `PG_URL`";
        return Err(de::Error::invalid_value(de::Unexpected::Other("another text"), &expected));
    }
    Ok(name)
}

/// Reads `MOUNT/PATH#KEY`.
fn vault_place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let place = String::deserialize(deserializer)?;
    let is_plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'?' | b'%' | b'\\'))
            && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
    };
    let is_place = place.split_once('#').is_some_and(|(path, key)| {
        path.contains('/')
            && is_plain(path)
            && !key.is_empty()
            && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
    });
    if is_place {
        return Ok(place);
    }
    let expected = "a place in a KV v2 engine of Vault, such as `secret/weir/crm#url`";
    Err(de::Error::invalid_value(de::Unexpected::Other("another text"), &expected))
}

fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    if words.first().is_some_and(|program| !program.is_empty()) {
        return Ok(words);
    }
    Err(de::Error::invalid_value(
        de::Unexpected::Other("nothing"),
        &"a program and its arguments, such as `[pass, weir/crm]`",
    ))
}

/// What makes `secret` easy to guess, in words that do not tell it.
pub(crate) fn weakness(secret: &str, bytes_min: usize) -> Option<String> {
    const SAMPLES: [&str; 10] = [
        "change-me",
        "changeme",
        "change_me",
        "change me",
        "replace-me",
        "replace_me",
        "replaceme",
        "password",
        "0123456789abcdef",
        "your-secret",
    ];
    const DISTINCT_MIN: usize = 8;
    let bytes = secret.as_bytes();
    if bytes.len() < bytes_min {
        return Some(format!("has {} bytes and must have at least {bytes_min}", bytes.len()));
    }
    let lower = secret.to_ascii_lowercase();
    if SAMPLES.iter().any(|sample| lower.contains(sample)) {
        return Some("is a sample value that everybody knows".to_owned());
    }
    if bytes.iter().collect::<HashSet<_>>().len() < DISTINCT_MIN {
        return Some(format!("is made of fewer than {DISTINCT_MIN} different characters"));
    }
    let repeats = |length: usize| bytes.iter().zip(&bytes[length..]).all(|(a, b)| a == b);
    if (1..=bytes.len() / 2).any(repeats) {
        return Some("is a short text repeated".to_owned());
    }
    None
}

/// The largest secret or key file that is read.
const PRIVATE_BYTES_MAX: u64 = 4 << 20;

/// Reads a file that nobody but its owner may read.
///
/// # Errors
/// When it cannot be read, or when group or others may read it too.
pub fn read_private(path: &Path) -> Result<String, SecretError> {
    let unreadable = |source| SecretError::FileUnreadable { path: path.to_owned(), source };
    // The mode is asked of the open file: another file may take the name in between.
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::FileOpenToOthers { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(PRIVATE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
