//! Many changes while many call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use tests::{TestRouter, open_house};

use super::server;

const CALLERS: usize = 8;
const CHANGES: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_changes_under_load_drop_no_call_and_wrong_ones_change_nothing() -> Result<()> {
    let ((stays, _), (comes, _)) = (server().await?, server().await?);
    let one = open_house(&[("stays", &stays.url)]);
    let two = open_house(&[("comes", &comes.url), ("stays", &stays.url)]);
    let router = TestRouter::ready(&one.to_string()).await?;
    let (over, called) = (AtomicBool::new(false), AtomicU64::new(0));
    let caller = async || {
        while !over.load(Ordering::Relaxed) {
            let answer = router.call(None, "stays__work", json!({})).await?.result()?;
            ensure!(answer["content"] == json!([]) && answer["isError"].is_null(), "{answer}");
            called.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let changes = async {
        let mut refused = 0;
        for change in 0..CHANGES {
            let before = called.load(Ordering::Relaxed);
            let mut config = if change % 2 == 0 { two.clone() } else { one.clone() };
            if change % 5 == 4 {
                config["policy"]["roles"]["all"]["allow"] = json!("no list");
            }
            // Both ways of another list: of a downstream that comes and goes, and of one whose settings change under the calls.
            if change % 10 == 3 {
                config["downstreams"]["stays"]["deadline"] = json!(format!("{}s", change + 10));
            }
            refused += usize::from(router.change(&config.to_string()).await.is_err());
            // Each one meets calls.
            while called.load(Ordering::Relaxed) < before + CALLERS as u64 && !over.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
        }
        over.store(true, Ordering::Relaxed);
        ensure!(refused == CHANGES / 5, "{refused} were refused");
        Ok(())
    };
    let callers = async {
        let outcome = try_join_all((0..CALLERS).map(|_| caller())).await;
        over.store(true, Ordering::Relaxed);
        outcome
    };
    let (callers, changes) = tokio::join!(callers, changes);
    callers?;
    changes?;
    let records = router.records().await?;
    ensure!(records.iter().all(|record| record["outcome"] == "ok"), "a call failed");
    Ok(())
}
