//! What can be asked of a write later, and what Weir finds out by itself.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    proxy::{Fault, Moment},
    tickets::What,
};
use tests::Ask;

use super::{CREATE, STATUS, Scene, ask, create, operation, record, status, text, with_key};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_created_although_its_answer_was_lost_is_found() -> Result<()> {
    let scene = Scene::new(false).await?;
    let router = scene.router(true, |_| {}).await?;
    scene.proxy.set_next(Fault::Reset(Moment::AfterRequest), 1)?;
    let found = ask(&router, &create("found")).await?;
    ensure!(found["isError"] != true && found["structuredContent"]["title"] == "found", "{found}");
    let written = record(&router, operation(&found)).await?;
    ensure!(written["looked_for"] == "found" && written["outcome"] == "ok", "{written}");
    let id = &found["structuredContent"]["id"];
    scene.proxy.set_next(Fault::Reset(Moment::AfterRequest), 1)?;
    let comment = Ask::call("tickets__add_comment", json!({ "id": id, "text": "once" }));
    let commented = ask(&router, &comment).await?;
    // The exchange that met the fault may have been one that asks.
    ensure!(commented["isError"] != true, "{commented}");
    let ledger = scene.tickets.seen().ledger;
    let comments = ledger.iter().filter(|entry| entry.what == What::Commented).count();
    ensure!(comments == 1 && ledger.len() == 2, "{ledger:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_made_a_write_may_ask_later_what_became_of_it_and_nobody_else() -> Result<()> {
    let scene = Scene::new(true).await?;
    let folder = scene.folder()?;
    let made = tests::keys(folder.path(), &[("ann", &["all"]), ("bob", &["all"])])?;
    let mut config = scene.config(true);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    let router = tests::TestRouter::ready_in(folder, &config.to_string()).await?;
    let call = async |key: &str, tool: &str, arguments: Value| router.call(Some(key), tool, arguments).await?.result();
    let listed = router.modern(Some(&made[0]), "tools/list", json!({})).await?;
    ensure!(listed.text.contains(STATUS), "{listed:?}");

    // Everything fails for a while, so that it cannot be looked for at once.
    scene.proxy.set(Fault::Reset(Moment::AfterRequest)).await?;
    let lost = call(&made[0], CREATE, json!({ "title": "lost" })).await?;
    ensure!(text(&lost).contains("is unknown") && text(&lost).contains(STATUS), "{lost}");
    let asked = json!({ "operation_id": operation(&lost) });
    let unknown = call(&made[0], STATUS, asked.clone()).await?;
    ensure!(unknown["structuredContent"]["state"] == "unknown", "{unknown}");
    ensure!(unknown["structuredContent"]["tool"] == CREATE, "{unknown}");
    scene.proxy.set(Fault::Pass).await?;
    for stranger in
        [call(&made[1], STATUS, asked.clone()).await?, call(&made[0], STATUS, json!({ "operation_id": "x" })).await?]
    {
        ensure!(stranger["isError"] == true && text(&stranger).contains("Nothing is known"), "{stranger}");
    }
    let done = call(&made[0], STATUS, asked.clone()).await?["structuredContent"].clone();
    ensure!(done["state"] == "done" && done["result"]["structuredContent"]["title"] == "lost", "{done}");
    let done = call(&made[0], STATUS, asked).await?["structuredContent"].clone();
    ensure!(done["state"] == "done" && done["outcome"] == "ok" && done["ended_at"].is_string(), "{done}");
    ensure!(scene.created() == [("lost".to_owned(), 1)].into(), "{:?}", scene.created());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_a_key_in_doubt_looks_and_has_the_answer() -> Result<()> {
    let scene = Scene::new(false).await?;
    let router = scene.router(true, |_| {}).await?;
    scene.proxy.set(Fault::Reset(Moment::AfterRequest)).await?;
    let lost = ask(&router, &with_key(create("doubted"), "k")).await?;
    ensure!(text(&lost).contains("is unknown"), "{lost}");
    scene.proxy.set(Fault::Pass).await?;
    for _ in 0..2 {
        let found = ask(&router, &with_key(create("doubted"), "k")).await?;
        ensure!(found["structuredContent"]["title"] == "doubted" && operation(&found) == operation(&lost), "{found}");
    }
    ensure!(status(&router, operation(&lost)).await?["state"] == "done");
    let refused = status(&router, operation(&ask(&router, &create("fine")).await?)).await?;
    ensure!(refused["state"] == "done" && refused["outcome"] == "ok", "{refused}");
    let first = scene.created();
    ensure!(first.get("doubted").context("it was created")? == &1, "{first:?}");
    Ok(())
}
