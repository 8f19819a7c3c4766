//! What was done is written down: one final record for every call, also for one that is denied, refused or abandoned by its caller; one more for
//! a write before it is sent; one for each event that bears on security; and counts of the requests that are no calls.

pub mod age;
mod anchor;
mod bech32;
pub mod before;
pub mod chain;
mod counted;
pub mod disk;
pub mod entry;
mod event;
pub mod evidence;
pub mod export;
pub(crate) mod facts;
mod forward;
pub mod hash;
mod http;
pub mod prune;
mod record;
pub mod records;
pub mod seal;
pub mod segment;
pub mod signing;
#[cfg(test)]
mod tests;
pub mod tombstone;
pub mod verify;
mod writer;

use std::{
    collections::VecDeque,
    fmt,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::hmac;
use config::audit::Unwritable as Policy;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::telemetry;

pub use anchor::append as append_to_anchor;
pub(crate) use http::{Reason, Tally, counts};
pub(crate) use record::Intent;
pub use record::{Ending, Origin, Record};
pub(crate) use writer::Lag;

use anchor::Anchor;
use chain::Chain;
use counted::Counted;
use disk::{Disk, RealDisk};
use forward::Forwarding;
use signing::SigningKey;
use writer::Writer;

/// How many records stay in memory for the operator to look at.
const RECENT_MAX: usize = 1000;
/// No record is that long, since its parts have bounds; one that were would be no line of a log.
const RECORD_BYTES_MAX: usize = 2 << 20;
/// When a call may be tried again that was refused because no record of it could be written: the disk is tried each second.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How often the end of the writer is looked for.
const END_PAUSE: Duration = Duration::from_millis(5);

/// Where records go: memory for the recent ones, and a log where the config names a folder.
pub struct Audit {
    recent: Mutex<VecDeque<Arc<RawValue>>>,
    log: Option<Log>,
    forward: Option<Arc<Forwarding>>,
}

/// The log on the disk.
struct Log {
    writer: Writer,
    counted: Arc<Counted>,
    anchor: Option<Arc<anchor::Standing>>,
    write_timeout: Duration,
    unwritable: Policy,
    /// Whether masked results are kept, too.
    bodies: bool,
    digests: hmac::Key,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("audit.dir: the folder cannot be written ({0}): mend it, or choose another one")]
    Dir(#[source] std::io::Error),
    /// The recipient is none.
    #[error("audit.recipient: {0}")]
    Recipient(#[source] age::AgeError),
    /// The signing key cannot be used.
    #[error("audit.signing_key: {0}")]
    Key(#[source] signing::KeyError),
}

/// No record can be written now, so nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unaudited {
    /// When to try again.
    pub(crate) retry_after: Duration,
}

impl Audit {
    /// The audit log of a config, whose paths count from `base`; `digest_secret` is what digests of results are keyed with.
    ///
    /// # Errors
    /// When the folder cannot be written, or a key cannot be used.
    pub fn open(
        settings: &config::Audit,
        base: &Path,
        signing_key: Option<&SecretString>,
        digest_secret: &[u8],
    ) -> Result<Arc<Self>, OpenError> {
        Self::on(Box::new(RealDisk), settings, base, signing_key, digest_secret)
    }

    /// The same on a disk that tests bring.
    ///
    /// # Errors
    /// When the folder cannot be written, or a key cannot be used.
    pub fn on(
        disk: Box<dyn Disk>,
        settings: &config::Audit,
        base: &Path,
        signing_key: Option<&SecretString>,
        digest_secret: &[u8],
    ) -> Result<Arc<Self>, OpenError> {
        let forward = Forwarding::start(&settings.forward).map(Arc::new);
        let Some(dir) = &settings.dir else {
            return Ok(Arc::new(Self { recent: Mutex::default(), log: None, forward }));
        };
        let dir = base.join(dir);
        disk::prepare_folder(&dir).map_err(OpenError::Dir)?;
        let key = match signing_key {
            Some(pem) => SigningKey::parse(pem),
            None => SigningKey::in_folder(&dir),
        };
        let chain = chain::Settings {
            key: key.map_err(OpenError::Key)?,
            recipient: settings
                .recipient
                .as_deref()
                .map(age::Recipient::parse)
                .transpose()
                .map_err(OpenError::Recipient)?,
            dir,
            checkpoint_every: settings.checkpoint_every.0,
            segment_bytes_max: settings.segment_bytes_max.0,
            segment_age_max: settings.segment_age_max.0,
        };
        let anchor = settings.anchor.as_ref().map(|path| Anchor::start(base.join(path))).transpose();
        let anchor = anchor.map_err(OpenError::Dir)?;
        let standing = anchor.as_ref().map(Anchor::standing);
        let counted = Arc::<Counted>::default();
        let writer =
            Writer::start(Chain::new(chain, disk), anchor, counted.clone(), forward.clone()).map_err(OpenError::Dir)?;
        let log = Log {
            writer,
            counted,
            anchor: standing,
            write_timeout: settings.write_timeout.0,
            unwritable: settings.unwritable,
            bodies: settings.bodies,
            digests: hmac::Key::new(hmac::HMAC_SHA256, digest_secret),
        };
        Ok(Arc::new(Self { recent: Mutex::default(), log: Some(log), forward }))
    }

    /// One that keeps the recent records alone.
    #[must_use]
    pub fn in_memory() -> Arc<Self> {
        Arc::new(Self { recent: Mutex::default(), log: None, forward: None })
    }

    /// The last records, the newest first.
    #[must_use]
    pub fn recent(&self, most: usize) -> Vec<Arc<RawValue>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().take(most).cloned().collect()
    }

    /// Records something other than a call that bears on security: `kind` names it (`key_revoked`, `config_reloaded`), `details` has what a
    /// reader needs, nothing secret, and no text of a caller that was not masked.
    pub fn event(&self, kind: &'static str, details: serde_json::Value) {
        self.append(Event::now(kind, details).raw());
    }

    /// Records an event of the process itself, in the log alone.
    fn of_process(&self, kind: &'static str, details: serde_json::Value) {
        if self.is_kept() {
            let record = Event::now(kind, details).raw();
            self.forward(&record);
            self.log(record);
        }
    }

    /// Counts a request that leaves no record of its own. `reason` is a word of Weir's own.
    pub(crate) fn count(&self, address: Option<IpAddr>, reason: &'static str) {
        if let Some(log) = &self.log {
            log.counted.count(address, reason);
        }
    }

    /// Whether records go anywhere but into memory, and so a use for what only a log keeps.
    pub(crate) fn is_kept(&self) -> bool {
        self.log.is_some() || self.forward.is_some()
    }

    /// Whether there is a log on the disk.
    pub(crate) fn has_log(&self) -> bool {
        self.log.is_some()
    }

    /// Whether a call may begin: its record will find room.
    pub(crate) fn admit(&self) -> Result<(), Unaudited> {
        let Some(log) = &self.log else { return Ok(()) };
        let lag = log.writer.lag();
        let stuck = log.unwritable == Policy::Refuse && (lag.failing || lag.time > log.write_timeout);
        if !lag.full && !stuck {
            return Ok(());
        }
        telemetry::audit_refused("any");
        Err(Unaudited { retry_after: RETRY_AFTER })
    }

    /// Waits until a record is on the disk, which a write has to be before it is sent.
    async fn confirmed(&self, record: Arc<RawValue>) -> Result<(), Unaudited> {
        let Some(log) = &self.log else { return Ok(()) };
        self.forward(&record);
        // A disk that has been stuck for so long is not waited for by each write anew.
        let is_stuck = log.writer.lag().time > log.write_timeout;
        if !is_stuck
            && let Some(confirmed) = log.writer.confirmed(record)
            && let Ok(Ok(())) = tokio::time::timeout(log.write_timeout, confirmed).await
        {
            return Ok(());
        }
        telemetry::audit_refused("write");
        Err(Unaudited { retry_after: RETRY_AFTER })
    }

    /// What waits for the disk, where there is a log.
    pub(crate) fn lag(&self) -> Option<Lag> {
        self.log.as_ref().map(|log| log.writer.lag())
    }

    /// Whether checkpoints wait for the anchor.
    pub(crate) fn anchor_is_behind(&self) -> bool {
        let standing = self.log.as_ref().and_then(|log| log.anchor.as_ref());
        standing.is_some_and(|standing| standing.is_behind())
    }

    /// Waits until what was recorded is on the disk, for at most `within`.
    pub async fn flush(&self, within: Duration) {
        if let Some(forward) = &self.forward {
            forward.flush(within).await;
        }
        if let Some(log) = &self.log
            && tokio::time::timeout(within, log.writer.flush()).await.is_err()
        {
            tracing::error!("the last audit records did not reach the disk in time: is it stuck?");
        }
    }

    /// Ends the log in order: what was recorded is on the disk, and a checkpoint says that nothing follows. Waits for at most `within`.
    pub async fn end(&self, within: Duration) {
        if let Some(log) = &self.log {
            log.writer.close();
            let ended = async {
                while !log.writer.has_ended() {
                    tokio::time::sleep(END_PAUSE).await;
                }
            };
            if tokio::time::timeout(within, ended).await.is_err() {
                tracing::error!("the audit log could not be ended in time: is the disk stuck?");
            }
        }
        if let Some(forward) = &self.forward {
            forward.flush(within).await;
        }
    }

    fn forward(&self, record: &Arc<RawValue>) {
        if let Some(forward) = &self.forward {
            forward.take(record);
        }
    }

    fn log(&self, record: Arc<RawValue>) {
        if let Some(log) = &self.log
            && !log.writer.append(record)
        {
            telemetry::audit_lost();
            tracing::error!("an audit record found no room to wait for the disk: is it stuck?");
        }
    }

    fn append(&self, record: Arc<RawValue>) {
        self.forward(&record);
        // One lock for both, so that records that end in the same moment stand in one order in memory and in the log.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        self.log(record.clone());
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(record);
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("has_log", &self.has_log()).finish_non_exhaustive()
    }
}

/// Something other than a call.
#[derive(Serialize)]
struct Event {
    kind: &'static str,
    time: Timestamp,
    event: &'static str,
    details: serde_json::Value,
}

impl Event {
    fn now(event: &'static str, details: serde_json::Value) -> Self {
        Self { kind: "event", time: Timestamp::now(), event, details }
    }

    fn raw(&self) -> Arc<RawValue> {
        raw(self)
    }
}

/// A record as it is kept.
fn raw(record: &impl Serialize) -> Arc<RawValue> {
    let mut text = serde_json::to_string(record).expect("a record has a JSON form");
    if text.len() > RECORD_BYTES_MAX {
        text = serde_json::json!({
            "kind": "event", "time": Timestamp::now(), "event": "record_too_large", "details": { "bytes": text.len() },
        })
        .to_string();
    }
    // Between the members of arguments there may be newlines. Inside of strings there is none: one record is one line.
    if text.contains(['\n', '\r']) {
        text = text.replace(['\n', '\r'], " ");
    }
    RawValue::from_string(text).expect("a record is JSON").into()
}
