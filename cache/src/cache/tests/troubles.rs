//! Redis is gone, empty, or full of what is no entry.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{across::Fleet, *};
use crate::sealed::Damage;

fn damaged(cache: &Cache<Outcome>, kind: Damage) -> u64 {
    cache.figures().damaged.iter().filter(|(damage, _)| *damage == kind).map(|(_, count)| count).sum()
}

#[tokio::test]
async fn what_is_no_entry_is_a_miss_and_is_counted() {
    let (fleet, downstream) = (Fleet::start(2).await, Downstream::open());
    let [value_name, lease_name] = fleet.names(1);
    let writer = sealer();
    let entry = |now_ms| crate::entry::Entry::new("forged".into(), Found::Found, Arc::new([]), 0, &CONTRACT, now_ms);
    let now = entry(fleet.replicas[0].clock().now_ms());
    let sealed = |call| writer.seal(&key(call), &now).expect("it is small");
    let with_version = |sealed: Vec<u8>| [&now.version.0[..], &sealed].concat();
    let mut format = with_version(sealed(1));
    format[16] = 2;
    let mut changed = with_version(sealed(1));
    changed[60] ^= 1;
    let mut relabelled = with_version(sealed(1));
    relabelled[0] ^= 1;
    let foreign_secret = Sealer::new(&[8; 32], &[], 1 << 20).seal(&key(1), &now).expect("it is small");
    let cases: [(Vec<u8>, Damage); 8] = [
        (b"abc".to_vec(), Damage::Truncated),
        (with_version(sealed(1))[..40].to_vec(), Damage::Truncated),
        (format, Damage::Format),
        (changed, Damage::Seal),
        (relabelled, Damage::Seal),
        (with_version(sealed(2)), Damage::Seal),
        (with_version(foreign_secret), Damage::Secret),
        (vec![1; 64 << 20], Damage::TooLarge),
    ];
    for (round, (bytes, damage)) in cases.into_iter().enumerate() {
        let counted = damaged(&fleet.replicas[0], damage);
        fleet.server.command(&[b"SET", value_name.as_bytes(), &bytes]).await.expect("it answers");
        let start = std::time::Instant::now();
        let served = short(serve(&fleet.replicas[0], &downstream, ask(1)).await);
        assert!(start.elapsed() < Duration::from_millis(500), "{damage:?}: {:?}", start.elapsed());
        assert_eq!(served, fetched(&format!("answer {}", round + 1)), "{damage:?}");
        assert_eq!(damaged(&fleet.replicas[0], damage), counted + 1, "{damage:?}");
        // It was overwritten; and the tier in the process must not hide the next one.
        assert!(fleet.replicas[1].look(&ask(1)).await.is_some());
        fleet.replicas[0].inner.local.clear();
    }
    fleet.server.command(&["DEL", &value_name]).await.expect("it answers");
    fleet.server.command(&["LPUSH", &value_name, "a list"]).await.expect("it answers");
    fleet.server.command(&["LPUSH", &lease_name, "a list"]).await.expect("it answers");
    assert_eq!(short(serve(&fleet.replicas[0], &downstream, ask(1)).await), fetched("answer 9"));
    assert_eq!(damaged(&fleet.replicas[0], Damage::Format), 2);

    let future = entry(fleet.replicas[0].clock().now_ms() + 3_600_000);
    let value = [&future.version.0[..], &writer.seal(&key(1), &future).expect("it is small")].concat();
    fleet.server.command(&[b"SET", value_name.as_bytes(), &value]).await.expect("it answers");
    fleet.replicas[0].inner.local.clear();
    assert_eq!(short(serve(&fleet.replicas[0], &downstream, ask(1)).await), fetched("answer 10"));
}

#[tokio::test]
async fn a_note_that_is_none_is_no_answer() {
    let (fleet, downstream) = (Fleet::start(2).await, Downstream::shut());
    let first = spawn(&fleet.replicas[0], &downstream, ask(1));
    until("it is asked", || downstream.asked() == 1).await;
    let other = spawn(&fleet.replicas[1], &downstream, ask(1));
    until("the other waits", || fleet.replicas[1].figures().lease_waits == 1).await;
    let [_value_name, lease_name] = fleet.names(1);
    let lease = fleet.server.command(&["GETRANGE", &lease_name, "1", "16"]).await.expect("it answers");
    let standins::redis::Reply::Bytes(token) = lease else { panic!("a lease is there: {lease:?}") };
    let forged = [b"F", &token[..], b"forged"].concat();
    fleet.server.command(&[b"SET", lease_name.as_bytes(), &forged]).await.expect("it answers");
    until("the other asks for itself", || downstream.asked() == 2).await;
    downstream.let_through(2);
    assert!(matches!(short(got(other).await), Short::Fetched(_, Seat::Starter, false)));
    assert!(matches!(short(got(first).await), Short::Fetched(_, Seat::Starter, false)));
    assert_eq!(damaged(&fleet.replicas[1], Damage::Truncated), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_during_which_redis_is_killed_is_served_and_held_here() {
    let (mut fleet, downstream) = (Fleet::start(2).await, Downstream::shut());
    let holder = spawn(&fleet.replicas[0], &downstream, ask(1));
    until("it is asked", || downstream.asked() == 1).await;
    let other = spawn(&fleet.replicas[1], &downstream, ask(1));
    until("the other waits", || fleet.replicas[1].figures().lease_waits == 1).await;
    fleet.server.kill().await.expect("it dies");
    until("the other goes on alone", || downstream.asked() == 2).await;
    downstream.let_through(2);
    for call in [holder, other] {
        assert!(matches!(short(got(call).await), Short::Fetched(_, Seat::Starter, _)));
    }
    // Each goes on alone, with what it holds.
    for replica in &fleet.replicas {
        serve(replica, &Downstream::open(), ask(1)).await;
        let Served::Cached(cached) = serve(replica, &downstream, ask(1)).await else { panic!("it is held") };
        assert_eq!((cached.tier, cached.state), (Tier::Local, State::Fresh));
        let strict = Ask { tags: Arc::new([Tag::new("customer:1", true)]), ..ask(2) };
        for _ in 0..2 {
            let served = serve(replica, &Downstream::open(), strict.clone()).await;
            assert!(matches!(served, Served::Fetched { stored: false, .. }), "{served:?}");
        }
    }
    fleet.server.restart_empty().await.expect("it starts");
    until("Redis is used again", || fleet.replicas.iter().all(|cache| cache.redis().expect("there is one").is_up()))
        .await;
    let again = Downstream::open();
    assert_eq!(short(serve(&fleet.replicas[0], &again, ask(3)).await), fetched("answer 1"));
    let served = short(serve(&fleet.replicas[1], &again, ask(3)).await);
    assert_eq!(served, Short::Cached("answer 1".to_owned(), Tier::Shared, State::Fresh));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_holds_nobody_beyond_his_time() {
    let (fleet, downstream) = (Fleet::start(1).await, Downstream::open());
    fleet.server.pause().await.expect("it stops");
    let start = std::time::Instant::now();
    let brief = Ask { wait_by: Instant::now() + Duration::from_millis(300), ..ask(1) };
    let served = serve(&fleet.replicas[0], &downstream, brief).await;
    assert!(start.elapsed() < Duration::from_millis(800), "{:?}", start.elapsed());
    assert!(matches!(served, Served::Nothing(_) | Served::Fetched { .. }), "{served:?}");
    fleet.server.resume().await.expect("it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_flushed_under_load_costs_one_fetch_of_each_key_and_no_error() {
    const KEYS: usize = 8;
    let fleet = Arc::new(Fleet::start(3).await);
    let downstreams: Arc<Vec<Downstream>> = Arc::new((0..KEYS).map(|_| Downstream::open()).collect());
    let load = |rounds: usize| {
        let mut calls = JoinSet::new();
        for worker in 0..12 {
            let (fleet, downstreams) = (fleet.clone(), downstreams.clone());
            calls.spawn(async move {
                for round in 0..rounds {
                    let call = (worker + round) % KEYS;
                    let cache = &fleet.replicas[(worker * 7 + round) % 3];
                    let served = serve(cache, &downstreams[call], ask(call)).await;
                    assert!(matches!(served, Served::Cached(_) | Served::Fetched { .. }), "{served:?}");
                }
            });
        }
        calls
    };
    load(200).join_all().await;
    assert!(downstreams.iter().all(|downstream| downstream.asked() == 1));
    let under_load = load(2_000);
    fleet.replicas.iter().for_each(|cache| cache.inner.local.clear());
    fleet.server.command(&["FLUSHALL"]).await.expect("it answers");
    under_load.join_all().await;
    let asked: Vec<_> = downstreams.iter().map(Downstream::asked).collect();
    // The one before, one after, and one more where a fetch was on its way just then.
    assert!(asked.iter().all(|asked| (1..=3).contains(asked)), "{asked:?}");
}
