//! Where the audit records go.

use std::{net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Period, SecretRef};

/// Where the audit records go. Every call leaves exactly one, also when it is refused or abandoned; a write leaves one more before it is sent.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// A folder for the records, readable by its owner alone. Without it the most recent are kept in memory only.
    pub dir: Option<PathBuf>,
    /// The age recipient (`age1…`) for whom the records are encrypted: the router writes and cannot read back. `weir audit keygen` makes one
    /// with its identity. Not stated: the records stand as JSON lines that their owner can read.
    pub recipient: Option<String>,
    /// The Ed25519 key that signs checkpoints, PKCS #8 in PEM. Not stated: one is made in `dir` at the first start.
    pub signing_key: Option<SecretRef>,
    /// A file elsewhere (another disk, a mount of another machine) to which each checkpoint is appended: what is cut off or written anew in `dir` then
    /// shows.
    pub anchor: Option<PathBuf>,
    /// How often a checkpoint is signed while records are written.
    pub checkpoint_every: Period,
    /// The size at which the next segment begins.
    pub segment_bytes_max: ByteSize,
    /// The age at which the next segment begins.
    pub segment_age_max: Period,
    /// How long records are kept at least. `weir audit prune` takes away older ones, and none that are younger.
    pub retention: Period,
    /// How long a write waits for its record to be on the disk; then it is refused.
    pub write_timeout: Period,
    /// What becomes of reads while no record can be written.
    pub unwritable: Unwritable,
    /// Whether masked bodies of results are kept, too; otherwise their size and a keyed digest.
    pub bodies: bool,
    /// Further places for the same records.
    pub forward: Vec<Forward>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            dir: None,
            recipient: None,
            signing_key: None,
            anchor: None,
            checkpoint_every: Period::s(60),
            segment_bytes_max: ByteSize::mib(64),
            segment_age_max: Period::s(24 * 60 * 60),
            retention: Period::s(90 * 24 * 60 * 60),
            write_timeout: Period::s(2),
            unwritable: Unwritable::default(),
            bodies: false,
            forward: Vec::new(),
        }
    }
}

/// What becomes of reads while no audit record can be written. Writes are refused in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unwritable {
    /// They go on as long as there is room to keep their records in memory, and are refused after that.
    #[default]
    KeepReading,
    /// They are refused like writes.
    Refuse,
}

/// A further place for the records, for a SIEM. One that cannot keep up loses records there, which is counted; the log in `dir` loses none.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Forward {
    /// JSON lines on standard output; not for `weir stdio`, whose standard output is the protocol.
    Stdout(NoOptions),
    /// Syslog messages (RFC 5424) with the record as their text.
    Syslog(Syslog),
}

/// Takes no options: `{}`.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// Where syslog messages go.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Syslog {
    /// Address and port of the collector.
    pub address: SocketAddr,
    /// How they get there.
    #[serde(default)]
    pub transport: SyslogTransport,
}

/// How syslog messages get to their collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyslogTransport {
    /// Over TCP, each with its length in front (RFC 6587, octet counting).
    #[default]
    Tcp,
    /// One datagram each (RFC 5426).
    Udp,
}
