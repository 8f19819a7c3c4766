//! Conditions: on who asks, on the arguments as they are sent, on the time.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Ask, Events, TestRouter};

use super::{Scene, call, is_unknown, listed, plain_call, plain_listed};

const CHANGED: &str = "notifications/tools/list_changed";

fn one_role(allow: &[&str], conditions: &Value) -> Value {
    json!({ "policy": { "roles": { "one": { "allow": allow, "conditions": conditions } } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_on_the_caller_decides_lists_and_calls_alike() -> Result<()> {
    let conditions = json!([
        { "match": "crm__near", "when": "in_network(caller.address, '127.0.0.0/8')" },
        { "match": "crm__far", "when": "in_network(caller.address, '10.0.0.0/8')" },
        { "match": "crm__mine", "when": "caller.subject == 'one' && caller.method == 'api_key'" },
        { "match": "crm__past", "when": "time.date < '2020-01-01'" },
    ]);
    let tools = ["near", "far", "mine", "past", "free"];
    let (scene, keys) = Scene::new(&[("crm", &tools)], &one_role(&["crm__*"], &conditions)).await?;
    let (router, key) = (&scene.router, &keys[0]);
    let expected = ["crm__near", "crm__mine", "crm__free"].map(str::to_owned).into();
    ensure!(listed(router, "/mcp", key).await? == expected);
    ensure!(plain_listed(router, "/v1/tools", key).await? == expected);
    for tool in tools {
        let name = format!("crm__{tool}");
        let answer = call(router, "/mcp", key, &name, &json!({})).await?;
        ensure!(answer.result().is_ok() == expected.contains(&name), "{name}: {answer:?}");
        let record = scene.record().await?;
        let condition = record["conditions"][0]["condition"].as_str();
        ensure!(condition.is_some() == (tool != "free"), "{record}");
        ensure!(condition.is_none_or(|condition| condition.starts_with("one: ")), "{record}");
        let verdict = record["conditions"][0]["verdict"].as_str();
        ensure!(verdict.is_none_or(|verdict| (verdict == "true") == expected.contains(&name)), "{record}");
    }
    ensure!(scene.calls() == expected.len());
    // The address and the time may be others with the next request.
    let list = router.ask(&Ask::modern("tools/list", json!({})).key(key)).await?.result()?;
    ensure!(list["ttlMs"] == 0, "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_on_arguments_is_told_without_its_text_and_nothing_is_sent() -> Result<()> {
    let when = "arguments.amount <= 1000 && arguments.to in ['DE', 'AT']";
    let conditions = json!([{ "match": "pay__*", "when": when }]);
    let (scene, keys) = Scene::new(&[("pay", &["out", "back"])], &one_role(&["pay__*"], &conditions)).await?;
    let (router, key) = (&scene.router, &keys[0]);
    ensure!(listed(router, "/mcp", key).await?.len() == 2, "the tools are there for the right arguments");
    for (arguments, allowed) in [
        (r#"{"amount":1000,"to":"DE"}"#, true),
        (r#"{"to":"AT","amount":1e3}"#, true),
        (r#"{"amount":1001,"to":"DE"}"#, false),
        (r#"{"amount":1000,"to":"de"}"#, false),
        (r#"{"amount":-9007199254740993,"to":"DE"}"#, false),
        (r#"{"amount":1e-400,"to":"DE"}"#, false),
        (r#"{"amount":999.99999999999999999,"to":"DE"}"#, false),
        (r#"{"amount":"1","to":"DE"}"#, false),
        (r#"{"amount":null,"to":"DE"}"#, false),
        (r#"{"amount":[1],"to":"DE"}"#, false),
        (r#"{"Amount":1,"to":"DE"}"#, false),
        ("{}", false),
    ] {
        let before = scene.calls();
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"pay__out","arguments":{arguments}}}}}"#
        );
        let over_mcp = router.ask(&Ask::text(&body).key(key)).await?;
        let record = scene.record().await?;
        let body = format!(r#"{{"name":"pay__out","arguments":{arguments}}}"#);
        let authorization = format!("Bearer {key}");
        let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
        let plain = router.send(http::Method::POST, "/v1/tools/call", &headers, body).await?;
        if allowed {
            ensure!(over_mcp.result()?["isError"].is_null() && plain.status == 200, "{arguments}: {over_mcp:?}");
            ensure!(scene.calls() == before + 2);
            continue;
        }
        let told = over_mcp.result()?;
        ensure!(told["isError"] == true && plain.status == 403, "{arguments}: {over_mcp:?} {plain:?}");
        ensure!(plain.json()?["outcome"] == "not_allowed", "{plain:?}");
        ensure!(scene.calls() == before, "{arguments} was sent");
        for text in [&over_mcp.text, &plain.text] {
            ensure!(!text.contains("<=") && !text.contains("'AT'") && !text.contains("arguments."), "{text}");
        }
        ensure!(record["outcome"] == "denied" && record["denied_by"] == "arguments", "{record}");
        ensure!(record["conditions"][0]["condition"] == format!("one: {when}"), "{record}");
    }
    let metrics = router.admin("/metrics").await?.text;
    ensure!(metrics.contains("weir_denied_total{reason=\"arguments\"}"), "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_somebody_no_longer_fulfils_takes_the_tool_from_lists_calls_and_streams() -> Result<()> {
    let allow = |when: &str| one_role(&["crm__*"], &json!([{ "match": "crm__get", "when": when }]));
    let (mut scene, keys) = Scene::new(&[("crm", &["get", "other"])], &allow("caller.subject == 'one'")).await?;
    let key = keys[0].clone();
    let session = scene.router.session(Some(&key), "2025-11-25").await?;
    let mut stream = listen(&scene.router, &key, &session).await?;
    let in_session = Ask::legacy_call("crm__get", &json!({})).key(&key).session(&session);
    ensure!(scene.router.ask(&in_session).await?.result().is_ok());
    scene.config["policy"] = allow("caller.subject == 'two'")["policy"].clone();
    scene.router.change(&scene.config.to_string()).await?;
    ensure!(is_unknown(&scene.router.ask(&in_session).await?), "the session goes on under the old policy");
    ensure!(stream.next().await?.context("a message")?["method"] == CHANGED);
    ensure!(listed(&scene.router, "/mcp", &key).await? == ["crm__other".to_owned()].into());
    ensure!(plain_call(&scene.router, "/v1/tools/call", &key, "crm__get", &json!({})).await?.status == 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_with_a_condition_that_makes_no_sense_is_not_put_in_force() -> Result<()> {
    let (mut scene, keys) = Scene::new(&[("crm", &["get"])], &one_role(&["crm__*"], &json!([]))).await?;
    scene.config["policy"]["roles"]["one"]["conditions"] = json!([{ "when": "caler.tenant == 'a'" }]);
    let refused = scene.router.change(&scene.config.to_string()).await.expect_err("it makes no sense");
    ensure!(refused.to_string().contains("policy.roles.one.conditions[0]"), "{refused}");
    ensure!(call(&scene.router, "/mcp", &keys[0], "crm__get", &json!({})).await?.result().is_ok());
    Ok(())
}

async fn listen(router: &TestRouter, key: &str, session: &str) -> Result<Events> {
    let authorization = format!("Bearer {key}");
    let headers = [("accept", "text/event-stream"), ("mcp-session-id", session), ("authorization", &*authorization)];
    Events::of(router.raw_get(&headers).await?)
}
