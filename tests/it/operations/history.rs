//! Histories of writes under every fault of the network, with and without keys, at one router and at three of which some are killed.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, stream};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use standins::{
    postgres::{PgOptions, PrivatePg},
    proxy::{Chance, Fault, FaultProxy},
};
use tests::{Ask, Counts, Fleet, History, TestRouter, Told};
use tokio_postgres::NoTls;

use super::{CREATE, Scene, ask, create, record, status, with_key};

/// How many calls of one history run at once.
const AT_ONCE: usize = 12;
/// How often a caller repeats a write with a key before it gives up.
const REPEATS_MAX: usize = 4;

/// One writer: a write with a key is repeated until it is done or in doubt.
async fn write<F: Future<Output = Result<Option<Value>>>>(
    history: &Mutex<History>,
    title: &str,
    has_key: bool,
    call: impl Fn() -> F,
) -> Result<()> {
    for _ in 0..if has_key { REPEATS_MAX } else { 1 } {
        // Whoever loses the connection to Weir itself was told nothing.
        let told = call().await?.map_or(Told::Doubt { operation: None }, |result| Told::of(&result));
        history.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.note(title, told.clone());
        let is_last = matches!(told, Told::Done);
        if is_last {
            break;
        }
    }
    Ok(())
}

/// So many writes at one router, each asked for by its title.
async fn at_one(router: &TestRouter, name: &str, writes: usize, asked: fn(&str) -> Ask) -> Result<History> {
    let history = Mutex::new(History::default());
    let writers = (0..writes).map(|number| {
        let (history, title, has_key) = (&history, format!("{name}-{number}"), number % 2 == 0);
        async move {
            let call = || async {
                let plain = asked(&title);
                ask(router, &if has_key { with_key(plain, &title) } else { plain }).await.map(Some)
            };
            write(history, &title, has_key, call).await
        }
    });
    let ended: Vec<Result<()>> = stream::iter(writers).buffer_unordered(AT_ONCE).collect().await;
    ended.into_iter().collect::<Result<()>>()?;
    history.into_inner().map_err(|_| anyhow::anyhow!("poisoned"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_leaves_a_history_that_was_told_right() -> Result<()> {
    const WRITES: usize = 30;
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    for (number, fault) in Fault::EXCHANGE.into_iter().enumerate() {
        let looks = number % 2 == 0;
        let scene = Scene::new(false).await?;
        let router = scene.router(looks, |_| {}).await?;
        scene.proxy.set_chance(Chance { faults: vec![fault], percent: 40, seed })?;
        let history = at_one(&router, &fault.to_string(), WRITES, create).await?;
        scene.proxy.set(Fault::Pass).await?;
        ensure!(scene.proxy.stats().bitten_by(fault) > 0, "void: {fault}");
        let created = scene.created();
        let counts = history.check(&created).with_context(|| format!("{fault}, seed {seed}"))?;
        println!("{fault}, {}: {counts:?}", if looks { "looking" } else { "not looking" });
        for (write, operation) in history.in_doubt() {
            let record = record(&router, &json!(operation)).await?;
            ensure!(record["outcome"] == "outcome_unknown", "{fault}, seed {seed}, {write}: {record}");
            let state = status(&router, &json!(operation)).await?["state"].clone();
            let done = created.contains_key(&write);
            ensure!(state == "unknown" || (state == "done" && done), "{fault}, seed {seed}, {write}: {state}");
            ensure!(!looks || !done || state == "done", "{fault}, seed {seed}, {write}: it is there, and not found");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_silent_network_leaves_a_history_that_was_told_right() -> Result<()> {
    const WRITES: usize = 20;
    const SLOW: [Fault; 4] = [
        Fault::Blackhole,
        Fault::Latency(Duration::from_millis(1100)),
        Fault::Bandwidth { bytes_per_s: 200 },
        Fault::Trickle { every: Duration::from_millis(20) },
    ];
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    for fault in SLOW {
        let scene = Scene::new(false).await?;
        let router = scene.router(false, |_| {}).await?;
        scene.proxy.set_chance(Chance { faults: vec![fault], percent: 40, seed })?;
        let history = at_one(&router, &fault.to_string(), WRITES, create).await?;
        // What is held back must not arrive later.
        scene.proxy.reset_connections();
        ensure!(scene.proxy.stats().bitten_by(fault) > 0, "void: {fault}");
        let counts = history.check(&scene.created()).with_context(|| format!("{fault}, seed {seed}"))?;
        println!("{fault}: {counts:?}");
    }
    let scene = Scene::new(false).await?;
    let router = scene.router(false, |_| {}).await?;
    scene.proxy.set(Fault::Refuse).await?;
    scene.proxy.reset_connections();
    let refused = at_one(&router, "refused", WRITES, create).await?.check(&scene.created())?;
    ensure!(refused.done == 0 && refused.not_made >= WRITES / 2, "{refused:?}");
    scene.proxy.set(Fault::Pass).await?;
    tests::until("the service is there again", async || {
        Ok((ask(&router, &Ask::call("tickets__get_ticket", json!({ "id": "SUP-1" }))).await?["isError"] != true)
            .then_some(()))
    })
    .await?;
    // The same keys again: whatever was not sent is made now.
    let again = at_one(&router, "refused", WRITES, create).await?.check(&scene.created())?;
    ensure!(again.done >= WRITES / 2, "{again:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_on_the_way_to_a_database_leaves_a_history_that_was_told_right() -> Result<()> {
    const WRITES: usize = 24;
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let server = PrivatePg::start(PgOptions { tcp: true, ..PgOptions::default() }).await?;
    let (database, connection) = tokio_postgres::connect(server.url(), NoTls).await?;
    tokio::spawn(connection);
    // Nothing here refuses a write that comes twice: it would be counted twice.
    database.batch_execute("CREATE TABLE written (operation text)").await?;
    for fault in Fault::EXCHANGE.into_iter().chain([Fault::Blackhole, Fault::Latency(Duration::from_millis(400))]) {
        database.batch_execute("TRUNCATE written").await?;
        let proxy = FaultProxy::start(server.tcp_addr().context("no port")?).await?;
        let folder = tempfile::tempdir()?;
        tests::private_file(folder.path().join("url"), server.url_at("postgres", proxy.addr()))?;
        let insert = json!({
            "effect": "write", "sql": "INSERT INTO written VALUES ($1)",
            "arguments": { "title": { "type": "string", "required": true } },
        });
        let patient = json!({ "failures_in_a_row": 1_000_000, "attempts_min": 1_000_000 });
        let config = json!({
            "identity": { "local": { "roles": ["all"] } },
            "policy": { "roles": { "all": { "allow": ["*"] } } },
            "downstreams": { "db": {
                "postgres": { "url": { "file": "url" }, "statement_timeout": "1s" }, "deadline": "3s",
                "breaker": patient, "tools": { "insert": insert },
            } },
        });
        let router = TestRouter::ready_in(folder, &config.to_string()).await?;
        proxy.set_chance(Chance { faults: vec![fault], percent: 20, seed })?;
        let asked = |title: &str| Ask::call("db__insert", json!({ "title": title }));
        let history = at_one(&router, &fault.to_string(), WRITES, asked).await?;
        proxy.reset_connections();
        ensure!(proxy.stats().bitten_by(fault) > 0, "void: {fault}");
        router.stop().await;
        let rows = database.query("SELECT operation, count(*) FROM written GROUP BY 1", &[]).await?;
        let done = rows.iter().map(|row| Ok((row.try_get(0)?, usize::try_from(row.try_get::<_, i64>(1)?)?)));
        let done = done.collect::<Result<HashMap<String, usize>>>()?;
        let counts = history.check(&done).with_context(|| format!("{fault}, seed {seed}"))?;
        println!("{fault}: {counts:?}");
        ensure!(counts.done > 0, "void: {fault}: {counts:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_at_three_replicas_of_which_some_are_killed_was_told_right() -> Result<()> {
    const WRITES: usize = 60;
    const KILLS: usize = 3;
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let scene = Scene::new(true).await?;
    let folder = scene.folder()?;
    let caller = tests::keys(folder.path(), &[("ann", &["all"])])?.remove(0);
    let mut config = scene.config(true);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    let fleet = tokio::sync::RwLock::new(Fleet::start(3, folder, config).await?);
    scene.proxy.set_chance(Chance { faults: Fault::EXCHANGE.to_vec(), percent: 20, seed })?;
    let (history, ended) = (Mutex::new(History::default()), AtomicUsize::new(0));
    let dice = Mutex::new(StdRng::seed_from_u64(seed));
    let draw = |below: usize| dice.lock().map_or(0, |mut dice| dice.random_range(0..below));
    let writers = (0..WRITES).map(|number| {
        let (history, fleet, ended, caller, draw) = (&history, &fleet, &ended, &caller, &draw);
        let (title, has_key) = (format!("fleet-{number}"), number % 3 != 0);
        async move {
            let call = || async {
                let mut params = json!({ "name": CREATE, "arguments": { "title": title } });
                if has_key {
                    params["_meta"] = json!({ "weir/idempotency_key": title });
                }
                let answer = fleet.read().await.modern(draw(3), caller, "tools/call", params).await;
                Ok(answer.ok().and_then(|answer| answer.result().ok()))
            };
            write(history, &title, has_key, call).await?;
            ended.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    });
    let killer = async {
        for kill in 1..=KILLS {
            tests::until("some calls have ended", async || {
                Ok((ended.load(Ordering::Relaxed) >= WRITES * kill / (KILLS + 2)).then_some(()))
            })
            .await?;
            let victim = draw(3);
            // Calls are under way; those to this one are lost with it.
            fleet.read().await.signal(victim, "KILL").await?;
            fleet.write().await.start_again(victim).await?;
        }
        Ok(())
    };
    let writing = async {
        let ended: Vec<Result<()>> = stream::iter(writers).buffer_unordered(AT_ONCE).collect().await;
        ended.into_iter().collect::<Result<()>>()
    };
    let (written, killed): (Result<()>, Result<()>) = tokio::join!(writing, killer);
    written?;
    killed?;
    let history = history.into_inner().map_err(|_| anyhow::anyhow!("poisoned"))?;
    let counts: Counts = history.check(&scene.created()).with_context(|| format!("seed {seed}"))?;
    println!("{counts:?}");
    ensure!(counts.done > WRITES / 2, "void: {counts:?}");
    Ok(())
}
