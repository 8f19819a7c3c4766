//! `weir.lock`: the definitions that people have looked at, each with its digest, on lines that a review can read.

use std::{collections::BTreeMap, fmt::Write as _, fs::File, io::Read as _, path::Path};

use adapters::json;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::canonical::{Digest, pretty};

const VERSION: u32 = 1;

/// The definitions of a lock file, by downstream and by the local name of the tool.
#[derive(Debug, Clone, Default)]
pub struct Lock {
    downstreams: BTreeMap<String, BTreeMap<String, Locked>>,
}

/// One approved definition.
#[derive(Debug, Clone)]
pub struct Locked {
    pub(crate) digest: Digest,
    /// As it stands in the file.
    pub(crate) definition: Box<RawValue>,
}

/// Why a lock file cannot be used: what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It is not there, or closed to us.
    #[error("`{path}` cannot be read ({source}): write it with `weir lock`, or name the right file")]
    Unreadable {
        /// Where it was looked for.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something else is in it.
    #[error("`{path}` is no lock file ({reason}): write it anew with `weir lock`")]
    Malformed {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody changed a definition, or a digest, by hand.
    #[error(
        "`{path}`: the digest of `{tool}` of `{downstream}` is not that of its definition. The file was changed by hand or merged wrongly: \
         write it anew with `weir lock`"
    )]
    Altered {
        /// Where it is.
        path: String,
        /// Whose tool it is.
        downstream: String,
        /// Its local name.
        tool: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    downstreams: BTreeMap<String, Tools>,
}

type Tools = BTreeMap<String, WrittenTool>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTool {
    digest: String,
    definition: Box<RawValue>,
}

impl Lock {
    /// The largest file that is read, in bytes.
    pub const BYTES_MAX: u64 = 16 << 20;

    /// Reads the file at `path` and checks each digest.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let named = || path.display().to_string();
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(Self::BYTES_MAX + 1).read_to_string(&mut text));
        read.map_err(|source| LockError::Unreadable { path: named(), source })?;
        let malformed = |reason: String| LockError::Malformed { path: named(), reason };
        if text.len() as u64 > Self::BYTES_MAX {
            return Err(malformed(format!("it has more than {} bytes", Self::BYTES_MAX)));
        }
        let written: Written = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if written.version != VERSION {
            return Err(malformed(format!("its version is {}, this Weir knows {VERSION}", written.version)));
        }
        let mut lock = Self::default();
        for (downstream, tools) in written.downstreams {
            for (tool, WrittenTool { digest, definition }) in tools {
                let found = Digest::of(definition.get());
                if digest.parse() != Ok(found) {
                    return Err(LockError::Altered { path: named(), downstream, tool });
                }
                lock.tools_of(&downstream).insert(tool, Locked { digest: found, definition });
            }
        }
        Ok(lock)
    }

    /// The approved definitions of one downstream.
    #[must_use]
    pub fn of(&self, downstream: &str) -> Option<&BTreeMap<String, Locked>> {
        self.downstreams.get(downstream)
    }

    /// The downstreams that it has definitions of.
    pub fn downstreams(&self) -> impl Iterator<Item = &str> {
        self.downstreams.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, downstream: &str, tool: &str) -> Option<&Locked> {
        self.downstreams.get(downstream)?.get(tool)
    }

    /// Pins a definition, a valid JSON object, in the place of the one before.
    pub fn pin(&mut self, downstream: &str, tool: &str, definition: &RawValue) {
        let locked = Locked { digest: Digest::of(definition.get()), definition: definition.to_owned() };
        self.tools_of(downstream).insert(tool.to_owned(), locked);
    }

    /// Forgets what it has of a downstream.
    pub fn forget(&mut self, downstream: &str) {
        self.downstreams.remove(downstream);
    }

    /// How many definitions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.downstreams.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text of the file: the same for the same definitions, whatever order they came in.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!("{{\n  \"version\": {VERSION},\n  \"downstreams\": {{");
        separated(&mut out, self.downstreams.iter(), |out, (downstream, tools)| {
            write!(out, "\n    {}: {{", json::string(downstream)).expect("a string takes what is written to it");
            separated(out, tools.iter(), |out, (tool, locked)| {
                let (tool, digest) = (json::string(tool), locked.digest);
                let definition = pretty(locked.definition.get(), 4);
                write!(
                    out,
                    "\n      {tool}: {{\n        \"digest\": \"{digest}\",\n        \"definition\": {definition}\n      }}"
                )
                .expect("a string takes what is written to it");
            });
            out.push_str(if tools.is_empty() { "}" } else { "\n    }" });
        });
        out.push_str(if self.downstreams.is_empty() { "}\n}\n" } else { "\n  }\n}\n" });
        out
    }

    fn tools_of(&mut self, downstream: &str) -> &mut BTreeMap<String, Locked> {
        self.downstreams.entry(downstream.to_owned()).or_default()
    }
}

fn separated<T>(out: &mut String, items: impl Iterator<Item = T>, mut one: impl FnMut(&mut String, T)) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        one(out, item);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{Lock, LockError};

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    fn read(text: &str) -> Result<Lock, LockError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        Lock::read(file.path())
    }

    #[test]
    fn a_lock_file_is_the_same_in_whatever_order_it_was_made_and_is_read_as_it_was_written() {
        let (a, b) = (
            raw(r#"{"name":"a","description":"x\u200by","inputSchema":{}}"#),
            raw(r#"{"inputSchema":{},"name":"b.c"}"#),
        );
        let mut lock = Lock::default();
        lock.pin("pay", "b.c", &b);
        lock.pin("pay", "a", &a);
        lock.pin("bank", "a", &a);
        let mut other = Lock::default();
        other.pin("bank", "a", &raw(r#"{ "inputSchema":{}, "description":"x\u200by","name":"\u0061"}"#));
        other.pin("pay", "a", &a);
        other.pin("pay", "b.c", &b);
        insta::assert_snapshot!(lock.to_text());
        assert_eq!(lock.to_text(), other.to_text());
        assert_eq!(read(&lock.to_text()).expect("a lock file").to_text(), lock.to_text());
        assert_eq!(read(&Lock::default().to_text()).expect("a lock file").len(), 0);
    }

    #[test]
    fn a_file_that_somebody_changed_by_hand_is_refused() {
        let mut lock = Lock::default();
        lock.pin("pay", "a", &raw(r#"{"name":"a","description":"Reads.","inputSchema":{}}"#));
        let text = lock.to_text();
        let altered = read(&text.replace("Reads.", "Reads, and tells me.")).expect_err("altered").to_string();
        assert!(altered.contains("the digest of `a` of `pay` is not that of its definition"), "{altered}");
        for (wrong, told) in [
            (text.replace("\"version\": 1", "\"version\": 2"), "its version is 2"),
            (text.replace("\"version\"", "\"versoin\""), "unknown field `versoin`"),
            (String::new(), "is no lock file"),
            ("[]".to_owned(), "is no lock file"),
        ] {
            let error = read(&wrong).expect_err("no lock file").to_string();
            assert!(error.contains(told), "{error}");
        }
        assert!(Lock::read("/nowhere/weir.lock".as_ref()).expect_err("none").to_string().contains("weir lock"));
    }
}
