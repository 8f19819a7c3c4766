//! What operators do by hand: purge and explain, over HTTP and from the command line.

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{ADMIN_TOKEN, TestRouter};

use super::Scene;
use crate::cli::binary;

const BOTH: [&str; 2] = ["crm__get", "crm__list"];

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_purges_is_gone_in_every_replica() -> Result<()> {
    let mut scene = Scene::start("").await?;
    for (asked, raised, tools) in [
        (json!({ "tags": ["customer:A"] }), 2, &BOTH[..]),
        (json!({ "tags": ["customer:*"] }), 2, &BOTH),
        (json!({ "tool": "crm__get" }), 1, &BOTH[..1]),
        (json!({ "all": true }), 1, &BOTH),
    ] {
        scene.rename_unnoticed().await?;
        let answer = scene.routers[0].admin_post("/admin/cache/purge", asked.clone()).await?;
        ensure!(answer.status == StatusCode::OK, "{asked}: {}", answer.text);
        ensure!(answer.json()? == json!({ "raised": raised, "reached": "everywhere" }), "{asked}: {}", answer.text);
        scene.noticed(tools).await?;
        if tools.len() == 1 {
            ensure!(super::read(&scene.routers[0], BOTH[1]).await?.1, "the other tool is left alone");
            scene.routers[0].admin_post("/admin/cache/purge", json!({ "tool": BOTH[1] })).await?;
            scene.noticed(&BOTH).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_purge_is_refused_in_words() -> Result<()> {
    let scene = Scene::start("").await?;
    let router = &scene.routers[0];
    for (asked, status, words) in [
        (json!({}), 400, "Send one of"),
        (json!({ "all": false }), 400, "Send one of"),
        (json!({ "all": true, "tool": "crm__get" }), 400, "Send one of"),
        (json!({ "tags": [] }), 400, "Send one of"),
        (json!({ "tag": "customer:A" }), 400, "Send one of"),
        (json!({ "tags": ["customer"] }), 400, "family:rest"),
        (json!({ "tags": ["weir:all"] }), 400, "Weir's own"),
        (json!({ "tool": "crm__gte" }), 404, "Did you mean `crm__get`?"),
        (json!({ "tool": "elsewhere__completely" }), 404, "/admin/tools"),
        (json!({ "tags": ["a:".to_owned() + &"x".repeat(1 << 20)] }), 413, "1MiB"),
    ] {
        let answer = router.admin_post("/admin/cache/purge", asked).await?;
        ensure!(answer.status.as_u16() == status && answer.text.contains(words), "{status} {words}: {}", answer.text);
    }
    ensure!(router.admin_post("/admin/nothing", json!({})).await?.status == StatusCode::NOT_FOUND);
    ensure!(router.admin("/admin/cache/purge").await?.status == StatusCode::METHOD_NOT_ALLOWED);
    // Nobody else.
    let admin = format!("http://{}/admin/cache/purge", router.running().admin);
    for token in ["", "wrong"] {
        let answer = post(&admin, token, r#"{"all":true}"#).await?;
        ensure!(answer == StatusCode::UNAUTHORIZED, "{answer}");
    }
    let on_callers = router.send(Method::POST, "/admin/cache/purge", &[], r#"{"all":true}"#).await?;
    ensure!(on_callers.status == StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_would_become_of_a_call_without_making_it() -> Result<()> {
    let scene = Scene::start("").await?;
    let router = &scene.routers[0];
    let explain = async |asked: Value| -> Result<Value> { router.admin_post("/admin/explain", asked).await?.json() };

    let fine = explain(json!({ "tool": "crm__get", "arguments": { "id": "A" } })).await?;
    let tool =
        json!({ "name": "crm__get", "downstream": "crm", "local_name": "get", "alias": false, "effect": "read" });
    for (name, value) in tool.as_object().context("an object")? {
        ensure!(&fine["tool"][name] == value, "{name}: {fine:#}");
    }
    ensure!(fine["tool"]["deadline_ms"].as_u64().is_some_and(|deadline| deadline > 0), "{fine:#}");
    ensure!(fine["policy"]["decision"] == "allowed" && fine["policy"]["rule"] == "all: *", "{fine:#}");
    ensure!(fine["arguments"] == json!({ "fit": true, "mistakes": null }), "{fine:#}");
    ensure!(fine["cache"]["cached"] == true && fine["cache"]["held"].is_null(), "{fine:#}");
    ensure!(fine["downstream"]["health"] == "up" && fine["caller"]["subject"] == "local", "{fine:#}");

    let alice = json!({ "subject": "alice", "tenant": "acme", "roles": ["listers", "nobody"] });
    let denied = explain(json!({ "tool": "crm__get", "arguments": { "id": 5 }, "as": alice })).await?;
    let allowing = json!([{ "role": "all", "rule": "all: *" }]);
    let nothing = |role: &str| json!({ "role": role, "allow": null, "deny": null });
    let policy = json!({
        "decision": "denied", "rule": null, "denied_by": "role", "conditions": [], "view": null, "allowing": allowing,
        "looked_at": [nothing("listers"), nothing("nobody")],
    });
    ensure!(denied["policy"] == policy, "the operator may know why: {denied:#}");
    ensure!(
        denied["caller"]
            == json!({ "issuer": "weir", "subject": "alice", "tenant": "acme", "roles": ["listers", "nobody"] })
    );
    ensure!(denied["arguments"]["mistakes"].as_str().is_some_and(|text| text.contains("/id")), "{denied:#}");
    ensure!(router.records().await?.is_empty(), "nothing was called");
    scene.cached().await?;
    let held = explain(json!({ "tool": "crm__get", "arguments": { "id": "A" } })).await?;
    ensure!(held["cache"]["held"]["state"] == "fresh", "{held:#}");

    for (asked, status, words) in [
        (json!({ "tool": "crm__gte" }), 404, "Did you mean `crm__get`?"),
        (json!({ "tool": "crm__get", "as": { "roles": ["boss"] } }), 400, "it has all, listers, nobody"),
        (json!({ "tool": "crm__get", "arguments": [1] }), 400, "one JSON object"),
        (json!({ "name": "crm__get" }), 400, "Send {"),
        (json!({ "tool": "crm__get", "arguments": {}, "pairs": [] }), 400, "Send {"),
        (json!({ "tool": "crm__get", "pairs": [["id"]] }), 400, "Send {"),
    ] {
        let answer = router.admin_post("/admin/explain", asked).await?;
        ensure!(answer.status.as_u16() == status && answer.text.contains(words), "{status} {words}: {}", answer.text);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_purges_and_explains() -> Result<()> {
    let mut scene = Scene::start("").await?;
    let admin = format!("http://{}", scene.routers[0].running().admin);
    let weir = async |words: &[&str]| {
        let mut command = binary::command(words);
        binary::finish(command.env("WEIR_ADMIN_TOKEN", ADMIN_TOKEN).env("WEIR_ADMIN", &admin)).await
    };
    for (words, told) in [
        (&["--tag", "customer:A", "--tag", "customer:B"][..], "all cached answers about 2 tags"),
        (&["--all"], "all cached answers"),
    ] {
        scene.rename_unnoticed().await?;
        let purged = weir(&[&["cache", "purge"], words].concat()).await.with_code(0);
        ensure!(purged.stdout == format!("Ended {told}.\n"), "{purged:#?}");
        scene.noticed(&BOTH).await?;
    }
    let purged = weir(&["cache", "purge", "--tool", "crm__list", "--json"]).await.with_code(0);
    ensure!(purged.json() == json!({ "raised": 1, "reached": "everywhere" }), "{purged:#?}");

    let explained = weir(&["explain", "crm__get", "id=A", "--as", "alice", "--role", "listers"]).await.with_code(0);
    for line in [
        "crm__get  (get of crm, postgres)",
        "effect      read",
        "downstream  up",
        "caller      alice, role listers",
        "policy      denied; these would allow it: all: *",
        "arguments   fit",
        "cache       cached, key ",
        "for         private: ",
        "tags        customer:{id}, ",
        "held        nothing",
    ] {
        ensure!(explained.stdout.contains(line), "{line}: {explained:#?}");
    }
    let explained = weir(&["explain", "crm__get", r#"{"id":"A"}"#, "--json"]).await.with_code(0);
    ensure!(explained.json()["policy"]["decision"] == "allowed", "{explained:#?}");

    // A text of digits is what the tool wants, and the digits that a double would lose are another answer.
    let held = weir(&["explain", "crm__get", "id=9007199254740993", "--json"]).await.with_code(0).json();
    ensure!(held["arguments"]["fit"] == true && held["cache"]["cached"] == true, "{held:#}");
    let same = weir(&["explain", "crm__get", r#"{"id":"9007199254740993"}"#, "--json"]).await.with_code(0).json();
    ensure!(held["cache"]["key"] == same["cache"]["key"], "{held:#} {same:#}");
    let other = weir(&["explain", "crm__get", "id=9007199254740992", "--json"]).await.with_code(0).json();
    ensure!(held["cache"]["key"] != other["cache"]["key"], "{held:#} {other:#}");

    for (words, told) in [
        (&["explain", "crm__get", "id=A", "id=B"][..], "arguments cannot be read"),
        (&["explain", "crm__gte"], "Did you mean `crm__get`?"),
        (&["cache", "purge", "--tool", "nothing__like"], "There is no tool `nothing__like`"),
        (&["cache", "purge", "--tag", "customer"], "family:rest"),
        (&["explain", "crm__get", "--admin", "http://127.0.0.1:1"], "nobody answers at http://127.0.0.1:1"),
        (&["explain", "crm__get", "--admin", "http://192.0.2.1:8081"], "must not travel to 192.0.2.1 over plain http"),
        (&["explain", "crm__get", "--admin", "nowhere"], "must be an absolute address"),
    ] {
        let failed = weir(words).await.with_code(1);
        ensure!(failed.stderr.contains(told), "{told}: {failed:#?}");
    }
    weir(&["cache", "purge"]).await.with_code(2);
    weir(&["cache", "purge", "--all", "--tool", "crm__get"]).await.with_code(2);
    let tokenless = binary::run(&["explain", "crm__get", "--admin", &admin]).await.with_code(1);
    ensure!(tokenless.stderr.contains("set WEIR_ADMIN_TOKEN"), "{tokenless:#?}");
    let mut wrong = binary::command(&["explain", "crm__get", "--admin", &admin]);
    let wrong = binary::finish(wrong.env("WEIR_ADMIN_TOKEN", "another-token-of-the-tests")).await.with_code(1);
    ensure!(wrong.stderr.contains("does not accept the token"), "{wrong:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_whether_redis_is_there() -> Result<()> {
    let mut scene = Scene::start("").await?;
    let cache = async |router: &TestRouter| -> Result<Value> { router.admin("/admin/cache").await?.json() };
    tests::until("Redis is up", async || Ok((cache(&scene.routers[0]).await?["redis"]["state"] == "up").then_some(())))
        .await?;
    scene.cached().await?;
    ensure!(cache(&scene.routers[0]).await?["local"]["entries"].as_u64() >= Some(2));
    ensure!(scene.routers[0].admin("/readyz").await?.text == "ready\n");

    scene._servers.1.kill().await?;
    let lines = tests::until("Redis is down", async || {
        let answer = scene.routers[0].admin("/readyz").await?;
        ensure!(answer.status == StatusCode::OK, "it serves on: {}", answer.text);
        Ok(answer.text.contains("Redis is down").then_some(answer.text))
    })
    .await?;
    ensure!(lines.starts_with("ready\n"), "{lines}");
    let link = &cache(&scene.routers[0]).await?["redis"];
    ensure!(link["state"] == "down" && link["reason"].is_string() && link["since"].is_string(), "{link}");
    let queued = scene.routers[0].admin_post("/admin/cache/purge", json!({ "all": true })).await?;
    ensure!(queued.json()? == json!({ "raised": 1, "reached": "queued" }), "{}", queued.text);

    // What was said meanwhile reaches the others as soon as it can.
    scene.rename().await?;
    scene._servers.1.restart().await?;
    scene.noticed(&BOTH).await
}

async fn post(url: &str, token: &str, body: &str) -> Result<StatusCode> {
    use http_body_util::Full;
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    let request = http::Request::post(url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Full::new(bytes::Bytes::from(body.to_owned())))?;
    Ok(Client::builder(TokioExecutor::new()).build_http().request(request).await?.status())
}
