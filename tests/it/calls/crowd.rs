//! Many callers at once over one connection to the downstream, all of them counting their requests from 0.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use standins::Era;
use tests::Ask;

use super::Scene;

const CALLERS: usize = 200;
const ROUNDS: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_goes_astray_however_many_call_with_the_same_ids() -> Result<()> {
    for era in [Era::ModernOnly, Era::LegacyOnly] {
        let scene = Scene::new(era, |_| {}).await?;
        let sessions = try_join_all((0..CALLERS).map(|_| scene.router.session(None, "2025-06-18"))).await?;
        let sessions = &sessions;
        for round in 0..ROUNDS {
            // All of them wait in the downstream, which then answers the last one first.
            let calls = (0..CALLERS).map(|caller| {
                let token = json!({ "caller": caller, "round": round });
                let arguments = json!({ "token": token, "together": CALLERS });
                let ask = match caller % 3 {
                    0 => Ask::call("pay__echo", arguments),
                    1 => Ask::legacy_call("pay__echo", &arguments).session(&sessions[caller]),
                    _ => Ask::legacy_call("pay__echo", &arguments).session(&sessions[caller]).token(0),
                };
                let (ask, router) = (ask.id(round), &scene.router);
                async move {
                    let answer = router.ask(&ask).await?;
                    let result = answer.result()?;
                    ensure!(answer.json()?["id"] == round, "{answer:?}");
                    ensure!(result["structuredContent"]["token"] == token, "{token} was answered with {result}");
                    Ok(())
                }
            });
            try_join_all(calls).await?;
        }
        let seen = scene.server.seen();
        ensure!(seen.connections_total == 1, "{seen:?}");
        ensure!(seen.called("echo") == CALLERS as u64 * ROUNDS && seen.cancelled == 0, "{seen:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_callers_cancellation_touches_nobody_else() -> Result<()> {
    const CANCELLING: usize = 20;
    let scene = Scene::new(Era::Both, |_| {}).await?;
    let sessions = try_join_all((0..CALLERS).map(|_| scene.router.session(None, "2025-11-25"))).await?;
    let (router, sessions) = (&scene.router, &sessions);
    let patient = (CANCELLING..CALLERS).map(|caller| async move {
        let arguments = json!({ "token": caller, "together": CALLERS - CANCELLING });
        let answer = router.ask(&Ask::legacy_call("pay__echo", &arguments).session(&sessions[caller]).id(7)).await?;
        ensure!(answer.result()?["structuredContent"]["token"] == caller, "{caller}: {answer:?}");
        anyhow::Ok(())
    });
    let impatient = (0..CANCELLING).map(|caller| async move {
        let ask = Ask::legacy_call("pay__slow", &json!({ "ms": 600_000 })).session(&sessions[caller]).id(7);
        let answer = router.ask(&ask).await?;
        ensure!(tests::events(&answer.text)?.is_empty(), "{caller}: {answer:?}");
        Ok(())
    });
    let cancelling = async {
        scene.server.wait_until(|seen| seen.called("slow") == CANCELLING as u64).await?;
        for session in &sessions[..CANCELLING] {
            let cancel = Ask::notification("notifications/cancelled", &json!({ "requestId": 7 })).session(session);
            ensure!(router.ask(&cancel).await?.status == 202);
        }
        scene.server.wait_until(|seen| seen.cancelled == CANCELLING as u64).await?;
        // Only now all of the others come together.
        try_join_all(patient).await
    };
    let (impatient, cancelling) = tokio::join!(try_join_all(impatient), cancelling);
    cancelling?;
    impatient?;
    let records: Vec<Value> = router.records().await?;
    let count = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).count();
    ensure!(count("cancelled") == CANCELLING && count("ok") == CALLERS - CANCELLING, "{}", records.len());
    ensure!(scene.server.seen().connections_total == 1);
    records.first().context("records")?;
    Ok(())
}
