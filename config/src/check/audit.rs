//! `audit`.

use crate::{Audit, ByteSize, Config, Period};

use super::Scope;

/// How age spells the recipients of X25519 keys: `age1` and 58 letters and digits.
const RECIPIENT_CHARACTERS: usize = 62;
/// What auditors ask for at least.
const RETENTION_MIN: Period = Period::s(90 * 24 * 60 * 60);
const RETENTION_MAX: Period = Period::s(20 * 366 * 24 * 60 * 60);
const CHECKPOINT_EVERY: (Period, Period) = (Period::s(1), Period::s(60 * 60));
const SEGMENT_AGE: (Period, Period) = (Period::s(60), Period::s(31 * 24 * 60 * 60));
const SEGMENT_BYTES: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize(4 << 30));
/// A disk answers within milliseconds; a caller does not wait for half a minute for one that does not.
const WRITE_TIMEOUT: (Period, Period) = (Period::ms(10), Period::s(30));

pub(super) fn audit(config: &Config, scope: &Scope<'_>) {
    let (audit, scope) = (&config.audit, scope.key("audit"));
    for (key, period, (least, most)) in [
        ("checkpoint_every", audit.checkpoint_every, CHECKPOINT_EVERY),
        ("segment_age_max", audit.segment_age_max, SEGMENT_AGE),
        ("retention", audit.retention, (RETENTION_MIN, RETENTION_MAX)),
        ("write_timeout", audit.write_timeout, WRITE_TIMEOUT),
    ] {
        scope.key(key).time_within(period, least, most);
    }
    let (least, most) = SEGMENT_BYTES;
    if audit.segment_bytes_max < least || audit.segment_bytes_max > most {
        let given = audit.segment_bytes_max;
        scope.key("segment_bytes_max").refuse(format!("must be from `{least}` to `{most}`, not `{given}`"), "");
    }
    if let Some(recipient) = &audit.recipient
        && !is_recipient(recipient)
    {
        scope.key("recipient").refuse(
            "is no age recipient",
            "it begins with `age1` and has 62 characters; `weir audit keygen` makes an identity and prints its recipient",
        );
    }
    match &audit.dir {
        None => needs_dir(&scope),
        Some(_) => elsewhere(audit, &scope),
    }
}

fn is_recipient(text: &str) -> bool {
    let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() == RECIPIENT_CHARACTERS && text.starts_with("age1") && text.chars().all(is_key)
}

/// What is about the log on the disk says nothing without one.
fn needs_dir(scope: &Scope<'_>) {
    let about_the_log = [
        "recipient",
        "signing_key",
        "anchor",
        "checkpoint_every",
        "segment_bytes_max",
        "segment_age_max",
        "retention",
        "write_timeout",
        "unwritable",
        "bodies",
    ];
    for key in about_the_log.into_iter().filter(|key| scope.key(key).given()) {
        scope.key(key).refuse(
            "is about the log in `audit.dir`, which is not stated",
            "add `audit.dir`, the folder for the records",
        );
    }
}

/// Who can write the log anew must not reach what shows it.
fn elsewhere(audit: &Audit, scope: &Scope<'_>) {
    if let (Some(dir), Some(anchor)) = (&audit.dir, &audit.anchor)
        && anchor.starts_with(dir)
    {
        scope.key("anchor").refuse(
            format!("lies in `audit.dir`, which is `{}`", dir.display()),
            "choose a file on another disk, or on a mount of another machine: who alters the log must not reach it",
        );
    }
}
