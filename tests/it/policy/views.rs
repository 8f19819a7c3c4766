//! Views narrow and never widen.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use http::Method;
use serde_json::json;
use tests::Ask;

use super::{Scene, call, is_unknown, listed, plain_call, plain_listed};

/// Two servers, two roles, and views that ask for more than the roles have.
async fn scene() -> Result<(Scene, Vec<String>)> {
    let roles = json!({
        "support": { "allow": ["crm__get_*", "files__*"] },
        "admin": { "allow": ["*"] },
    });
    let views = json!({
        "everything": { "tools": ["*"], "instructions": "All that there is." },
        "crm": { "tools": ["crm__*"] },
        "odd": { "tools": ["!crm__*", "", "**__read", "crm__get_customer*"] },
        "nothing": { "tools": [] },
    });
    let downstreams: [(&str, &[&str]); 2] = [("crm", &["get_customer", "get_secret", "delete"]), ("files", &["read"])];
    Scene::new(&downstreams, &json!({ "policy": { "roles": roles }, "views": views })).await
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_shows_of_what_the_roles_allow_what_it_names() -> Result<()> {
    let (scene, keys) = scene().await?;
    let all = ["crm__delete", "crm__get_customer", "crm__get_secret", "files__read"];
    for (at, view, expected) in [
        (0, "everything", &["crm__get_customer", "crm__get_secret", "files__read"][..]),
        (0, "crm", &["crm__get_customer", "crm__get_secret"]),
        (0, "odd", &["crm__get_customer", "files__read"]),
        (0, "nothing", &[]),
        (1, "everything", &all),
        (1, "crm", &["crm__delete", "crm__get_customer", "crm__get_secret"]),
        (1, "nothing", &[]),
    ] {
        let (router, key, expected) = (&scene.router, &keys[at], set(expected));
        let (path, plain) = (format!("/mcp/{view}"), format!("/v1/views/{view}/tools"));
        ensure!(listed(router, &path, key).await? == expected, "{at} {view}");
        ensure!(plain_listed(router, &plain, key).await? == expected, "{at} {view}");
        for name in all {
            let over_mcp = call(router, &path, key, name, &json!({})).await?;
            ensure!(over_mcp.result().is_ok() == expected.contains(name), "{at} {view} {name}: {over_mcp:?}");
            let record = scene.record().await?;
            ensure!(record["view"] == view, "{record}");
            let answer = plain_call(router, &format!("{plain}/call"), key, name, &json!({})).await?;
            ensure!(answer.status == if expected.contains(name) { 200 } else { 404 }, "{at} {view} {name}: {answer:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_there_is_not_is_told_to_callers_alone() -> Result<()> {
    let (scene, keys) = scene().await?;
    let list = Ask::modern("tools/list", json!({}));
    for name in ["crm", "nobody", "CRM", "%63rm", "crm.", "crm%00"] {
        let stranger = scene.router.ask_at(&format!("/mcp/{name}"), &list).await?;
        ensure!(stranger.status == 401, "{name}: {stranger:?}");
        let answer = scene.router.ask_at(&format!("/mcp/{name}"), &list.clone().key(&keys[0])).await?;
        ensure!(answer.status == if name == "crm" { 200 } else { 404 }, "{name}: {answer:?}");
    }
    for path in [
        "/mcp/",
        "/mcp//",
        "/mcp/crm/",
        "/mcp/crm/x",
        "/mcp/../mcp",
        "/v1/views//tools",
        "/v1/views/crm",
        "/v1/views/crm/tools/",
    ] {
        let answer = scene.router.ask_at(path, &list.clone().key(&keys[0])).await?;
        ensure!(answer.status == 404, "{path}: {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_belongs_to_the_view_that_it_began_in() -> Result<()> {
    let (scene, keys) = scene().await?;
    let (router, key) = (&scene.router, &keys[1]);
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let begin = async |path: &str| -> Result<(String, String)> {
        let answer = router.ask_at(path, &Ask::legacy("initialize", &params).key(key)).await?;
        let instructions = answer.result()?["instructions"].as_str().unwrap_or_default().to_owned();
        Ok((answer.headers["mcp-session-id"].to_str()?.to_owned(), instructions))
    };
    let (plain, general) = begin("/mcp").await?;
    let (narrow, of_crm) = begin("/mcp/crm").await?;
    let (_, told) = begin("/mcp/everything").await?;
    ensure!(of_crm == general && told == format!("All that there is.\n\n{general}"), "{told}");
    let discovered = router.ask_at("/mcp/everything", &Ask::modern("server/discover", json!({})).key(key)).await?;
    ensure!(discovered.result()?["instructions"] == told);
    let delete = Ask::legacy_call("crm__delete", &json!({})).key(key);
    for (path, session, status) in [
        ("/mcp", &plain, 200),
        ("/mcp/crm", &narrow, 200),
        ("/mcp/crm", &plain, 404),
        ("/mcp", &narrow, 404),
        ("/mcp/everything", &narrow, 404),
    ] {
        let answer = router.ask_at(path, &delete.clone().session(session)).await?;
        ensure!(answer.status == status, "{path}: {answer:?}");
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str()), ("mcp-session-id", session)];
        if status == 404 {
            let answer = router.send(Method::DELETE, path, &headers, "").await?;
            ensure!(answer.status == 404, "{path}: {answer:?}");
            let listening = [&headers[..], &[("accept", "text/event-stream")]].concat();
            let answer = router.send(Method::GET, path, &listening, "").await?;
            ensure!(answer.status == 404, "{path}: {answer:?}");
        }
    }
    let files = Ask::legacy_call("files__read", &json!({})).key(key).session(&narrow);
    ensure!(is_unknown(&router.ask_at("/mcp/crm", &files).await?));
    Ok(())
}
