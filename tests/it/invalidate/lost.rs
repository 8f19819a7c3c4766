//! Redis is lost to the one that writes, and to nobody else.

use anyhow::{Result, ensure};
use serde_json::json;
use standins::{
    postgres::{PgOptions, PrivatePg},
    proxy::{Fault, FaultProxy},
    redis::{PrivateRedis, RedisOptions},
};
use tests::{Ask, until};
use tokio_postgres::NoTls;

use super::{read, router_with};

/// Only its result says what the write changed, and nobody can be told of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_strict_write_that_cannot_tell_its_end_was_told_as_a_whole_before() -> Result<()> {
    let (database, redis) =
        tokio::try_join!(PrivatePg::start(PgOptions::default()), PrivateRedis::start(RedisOptions::default()))?;
    let (mut holder, connection) = tokio_postgres::connect(database.url(), NoTls).await?;
    tokio::spawn(connection);
    holder
        .batch_execute("CREATE TABLE customer (id text PRIMARY KEY, name text); INSERT INTO customer VALUES ('A', '0')")
        .await?;
    let rename = json!({ "rename": {
        "effect": "idempotent_write",
        "sql": "UPDATE customer SET name = $2 WHERE id = $1 RETURNING id",
        "arguments": { "id": { "type": "string" }, "name": { "type": "string" } },
        "invalidates": ["customer:{result.rows[].id}"],
    } });
    let proxy = FaultProxy::start(redis.addr()).await?;
    let writer = router_with(&database, &redis.url_at(proxy.addr()), &["customer"], rename.clone()).await?;
    let reader = router_with(&database, &redis.url(), &["customer"], rename).await?;
    for tool in ["crm__get", "crm__list"] {
        until("it is cached", async || Ok(read(&reader, tool).await?.1.then_some(()))).await?;
    }

    // The write is under way until the row is let go.
    let row = holder.transaction().await?;
    row.execute("SELECT 1 FROM customer WHERE id = 'A' FOR UPDATE", &[]).await?;
    let write = Ask::call("crm__rename", json!({ "id": "A", "name": "1" }));
    let lost = async {
        until("the write waits for the row", async || {
            let waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%'";
            Ok((!row.query(waiting, &[]).await?.is_empty()).then_some(()))
        })
        .await?;
        proxy.set(Fault::Blackhole).await?;
        row.rollback().await?;
        Ok::<_, anyhow::Error>(())
    };
    let (written, lost) = tokio::join!(writer.ask(&write), lost);
    lost?;
    let written = written?.result()?;
    ensure!(written["isError"] != true, "{written}");
    for tool in ["crm__get", "crm__list"] {
        let (name, cached) = read(&reader, tool).await?;
        ensure!(name == "1", "{tool} gave {name}, cached: {cached}");
    }
    Ok(())
}
