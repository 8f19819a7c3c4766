//! One line of the log. A line has one spelling only, so that what is hashed is what is read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::hash::Hash;

/// The version of the format, in the first line of each segment and in each checkpoint.
pub const FORMAT: u8 = 1;
/// The longest line that is read, its newline included.
pub const LINE_BYTES_MAX: usize = 4 << 20;
/// The length of an Ed25519 signature in base64.
const SIGNATURE_CHARACTERS: usize = 88;

/// A line that was taken apart. Whether it follows from the line before is for the reader to ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry<'a> {
    /// Its number in its chain, from 0.
    pub seq: u64,
    /// The hash of the line before, without its newline; zeros at the beginning of a chain.
    pub prev: Hash,
    /// What it says.
    pub body: Body<'a>,
}

/// What a line says. The texts are JSON that was not looked into.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Body<'a> {
    /// The first line of a segment: a [`Header`].
    Segment(&'a str),
    /// A record as JSON, in a log without a recipient.
    Record(&'a str),
    /// A record sealed for the recipient, in base64.
    Sealed(&'a str),
    /// A [`Checkpoint`] with its signature in base64.
    Checkpoint {
        /// What was signed.
        text: &'a str,
        /// Ed25519 over [`SIGNED_PREFIX`] and the text.
        signature: &'a str,
    },
}

/// What stands before the text of a checkpoint where it is signed, so that no signature over something else is taken for one.
pub const SIGNED_PREFIX: &[u8] = b"weir audit checkpoint 1\n";

/// What the first line of a segment says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub v: u8,
    /// The chain: one for each start of a process, a UUID v7.
    pub chain: Uuid,
    /// The machine and the process that writes it.
    pub instance: String,
    /// The number of this segment in its chain, from 1.
    pub segment: u32,
    /// When it was begun.
    pub time: Timestamp,
    /// What version of Weir writes it.
    pub weir: String,
    /// The segment before, in all but the first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<After>,
    /// The age recipient of the data key, where records are sealed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recipient: Option<String>,
    /// The data key of this segment: an age file in base64, which holds the 32 bytes of an AES-256 key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
}

/// The segment before another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// Its number.
    pub segment: u32,
    /// How many of its bytes count.
    pub bytes: u64,
    /// Whether it was left because it could not be written any more: what stands in it beyond `bytes` is void, and was written anew here.
    pub failed: bool,
}

/// What a checkpoint says. It is signed as it stands in the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// [`FORMAT`].
    pub v: u8,
    /// Why it was made.
    pub kind: Kind,
    /// The chain it is about.
    pub chain: Uuid,
    /// The machine and the process that writes the chain.
    pub instance: String,
    /// The segment it stands in.
    pub segment: u32,
    /// The number of its own line.
    pub seq: u64,
    /// The hash of the line before its own.
    pub head: Hash,
    /// How many records the chain has before it.
    pub records: u64,
    /// When it was made.
    pub time: Timestamp,
    /// The hash of the text of the checkpoint before; zeros in the first of a chain.
    pub previous: Hash,
    /// The Ed25519 public key that its signature is of, 32 bytes in base64.
    pub public_key: String,
    /// The chains that lay in the folder at the start and were named by no start before.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub before: Vec<Before>,
}

/// Why a checkpoint was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The chain begins; always its second line.
    Start,
    /// Some time went by.
    Running,
    /// The segment is full; its last line.
    Rotation,
    /// The process ended in order; the last line of the chain.
    End,
}

/// A chain as another start found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// The chain.
    pub chain: Uuid,
    /// Its last segment.
    pub segment: u32,
    /// The number of its last whole line; none where it has none.
    pub seq: Option<u64>,
    /// The hash of its last whole line; zeros where it has none.
    pub head: Hash,
    /// How many bytes stand after the last newline: what was being written when the process died.
    pub torn_bytes: u64,
    /// Whether another process was still writing it.
    pub running: bool,
}

/// Why a line is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no line of an audit log")]
pub struct Malformed;

impl<'a> Entry<'a> {
    /// Takes a line apart, without its newline.
    ///
    /// # Errors
    /// When it is spelled in any way but the one in which it is written.
    pub fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        let text = str::from_utf8(line).map_err(|_| Malformed)?;
        let (seq, rest) = text.strip_prefix(r#"{"seq":"#).and_then(|rest| rest.split_once(',')).ok_or(Malformed)?;
        let (prev, rest) =
            rest.strip_prefix(r#""prev":""#).and_then(|rest| rest.split_at_checked(64)).ok_or(Malformed)?;
        let body = rest.strip_prefix(r#"",""#).and_then(|rest| rest.strip_suffix('}')).ok_or(Malformed)?;
        Ok(Self {
            seq: number(seq).ok_or(Malformed)?,
            prev: Hash::parse(prev).ok_or(Malformed)?,
            body: Body::parse(body).ok_or(Malformed)?,
        })
    }

    /// Writes the line, with its newline, to the end of `out`; gives its hash.
    pub fn write(&self, out: &mut Vec<u8>) -> Hash {
        let start = out.len();
        let Self { seq, prev, body } = self;
        out.extend_from_slice(format!(r#"{{"seq":{seq},"prev":"{prev}","#).as_bytes());
        let parts: [&str; 5] = match body {
            Body::Segment(text) => [r#""segment":"#, text, "", "", ""],
            Body::Record(text) => [r#""record":"#, text, "", "", ""],
            Body::Sealed(text) => [r#""sealed":""#, text, "\"", "", ""],
            Body::Checkpoint { text, signature } => [r#""signature":""#, signature, r#"","checkpoint":"#, text, ""],
        };
        parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        out.push(b'}');
        let hash = Hash::of(&out[start..]);
        out.push(b'\n');
        hash
    }
}

impl<'a> Body<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (name, rest) = text.split_once(r#"":"#)?;
        match name {
            "record" => is_object(rest).then_some(Self::Record(rest)),
            "sealed" => rest.strip_prefix('"')?.strip_suffix('"').map(Self::Sealed),
            "segment" => is_object(rest).then_some(Self::Segment(rest)),
            "signature" => {
                let (signature, rest) = rest.strip_prefix('"')?.split_at_checked(SIGNATURE_CHARACTERS)?;
                let text = rest.strip_prefix(r#"","checkpoint":"#)?;
                is_object(text).then_some(Self::Checkpoint { text, signature })
            }
            _ => None,
        }
    }
}

fn is_object(text: &str) -> bool {
    text.starts_with('{') && text.ends_with('}')
}

/// A number as Rust prints it: no sign, no zero in front.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{Body, Entry, Hash, Malformed};

    fn line(entry: &Entry<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let hash = entry.write(&mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        assert_eq!(hash, Hash::of(&out));
        out
    }

    #[test]
    fn each_kind_of_line_reads_as_it_was_written() {
        let signature = "A".repeat(88);
        for body in [
            Body::Segment(r#"{"v":1}"#),
            Body::Record(r#"{"outcome":"ok"}"#),
            Body::Sealed("AAAA"),
            Body::Checkpoint { text: r#"{"v":1}"#, signature: &signature },
        ] {
            let entry = Entry { seq: 7, prev: Hash::of(b"before"), body };
            assert_eq!(Entry::parse(&line(&entry)), Ok(entry));
        }
    }

    #[test]
    fn a_line_has_one_spelling() {
        let good =
            String::from_utf8(line(&Entry { seq: 7, prev: Hash::of(b"x"), body: Body::Record("{}") })).expect("text");
        assert!(Entry::parse(good.as_bytes()).is_ok());
        let prev = Hash::of(b"x").to_string();
        for wrong in [
            good.replace("\"seq\":7", "\"seq\":07"),
            good.replace("\"seq\":7", "\"seq\":+7"),
            good.replace("\"seq\":7", "\"seq\": 7"),
            good.replace(&prev, &prev.to_uppercase()),
            good.replace("record", "Record"),
            good.replace(":{}", ":[]"),
            format!("{good} "),
            String::new(),
        ] {
            assert_eq!(Entry::parse(wrong.as_bytes()), Err(Malformed), "{wrong}");
        }
    }
}
