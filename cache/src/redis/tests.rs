//! Against real servers.

mod cluster;
mod rights;
mod sentinels;

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use secrecy::SecretString;
use standins::redis::{PrivateRedis, RedisOptions};

use super::{Channel, Gone, Kind, Link, LinkState, Message, Messages, Redis, Script, Settings};

/// What recovery may take at most, once the server is there again.
const RECOVERY_MAX: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what changes by itself.
const BETWEEN: Duration = Duration::from_millis(20);

static SET: LazyLock<Script> = LazyLock::new(|| Script::new("redis.call('SET', KEYS[1], ARGV[1]) return 'set'"));
static GET: LazyLock<Script> = LazyLock::new(|| Script::new("return redis.call('GET', KEYS[1])"));
static TELL: LazyLock<Script> = LazyLock::new(|| Script::new("return redis.call('PUBLISH', ARGV[1], ARGV[2])"));

/// Times that a busy machine keeps too.
fn settings(kind: Kind, url: String) -> Settings {
    Settings {
        kind,
        url: SecretString::from(url),
        prefix: "test".to_owned(),
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        value_timeout: Duration::from_secs(5),
    }
}

async fn started() -> Result<(PrivateRedis, Redis)> {
    let server = PrivateRedis::start(RedisOptions { password: true, ..RedisOptions::default() }).await?;
    let redis = Redis::new(settings(Kind::Single, server.url()))?;
    until(&redis, LinkState::Up).await?;
    Ok((server, redis))
}

async fn until(redis: &Redis, state: LinkState) -> Result<Link> {
    let mut changes = redis.link_changes();
    let link = tokio::time::timeout(PATIENCE, changes.wait_for(|link| link.state == state)).await;
    let link = link.with_context(|| format!("waited for {state:?} and saw {:?}", redis.link()))??;
    Ok(link.clone())
}

/// Waits until it is down for a reason that says so.
async fn until_down_for(redis: &Redis, words: &str) -> Result<()> {
    let mut changes = redis.link_changes();
    let says =
        |link: &Link| link.state == LinkState::Down && link.reason.as_ref().is_some_and(|why| why.contains(words));
    let link = tokio::time::timeout(PATIENCE, changes.wait_for(says)).await;
    link.with_context(|| format!("waited for {words:?} and saw {:?}", redis.link()))??;
    Ok(())
}

async fn set(redis: &Redis, name: &str, value: &[u8]) -> Result<String, Gone> {
    redis.small(&SET, &[&redis.key(name, "v")], &[value]).await
}

async fn get(redis: &Redis, name: &str) -> Result<Option<Vec<u8>>, Gone> {
    redis.small(&GET, &[&redis.key(name, "v")], &[]).await
}

async fn tell(redis: &Redis, channel: Channel, text: &str) -> Result<u64, Gone> {
    redis.small(&TELL, &[&redis.key("tell", "")], &[redis.channel(channel).as_bytes(), text.as_bytes()]).await
}

async fn heard(messages: &mut Messages) -> Result<Message> {
    tokio::time::timeout(PATIENCE, messages.next()).await.context("heard nothing")?.context("the handle is gone")
}

fn published(channel: Channel, text: &str) -> Message {
    Message::Published { channel, payload: text.to_owned().into() }
}

#[tokio::test]
async fn scripts_are_run_and_told_in_full_when_the_server_forgot_them() -> Result<()> {
    let (server, redis) = started().await?;
    assert!(redis.is_up());
    assert_eq!(get(&redis, "a").await?, None);
    for round in ["1", "2"] {
        assert_eq!(set(&redis, "a", round.as_bytes()).await?, "set");
        server.command(&["SCRIPT", "FLUSH"]).await?;
        assert_eq!(get(&redis, "a").await?.as_deref(), Some(round.as_bytes()));
    }
    assert_eq!(server.command(&["GET", "test:{a}v"]).await?.text()?, "2");

    let value: Vec<u8> = (0..4 << 20).map(|index: u32| index.to_le_bytes()[0]).collect();
    redis.bulk::<String>(&SET, &[&redis.key("large", "")], &[&value]).await?;
    let back: Vec<u8> = redis.bulk(&GET, &[&redis.key("large", "")], &[]).await?;
    assert!(back == value);
    Ok(())
}

#[tokio::test]
async fn a_script_that_fails_leaves_the_link_as_it_is() -> Result<()> {
    let (_server, redis) = started().await?;
    let wrong = Script::new("return redis.call('INCR', KEYS[1])");
    set(&redis, "text", b"no number").await?;
    let key = redis.key("text", "v");
    assert_eq!(redis.small::<u64>(&wrong, &[&key], &[]).await, Err(Gone::Failed));
    assert_eq!(redis.small::<Vec<(u64, u64)>>(&GET, &[&key], &[]).await, Err(Gone::Failed), "of another type");
    assert!(redis.is_up());
    assert_eq!(get(&redis, "text").await?.as_deref(), Some(&b"no number"[..]));
    Ok(())
}

#[tokio::test]
async fn a_killed_server_is_gone_at_once_and_used_again_soon_after_it_is_back() -> Result<()> {
    let (mut server, redis) = started().await?;
    let mut messages = redis.messages();
    set(&redis, "a", b"1").await?;
    server.kill().await?;
    let killed = Instant::now();
    let down = until(&redis, LinkState::Down).await?;
    ensure!(killed.elapsed() < RECOVERY_MAX, "noticed after {:?}", killed.elapsed());
    assert!(down.since <= SystemTime::now());
    assert_eq!(get(&redis, "a").await, Err(Gone::Down));
    assert_eq!(heard(&mut messages).await?, Message::Gap);
    // Attempts come no further apart than a second even after many of them.
    until_down_for(&redis, "refused").await?;
    tokio::time::sleep(Duration::from_secs(4)).await;

    server.restart().await?;
    let back = Instant::now();
    until(&redis, LinkState::Up).await?;
    ensure!(back.elapsed() < RECOVERY_MAX, "used again after {:?}", back.elapsed());
    assert_eq!(get(&redis, "a").await?.as_deref(), Some(&b"1"[..]));
    assert_eq!(heard(&mut messages).await?, Message::Gap);
    Ok(())
}

#[tokio::test]
async fn a_paused_server_holds_nobody_beyond_the_time_and_is_left_alone_for_a_while() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let command_timeout = Duration::from_millis(200);
    let redis = Redis::new(Settings { command_timeout, ..settings(Kind::Single, server.url()) })?;
    until(&redis, LinkState::Up).await?;
    set(&redis, "a", b"1").await?;

    server.pause().await?;
    let paused = Instant::now();
    let asked = futures_util::future::join_all((0..50).map(|_| get(&redis, "a"))).await;
    ensure!(paused.elapsed() < command_timeout * 3, "held for {:?}", paused.elapsed());
    assert!(asked.iter().all(|answer| matches!(answer, Err(Gone::Timeout | Gone::Down))), "{asked:?}");
    // From now on nobody waits, whatever the keeper is trying meanwhile.
    until_down_for(&redis, "in a row").await?;
    let refused = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(get(&redis, "a").await, Err(Gone::Down));
    }
    ensure!(refused.elapsed() < command_timeout, "refused after {:?}", refused.elapsed());

    server.resume().await?;
    let resumed = Instant::now();
    until(&redis, LinkState::Up).await?;
    ensure!(resumed.elapsed() < RECOVERY_MAX, "used again after {:?}", resumed.elapsed());
    assert_eq!(get(&redis, "a").await?.as_deref(), Some(&b"1"[..]));
    Ok(())
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_nobody_elses() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let command_timeout = Duration::from_millis(300);
    let redis = Redis::new(Settings { command_timeout, ..settings(Kind::Single, server.url()) })?;
    until(&redis, LinkState::Up).await?;
    let connected = redis.link();
    for name in ["late", "next"] {
        set(&redis, name, name.as_bytes()).await?;
    }
    server.pause().await?;
    assert_eq!(get(&redis, "late").await, Err(Gone::Timeout));
    server.resume().await?;
    assert_eq!(get(&redis, "next").await?.as_deref(), Some(&b"next"[..]));
    assert_eq!(redis.link(), connected, "one slow answer is no trouble");
    Ok(())
}

#[tokio::test]
async fn a_server_that_halts_once_is_used_on_however_many_wait_for_it() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let command_timeout = Duration::from_millis(300);
    let redis = Redis::new(Settings { command_timeout, ..settings(Kind::Single, server.url()) })?;
    until(&redis, LinkState::Up).await?;
    let connected = redis.link();
    server.pause().await?;
    let asked = futures_util::future::join_all((0..50).map(|_| get(&redis, "a"))).await;
    server.resume().await?;
    ensure!(asked.contains(&Err(Gone::Timeout)), "void: {asked:?}");
    assert_eq!(get(&redis, "a").await, Ok(None));
    assert_eq!(redis.link(), connected, "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_dies_without_traffic_is_noticed() -> Result<()> {
    let (server, redis) = started().await?;
    server.pause().await?;
    until_down_for(&redis, "in a row").await?;
    server.resume().await?;
    until(&redis, LinkState::Up).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_comes_after_the_start_is_found() -> Result<()> {
    let mut server = PrivateRedis::start(RedisOptions::default()).await?;
    server.kill().await?;
    let redis = Redis::new(settings(Kind::Single, server.url()))?;
    assert_eq!(redis.link().state, LinkState::Connecting);
    assert_eq!(get(&redis, "a").await, Err(Gone::Down));
    until_down_for(&redis, "refused").await?;
    server.restart().await?;
    until(&redis, LinkState::Up).await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_told_and_never_repeated() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions { password: true, ..RedisOptions::default() }).await?;
    for (url, reason) in [
        (format!("redis://:swordfish@{}", server.addr()), "refused the user or password"),
        (format!("redis://swordfish:swordfish@{}", server.addr()), "refused the user or password"),
        (format!("redis://{}/swordfish", server.addr()), ""),
        (format!("redis://{}", server.addr()), "wants a password"),
    ] {
        let settings = settings(Kind::Single, url);
        let shown = format!("{settings:?}");
        assert!(!shown.contains("swordfish"), "{shown}");
        let redis = match Redis::new(settings) {
            Ok(redis) => redis,
            Err(error) => {
                assert!(!error.to_string().contains("swordfish"));
                continue;
            }
        };
        until_down_for(&redis, reason).await?;
        let shown = format!("{redis:?} {:?}", redis.link());
        assert!(!shown.contains("swordfish"), "{shown}");
    }
    Ok(())
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_refused_without_repeating_them() {
    for (kind, url) in [
        (Kind::Single, "swordfish"),
        (Kind::Single, "http://:swordfish@host"),
        (Kind::Single, "rediss://:swordfish@host#insecure"),
        (Kind::Single, "redis://:swordfish@a,redis://:swordfish@b"),
        (Kind::Single, "redis://:swordfish@host/one"),
        (Kind::Cluster, "redis://:swordfish@host/1"),
        (Kind::Cluster, "redis://:swordfish@a,rediss://:swordfish@b"),
    ] {
        let error = Redis::new(settings(kind, url.to_owned())).expect_err(url);
        assert!(!format!("{error} {error:?}").contains("swordfish"), "{error}");
    }
}

#[tokio::test]
async fn a_replica_and_a_full_server_are_down_until_they_take_writes_again() -> Result<()> {
    let (server, redis) = started().await?;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await?;
    assert_eq!(set(&redis, "a", b"1").await, Err(Gone::Down));
    until_down_for(&redis, "READONLY").await?;
    server.command(&["REPLICAOF", "NO", "ONE"]).await?;
    until(&redis, LinkState::Up).await?;

    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    assert_eq!(set(&redis, "a", b"1").await, Err(Gone::Down));
    until_down_for(&redis, "OOM").await?;
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    until(&redis, LinkState::Up).await?;
    assert_eq!(set(&redis, "a", b"1").await?, "set");
    Ok(())
}

#[tokio::test]
async fn what_is_published_is_heard_and_a_lost_subscription_is_a_gap() -> Result<()> {
    let (server, redis) = started().await?;
    let mut messages = redis.messages();
    for (channel, text) in [(Channel::Tags, "one"), (Channel::Landed, "two"), (Channel::Beat, "")] {
        assert_eq!(tell(&redis, channel, text).await?, 1);
        assert_eq!(heard(&mut messages).await?, published(channel, text));
    }
    server.command(&["PUBLISH", "test:other", "nothing to us"]).await?;

    let up = redis.link();
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await?;
    assert_eq!(heard(&mut messages).await?, Message::Gap, "lost");
    assert_eq!(heard(&mut messages).await?, Message::Gap, "there again");
    tell(&redis, Channel::Tags, "three").await?;
    assert_eq!(heard(&mut messages).await?, published(Channel::Tags, "three"));
    assert_eq!(redis.link(), up, "commands went on");
    Ok(())
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_that_it_missed_something() -> Result<()> {
    let (_server, redis) = started().await?;
    let (mut slow, mut fast) = (redis.messages(), redis.messages());
    let many = Script::new("for i = 1, 5000 do redis.call('PUBLISH', ARGV[1], i) end return 1");
    let channel = redis.channel(Channel::Landed);
    let publish = async { redis.bulk::<u64>(&many, &[&redis.key("many", "")], &[channel.as_bytes()]).await };
    let read = async {
        loop {
            if let Message::Published { payload, .. } = heard(&mut fast).await?
                && payload == "5000"
            {
                return Ok::<_, anyhow::Error>(());
            }
        }
    };
    let (published, read) = tokio::join!(publish, read);
    published?;
    read?;
    assert_eq!(heard(&mut slow).await?, Message::Gap);
    assert!(matches!(heard(&mut slow).await?, Message::Published { .. }));
    Ok(())
}

#[tokio::test]
async fn the_clock_is_that_of_the_server() -> Result<()> {
    let (server, redis) = started().await?;
    let time = server.command(&["TIME"]).await?.list()?;
    let parts: Vec<u64> = time.into_iter().map(|part| Ok(part.text()?.parse()?)).collect::<Result<_>>()?;
    let server_ms = parts[0] * 1_000 + parts[1] / 1_000;
    let now_ms = redis.clock().now_ms();
    ensure!(now_ms.abs_diff(server_ms) < 1_000, "{now_ms} by the clock, {server_ms} by the server");
    Ok(())
}

#[tokio::test]
async fn the_last_handle_that_goes_ends_the_connections() -> Result<()> {
    let (server, redis) = started().await?;
    let connections = async || -> Result<usize> { Ok(server.info("connected_clients").await?.parse()?) };
    ensure!(connections().await? == 5, "three for commands, one for messages, and the one that asks");
    let (other, mut messages) = (redis.clone(), redis.messages());
    drop(redis);
    assert_eq!(get(&other, "a").await?, None);
    drop(other);
    while messages.next().await.is_some() {}
    let by = Instant::now() + PATIENCE;
    while connections().await? != 1 {
        ensure!(Instant::now() < by, "connections are left");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_may_evict_what_must_be_kept_is_told_of() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let keeping = Redis::keeping(settings(Kind::Single, server.url()))?;
    let other = Redis::new(settings(Kind::Single, server.url()))?;
    until(&keeping, LinkState::Up).await?;
    until(&other, LinkState::Up).await?;
    for (setting, value, evicts) in [
        ("maxmemory", "50mb", false),
        ("maxmemory-policy", "allkeys-lru", true),
        ("maxmemory-policy", "noeviction", false),
        ("maxmemory-policy", "volatile-ttl", true),
        ("maxmemory", "0", false),
    ] {
        server.command(&["CONFIG", "SET", setting, value]).await?;
        let by = Instant::now() + PATIENCE;
        while keeping.evicts() != evicts {
            ensure!(Instant::now() < by, "{setting} {value}");
            tokio::time::sleep(BETWEEN).await;
        }
    }
    ensure!(!other.evicts(), "what it holds may be forgotten");
    Ok(())
}
