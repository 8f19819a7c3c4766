//! A database that is killed while many calls run in it.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use serde_json::json;
use standins::postgres::{PgOptions, PrivatePg};
use tests::{TestRouter, private_file, until};
use tokio_postgres::NoTls;

const CALLS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_killed_under_two_hundred_calls_serves_them_all_again_when_it_is_back() -> Result<()> {
    let mut server = PrivatePg::start(PgOptions { max_connections: 300, ..PgOptions::default() }).await?;
    let dir = tempfile::tempdir()?;
    private_file(dir.path().join("url"), server.url())?;
    let config = json!({
        "identity": { "local": { "roles": ["all"] } },
        "policy": { "roles": { "all": { "allow": ["*"] } } },
        // Two hundred connections at once take their time on a busy machine.
        "downstreams": { "killed": {
            "postgres": { "url": { "file": "url" }, "pool_max": CALLS, "statement_timeout": "1m", "connect_timeout": "20s" },
            "tools": {
                "slow": { "effect": "read", "sql": "SELECT pg_sleep(50)" },
                "quick": { "effect": "read", "sql": "SELECT 1 AS one" },
            },
        } },
    });
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let killing = async {
        let (observer, connection) = tokio_postgres::connect(server.url(), NoTls).await?;
        tokio::spawn(connection);
        let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'";
        until("all calls run", async || {
            let row = observer.query_one(running, &[]).await?;
            Ok((row.get::<_, i64>(0) == CALLS as i64).then_some(()))
        })
        .await?;
        server.kill_hard().await
    };
    let calls = join_all((0..CALLS).map(|_| router.call(None, "killed__slow", json!({}))));
    let (answers, killed) = tokio::join!(calls, killing);
    killed?;
    for answer in answers {
        let result = answer?.result()?;
        let text = result["content"][0]["text"].as_str().context("a text")?;
        ensure!(result["isError"] == true && text.contains("killed"), "{result}");
    }
    let records = router.records().await?;
    let outcomes = ["connection_lost", "unreachable", "left_alone"];
    for record in &records {
        ensure!(outcomes.iter().any(|outcome| record["outcome"] == *outcome), "{record}");
        ensure!(record["attempts"][0]["outcome"] == "connection_lost", "{record}");
    }
    ensure!(records.len() == CALLS, "{} records", records.len());
    let told = router.downstreams_until(|all| all[0]["health"] != "up").await?;
    ensure!(told[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{told}");

    server.restart().await?;
    router.downstreams_until(|all| all[0]["health"] == "up").await?;
    for answer in join_all((0..CALLS).map(|_| router.call(None, "killed__quick", json!({})))).await {
        let result = answer?.result()?;
        ensure!(result["isError"] != true, "{result}");
    }
    // What was broken was not used again: none of them needed a second attempt.
    let second = router.records().await?.into_iter().take(CALLS).find(|record| record["attempts"][1].is_object());
    ensure!(second.is_none(), "{second:?}");
    Ok(())
}
