//! What is never kept.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::{Ask, TestRouter, until};

use super::{Scene, long, reads};
use crate::plain;

#[tokio::test(flavor = "multi_thread")]
async fn no_failure_of_a_system_is_kept_in_either_tier() -> Result<()> {
    let mut refused = reads(long());
    refused["request"]["path"] = json!("/refused");
    refused["arguments"] = json!({});
    let mut status = reads(long());
    status["request"]["path"] = json!("/status/{key}");
    let mut late = reads(long());
    late["deadline"] = json!("200ms");
    let scene = Scene::start(2, "failures", json!({ "refused": refused, "status": status, "late": late })).await?;
    for code in ["400", "401", "403", "404", "409", "410", "422", "429", "500", "502", "503", "504"] {
        for replica in [0, 0, 1] {
            let before = scene.source.seen().of(&format!("/status/{code}"));
            let got = scene.call(replica, "status", json!({ "key": code })).await?;
            ensure!(got.is_error && got.mark.is_none(), "{code}: {}", got.result);
            // A read that is safe to repeat may have been repeated.
            ensure!(scene.source.seen().of(&format!("/status/{code}")) > before, "{code} was kept: {}", got.result);
        }
    }
    for replica in [0, 0, 1] {
        let before = scene.source.seen().of("/refused");
        let got = scene.call(replica, "refused", json!({})).await?;
        ensure!(got.is_error && scene.source.seen().of("/refused") == before + 1, "{}", got.result);
    }
    scene.source.hold(true);
    let late = scene.call(0, "late", json!({ "key": "k" })).await?;
    ensure!(late.is_error, "void: it was not late: {}", late.result);
    scene.source.hold(false);
    let before = scene.source.seen().of("/value/k");
    let got = until("it answers in time", async || {
        let got = scene.call(1, "late", json!({ "key": "k" })).await?;
        Ok((!got.is_error).then_some(got))
    })
    .await?;
    ensure!(got.mark.is_none() && scene.source.seen().of("/value/k") > before, "the timeout was kept: {}", got.result);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_question_or_task_of_an_mcp_server_is_kept() -> Result<()> {
    let server = plain::server().await?;
    let mut config = plain::config(&server);
    // Else it keeps calls away that are to show that nothing is kept.
    config["downstreams"]["raw"]["breaker"] = json!({ "failures_in_a_row": 1000, "attempts_min": 1000 });
    let tools = ["fine", "fails", "refuses", "misfits", "late", "nonsense", "asks", "goes_on"];
    for tool in tools {
        config["downstreams"]["raw"]["tools"][tool]["cache"] = long();
    }
    let router = TestRouter::ready(&config.to_string()).await?;
    for tool in tools {
        let called = || {
            let received = server.received();
            received.iter().filter(|message| message.tool().as_deref() == Some(tool)).count()
        };
        for _ in 0..3 {
            router.ask(&Ask::call(&format!("raw__{tool}"), json!({ "n": 1 }))).await?;
        }
        let expected = match tool {
            // It shows that the others could have been kept.
            "fine" => called() == 1,
            // Who calls just before the fetch has failed joins it.
            "late" => called() >= 2,
            _ => called() >= 3,
        };
        ensure!(expected, "{tool} was called {} times", called());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn that_there_is_no_such_thing_is_kept_for_its_time_and_only_where_that_is_stated() -> Result<()> {
    let mut kept = reads(json!({ "fresh_for": "10m", "not_found_for": "2s" }));
    kept["request"]["path"] = json!("/nothing/{key}");
    let mut not_kept = kept.clone();
    not_kept["cache"] = long();
    let scene = Scene::start(2, "nothing", json!({ "kept": kept, "not_kept": not_kept })).await?;
    let reads_of = |key: &str| scene.source.seen().of(&format!("/nothing/{key}"));
    for _ in 0..2 {
        ensure!(scene.call(0, "not_kept", json!({ "key": "a" })).await?.is_error);
    }
    ensure!(reads_of("a") == 2, "{:?}", scene.source.seen());

    let first = scene.call(0, "kept", json!({ "key": "b" })).await?;
    let again = scene.call(1, "kept", json!({ "key": "b" })).await?;
    ensure!(first.is_error && again.is_error && reads_of("b") == 1, "{} {}", first.result, again.result);
    ensure!(again.state() == Some("fresh"), "{}", again.result);
    let text = |got: &super::Got| got.result["content"][0]["text"].as_str().map(str::to_owned);
    ensure!(text(&first).context("a text")? == text(&again).context("a text")?, "{} {}", first.result, again.result);
    until("it is asked for again", async || {
        let got = scene.call(1, "kept", json!({ "key": "b" })).await?;
        ensure!(got.is_error && got.mark.as_ref().is_none_or(|mark| mark["state"] == "fresh"), "{}", got.result);
        Ok((reads_of("b") == 2).then_some(()))
    })
    .await
}
