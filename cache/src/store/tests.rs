//! The steps one by one, against a real server.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use standins::redis::{PrivateRedis, RedisOptions};
use tokio::time::{Instant, sleep};

pub(crate) use super::scripts::names;
use super::{Commit, Lease, Note, Store, Token, Turn};
use crate::{
    cache::Counts,
    entry::{Entry, Found, Version},
    freshness::Contract,
    key::Key,
    redis::{Kind, LinkState, Redis, Settings},
    sealed::Sealer,
    testing::key,
};

const LEASE: Duration = Duration::from_secs(20);

async fn store(server: &PrivateRedis) -> Store {
    let settings = Settings {
        kind: Kind::Single,
        url: SecretString::from(server.url()),
        prefix: "test".to_owned(),
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        value_timeout: Duration::from_secs(1),
    };
    let redis = Redis::new(settings).expect("the address is right");
    redis.link_changes().wait_for(|link| link.state == LinkState::Up).await.expect("the handle is there");
    Store::new(redis, Sealer::new(&[7; 32], &[], 8 << 20), LEASE, Arc::new(Counts::default()))
}

async fn two() -> (PrivateRedis, Store, Store) {
    let server = PrivateRedis::start(RedisOptions::default()).await.expect("redis-server is installed");
    let (one, other) = (store(&server).await, store(&server).await);
    (server, one, other)
}

fn entry(value: impl Into<bytes::Bytes>) -> Entry {
    Entry::new(value.into(), Found::Found, Arc::new([]), 0, &Contract::default(), 1)
}

fn leased(turn: Turn) -> Lease {
    let Turn::Leased(lease) = turn else { panic!("the lease is free: {}", word(&turn)) };
    lease
}

fn holder(turn: &Turn) -> Token {
    let Turn::Busy { holder, left } = *turn else { panic!("the lease is held: {}", word(turn)) };
    assert!(left <= LEASE && left > LEASE / 2, "{left:?}");
    holder
}

fn word(turn: &Turn) -> &'static str {
    match turn {
        Turn::Value { .. } => "value",
        Turn::Leased(_) => "leased",
        Turn::Busy { .. } => "busy",
        Turn::Note(_) => "note",
    }
}

async fn turn(store: &Store, key: &Key, seen: &[u8], waits_for: Option<Token>) -> Turn {
    store.turn(key, seen, waits_for).await.expect("Redis is there")
}

#[tokio::test]
async fn one_at_a_time_may_fetch_and_what_it_stores_is_found_by_all() {
    let (_server, one, other) = two().await;
    let lease = leased(turn(&one, &key(1), &[], None).await);
    assert!(holder(&turn(&other, &key(1), &[], None).await) == lease.token);
    drop(leased(turn(&other, &key(2), &[], None).await));
    let stored = entry("answer");
    assert_eq!(lease.commit(&stored, 60_000).await, Commit::Done);
    for store in [&one, &other] {
        let Turn::Value { version, entry: Some(found) } = turn(store, &key(1), &[], None).await else {
            panic!("it is stored");
        };
        assert!(found == stored && Version(version[..].try_into().expect("16 bytes")) == stored.version);
    }
    // To whom that version is not good enough, the fetch is.
    drop(leased(turn(&other, &key(1), &stored.version.0, None).await));
    assert!(one.look(&key(1)).await == Some(stored));
}

#[tokio::test]
async fn a_note_is_for_those_who_waited_for_the_one_that_left_it() {
    let (_server, one, other) = two().await;
    for round in 0..2 {
        let lease = leased(turn(&one, &key(1), &[], None).await);
        let waited_for = holder(&turn(&other, &key(1), &[], None).await);
        let listener = other.listen(&key(1));
        let start = Instant::now();
        lease.end(Note::Failed(entry("why"))).await;
        listener.wait(Duration::from_secs(5)).await;
        assert!(start.elapsed() < Duration::from_secs(5), "it is told at once");
        if round == 0 {
            let Turn::Note(Note::Failed(why)) = turn(&other, &key(1), &[], Some(waited_for)).await else {
                panic!("it waited");
            };
            assert_eq!(&why.value[..], b"why");
        } else {
            drop(leased(turn(&other, &key(1), &[], Some(Token::random())).await));
        }
    }
}

#[tokio::test]
async fn what_is_too_large_to_hand_on_is_said_not_to_be_shared() {
    let (_server, one, other) = two().await;
    let lease = leased(turn(&one, &key(1), &[], None).await);
    let waited_for = holder(&turn(&other, &key(1), &[], None).await);
    lease.end(Note::Answer(entry(vec![1; super::NOTE_BYTES_MAX + 1]))).await;
    assert!(matches!(turn(&other, &key(1), &[], Some(waited_for)).await, Turn::Note(Note::Unshared)));
}

#[tokio::test]
async fn who_lost_the_lease_can_neither_renew_it_nor_store_nor_end_it() {
    let (server, one, other) = two().await;
    let [value_name, lease_name] = names(one.redis(), &key(1));
    let lost = leased(turn(&one, &key(1), &[], None).await);
    server.command(&["DEL", &lease_name]).await.expect("it answers");
    let lease = leased(turn(&other, &key(1), &[], None).await);
    let scripts = &one.shared.scripts;
    assert_eq!(scripts.renew(one.redis(), &key(1), lost.token, LEASE).await, Ok(false));
    assert_eq!(scripts.end(one.redis(), &key(1), lost.token, b"E", LEASE).await, Ok(false));
    assert_eq!(lost.commit(&entry("late"), 60_000).await, Commit::Refused);
    assert_eq!(server.command(&["EXISTS", &value_name]).await.expect("it answers").integer().expect("a number"), 0);
    assert!(holder(&turn(&one, &key(1), &[], None).await) == lease.token);
    assert_eq!(scripts.renew(other.redis(), &key(1), lease.token, LEASE).await, Ok(true));
}

#[tokio::test]
async fn a_lease_that_is_dropped_is_given_back_also_where_nobody_heard_of_it() {
    let (server, one, other) = two().await;
    drop(leased(turn(&one, &key(1), &[], None).await));
    one.settled().await;
    drop(leased(turn(&other, &key(1), &[], None).await));

    // The server takes the lease for one who has gone by then.
    server.pause().await.expect("it stops");
    assert!(one.turn(&key(2), &[], None).await.is_err());
    server.resume().await.expect("it goes on");
    let resumed = Instant::now();
    loop {
        if let Ok(Turn::Leased(_)) = other.turn(&key(2), &[], None).await {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(resumed.elapsed() < LEASE / 2, "{:?}", resumed.elapsed());
}

#[tokio::test]
async fn a_redis_that_is_full_stores_nothing_and_the_lease_ends() {
    let (server, one, other) = two().await;
    let lease = leased(turn(&one, &key(1), &[], None).await);
    let waited_for = holder(&turn(&other, &key(1), &[], None).await);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await.expect("it answers");
    server.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await.expect("it answers");
    assert_eq!(lease.commit(&entry("answer"), 60_000).await, Commit::Refused);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.expect("it answers");
    drop(leased(turn(&other, &key(1), &[], Some(waited_for)).await));
}

#[tokio::test]
async fn a_lease_ends_by_itself_and_a_foreign_one_without_an_end_counts_as_none() {
    let (server, one, other) = two().await;
    let [_value_name, lease_name] = names(one.redis(), &key(1));
    let lease = leased(turn(&one, &key(1), &[], None).await);
    let left = server.command(&["PTTL", &lease_name]).await.expect("it answers").integer().expect("a number");
    assert!((1..=20_000).contains(&left), "{left}");
    server.command(&["PERSIST", &lease_name]).await.expect("it answers");
    drop(leased(turn(&other, &key(1), &[], None).await));
    drop(lease);
}
