//! Another config while calls run: in force at once or refused as a whole, and no call notices.

mod downstreams;
mod load;
mod process;
mod streams;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, RawServer},
};
use tests::{Answer, TestRouter, open_house, secure_router, secured, until};
use tokio::sync::Notify;

/// A server whose tool `work` answers at once, and whose tool `wait` when it is let go on.
pub(super) async fn server() -> Result<(RawServer, Arc<Notify>)> {
    let go_on = Arc::new(Notify::new());
    let held = go_on.clone();
    let server = RawServer::start(Era::ModernOnly, move |message| match message.method.as_deref() {
        Some("tools/list") => Some(vec![Action::result(
            message,
            r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}},{"name":"wait","inputSchema":{"type":"object"}}]}"#,
        )]),
        Some("tools/call") if message.tool().as_deref() == Some("wait") => {
            Some(vec![Action::Wait(held.clone()), Action::result(message, r#"{"content":[]}"#)])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    });
    Ok((server.await?, go_on))
}

/// The same as [`open_house`], with the addresses that the test's router listens on.
pub(super) fn house(downstreams: &[(&str, &str)]) -> Value {
    let mut config = open_house(downstreams);
    config["server"] = json!({ "listen": "127.0.0.1:0", "admin": "127.0.0.1:0" });
    config
}

/// The names of the tools that a caller sees.
pub(super) async fn names(router: &TestRouter, key: Option<&str>) -> Result<Vec<String>> {
    let listed = router.modern(key, "tools/list", json!({})).await?.result()?;
    let names = listed["tools"].as_array().context("tools")?.iter();
    Ok(names.filter_map(|tool| tool["name"].as_str()).map(str::to_owned).collect())
}

async fn metric(router: &TestRouter, line: &str) -> Result<f64> {
    let text = router.admin("/metrics").await?.text;
    let value = text.lines().find_map(|found| found.strip_prefix(line));
    Ok(value.map_or(0.0, |value| value.trim().parse().unwrap_or(f64::NAN)))
}

fn is_unknown(answer: &Answer) -> bool {
    answer.error_code() == Some(-32602)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_config_is_in_force_for_the_next_request_and_a_wrong_one_changes_nothing() -> Result<()> {
    let (server, _) = server().await?;
    let config = house(&[("raw", &server.url)]);
    let router = TestRouter::ready(&config.to_string()).await?;
    ensure!(router.call(None, "raw__work", json!({})).await?.result()?["isError"].is_null());

    let mut fewer = config.clone();
    fewer["policy"]["roles"]["all"]["allow"] = json!(["raw__wait"]);
    router.change(&fewer.to_string()).await?;
    ensure!(is_unknown(&router.call(None, "raw__work", json!({})).await?));
    ensure!(names(&router, None).await? == ["raw__wait"]);
    let state = router.admin("/admin/config").await?.json()?;
    ensure!(state["last_reload"]["result"] == "applied" && state["waits_for_restart"] == json!([]), "{state}");

    let refused_before = metric(&router, "weir_config_reloads_total{result=\"refused\"}").await?;
    let wrong = format!("{fewer}\n").replace("\"allow\"", "\"alow\"").replace("raw__wait", "*");
    let Err(refused) = router.change(&wrong).await else { anyhow::bail!("a wrong config is in force") };
    ensure!(refused.to_string().contains("weir.yaml:1:"), "{refused}");
    ensure!(names(&router, None).await? == ["raw__wait"]);
    ensure!(metric(&router, "weir_config_reloads_total{result=\"refused\"}").await? > refused_before);
    let state = router.admin("/admin/config").await?.json()?;
    ensure!(state["last_reload"]["result"] == "refused", "{state}");
    let ready = router.admin("/readyz").await?;
    ensure!(ready.status == 200 && ready.text.contains("the changed config is refused: "), "{}", ready.text);

    router.change(&config.to_string()).await?;
    ensure!(router.admin("/readyz").await?.text == "ready\n");
    ensure!(router.call(None, "raw__work", json!({})).await?.result()?["isError"].is_null());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_wait_for_the_next_start_are_named_and_the_rest_is_in_force() -> Result<()> {
    let (server, _) = server().await?;
    let config = house(&[("raw", &server.url)]);
    let router = TestRouter::ready(&config.to_string()).await?;
    let mut other = config.clone();
    other["server"]["connections_max"] = json!(7);
    other["cache"] = json!({ "local_bytes_max": "9MiB" });
    other["policy"]["roles"]["all"]["allow"] = json!(["raw__wait"]);
    router.change(&other.to_string()).await?;
    ensure!(names(&router, None).await? == ["raw__wait"]);
    let state = router.admin("/admin/config").await?.json()?;
    ensure!(state["waits_for_restart"] == json!(["server.connections_max", "cache.local_bytes_max"]), "{state}");
    ensure!(router.admin("/readyz").await?.text.contains("server.connections_max changes with the next start"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_is_shown_in_the_next_handshake() -> Result<()> {
    let config = open_house(&[]);
    let (router, first) = secure_router(config.clone()).await?;
    let address = router.running().callers;
    secured(address, &first, &[]).await?;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    std::fs::write(router.dir.path().join("certificate.pem"), made.cert.pem())?;
    let mut same = config;
    same["server"]["tls"] = json!({ "certificate": "certificate.pem", "key": "key.pem" });
    let mixed = router.change(&same.to_string()).await;
    ensure!(
        mixed.is_err_and(|refused| refused.to_string().contains("server.tls")),
        "the key is of another certificate"
    );
    secured(address, &first, &[]).await?;
    tests::private_file(router.dir.path().join("key.pem"), made.signing_key.serialize_pem())?;
    router.change(&same.to_string()).await?;
    ensure!(secured(address, &first, &[]).await.is_err());
    secured(address, made.cert.der(), &[]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_limit_is_in_force_and_a_denial_of_before_does_not_outlive_it() -> Result<()> {
    let (server, _) = server().await?;
    let mut config = house(&[("raw", &server.url)]);
    let limited =
        |rate: &str| json!([{ "name": "work", "match": "raw__work", "per": "tool", "rate": rate, "burst": 1 }]);
    config["limits"] = limited("1/h");
    let router = TestRouter::ready(&config.to_string()).await?;
    let call = async || anyhow::Ok(router.call(None, "raw__work", json!({})).await?.result()?);
    ensure!(call().await?["isError"].is_null());
    let refused = call().await?;
    ensure!(refused["_meta"]["weir/limit"]["name"] == "work", "{refused}");
    config["limits"] = limited("600/m");
    router.change(&config.to_string()).await?;
    until("the wait is the one of the new rate", async || Ok(call().await?["isError"].is_null().then_some(()))).await?;
    config["limits"] = limited("1/h");
    router.change(&config.to_string()).await?;
    until("the old limit is back", async || Ok((call().await?["_meta"]["weir/limit"]["name"] == "work").then_some(())))
        .await
}
