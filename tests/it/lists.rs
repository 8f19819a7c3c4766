//! How long lists hold: what callers are told, and what of it comes from the downstreams.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use jiff::{Timestamp, ToSpan as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, until};

/// A server that lists one tool and says this of its list. It answers no list while `silent`.
async fn server(said: Value, silent: Arc<AtomicBool>) -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, move |message: &Incoming| {
        (message.method.as_deref() == Some("tools/list")).then(|| {
            let mut list = json!({ "tools": [{ "name": "t", "inputSchema": {} }] });
            for (name, value) in said.as_object().into_iter().flatten() {
                list[name] = value.clone();
            }
            if silent.load(Ordering::Relaxed) { Vec::new() } else { vec![Action::result(message, &list.to_string())] }
        })
    })
    .await
}

/// What is said of a list: `ttlMs`, with the scope checked.
async fn ttl_ms(router: &TestRouter, key: &str) -> Result<u64> {
    let list = router.ask(&Ask::modern("tools/list", json!({})).key(key)).await?.result()?;
    ensure!(list["cacheScope"] == "private", "{list}");
    list["ttlMs"].as_u64().with_context(|| format!("no ttlMs in {list}"))
}

/// The seconds in `Cache-Control` of the plain API, which must be for this caller alone.
async fn max_age(router: &TestRouter, key: &str) -> Result<u64> {
    let authorization = format!("Bearer {key}");
    let answer = router.send(Method::GET, "/v1/tools", &[("authorization", &authorization)], "").await?;
    ensure!(answer.headers["vary"] == "authorization", "{answer:?}");
    let said = answer.headers["cache-control"].to_str()?;
    Ok(said.strip_prefix("private, max-age=").with_context(|| said.to_owned())?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_holds_as_long_as_all_that_its_caller_may_come_to_see() -> Result<()> {
    let answers = Arc::<AtomicBool>::default();
    let long = server(json!({ "ttlMs": 3_600_000, "cacheScope": "private" }), answers.clone()).await?;
    let short = server(json!({ "ttlMs": 20_000, "cacheScope": "public" }), answers.clone()).await?;
    let stale = server(json!({ "ttlMs": 0, "cacheScope": "public" }), answers.clone()).await?;
    let unsaid = server(json!({}), answers).await?;
    let never = server(json!({}), Arc::new(AtomicBool::new(true))).await?;
    let servers = [("long", &long), ("short", &short), ("stale", &stale), ("unsaid", &unsaid), ("never", &never)];
    let urls: Vec<_> = servers.iter().map(|(name, server)| (*name, server.url.as_str())).collect();
    let mut config = tests::open_house(&urls);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    config["downstreams"]["unsaid"]["mcp"]["list_refresh"] = json!("40s");
    // By role: what it allows, and the most that its list may hold.
    let roles = [
        ("long", json!({ "allow": ["long__*"] }), 3_600_000),
        ("both", json!({ "allow": ["long__t", "short__t"] }), 20_000),
        ("denied", json!({ "allow": ["long__*", "short__*"], "deny": ["short__t"] }), 20_000),
        ("unsaid", json!({ "allow": ["unsaid__*"] }), 40_000),
        ("stale", json!({ "allow": ["long__*", "stale__t"] }), 0),
        ("never", json!({ "allow": ["long__*", "nev*"] }), 0),
        ("all", json!({ "allow": ["*"] }), 0),
        ("none", json!({ "allow": ["other__*"] }), 60_000),
    ];
    config["policy"]["roles"] = roles.iter().map(|(name, role, _)| ((*name).to_owned(), role.clone())).collect();
    let dir = tempfile::tempdir()?;
    let names: Vec<[&str; 1]> = roles.iter().map(|(name, ..)| [*name]).collect();
    let holders: Vec<(&str, &[&str])> = names.iter().map(|name| (name[0], name.as_slice())).collect();
    let keys = tests::keys(dir.path(), &holders)?;
    let router = TestRouter::start_in(dir, &config.to_string()).await?;
    router
        .downstreams_until(|all| {
            let listed = all.as_array().into_iter().flatten().filter(|one| one["tools"] == 1);
            listed.count() == 4
        })
        .await?;
    for ((role, _, most), key) in roles.iter().zip(&keys) {
        // Right after a list came it is not yet in the catalog.
        let ttl = until("the list holds", async || {
            let ttl = ttl_ms(&router, key).await?;
            Ok((ttl > 0 || *most == 0).then_some(ttl))
        })
        .await?;
        ensure!(ttl <= *most && ttl + 15_000 >= *most, "{role}: {ttl} of {most}");
        ensure!(max_age(&router, key).await? <= most / 1000, "{role}");
        // It grows old where it lies.
        if *most > 0 && *role != "none" {
            until("it is older", async || Ok((ttl_ms(&router, key).await? < ttl).then_some(()))).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_holds_longer_than_the_key_that_it_was_got_with() -> Result<()> {
    let server = server(json!({ "ttlMs": 3_600_000 }), Arc::default()).await?;
    let mut config = tests::open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    let dir = tempfile::tempdir()?;
    let made = router::auth::new_key();
    let expires = Timestamp::now() + 100.seconds();
    let record = json!({ "id": made.id, "hash": made.hash, "subject": "ann", "roles": ["all"], "expires": expires });
    tests::write_keys(dir.path(), &[record])?;
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let key = made.key.expose_secret();
    let ttl = until("the list holds", async || Ok(Some(ttl_ms(&router, key).await?).filter(|&ttl| ttl > 0))).await?;
    let left = u64::try_from(expires.duration_since(Timestamp::now()).as_millis())?;
    ensure!((left..=100_000).contains(&ttl), "{ttl}, and the key ends in {left}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_said_to_be_another_one_holds_no_longer() -> Result<()> {
    let silent = Arc::<AtomicBool>::default();
    let handler = silent.clone();
    let server = RawServer::start(Era::LegacyOnly, move |message: &Incoming| {
        (message.method.as_deref() == Some("tools/list")).then(|| {
            let list = r#"{"tools":[{"name":"t","inputSchema":{}}]}"#;
            if handler.load(Ordering::Relaxed) { Vec::new() } else { vec![Action::result(message, list)] }
        })
    })
    .await?;
    let mut config = tests::open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    let dir = tempfile::tempdir()?;
    let keys = tests::keys(dir.path(), &[("ann", &["all"])])?;
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let holds = async |wanted: bool| {
        until("it holds, or not", async || Ok(((ttl_ms(&router, &keys[0]).await? > 0) == wanted).then_some(()))).await
    };
    holds(true).await?;
    silent.store(true, Ordering::Relaxed);
    server.push(&[Action::Send(json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }).to_string())]);
    holds(false).await?;
    Ok(())
}
