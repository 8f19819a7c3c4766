//! The keys of an issuer: when they are asked for, what becomes of those that are gone, and of an issuer that fails.

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use tests::{Issuer, PATIENCE, SigningKey, TestRouter, issuer::part, keys, until};
use tokio::net::TcpListener;

use super::{Scene, config, server};

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_keys_is_one_fetch() -> Result<()> {
    let scene = Scene::new(json!({})).await?;
    ensure!(scene.issuer.key_fetches() == 1);
    let stranger = SigningKey::p256();
    let claims = part(&scene.issuer.claims(&json!({})));
    let asked = (0..300).map(|number| {
        let header = json!({ "alg": "ES256", "kid": format!("unknown-{number}") });
        let token = stranger.signed(&part(&header), &claims);
        let scene = &scene;
        async move { scene.read(&token).await }
    });
    for answer in futures_util::future::join_all(asked).await {
        ensure!(answer?.status == 401);
    }
    ensure!(scene.issuer.key_fetches() == 2, "{:?}", scene.issuer.asked());
    ensure!(scene.read(&scene.issuer.token(json!({}))).await?.status == 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_counts_at_once_and_one_that_is_gone_no_more() -> Result<()> {
    let scene = Scene::new(json!({})).await?;
    let old = scene.issuer.token(json!({}));
    ensure!(scene.read(&old).await?.status == 200);
    scene.issuer.rotate("second");
    ensure!(scene.read(&old).await?.status == 200, "nobody has heard of it yet");
    ensure!(scene.read(&scene.issuer.token(json!({}))).await?.status == 200);
    ensure!(scene.issuer.key_fetches() == 2);
    // The token was verified before and is remembered; its key is gone all the same.
    ensure!(scene.read(&old).await?.status == 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_issuer_fails_its_last_keys_count() -> Result<()> {
    let scene = Scene::new(json!({})).await?;
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FOUND] {
        scene.issuer.trouble(Some(status));
        ensure!(scene.read(&scene.issuer.token(json!({}))).await?.status == 200);
        let unknown = SigningKey::p256();
        let token =
            unknown.signed(&part(&json!({ "alg": "ES256", "kid": "x" })), &part(&scene.issuer.claims(&json!({}))));
        ensure!(scene.read(&token).await?.status == 401);
    }
    until("the failure is counted", async || {
        let metrics = scene.router.admin("/metrics").await?.text;
        Ok(metrics.contains("weir_issuer_keys_fetches_total{result=\"failed\"}").then_some(()))
    })
    .await?;
    ensure!(scene.read(&scene.issuer.token(json!({}))).await?.status == 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_issuer_weir_starts_and_serves_everybody_else() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // The stand-in that answers later at this address; the socket is closed meanwhile.
    let (spare, server, dir) = (Issuer::start().await?, server().await?, TempDir::new()?);
    let key = keys(dir.path(), &[("bob", &["support"])])?.remove(0);
    let mut config = config(&spare, &server, &json!({}));
    config["identity"]["jwt"][0]["issuer"] = json!(format!("http://{address}"));
    config["identity"]["api_keys"] = json!({ "file": "keys.yaml" });
    drop(listener);
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    router.call(Some(&key), "raw__read", json!({})).await?.result()?;
    let token = spare.token(json!({ "iss": format!("http://{address}") }));
    let answer = router.call(Some(&token), "raw__read", json!({})).await?;
    ensure!(answer.status == 503 && answer.headers.contains_key("retry-after"), "{answer:?}");
    ensure!(!answer.headers.contains_key("www-authenticate"), "no other token would do better: {answer:?}");
    let issuer = Issuer::start_at(TcpListener::bind(address).await?).await?;
    until("its keys are known", async || {
        let answer = router.call(Some(&issuer.token(json!({}))), "raw__read", json!({})).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    router.call(Some(&key), "raw__read", json!({})).await?.result()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_speaks_for_its_own_issuer_and_leads_to_no_private_place() -> Result<()> {
    let elsewhere = Issuer::start().await?;
    for (metadata, bites) in [
        (json!({ "issuer": "https://as.example", "jwks_uri": format!("{}/jwks", elsewhere.url()) }), true),
        (json!({ "issuer": "SELF", "jwks_uri": format!("{}/jwks", elsewhere.url()) }), true),
        (json!({ "issuer": "SELF", "jwks_uri": "http://169.254.169.254/jwks" }), true),
        (json!({ "issuer": "SELF", "jwks_uri": "file:///etc/passwd" }), true),
        (json!({ "issuer": "SELF" }), true),
        (json!({ "issuer": "SELF", "jwks_uri": "SELF/jwks" }), false),
    ] {
        let (issuer, server) = (Issuer::start().await?, server().await?);
        let metadata = metadata.to_string().replace("SELF", issuer.url());
        issuer.metadata(serde_json::from_str(&metadata)?);
        let router = TestRouter::ready(&config(&issuer, &server, &json!({})).to_string()).await?;
        // Who reads the metadata a second time has given the first one up.
        let asked_twice =
            || issuer.asked().iter().filter(|path| path.ends_with("oauth-authorization-server")).count() >= 2;
        until("the metadata was read", async || Ok((!bites || asked_twice()).then_some(()))).await?;
        let status = if bites { 503 } else { 200 };
        let answer = router.call(Some(&issuer.token(json!({}))), "raw__read", json!({})).await?;
        ensure!(answer.status == status, "{metadata}: {answer:?}");
        ensure!(elsewhere.asked().is_empty(), "{metadata}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_that_opened_it() -> Result<()> {
    let scene = Scene::new(json!({ "leeway": "0s" })).await?;
    let now = Timestamp::now().as_second();
    let token = scene.issuer.token(json!({ "exp": now + 3 }));
    let session = scene.router.session(Some(&token), "2025-06-18").await?;
    let authorization = format!("Bearer {token}");
    let headers =
        [("authorization", authorization.as_str()), ("mcp-session-id", &session), ("accept", "text/event-stream")];
    let stream = scene.router.raw_get(&headers).await?;
    ensure!(stream.status() == 200);
    tokio::time::timeout(PATIENCE, stream.into_body().collect()).await.context("the stream has no end")??;
    let over = Timestamp::now().as_second();
    ensure!(over >= now + 3 && over < now + 10, "it ended after {} s", over - now);
    let answer = scene.read(&token).await?;
    ensure!(answer.status == 401, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_of_an_issuer_count_for_tokens_that_are_known() -> Result<()> {
    let scene = Scene::new(json!({})).await?;
    let token = scene.issuer.token(json!({}));
    ensure!(scene.read(&token).await?.status == 200);
    let changed = config(&scene.issuer, &scene.server, &json!({ "scopes": { "other": ["support"] } }));
    scene.router.change(&changed.to_string()).await.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    ensure!(scene.read(&token).await?.error_code() == Some(-32602), "its scope gives no role any more");
    ensure!(scene.issuer.key_fetches() == 1, "the keys are taken over");
    let changed = config(&scene.issuer, &scene.server, &json!({ "audience": ["https://other.example"] }));
    scene.router.change(&changed.to_string()).await.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    ensure!(scene.read(&token).await?.status == 401, "it is for nobody here any more");
    Ok(())
}
