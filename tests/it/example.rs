//! The example of the config: a support agent reads customers with masked addresses and changes nothing, an admin does, and the log
//! shows both and verifies.

use anyhow::{Context as _, Result, ensure};
use config::SecretRef;
use serde_json::{Value, json};
use standins::{
    customers,
    postgres::{PgOptions, PrivatePg},
};
use tests::{TestRouter, private_file, programs};
use tokio::process::Command;

const EXAMPLE: &str = include_str!("../../config/weir.yaml");

/// The router of the example, in front of its database alone, with the keys of a support agent and of an admin.
async fn example() -> Result<(PrivatePg, TestRouter, [String; 2], std::path::PathBuf)> {
    let pg = PrivatePg::start(PgOptions::default()).await?;
    customers::load(pg.url(), customers::SEED).await?;
    let folder = tempfile::tempdir()?;
    let keys = tests::keys(folder.path(), &[("sam", &["support_agent"]), ("ada", &["admin"])])?;
    private_file(folder.path().join("crm-url"), pg.url())?;
    let mut loaded = config::parse(EXAMPLE, "weir.yaml", folder.path()).map_err(|found| anyhow::anyhow!("{found}"))?;
    loaded.config.downstreams.retain(|name, _| name.as_str() == "crm");
    let crm = loaded.config.downstreams.values_mut().next().context("the example has a database")?;
    crm.postgres.as_mut().context("it is Postgres")?.url = SecretRef::File("crm-url".into());
    loaded.config.secrets.master = None;
    let audit = folder.path().join(loaded.config.audit.dir.as_ref().context("the example has a log")?);
    let router = TestRouter::of(loaded, folder).await?;
    ensure!(router.running().catalog_ready(tests::PATIENCE).await);
    let [support, admin] = <[String; 2]>::try_from(keys).expect("two keys");
    Ok((pg, router, [support, admin], audit))
}

async fn names(router: &TestRouter, key: &str) -> Result<Vec<String>> {
    let listed = router.modern(Some(key), "tools/list", json!({})).await?.result()?;
    let tools = listed["tools"].as_array().context("tools")?;
    Ok(tools.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_support_agent_reads_masked_and_an_admin_changes_and_the_log_proves_both() -> Result<()> {
    let (_pg, router, [support, admin], audit) = example().await?;
    let (seen, all) = (names(&router, &support).await?, names(&router, &admin).await?);
    for tool in ["crm__get_customer", "crm__list_customers", "crm__overdue_invoices"] {
        ensure!(seen.iter().any(|name| name == tool), "{seen:?}");
    }
    for tool in ["crm__update_customer", "crm__delete_customer"] {
        ensure!(!seen.iter().any(|name| name == tool) && all.iter().any(|name| name == tool), "{seen:?} {all:?}");
    }

    let list = json!({ "limit": 5 });
    let plain = router.call(Some(&admin), "crm__list_customers", list.clone()).await?.result()?;
    let masked = router.call(Some(&support), "crm__list_customers", list).await?;
    let rows = plain["structuredContent"]["rows"].as_array().context("rows")?.clone();
    ensure!(rows.len() == 5);
    for row in &rows {
        let email = row["email"].as_str().context("an address")?;
        let (local, domain) = email.split_once('@').context("an address")?;
        ensure!(!masked.text.contains(email) && masked.text.contains(domain), "{email}: {}", masked.text);
        ensure!(masked.text.contains(row["name"].as_str().context("a name")?), "{local}");
    }
    let id = rows[0]["id"].as_str().context("an id")?;
    let one = router.call(Some(&support), "crm__get_customer", json!({ "customer_id": id })).await?;
    ensure!(one.status == 200 && !one.text.contains(rows[0]["email"].as_str().context("an address")?), "{one:?}");

    // What it may not do looks like what does not exist.
    let asked = json!({ "customer_id": id, "status": "suspended" });
    let denied = router.call(Some(&support), "crm__update_customer", asked.clone()).await?;
    let unknown = router.call(Some(&support), "crm__no_such_tool", asked.clone()).await?;
    ensure!(denied.text.replace("crm__update_customer", "crm__no_such_tool") == unknown.text, "{denied:?} {unknown:?}");
    ensure!(
        router.call(Some(&support), "crm__delete_customer", json!({ "customer_id": id })).await?.status
            == denied.status
    );
    let changed = router.call(Some(&admin), "crm__update_customer", asked).await?.result()?;
    ensure!(changed["structuredContent"]["rows"][0]["status"] == "suspended", "{changed}");
    let deleted = router.call(Some(&admin), "crm__delete_customer", json!({ "customer_id": id })).await?.result()?;
    ensure!(deleted["structuredContent"]["rows"][0]["id"] == *id, "{deleted}");

    let records = router.records().await?;
    let outcomes = |subject: &str, tool: &str| -> Vec<Value> {
        let of = |record: &&Value| record["subject"] == subject && record["asked"] == tool;
        records.iter().filter(of).map(|record| record["outcome"].clone()).collect()
    };
    ensure!(
        outcomes("sam", "crm__update_customer") == [json!("denied")]
            && outcomes("sam", "crm__delete_customer") == [json!("denied")]
    );
    ensure!(
        outcomes("ada", "crm__update_customer") == [json!("ok")]
            && outcomes("ada", "crm__delete_customer") == [json!("ok")]
    );
    ensure!(outcomes("sam", "crm__list_customers") == [json!("ok")]);
    let written = tests::log::all(&audit, None)?;
    let intents = tests::log::of_kind(written.clone(), "intent");
    ensure!(intents.len() == 2, "each write is in the log before it is sent: {written:#?}");
    ensure!(!serde_json::to_string(&written)?.contains("@"), "nobody's address is in it");
    let verified = Command::new(programs::weir()).args(["audit", "verify"]).arg(&audit).output().await?;
    ensure!(verified.status.success(), "{verified:?}");
    Ok(())
}
