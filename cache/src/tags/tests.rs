//! Several replicas on a real Redis.

mod gone;
mod replication;
mod stories;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::FutureExt;
use secrecy::SecretString;
use standins::redis::{PrivateRedis, RedisOptions};

use super::{Check, Kind, Raised, Settled, Tag, TagGeneration, Tags, Unannounced};
use crate::redis::{self, LinkState, Redis};

const PATIENCE: Duration = Duration::from_secs(20);
const PENDING: Duration = Duration::from_secs(60);

struct Replica {
    redis: Redis,
    tags: Tags,
}

impl Replica {
    async fn start(kind: redis::Kind, url: String) -> Result<Self> {
        Self::start_with(kind, url, Duration::from_secs(2)).await
    }

    async fn start_with(kind: redis::Kind, url: String, command_timeout: Duration) -> Result<Self> {
        let redis = Redis::new(redis::Settings {
            kind,
            url: SecretString::from(url),
            prefix: "test".to_owned(),
            connect_timeout: Duration::from_secs(1),
            command_timeout,
            value_timeout: Duration::from_secs(5),
        })?;
        let replica = Self { tags: Tags::shared(redis.clone(), 1_000, command_timeout), redis };
        replica.until_settled().await?;
        Ok(replica)
    }

    async fn until_link(&self, state: LinkState) -> Result<()> {
        let mut changes = self.redis.link_changes();
        tokio::time::timeout(PATIENCE, changes.wait_for(|link| link.state == state)).await??;
        Ok(())
    }

    /// Redis is there, and relaxed tags need not be asked for.
    async fn until_settled(&self) -> Result<()> {
        self.until_link(LinkState::Up).await?;
        until("the view is trusted", async || self.trusts_its_view()).await
    }

    fn trusts_its_view(&self) -> bool {
        match &*self.tags.kind {
            Kind::Shared(shared) => shared.trusts_its_view(),
            Kind::Memory(_) => true,
        }
    }

    /// What an entry about `tags` would hold now.
    async fn store(&self, tags: &[Tag]) -> Result<Vec<TagGeneration>> {
        let before = self.tags.before(tags, &[]).await;
        Ok(self.tags.after(before, &[]).await.context("nothing may be stored")?.to_vec())
    }

    async fn check(&self, entry: &[TagGeneration]) -> Check {
        self.tags.check(entry).await
    }

    /// `None` if Redis would be asked.
    fn check_at_once(&self, entry: &[TagGeneration]) -> Option<Check> {
        self.tags.check(entry).now_or_never()
    }
}

async fn started(replicas: usize) -> Result<(PrivateRedis, Vec<Replica>)> {
    let server = PrivateRedis::start(RedisOptions { password: true, ..RedisOptions::default() }).await?;
    let mut all = Vec::new();
    for _ in 0..replicas {
        all.push(Replica::start(redis::Kind::Single, server.url()).await?);
    }
    Ok((server, all))
}

/// Redis need not be asked about `entry`.
async fn until_known(replica: &Replica, entry: &[TagGeneration]) -> Result<()> {
    let known =
        async || replica.check(entry).await == Check::Valid && replica.check_at_once(entry) == Some(Check::Valid);
    until("the view knows all tags", known).await
}

async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) -> Result<()> {
    let by = Instant::now() + PATIENCE;
    while !so().await {
        ensure!(Instant::now() < by, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn strict(name: &str) -> Tag {
    Tag::new(name, true)
}

fn relaxed(name: &str) -> Tag {
    Tag::new(name, false)
}

/// In memory, and shared by as many replicas as are given.
async fn both(replicas: usize) -> Result<(PrivateRedis, Vec<Vec<Replica>>)> {
    let (server, shared) = started(replicas).await?;
    let tags = Tags::in_memory(1_000);
    let alone = shared.iter().map(|replica| Replica { redis: replica.redis.clone(), tags: tags.clone() }).collect();
    Ok((server, vec![alone, shared]))
}

#[tokio::test]
async fn a_raised_strict_tag_is_seen_at_once_by_all() -> Result<()> {
    let (_server, cases) = both(3).await?;
    for replicas in cases {
        for round in 0..50 {
            let tags = [strict("account:1"), relaxed("weir:all")];
            let entry = replicas[round % 3].store(&tags).await?;
            for replica in &replicas {
                assert_eq!(replica.check(&entry).await, Check::Valid);
            }
            let raising = &replicas[(round + 1) % 3];
            assert_eq!(raising.tags.raise(&[strict("account:1")]).await, Raised::Everywhere);
            for replica in &replicas {
                assert_eq!(replica.check(&entry).await, Check::Moved, "round {round}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn relaxed_tags_are_checked_without_asking_and_moved_within_a_second() -> Result<()> {
    let (_server, replicas) = started(3).await?;
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        let (reader, writer) = (&replicas[round % 3], &replicas[(round + 1) % 3]);
        let entry = reader.store(&[relaxed("account:1"), relaxed("weir:all")]).await?;
        until_known(reader, &entry).await?;
        assert_eq!(writer.tags.raise(&[relaxed("account:1")]).await, Raised::Everywhere);
        let raised = Instant::now();
        assert_eq!(writer.check(&entry).await, Check::Moved, "its own raise counts at once");
        until("it has moved", async || reader.check(&entry).await == Check::Moved).await?;
        slowest = slowest.max(raised.elapsed());
    }
    ensure!(slowest < Duration::from_secs(1), "seen after {slowest:?}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_stored_while_a_write_is_under_way() -> Result<()> {
    let (_server, cases) = both(2).await?;
    for replicas in cases {
        let [writer, reader] = &replicas[..] else { unreachable!("two were started") };
        let (tag, template) = (strict("account:1"), strict("account:*"));
        let by_name = reader.tags.before(&[tag], &[]).await;
        let by_answer = reader.tags.before(&[], &[template]).await;
        let old = reader.tags.after(reader.tags.before(&[], &[template]).await, &[tag]).await.context("settled")?;
        assert!(by_name.storable() && by_answer.storable());

        let pending = writer.tags.begin(&[tag], &[template], PENDING).await?;
        assert_eq!(reader.check(&old).await, Check::Moved);
        let stored = reader.tags.after(by_name, &[]).await.context("it began before the write")?;
        assert_eq!(reader.check(&stored).await, Check::Moved, "dead when it lands");
        assert!(reader.tags.after(by_answer, &[tag]).await.is_none(), "the template has moved");
        assert!(!reader.tags.before(&[tag], &[]).await.storable());
        assert!(!reader.tags.before(&[], &[template]).await.storable());
        assert!(reader.tags.before(&[strict("account:2")], &[]).await.storable(), "another account");

        let during = reader.tags.before(&[strict("account:3")], &[]).await;
        pending.end(&[strict("account:3")], Settled::Yes).await;
        let named_by_its_answer = reader.tags.after(during, &[]).await.context("nobody knew")?;
        assert_eq!(reader.check(&named_by_its_answer).await, Check::Moved);
        assert_eq!(reader.check(&reader.store(&[tag]).await?).await, Check::Valid);
    }
    Ok(())
}

#[tokio::test]
async fn a_write_that_may_still_settle_stays_pending_and_so_does_one_that_was_dropped() -> Result<()> {
    let (_server, cases) = both(2).await?;
    for replicas in cases {
        let [writer, reader] = &replicas[..] else { unreachable!("two were started") };
        let pending = writer.tags.begin(&[strict("account:1")], &[], PENDING).await?;
        pending.end(&[], Settled::Unknown(Duration::from_millis(300))).await;
        assert!(!reader.tags.before(&[strict("account:1")], &[]).await.storable());
        until("it has settled", async || reader.tags.before(&[strict("account:1")], &[]).await.storable()).await?;

        let entry = reader.store(&[strict("account:1")]).await?;
        let pending = writer.tags.begin(&[strict("account:1")], &[], Duration::from_millis(300)).await?;
        let after_the_first_raise = reader.tags.before(&[strict("account:1")], &[]).await;
        drop(pending);
        assert_eq!(reader.check(&entry).await, Check::Moved);
        let known = after_the_first_raise.known.clone();
        until("it is raised again", async || reader.check(&known).await == Check::Moved).await?;
        assert!(!reader.tags.before(&[strict("account:1")], &[]).await.storable(), "its mark stays");
        until("its time is over", async || reader.tags.before(&[strict("account:1")], &[]).await.storable()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_lies_in_redis_is_bounded_and_names_nothing() -> Result<()> {
    let (server, replicas) = started(1).await?;
    let mut writes = Vec::new();
    for _ in 0..400 {
        writes.push(replicas[0].tags.begin(&[strict("customer:alice@example.com")], &[], PENDING).await?);
    }
    let keys = server.command(&["KEYS", "test:{tags}*"]).await?.list()?;
    let [key] = <[_; 1]>::try_from(keys).map_err(|keys| anyhow::anyhow!("{keys:?}"))?;
    let key = key.text()?;
    assert!(!key.contains("alice"), "{key}");
    let fields = server.command(&["HLEN", &key]).await?.integer()?;
    assert!(fields <= 258, "{fields} fields");
    let left_s = server.command(&["TTL", &key]).await?.integer()?;
    assert!(left_s > 24 * 60 * 60, "{left_s} s left");
    for write in writes {
        write.end(&[], Settled::Yes).await;
    }
    let fields = server.command(&["HLEN", &key]).await?.integer()?;
    assert_eq!(fields, 2, "the generation, and the mark that many shared");
    assert!(!replicas[0].tags.before(&[strict("customer:alice@example.com")], &[]).await.storable());
    Ok(())
}
