//! Who may have whose answers.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, stream};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use standins::redis::{PrivateRedis, RedisOptions};
use tests::Fleet;

use super::{Got, REDIS, Source, config, folder_with_keys, long, reads, redis_settings};

const CALLS: usize = 2000;
const KEYS: usize = 4;

/// Each read of the source has a number, so a number that two callers get is an answer that they share.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_shared_by_those_who_may_have_it_and_by_nobody_else() -> Result<()> {
    // Five subjects of each role; the first of them has two keys.
    let subjects: Vec<String> = (0..10).map(|number| format!("subject-{number}")).collect();
    let role = |subject: usize| if subject < 5 { "all" } else { "other" };
    let roles: [[&str; 1]; 2] = [["all"], ["other"]];
    let mut holders: Vec<(&str, &[&str])> =
        subjects.iter().enumerate().map(|(n, subject)| (subject.as_str(), &roles[n / 5][..])).collect();
    holders.push((&subjects[0], &roles[0]));
    let (dir, keys) = folder_with_keys(&holders)?;
    let redis = REDIS.get_or_try_init(|| PrivateRedis::start(RedisOptions::default())).await?;
    let source = Source::start().await?;
    let mut cache = long();
    let private = reads(cache.clone());
    cache["partition"] = json!("token");
    let token = reads(cache.clone());
    cache["partition"] = json!("shared");
    let tools = json!({ "private": private, "token": token, "shared": reads(cache) });
    let config = config(&source, &redis.url(), dir.path(), redis_settings("principals"), tools)?;
    let fleet = Arc::new(Fleet::start(3, dir, config).await?);

    let seed = rand::random::<u64>();
    println!("seed: {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let plan: Vec<_> = (0..CALLS)
        .map(|_| {
            let tool = ["private", "token", "shared"][random.random_range(0..3)];
            (random.random_range(0..keys.len()), tool, random.random_range(0..KEYS), random.random_range(0..3))
        })
        .collect();
    let keys = Arc::new(keys);
    let calls = stream::iter(plan).map(|(who, tool, key, replica)| {
        let (fleet, keys) = (fleet.clone(), keys.clone());
        async move {
            let arguments = json!({ "key": format!("k{key}") });
            let got =
                Got::of(&fleet.call(replica, &keys[who], &format!("source__{tool}"), arguments).await?)?.good()?;
            anyhow::Ok((who, tool, key, got.fetch.context("a number")?))
        }
    });
    let calls: Vec<_> = calls.buffer_unordered(24).collect().await;

    // Whose an answer is: by the subject, by the key that it shows, by the role.
    let (mut owners, mut fetches) = (HashMap::new(), HashMap::<_, HashSet<u64>>::new());
    for call in calls {
        let (who, tool, key, fetch) = call?;
        let subject = if who == 10 { 0 } else { who };
        let owner = match tool {
            "private" => format!("subject {subject}"),
            "token" => format!("key {who}"),
            _ => format!("role {}", role(subject)),
        };
        let place = (tool, key, owner);
        let before = owners.entry(fetch).or_insert_with(|| place.clone());
        ensure!(*before == place, "answer {fetch} of {before:?} was given to {place:?}");
        fetches.entry(place).or_default().insert(fetch);
    }
    let repeated: Vec<_> = fetches.iter().filter(|(_, fetches)| fetches.len() > 1).collect();
    ensure!(repeated.is_empty(), "fetched more than once: {repeated:?}");
    // 10 subjects, 11 keys, 2 roles.
    ensure!(fetches.len() == (10 + 11 + 2) * KEYS, "only {} of the answers were asked for", fetches.len());
    let reads = source.seen().all();
    ensure!(reads == fetches.len(), "{reads} reads for {} answers", fetches.len());
    ensure!((CALLS - reads) * 2 > CALLS, "void: {reads} of {CALLS} calls were not hits");
    Ok(())
}
