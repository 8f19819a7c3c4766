//! The scripts, each of them one step in Redis.
//!
//! In place of a lease stands `L` and whose it is, or a note: another letter, who left it, and what else there is to it. Whatever else is
//! found there, or where the value should be, is somebody else's or damaged: it counts as nothing and is overwritten.

use std::time::Duration;

use super::Token;
use crate::{
    key::Key,
    octets::hex,
    redis::{Gone, Redis, Script},
    sealed::Damage,
};

/// KEYS: value, lease. ARGV: version seen, who is waited for, token, ms of the lease or 0 to take none, bytes of the largest value.
const LOOK: &str = r"
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local odd = ''
local size = redis.pcall('STRLEN', KEYS[1])
if type(size) ~= 'number' then
  odd = 'type'
elseif size > tonumber(ARGV[5]) then
  odd = 'size'
elseif size > 0 and redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[1] then
  return {now_ms, 'value', redis.call('GET', KEYS[1]), 0, odd}
end
local held = redis.pcall('GET', KEYS[2])
if type(held) ~= 'string' then held = '' end
local kind, whose = string.sub(held, 1, 1), string.sub(held, 2, 17)
if kind == 'L' and whose ~= ARGV[3] then
  local left_ms = redis.call('PTTL', KEYS[2])
  if left_ms > 0 then return {now_ms, 'busy', whose, left_ms, odd} end
elseif ARGV[2] ~= '' and whose == ARGV[2] then
  return {now_ms, 'note', held, 0, odd}
end
if ARGV[4] == '0' then return {now_ms, 'nothing', '', 0, odd} end
redis.call('SET', KEYS[2], 'L' .. ARGV[3], 'PX', ARGV[4])
return {now_ms, 'leased', '', 0, odd}
";

/// KEYS: lease. ARGV: token, ms of the lease.
const RENEW: &str = r"
if redis.pcall('GET', KEYS[1]) ~= 'L' .. ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
";

/// KEYS: value, lease. ARGV: token, value, ms that it is of use, channel, cache key. A Redis that is full stores nothing, but the lease ends.
const COMMIT: &str = r"
if redis.pcall('GET', KEYS[2]) ~= 'L' .. ARGV[1] then return 0 end
local stored = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', ARGV[4], ARGV[5])
if stored.err then return 0 end
return 1
";

/// KEYS: lease. ARGV: token, note, ms that it is of use, channel, cache key. Without a note the lease is free at once.
const END: &str = r"
if redis.pcall('GET', KEYS[1]) ~= 'L' .. ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
";

pub(super) struct Scripts {
    look: Script,
    renew: Script,
    commit: Script,
    end: Script,
    channel: String,
}

pub(super) enum Look {
    Value(Vec<u8>),
    /// `odd` is what was wrong with the value that was there, if it was not even read.
    Leased {
        odd: Option<Damage>,
    },
    Busy {
        holder: Token,
        left: Duration,
    },
    Note(Vec<u8>),
    Nothing,
}

impl Scripts {
    pub(super) fn new(channel: String) -> Self {
        let [look, renew, commit, end] = [LOOK, RENEW, COMMIT, END].map(Script::new);
        Self { look, renew, commit, end, channel }
    }

    pub(super) async fn look(
        &self,
        redis: &Redis,
        key: &Key,
        seen: &[u8],
        waits_for: Option<Token>,
        lease: Option<(Token, Duration)>,
        value_bytes_max: usize,
    ) -> Result<Look, Gone> {
        let [value_key, lease_key] = names(redis, key);
        let waits_for = waits_for.as_ref().map_or(&[][..], |token| &token.0);
        let token = lease.as_ref().map_or(&[][..], |(token, _period)| &token.0);
        let lease_ms = lease.map_or(0, |(_token, period)| period.as_millis()).to_string();
        let value_bytes_max = value_bytes_max.to_string();
        let args: [&[u8]; 5] = [seen, waits_for, token, lease_ms.as_bytes(), value_bytes_max.as_bytes()];
        let answer: (u64, String, Vec<u8>, i64, String) =
            redis.bulk(&self.look, &[&value_key, &lease_key], &args).await?;
        let (now_ms, kind, bytes, left_ms, odd) = answer;
        // Before anything is judged by it: nobody else has heard a later time when it stored what is judged.
        redis.clock().sample(now_ms);
        Ok(match kind.as_str() {
            "value" => Look::Value(bytes),
            "busy" => {
                let holder = Token(bytes.try_into().unwrap_or_default());
                Look::Busy { holder, left: Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)) }
            }
            "note" => Look::Note(bytes),
            "leased" => Look::Leased {
                odd: match odd.as_str() {
                    "type" => Some(Damage::Format),
                    "size" => Some(Damage::TooLarge),
                    _ => None,
                },
            },
            _ => Look::Nothing,
        })
    }

    /// Whether the lease was still held.
    pub(super) async fn renew(&self, redis: &Redis, key: &Key, token: Token, period: Duration) -> Result<bool, Gone> {
        let [_value_key, lease_key] = names(redis, key);
        let lease_ms = period.as_millis().to_string();
        let args: [&[u8]; 2] = [&token.0, lease_ms.as_bytes()];
        redis.small(&self.renew, &[&lease_key], &args).await
    }

    /// Whether the lease was still held, and the value is stored.
    pub(super) async fn commit(
        &self,
        redis: &Redis,
        key: &Key,
        token: Token,
        value: &[u8],
        lifetime_ms: u64,
    ) -> Result<bool, Gone> {
        let [value_key, lease_key] = names(redis, key);
        let lifetime_ms = lifetime_ms.to_string();
        let args: [&[u8]; 5] = [&token.0, value, lifetime_ms.as_bytes(), self.channel.as_bytes(), key.as_bytes()];
        redis.bulk(&self.commit, &[&value_key, &lease_key], &args).await
    }

    /// Whether the lease was still held. By the same connection as the look that took it: of the two, this one is never the first to arrive.
    pub(super) async fn end(
        &self,
        redis: &Redis,
        key: &Key,
        token: Token,
        note: &[u8],
        keep_for: Duration,
    ) -> Result<bool, Gone> {
        let [_value_key, lease_key] = names(redis, key);
        let keep_ms = keep_for.as_millis().to_string();
        let args: [&[u8]; 5] = [&token.0, note, keep_ms.as_bytes(), self.channel.as_bytes(), key.as_bytes()];
        redis.bulk(&self.end, &[&lease_key], &args).await
    }
}

/// Where the value and the lease of a key are.
pub(crate) fn names(redis: &Redis, key: &Key) -> [String; 2] {
    let hex = hex(key.as_bytes());
    [redis.key(&hex, "v"), redis.key(&hex, "l")]
}
