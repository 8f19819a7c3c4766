//! Replicas that share what they know of nonces, and the Redis it lies in.

use anyhow::{Result, ensure};
use serde_json::json;
use standins::{
    raw::RawServer,
    redis::{PrivateRedis, RedisOptions},
};
use tempfile::TempDir;
use tests::{Fleet, until};

use super::{
    call, calls, config, server,
    signer::{Answer, Signed, get},
};

struct Scene {
    fleet: Fleet,
    server: RawServer,
    redis: PrivateRedis,
}

impl Scene {
    async fn new() -> Result<Self> {
        let (server, dir, redis) =
            (server().await?, TempDir::new()?, PrivateRedis::start(RedisOptions::default()).await?);
        let mut config = config(&server, dir.path())?;
        tests::private_file(dir.path().join("redis_url"), redis.url())?;
        tests::private_file(dir.path().join("master"), "5d1e0c84b7f2a6934e08d17cb52f96a0c3e87b41f6d209ae")?;
        config["secrets"] = json!({ "master": { "file": "master" } });
        config["redis"] = json!({ "url": { "file": "redis_url" }, "command_timeout": "1s", "value_timeout": "2s" });
        let scene = Self { fleet: Fleet::start(2, dir, config).await?, server, redis };
        scene.signatures_count().await?;
        Ok(scene)
    }

    async fn send(&self, replica: usize, signed: &Signed) -> Result<Answer> {
        signed.send(self.fleet.address(replica)?).await
    }

    async fn signatures_count(&self) -> Result<()> {
        for replica in 0..self.fleet.len() {
            until("signatures count", async || {
                Ok((self.send(replica, &get("/v1/tools").sign()).await?.status == 200).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// A request that was taken.
    async fn used(&self) -> Result<Signed> {
        let signed = call("raw__work").sign();
        let answer = self.send(0, &signed).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(signed)
    }

    async fn refused_everywhere(&self, signed: &Signed) -> Result<()> {
        let before = calls(&self.server);
        for replica in 0..self.fleet.len() {
            let answer = self.send(replica, signed).await?;
            ensure!(answer.status == 401, "{answer:?}");
        }
        ensure!(calls(&self.server) == before);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_caught_counts_at_no_other_replica() -> Result<()> {
    let scene = Scene::new().await?;
    let signed = scene.used().await?;
    scene.refused_everywhere(&signed).await?;
    // Many at once, at both of them.
    let signed = call("raw__work").sign();
    let sending = (0..20).map(|at| scene.send(at % 2, &signed));
    let answers = futures_util::future::try_join_all(sending).await?;
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    ensure!(taken == 1 && calls(&scene.server) == 2, "{answers:?}");
    // Nobody reads of it in Redis who signs, or with what.
    let named = async |pattern: &str| {
        let script = "return #redis.call('KEYS', ARGV[1])";
        scene.redis.command(&["EVAL", script, "0", pattern]).await?.integer()
    };
    ensure!(named("*nonces*").await? >= 3);
    ensure!(named("*billing*").await? == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_before_redis_was_flushed_or_started_again_stays_refused() -> Result<()> {
    let mut scene = Scene::new().await?;
    let before_flush = scene.used().await?;
    scene.redis.command(&["FLUSHALL"]).await?;
    scene.refused_everywhere(&before_flush).await?;
    scene.signatures_count().await?;
    scene.refused_everywhere(&before_flush).await?;
    let before_end = scene.used().await?;
    scene.redis.restart_empty().await?;
    scene.signatures_count().await?;
    scene.refused_everywhere(&before_end).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_redis_that_knows_the_nonces_signed_requests_are_refused() -> Result<()> {
    let mut scene = Scene::new().await?;
    let used = scene.used().await?;
    scene.redis.kill().await?;
    scene.refused_everywhere(&used).await?;
    let new = call("raw__work").sign();
    let answer = scene.send(0, &new).await?;
    ensure!(answer.status == 401 && answer.body.contains("cannot be known now"), "{answer:?}");
    scene.refused_everywhere(&new).await?;
    ensure!(scene.fleet.metric(1, "weir_refused_total", "nonces_unknown").await? >= 1.0, "it says why");
    scene.redis.restart().await?;
    scene.signatures_count().await?;
    scene.refused_everywhere(&used).await
}
