//! Against a real cluster.

use standins::redis::RedisCluster;

use super::*;

const NAMES: std::ops::Range<u32> = 0..60;

async fn started() -> Result<(RedisCluster, Redis)> {
    let cluster = RedisCluster::start(3, RedisOptions { password: true, ..RedisOptions::default() }).await?;
    let redis = Redis::new(settings(Kind::Cluster, cluster.url()))?;
    until(&redis, LinkState::Up).await?;
    Ok((cluster, redis))
}

/// Writes and reads in slots of every server.
async fn use_all(redis: &Redis, value: &str) -> Result<()> {
    for name in NAMES.map(|number| number.to_string()) {
        assert_eq!(set(redis, &name, value.as_bytes()).await?, "set", "{name}");
        assert_eq!(get(redis, &name).await?.as_deref(), Some(value.as_bytes()), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn scripts_run_where_their_keys_are_and_follow_them() -> Result<()> {
    let (cluster, redis) = started().await?;
    use_all(&redis, "1").await?;
    let mut keys = 0;
    for node in &cluster.nodes {
        let held = node.command(&["DBSIZE"]).await?.integer()?;
        assert!(held > 0, "every server has some");
        keys += held;
        node.command(&["SCRIPT", "FLUSH"]).await?;
    }
    assert!(keys >= 60, "{keys}");

    // The slot of the key, as the cluster counts it.
    let slot = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "7"]).await?.integer()?;
    let slot = u16::try_from(slot)?;
    let from = cluster.holder_of(slot).await?;
    cluster.move_slot(slot, (from + 1) % 3).await?;
    use_all(&redis, "2").await?;
    assert!(redis.is_up());
    Ok(())
}

#[tokio::test]
async fn what_is_published_at_one_server_is_heard_from_another() -> Result<()> {
    let (cluster, redis) = started().await?;
    let mut messages = redis.messages();
    for (index, node) in cluster.nodes.iter().enumerate() {
        node.command(&["PUBLISH", "test:tags", &index.to_string()]).await?;
        assert_eq!(heard(&mut messages).await?, published(Channel::Tags, &index.to_string()));
    }
    for name in NAMES.map(|number| number.to_string()) {
        let key = redis.key(&name, "");
        let channel = redis.channel(Channel::Landed);
        redis.small::<u64>(&TELL, &[&key], &[channel.as_bytes(), name.as_bytes()]).await?;
        assert_eq!(heard(&mut messages).await?, published(Channel::Landed, &name));
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_lost_a_server_is_used_again_when_it_is_whole() -> Result<()> {
    let (mut cluster, redis) = started().await?;
    use_all(&redis, "1").await?;
    cluster.nodes[0].kill().await?;
    // Commands for it fail, each within its time, until the whole is given up.
    let by = Instant::now() + PATIENCE;
    while redis.is_up() {
        ensure!(Instant::now() < by, "still taken to be up");
        let asked = Instant::now();
        let answers = futures_util::future::join_all(NAMES.map(|number| async move { number.to_string() })).await;
        let answers = futures_util::future::join_all(answers.iter().map(|name| set(&redis, name, b"2"))).await;
        ensure!(asked.elapsed() < Duration::from_secs(3), "held for {:?}", asked.elapsed());
        drop(answers);
    }
    cluster.nodes[0].restart().await?;
    until(&redis, LinkState::Up).await?;
    let by = Instant::now() + PATIENCE;
    while use_all(&redis, "3").await.is_err() {
        ensure!(Instant::now() < by, "not used again");
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_paused_server_of_a_cluster_holds_nobody_beyond_the_time() -> Result<()> {
    let cluster = RedisCluster::start(3, RedisOptions::default()).await?;
    let command_timeout = Duration::from_millis(300);
    let redis = Redis::new(Settings { command_timeout, ..settings(Kind::Cluster, cluster.url()) })?;
    until(&redis, LinkState::Up).await?;
    use_all(&redis, "1").await?;
    cluster.nodes[1].pause().await?;
    let by = Instant::now() + PATIENCE;
    while redis.is_up() {
        ensure!(Instant::now() < by, "still taken to be up");
        for name in NAMES.map(|number| number.to_string()) {
            let asked = Instant::now();
            let _ = get(&redis, &name).await;
            ensure!(asked.elapsed() < command_timeout * 3, "held for {:?}", asked.elapsed());
        }
        tokio::time::sleep(BETWEEN).await;
    }
    cluster.nodes[1].resume().await?;
    let by = Instant::now() + PATIENCE;
    while use_all(&redis, "2").await.is_err() {
        ensure!(Instant::now() < by, "not used again: {:?}", redis.link());
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_of_which_a_seed_is_gone_is_found_through_the_others() -> Result<()> {
    let (cluster, _) = started().await?;
    let url = format!("redis://127.0.0.1:1,{}", cluster.url());
    let redis = Redis::new(settings(Kind::Cluster, url))?;
    let link = until(&redis, LinkState::Up).await?;
    assert_eq!(link.reason, None);
    Ok(())
}
