use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;

use super::{ENTRY_BYTES, Local};
use crate::{
    entry::{Entry, Found, TagGeneration, Version},
    tags::Tag,
    testing::key,
};

const NOW_MS: u64 = 1_800_000_000_000;

fn entry(value: impl Into<Bytes>) -> Entry {
    Entry {
        version: Version([3; 16]),
        value: value.into(),
        found: Found::Found,
        created_ms: NOW_MS,
        fresh_until_ms: NOW_MS + 60_000,
        stale_until_ms: NOW_MS + 3_600_000,
        fetch_ms: 8_000,
        tags: Arc::new([]),
    }
}

fn insert(local: &Local, call: usize, entry: &Entry) {
    local.insert(key(call), entry.clone(), NOW_MS);
}

#[test]
fn an_entry_is_found_under_its_key_alone() {
    let local = Local::new(1 << 20);
    insert(&local, 1, &entry("one"));
    assert_eq!(local.get(&key(1)).as_deref(), Some(&entry("one")));
    assert_eq!(local.get(&key(2)), None);
    insert(&local, 1, &entry("another"));
    assert_eq!(local.get(&key(1)).as_deref(), Some(&entry("another")));
    local.remove(&key(1));
    assert_eq!(local.get(&key(1)), None);
}

#[test]
fn clearing_leaves_nothing() {
    let local = Local::new(1 << 20);
    (0..100).for_each(|call| insert(&local, call, &entry("answer")));
    local.clear();
    assert!((0..100).all(|call| local.get(&key(call)).is_none()));
    assert_eq!((local.holding().entries, local.holding().bytes), (0, 0));
}

#[test]
fn all_that_an_entry_keeps_is_weighed() {
    let local = Local::new(1 << 20);
    let tag = TagGeneration { tag: Tag::new("ticket:1", false), generation: [1; 16] };
    insert(&local, 1, &Entry { tags: Arc::new([tag, tag]), ..entry(vec![b'a'; 1_000]) });
    let bytes = ENTRY_BYTES + 1_000 + 2 * 33;
    assert_eq!((local.holding().entries, local.holding().bytes), (1, bytes as u64));
    insert(&local, 1, &entry("a"));
    assert_eq!((local.holding().entries, local.holding().bytes), (1, ENTRY_BYTES as u64 + 1));
}

#[test]
fn a_small_piece_does_not_keep_a_large_buffer() {
    let local = Local::new(1 << 20);
    let buffer = Bytes::from(vec![b'a'; 1 << 18]);
    insert(&local, 1, &entry(buffer.slice(..10)));
    assert!(buffer.is_unique(), "the buffer is still in use");
}

#[test]
fn ten_times_what_fits_leaves_what_fits() {
    const VALUE_BYTES: usize = 256 * 1024;
    const BYTES_MAX: u64 = 16 << 20;
    let local = Local::new(BYTES_MAX);
    let done = AtomicBool::new(false);
    let mut given: Vec<Weak<Entry>> = Vec::new();
    let mut most_bytes = 0;
    std::thread::scope(|scope| {
        // Readers are what keeps a map like this from freeing what it removed.
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = local.get(&key(1_000));
                }
            });
        }
        for call in 0..10 * BYTES_MAX as usize / VALUE_BYTES {
            insert(&local, call, &entry(vec![b'a'; VALUE_BYTES]));
            given.extend(local.get(&key(call)).as_ref().map(Arc::downgrade));
            // Not what the map counts, but what is really kept.
            given.retain(|entry| entry.strong_count() > 0);
            most_bytes = most_bytes.max((given.len() * VALUE_BYTES) as u64);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(most_bytes <= BYTES_MAX * 13 / 10, "{most_bytes} bytes were kept at one time");
    let holding = local.holding();
    assert!(holding.bytes <= BYTES_MAX && holding.bytes >= BYTES_MAX * 9 / 10, "{holding:?}");
    assert_eq!(holding.evictions + holding.entries, 640);
    assert!(local.get(&key(639)).is_some() && local.get(&key(0)).is_none());
}

#[test]
fn values_of_any_size_stay_within_the_bound_together() {
    const BYTES_MAX: u64 = 1 << 20;
    let local = Local::new(BYTES_MAX);
    for call in 0..5_000 {
        insert(&local, call, &entry(vec![b'a'; call * 7_919 % 60_000]));
    }
    assert!(local.holding().bytes <= BYTES_MAX);
    (5_000..10_000).for_each(|call| insert(&local, call, &entry("")));
    let holding = local.holding();
    assert!(holding.bytes <= BYTES_MAX && holding.entries <= BYTES_MAX / ENTRY_BYTES as u64, "{holding:?}");
}

#[test]
fn the_entry_used_last_stays() {
    let local = Local::new(10 * (ENTRY_BYTES as u64 + 1_000));
    for call in 0..100 {
        insert(&local, call, &entry(vec![b'a'; 1_000]));
        assert!(local.get(&key(0)).is_some(), "gone after {call} others");
    }
    assert!(local.get(&key(50)).is_none());
}

#[test]
fn what_is_too_large_or_of_no_use_is_not_held_nor_is_the_old_one() {
    let local = Local::new(10_000);
    insert(&local, 1, &entry("old"));
    insert(&local, 1, &entry(vec![b'a'; 10_000]));
    assert_eq!(local.get(&key(1)), None);
    insert(&local, 1, &entry("old"));
    local.insert(key(1), entry("late"), NOW_MS + 3_600_000);
    assert_eq!(local.get(&key(1)), None);
    insert(&local, 1, &Entry { stale_until_ms: u64::MAX, ..entry("for ever") });
    assert!(local.get(&key(1)).is_some());
}

#[test]
fn many_threads_stay_within_the_bound() {
    const BYTES_MAX: u64 = 1 << 20;
    let local = Local::new(BYTES_MAX);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let local = &local;
            scope.spawn(move || {
                for call in 0..500 {
                    let at = (thread * 37 + call) % 300;
                    insert(local, at, &entry(vec![at as u8; 5_000]));
                    if let Some(found) = local.get(&key(at)) {
                        assert_eq!(found.value, vec![at as u8; 5_000]);
                    }
                }
            });
        }
    });
    assert!(local.holding().bytes <= BYTES_MAX);
}
