//! With users who may do some things and not others.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use standins::redis::{PrivateRedis, RedisCluster, RedisOptions};

use super::{Kind, LinkState, Redis, get, set, settings, until, until_down_for};
use crate::tags::{Check, Raised, Settled, Tag, Tags};

/// What the docs tell operators to write.
fn documented() -> Result<Vec<&'static str>> {
    let docs = include_str!("../../../../docs/caching.md");
    let line = docs.lines().find(|line| line.starts_with("ACL SETUSER weir ")).context("the docs name the rights")?;
    Ok(line.split(' ').collect())
}

async fn as_user(server: &PrivateRedis) -> Result<Redis> {
    let settings = settings(Kind::Single, format!("redis://weir:password@{}", server.addr()));
    Ok(Redis::new(super::Settings { prefix: "weir".to_owned(), ..settings })?)
}

#[tokio::test]
async fn the_rights_that_the_docs_name_are_enough() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    server.command(&documented()?).await?;
    let redis = as_user(&server).await?;
    until(&redis, LinkState::Up).await?;
    let tags = Tags::shared(redis.clone(), 1_000, Duration::from_millis(100));
    let strict = [Tag::new("limit:1", true)];
    let before = tags.before(&strict, &[]).await;
    let known = tags.after(before, &[]).await.context("nothing moved")?;
    ensure!(tags.check(&known).await == Check::Valid);
    let pending = tags.begin(&strict, &[], Duration::from_secs(1)).await?;
    ensure!(pending.end(&[], Settled::Yes).await == Raised::Everywhere);
    ensure!(tags.check(&known).await == Check::Moved);
    ensure!(redis.is_up());
    Ok(())
}

#[tokio::test]
async fn a_cluster_and_a_database_of_its_own_need_a_few_more() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    server.command(&[documented()?, vec!["+select"]].concat()).await?;
    let url = format!("redis://weir:password@{}/1", server.addr());
    until(&Redis::new(super::Settings { prefix: "weir".to_owned(), ..settings(Kind::Single, url) })?, LinkState::Up)
        .await?;

    let cluster = RedisCluster::start(3, RedisOptions::default()).await?;
    for node in &cluster.nodes {
        node.command(&[documented()?, vec!["+cluster|slots", "+asking", "+ping"]].concat()).await?;
    }
    let url = format!("redis://weir:password@{}", cluster.nodes[0].addr());
    let redis = Redis::new(super::Settings { prefix: "weir".to_owned(), ..settings(Kind::Cluster, url) })?;
    until(&redis, LinkState::Up).await?;
    let slot = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "7"]).await?.integer()?;
    for round in ["1", "2"] {
        for name in (0..30).map(|name| name.to_string()) {
            ensure!(set(&redis, &name, round.as_bytes()).await? == "set");
            ensure!(get(&redis, &name).await?.as_deref() == Some(round.as_bytes()));
        }
        let slot = u16::try_from(slot)?;
        let from = cluster.holder_of(slot).await?;
        cluster.move_slot(slot, (from + 1) % 3).await?;
    }
    ensure!(redis.is_up());
    Ok(())
}

#[tokio::test]
async fn each_right_that_is_missing_is_named_before_anything_relies_on_it() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let words = documented()?;
    let commands: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix('+')).collect();
    ensure!(commands.len() > 15);
    for command in commands {
        server.command(&words).await?;
        server.command(&["ACL", "SETUSER", "weir", &format!("-{command}")]).await?;
        let redis = as_user(&server).await?;
        until_down_for(&redis, &format!("may not run {}:", command.to_ascii_uppercase())).await?;
        ensure!(!redis.is_up(), "{command}");
        server.command(&["ACL", "SETUSER", "weir", &format!("+{command}")]).await?;
        until(&redis, LinkState::Up).await?;
    }
    for (rights, told) in [("resetkeys", "may not use the keys"), ("resetchannels", "may not run PUBLISH")] {
        server.command(&words).await?;
        server.command(&["ACL", "SETUSER", "weir", rights]).await?;
        until_down_for(&as_user(&server).await?, told).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_noticed() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    server.command(&documented()?).await?;
    let redis = as_user(&server).await?;
    until(&redis, LinkState::Up).await?;
    for (command, told) in [("info", "INFO"), ("evalsha", "EVALSHA")] {
        server.command(&["ACL", "SETUSER", "weir", &format!("-{command}")]).await?;
        until_down_for(&redis, &format!("may not run {told}:")).await?;
        server.command(&["ACL", "SETUSER", "weir", &format!("+{command}")]).await?;
        until(&redis, LinkState::Up).await?;
    }
    Ok(())
}

#[test]
fn what_scripts_run_is_tried_before() {
    let commands = |source: &'static str| {
        let calls = source.split("redis.call('").chain(source.split("redis.pcall('")).chain(source.split("try('"));
        calls
            .filter_map(|rest| rest.split_once('\''))
            .map(|(command, _)| command)
            .filter(|command| command.len() > 2 && command.bytes().all(|byte| byte.is_ascii_uppercase()))
    };
    let tried: BTreeSet<&str> = commands(include_str!("../probe.lua")).collect();
    let sources = [
        include_str!("../../ledger/remote.rs"),
        include_str!("../../limits/admit.lua"),
        include_str!("../../limits/beat.lua"),
        include_str!("../../limits/release.lua"),
        include_str!("../../limits/renew.lua"),
        include_str!("../../tags/beat.lua"),
        include_str!("../../tags/raise.lua"),
        include_str!("../../tags/read.lua"),
        include_str!("../../store/scripts.rs"),
        include_str!("../../pages.rs"),
    ];
    let run: BTreeSet<&str> = sources.into_iter().flat_map(commands).collect();
    assert_eq!(tried, run);
}
