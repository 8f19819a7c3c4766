//! The ledger in Redis: each step one script.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Known, NewWrite, OperationId, Settings, Unknowable,
    memory::millis,
    model::{Record, Stage, Step},
    names::{Kind, Place},
};
use crate::{
    Contract, Found, Key, Sealer,
    clock::Clock,
    entry::Entry,
    octets::{hex, random},
    redis::{Channel, Gone, Messages, Redis, Script},
};

/// What a record is made of, in the order in which the scripts give it.
type Fields = (
    Option<Bytes>,
    Option<Bytes>,
    Option<Bytes>,
    Option<u64>,
    Option<Bytes>,
    Option<Bytes>,
    Option<u64>,
    Option<u64>,
    Option<Bytes>,
);

/// KEYS: record, pointer. ARGV: operation, print, ms of the lease, ms kept, about, name of the record.
const BEGIN: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local has = redis.call('HMGET', KEYS[1], 'op', 'print', 'stage', 'lease', 'about', 'answer', 'began', 'ended', 'at')
if has[1] and has[3] ~= 'n' and not (has[3] == 'r' and tonumber(has[4]) <= now) then return {now, has} end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'op', ARGV[1], 'print', ARGV[2], 'stage', 'r', 'lease', string.format('%.0f', now + ARGV[3]),
  'about', ARGV[5], 'began', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('HSET', KEYS[2], 'at', ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {now, {false, false, false, false, false, false, false, false, false}}
";

/// KEYS: record. ARGV: operation, step, ms of the lease, ms kept, answer, channel, print, about. Only a write without a key gives the last, and
/// only its first step makes a record. Answers 0 for what is not taken; for the sending of a write with a key 1 and the replicas of the server.
const STEP: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local has = redis.call('HMGET', KEYS[1], 'op', 'stage')
if not has[1] then
  if ARGV[8] == '' then return 0 end
  redis.call('HSET', KEYS[1], 'op', ARGV[1], 'print', ARGV[7], 'stage', 'r', 'lease', string.format('%.0f', now + ARGV[3]),
    'about', ARGV[8], 'began', string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  has = {ARGV[1], 'r'}
end
if has[1] ~= ARGV[1] then return 0 end
local open, step = has[2] == 'r' or has[2] == 's', ARGV[2]
if not (open or (step == 'd' and has[2] == 'u')) then return 0 end
if step == 'l' or step == 's' then
  redis.call('HSET', KEYS[1], 'lease', string.format('%.0f', now + ARGV[3]))
  if step == 'l' then return 1 end
  redis.call('HSET', KEYS[1], 'stage', 's')
  if ARGV[8] ~= '' then return 1 end
  return 1 + tonumber(string.match(redis.call('INFO', 'replication'), 'connected_slaves:(%d+)'))
end
redis.call('HSET', KEYS[1], 'stage', step, 'ended', string.format('%.0f', now))
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'answer', ARGV[5]) end
redis.call('PUBLISH', ARGV[6], ARGV[1])
return 1
";

/// KEYS: record.
const READ: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {now, redis.call('HMGET', KEYS[1], 'op', 'print', 'stage', 'lease', 'about', 'answer', 'began', 'ended', 'at')}
";

/// A mark that is gone when what is kept beside it is gone. KEYS: mark. ARGV: the mark that is known or nothing, a new one, ms to refuse keys.
const MARK: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local has = redis.call('HMGET', KEYS[1], 'mark', 'until')
local mark, refused = has[1] or ARGV[2], tonumber(has[2] or '0')
if ARGV[1] ~= '' and mark ~= ARGV[1] then refused = math.max(refused, now + ARGV[3]) end
if not has[1] or refused ~= tonumber(has[2] or '0') then
  redis.call('HSET', KEYS[1], 'mark', mark, 'until', string.format('%.0f', refused))
end
return {mark, math.max(0, refused - now)}
";

/// How often it is looked whether what was known is lost, and how often until that was asked once.
const LOOK_EACH: Duration = Duration::from_secs(1);
const LOOK_FIRST: Duration = Duration::from_millis(100);

pub(super) struct Remote {
    redis: Redis,
    settings: Settings,
    sealer: Sealer,
    /// The mark that was there when this process asked first or since the last loss.
    pub(super) mark: Mutex<Option<Bytes>>,
    begin: Script,
    step: Script,
    read: Script,
    check: Script,
}

impl Remote {
    pub(super) fn new(redis: Redis, settings: Settings, sealer: Sealer) -> Self {
        let [begin, step, read, check] = [BEGIN, STEP, READ, MARK].map(Script::new);
        Self { redis, settings, sealer, mark: Mutex::default(), begin, step, read, check }
    }

    pub(super) fn clock(&self) -> Clock {
        self.redis.clock().clone()
    }

    pub(super) fn messages(&self) -> Messages {
        self.redis.messages()
    }

    /// What there was under a key before; `None` when the key was taken.
    pub(super) async fn begin(&self, place: Place, write: &NewWrite) -> Result<Option<Known>, Gone> {
        let (lease_ms, kept_ms) = (millis(write.lease).to_string(), millis(self.settings.kept_for).to_string());
        let about = self.seal(ABOUT, place, write.operation, &write.about);
        let args: [&[u8]; 6] =
            [&write.operation, &write.print, lease_ms.as_bytes(), kept_ms.as_bytes(), &about, &place.name];
        let keys = [self.key(place), self.key(place.of_operation(write.operation))];
        let (now_ms, fields): (u64, Fields) = self.redis.small(&self.begin, &[&keys[0], &keys[1]], &args).await?;
        self.redis.clock().sample(now_ms);
        Ok(self.record(place, fields).map(|record| record.known(now_ms)))
    }

    /// Takes a step. False when that is not the word of the one whose write it is, or comes too late to count.
    pub(super) async fn step(&self, place: Place, write: &NewWrite, step: &Step) -> Result<bool, Gone> {
        let (lease_ms, kept_ms) = (millis(write.lease).to_string(), millis(self.settings.kept_for).to_string());
        let (word, answer) = match step {
            Step::Renew => ("l", None),
            Step::Sent => ("s", None),
            Step::Release => ("n", None),
            Step::Unknown => ("u", None),
            Step::Done(answer) => ("d", answer.as_ref()),
        };
        let answer = answer.map(|answer| self.seal(ANSWER, place, write.operation, answer)).unwrap_or_default();
        let about = match place.kind {
            Kind::Operation => self.seal(ABOUT, place, write.operation, &write.about),
            Kind::Key => Vec::new(),
        };
        let channel = self.redis.channel(Channel::Operations);
        let args: [&[u8]; 8] = [
            &write.operation,
            word.as_bytes(),
            lease_ms.as_bytes(),
            kept_ms.as_bytes(),
            &answer,
            channel.as_bytes(),
            &write.print,
            &about,
        ];
        let key = self.key(place);
        let taken: u64 = match step {
            // A server that takes over must know of it, or its key would be free there.
            Step::Sent if place.kind == Kind::Key => {
                let has_replicas = |taken: &u64| *taken > 1;
                let wait = self.settings.replica_timeout;
                let sent = self.redis.replicated(&self.step, &[&key], &args, wait, has_replicas).await;
                sent.map_err(|_not_replicated| Gone::Timeout)?
            }
            _ if answer.is_empty() => self.redis.small(&self.step, &[&key], &args).await?,
            _ => self.redis.bulk(&self.step, &[&key], &args).await?,
        };
        Ok(taken > 0)
    }

    /// Looks each second whether what was known of keys was lost, so that a replica that has had no key for long notices it too.
    pub(super) fn watched(self: Arc<Self>) -> Arc<Self> {
        let weak = Arc::downgrade(&self);
        tokio::spawn(async move {
            while let Some(remote) = weak.upgrade() {
                let known = remote.redis.is_up() && !matches!(remote.check_loss().await, Err(Unknowable::Gone));
                drop(remote);
                tokio::time::sleep(if known { LOOK_EACH } else { LOOK_FIRST }).await;
            }
        });
        self
    }

    /// What is known of an operation, and where it lies.
    pub(super) async fn find(&self, place: Place) -> Result<Option<(Known, Place)>, Gone> {
        let (now_ms, mut fields) = self.read(place).await?;
        let mut lies = place;
        if let Some(name) = fields.8.take().and_then(|name| <[u8; 16]>::try_from(&name[..]).ok()) {
            lies = Place { kind: Kind::Key, name, ..place };
            fields = self.read(lies).await?.1;
        }
        // Where nothing was sent its key may have gone to another write since.
        let record = self.record(lies, fields).filter(|record| record.operation == place.name);
        Ok(record.map(|record| (record.known(now_ms), lies)))
    }

    /// Whether all that was ever known of keys is still known.
    pub(super) async fn check_loss(&self) -> Result<(), Unknowable> {
        let known = self.mark.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
        let (new, window_ms) = (random::<16>(), millis(self.settings.refused_after_loss).to_string());
        let key = self.redis.key("operations", "m");
        let args: [&[u8]; 3] = [&known, &new, window_ms.as_bytes()];
        let answer: Result<(Bytes, u64), Gone> = self.redis.small(&self.check, &[&key], &args).await;
        let (mark, refused_ms) = answer.map_err(|_gone| Unknowable::Gone)?;
        if !known.is_empty() && known != mark {
            tracing::error!(
                target: "cache", refused_for_ms = refused_ms,
                "what Redis knew of idempotency keys is lost: writes with a key are refused for a while"
            );
        }
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
        match refused_ms {
            0 => Ok(()),
            _ => Err(Unknowable::Lost { refused_for: Duration::from_millis(refused_ms) }),
        }
    }

    async fn read(&self, place: Place) -> Result<(u64, Fields), Gone> {
        self.redis.bulk(&self.read, &[&self.key(place)], &[]).await
    }

    fn key(&self, place: Place) -> String {
        let kind = match place.kind {
            Kind::Key => "k",
            Kind::Operation => "o",
        };
        self.redis.key(&hex(&place.owner.0), &format!("{kind}{}", hex(&place.name)))
    }

    /// A record, if it is one: what does not open is of no use, but that there was a write is known all the same.
    fn record(&self, place: Place, fields: Fields) -> Option<Record> {
        let (operation, print, stage, lease, about, answer, began, ended, _at) = fields;
        let operation: OperationId = operation?[..].try_into().ok()?;
        let stage = match &stage?[..] {
            b"r" => Stage::Reserved,
            b"s" => Stage::Sent,
            b"n" => Stage::NotMade,
            b"d" => Stage::Done,
            _ => Stage::Unknown,
        };
        Some(Record {
            operation,
            print: print.and_then(|print| print[..].try_into().ok()).unwrap_or_default(),
            stage,
            lease_until_ms: lease.unwrap_or(0),
            about: about.and_then(|about| self.open(ABOUT, place, operation, &about)).unwrap_or_default(),
            answer: answer.and_then(|answer| self.open(ANSWER, place, operation, &answer)),
            started_ms: began.unwrap_or(0),
            ended_ms: ended,
        })
    }

    /// What is too large to be sealed is not kept.
    fn seal(&self, usage: &[u8], place: Place, operation: OperationId, value: &Bytes) -> Vec<u8> {
        let entry = Entry::new(value.clone(), Found::Found, Arc::new([]), 0, &Contract::default(), 0);
        self.sealer.seal_as(usage, &sealing_key(place, operation), &entry).unwrap_or_default()
    }

    fn open(&self, usage: &[u8], place: Place, operation: OperationId, sealed: &[u8]) -> Option<Bytes> {
        self.sealer.open_as(usage, &sealing_key(place, operation), sealed).ok().map(|entry| entry.value)
    }
}

const ABOUT: &[u8] = b"about";
const ANSWER: &[u8] = b"answer";

/// Of one record of one write: what was sealed for it opens nowhere else.
fn sealing_key(place: Place, operation: OperationId) -> Key {
    // All parts have one length each.
    Key::hashed(&[b"weir/operation".as_slice(), &place.owner.0, &place.name, &operation].concat())
}
