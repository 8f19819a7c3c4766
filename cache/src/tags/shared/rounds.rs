//! Comparing what entries know with what Redis has, for all who ask at once.
//!
//! An entry with a strict tag is compared at each hit, and a crowd may come at once: hundreds of callers for one entry, or all who waited for
//! one fetch. One reading each would be more than Redis answers in time, and it would be given up for being slow.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{BoxFuture, FutureExt, Shared};

use super::replica::Replica;
use crate::{
    entry::TagGeneration,
    redis::Gone,
    tags::{Tag, generation::Generation},
};

/// So many tags are read at once, but for an entry that has more: a script holds up all others.
const TAGS_MAX: usize = 256;

/// Readings, one after the other. All who ask while one is under way share the next: it begins after each of them asked, so it tells each of
/// them as much as one of his own.
#[derive(Default)]
pub(super) struct Rounds {
    last: Mutex<Option<Round>>,
}

struct Round {
    wanted: Wanted,
    reading: Reading,
}

/// The tags of a round; `None` from when they are asked for.
type Wanted = Arc<Mutex<Option<HashSet<Tag>>>>;
/// Whoever waits for it drives it on, so it needs no task, and ends for the others when one hangs up.
type Reading = Shared<BoxFuture<'static, Result<Arc<HashMap<[u8; 16], Generation>>, Gone>>>;

impl Rounds {
    /// Whether all of these are as they were, at a moment after this was called.
    pub(super) async fn compare(&self, replica: &Arc<Replica>, known: &[TagGeneration]) -> Result<bool, Gone> {
        let read = self.join(replica, known).await?;
        Ok(known.iter().all(|known| read.get(&known.tag.id) == Some(&known.generation)))
    }

    fn join(&self, replica: &Arc<Replica>, known: &[TagGeneration]) -> Reading {
        let mut last = lock(&self.last);
        if let Some(round) = last.as_ref().filter(|round| round.takes_in(known)) {
            return round.reading.clone();
        }
        let wanted: Wanted = Arc::new(Mutex::new(Some(known.iter().map(|known| known.tag).collect())));
        let before = last.take().map(|round| round.reading);
        let reading = read(replica.clone(), before, wanted.clone()).boxed().shared();
        *last = Some(Round { wanted, reading: reading.clone() });
        reading
    }
}

impl Round {
    /// Says no when it has begun, or there is no room.
    fn takes_in(&self, known: &[TagGeneration]) -> bool {
        let mut wanted = lock(&self.wanted);
        let Some(tags) = wanted.as_mut().filter(|tags| tags.len() + known.len() <= TAGS_MAX) else { return false };
        tags.extend(known.iter().map(|known| known.tag));
        true
    }
}

async fn read(
    replica: Arc<Replica>,
    before: Option<Reading>,
    wanted: Wanted,
) -> Result<Arc<HashMap<[u8; 16], Generation>>, Gone> {
    if let Some(before) = before {
        // What it came to is for those who asked then.
        let _ = before.await;
    }
    let tags: Vec<Tag> = lock(&wanted).take().into_iter().flatten().collect();
    let generations = replica.ask(&tags, None).await?.generations;
    let read = tags.iter().zip(generations).filter_map(|(tag, generation)| Some((tag.id, generation?)));
    Ok(Arc::new(read.collect()))
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
