//! Readers and writers on several replicas, over a simulated Redis that is cut off, muted, emptied and set back at random.
//!
//! One thread and a clock that stands still while anything can happen: a seed always tells the same story. The store of entries has no
//! leases at all, so that any order in which fetches could land does happen.

mod chaos;
mod world;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use self::world::{Random, World};
use super::{Check, Kind, Raised, Settled, Tag, Tags, shared::Shared};
use crate::entry::TagGeneration;

const SEEDS: u64 = 150;
const REPLICAS: usize = 3;
const ITEMS: usize = 2;
const STORY: Duration = Duration::from_secs(20);
const PENDING: Duration = Duration::from_millis(400);
/// What a relaxed tag may be behind, and the millisecond to which heartbeats are timed.
const BEHIND: Duration = Duration::from_millis(1_001);

#[test]
fn nothing_older_than_the_last_acknowledged_write_is_served() {
    let served = tell_all(false);
    // A cache that serves nothing would pass as well.
    let least = usize::try_from(SEEDS).expect("a few") * 10;
    assert!(served.strict > least && served.relaxed > least && served.unverified > least / 2, "{served:?}");
}

#[test]
fn nor_is_it_by_a_process_without_redis() {
    let served = tell_all(true);
    let least = usize::try_from(SEEDS).expect("a few") * 10;
    assert!(served.strict > least && served.relaxed > least && served.unverified == 0, "{served:?}");
}

fn tell_all(in_memory: bool) -> ServedCount {
    let mut served = ServedCount::default();
    for seed in 0..SEEDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let more = runtime.expect("a runtime").block_on(tell(seed, in_memory));
        served.strict += more.strict;
        served.relaxed += more.relaxed;
        served.unverified += more.unverified;
    }
    served
}

/// The raise at its end is told late, and before whoever wrote is answered.
#[tokio::test(start_paused = true)]
async fn a_strict_write_at_whose_end_redis_is_out_of_reach_is_answered_when_it_is_back_or_after_two_seconds() {
    for (strict, gone_ms, expected) in
        [(true, 1_500, Raised::Everywhere), (true, 4_000, Raised::Queued), (false, 1_500, Raised::Queued)]
    {
        let world = Arc::new(World::new(1, 1));
        let tags = Tags { kind: Arc::new(Kind::Shared(Shared::new(Box::new(world.remote(0)), 64))) };
        let pending = tags.begin(&[tag(strict, 0)], &[], PENDING).await.expect("Redis is there");
        world.cut(0, true);
        let mending = world.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(gone_ms)).await;
            mending.mend(0);
        });
        let ended = Instant::now();
        assert_eq!(pending.end(&[], Settled::Yes).await, expected);
        let waited = ended.elapsed();
        assert_eq!(waited > Duration::from_secs(1), strict, "{waited:?}");
        assert!(waited < Duration::from_millis(2_100), "{waited:?}");
    }
}

/// All who wait for one reading drive it on; and one that is under way already is not enough for whoever comes now.
#[tokio::test(start_paused = true)]
async fn a_comparison_does_not_depend_on_whoever_began_it() {
    let world = Arc::new(World::new(1, 1));
    let tags = Tags { kind: Arc::new(Kind::Shared(Shared::new(Box::new(world.remote(0)), 64))) };
    let before = tags.before(&[tag(true, 0)], &[]).await;
    let known = tags.after(before, &[]).await.expect("nothing is pending");
    for (raised, expected) in [(false, Check::Valid), (true, Check::Moved)] {
        let mut first = Box::pin(tags.check(&known));
        assert!((&mut first).now_or_never().is_none(), "it asks");
        if raised {
            tags.raise(&[tag(true, 0)]).await;
        }
        let mut second = Box::pin(tags.check(&known));
        assert!((&mut second).now_or_never().is_none(), "it waits for that");
        drop(first);
        assert_eq!(second.await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn raises_that_wait_are_told_before_the_process_ends() {
    let world = Arc::new(World::new(1, 2));
    let [one, other] = [0, 1].map(|replica| {
        let remote = Box::new(world.remote(replica));
        Tags { kind: Arc::new(Kind::Shared(Shared::new(remote, 64))) }
    });
    let before = other.before(&[tag(true, 0)], &[]).await;
    let known = other.after(before, &[]).await.expect("nothing is pending");
    world.cut(0, true);
    assert_eq!(one.raise(&[tag(true, 0)]).await, Raised::Queued);
    assert_eq!(other.check(&known).await, Check::Valid);
    world.mend(0);
    one.tell_what_waits().await;
    drop(one);
    assert_eq!(other.check(&known).await, Check::Moved);
}

/// How many answers came out of the cache.
#[derive(Debug, Default, Clone, Copy)]
struct ServedCount {
    strict: usize,
    relaxed: usize,
    unverified: usize,
}

struct Story {
    seed: u64,
    in_memory: bool,
    world: Arc<World>,
    /// `[strict][item]`
    items: [[Mutex<Item>; ITEMS]; 2],
    /// What all replicas find when they reach Redis, and what each has by itself.
    entries: Mutex<HashMap<EntryKey, Entry>>,
    local: [Mutex<HashMap<EntryKey, Entry>>; REPLICAS],
    served: Mutex<ServedCount>,
    end: Instant,
}

/// Whether it is strict, by which question it was asked for, and the item.
type EntryKey = (bool, Question, usize);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Question {
    /// The arguments name the item.
    Named,
    /// Only the answer does.
    Found,
}

#[derive(Clone)]
struct Entry {
    value: u64,
    tags: Arc<[TagGeneration]>,
}

/// In the downstream: each write makes it greater.
#[derive(Default)]
struct Item {
    value: u64,
    /// What was acknowledged and reached everybody, and when.
    acknowledged: Vec<(Instant, u64)>,
    /// What each replica acknowledged itself.
    by_replica: [u64; REPLICAS],
}

impl Item {
    fn at_least(&self, at: Instant) -> u64 {
        self.acknowledged.iter().filter(|(when, _)| *when <= at).map(|(_, value)| *value).max().unwrap_or(0)
    }
}

async fn tell(seed: u64, in_memory: bool) -> ServedCount {
    let world = Arc::new(World::new(seed, REPLICAS));
    let story = Arc::new(Story {
        seed,
        in_memory,
        items: Default::default(),
        entries: Mutex::default(),
        local: Default::default(),
        served: Mutex::default(),
        end: Instant::now() + STORY,
        world: world.clone(),
    });
    let mut actors = JoinSet::new();
    // Then there is one process, and so few tags that some are forgotten.
    let memory = Tags::in_memory(2);
    for replica in 0..REPLICAS {
        let tags = if in_memory {
            memory.clone()
        } else {
            Tags { kind: Arc::new(Kind::Shared(Shared::new(Box::new(world.remote(replica)), 64))) }
        };
        for _ in 0..2 {
            actors.spawn(story.clone().read_on(replica, tags.clone(), world.random()));
        }
        actors.spawn(story.clone().write_on(replica, tags.clone(), world.random()));
    }
    actors.spawn(chaos::rage(world.clone(), world.random(), story.end));
    while let Some(ended) = actors.join_next().await {
        ended.expect("the actor");
    }
    *lock(&story.served)
}

impl Story {
    async fn read_on(self: Arc<Self>, replica: usize, tags: Tags, mut random: Random) {
        while Instant::now() < self.end {
            random.pause(120).await;
            let question = if random.one_in(2) { Question::Named } else { Question::Found };
            let key = (random.one_in(2), question, random.below(ITEMS));
            if !self.serve(replica, &tags, key).await {
                self.fetch(replica, &tags, key, &mut random).await;
            }
        }
    }

    /// Serves what is cached, if that may be.
    async fn serve(&self, replica: usize, tags: &Tags, key: EntryKey) -> bool {
        let (strict, _, item) = key;
        let start = Instant::now();
        let (latest, late, own) = {
            let item = lock(&self.items[usize::from(strict)][item]);
            let late = start.checked_sub(BEHIND).map_or(0, |late| item.at_least(late));
            (item.at_least(start), late, item.by_replica[replica])
        };
        let local = lock(&self.local[replica]).get(&key).cloned();
        for (place, entry) in [("local", local), ("shared", self.reach(replica, key))] {
            let Some(entry) = entry else { continue };
            let check = tags.check(&entry.tags).await;
            let least = match check {
                Check::Moved | Check::Unknowable => continue,
                Check::Valid if strict || self.in_memory => latest,
                // Whoever wrote through this replica reads what he wrote.
                Check::Valid => late.max(own),
                Check::Unverified => own,
            };
            assert!(!strict || check == Check::Valid, "seed {}: a strict tag is {check:?}", self.seed);
            assert!(
                entry.value >= least,
                "seed {}: {place} entry of replica {replica}, strict {strict}, {check:?}: {} where {least} was acknowledged; {:?} after the start",
                self.seed,
                entry.value,
                STORY.saturating_sub(self.end - start),
            );
            lock(&self.local[replica]).insert(key, entry);
            let mut served = lock(&self.served);
            served.strict += usize::from(strict);
            served.relaxed += usize::from(!strict && check == Check::Valid);
            served.unverified += usize::from(check == Check::Unverified);
            return true;
        }
        false
    }

    async fn fetch(&self, replica: usize, tags: &Tags, key: EntryKey, random: &mut Random) {
        let (strict, question, item) = key;
        let named = [tag(strict, item)];
        let (from_arguments, templates, from_result) = match question {
            Question::Named => (&named[..], &[][..], &[][..]),
            Question::Found => (&[][..], &[template(strict)][..], &named[..]),
        };
        let before = tags.before(from_arguments, templates).await;
        random.pause(200).await;
        let value = lock(&self.items[usize::from(strict)][item]).value;
        random.pause(200).await;
        let Some(known) = tags.after(before, from_result).await else { return };
        random.pause(20).await;
        let entry = Entry { value, tags: known };
        lock(&self.local[replica]).insert(key, entry.clone());
        if self.world.reaches(replica) {
            lock(&self.entries).insert(key, entry);
        }
    }

    async fn write_on(self: Arc<Self>, replica: usize, tags: Tags, mut random: Random) {
        // Where writes are rare, what is wrong stays so for long.
        let pause_ms = if self.seed.is_multiple_of(2) { 400 } else { 6_000 };
        while Instant::now() < self.end {
            random.pause(pause_ms).await;
            let (strict, item) = (random.one_in(2), random.below(ITEMS));
            let (named, templates) = ([tag(strict, item)], [template(strict)]);
            // Half of them learn from the answer what they changed.
            let (from_arguments, from_result) =
                if random.one_in(2) { (&named[..], &[][..]) } else { (&[][..], &named[..]) };
            let begun = Instant::now();
            let losses = self.world.losses();
            let Ok(pending) = tags.begin(from_arguments, &templates, PENDING).await else { continue };
            // One in eight takes longer than it said.
            let longest_ms = if random.one_in(8) { 900 } else { 190 };
            let told_later = strict && from_result.is_empty();
            if random.one_in(8) {
                // Whoever asked for it hangs up; the downstream goes on.
                let settled = self.clone().settle(item, begun, losses, told_later, strict, random.fork());
                tokio::spawn(settled);
                random.pause(300).await;
                drop(pending);
                continue;
            }
            random.pause(longest_ms).await;
            let value = self.commit(strict, item);
            let committed = Instant::now();
            random.pause(longest_ms).await;
            let raised = pending.end(from_result, Settled::Yes).await;
            // The answer goes out now. One that could not be told to others counts for them only while the mark stood for it.
            let marked = told_later && committed < begun + PENDING && losses == self.world.losses();
            let mut item = lock(&self.items[usize::from(strict)][item]);
            item.by_replica[replica] = item.by_replica[replica].max(value);
            if raised == Raised::Everywhere || marked {
                item.acknowledged.push((Instant::now(), value));
            }
        }
    }

    /// The rest of a write whose end nobody tells. When it is pending no more, it counts like one that was acknowledged.
    async fn settle(
        self: Arc<Self>,
        item: usize,
        begun: Instant,
        losses: u64,
        marked: bool,
        strict: bool,
        mut random: Random,
    ) {
        random.pause(350).await;
        let value = self.commit(strict, item);
        let committed = Instant::now();
        sleep_until(begun + PENDING).await;
        if marked && committed < begun + PENDING && losses == self.world.losses() {
            lock(&self.items[usize::from(strict)][item]).acknowledged.push((Instant::now(), value));
        }
    }

    fn commit(&self, strict: bool, item: usize) -> u64 {
        let mut item = lock(&self.items[usize::from(strict)][item]);
        item.value += 1;
        item.value
    }

    fn reach(&self, replica: usize, key: EntryKey) -> Option<Entry> {
        self.world.reaches(replica).then(|| lock(&self.entries).get(&key).cloned()).flatten()
    }
}

fn tag(strict: bool, item: usize) -> Tag {
    Tag::new(&format!("{strict}:{item}"), strict)
}

fn template(strict: bool) -> Tag {
    Tag::new(&format!("{strict}:*"), strict)
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
