//! Whatever happens in whatever order: what is served was fetched, for that key, and not before the last change that was confirmed.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicU64},
    time::Duration,
};

use proptest::prelude::*;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{across::Fleet, *};
use crate::tags::Settled;

const KEYS: usize = 3;

/// The truth behind the downstream: one number for each key, and all that was ever said of it.
#[derive(Default)]
struct World {
    numbers: [AtomicU64; KEYS],
    /// The number that the last confirmed write left.
    confirmed: [AtomicU64; KEYS],
    said: Mutex<HashSet<(usize, Vec<u8>)>>,
    fetches: AtomicU64,
    down: AtomicBool,
}

impl World {
    /// Reads at some moment, and answers at a later one.
    async fn read(self: Arc<Self>, call: usize, before_ms: u64, after_ms: u64) -> Fetched<Outcome> {
        sleep(Duration::from_millis(before_ms)).await;
        let number = self.numbers[call].load(SeqCst);
        sleep(Duration::from_millis(after_ms)).await;
        if self.down.load(SeqCst) {
            return Fetched::Failed(Outcome("down".to_owned()));
        }
        let fetch = self.fetches.fetch_add(1, SeqCst);
        let value = format!("{call}:{number}:{fetch}").into_bytes();
        self.said.lock().expect("nobody panics with it").insert((call, value.clone()));
        Fetched::Answer { value: value.into(), found: Found::Found, tags: Vec::new() }
    }
}

#[derive(Debug, Clone)]
enum Deed {
    /// By one replica, of one key, given up after so long; the downstream reads and answers after so long each.
    Read {
        replica: usize,
        call: usize,
        before_ms: u64,
        after_ms: u64,
        give_up_ms: Option<u64>,
    },
    Write {
        replica: usize,
        call: usize,
        takes_ms: u64,
    },
    /// A lease is lost, as by a pause of its holder.
    Lose {
        call: usize,
    },
    Fail(bool),
    Age {
        by_ms: u64,
    },
    Pause {
        ms: u64,
    },
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let call = || 0..KEYS;
    let deed = prop_oneof![
        8 => (0..3_usize, call(), 0..4_u64, 0..4_u64, prop::option::weighted(0.2, 0..6_u64))
            .prop_map(|(replica, call, before_ms, after_ms, give_up_ms)| Deed::Read { replica, call, before_ms, after_ms, give_up_ms }),
        3 => (0..3_usize, call(), 0..4_u64).prop_map(|(replica, call, takes_ms)| Deed::Write { replica, call, takes_ms }),
        1 => call().prop_map(|call| Deed::Lose { call }),
        1 => any::<bool>().prop_map(Deed::Fail),
        1 => (0..200_000_u64).prop_map(|by_ms| Deed::Age { by_ms }),
        4 => (0..5_u64).prop_map(|ms| Deed::Pause { ms }),
    ];
    prop::collection::vec(deed, 1..60)
}

fn tag(call: usize) -> Tag {
    Tag::new(&format!("thing:{call}"), true)
}

async fn read(cache: Cache<Outcome>, world: Arc<World>, call: usize, before_ms: u64, after_ms: u64) {
    let confirmed = world.confirmed[call].load(SeqCst);
    let ask = Ask { tags: Arc::new([tag(call)]), ..ask(call) };
    let served = {
        let world = world.clone();
        cache.serve(ask, move || world.clone().read(call, before_ms, after_ms)).await
    };
    let value = match served {
        Served::Fetched { value, .. } => value,
        Served::Cached(cached) => cached.value,
        Served::Passed { .. } => return,
        Served::Nothing(failure) => panic!("nobody waited so long: {failure}"),
    };
    assert!(
        world.said.lock().expect("nobody panics with it").contains(&(call, value.to_vec())),
        "nobody said {value:?}"
    );
    let text = String::from_utf8(value.to_vec()).expect("text");
    let number: u64 = text.split(':').nth(1).and_then(|number| number.parse().ok()).expect("as it was said");
    assert!(number >= confirmed, "{number} was served to one who came after {confirmed} was confirmed");
}

async fn write(cache: Cache<Outcome>, world: Arc<World>, call: usize, takes_ms: u64) {
    let Ok(pending) = cache.tags().begin(&[tag(call)], &[], Duration::from_secs(60)).await else { return };
    sleep(Duration::from_millis(takes_ms)).await;
    let number = world.numbers[call].fetch_add(1, SeqCst) + 1;
    let _everywhere = pending.end(&[], Settled::Yes).await;
    world.confirmed[call].fetch_max(number, SeqCst);
}

/// Does all of it, and reads everything once more at the end.
async fn history(replicas: &[Cache<Outcome>], fleet: Option<&Fleet>, deeds: Vec<Deed>) {
    let world = Arc::new(World::default());
    let mut under_way = JoinSet::new();
    for deed in deeds {
        match deed {
            Deed::Read { replica, call, before_ms, after_ms, give_up_ms } => {
                let cache = replicas[replica % replicas.len()].clone();
                let reading = read(cache, world.clone(), call, before_ms, after_ms);
                under_way.spawn(async move {
                    let give_up = Duration::from_millis(give_up_ms.unwrap_or(20_000));
                    let given_up = timeout(give_up, reading).await.is_err();
                    assert!(!given_up || give_up_ms.is_some(), "a read that never ends");
                });
            }
            Deed::Write { replica, call, takes_ms } => {
                under_way.spawn(write(replicas[replica % replicas.len()].clone(), world.clone(), call, takes_ms));
            }
            Deed::Lose { call } => {
                if let Some(fleet) = fleet {
                    fleet.server.command(&["DEL", &fleet.names(call)[1]]).await.expect("it answers");
                }
            }
            Deed::Fail(down) => world.down.store(down, SeqCst),
            // Replicas that share a Redis go by its clock.
            Deed::Age { by_ms } if fleet.is_none() => later(&replicas[0], by_ms),
            Deed::Age { .. } => {}
            Deed::Pause { ms } => sleep(Duration::from_millis(ms)).await,
        }
    }
    while let Some(done) = under_way.join_next().await {
        done.expect("no promise is broken");
    }
    for replica in replicas {
        for call in 0..KEYS {
            read(replica.clone(), world.clone(), call, 0, 0).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_one_process_serves_was_fetched_since_the_last_change(deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            history(&[in_memory()], None, deeds).await;
        });
    }
}

#[test]
fn what_three_replicas_serve_was_fetched_since_the_last_change() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let fleet = runtime.block_on(Fleet::start(3));
    let config =
        ProptestConfig { failure_persistence: None, cases: 60, max_shrink_iters: 0, ..ProptestConfig::default() };
    proptest!(config, |(deeds in deeds())| {
        runtime.block_on(async {
            fleet.server.command(&["FLUSHALL"]).await.expect("it answers");
            fleet.replicas.iter().for_each(|cache| cache.inner.local.clear());
            history(&fleet.replicas, Some(&fleet), deeds).await;
        });
    });
}
