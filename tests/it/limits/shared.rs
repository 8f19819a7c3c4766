//! What all replicas count as one: real processes on one real Redis.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use standins::{
    raw::RawServer,
    redis::{PrivateRedis, RedisOptions},
};
use tests::Fleet;
use tokio::{sync::watch, task::JoinSet};

use super::{config, ensure_bites, key, refused_by, server, write_holders};

/// What all replicas derive their keys from.
const MASTER: &str = "0c6a1f0e5b7d43928de1704bb9a3c25f6681d7f0a94e23bc";

/// Replicas that count together.
pub(super) struct Together {
    pub(super) fleet: Fleet,
    pub(super) server: RawServer,
    keys: Vec<String>,
}

/// Puts a Redis into a config. It has more time than one beside the replicas needs: all of them share two busy cores here.
pub(super) fn with_redis(config: &mut Value, dir: &Path, url: &str) -> Result<()> {
    tests::private_file(dir.join("redis_url"), url)?;
    tests::private_file(dir.join("master"), MASTER)?;
    config["secrets"] = json!({ "master": { "file": "master" } });
    config["redis"] = json!({ "url": { "file": "redis_url" }, "command_timeout": "1s", "value_timeout": "2s" });
    Ok(())
}

impl Together {
    pub(super) async fn start(redis: &PrivateRedis, replicas: usize, limits: Value) -> Result<Self> {
        let (server, dir) = (server().await?, tempfile::tempdir()?);
        let keys = write_holders(dir.path())?;
        let mut config = config(&server, limits);
        with_redis(&mut config, dir.path(), &redis.url())?;
        let fleet = Fleet::start(replicas, dir, config).await?;
        Ok(Self { fleet, server, keys })
    }

    /// Whether a call at one replica is let through; else the name of what refuses it.
    pub(super) async fn tries(&self, replica: usize, who: &str, tool: &str) -> Result<Option<String>> {
        refused_by(&self.fleet.call(replica, key(&self.keys, who), &format!("raw__{tool}"), json!({})).await?)
    }

    /// The status of a call by the plain API.
    pub(super) async fn plain(&self, replica: usize, who: &str, tool: &str) -> Result<tests::Answer> {
        let body = json!({ "name": format!("raw__{tool}") }).to_string();
        self.fleet.plain(replica, key(&self.keys, who), body).await
    }

    fn calls(&self) -> usize {
        self.server.received().iter().filter(|message| message.tool().is_some()).count()
    }
}

/// How many commands a Redis has carried out.
pub(super) async fn commands(redis: &PrivateRedis) -> Result<u64> {
    Ok(redis.info("total_commands_processed").await?.parse()?)
}

/// Calls at all replicas from so many tasks for a while; gives how many were let through, and how many refused, and how long it took.
async fn saturate(scene: &Arc<Together>, tasks: usize, period: Duration) -> Result<(usize, usize, Duration)> {
    let (began, mut callers) = (Instant::now(), JoinSet::new());
    for number in 0..tasks {
        let scene = scene.clone();
        callers.spawn(async move {
            let (mut admitted, mut refused) = (0, 0);
            while began.elapsed() < period {
                match scene.tries(number % scene.fleet.len(), "ann", "get").await? {
                    None => admitted += 1,
                    Some(name) => {
                        ensure!(name == "all-together", "{name}");
                        refused += 1;
                    }
                }
            }
            Ok((admitted, refused))
        });
    }
    let (mut admitted, mut refused) = (0, 0);
    while let Some(caller) = callers.join_next().await {
        let (one, other) = caller??;
        admitted += one;
        refused += other;
    }
    Ok((admitted, refused, began.elapsed()))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_let_through_as_much_as_one_limit_allows_also_when_redis_forgets_the_script() -> Result<()> {
    let limits = json!([{ "name": "all-together", "per": "tenant", "rate": "10/s", "burst": 20 }]);
    let redis = Arc::new(PrivateRedis::start(RedisOptions::default()).await?);
    let scene = Arc::new(Together::start(&redis, 3, limits).await?);
    let (told, forgotten) = watch::channel(0);
    let forgets = {
        let redis = redis.clone();
        tokio::spawn(async move {
            for forgotten in 0.. {
                redis.command(&["SCRIPT", "FLUSH"]).await?;
                told.send_replace(forgotten);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            anyhow::Ok(())
        })
    };
    let (admitted, refused, took) = saturate(&scene, 24, Duration::from_secs(4)).await?;
    ensure!(*forgotten.borrow() > 3 && !forgets.is_finished(), "it forgot too seldom");
    forgets.abort();
    let most = 20.0 + 10.0 * took.as_secs_f64() + 1.0;
    ensure!((admitted as f64) <= most, "{admitted} of at most {most:.1} in {took:?}");
    // So slow that a busy machine calls more often than that.
    ensure!((admitted as f64) >= 0.95 * (20.0 + 10.0 * 4.0), "{admitted} in {took:?}");
    ensure_bites(refused)?;
    ensure!(scene.calls() == admitted, "{} came to the server", scene.calls());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_is_refused_hardly_costs_redis_a_command() -> Result<()> {
    let limits = json!([{ "name": "all-together", "per": "caller", "rate": "10/d" }]);
    let redis = PrivateRedis::start(RedisOptions::default()).await?;
    let scene = Arc::new(Together::start(&redis, 3, limits).await?);
    for _ in 0..10 {
        ensure!(scene.tries(0, "ann", "get").await?.is_none());
    }
    let (before, began) = (commands(&redis).await?, Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = (commands(&redis).await? - before) as f64 / began.elapsed().as_secs_f64();
    let (before, began) = (commands(&redis).await?, Instant::now());
    let (admitted, refused, _) = saturate(&scene, 12, Duration::from_secs(3)).await?;
    let flooded = (commands(&redis).await? - before) as f64 / began.elapsed().as_secs_f64();
    ensure!(admitted == 0 && refused > 300, "{admitted} {refused}");
    let more = flooded - idle;
    ensure!(more <= 50.0, "{idle:.0} commands in a second, {flooded:.0} while {refused} calls were refused");
    ensure!(scene.tries(0, "bob", "get").await?.is_none(), "others are not concerned");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_of_each_replica_sees_the_same_count() -> Result<()> {
    let limits = json!([{ "name": "all-together", "per": "tenant", "rate": "10/d" }]);
    let redis = PrivateRedis::start(RedisOptions::default()).await?;
    let scene = Together::start(&redis, 2, limits).await?;
    for (replica, who) in [(0, "ann"), (1, "bob"), (0, "eve")] {
        ensure!(scene.tries(replica, who, "get").await?.is_none());
    }
    let asked = json!({ "tool": "raw__get", "as": { "subject": "ann", "tenant": "acme", "roles": ["support"] } });
    for replica in 0..2 {
        let answer = scene.fleet.admin(replica, Method::POST, "/admin/explain", &asked.to_string()).await?.json()?;
        let left = answer["limits"][0]["left"].as_u64().with_context(|| answer.to_string())?;
        ensure!(left == 7, "{left} at {replica}");
    }
    Ok(())
}
