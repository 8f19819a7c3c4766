//! How children are ended, and that nothing of them stays.

use std::time::Duration;

use adapters::Health;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::time::Instant;

use super::{Bench, call, modern_server, signal, status_of, until, until_gone};

#[tokio::test]
async fn a_child_ends_by_itself_when_its_input_is_closed() -> Result<()> {
    let bench = Bench::new()?;
    let script = modern_server("");
    // A long time to end: only one that is not made to end gets to its last line.
    let adapter =
        bench.script(&format!("{script} echo $$ > id; serve; echo done > ended"), &json!({ "stop_timeout": "20s" }))?;
    call(&*adapter, "any", &json!({})).await?;
    adapter.close().await;
    ensure!(std::fs::read_to_string(bench.path().join("ended"))? == "done\n", "it was ended by force");
    ensure!(status_of(bench.number_in("id").await?).is_none(), "it is left");
    Ok(())
}

#[tokio::test]
async fn a_child_that_heeds_only_sigterm_gets_it() -> Result<()> {
    let bench = Bench::new()?;
    let script = modern_server("");
    let stubborn =
        format!("{script} trap 'echo term > ended; exit' TERM; echo $$ > id; serve; while :; do sleep 0.05; done");
    let adapter = bench.script(&stubborn, &json!({ "stop_timeout": "50ms" }))?;
    call(&*adapter, "any", &json!({})).await?;
    adapter.close().await;
    ensure!(std::fs::read_to_string(bench.path().join("ended"))? == "term\n", "it was killed");
    ensure!(status_of(bench.number_in("id").await?).is_none(), "it is left");
    Ok(())
}

#[tokio::test]
async fn a_child_that_heeds_nothing_is_killed_with_all_that_it_started() -> Result<()> {
    let bench = Bench::new()?;
    let script = modern_server("");
    let deaf = format!(
        "{script} trap '' TERM; echo $$ > id; sleep 600 & echo $! > grandchild; serve; while :; do sleep 600; done"
    );
    let adapter = bench.script(&deaf, &json!({ "stop_timeout": "50ms" }))?;
    call(&*adapter, "any", &json!({})).await?;
    let (id, grandchild) = (bench.number_in("id").await?, bench.number_in("grandchild").await?);
    let started = Instant::now();
    adapter.close().await;
    ensure!(started.elapsed() < Duration::from_secs(5), "ended after {:?}", started.elapsed());
    ensure!(status_of(id).is_none(), "it is left");
    // Whoever adopts orphans on this machine waits for it.
    until_not_running(grandchild).await
}

#[tokio::test]
async fn what_a_dead_child_left_behind_is_ended_before_the_next_one_starts() -> Result<()> {
    let bench = Bench::new()?;
    let script = modern_server("");
    let adapter =
        bench.script(&format!("sleep 600 & echo $! > grandchild; {script} echo $$ > id; serve"), &json!({}))?;
    call(&*adapter, "any", &json!({})).await?;
    let (id, grandchild) = (bench.number_in("id").await?, bench.number_in("grandchild").await?);
    signal("KILL", id).await?;
    until_not_running(grandchild).await?;
    until_gone(id).await?;
    until(&*adapter, Health::Up).await?;
    call(&*adapter, "any", &json!({})).await.map(drop)
}

#[tokio::test]
async fn an_adapter_that_is_dropped_leaves_no_process() -> Result<()> {
    let bench = Bench::new()?;
    let adapter = bench.server(&[], &json!({}), &json!({}))?;
    call(&*adapter, "echo", &json!({ "token": "t" })).await?;
    let id = bench.process().await?;
    drop(adapter);
    until_gone(id).await
}

#[test]
fn a_runtime_that_ends_takes_the_processes_with_it() -> Result<()> {
    let bench = Bench::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let id = runtime.block_on(async {
        let deaf = format!("{} trap '' TERM; echo $$ > id; serve; while :; do sleep 600; done", modern_server(""));
        let adapter = bench.script(&deaf, &json!({}))?;
        call(&*adapter, "any", &json!({})).await?;
        bench.number_in("id").await
    })?;
    drop(runtime);
    let again = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    again.block_on(until_not_running(id))
}

/// Waits until a process does not run any more, whoever is to wait for it.
async fn until_not_running(id: u32) -> Result<()> {
    tests::until("a process has ended", async || Ok(status_of(id).is_none_or(|status| status == 'Z').then_some(())))
        .await
        .context("it still runs")
}
