//! Replicas behind an nginx that are restarted one after the other while many call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use http::Method;
use serde_json::json;
use standins::{
    Era,
    raw::{Action, RawServer},
};
use tests::{Ask, Fleet, keys, nginx, open_house, speak, until};
use tokio::sync::Notify;

/// With two, the second could go while nginx still leaves the first alone: for 10 s after it was not there.
const REPLICAS: usize = 3;
const RESTARTS: usize = 3;
const QUICK_CALLERS: usize = 4;
const SLOW_CALLERS: usize = 8;
/// How often the slow calls are answered, all at once: longer than the grace.
const SLOW: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restarts_behind_nginx_fail_no_call() -> Result<()> {
    let tick = Arc::new(Notify::new());
    let held = tick.clone();
    let server = RawServer::start(Era::ModernOnly, move |message| match message.method.as_deref() {
        Some("tools/list") => Some(vec![Action::result(
            message,
            r#"{"tools":[{"name":"quick","inputSchema":{"type":"object"}},{"name":"slow","inputSchema":{"type":"object"}}]}"#,
        )]),
        Some("tools/call") if message.tool().as_deref() == Some("slow") => {
            Some(vec![Action::Wait(held.clone()), Action::result(message, r#"{"content":["slow"]}"#)])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":["quick"]}"#)]),
        _ => None,
    })
    .await?;
    let dir = tempfile::tempdir()?;
    let keys = keys(dir.path(), &[("ann", &["all"])])?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    config["server"] = json!({
        "public_url": format!("http://{}", nginx::PUBLIC_HOST), "trusted_proxies": ["127.0.0.1"],
        "grace": "5s", "drain": "25s",
    });
    let mut fleet = Fleet::start(REPLICAS, dir, config).await?;
    let addresses = (0..REPLICAS).map(|replica| fleet.address(replica)).collect::<Result<Vec<_>>>()?;
    let nginx = nginx::in_front_of(&addresses).await?;

    let over = AtomicBool::new(false);
    let (called, slowly) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let caller = async |tool: &str, count: &AtomicUsize| {
        let ask = Ask::call(&format!("raw__{tool}"), json!({})).key(&keys[0]).header("connection", "close");
        let wire = ask.wire(nginx::PUBLIC_HOST);
        while !over.load(Ordering::Relaxed) {
            let answer = speak(nginx.addr(), &wire).await?;
            let is_whole = answer.starts_with("HTTP/1.1 200") && answer.contains(&format!(r#"["{tool}"]"#));
            ensure!(is_whole, "{answer}\n{}", nginx.log());
            count.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    let calling = async {
        let quick = (0..QUICK_CALLERS).map(|_| caller("quick", &called));
        let slow = (0..SLOW_CALLERS).map(|_| caller("slow", &slowly));
        let outcome = tokio::try_join!(try_join_all(quick), try_join_all(slow)).map(drop);
        over.store(true, Ordering::Relaxed);
        outcome
    };
    let answering = async {
        while !over.load(Ordering::Relaxed) {
            tokio::time::sleep(SLOW).await;
            tick.notify_waiters();
        }
        // Those that came last are let go too.
        loop {
            tick.notify_waiters();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let restarting = async {
        for restart in 0..RESTARTS {
            let replica = restart % REPLICAS;
            let before = slowly.load(Ordering::Relaxed);
            fleet.signal(replica, "TERM").await?;
            until("readiness fails", async || {
                Ok((fleet.admin(replica, Method::GET, "/readyz", "").await?.status == 503).then_some(()))
            })
            .await?;
            ensure!(fleet.ended(replica).await?.success(), "{}", fleet.log(replica));
            fleet.start_again_there(replica).await?;
            until("slow calls ended meanwhile", async || {
                Ok((slowly.load(Ordering::Relaxed) > before || over.load(Ordering::Relaxed)).then_some(()))
            })
            .await?;
        }
        over.store(true, Ordering::Relaxed);
        Ok(())
    };
    let (called_all, restarted) = tokio::select! {
        both = async { tokio::join!(calling, restarting) } => both,
        () = answering => unreachable!("it goes on until the others have ended"),
    };
    called_all?;
    restarted?;
    ensure!(called.load(Ordering::Relaxed) > 100 && slowly.load(Ordering::Relaxed) >= SLOW_CALLERS, "few calls");
    Ok(())
}
