//! A profile or a role that shows less from now on: nothing that was kept before is shown as it was.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{HIGH, LOW, Scene, profile};

fn cached(config: &mut Value) {
    config["server"] = json!({ "listen": "127.0.0.1:0", "admin": "127.0.0.1:0" });
    config["downstreams"]["crm"]["tools"]["read"] =
        json!({ "cache": { "fresh_for": "10m", "stale_on_error": "1h", "partition": "shared" } });
}

fn calls(scene: &Scene) -> usize {
    scene.server.received().iter().filter(|message| message.tool().is_some()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_shows_less_counts_for_the_next_answer_though_it_is_cached() -> Result<()> {
    let scene = Scene::new(&profile(&json!([{ "path": "$..name", "with": "partial" }])), cached).await?;
    scene.says(json!({ "content": [], "structuredContent": { "name": "Lovelace", "town": "Ponte Vecchio" } }));
    for _ in 0..2 {
        let seen = scene.result(LOW, "read", json!({})).await?;
        ensure!(seen["structuredContent"] == json!({ "name": "L…", "town": "Ponte Vecchio" }), "{seen}");
    }
    ensure!(calls(&scene) == 1, "it was not cached");
    let seen = scene.result(HIGH, "read", json!({})).await?;
    ensure!(seen["structuredContent"]["name"] == "Lovelace" && calls(&scene) == 2, "{seen}");

    let mut less = scene.config.clone();
    less["masking"] =
        profile(&json!([{ "path": "$..name", "with": "redact" }, { "path": "$..town", "with": "redact" }]));
    scene.router.change(&less.to_string()).await?;
    let seen = scene.result(LOW, "read", json!({})).await?;
    ensure!(seen["structuredContent"] == json!({ "name": "[redacted]", "town": "[redacted]" }), "{seen}");

    // The role that saw everything sees less, while its answer is fresh here and the server answers nobody any more.
    less["policy"]["roles"]["high"]["masking"] = json!("low");
    scene.router.change(&less.to_string()).await?;
    let seen = scene.call(HIGH, "read", json!({})).await?;
    ensure!(!seen.text.contains("Lovelace") && !seen.text.contains("Ponte"), "{}", seen.text);
    let record = scene.router.records().await?.into_iter().next().context("no record")?;
    ensure!(record["masking"] == "low", "{record}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_answer_in_place_of_an_error_is_none_that_showed_more() -> Result<()> {
    let scene = Scene::new(&profile(&json!([{ "detect": ["email"], "with": "partial" }])), |config| {
        cached(config);
        config["downstreams"]["crm"]["tools"]["read"]["cache"]["fresh_for"] = json!("1ms");
    })
    .await?;
    scene.says(json!({ "content": [{ "type": "text", "text": "Lovelace ada@example.com" }] }));
    let seen = scene.result(LOW, "read", json!({})).await?;
    ensure!(seen["content"][0]["text"] == "Lovelace a…@example.com", "{seen}");
    let mut less = scene.config.clone();
    less["masking"] = profile(&json!([{ "detect": ["email"], "with": "redact" }]));
    scene.router.change(&less.to_string()).await?;
    scene.server.stop().await;
    let answer = scene.router.call(Some(&scene.keys[LOW]), "crm__read", json!({})).await?.result()?;
    ensure!(answer["isError"] == true && !answer.to_string().contains("a…@"), "{answer}");

    // That there was an old answer is seen by going back.
    scene.router.change(&scene.config.to_string()).await?;
    let old = scene.router.call(Some(&scene.keys[LOW]), "crm__read", json!({})).await?.result()?;
    ensure!(old.to_string().contains("a…@example.com") && old.to_string().contains("stale_on_error"), "{old}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_wait_are_not_given_to_who_would_see_less_by_now() -> Result<()> {
    let scene = Scene::new(&profile(&json!([{ "detect": ["email"], "with": "partial" }])), |config| {
        config["server"] = json!({ "listen": "127.0.0.1:0", "admin": "127.0.0.1:0" });
        config["downstreams"]["crm"]["tools"]["read"] = json!({ "answer_characters_max": 1000 });
    })
    .await?;
    let lines: String = (0..200).map(|line| format!("{line}: user{line}@example.com\n")).collect();
    scene.says(json!({ "content": [{ "type": "text", "text": lines }] }));
    let first = scene.result(LOW, "read", json!({})).await?.to_string();
    let handle = first.split("handle").nth(1).context("no handle")?;
    let handle: String = handle
        .split(|char: char| !char.is_ascii_alphanumeric() && char != '_' && char != '-')
        .find(|word| word.len() == 32)
        .context("no handle")?
        .to_owned();
    let next = async || {
        scene.router.call(Some(&scene.keys[LOW]), "weir__next_page", json!({ "handle": handle })).await?.result()
    };
    let part = next().await?;
    ensure!(part["isError"] != true && part.to_string().contains("…@example.com"), "{part}");
    ensure!(!part.to_string().contains("user"), "{part}");
    let mut less = scene.config.clone();
    less["masking"] = profile(&json!([{ "detect": ["email"], "with": "redact" }]));
    scene.router.change(&less.to_string()).await?;
    let refused = next().await?;
    ensure!(refused["isError"] == true && refused.to_string().contains("no next part"), "{refused}");
    Ok(())
}
