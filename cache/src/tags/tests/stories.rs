//! The model's property on a real Redis, which is emptied again and again: a short story, for the model knows the long ones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::JoinSet;

use super::*;

const LASTS: Duration = Duration::from_secs(4);
const BEHIND: Duration = Duration::from_millis(1_001);
const ITEMS: usize = 3;

#[derive(Default)]
struct World {
    items: Mutex<HashMap<ItemKey, Item>>,
    entries: Mutex<HashMap<ItemKey, Entry>>,
    served: Mutex<HashMap<bool, usize>>,
}

/// Whether it is strict, and which of these.
type ItemKey = (bool, usize);
type Entry = (u64, Arc<[TagGeneration]>);

#[derive(Default)]
struct Item {
    value: u64,
    acknowledged: Vec<(Instant, u64)>,
}

#[tokio::test]
async fn nothing_older_than_the_last_acknowledged_write_comes_from_three_replicas() -> Result<()> {
    let (server, replicas) = started(3).await?;
    let world = Arc::new(World::default());
    let end = Instant::now() + LASTS;
    let mut actors = JoinSet::new();
    for (number, replica) in replicas.iter().enumerate() {
        for strict in [true, false] {
            actors.spawn(read(world.clone(), replica.tags.clone(), strict, number, end));
            actors.spawn(write(world.clone(), replica.tags.clone(), strict, number, end));
        }
    }
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.command(&["FLUSHALL"]).await?;
    }
    while let Some(ended) = actors.join_next().await {
        ended?;
    }
    let served = lock(&world.served).clone();
    ensure!(served.len() == 2 && served.values().all(|served| *served > 50), "hardly anything was cached: {served:?}");
    Ok(())
}

async fn read(world: Arc<World>, tags: Tags, strict: bool, number: usize, end: Instant) {
    for round in number.. {
        let start = Instant::now();
        if start > end {
            return;
        }
        let item = (strict, round % ITEMS);
        let at = if strict { start } else { start - BEHIND };
        let least = lock(&world.items).get(&item).map_or(0, |item| {
            item.acknowledged.iter().filter(|(when, _)| *when <= at).map(|(_, value)| *value).max().unwrap_or(0)
        });
        let entry = lock(&world.entries).get(&item).cloned();
        if let Some((value, known)) = entry
            && tags.check(&known).await == Check::Valid
        {
            assert!(value >= least, "{item:?}: {value} where {least} was acknowledged");
            *lock(&world.served).entry(strict).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        // By turns its tag is known from the arguments and from the answer alone.
        let (named, template) = ([tag(item)], [Tag::new(&format!("{strict}:*"), strict)]);
        let (from_arguments, templates, from_result) =
            if round % 2 == 0 { (&named[..], &[][..], &[][..]) } else { (&[][..], &template[..], &named[..]) };
        let before = tags.before(from_arguments, templates).await;
        tokio::time::sleep(Duration::from_millis(round as u64 % 7)).await;
        let value = lock(&world.items).get(&item).map_or(0, |item| item.value);
        tokio::time::sleep(Duration::from_millis(round as u64 % 5)).await;
        if let Some(known) = tags.after(before, from_result).await {
            lock(&world.entries).insert(item, (value, known));
        }
    }
}

async fn write(world: Arc<World>, tags: Tags, strict: bool, number: usize, end: Instant) {
    for round in number.. {
        if Instant::now() > end {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20 + (round as u64 * 7) % 40)).await;
        let item = (strict, (round / 2) % ITEMS);
        let template = Tag::new(&format!("{strict}:*"), strict);
        let Ok(pending) = tags.begin(&[tag(item)], &[template], PENDING).await else { continue };
        tokio::time::sleep(Duration::from_millis(round as u64 % 6)).await;
        let value = {
            let mut items = lock(&world.items);
            let item = items.entry(item).or_default();
            item.value += 1;
            item.value
        };
        tokio::time::sleep(Duration::from_millis(round as u64 % 3)).await;
        if pending.end(&[], Settled::Yes).await == Raised::Everywhere {
            lock(&world.items).entry(item).or_default().acknowledged.push((Instant::now(), value));
        }
    }
}

fn tag((strict, item): ItemKey) -> Tag {
    Tag::new(&format!("{strict}:{item}"), strict)
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
