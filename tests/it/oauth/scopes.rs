//! Scopes: what a token without one hears, and what it does not.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::Ask;

use super::{Scene, challenge, config, server};

const WAY: &str = "resource_metadata=\"http://weir.test/.well-known/oauth-protected-resource/mcp\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_a_required_scope_is_told_which_one() -> Result<()> {
    let scene = Scene::new(json!({ "required_scopes": ["crm.read"] })).await?;
    for scope in [json!(null), json!("other"), json!("crm.reader"), json!("CRM.READ"), json!(["crm.read", 1])] {
        let answer = scene.read(&scene.issuer.token(json!({ "scope": scope }))).await?;
        ensure!(answer.status == 403, "{scope}: {answer:?}");
        let expected = format!("Bearer realm=\"weir\", error=\"insufficient_scope\", scope=\"crm.read\", {WAY}");
        ensure!(challenge(&answer)? == expected, "{scope}: {answer:?}");
    }
    // Who is not known to hold a right token is not told more than anybody.
    let wrong = scene.read(&scene.issuer.token(json!({ "scope": null, "exp": 1 }))).await?;
    ensure!(wrong.status == 401, "{wrong:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_behind_another_scope_looks_unknown_unless_the_config_lets_it_be_known() -> Result<()> {
    let scene = Scene::new(json!({})).await?;
    let token = scene.issuer.token(json!({}));
    let calls = scene.calls();
    for (denied, nobody) in [
        (Ask::call("raw__save", json!({})), Ask::call("raw__zave", json!({}))),
        (Ask::legacy_call("raw__save", &json!({})), Ask::legacy_call("raw__zave", &json!({}))),
    ] {
        let (mut denied, mut nobody) =
            (scene.router.ask(&denied.key(&token)).await?, scene.router.ask(&nobody.key(&token)).await?);
        denied.headers.remove("date");
        nobody.headers.remove("date");
        ensure!(denied.text.replace("raw__save", "raw__zave") == nobody.text, "{denied:?}\n{nobody:?}");
        ensure!(denied.headers == nobody.headers && denied.status == nobody.status, "{denied:?}\n{nobody:?}");
    }
    let changed = config(&scene.issuer, &scene.server, &json!({ "step_up": ["crm.write"] }));
    scene.router.change(&changed.to_string()).await.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;

    let expected = format!("Bearer realm=\"weir\", error=\"insufficient_scope\", scope=\"crm.write\", {WAY}");
    let session = scene.router.session(Some(&token), "2025-06-18").await?;
    for ask in [
        Ask::call("raw__save", json!({})),
        Ask::call("raw__save", json!({})).accept("application/json"),
        Ask::legacy_call("raw__save", &json!({})),
        Ask::legacy_call("raw__save", &json!({})).session(&session),
    ] {
        let answer = scene.router.ask(&ask.key(&token)).await?;
        ensure!(answer.status == 403 && challenge(&answer)? == expected, "{answer:?}");
        ensure!(
            answer.json()?["error"]["message"].as_str().is_some_and(|text| text.contains("crm.write")),
            "{answer:?}"
        );
    }
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let body = json!({ "name": "raw__save", "arguments": {} }).to_string();
    let plain = scene.router.send("POST".parse()?, "/v1/tools/call", &headers, body).await?;
    ensure!(plain.status == 403 && challenge(&plain)? == expected, "{plain:?}");
    ensure!(plain.json()?["outcome"] == "insufficient_scope", "{plain:?}");
    ensure!(scene.router.records().await?[0]["outcome"] == "denied", "{:?}", scene.router.records().await?[0]);

    // What no scope of a step up would allow stays unknown, and so does what is not there.
    for name in ["raw__secret", "raw__zave"] {
        let answer = scene.router.ask(&Ask::call(name, json!({})).key(&token)).await?;
        ensure!(answer.error_code() == Some(-32602) && !answer.headers.contains_key("www-authenticate"), "{answer:?}");
    }
    ensure!(scene.calls() == calls, "a denied call came through");
    let stepped = scene.issuer.token(json!({ "scope": "crm.read crm.write" }));
    scene.router.ask(&Ask::call("raw__save", json!({})).key(&stepped)).await?.result()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_one_token_is_no_answer_for_another() -> Result<()> {
    let (issuer, server) = (tests::Issuer::start().await?, server().await?);
    let mut config = config(&issuer, &server, &json!({}));
    config["downstreams"]["raw"]["tools"] = json!({ "read": { "cache": { "fresh_for": "1h", "partition": "token" } } });
    let router = tests::TestRouter::ready(&config.to_string()).await?;
    let scene = Scene { router, issuer, server };
    scene.keys_are_known().await?;
    let before = scene.calls();
    let (one, other) = (scene.issuer.token(json!({})), scene.issuer.token(json!({})));
    for (token, calls) in [(&one, 1), (&one, 1), (&other, 2), (&one, 2), (&other, 2)] {
        scene.read(token).await?.result()?;
        ensure!(scene.calls() - before == calls, "{calls}: {}", scene.calls() - before);
    }
    Ok(())
}
