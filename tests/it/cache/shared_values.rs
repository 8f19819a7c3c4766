//! What lies in Redis: nothing of a company in the clear, and nothing that anybody else put there.

use anyhow::{Result, ensure};
use rand::RngExt as _;
use serde_json::json;
use standins::redis::{PrivateRedis, RedisOptions};

use super::{Scene, long, reads};

/// What can be wrong with a value: how to make it from a good one, whose first 16 bytes are its version.
type Damage = (&'static str, fn(&[u8]) -> Vec<u8>);

const DAMAGES: &[Damage] = &[
    ("random bytes", |good| {
        let mut random = vec![0; good.len()];
        rand::rng().fill(&mut random[..]);
        random
    }),
    ("random bytes in the place of what is sealed", |good| {
        let mut random = good.to_vec();
        rand::rng().fill(&mut random[16..]);
        random
    }),
    ("one bit of the end", |good| flipped(good, good.len() - 1)),
    ("one bit of the middle", |good| flipped(good, good.len() / 2)),
    ("another format", |good| {
        let mut future = good.to_vec();
        future[16] = 0xfe;
        future
    }),
    ("cut off", |good| good[..good.len() - 10].to_vec()),
    ("only a version", |good| good[..16].to_vec()),
    ("half a version", |good| good[..7].to_vec()),
    ("far too long", |good| [good, &vec![0; 8 << 20]].concat()),
];

fn flipped(good: &[u8], at: usize) -> Vec<u8> {
    let mut damaged = good.to_vec();
    damaged[at] ^= 1;
    damaged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_damaged_is_a_miss_and_is_counted() -> Result<()> {
    let redis = PrivateRedis::start(RedisOptions { password: true, ..RedisOptions::default() }).await?;
    let scene = Scene::start_on(&redis, 2, "damage", json!({ "get": reads(long()) })).await?;
    // The control: what is not damaged is found.
    scene.get(0, "control").await?.good()?;
    ensure!(scene.get(1, "control").await?.good()?.state() == Some("fresh"), "void: Redis is not used");
    for (what, damaged) in DAMAGES {
        let (before, damage_before) = (values(&redis).await?, damage(&scene).await?);
        scene.get(0, what).await?.good()?;
        let after = values(&redis).await?;
        let mut new = after.iter().filter(|key| !before.contains(key));
        let (Some(key), None) = (new.next(), new.next()) else { anyhow::bail!("{what}: {before:?} became {after:?}") };
        let good = redis.command(&[b"GET".as_slice(), key]).await?.bytes()?;
        redis.command(&[b"SET".as_slice(), key, &damaged(&good), b"KEEPTTL"]).await?;

        let got = scene.get(1, what).await?.good()?;
        ensure!(got.mark.is_none(), "{what}: {}", got.result);
        let counted = damage(&scene).await? - damage_before;
        ensure!(counted == 1.0, "{what}: counted {counted} times");
        ensure!(
            scene.source.seen().of(&format!("/value/{}", what.replace(' ', "%20"))) == 2,
            "{:?}",
            scene.source.seen()
        );
        // The miss has mended it.
        let mended = redis.command(&[b"GET".as_slice(), key]).await?.bytes()?;
        ensure!(mended != damaged(&good) && mended.len() < 1 << 20, "{what} lies there still");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_holds_no_argument_answer_or_name_of_a_caller_in_the_clear() -> Result<()> {
    const CANARY: &str = "canary-7f3a";
    let redis = PrivateRedis::start(RedisOptions::default()).await?;
    let mut cache = long();
    cache["tags"] = json!(["relaxed:{key}", "strict:{key}"]);
    let scene = Scene::start_on(&redis, 2, "clear", json!({ "get": reads(cache) })).await?;
    scene.get(0, CANARY).await?.good()?;
    ensure!(scene.get(1, CANARY).await?.good()?.mark.is_some(), "void: Redis is not used");
    let keys = redis.command(&["KEYS", "*"]).await?.list()?;
    ensure!(keys.len() > 2, "void: {keys:?}");
    for key in keys {
        let key = key.bytes()?;
        let dump = redis.command(&[b"DUMP".as_slice(), &key]).await?.bytes()?;
        for (place, bytes) in [("a key", &key), ("a value", &dump)] {
            let text = String::from_utf8_lossy(bytes);
            for word in [CANARY, "someone", "source", "structuredContent", "fetch", "relaxed", "strict"] {
                ensure!(!text.contains(word), "{word} stands in {place}: {text}");
            }
        }
        // Whatever Weir puts there goes by itself, but for the one mark by which it notices that Redis has lost what it held.
        if key == b"clear:{operations}m" {
            continue;
        }
        let ttl = redis.command(&[b"PTTL".as_slice(), &key]).await?.integer()?;
        ensure!(ttl > 0, "{} stays for ever", String::from_utf8_lossy(&key));
    }
    Ok(())
}

/// The keys under which values lie.
async fn values(redis: &PrivateRedis) -> Result<Vec<Vec<u8>>> {
    let keys = redis.command(&["KEYS", "damage:*}v"]).await?.list()?;
    keys.into_iter().map(standins::redis::Reply::bytes).collect()
}

async fn damage(scene: &Scene) -> Result<f64> {
    scene.fleet.metric(1, "weir_cache_damaged_total", "").await
}
