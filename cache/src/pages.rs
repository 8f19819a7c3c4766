//! The rest of long answers, kept for a few minutes for the caller who got the beginning, and for nobody else.
//!
//! A page lies under a key that only its handle together with its owner gives: in Redis sealed, so that any replica serves it, else in the
//! memory of this process. A handle cannot be guessed, nothing can be read from it, and without its owner it is worth nothing.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;

use crate::{
    Contract, Found, Key, Sealer,
    clock::Clock,
    entry::Entry,
    local::Local,
    octets::{hex, random},
    redis::{Gone, Redis, Script},
};

/// The parts of a handle: which answer, and which page of it.
const ANSWER_BYTES: usize = 16;
const PAGE_BYTES: usize = 8;
/// Pages of so many bytes in all are sealed beside the work for other calls.
const ASIDE_FROM_BYTES: usize = 256 << 10;

/// The rest of long answers.
pub struct Pages {
    settings: Settings,
    local: Local,
    redis: Option<Redis>,
    clock: Clock,
    sealer: Arc<Sealer>,
    /// Of this process alone: replicas find each other's pages by handle.
    mac_key: hmac::Key,
    keep: Script,
    find: Script,
}

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub lifetime: Duration,
    /// The bytes of all pages of one answer.
    pub answer_bytes_max: usize,
    /// The pages of one answer.
    pub answer_pages_max: usize,
    /// What the memory of this process holds, where Redis does not.
    pub local_bytes_max: u64,
}

/// Stands for one page. Says nothing, cannot be guessed.
#[derive(Clone, PartialEq, Eq)]
pub struct Handle([u8; ANSWER_BYTES + PAGE_BYTES]);

/// Why pages are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more pages than are kept for one answer, or larger ones")]
pub struct TooLarge;

impl Pages {
    /// Keeps pages in Redis while it is there, sealed by `sealer`, which seals values of `answer_bytes_max`.
    #[must_use]
    pub fn new(settings: Settings, redis: Option<Redis>, sealer: Sealer) -> Self {
        Self {
            settings,
            local: Local::new(settings.local_bytes_max),
            clock: redis.as_ref().map_or_else(Clock::local, |redis| redis.clock().clone()),
            redis,
            sealer: Arc::new(sealer),
            mac_key: hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()),
            keep: Script::new(KEEP),
            find: Script::new(FIND),
        }
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Handles for the pages of one answer to `owner`, to be [kept](Self::keep) under. The same `answer` (all that decides what its pages
    /// are), given again by this process, has the same ones: it takes no more room, and what a model reads is the same.
    #[must_use]
    pub fn handles(&self, owner: &[u8], answer: &[&[u8]], pages: usize) -> Vec<Handle> {
        let mut mac = hmac::Context::with_key(&self.mac_key);
        for part in [owner].iter().chain(answer) {
            // Where a part begins and ends is a part of it.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mac = mac.sign();
        let handle = |page: usize| {
            let of_page = hmac::sign(&self.mac_key, &[mac.as_ref(), &page.to_be_bytes()].concat());
            let mut handle = [0; ANSWER_BYTES + PAGE_BYTES];
            handle[..ANSWER_BYTES].copy_from_slice(&mac.as_ref()[..ANSWER_BYTES]);
            handle[ANSWER_BYTES..].copy_from_slice(&of_page.as_ref()[..PAGE_BYTES]);
            Handle(handle)
        };
        (0..pages).map(handle).collect()
    }

    /// Keeps the pages of one answer for `owner`.
    ///
    /// # Errors
    /// When they are too many or too large; then none is kept.
    pub async fn keep(&self, owner: &[u8], pages: Vec<(Handle, Bytes)>) -> Result<(), TooLarge> {
        let bytes: usize = pages.iter().map(|(_, page)| page.len()).sum();
        if bytes > self.settings.answer_bytes_max || pages.len() > self.settings.answer_pages_max {
            return Err(TooLarge);
        }
        let Some((first, _)) = pages.first() else { return Ok(()) };
        let now_ms = self.clock.now_ms();
        let fresh_for_ms = u64::try_from(self.settings.lifetime.as_millis()).unwrap_or(u64::MAX);
        let contract = Contract { fresh_for_ms, ..Contract::default() };
        let place = first.place();
        let entries = pages.into_iter().map(|(handle, page)| {
            let entry = Entry::new(page, Found::Found, [].into(), 0, &contract, now_ms);
            (handle, entry)
        });
        let entries: Vec<(Handle, Entry)> = entries.collect();
        if let Some(redis) = self.redis.as_ref().filter(|redis| redis.is_up())
            && let Some(sealed) = self.seal(owner, &entries, bytes).await
            && self.keep_in(redis, &place, &sealed).await
        {
            return Ok(());
        }
        for (handle, entry) in entries {
            self.local.insert(handle.key(owner), entry, now_ms);
        }
        Ok(())
    }

    /// The page that `handle` stands for, if it is `owner`'s and its time is not over.
    ///
    /// # Errors
    /// When Redis, where the page may lie, cannot be asked.
    pub async fn find(&self, owner: &[u8], handle: &str) -> Result<Option<Bytes>, Gone> {
        let Some(handle) = Handle::parse(handle) else { return Ok(None) };
        let key = handle.key(owner);
        let is_current = |entry: &Entry| self.clock.now_ms() < entry.fresh_until_ms;
        // One that is over here may have been kept again there.
        if let Some(entry) = self.local.get(&key).filter(|entry| is_current(entry)) {
            return Ok(Some(entry.value.clone()));
        }
        Ok(self.find_shared(&handle, &key).await?.filter(is_current).map(|entry| entry.value))
    }

    /// The pages, each after its name in the hash.
    async fn seal(&self, owner: &[u8], entries: &[(Handle, Entry)], bytes: usize) -> Option<Vec<Vec<u8>>> {
        let (sealer, owner, entries) = (self.sealer.clone(), owner.to_vec(), entries.to_vec());
        let seal = move || {
            let sealed = entries
                .iter()
                .map(|(handle, entry)| Some([handle.page().to_vec(), sealer.seal(&handle.key(&owner), entry).ok()?]));
            Some(sealed.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        };
        if bytes < ASIDE_FROM_BYTES { seal() } else { tokio::task::spawn_blocking(seal).await.ok()? }
    }

    async fn keep_in(&self, redis: &Redis, place: &str, sealed: &[Vec<u8>]) -> bool {
        let lifetime_ms = self.settings.lifetime.as_millis().to_string();
        let args: Vec<&[u8]> =
            std::iter::once(lifetime_ms.as_bytes()).chain(sealed.iter().map(Vec::as_slice)).collect();
        redis.bulk::<i64>(&self.keep, &[&redis.key(place, "p")], &args).await.is_ok()
    }

    async fn find_shared(&self, handle: &Handle, key: &Key) -> Result<Option<Entry>, Gone> {
        let Some(redis) = &self.redis else { return Ok(None) };
        let place = redis.key(&handle.place(), "p");
        let sealed: Option<Bytes> = redis.bulk(&self.find, &[&place], &[handle.page()]).await?;
        Ok(sealed.and_then(|sealed| self.sealer.open(key, &sealed).ok()))
    }
}

/// One hash holds the pages of one answer.
const KEEP: &str = "
    for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
    return redis.call('PEXPIRE', KEYS[1], ARGV[1])";
const FIND: &str = "return redis.call('HGET', KEYS[1], ARGV[1])";

impl Handle {
    fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Where the pages of its answer lie in Redis. Who reads it there cannot tell the handle.
    fn place(&self) -> String {
        let hash = digest::digest(&digest::SHA256, &[b"weir/page/answer", &self.0[..ANSWER_BYTES]].concat());
        hex(&hash.as_ref()[..ANSWER_BYTES])
    }

    fn page(&self) -> &[u8] {
        &self.0[ANSWER_BYTES..]
    }

    /// What the page is sealed for: another owner's key is another one.
    fn key(&self, owner: &[u8]) -> Key {
        // The handle has one length, so where the owner begins is certain.
        Key::hashed(&[b"weir/page/key", self.0.as_slice(), owner].concat())
    }
}

/// As callers get it.
impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A handle is what its owner has to show.
impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(…)")
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
