//! What an idempotency key comes to.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use http::Method;
use serde_json::{Value, json};
use standins::{
    Era,
    proxy::{Fault, Moment},
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter};

use super::{Scene, ask, create, operation, record, text, with_key};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_write_however_it_is_given() -> Result<()> {
    for shared in [false, true] {
        let scene = Scene::new(shared).await?;
        let (one, two) = (scene.router(true, |_| {}).await?, scene.router(true, |_| {}).await?);
        // What is in memory is known where it is.
        let two = if shared { &two } else { &one };
        let first = ask(&one, &with_key(create("once"), "k-1")).await?;
        ensure!(first["isError"] != true && operation(&first).is_string(), "{first}");
        let explained = one.admin_post("/admin/explain", json!({ "tool": super::CREATE })).await?.json()?;
        let kept_in = if shared { "redis" } else { "memory" };
        ensure!(explained["keys"] == json!({ "taken": true, "kept_in": kept_in }), "{explained}");
        for again in [with_key(create("once"), "k-1"), create("once").header("idempotency-key", "\"k-1\"")] {
            let again = ask(two, &again).await?;
            ensure!(again == first, "{again} is not {first}");
        }
        let body =
            json!({ "name": super::CREATE, "arguments": { "title": "once" }, "idempotency_key": "k-1" }).to_string();
        let headers = [("content-type", "application/json"), ("idempotency-key", "k-1")];
        let plain = two.send(Method::POST, "/v1/tools/call", &headers, body).await?.json()?;
        ensure!(plain["result"]["structuredContent"] == first["structuredContent"], "{plain}");
        ensure!(plain["_meta"]["weir/operation_id"] == *operation(&first), "{plain}");
        let last = two.records().await?.into_iter().next().context("a record")?;
        ensure!(last["key"] == "repeated" && last["outcome"] == "ok", "{last}");
        ensure!(record(&one, operation(&first)).await?["key"] == "first");

        let other = ask(two, &with_key(create("another"), "k-1")).await?;
        ensure!(text(&other).contains("other arguments") && operation(&other) == operation(&first), "{other}");
        let second = ask(two, &with_key(create("once"), "k-2")).await?;
        ensure!(second["isError"] != true && operation(&second) != operation(&first), "{second}");
        let read = Ask::call("tickets__get_ticket", json!({ "id": first["structuredContent"]["id"] }));
        let read = ask(two, &with_key(read, "k-1")).await?;
        ensure!(read["isError"] != true && operation(&read).is_null(), "a read has no use for a key: {read}");
        ensure!(scene.created() == [("once".to_owned(), 2)].into(), "{:?}", scene.created());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_wait_for_the_one_that_runs_wherever_it_runs() -> Result<()> {
    let scene = Scene::new(true).await?;
    let routers = [scene.router(true, |_| {}).await?, scene.router(true, |_| {}).await?];
    scene.proxy.set(Fault::Latency(Duration::from_millis(100))).await?;
    let calls = (0..12).map(|number| {
        let router = &routers[number % 2];
        async move { ask(router, &with_key(create("crowd"), "k")).await }
    });
    let results = try_join_all(calls).await?;
    ensure!(results.iter().all(|result| *result == results[0] && result["isError"] != true), "{results:?}");
    ensure!(scene.created() == [("crowd".to_owned(), 1)].into(), "{:?}", scene.created());
    let mut said = Vec::new();
    for router in &routers {
        said.extend(router.records().await?.iter().map(|record| record["key"].as_str().unwrap_or_default().to_owned()));
    }
    let count = |word: &str| said.iter().filter(|said| *said == word).count();
    ensure!(count("first") == 1 && count("waited") == 11, "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_repeated_and_what_was_not_sent_is_tried_again() -> Result<()> {
    let scene = Scene::new(false).await?;
    let router = scene.router(true, |_| {}).await?;
    let misfit = Ask::call(super::CREATE, json!({ "title": "refused", "type": "No such type" }));
    let refused = ask(&router, &with_key(misfit.clone(), "k-1")).await?;
    let again = ask(&router, &with_key(misfit, "k-1")).await?;
    ensure!(
        refused["isError"] == true && text(&refused).contains("issue type") && text(&again) == text(&refused),
        "{again}"
    );
    let asked = scene.tickets.seen().requests.iter().filter(|request| request.method == "POST").count();
    ensure!(asked == 1, "asked {asked} times");
    scene.proxy.set(Fault::Refuse).await?;
    scene.proxy.reset_connections();
    // Weir finds out that its idle connection is gone by a read, which leaves no doubt.
    ask(&router, &Ask::call("tickets__get_ticket", json!({ "id": "SUP-1" }))).await?;
    let failed = ask(&router, &with_key(create("later"), "k-2")).await?;
    ensure!(failed["isError"] == true && operation(&failed).is_null(), "{failed}");
    scene.proxy.set(Fault::Pass).await?;
    tests::until("the service is there again", async || {
        let made = ask(&router, &with_key(create("later"), "k-2")).await?;
        Ok((made["isError"] != true).then_some(()))
    })
    .await?;
    ensure!(scene.created() == [("later".to_owned(), 1)].into(), "{:?}", scene.created());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_doubt_stays_in_doubt_and_nothing_is_sent_again() -> Result<()> {
    let scene = Scene::new(true).await?;
    let (one, two) = (scene.router(false, |_| {}).await?, scene.router(false, |_| {}).await?);
    scene.proxy.set_next(Fault::Reset(Moment::AfterRequest), 1)?;
    let lost = ask(&one, &with_key(create("lost"), "k")).await?;
    ensure!(text(&lost).contains("is unknown"), "{lost}");
    for router in [&one, &two] {
        let again = ask(router, &with_key(create("lost"), "k")).await?;
        ensure!(text(&again).contains("is unknown") && operation(&again) == operation(&lost), "{again}");
    }
    ensure!(scene.created() == [("lost".to_owned(), 1)].into(), "{:?}", scene.created());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_other_roles_only_what_became_of_it_is_told() -> Result<()> {
    let scene = Scene::new(true).await?;
    let one = scene.router(true, |_| {}).await?;
    let other = scene.router(true, |config| config["identity"]["local"]["roles"] = json!(["other"])).await?;
    let first = ask(&one, &with_key(create("seen before"), "k")).await?;
    let again = ask(&other, &with_key(create("seen before"), "k")).await?;
    ensure!(again["isError"] == true && operation(&again) == operation(&first), "{again}");
    ensure!(text(&again).contains("cannot be shown again") && !again.to_string().contains("seen before"), "{again}");
    ensure!(scene.created().len() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_gone_a_key_is_refused_and_a_call_without_one_is_made() -> Result<()> {
    let mut scene = Scene::new(true).await?;
    let router = scene.router(true, |_| {}).await?;
    scene.redis.as_mut().context("there is one")?.kill().await?;
    tests::until("keys are refused", async || {
        let refused = ask(&router, &with_key(create("with a key"), "k")).await?;
        ensure!(refused["isError"] == true, "{refused}");
        Ok(text(&refused).contains("whether this idempotency key was used before cannot be known").then_some(()))
    })
    .await?;
    let explained = router.admin_post("/admin/explain", json!({ "tool": super::CREATE })).await?.json()?;
    ensure!(explained["keys"]["taken"] == false && explained["keys"]["why"].is_string(), "{explained}");
    let made = ask(&router, &create("without")).await?;
    ensure!(made["isError"] != true, "{made}");
    tests::until("it is known", async || {
        Ok((super::status(&router, operation(&made)).await?["state"] == "done").then_some(()))
    })
    .await?;
    ensure!(scene.created() == [("without".to_owned(), 1)].into(), "{:?}", scene.created());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_on_as_names_that_say_nothing() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![Action::result(
            message,
            r#"{"tools":[{"name":"write","inputSchema":{}},{"name":"read","inputSchema":{}}]}"#,
        )]),
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await?;
    let mut config = tests::open_house(&[("raw", &server.url)]);
    config["downstreams"]["raw"]["mcp"]["idempotency_keys"] = json!(true);
    config["downstreams"]["raw"]["effects"] = json!([{ "match": "read", "effect": "read" }]);
    let router = TestRouter::ready(&config.to_string()).await?;
    let write = |argument: u32| Ask::call("raw__write", json!({ "n": argument }));
    for call in [with_key(write(1), "mine"), with_key(write(2), "other"), write(3), write(4)] {
        ask(&router, &call).await?;
    }
    ask(&router, &with_key(Ask::call("raw__read", json!({})), "mine")).await?;
    let calls: Vec<_> = server.received().into_iter().filter(|message| message.tool().is_some()).collect();
    let key = |index: usize| {
        let params: Value = serde_json::from_str(calls[index].params.as_deref().unwrap_or("{}")).unwrap_or_default();
        params["_meta"]["weir/idempotency_key"].clone()
    };
    let passed: std::collections::HashSet<_> = (0..4).map(|index| key(index).to_string()).collect();
    ensure!(passed.len() == 4 && passed.iter().all(|key| key.len() == 34), "{passed:?}");
    ensure!(key(4).is_null(), "a read has none: {}", key(4));
    ensure!(!calls.iter().any(|call| call.text.contains("mine")), "the caller's own text");
    Ok(())
}
