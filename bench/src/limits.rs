//! Limits under load: that they are exact over several routers, that who is over one costs nobody else anything, and what being counted costs.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use standins::{
    mcp::{McpOptions, McpServer, Running},
    redis::{PrivateRedis, RedisOptions},
};

use crate::{
    Extent,
    compare::{Way, compare},
    judge::Judge,
    load::{Kind, Load, Paced, Samples, Target},
    monitor::{Command, Monitor, most_changed, most_within_a_second},
    weir::{Keys, Start, Weir, with_redis},
};

const REPLICAS: usize = 3;
/// At each of them.
const CONNECTIONS: usize = 64;
const RATE: usize = 100;
const BURST: usize = 50;

/// How often the one asks who has long been over its limit, and how often the others.
const FLOOD: f64 = 5_000.0;
const OTHERS: f64 = 200.0;

/// Runs both: a limit that many routers share, and a flood that it refuses.
pub(crate) async fn run(extent: Extent) -> Result<()> {
    let scene = Scene::start().await?;
    let mut judge = Judge::new(extent.is_short);
    scene.exact(extent.period(60, 5), &mut judge).await?;
    scene.flood(extent.period(30, 5), &mut judge).await?;
    judge.finish()
}

/// A tool whose answers are in every router's memory, so that a call costs little but being counted.
struct Scene {
    redis: PrivateRedis,
    server: Running,
}

impl Scene {
    async fn start() -> Result<Self> {
        let server = McpServer::new(McpOptions::default()).http("127.0.0.1:0").await?;
        Ok(Self { redis: PrivateRedis::start(RedisOptions::default()).await?, server })
    }

    fn config(&self, limits: &Value) -> Value {
        json!({
            "downstreams": {
                "kept": {
                    "mcp": { "http": { "url": self.server.url } },
                    "expose": "listed",
                    "effects": [{ "match": "*", "effect": "read" }],
                    "tools": { "get_merchant": { "cache": { "fresh_for": "1h" } } },
                },
            },
            "limits": limits,
        })
    }

    async fn replicas(&self, config: &Value, keys: Option<&Keys>) -> Result<Vec<Weir>> {
        let start = Start { keys, ..Start::default() };
        let replicas = try_join_all((0..REPLICAS).map(|_| with_redis(config, &self.redis, start))).await?;
        try_join_all(replicas.iter().map(|weir| weir.until_tools(1))).await?;
        Ok(replicas)
    }

    /// All ask as fast as they can for one caller, whose limit is `RATE` a second.
    async fn exact(&self, period: Duration, judge: &mut Judge) -> Result<()> {
        println!(
            "{RATE}/s with a burst of {BURST}; {REPLICAS} routers, {CONNECTIONS} connections at each, for {} s",
            period.as_secs()
        );
        let limits = json!([{ "name": "steady", "per": "caller", "rate": format!("{RATE}/s"), "burst": BURST }]);
        let replicas = self.replicas(&self.config(&limits), None).await?;
        let targets: Vec<_> = replicas.iter().map(|weir| merchant(&weir.endpoint)).collect::<Result<_>>()?;
        self.fill(&targets).await?;
        let monitor = Monitor::start(self.redis.addr()).await?;
        let load = Load { connections: REPLICAS * CONNECTIONS, period, obedient: false };
        let samples = load.during(&targets).await?;
        let commands = monitor.stop().await?;
        let admitted = samples.count(Kind::Right);
        let (_, times) = most_changed(&commands).unwrap_or_default();
        println!(
            "{} calls: {admitted} let through, {} refused; Redis ran {} commands, {} of them in scripts let calls through",
            samples.len(),
            samples.count(Kind::Refused),
            commands.len(),
            times.len()
        );
        judge.bit("there was more to refuse than to let through", samples.count(Kind::Refused) > admitted);
        judge.holds(
            format!("every answer was the right one or a refusal: {} were not", samples.count(Kind::Wrong)),
            samples.count(Kind::Wrong) == 0,
        );
        judge.bit(format!("Redis counted each of them: {}", times.len()), times.len() == admitted);
        let most = (BURST + 1) as f64 + RATE as f64 * samples.last(Kind::Right).unwrap_or_default().as_secs_f64();
        judge.holds(format!("{admitted} let through, at most {most:.1}"), admitted as f64 <= most);
        let least = 0.995 * (BURST as f64 + RATE as f64 * period.as_secs_f64());
        judge.in_time(format!("{admitted} let through, at least {least:.1}"), admitted as f64 >= least);
        let worst = most_within_a_second(&times);
        judge.holds(
            format!("{worst} within the worst second of Redis, at most {}", BURST + RATE + 1),
            worst <= BURST + RATE + 1,
        );
        Ok(())
    }

    /// One caller far over its limit, beside others within theirs.
    async fn flood(&self, period: Duration, judge: &mut Judge) -> Result<()> {
        println!("one caller over its limit asks {FLOOD}/s, others {OTHERS}/s, for {} s", period.as_secs());
        let limits = json!([
            { "name": "own", "per": "caller", "match": "kept__get_merchant", "rate": "500/s", "burst": 1_000 },
            { "name": "few", "per": "role", "role": "flooding", "rate": "60/m", "burst": 10 },
        ]);
        let keys = Keys::of(&[("other", &["all"]), ("flood", &["all", "flooding"])])?;
        let replicas = self.replicas(&self.config(&limits), Some(&keys)).await?;
        let asked_by = |key: usize| -> Result<Vec<Target>> {
            replicas.iter().map(|weir| Ok(merchant(&weir.endpoint)?.with_key(&keys.keys[key]))).collect()
        };
        let (others, flood) = (asked_by(0)?, asked_by(1)?);
        self.fill(&others).await?;
        let paced = Paced { rate: OTHERS, connections: 24, period };
        // A run that does not count, so that the first one has no colder machine than the second.
        Paced { period: period / 5, ..paced }.run(&others).await?;
        let alone = paced.run(&others).await?;
        let key = self.key_of(&flood).await?;
        let monitor = Monitor::start(self.redis.addr()).await?;
        let flooding = Paced { rate: FLOOD, connections: 96, period };
        let (flood, beside) = tokio::try_join!(flooding.run(&flood), paced.run(&others))?;
        let commands = monitor.stop().await?;
        judge_flood(&Flood { alone, beside, flood, commands, key, period }, judge);
        Ok(())
    }

    /// Each replica has the answer afterwards, and every limit is as it was.
    async fn fill(&self, targets: &[Target]) -> Result<()> {
        for target in targets {
            target.connect().await?.hear().await?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    /// The key of the limit that only they come to, by what their calls change in Redis.
    async fn key_of(&self, targets: &[Target]) -> Result<Vec<String>> {
        let monitor = Monitor::start(self.redis.addr()).await?;
        for target in targets {
            target.connect().await?.hear().await?;
        }
        let commands = monitor.stop().await?;
        let mut keys: Vec<String> = commands.iter().filter_map(Command::changed).map(str::to_owned).collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}

struct Flood {
    alone: Samples,
    beside: Samples,
    flood: Samples,
    commands: Vec<Command>,
    /// Those of the caller that floods.
    key: Vec<String>,
    period: Duration,
}

fn judge_flood(seen: &Flood, judge: &mut Judge) {
    let seconds = seen.period.as_secs_f64();
    let refused = seen.flood.count(Kind::Refused) as f64 / seconds;
    println!("refused {refused:.0}/s, p99 {:.2} ms", seen.flood.latency_ms(Kind::Refused, 0.99));
    judge.bit(format!("a flood was refused: {refused:.0}/s of {FLOOD}/s"), refused >= 0.9 * FLOOD);
    let asked = seen.commands.iter().filter(|command| seen.key.iter().any(|key| command.asks_about(key))).count();
    let asked = asked as f64 / seconds;
    judge.bit("its limit lies in Redis", !seen.key.is_empty() && asked > 0.0);
    judge.holds(format!("Redis was asked about it {asked:.1} times a second, at most 50"), asked <= 50.0);
    let others = seen.beside.len() - seen.beside.count(Kind::Right);
    judge.holds(format!("nobody else was refused anything: {others} were"), others == 0);
    let [alone, beside] = [&seen.alone, &seen.beside].map(|samples| samples.latency_ms(Kind::Right, 0.99));
    judge.in_time(
        format!("p99 of the others {beside:.2} ms beside it and {alone:.2} ms without, at most 2 ms more"),
        beside <= alone + 2.0,
    );
}

/// What being counted costs a call that is answered out of memory: the least that a call can cost.
pub(crate) async fn cost(load: &Load, extent: Extent) -> Result<()> {
    let scene = Scene::start().await?;
    // As many as one call usually comes to, none of them ever full.
    let limit = |name: &str, per: &str| json!({ "name": name, "per": per, "rate": "100000/s" });
    let limits = json!([limit("each", "caller"), limit("each-tool", "caller_tool"), limit("tenants", "tenant")]);
    let (free, counted) = (scene.config(&json!([])), scene.config(&limits));
    let routers = [
        Weir::start(&free).await?,
        Weir::start(&counted).await?,
        with_redis(&free, &scene.redis, Start::default()).await?,
        with_redis(&counted, &scene.redis, Start::default()).await?,
    ];
    try_join_all(routers.iter().map(|weir| weir.until_tools(1))).await?;
    let names = ["a hit, no limits", "a hit, 3 limits", "a hit, Redis, no limits", "a hit, Redis, 3 limits"];
    let ways = names.iter().zip(&routers).map(|(name, weir)| Way::new(name, &weir.endpoint, "kept__get_merchant"));
    let monitor = Monitor::start(scene.redis.addr()).await?;
    let wrong = compare(load, &ways.collect::<Result<Vec<_>>>()?).await?;
    let commands = monitor.stop().await?;
    let mut judge = Judge::new(extent.is_short);
    judge.bit("Redis counted", most_changed(&commands).is_some_and(|(_, times)| times.len() > 100));
    judge.holds(format!("every answer was right: {wrong} were not"), wrong == 0);
    judge.finish()
}

fn merchant(url: &str) -> Result<Target> {
    Target::call(url, "kept__get_merchant", &json!({ "merchant_id": "M-0001" }), "M-0001")
}
