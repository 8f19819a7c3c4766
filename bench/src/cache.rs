//! What the cache is worth: each of its ways beside calling the downstream directly, in one run.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    mcp::{McpOptions, McpServer, Tools},
    redis::{PrivateRedis, RedisOptions},
};
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    compare::{ROUNDS, Way, compare},
    load::{Load, Target},
    weir::{Start, Weir, with_redis},
};

/// Two, of each of the three downstreams.
const TOOLS: usize = 6;
/// Who wants the same at once.
const CALLERS: usize = 100;
/// How long the downstream takes for it.
const SLOW_MS: usize = 500;

/// Runs all cells of the cache.
pub(crate) async fn run(load: &Load) -> Result<()> {
    let server = McpServer::new(McpOptions { tools: Tools::Awkward, ..McpOptions::default() });
    let http = server.http("127.0.0.1:0").await?;
    let redis = PrivateRedis::start(RedisOptions::default()).await?;
    let direct = Way::new("directly", &http.url, "get_merchant")?;
    let alone = Weir::start(&config(&http.url)).await?;
    let sharing = sharing(&http.url, &redis, direct.longest_answer().await?).await?;
    alone.until_tools(TOOLS).await?;
    sharing.until_tools(TOOLS).await?;
    let ways = [
        direct,
        Way::new("not cached", &alone.endpoint, "plain__get_merchant")?,
        Way::new("a hit in the process", &alone.endpoint, "kept__get_merchant")?,
        Way::new("a hit in Redis", &sharing.endpoint, "kept__get_merchant")?,
        Way::new("stale, fetched behind", &alone.endpoint, "stale__get_merchant")?,
    ];
    compare(load, &ways).await?;
    come_together(&server, &http.url, &sharing).await
}

/// Three downstreams that are one server: not cached, kept, and stale as soon as it is there.
fn config(url: &str) -> Value {
    let downstream = |cache: Option<Value>| {
        let tool = cache.map_or_else(|| json!({}), |cache| json!({ "cache": cache }));
        json!({
            "mcp": { "http": { "url": url } },
            "expose": "listed",
            "effects": [{ "match": "*", "effect": "read" }],
            "tools": { "get_merchant": tool, "slow": tool },
        })
    };
    json!({
        "downstreams": {
            "plain": downstream(None),
            "kept": downstream(Some(json!({ "fresh_for": "1h" }))),
            "stale": downstream(Some(json!({ "fresh_for": "1ms", "stale_while_refreshing": "1h" }))),
        },
    })
}

/// A router whose process holds nothing, so that every hit is one in Redis: an answer is no larger than what may be stored, but with its times and
/// tags larger than what memory may hold.
async fn sharing(url: &str, redis: &PrivateRedis, answer_bytes: usize) -> Result<Weir> {
    let mut config = config(url);
    let bytes_max = format!("{answer_bytes}B");
    config["cache"] = json!({ "local_bytes_max": bytes_max, "value_bytes_max": bytes_max });
    with_redis(&config, redis, Start::default()).await
}

/// A hundred callers want the same at the same moment, and nobody has it yet.
async fn come_together(server: &McpServer, direct: &str, weir: &Weir) -> Result<()> {
    println!("{CALLERS} callers want the same of a tool that takes {SLOW_MS} ms, {ROUNDS} times");
    for round in 1..=ROUNDS {
        // Arguments that nobody has asked with yet.
        let ms = SLOW_MS + round;
        let ask = |url: &str, name: &str| Target::call(url, name, &json!({ "ms": ms }), &format!("after {ms} ms"));
        let once = at_once(&ask(direct, "slow")?, 1).await?;
        let before = server.seen().called("slow");
        let together = at_once(&ask(&weir.endpoint, "kept__slow")?, CALLERS).await?;
        let fetched = server.seen().called("slow") - before;
        println!(
            "round {round}: {fetched} call to the downstream; the slowest caller had its answer after {:.0} ms, {:.2} x one direct call",
            together.as_secs_f64() * 1000.0,
            together.as_secs_f64() / once.as_secs_f64()
        );
    }
    Ok(())
}

/// How long the slowest of so many callers waits, each on a connection of its own.
async fn at_once(target: &Target, callers: usize) -> Result<Duration> {
    let all_there = Arc::new(Barrier::new(callers));
    let mut asking = JoinSet::new();
    for _ in 0..callers {
        let mut connection = target.connect().await?;
        let all_there = all_there.clone();
        asking.spawn(async move {
            all_there.wait().await;
            let asked = Instant::now();
            let answer = connection.ask().await?;
            ensure!(connection.is_right(&answer), "a wrong answer: {}", String::from_utf8_lossy(&answer));
            anyhow::Ok(asked.elapsed())
        });
    }
    let mut slowest = Duration::ZERO;
    while let Some(asked) = asking.join_next().await {
        slowest = slowest.max(asked.context("a caller panicked")??);
    }
    Ok(slowest)
}
