//! Older answers: when they are given, and what is said of them.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use tests::until;

use super::{Got, Scene, reads};

#[tokio::test(flavor = "multi_thread")]
async fn a_downstream_that_fails_leaves_older_answers_marked_until_their_limit() -> Result<()> {
    const LIMIT_MS: u64 = 3000;
    let cache = json!({ "fresh_for": "300ms", "stale_on_error": "3s" });
    let scene = Scene::start(3, "failing", json!({ "get": reads(cache) })).await?;
    ensure!(scene.get(0, "k").await?.good()?.mark.is_none(), "the first one is fetched");
    scene.source.breaks(true);
    let mut stale = 0;
    let failed = until("nothing is left to be given", async || {
        let got = scene.call_any("get", json!({ "key": "k" })).await?;
        if got.is_error {
            return Ok(Some(got));
        }
        match got.state().context("there was nothing else to be given")? {
            "fresh" => ensure!(got.age_ms()? <= 300, "{}", got.result),
            "stale_on_error" => {
                stale += 1;
                let texts = got.texts();
                ensure!(texts.contains("This is from ") && texts.contains(" old)"), "{texts}");
                let mark = got.mark.as_ref().context("a mark")?;
                ensure!(mark["reason"].is_string() && mark["fetched_at"].is_string(), "{mark}");
                ensure!((300..=LIMIT_MS).contains(&got.age_ms()?), "{mark}");
            }
            other => anyhow::bail!("{other}: {}", got.result),
        }
        ensure!(got.fetch == Some(1), "{}", got.result);
        Ok(None)
    })
    .await?;
    ensure!(stale > 0, "void: nothing stale was given before {}", failed.result);
    ensure!(failed.mark.is_none(), "{}", failed.result);

    scene.source.breaks(false);
    let before = scene.source.seen().all();
    // A downstream that failed often is left alone for a moment.
    let again = until("it is asked again", async || {
        let got = scene.get(0, "k").await?;
        Ok((!got.is_error).then_some(got))
    })
    .await?;
    ensure!(again.mark.is_none() && scene.source.seen().all() == before + 1, "{}", again.result);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_refreshed_once_while_everybody_gets_the_older_one() -> Result<()> {
    let cache = json!({ "fresh_for": "300ms", "stale_while_refreshing": "10m" });
    let scene = Arc::new(Scene::start(3, "refreshing", json!({ "get": reads(cache) })).await?);
    scene.get(0, "k").await?.good()?;
    scene.source.set("k", 2);
    scene.source.hold(true);
    until("it is stale", async || {
        let got = scene.get(1, "k").await?.good()?;
        Ok((got.state() == Some("stale_while_refreshing")).then_some(()))
    })
    .await?;
    scene.source.wait_until(|seen| seen.running == 1).await?;
    let calls = (0..60).map(|caller| {
        let scene = scene.clone();
        tokio::spawn(async move { scene.get(caller % 3, "k").await?.good() })
    });
    for got in try_join_all(calls).await? {
        let got = got?;
        ensure!(got.state() == Some("stale_while_refreshing") && got.value == Some(0), "{}", got.result);
        ensure!(got.texts().contains("This is from "), "{}", got.result);
    }
    let seen = scene.source.seen();
    ensure!(seen.all() == 2 && seen.running_max == 1, "one fetch and one refresh: {seen:?}");
    scene.source.hold(false);
    until("the newer one is there", async || Ok((scene.get(2, "k").await?.good()?.value == Some(2)).then_some(())))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_waited_long_enough_gets_an_older_answer_while_the_fetch_goes_on() -> Result<()> {
    let cache = json!({ "fresh_for": "200ms", "stale_after_waiting": "100ms", "stale_on_error": "10m" });
    let scene = Scene::start(2, "waiting", json!({ "get": reads(cache) })).await?;
    scene.get(0, "k").await?.good()?;
    scene.source.set("k", 2);
    scene.source.hold(true);
    let got: Got = until("it is stale", async || {
        let got = scene.get(1, "k").await?.good()?;
        Ok((got.state() != Some("fresh")).then_some(got))
    })
    .await?;
    ensure!(got.state() == Some("stale_after_waiting") && got.value == Some(0), "{}", got.result);
    ensure!(got.texts().contains("This is from "), "{}", got.result);
    ensure!(scene.source.seen().running == 1, "void: no fetch goes on: {:?}", scene.source.seen());
    scene.source.hold(false);
    until("the newer one is there", async || Ok((scene.get(0, "k").await?.good()?.value == Some(2)).then_some(())))
        .await
}
