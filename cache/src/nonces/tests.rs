use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use proptest::prelude::*;
use standins::redis::{PrivateRedis, RedisOptions};

use super::{Claim, Memory, Nonces, Unspent};
use crate::{
    redis::{Kind, Redis},
    testing::redis_at,
};

const SECRET: [u8; 32] = [7; 32];
const PATIENCE: Duration = Duration::from_secs(20);
const LEEWAY: Duration = Duration::from_millis(1_000);

fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since_epoch.as_millis()).expect("a time")
}

/// As far ahead as the leeway lets it be, so that it is younger than whatever was lost before now.
fn fresh(nonce: &str) -> Claim<'_> {
    let created_ms = now_ms() + 1_000;
    Claim { key_id: "one", nonce, created_ms, expires_ms: created_ms + 60_000, leeway: LEEWAY }
}

async fn connected(server: &PrivateRedis) -> Result<Redis> {
    redis_at(Kind::Single, server.url()).await
}

/// Two replicas, of which the second one takes signatures already.
async fn two_replicas(server: &PrivateRedis) -> Result<[Nonces; 2]> {
    let replicas =
        [Nonces::shared(connected(server).await?, &SECRET), Nonces::shared(connected(server).await?, &SECRET)];
    replicas.iter().for_each(Nonces::watch);
    taken_again(&replicas[1]).await?;
    Ok(replicas)
}

/// Tries fresh signatures until one is taken, and gives how many were refused before as possibly used.
async fn taken_again(nonces: &Nonces) -> Result<usize> {
    let trying = async {
        for refused in 0.. {
            match nonces.spend(&fresh(&format!("try {refused} at {}", now_ms()))).await {
                Ok(()) => return Ok(refused),
                Err(Unspent::Lost | Unspent::Gone) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(other) => return Err(other),
            }
        }
        unreachable!("the numbers do not end")
    };
    Ok(tokio::time::timeout(PATIENCE, trying).await.context("no signature is taken")??)
}

#[tokio::test]
async fn a_nonce_is_used_once_at_whichever_replica() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let [one, other] = two_replicas(&server).await?;
    let claim = fresh("n");
    let (a, b) = tokio::join!(one.spend(&claim), other.spend(&claim));
    ensure!([a, b].iter().filter(|taken| taken.is_ok()).count() == 1, "{a:?} {b:?}");
    for replica in [&one, &other] {
        ensure!(replica.spend(&claim).await == Err(Unspent::Used));
        // Another key may have the same nonce.
        ensure!(replica.spend(&Claim { key_id: "onen", nonce: "", ..claim }).await != Err(Unspent::Gone));
    }
    ensure!(other.spend(&Claim { key_id: "two", ..claim }).await == Ok(()));
    Ok(())
}

#[tokio::test]
async fn the_clock_of_redis_decides_over_time() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let [one, _] = two_replicas(&server).await?;
    let claim = fresh("n");
    ensure!(one.spend(&Claim { created_ms: now_ms() + 5_000, ..claim }).await == Err(Unspent::Early));
    ensure!(
        one.spend(&Claim { created_ms: now_ms() - 2_000, expires_ms: now_ms() - 1_000, ..claim }).await
            == Err(Unspent::Late)
    );
    ensure!(one.spend(&claim).await == Ok(()), "those that are refused use nothing up");
    Ok(())
}

#[tokio::test]
async fn what_was_used_before_a_flush_stays_refused() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let [one, other] = two_replicas(&server).await?;
    let (claim, unused) = (fresh("n"), fresh("unused"));
    ensure!(one.spend(&claim).await == Ok(()));
    server.command(&["FLUSHALL"]).await?;
    ensure!(other.spend(&claim).await == Err(Unspent::Lost));
    // Nobody can tell the two apart any more.
    ensure!(other.spend(&unused).await == Err(Unspent::Lost));
    // What is signed from now on is taken, and they are not.
    taken_again(&one).await?;
    for lost in [&claim, &unused] {
        ensure!(other.spend(lost).await == Err(Unspent::Lost));
    }
    Ok(())
}

#[tokio::test]
async fn without_redis_nothing_is_taken_and_a_new_run_of_it_knows_of_nothing_before() -> Result<()> {
    let mut server = PrivateRedis::start(RedisOptions::default()).await?;
    let [one, _other] = two_replicas(&server).await?;
    let claim = fresh("n");
    ensure!(one.spend(&claim).await == Ok(()));
    server.kill().await?;
    ensure!(one.spend(&fresh("m")).await == Err(Unspent::Gone));
    server.restart().await?;
    taken_again(&one).await?;
    ensure!(one.spend(&claim).await == Err(Unspent::Lost));
    Ok(())
}

#[test]
fn a_process_that_started_takes_nothing_that_was_signed_before() {
    let memory = Memory::new(10_000, 10);
    let claim = Claim { key_id: "k", nonce: "n", created_ms: 11_000, expires_ms: 70_000, leeway: LEEWAY };
    assert_eq!(memory.spend([1; 16], &claim, 12_000), Err(Unspent::Lost));
    let later = Claim { created_ms: 11_001, ..claim };
    assert_eq!(memory.spend([1; 16], &later, 12_000), Ok(()));
    assert_eq!(memory.spend([1; 16], &later, 69_999), Err(Unspent::Used));
    assert_eq!(memory.spend([1; 16], &later, 70_000), Err(Unspent::Late));
}

#[test]
fn a_full_memory_takes_nothing_until_something_has_expired() {
    let memory = Memory::new(0, 2);
    let claim = |expires_ms| Claim { key_id: "k", nonce: "n", created_ms: 2_000, expires_ms, leeway: LEEWAY };
    assert_eq!(memory.spend([1; 16], &claim(5_000), 2_000), Ok(()));
    assert_eq!(memory.spend([2; 16], &claim(9_000), 2_000), Ok(()));
    assert_eq!(memory.spend([3; 16], &claim(9_000), 3_000), Err(Unspent::Full));
    assert_eq!(memory.spend([2; 16], &claim(9_000), 3_000), Err(Unspent::Used), "what is held is held");
    assert_eq!(memory.spend([3; 16], &claim(9_000), 6_000), Ok(()));
}

proptest! {
    /// Whatever is offered in whatever order at whatever times: nothing is taken twice.
    #[test]
    fn nothing_is_taken_twice(offers in proptest::collection::vec((0..6_u8, 0..40_u64, 0..20_u64, 0..20_u64), 1..200)) {
        let memory = Memory::new(0, 4);
        let (mut now_ms, mut taken) = (2_000, std::collections::HashSet::new());
        for (nonce, passed, age, lasts) in offers {
            now_ms += passed;
            let created_ms = now_ms - age;
            // One signature: its nonce with its times.
            let expires_ms = created_ms + lasts;
            let claim = Claim { key_id: "k", nonce: "n", created_ms, expires_ms, leeway: LEEWAY };
            if memory.spend([nonce; 16], &claim, now_ms).is_ok() {
                prop_assert!(taken.insert((nonce, created_ms, expires_ms)), "{nonce} was taken twice");
            }
        }
    }
}
