//! Against a real primary with a replica under sentinels.

use standins::redis::{MASTER_NAME, SentinelSet};

use super::*;

/// Tells how many replicas follow.
static SET_AND_COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('SET', KEYS[1], ARGV[1])
         return tonumber(string.match(redis.call('INFO', 'replication'), 'connected_slaves:(%d+)'))",
    )
});

fn known_by(set: &SentinelSet, master_name: &str) -> Settings {
    let password = set.password().map(SecretString::from);
    settings(Kind::Sentinel { master_name: master_name.to_owned(), user: None, password }, set.url())
}

async fn started() -> Result<(SentinelSet, Redis)> {
    let set = SentinelSet::start(RedisOptions { password: true, ..RedisOptions::default() }).await?;
    let redis = Redis::new(known_by(&set, MASTER_NAME))?;
    until(&redis, LinkState::Up).await?;
    Ok((set, redis))
}

async fn lasting(redis: &Redis, value: &str, wait: Duration) -> Result<(u64, bool), Gone> {
    redis.lasting(&SET_AND_COUNT, &[&redis.key("kept", "v")], &[value.as_bytes()], wait, |count: &u64| *count > 0).await
}

#[tokio::test]
async fn the_server_that_takes_over_is_used_and_a_lasting_write_is_there() -> Result<()> {
    let (mut set, redis) = started().await?;
    let mut messages = redis.messages();
    assert_eq!(lasting(&redis, "1", Duration::from_secs(5)).await?, (1, true));
    let before = set.kill_master().await?;
    until(&redis, LinkState::Down).await?;
    assert_eq!(heard(&mut messages).await?, Message::Gap);
    set.until_another_than(before).await?;
    let promoted = Instant::now();
    until(&redis, LinkState::Up).await?;
    ensure!(promoted.elapsed() < RECOVERY_MAX, "used after {:?}", promoted.elapsed());
    assert_eq!(get(&redis, "kept").await?.as_deref(), Some(&b"1"[..]));
    assert_eq!(set_one(&redis).await?, "set");

    // The old one comes back as a replica; nobody writes there.
    set.servers[before].restart().await?;
    assert_eq!(set_one(&redis).await?, "set");
    Ok(())
}

async fn set_one(redis: &Redis) -> Result<String, Gone> {
    super::set(redis, "a", b"1").await
}

#[tokio::test]
async fn a_change_of_the_server_by_hand_is_followed() -> Result<()> {
    let (set, redis) = started().await?;
    set.fail_over().await?;
    let now = set.master().await?;
    // The old one takes writes until it is told that it is a replica: those are lost, as Redis says.
    let by = Instant::now() + PATIENCE;
    while set_one(&redis).await.is_err() || set.servers[now].command(&["EXISTS", "test:{a}v"]).await?.integer()? == 0 {
        ensure!(Instant::now() < by, "not followed: {:?}", redis.link());
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_lasting_write_that_no_replica_has_in_time_says_so_and_delays_nobody() -> Result<()> {
    let (set, redis) = started().await?;
    set.servers[1].pause().await?;
    let wait = Duration::from_millis(500);
    let (kept, others) = tokio::join!(lasting(&redis, "1", wait), async {
        for _ in 0..20 {
            set_one(&redis).await?;
        }
        Ok::<_, Gone>(())
    });
    others?;
    assert_eq!(kept?, (1, false));
    set.servers[1].resume().await?;
    Ok(())
}

#[tokio::test]
async fn without_replicas_nobody_waits_for_one() -> Result<()> {
    let (_server, redis) = super::started().await?;
    assert_eq!(lasting(&redis, "1", PATIENCE).await?, (0, true));
    Ok(())
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_told() -> Result<()> {
    let set = SentinelSet::start(RedisOptions::default()).await?;
    let redis = Redis::new(known_by(&set, "another"))?;
    until_down_for(&redis, "master_name").await?;
    Ok(())
}
